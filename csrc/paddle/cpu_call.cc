// The CPU kernel of Paddle in place of a plan: copies in, call through a KernelContext, copies out.
#include "cpu_call.h"

#include <cstring>
#include <deque>
#include <unordered_map>

#include "card.h"
#include "fallback.h"
#include "kernel_table.h"
#include "paddle/phi/backends/context_pool.h"
#include "paddle/phi/backends/cpu/cpu_context.h"
#include "paddle/phi/core/kernel_context.h"
#include "paddle/phi/core/kernel_factory.h"

namespace openxpu::paddle_plugin {
namespace {

template <typename T>
const T& as(const void* pointer) {
  return *static_cast<const T*>(pointer);
}

// Which argument gives a kernel its dtype. Nearly always it is the first tensor; these are the
// exceptions.
constexpr int kFromOutput = -1;
int dtype_argument(const std::string& kernel) {
  static const std::unordered_map<std::string, int> exceptions = {
      {"embedding", 1},        {"embedding_grad", 1},      {"where", 1},
      {"where_grad", 1},       {"full_like", kFromOutput}, {"c_embedding", 0},
      {"c_embedding_grad", 0},
  };
  auto found = exceptions.find(kernel);
  return found == exceptions.end() ? 0 : found->second;
}

class CpuCall {
 public:
  CpuCall(const phi::CustomContext& context, phi::CPUContext* cpu)
      : context_(context),
        stream_(*reinterpret_cast<Stream*>(context.stream())),
        cpu_(cpu),
        kernel_context_(cpu) {}

  void input(const phi::DenseTensor* tensor) { kernel_context_.EmplaceBackInput(to_cpu(tensor)); }

  void inputs(const std::vector<const phi::DenseTensor*>& list) {
    paddle::small_vector<const phi::TensorBase*> row;
    for (const auto* tensor : list) row.push_back(to_cpu(tensor));
    kernel_context_.EmplaceBackInputs(row);
  }

  void output(phi::DenseTensor* tensor) { kernel_context_.EmplaceBackOutput(cpu_output(tensor)); }

  void outputs(const std::vector<phi::DenseTensor*>& list) {
    paddle::small_vector<phi::TensorBase*> row;
    for (auto* tensor : list) row.push_back(cpu_output(tensor));
    kernel_context_.EmplaceBackOutputs(row);
  }

  template <typename T>
  void attribute(const void* arg) {
    kernel_context_.EmplaceBackAttr(as<T>(arg));
  }

  void run(const phi::Kernel& kernel) {
    stream_.synchronize();
    kernel(&kernel_context_);
    for (auto& [card, host] : outputs_) {
      if (!host->has_allocation()) continue;
      card->Resize(host->dims());
      context_.Alloc(card, host->dtype());
      const size_t bytes = host->numel() * phi::SizeOf(host->dtype());
      if (bytes > 0) stream_.copy(card->data(), host->data(), bytes, OPENXPU_HOST_TO_CARD);
    }
  }

 private:
  phi::DenseTensor* to_cpu(const phi::DenseTensor* tensor) {
    if (tensor == nullptr) return nullptr;
    auto found = copies_.find(tensor);
    if (found != copies_.end()) return found->second;
    if (tensor->initialized() && !tensor->meta().is_contiguous()) {
      throw Error("A tensor with gaps between its elements cannot go to the CPU kernel as it is.");
    }
    storage_.emplace_back();
    phi::DenseTensor* copy = &storage_.back();
    copy->set_meta(tensor->meta());
    copies_[tensor] = copy;
    if (tensor->initialized()) {
      phi::DenseTensorMeta meta = tensor->meta();
      meta.offset = 0;
      copy->set_meta(meta);
      cpu_->Alloc(copy, tensor->dtype());
      const size_t bytes = tensor->numel() * phi::SizeOf(tensor->dtype());
      if (bytes > 0) stream_.copy(copy->data(), tensor->data(), bytes, OPENXPU_CARD_TO_HOST);
    }
    return copy;
  }

  phi::DenseTensor* cpu_output(phi::DenseTensor* tensor) {
    if (tensor == nullptr) return nullptr;
    phi::DenseTensor* host = nullptr;
    auto found = copies_.find(tensor);
    if (found != copies_.end()) {
      host = found->second;  // in place
    } else {
      storage_.emplace_back();
      host = &storage_.back();
      phi::DenseTensorMeta meta = tensor->meta();
      meta.offset = 0;
      host->set_meta(meta);
      copies_[tensor] = host;
    }
    outputs_.emplace_back(tensor, host);
    return host;
  }

