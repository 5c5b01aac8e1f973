// The generic call behind every phi kernel: signature, plan cache, outputs, replay.
#include "bridge.h"

#include <cstring>
#include <type_traits>

#include "card.h"
#include "cpu_call.h"
#include "errors.h"
#include "kernel_table.h"
#include "output_sizes.h"
#include "paddle/phi/core/enforce.h"
#include "paddle/phi/core/generator.h"
#include "plan.h"
#include "planner.h"
#include "poison.h"
#include "profiler.h"

namespace openxpu::paddle_plugin {
namespace {

// ---------------------------------------------------------------- signature

// A signature is a row of 8-byte words that can be read back (see `decode`), so that a hit costs a
// copy and a hash, and only a miss pays for building the request to the planner.
enum Word : uint8_t {
  kWordAbsent = 1,
  kWordTensor,
  kWordList,
  kWordBool,
  kWordInt,
  kWordDouble,
  kWordString,
  kWordInts,
  kWordDoubles,
  kWordDType,
  kWordDynamicInt,
  kWordDynamicFloat,
};

uint64_t header(Word word, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
  return static_cast<uint64_t>(word) | (a << 8) | (b << 16) | (c << 24);
}

// A vector whose first elements need no heap.
template <typename T, size_t N>
class Row {
 public:
  T* grow(size_t n) {
    if (size_ + n > capacity_) enlarge(size_ + n);
    T* at = data_ + size_;
    size_ += n;
    return at;
  }
  void push(T value) { *grow(1) = value; }
  const T* data() const { return data_; }
  T* data() { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }

