// Operators that a user adds from Python (openxpu/paddle/operators.py), as custom operators of
// Paddle.
//
// Paddle knows a custom operator by three plain function pointers, without any data of ours. So
// there is a fixed number of places, each with three functions of its own that know their index.
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bridge.h"
#include "error.h"
#include "errors.h"
#include "kernel_table.h"
#include "paddle/phi/api/ext/op_meta_info.h"
#include "paddle/phi/backends/context_pool.h"
#include "paddle/phi/backends/device_manager.h"
#include "paddle/phi/core/enforce.h"

// libpaddle.so exports these; the wheel has no headers of them.
namespace paddle::framework {
// Passes over what is registered already, and returns the rest.
std::unordered_map<std::string, std::vector<OpMetaInfo>> RegisterOperatorWithMetaInfoMap(
    const OpMetaInfoMap& map, void* library);
}  // namespace paddle::framework
namespace egr {
class Controller {
 public:
  static Controller& Instance();
  void MergeOpMetaInfoMap(
      const std::unordered_map<std::string, std::vector<paddle::OpMetaInfo>>& map);
};
}  // namespace egr

namespace openxpu::paddle_plugin {
namespace {

constexpr size_t kPlaces = 256;

// The Python side: outputs' shapes ('s') or dtypes ('d') of operator `index`, from those of its
// inputs. 0: `reply` is one line for each output; else it is an error sentence.
using Infer = int (*)(int index, int what, const char* request, char* reply, size_t capacity);

struct Operator {
  std::string name;
  Kernel* kernel = nullptr;
  std::vector<std::string> inputs, outputs, attribute_types;  // names as Paddle has them
  std::vector<Arg> input_kinds, attribute_kinds;
  std::vector<int> like;  // gradients: output i is like input like[i]
  std::mutex mutex;
  std::unordered_map<std::string, std::vector<std::string>> inferred;
};

std::array<std::unique_ptr<Operator>, kPlaces> operators;
std::atomic<Infer> infer_in_python{nullptr};

bool is_list(const std::string& name) {
  return name.find(paddle::kTensorVectorSuffix) != std::string::npos;
}

// ---------------------------------------------------------------- shapes and dtypes

std::string attribute_text(const Operator& op, const std::vector<paddle::any>& attributes) {
  std::ostringstream out;
  out.precision(17);
  auto numbers = [&](const auto& values) {
    out << "a [";
    for (size_t k = 0; k < values.size(); ++k) out << (k ? "," : "") << values[k];
    out << "]\n";
  };
  for (size_t i = 0; i < op.attribute_kinds.size(); ++i) {
    const paddle::any& value = attributes.at(i);
    switch (op.attribute_kinds[i]) {
      case Arg::kBool:
        out << "a " << (paddle::any_cast<bool>(value) ? "true" : "false") << '\n';
        break;
      case Arg::kInt64:
        out << "a " << paddle::any_cast<int64_t>(value) << '\n';
        break;
      case Arg::kFloat:
        out << "a " << paddle::any_cast<float>(value) << '\n';
        break;
      case Arg::kInt64s:
        numbers(paddle::any_cast<const std::vector<int64_t>&>(value));
        break;
      case Arg::kFloats:
        numbers(paddle::any_cast<const std::vector<float>&>(value));
        break;
      default:  // a name or a mode: Python takes what is no JSON as it stands
        out << "s " << paddle::any_cast<const std::string&>(value) << '\n';
    }
  }
  return out.str();
}

std::vector<std::string> infer(Operator& op, int index, int what, const std::string& request) {
  const std::string key = static_cast<char>(what) + request;
  {
    std::lock_guard<std::mutex> lock(op.mutex);
    auto found = op.inferred.find(key);
    if (found != op.inferred.end()) return found->second;
  }
  std::vector<char> reply(16384);
  if (infer_in_python.load()(index, what, request.c_str(), reply.data(), reply.size()) != 0)
    throw Error(reply.data());
  std::vector<std::string> lines;
  std::istringstream text(reply.data());
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  std::lock_guard<std::mutex> lock(op.mutex);
  if (op.inferred.size() >= 4096) op.inferred.clear();
  return op.inferred[key] = lines;
}

void add_shape(std::string& request, const std::vector<int64_t>& shape) {
  request += 't';
  for (int64_t extent : shape) request += ' ' + std::to_string(extent);
  request += '\n';
}

void add_dtype(std::string& request, phi::DataType dtype) {
  request += "t " + phi::DataTypeToString(dtype) + '\n';
}

std::vector<int64_t> shape_of(const std::string& line) {
  std::vector<int64_t> shape;
  std::istringstream words(line);
  for (int64_t extent; words >> extent;) shape.push_back(extent);
  return shape;
}

// One element for each input, in the order of the operator's declaration: Paddle has single tensors
// and lists apart.
template <typename One, typename Add>
std::string describe(const Operator& op, const std::vector<One>& single,
                     const std::vector<std::vector<One>>& lists, Add add) {
  std::string request;
  size_t singles = 0, list = 0;
  for (const auto& name : op.inputs) {
    if (is_list(name)) {
      const auto& elements = lists.at(list++);
      request += "l " + std::to_string(elements.size()) + '\n';
      for (const auto& element : elements) add(request, element);
    } else {
      add(request, single.at(singles++));
    }
  }
  return request;
}

std::vector<std::vector<int64_t>> infer_shapes(
    int index, const std::vector<std::vector<int64_t>>& shapes,
    const std::vector<std::vector<std::vector<int64_t>>>& lists,
    const std::vector<paddle::any>& attributes) {
  Operator& op = *operators[static_cast<size_t>(index)];
  std::string request = describe(op, shapes, lists, add_shape) + attribute_text(op, attributes);
  std::vector<std::vector<int64_t>> out;
  for (const auto& line : infer(op, index, 's', request)) out.push_back(shape_of(line));
  return out;
}

std::vector<phi::DataType> infer_dtypes(int index, const std::vector<phi::DataType>& dtypes,
                                        const std::vector<std::vector<phi::DataType>>& lists,
                                        const std::vector<paddle::any>& attributes) {
  Operator& op = *operators[static_cast<size_t>(index)];
  std::string request = describe(op, dtypes, lists, add_dtype) + attribute_text(op, attributes);
  std::vector<phi::DataType> out;
  for (const auto& line : infer(op, index, 'd', request))
    out.push_back(phi::StringToDataType(line));
  return out;
}

// ---------------------------------------------------------------- the call

const phi::DenseTensor* dense(const Operator& op, const paddle::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  const auto* found = dynamic_cast<const phi::DenseTensor*>(tensor.impl().get());
  if (found == nullptr)
    throw Error("Operator \"" + op.name + "\" works on dense tensors; one input is none.");
  if (found->initialized() && found->place().GetType() != phi::AllocationType::CUSTOM)
    throw Error("Operator \"" + op.name +
                "\" has a kernel for the card only, and was called with a tensor on " +
                found->place().DebugString() + "; move it with tensor.to(\"xpu\").");
  return found;
}

// Arguments by address, as run_kernel wants them.
struct Arguments {
  std::vector<Arg> kinds;
  std::vector<const void*> addresses;
  std::deque<std::vector<const phi::DenseTensor*>> lists;
  std::deque<phi::DenseTensor*> outputs;
  std::deque<std::vector<phi::DenseTensor*>> output_lists;