  const phi::CustomContext& context_;
  Stream& stream_;
  phi::CPUContext* cpu_;
  phi::KernelContext kernel_context_;
  std::deque<phi::DenseTensor> storage_;
  std::unordered_map<const phi::DenseTensor*, phi::DenseTensor*> copies_;
  std::vector<std::pair<phi::DenseTensor*, phi::DenseTensor*>> outputs_;
};

const phi::DenseTensor* first_tensor(Arg kind, const void* arg) {
  switch (kind) {
    case Arg::kTensor:
    case Arg::kMaybeTensor:
      return static_cast<const phi::DenseTensor*>(arg);
    case Arg::kOptionalTensor: {
      const auto& tensor = as<paddle::optional<phi::DenseTensor>>(arg);
      return tensor ? tensor.get_ptr() : nullptr;
    }
    case Arg::kTensors: {
      const auto& list = as<std::vector<const phi::DenseTensor*>>(arg);
      return list.empty() ? nullptr : list.front();
    }
    case Arg::kTensorBases: {
      const auto list = dense_tensors(as<std::vector<const phi::TensorBase*>>(arg));
      return list.empty() ? nullptr : list.front();
    }
    case Arg::kOutput:
      return as<phi::DenseTensor*>(arg);
    case Arg::kOutputs: {
      const auto& list = as<std::vector<phi::DenseTensor*>>(arg);
      return list.empty() ? nullptr : list.front();
    }
    default:
      return nullptr;
  }
}

phi::DataType kernel_dtype(const std::string& name, const Arg* kinds, const void* const* args,
                           int count) {
  const int wanted = dtype_argument(name);
  if (wanted > 0 && wanted < count) {
    if (const auto* tensor = first_tensor(kinds[wanted], args[wanted])) return tensor->dtype();
  }
  for (int i = 0; i < count; ++i) {
    const bool output = kinds[i] == Arg::kOutput || kinds[i] == Arg::kOutputs;
    if (wanted == kFromOutput && !output) continue;
    if (const auto* tensor = first_tensor(kinds[i], args[i])) return tensor->dtype();
  }
  return phi::DataType::UNDEFINED;
}

}  // namespace

void call_on_cpu(Kernel& kernel, const phi::CustomContext& context, const Arg* kinds,
                 const void* const* args, int count, const std::string& reason) {
  const phi::DataType dtype = kernel_dtype(kernel.name, kinds, args, count);
  const phi::KernelKey key(phi::Backend::CPU, phi::DataLayout::ALL_LAYOUT, dtype);
  const phi::Kernel& native = phi::KernelFactory::Instance().SelectKernel(kernel.name, key);
  if (!native.IsValid()) {
    throw Error("Operator " + kernel.name + " cannot run on the card: " + reason +
                " Paddle has no CPU kernel for it in this dtype either.");
  }
  count_fallback(kernel.name, reason);
  kernel.refused_calls.fetch_add(1, std::memory_order_relaxed);
  auto* cpu =
      static_cast<phi::CPUContext*>(phi::DeviceContextPool::Instance().Get(phi::CPUPlace()));
  CpuCall call(context, cpu);
  for (int i = 0; i < count; ++i) {
    const void* arg = args[i];
    switch (kinds[i]) {
      case Arg::kTensor:
        call.input(static_cast<const phi::DenseTensor*>(arg));
        break;
      case Arg::kMaybeTensor:
      case Arg::kOptionalTensor:
        call.input(first_tensor(kinds[i], arg));
        break;
      case Arg::kTensors:
        call.inputs(as<std::vector<const phi::DenseTensor*>>(arg));
        break;
      case Arg::kTensorBases:
        call.inputs(dense_tensors(as<std::vector<const phi::TensorBase*>>(arg)));
        break;
      case Arg::kOptionalTensors: {
        const auto& list = as<paddle::optional<std::vector<const phi::DenseTensor*>>>(arg);
        call.inputs(list ? *list : std::vector<const phi::DenseTensor*>{nullptr});
        break;
      }
      case Arg::kOutput:
        call.output(as<phi::DenseTensor*>(arg));
        break;
      case Arg::kOutputs:
        call.outputs(as<std::vector<phi::DenseTensor*>>(arg));
        break;
      case Arg::kScalar:
        call.attribute<phi::Scalar>(arg);
        break;
      case Arg::kIntArray:
        call.attribute<phi::IntArray>(arg);
        break;
      case Arg::kBool:
        call.attribute<bool>(arg);
        break;
      case Arg::kInt32:
        call.attribute<int>(arg);
        break;
      case Arg::kInt64:
        call.attribute<int64_t>(arg);
        break;
      case Arg::kFloat:
        call.attribute<float>(arg);
        break;
      case Arg::kDouble:
        call.attribute<double>(arg);
        break;
      case Arg::kString:
        call.attribute<std::string>(arg);
        break;
      case Arg::kDataType:
        call.attribute<phi::DataType>(arg);
        break;
      case Arg::kDataLayout:
        call.attribute<phi::DataLayout>(arg);
        break;
      case Arg::kPlace:
        call.attribute<phi::Place>(arg);
        break;
      case Arg::kBools:
        call.attribute<std::vector<bool>>(arg);
        break;
      case Arg::kInt32s:
        call.attribute<std::vector<int>>(arg);
        break;
      case Arg::kInt64s:
        call.attribute<std::vector<int64_t>>(arg);
        break;
      case Arg::kFloats:
        call.attribute<std::vector<float>>(arg);
        break;
      case Arg::kDoubles:
        call.attribute<std::vector<double>>(arg);
        break;
      case Arg::kStrings:
        call.attribute<std::vector<std::string>>(arg);
        break;
      case Arg::kScalars:
        call.attribute<std::vector<phi::Scalar>>(arg);
        break;
    }
  }
  call.run(native);
}

}  // namespace openxpu::paddle_plugin
