// From a phi kernel's C++ signature to one generic call: the only template that every operator
// instantiates.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <type_traits>
#include <typeindex>
#include <vector>

#include "paddle/phi/backends/custom/custom_context.h"
#include "paddle/phi/common/int_array.h"
#include "paddle/phi/common/scalar.h"
#include "paddle/phi/core/custom_kernel.h"
#include "paddle/phi/core/dense_tensor.h"
#include "paddle/phi/core/kernel_context.h"

namespace phi {
// From paddle/phi/core/kernel_registry.h, whose templates we do not need.
PADDLE_API void SetKernelArgsDef(const std::vector<std::type_index>& args_type,
                                 const KernelKey& default_key, KernelArgsDef* args_def);
}  // namespace phi

namespace openxpu::paddle_plugin {

// What an argument of a phi kernel is. Inputs, attributes and outputs as Paddle's signatures have
// them.
enum class Arg : uint8_t {
  kTensor,
  kOptionalTensor,
  kTensors,
  kOptionalTensors,
  kOutput,
  kOutputs,
  kScalar,
  kIntArray,
  kBool,
  kInt32,
  kInt64,
  kFloat,
  kDouble,
  kString,
  kDataType,
  kDataLayout,
  kPlace,
  kBools,
  kInt32s,
  kInt64s,
  kFloats,
  kDoubles,
  kStrings,
  kScalars,
  kTensorBases,
  kMaybeTensor,  // no signature has it: an optional tensor of a program, by its pointer or null
};

template <typename T>
struct ArgOf {
  static_assert(!sizeof(T*), "this phi kernel takes an argument type that bridge.h does not know");
};
#define OPENXPU_ARG(type, code)             \
  template <>                               \
  struct ArgOf<type> {                      \
    static constexpr Arg value = Arg::code; \
  };
OPENXPU_ARG(phi::DenseTensor, kTensor)
OPENXPU_ARG(paddle::optional<phi::DenseTensor>, kOptionalTensor)
OPENXPU_ARG(std::vector<const phi::DenseTensor*>, kTensors)
OPENXPU_ARG(paddle::optional<std::vector<const phi::DenseTensor*>>, kOptionalTensors)
OPENXPU_ARG(phi::DenseTensor*, kOutput)
OPENXPU_ARG(std::vector<phi::DenseTensor*>, kOutputs)
OPENXPU_ARG(std::vector<const phi::TensorBase*>, kTensorBases)
OPENXPU_ARG(phi::Scalar, kScalar)
OPENXPU_ARG(phi::IntArray, kIntArray)
OPENXPU_ARG(bool, kBool)
OPENXPU_ARG(int, kInt32)
OPENXPU_ARG(int64_t, kInt64)
OPENXPU_ARG(float, kFloat)
OPENXPU_ARG(double, kDouble)
OPENXPU_ARG(std::string, kString)
OPENXPU_ARG(phi::DataType, kDataType)
OPENXPU_ARG(phi::DataLayout, kDataLayout)
OPENXPU_ARG(phi::Place, kPlace)
OPENXPU_ARG(std::vector<bool>, kBools)
OPENXPU_ARG(std::vector<int>, kInt32s)
OPENXPU_ARG(std::vector<int64_t>, kInt64s)
OPENXPU_ARG(std::vector<float>, kFloats)
OPENXPU_ARG(std::vector<double>, kDoubles)
OPENXPU_ARG(std::vector<std::string>, kStrings)
OPENXPU_ARG(std::vector<phi::Scalar>, kScalars)
#undef OPENXPU_ARG

// The elements of a list that may also hold sparse rows; throws when one of them does.
std::vector<const phi::DenseTensor*> dense_tensors(const std::vector<const phi::TensorBase*>& list);

struct Kernel;  // one phi kernel name: its plans and its counters (bridge.cc)

// Signature packing, plan cache, output allocation and replay. `args[i]` points at the i-th
// argument.
void run_kernel(Kernel& kernel, const phi::CustomContext& context, const Arg* kinds,
                const void* const* args, int count);
// The same for a call that comes from a program instead of an eager function (program_call.cc).
void run_program_kernel(Kernel& kernel, phi::KernelContext* context, const Arg* kinds, int count);

// One for each phi kernel; `Tag` is a type that is unique to the kernel. Everything that can be is
// outside of the template: its instantiations are most of the plug-in's compile time.
template <typename Tag, typename Fn>
struct Bridge;

template <typename Tag, typename... Args>
struct Bridge<Tag, void (*)(const phi::CustomContext&, Args...)> {
  static inline Kernel* kernel = nullptr;
  static constexpr Arg kinds[] = {ArgOf<std::remove_cv_t<std::remove_reference_t<Args>>>::value...};

  static void eager(const phi::DeviceContext& context, Args... args) {
    const void* const pointers[] = {static_cast<const void*>(&args)...};
    run_kernel(*kernel, static_cast<const phi::CustomContext&>(context), kinds, pointers,
               sizeof...(Args));
  }
  static void program(phi::KernelContext* context) {
    run_program_kernel(*kernel, context, kinds, sizeof...(Args));
  }
  static std::vector<std::type_index> types() {
    return {std::type_index(typeid(const phi::CustomContext&)), std::type_index(typeid(Args))...};
  }
};

// What a row of kernels/*.inc becomes.
struct Registration {
  const char* name;
  const char* group;  // the .inc file's name, and that of the Python module with its mapping
  Kernel** kernel;
  phi::KernelFn program;
  void* eager;
  std::vector<std::type_index> types;
  std::initializer_list<phi::DataType> dtypes;
};

void register_kernel(const Registration& row);

template <typename Tag, typename Fn>
void register_row(const char* name, const char* group,
                  std::initializer_list<phi::DataType> dtypes) {
  using B = Bridge<Tag, Fn>;
  register_kernel({name, group, &B::kernel, &B::program, reinterpret_cast<void*>(&B::eager),
                   B::types(), dtypes});
}

}  // namespace openxpu::paddle_plugin