  void add(Arg kind, const void* address) {
    kinds.push_back(kind);
    addresses.push_back(address);
  }
};

void add_attribute(Arguments& arguments, Arg kind, const paddle::any& value) {
  switch (kind) {
    case Arg::kBool:
      return arguments.add(kind, paddle::any_cast<bool>(&value));
    case Arg::kInt64:
      return arguments.add(kind, paddle::any_cast<int64_t>(&value));
    case Arg::kFloat:
      return arguments.add(kind, paddle::any_cast<float>(&value));
    case Arg::kInt64s:
      return arguments.add(kind, paddle::any_cast<std::vector<int64_t>>(&value));
    case Arg::kFloats:
      return arguments.add(kind, paddle::any_cast<std::vector<float>>(&value));
    default:
      return arguments.add(Arg::kString, paddle::any_cast<std::string>(&value));
  }
}

void call(int index, paddle::CustomOpKernelContext* context) {
  Operator& op = *operators[static_cast<size_t>(index)];
  Arguments arguments;
  std::vector<std::vector<const phi::DenseTensor*>> inputs;
  const phi::DenseTensor* first = nullptr;
  std::string shapes, dtypes;
  auto describe = [&](const phi::DenseTensor* tensor) {
    if (tensor == nullptr) {
      shapes += "n\n";
      dtypes += "n\n";
      return;
    }
    if (first == nullptr && tensor->initialized()) first = tensor;
    add_shape(shapes, common::vectorize(tensor->dims()));
    add_dtype(dtypes, tensor->dtype());
  };
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const auto [begin, end] = context->InputRangeAt(i);
    auto& list = inputs.emplace_back();
    for (size_t k = begin; k < end; ++k) list.push_back(dense(op, context->InputAt(k)));
    if (is_list(op.inputs[i])) {
      const std::string count = "l " + std::to_string(list.size()) + '\n';
      shapes += count;
      dtypes += count;
      for (const auto* tensor : list) describe(tensor);
      arguments.add(Arg::kTensors, &arguments.lists.emplace_back(list));
    } else {
      const auto* tensor = list.empty() ? nullptr : list[0];
      describe(tensor);
      arguments.add(Arg::kMaybeTensor, tensor);
    }
  }
  const std::vector<paddle::any>& attributes = context->Attrs();
  for (size_t i = 0; i < op.attribute_kinds.size(); ++i)
    add_attribute(arguments, op.attribute_kinds[i], attributes.at(i));