 private:
  void enlarge(size_t need) {
    std::vector<T> bigger(std::max(need, 2 * capacity_));
    std::memcpy(bigger.data(), data_, size_ * sizeof(T));
    heap_.swap(bigger);
    data_ = heap_.data();
    capacity_ = heap_.size();
  }
  T inline_[N];
  std::vector<T> heap_;
  T* data_ = inline_;
  size_t size_ = 0, capacity_ = N;
};

struct Call {
  Row<uint64_t, 160> words;
  Row<const phi::DenseTensor*, 24> tensors;  // present inputs, then present outputs
  Row<Scalar, 8> dynamics;
  size_t first_output = 0;
  bool outputs_begun = false;
  bool moves_bits = false;                           // see Kernel
  phi::DataType foreign = phi::DataType::UNDEFINED;  // one that the card does not know
};

constexpr uint8_t kUndefinedDType = 255;

uint8_t dtype_code(phi::DataType dtype) {
  switch (dtype) {
    case phi::DataType::BOOL:
      return static_cast<uint8_t>(DType::kBool);
    case phi::DataType::UINT8:
      return static_cast<uint8_t>(DType::kU8);
    case phi::DataType::INT8:
      return static_cast<uint8_t>(DType::kI8);
    case phi::DataType::INT16:
      return static_cast<uint8_t>(DType::kI16);
    case phi::DataType::INT32:
      return static_cast<uint8_t>(DType::kI32);
    case phi::DataType::INT64:
      return static_cast<uint8_t>(DType::kI64);
    case phi::DataType::FLOAT16:
      return static_cast<uint8_t>(DType::kF16);
    case phi::DataType::BFLOAT16:
      return static_cast<uint8_t>(DType::kBF16);
    case phi::DataType::FLOAT32:
      return static_cast<uint8_t>(DType::kF32);
    case phi::DataType::FLOAT64:
      return static_cast<uint8_t>(DType::kF64);
    case phi::DataType::COMPLEX64:
      return static_cast<uint8_t>(DType::kC64);
    case phi::DataType::COMPLEX128:
      return static_cast<uint8_t>(DType::kC128);
    default:
      return kUndefinedDType;
  }
}

phi::DataType phi_dtype(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return phi::DataType::BOOL;
    case DType::kU8:
      return phi::DataType::UINT8;
    case DType::kI8:
      return phi::DataType::INT8;
    case DType::kI16:
      return phi::DataType::INT16;
    case DType::kI32:
      return phi::DataType::INT32;
    case DType::kI64:
      return phi::DataType::INT64;
    case DType::kF16:
      return phi::DataType::FLOAT16;
    case DType::kBF16:
      return phi::DataType::BFLOAT16;
    case DType::kF32:
      return phi::DataType::FLOAT32;
    case DType::kF64:
      return phi::DataType::FLOAT64;
    case DType::kC64:
      return phi::DataType::COMPLEX64;
    case DType::kC128:
      return phi::DataType::COMPLEX128;
  }
  return phi::DataType::UNDEFINED;
}

void add_tensor(Call& call, const phi::DenseTensor* tensor, bool output) {
  if (output && !call.outputs_begun) {
    call.outputs_begun = true;
    call.first_output = call.tensors.size();
  }
  // A tensor without type and memory stands for one that is not there (Paddle's xshape and the
  // like).
  if (tensor == nullptr) {
    call.words.push(header(kWordAbsent));
    return;
  }
  const phi::DenseTensorMeta& meta = tensor->meta();
  const auto rank = static_cast<uint64_t>(meta.dims.size() < 0 ? 0 : meta.dims.size());
  uint64_t* at = call.words.grow(1 + 2 * rank);
  uint8_t dtype = dtype_code(meta.dtype);
  if (__builtin_expect(dtype == kUndefinedDType && meta.dtype != phi::DataType::UNDEFINED, 0)) {
    if (call.moves_bits && phi::SizeOf(meta.dtype) == 1) {
      dtype = static_cast<uint8_t>(DType::kU8);
    } else {
      call.foreign = meta.dtype;
    }
  }
  at[0] = header(kWordTensor, dtype, rank, output ? 1 : 0);
  std::memcpy(at + 1, meta.dims.Get(), rank * 8);
  if (meta.strides.size() == static_cast<int>(rank)) {
    std::memcpy(at + 1 + rank, meta.strides.Get(), rank * 8);
  } else {
    int64_t step = 1;
    for (uint64_t i = rank; i-- > 0;) {
      at[1 + rank + i] = static_cast<uint64_t>(step);
      step *= meta.dims[static_cast<int>(i)];
    }
  }
  call.tensors.push(tensor);
}

void add_int(Call& call, int64_t value, bool dynamic) {
  if (dynamic) {
    call.words.push(header(kWordDynamicInt));
    call.dynamics.push(Scalar::Int(value));
    return;
  }
  uint64_t* at = call.words.grow(2);
  at[0] = header(kWordInt);
  at[1] = static_cast<uint64_t>(value);
}

void add_bool(Call& call, bool value, bool dynamic) {
  if (dynamic) return add_int(call, value, true);
  call.words.push(header(kWordBool, value ? 1 : 0));
}

void add_double(Call& call, double value, bool dynamic) {
  if (dynamic) {
    call.words.push(header(kWordDynamicFloat));
    call.dynamics.push(Scalar::Float(value));
    return;
  }
  uint64_t* at = call.words.grow(2);
  at[0] = header(kWordDouble);
  std::memcpy(at + 1, &value, 8);
}

void add_string(Call& call, const char* text, size_t length) {
  const size_t words = (length + 7) / 8;
  uint64_t* at = call.words.grow(1 + words);
  at[0] = header(kWordString) | (static_cast<uint64_t>(length) << 32);
  if (words > 0) at[words] = 0;
  std::memcpy(at + 1, text, length);
}

template <typename Vector>
void add_ints(Call& call, const Vector& values) {
  uint64_t* at = call.words.grow(1 + values.size());
  at[0] = header(kWordInts) | (static_cast<uint64_t>(values.size()) << 32);
  for (size_t i = 0; i < values.size(); ++i) {
    at[1 + i] = static_cast<uint64_t>(static_cast<int64_t>(values[i]));
  }
}

template <typename Vector>
void add_doubles(Call& call, const Vector& values) {
  uint64_t* at = call.words.grow(1 + values.size());
  at[0] = header(kWordDoubles) | (static_cast<uint64_t>(values.size()) << 32);
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = static_cast<double>(values[i]);
    std::memcpy(at + 1 + i, &value, 8);
  }
}

