// A kernel call of a program (to_static, Inference): arguments are taken from the KernelContext by
// their kinds.
#include <deque>
#include <vector>

#include "bridge.h"
#include "paddle/phi/common/tensor_ref.h"

namespace openxpu::paddle_plugin {
namespace {

// Keeps the values that a signature has by value and a KernelContext has not.
struct Values {
  std::deque<phi::DenseTensor*> outputs;
  std::deque<std::vector<phi::DenseTensor*>> output_lists;
  std::deque<std::vector<const phi::DenseTensor*>> input_lists;
  std::deque<paddle::optional<std::vector<const phi::DenseTensor*>>> optional_lists;
  std::deque<std::vector<const phi::TensorBase*>> base_lists;
  std::deque<phi::Scalar> scalars;
  std::deque<phi::IntArray> int_arrays;
};

// A Scalar or IntArray of a program can be a tensor on the host instead of a value.
const phi::Scalar* scalar(Values& values, const phi::Attribute& attribute) {
  if (const auto* value = paddle::get_if<phi::Scalar>(&attribute)) return value;
  values.scalars.emplace_back(*paddle::get<phi::TensorRef>(attribute).Get());
  return &values.scalars.back();
}
const phi::IntArray* int_array(Values& values, const phi::Attribute& attribute) {
  if (const auto* value = paddle::get_if<phi::IntArray>(&attribute)) return value;
  if (const auto* tensor = paddle::get_if<phi::TensorRef>(&attribute)) {
    values.int_arrays.emplace_back(*tensor->Get());
  } else {
    values.int_arrays.emplace_back(paddle::get<std::vector<phi::TensorRef>>(attribute));
  }
  return &values.int_arrays.back();
}

template <typename T>
const void* plain(const phi::Attribute& attribute) {
  return &paddle::get<T>(attribute);
}

const void* attribute_address(Values& values, Arg kind, const phi::Attribute& a) {
  switch (kind) {
    case Arg::kScalar:
      return scalar(values, a);
    case Arg::kIntArray:
      return int_array(values, a);
    case Arg::kBool:
      return plain<bool>(a);
    case Arg::kInt32:
      return plain<int>(a);
    case Arg::kInt64:
      return plain<int64_t>(a);
    case Arg::kFloat:
      return plain<float>(a);
    case Arg::kDouble:
      return plain<double>(a);
    case Arg::kString:
      return plain<std::string>(a);
    case Arg::kDataType:
      return plain<phi::DataType>(a);
    case Arg::kDataLayout:
      return plain<phi::DataLayout>(a);
    case Arg::kPlace:
      return plain<phi::Place>(a);
    case Arg::kBools:
      return plain<std::vector<bool>>(a);
    case Arg::kInt32s:
      return plain<std::vector<int>>(a);
    case Arg::kInt64s:
      return plain<std::vector<int64_t>>(a);
    case Arg::kFloats:
      return plain<std::vector<float>>(a);
    case Arg::kDoubles:
      return plain<std::vector<double>>(a);
    case Arg::kStrings:
      return plain<std::vector<std::string>>(a);
    case Arg::kScalars:
      return plain<std::vector<phi::Scalar>>(a);
    default:
      return nullptr;
  }
}

}  // namespace

void run_program_kernel(Kernel& kernel, phi::KernelContext* context, const Arg* kinds, int count) {
  std::vector<const void*> pointers(count);
  std::vector<Arg> actual(kinds, kinds + count);
  Values values;
  size_t inputs = 0, attributes = 0, outputs = 0;
  for (int i = 0; i < count; ++i) {
    switch (kinds[i]) {
      case Arg::kTensor:
      case Arg::kOptionalTensor:
        actual[i] = Arg::kMaybeTensor;
        pointers[i] = context->MutableInputAt(context->InputRangeAt(inputs++).first);
        break;
      case Arg::kTensors: {
        const auto& range = context->InputRangeAt(inputs++);
        values.input_lists.push_back(
            context->InputsBetween<phi::DenseTensor>(range.first, range.second));
        pointers[i] = &values.input_lists.back();
        break;
      }
      case Arg::kTensorBases: {
        const auto& range = context->InputRangeAt(inputs++);
        std::vector<const phi::TensorBase*> list;
        for (int k = range.first; k < range.second; ++k) list.push_back(context->MutableInputAt(k));
        values.base_lists.push_back(std::move(list));
        pointers[i] = &values.base_lists.back();
        break;
      }
      case Arg::kOptionalTensors: {
        const auto& range = context->InputRangeAt(inputs++);
        values.optional_lists.push_back(
            context->OptionalInputsBetween<phi::DenseTensor>(range.first, range.second));
        pointers[i] = &values.optional_lists.back();
        break;
      }
      case Arg::kOutput:
        values.outputs.push_back(
            context->MutableOutputAt<phi::DenseTensor>(context->OutputRangeAt(outputs++).first));
        pointers[i] = &values.outputs.back();
        break;
      case Arg::kOutputs: {
        const auto& range = context->OutputRangeAt(outputs++);
        values.output_lists.push_back(
            context->MutableOutputBetween<phi::DenseTensor>(range.first, range.second));
        pointers[i] = &values.output_lists.back();
        break;
      }
      default:
        pointers[i] = attribute_address(values, kinds[i], context->AttrAt(attributes++));
        break;
    }
  }
  run_kernel(kernel, context->GetDeviceContext<phi::CustomContext>(), actual.data(),
             pointers.data(), count);
}

}  // namespace openxpu::paddle_plugin