  std::vector<paddle::Tensor> results;
  auto make = [&](phi::DataType dtype, const std::vector<int64_t>& shape) {
    auto tensor = std::make_shared<phi::DenseTensor>(
        std::shared_ptr<phi::Allocation>(), phi::DenseTensorMeta(dtype, common::make_ddim(shape)));
    results.emplace_back(tensor);
    return tensor.get();
  };
  if (op.like.empty()) {
    const std::string text = attribute_text(op, attributes);
    const auto out_shapes = infer(op, index, 's', shapes + text);
    const auto out_dtypes = infer(op, index, 'd', dtypes + text);
    for (size_t i = 0; i < op.outputs.size(); ++i)
      arguments.add(Arg::kOutput,
                    &arguments.outputs.emplace_back(
                        make(phi::StringToDataType(out_dtypes.at(i)), shape_of(out_shapes.at(i)))));
  }
  for (size_t i = 0; i < op.like.size(); ++i) {
    const auto& like = inputs[static_cast<size_t>(op.like[i])];
    std::vector<phi::DenseTensor*> made;
    for (const auto* tensor : like)
      made.push_back(tensor ? make(tensor->dtype(), common::vectorize(tensor->dims())) : nullptr);
    if (is_list(op.outputs[i]))
      arguments.add(Arg::kOutputs, &arguments.output_lists.emplace_back(made));
    else
      arguments.add(Arg::kOutput,
                    &arguments.outputs.emplace_back(made.empty() ? nullptr : made[0]));
  }
  // Inputs without elements may have no memory, and so no place.
  const phi::Place place = first != nullptr
                               ? first->place()
                               : phi::CustomPlace("xpu", phi::DeviceManager::GetDevice("xpu"));
  const auto* device = phi::DeviceContextPool::Instance().Get(place);
  run_kernel(*op.kernel, *static_cast<const phi::CustomContext*>(device), arguments.kinds.data(),
             arguments.addresses.data(), static_cast<int>(arguments.kinds.size()));
  context->ValidateAndAssignOutputs(results);
}

// ---------------------------------------------------------------- functions with an index

template <typename Function>
auto for_paddle(Function function) {
  try {
    return function();
  } catch (...) {
    rethrow_for_paddle();
    throw;
  }
}

template <size_t I>
struct Place {
  static constexpr int index = static_cast<int>(I);
  static void kernel(paddle::CustomOpKernelContext* context) {
    for_paddle([&] { return call(index, context); });
  }
  static std::vector<std::vector<int64_t>> shapes(
      const std::vector<std::vector<int64_t>>& single,
      const std::vector<std::vector<std::vector<int64_t>>>& lists,
      const std::vector<paddle::any>& attributes) {
    return for_paddle([&] { return infer_shapes(index, single, lists, attributes); });
  }
  static std::vector<phi::DataType> dtypes(const std::vector<phi::DataType>& single,
                                           const std::vector<std::vector<phi::DataType>>& lists,
                                           const std::vector<paddle::any>& attributes) {
    return for_paddle([&] { return infer_dtypes(index, single, lists, attributes); });
  }
};

struct Functions {
  paddle::KernelFunc kernel;
  paddle::InferShapeFunc shapes;
  paddle::InferDtypeFunc dtypes;
};

template <size_t... I>
constexpr std::array<Functions, kPlaces> all_functions(std::index_sequence<I...>) {
  return {{{&Place<I>::kernel, &Place<I>::shapes, &Place<I>::dtypes}...}};
}

constexpr auto functions = all_functions(std::make_index_sequence<kPlaces>());

// ---------------------------------------------------------------- registration

Arg attribute_kind(const std::string& type) {
  if (type == "bool") return Arg::kBool;
  if (type == "int64_t") return Arg::kInt64;
  if (type == "float") return Arg::kFloat;
  if (type == "std::vector<int64_t>") return Arg::kInt64s;
  if (type == "std::vector<float>") return Arg::kFloats;
  return Arg::kString;
}

// Lines of words: "operator NAME", "in NAME", "out NAME [INPUT]", "attribute NAME TYPE", and
// "gradient", after which the same follows for the gradient. Names carry Paddle's suffixes.
int register_operator(const char* specification, int place) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<std::unique_ptr<Operator>> made;
  std::vector<std::vector<std::string>> attributes;
  std::string name;
  std::istringstream lines(specification);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string what, first, second;
    words >> what >> first >> second;
    if (what == "operator" || what == "gradient") {
      if (what == "operator") name = first;
      made.push_back(std::make_unique<Operator>());
      made.back()->name = what == "operator" ? name : name + "_grad";
      attributes.emplace_back();
      continue;
    }
    Operator& op = *made.back();
    if (what == "in") {
      op.inputs.push_back(first);
    } else if (what == "out") {
      op.outputs.push_back(first);
      if (!second.empty()) op.like.push_back(std::stoi(second));
    } else {
      op.attribute_kinds.push_back(attribute_kind(second));
      attributes.back().push_back(first + ": " + second);
    }
  }
  if (static_cast<size_t>(place) + made.size() > kPlaces)
    throw Error("Operator \"" + name + "\" finds no place: " + std::to_string(kPlaces) +
                " operators and gradients can be registered in one process.");
  if (find_kernel(name) != nullptr)
    throw Error("An operator \"" + name + "\" is there already; choose another name.");
  auto& infos = paddle::OpMetaInfoMap::Instance()[name];
  if (!infos.empty())
    throw Error("A custom operator \"" + name + "\" is there already; choose another name.");
  for (size_t i = 0; i < made.size(); ++i) {
    const size_t at = static_cast<size_t>(place) + i;
    made[i]->kernel = add_kernel(made[i]->name, "custom");
    paddle::OpMetaInfoBuilder builder(std::string(name), i);
    builder.Inputs(std::vector<std::string>(made[i]->inputs))
        .Outputs(std::vector<std::string>(made[i]->outputs))
        .Attrs(std::move(attributes[i]))
        .SetKernelFn(functions[at].kernel);
    if (i == 0) builder.SetInferShapeFn(functions[at].shapes).SetInferDtypeFn(functions[at].dtypes);
    operators[at] = std::move(made[i]);
  }
  egr::Controller::Instance().MergeOpMetaInfoMap(paddle::framework::RegisterOperatorWithMetaInfoMap(
      paddle::OpMetaInfoMap::Instance(), nullptr));
  return 0;
}

}  // namespace
}  // namespace openxpu::paddle_plugin

// Registers an operator at `place` (its gradient at the next). Null, or a sentence about what is
// wrong, which lives until the calling thread's next call.
extern "C" __attribute__((visibility("default"))) const char* openxpu_paddle_register_operator(
    const char* specification, int place, openxpu::paddle_plugin::Infer infer) {
  thread_local std::string sentence;
  try {
    openxpu::paddle_plugin::infer_in_python.store(infer);
    openxpu::paddle_plugin::register_operator(specification, place);
    return nullptr;
  } catch (const std::exception& error) {
    sentence = error.what();
    return sentence.c_str();
  }
}