void add_scalar(Call& call, const phi::Scalar& scalar, bool dynamic) {
  switch (scalar.dtype()) {
    case phi::DataType::BOOL:
      return add_bool(call, scalar.to<bool>(), dynamic);
    case phi::DataType::FLOAT16:
    case phi::DataType::BFLOAT16:
    case phi::DataType::FLOAT32:
    case phi::DataType::FLOAT64:
      return add_double(call, scalar.to<double>(), dynamic);
    case phi::DataType::COMPLEX64:
    case phi::DataType::COMPLEX128: {
      const auto value = scalar.to<phi::dtype::complex<double>>();
      return add_doubles(call, std::vector<double>{value.real, value.imag});
    }
    default:
      return add_int(call, scalar.to<int64_t>(), dynamic);
  }
}

const char* layout_name(phi::DataLayout layout) {
  switch (layout) {
    case phi::DataLayout::NHWC:
      return "NHWC";
    case phi::DataLayout::NCDHW:
      return "NCDHW";
    case phi::DataLayout::NDHWC:
      return "NDHWC";
    default:
      return "NCHW";
  }
}

template <typename T>
const T& as(const void* pointer) {
  return *static_cast<const T*>(pointer);
}

void add_list(Call& call, const phi::DenseTensor* const* tensors, size_t count, bool output) {
  call.words.push(header(kWordList) | (static_cast<uint64_t>(count) << 32));
  for (size_t i = 0; i < count; ++i) add_tensor(call, tensors[i], output);
}

void add(Call& call, Arg kind, const void* arg, bool dynamic) {
  switch (kind) {
    case Arg::kTensor:
      return add_tensor(call, static_cast<const phi::DenseTensor*>(arg), false);
    case Arg::kMaybeTensor:
      return add_tensor(call, static_cast<const phi::DenseTensor*>(arg), false);
    case Arg::kOptionalTensor: {
      const auto& tensor = as<paddle::optional<phi::DenseTensor>>(arg);
      return add_tensor(call, tensor ? tensor.get_ptr() : nullptr, false);
    }
    case Arg::kTensors: {
      const auto& list = as<std::vector<const phi::DenseTensor*>>(arg);
      return add_list(call, list.data(), list.size(), false);
    }
    case Arg::kTensorBases: {
      const auto list = dense_tensors(as<std::vector<const phi::TensorBase*>>(arg));
      return add_list(call, list.data(), list.size(), false);
    }
    case Arg::kOptionalTensors: {
      const auto& list = as<paddle::optional<std::vector<const phi::DenseTensor*>>>(arg);
      if (!list) return call.words.push(header(kWordAbsent));
      return add_list(call, list->data(), list->size(), false);
    }
    case Arg::kOutput:
      return add_tensor(call, as<phi::DenseTensor*>(arg), true);
    case Arg::kOutputs: {
      const auto& list = as<std::vector<phi::DenseTensor*>>(arg);
      return add_list(call, list.data(), list.size(), true);
    }
    case Arg::kScalar:
      return add_scalar(call, as<phi::Scalar>(arg), dynamic);
    case Arg::kIntArray:
      return add_ints(call, as<phi::IntArray>(arg).GetData());
    case Arg::kBool:
      return add_bool(call, as<bool>(arg), dynamic);
    case Arg::kInt32:
      return add_int(call, as<int>(arg), dynamic);
    case Arg::kInt64:
      return add_int(call, as<int64_t>(arg), dynamic);
    case Arg::kFloat:
      return add_double(call, as<float>(arg), dynamic);
    case Arg::kDouble:
      return add_double(call, as<double>(arg), dynamic);
    case Arg::kString: {
      const auto& text = as<std::string>(arg);
      return add_string(call, text.data(), text.size());
    }
    case Arg::kDataType: {
      const uint8_t code = dtype_code(as<phi::DataType>(arg));
      if (code == kUndefinedDType) {
        call.foreign = as<phi::DataType>(arg);
        return call.words.push(header(kWordAbsent));
      }
      return call.words.push(header(kWordDType, code));
    }
    case Arg::kDataLayout: {
      const char* name = layout_name(as<phi::DataLayout>(arg));
      return add_string(call, name, std::strlen(name));
    }
    case Arg::kPlace:
      return call.words.push(header(kWordAbsent));
    case Arg::kBools:
      return add_ints(call, as<std::vector<bool>>(arg));
    case Arg::kInt32s:
      return add_ints(call, as<std::vector<int>>(arg));
    case Arg::kInt64s:
      return add_ints(call, as<std::vector<int64_t>>(arg));
    case Arg::kFloats:
      return add_doubles(call, as<std::vector<float>>(arg));
    case Arg::kDoubles:
      return add_doubles(call, as<std::vector<double>>(arg));
    case Arg::kStrings: {
      const auto& list = as<std::vector<std::string>>(arg);
      std::string joined;
      for (const auto& s : list) joined += s + '\n';
      return add_string(call, joined.data(), joined.size());
    }
    case Arg::kScalars: {
      const auto& list = as<std::vector<phi::Scalar>>(arg);
      bool whole = true;
      for (const auto& s : list) {
        whole = whole && s.dtype() != phi::DataType::FLOAT32 && s.dtype() != phi::DataType::FLOAT64;
      }
      if (whole) {
        std::vector<int64_t> values;
        for (const auto& s : list) values.push_back(s.to<int64_t>());
        return add_ints(call, values);
      }
      std::vector<double> values;
      for (const auto& s : list) values.push_back(s.to<double>());
      return add_doubles(call, values);
    }
  }
}

uint64_t hash_words(const uint64_t* words, size_t count) {
  uint64_t a = 0x9e3779b97f4a7c15ull ^ count, b = 0xc2b2ae3d27d4eb4full;
  size_t i = 0;
  for (; i + 1 < count; i += 2) {
    a = (a ^ words[i]) * 0x9fb21c651e98df25ull;
    b = (b ^ words[i + 1]) * 0xd6e8feb86659fd93ull;
    a ^= a >> 29;
    b ^= b >> 31;
  }
  if (i < count) a = (a ^ words[i]) * 0x9fb21c651e98df25ull;
  uint64_t h = a ^ (b * 0xff51afd7ed558ccdull);
  return h ^ (h >> 32);
}

// ---------------------------------------------------------------- miss

class Decoder {
 public:
  explicit Decoder(const std::vector<uint64_t>& words)
      : at_(words.data()), end_(at_ + words.size()) {}
  bool more() const { return at_ < end_; }

  Argument next() {
    const uint64_t head = *at_++;
    switch (static_cast<Word>(head & 0xff)) {
      case kWordAbsent:
        return Absent{};
      case kWordTensor:
        return tensor(head);
      case kWordList: {
        std::vector<std::variant<Absent, TensorMeta>> list(head >> 32);
        for (auto& element : list) {
          const uint64_t inner = *at_++;
          if (static_cast<Word>(inner & 0xff) == kWordTensor) element = tensor(inner);
        }
        return list;
      }
      case kWordBool:
        return static_cast<bool>((head >> 8) & 1);
      case kWordInt:
        return static_cast<int64_t>(*at_++);
      case kWordDouble: {
        double value;
        std::memcpy(&value, at_++, 8);
        return value;
      }
      case kWordString: {
        const size_t length = head >> 32;
        std::string text(reinterpret_cast<const char*>(at_), length);
        at_ += (length + 7) / 8;
        return text;
      }
      case kWordInts: {
        std::vector<int64_t> values(head >> 32);
        std::memcpy(values.data(), at_, values.size() * 8);
        at_ += values.size();
        return values;
      }
      case kWordDoubles: {
        std::vector<double> values(head >> 32);
        std::memcpy(values.data(), at_, values.size() * 8);
        at_ += values.size();
        return values;
      }
      case kWordDType:
        return static_cast<DType>((head >> 8) & 0xff);
      case kWordDynamicInt:
        return DynamicScalar{dynamics_++, Scalar::kInt};
      case kWordDynamicFloat:
        return DynamicScalar{dynamics_++, Scalar::kFloat};
    }
    return Absent{};
  }

 private:
  TensorMeta tensor(uint64_t head) {
    TensorMeta meta;
    const auto code = static_cast<uint8_t>((head >> 8) & 0xff);
    const auto rank = static_cast<size_t>((head >> 16) & 0xff);
    meta.slot = slots_++;
    // An output whose type Paddle leaves open is handed over as bytes.
    meta.dtype = code == kUndefinedDType ? DType::kU8 : static_cast<DType>(code);
    meta.is_output = ((head >> 24) & 1) != 0;
    const auto* dims = reinterpret_cast<const int64_t*>(at_);
    meta.shape.assign(dims, dims + rank);
    meta.strides.assign(dims + rank, dims + 2 * rank);
    at_ += 2 * rank;
    return meta;
  }

  const uint64_t* at_;
  const uint64_t* end_;
  int slots_ = 0, dynamics_ = 0;
};

std::shared_ptr<const CachedPlan> plan_signature(Kernel& kernel, Call& call, uint64_t hash) {
  auto entry = std::make_shared<CachedPlan>();
  entry->signature.assign(call.words.data(), call.words.data() + call.words.size());
  entry->hash = hash;
  Request request;
  request.kernel = kernel.name;
  for (Decoder decoder(entry->signature); decoder.more();) {
    request.arguments.push_back(decoder.next());
  }
  try {
    entry->plan = make_plan(request);
    kernel.plans_made.fetch_add(1, std::memory_order_relaxed);
  } catch (const PlanError& error) {
    if (error.type != "Unsupported") throw;
    entry->refusal = error.what();
  }
  if (entry->plan) {
    const size_t outputs = call.outputs_begun ? call.tensors.size() - call.first_output : 0;
    for (size_t i = 0; i < outputs; ++i) {
      const auto tensor = static_cast<uint32_t>(call.first_output + i);
      CachedPlan::OutputRule rule;
      rule.kind = entry->plan->output(tensor, &rule.dtype);
      for (const Plan* stage = entry->plan.get(); stage->measure();) {
        stage = stage->measure()->next.get();
        if (stage->measured_extents(tensor) != nullptr) rule.measured = true;
      }
      entry->outputs.push_back(rule);
    }
  }
  kernel.cache.insert(entry);
  return entry;
}

void describe(Kernel& kernel) {
  uint64_t mask = 0;
  for (int index : dynamic_arguments(kernel.name)) mask |= uint64_t{1} << index;
  kernel.dynamic_mask = mask;
  kernel.described.store(true, std::memory_order_release);
}

// ---------------------------------------------------------------- replay

void* address(const phi::DenseTensor& tensor) {
  const auto& holder = tensor.Holder();
  return holder ? static_cast<char*>(holder->ptr()) + tensor.meta().offset : nullptr;
}

// Paddle lets the gradient of a broadcast operand share the memory of the gradient from above,
// which has another number of elements and is still read: such an output gets memory of its own.
void leave_foreign_memory(Call& call, phi::DenseTensor* output) {
  if (!output->has_allocation()) return;
  for (size_t i = 0; i < call.first_output; ++i) {
    const phi::DenseTensor& input = *call.tensors[i];
    if (input.Holder() == output->Holder() && input.numel() != output->numel()) {
      output->clear();
      return;
    }
  }
}

void allocate(const phi::CustomContext& context, Call& call, const CachedPlan& entry, size_t number,
              const Kernel& kernel) {
  auto* tensor = const_cast<phi::DenseTensor*>(call.tensors[call.first_output + number]);
  const CachedPlan::OutputRule& rule = entry.outputs[number];
  const phi::DataType dtype =
      rule.kind == Plan::Output::kDType ? phi_dtype(rule.dtype) : tensor->dtype();
  if (dtype == phi::DataType::UNDEFINED) {
    throw Error("Kernel " + kernel.name + " has an output (number " + std::to_string(number) +
                ") without a dtype: its mapping must name one with set_output.");
  }
  leave_foreign_memory(call, tensor);
  const bool fresh = !tensor->has_allocation();  // in place, it is the input's
  context.Alloc(tensor, dtype);
  if (const int junk = poison(); junk >= 0 && fresh && tensor->numel() > 0) {
    reinterpret_cast<Stream*>(context.stream())
        ->fill(address(*tensor), junk, tensor->numel() * phi::SizeOf(dtype));
  }
}

// True when the call has at least one element to compute.
bool allocate_outputs(const phi::CustomContext& context, Call& call, const CachedPlan& entry,
                      const Kernel& kernel) {
  bool work = entry.outputs.empty();
  for (size_t i = 0; i < entry.outputs.size(); ++i) {
    auto* tensor = const_cast<phi::DenseTensor*>(call.tensors[call.first_output + i]);
    const CachedPlan::OutputRule& rule = entry.outputs[i];
    if (rule.measured) {  // allocated when its size is known
      work = true;
    } else if (rule.kind == Plan::Output::kLeave) {
      // Not allocated here, but a view of memory that exists is written.
      work = work || (tensor->has_allocation() && tensor->numel() > 0);
    } else {
      allocate(context, call, entry, i, kernel);
      work = work || tensor->numel() > 0;
    }
  }
  return work;
}

// The Philox state of a card is set from Paddle's generator and used at once by one replay.
std::mutex philox_mutex;

void replay(const phi::CustomContext& context, Call& call, const Plan& plan, void* kept = nullptr,
            const int64_t* counts = nullptr) {
  Row<void*, 24> addresses;
  const size_t count = call.tensors.size();
  addresses.grow(count);
  for (size_t i = 0; i < count; ++i) addresses[i] = address(*call.tensors[i]);
  auto& stream = *reinterpret_cast<Stream*>(context.stream());
  const EnqueueNote note(stream, plan.step_count());
  if (plan.philox_increment == 0) {
    plan.replay_stage(stream, addresses.data(), count, call.dynamics.data(), call.dynamics.size(),
                      kept, counts);
    return;
  }
  const auto state = context.GetGenerator()->IncrementOffset(plan.philox_increment);
  std::lock_guard<std::mutex> lock(philox_mutex);
  stream.card().set_philox(state.first, state.second);
  plan.replay_stage(stream, addresses.data(), count, call.dynamics.data(), call.dynamics.size(),
                    kept, counts);
}

// Outputs whose size depends on values: stage after stage, and after each the counts that it left
// are waited for. What a call needs between its stages is its own, so that calls may run on many
// threads at once; the stream's order keeps the block alive for what is still queued.
void replay_stages(const phi::CustomContext& context, Call& call, const CachedPlan& entry,
                   const Kernel& kernel) {
  const Plan* stage = entry.plan.get();
  phi::DenseTensor kept;
  kept.Resize({static_cast<int64_t>(stage->measure()->kept_bytes)});
  context.Alloc(&kept, phi::DataType::UINT8);
  std::vector<int64_t> counts(stage->measure()->counts, 0);
  replay(context, call, *stage, kept.data(), counts.data());
  auto& stream = *reinterpret_cast<Stream*>(context.stream());
  while (stage->measure()) {
    {
      const EnqueueNote note(stream, 1);
      stream.copy(counts.data(), kept.data(), 8 * counts.size(), OPENXPU_CARD_TO_HOST);
    }
    stream.synchronize();
    for (int64_t count : counts) {
      if (count < 0) {
        throw Error("Kernel " + kernel.name +
                    " was given values from which no size follows: a negative number among those "
                    "that say how many elements a result has.");
      }
    }
    stage = stage->measure()->next.get();
    for (size_t i = 0; i < entry.outputs.size(); ++i) {
      const size_t index = call.first_output + i;
      const Plan::Extents* extents = stage->measured_extents(static_cast<uint32_t>(index));
      if (extents == nullptr) continue;
      std::vector<int64_t> dims;
      for (int64_t extent : *extents) {
        dims.push_back(extent >= 0 ? extent : counts.at(static_cast<size_t>(-1 - extent)));
      }
      const_cast<phi::DenseTensor*>(call.tensors[index])->Resize(common::make_ddim(dims));
      allocate(context, call, entry, i, kernel);
    }
    replay(context, call, *stage, kept.data(), counts.data());
  }
}

}  // namespace

std::vector<const phi::DenseTensor*> dense_tensors(
    const std::vector<const phi::TensorBase*>& list) {
  std::vector<const phi::DenseTensor*> dense;
  for (const auto* element : list) {
    if (element != nullptr && !phi::DenseTensor::classof(element)) {
      throw Error(
          "A list of tensors on device xpu holds sparse rows; the card works on dense tensors. Use "
          "a dense "
          "gradient (sparse=False).");
    }
    dense.push_back(static_cast<const phi::DenseTensor*>(element));
  }
  return dense;
}

static void run(Kernel& kernel, const phi::CustomContext& context, const Arg* kinds,
                const void* const* args, int count) {
  if (kernel.direct != nullptr) {
    kernel.native_calls.fetch_add(1, std::memory_order_relaxed);
    kernel.direct(context, args);
    return;
  }
  if (!kernel.described.load(std::memory_order_acquire)) describe(kernel);
  if (kernel.reads_lod && !as<phi::DenseTensor>(args[0]).lod().empty()) {
    call_on_cpu(kernel, context, kinds, args, count, "the card does not know LoD.");
    return;
  }
  if (kernel.size_outputs != nullptr) kernel.size_outputs(args);
  if (kernel.size_optional != nullptr) kernel.size_optional(kinds, args);
  Call call;
  call.moves_bits = kernel.moves_bits;
  const uint64_t dynamic = kernel.dynamic_mask;
  for (int i = 0; i < count; ++i) add(call, kinds[i], args[i], ((dynamic >> i) & 1) != 0);
  if (__builtin_expect(call.foreign != phi::DataType::UNDEFINED, 0)) {
    call_on_cpu(kernel, context, kinds, args, count,
                "the card does not know the dtype " + phi::DataTypeToString(call.foreign) + ".");
    return;
  }
  const uint64_t hash = hash_words(call.words.data(), call.words.size());
  auto entry = kernel.cache.find(call.words.data(), call.words.size(), hash);
  if (!entry) entry = plan_signature(kernel, call, hash);
  if (!entry->plan) {
    call_on_cpu(kernel, context, kinds, args, count, entry->refusal);
    return;
  }
  kernel.native_calls.fetch_add(1, std::memory_order_relaxed);
  if (!allocate_outputs(context, call, *entry, kernel)) return;
  if (entry->plan->measure()) return replay_stages(context, call, *entry, kernel);
  replay(context, call, *entry->plan);
}

void run_kernel(Kernel& kernel, const phi::CustomContext& context, const Arg* kinds,
                const void* const* args, int count) {
  try {
    run(kernel, context, kinds, args, count);
  } catch (...) {
    rethrow_for_paddle();
  }
}

void register_kernel(const Registration& row) {
  Kernel* entry = add_kernel(row.name, row.group);
  *row.kernel = entry;
  const auto backend = paddle::experimental::StringToBackend("xpu");
  for (phi::DataType dtype : row.dtypes) {
    const phi::KernelKey key(backend, phi::DataLayout::ALL_LAYOUT, dtype);
    phi::Kernel kernel(row.program, row.eager);
    phi::SetKernelArgsDef(row.types, key, kernel.mutable_args_def());
    for (int i : host_inputs(row.name)) kernel.InputAt(i).SetBackend(phi::Backend::ALL_BACKEND);
    phi::CustomKernelMap::Instance().RegisterCustomKernel(row.name, key, kernel);
    entry->dtypes.push_back(phi::DataTypeToString(dtype));
  }
}

}  // namespace openxpu::paddle_plugin
