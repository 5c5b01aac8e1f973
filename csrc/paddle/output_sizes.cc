// The functions behind output_sizes.h: arange, linspace, and copies from and into views.
#include "output_sizes.h"

#include <cmath>
#include <cstdlib>

#include "bridge.h"
#include "error.h"
#include "kernel_table.h"

namespace openxpu::paddle_plugin {
namespace {

template <typename T>
const T& as(const void* pointer) {
  return *static_cast<const T*>(pointer);
}

// In the arithmetic of the output's dtype, as Paddle's own kernels do: 0.1 as a float is another
// step.
template <typename T>
int64_t arange_extent(const phi::Scalar& from, const phi::Scalar& to, const phi::Scalar& by) {
  const T start = from.to<T>(), end = to.to<T>(), step = by.to<T>();
  if (step == T(0)) throw Error("arange was asked for a step of 0; give another step.");
  if ((start < end && step < 0) || (start > end && step > 0)) return 0;
  if (std::is_integral<T>::value) {
    const int64_t span = std::abs(static_cast<int64_t>(end) - static_cast<int64_t>(start));
    const int64_t stride = std::abs(static_cast<int64_t>(step));
    return (span + stride - 1) / stride;
  }
  if (!std::isfinite(static_cast<double>(start)) || !std::isfinite(static_cast<double>(end))) {
    throw Error("arange was asked for a start or an end that is not finite.");
  }
  return static_cast<int64_t>(std::ceil(std::abs((end - start) / step)));
}

int64_t arange_extent(phi::DataType dtype, const phi::Scalar& start, const phi::Scalar& end,
                      const phi::Scalar& step) {
  switch (dtype) {
    case phi::DataType::FLOAT64:
      return arange_extent<double>(start, end, step);
    case phi::DataType::INT32:
      return arange_extent<int>(start, end, step);
    case phi::DataType::INT64:
      return arange_extent<int64_t>(start, end, step);
    default:
      return arange_extent<float>(start, end, step);
  }
}

// (start, end, step, out), the first three tensors of one element: goes on as `arange`, whose are
// scalars.
void arange_tensor(const phi::CustomContext& context, const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[3]);
  const auto dtype = as<phi::DenseTensor>(args[0]).dtype();
  const phi::Scalar start(as<phi::DenseTensor>(args[0])), end(as<phi::DenseTensor>(args[1])),
      step(as<phi::DenseTensor>(args[2]));
  out->Resize({arange_extent(dtype, start, end, step)});
  static Kernel* const arange = find_kernel("arange");
  constexpr Arg kinds[] = {Arg::kScalar, Arg::kScalar, Arg::kScalar, Arg::kOutput};
  const void* const scalars[] = {&start, &end, &step, args[3]};
  run_kernel(*arange, context, kinds, scalars, 4);
}

// (start, stop, number, dtype, out)
void size_linspace(const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[4]);
  out->Resize({phi::Scalar(as<phi::DenseTensor>(args[2])).to<int64_t>()});
}

// (x, k, axis, largest, sorted, out, indices): in a program k is a tensor, which Paddle's shape
// inference leaves unread.
void size_topk(const void* const* args) {
  const auto& k = as<phi::Scalar>(args[1]);
  if (!k.FromTensor()) return;
  common::DDim dims = as<phi::DenseTensor>(args[0]).dims();
  const int axis = as<int>(args[2]);
  if (dims.size() > 0) dims[axis < 0 ? axis + dims.size() : axis] = k.to<int64_t>();
  for (int i : {5, 6}) as<phi::DenseTensor*>(args[i])->Resize(dims);
}

// (x, y, transpose_x, transpose_y, out): Paddle's shape inference does not broadcast the batches of
// operands of different rank.
void size_matmul(const void* const* args) {
  const common::DDim x = as<phi::DenseTensor>(args[0]).dims(),
                     y = as<phi::DenseTensor>(args[1]).dims();
  if (x.size() == y.size() || x.size() < 3 || y.size() < 3) return;
  auto* out = as<phi::DenseTensor*>(args[4]);
  common::DDim dims = out->dims();
  for (int i = 0; i + 2 < dims.size(); ++i) {
    const int at_x = i - (dims.size() - x.size()), at_y = i - (dims.size() - y.size());
    const int64_t of_x = at_x < 0 ? 1 : x[at_x], of_y = at_y < 0 ? 1 : y[at_y];
    dims[i] = of_x == 1 ? of_y : of_x;
  }
  out->Resize(dims);
}

// (x, out): Paddle hands over an output with the strides of the input.
void dense_contiguous(const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[1]);
  phi::DenseTensorMeta meta = as<phi::DenseTensor>(args[0]).meta();
  meta.strides = phi::DenseTensorMeta::calc_strides(meta.dims);
  meta.offset = 0;
  out->set_meta(meta);
}

// (x, dims, strides, offset, out): the output becomes this view of the memory that it holds
// already.
void view_strided_copy(const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[4]);
  phi::DenseTensorMeta meta = out->meta();
  meta.dims = common::make_ddim(as<std::vector<int64_t>>(args[1]));
  meta.strides = common::make_ddim(as<std::vector<int64_t>>(args[2]));
  meta.offset = static_cast<size_t>(as<int64_t>(args[3]));
  meta.dtype = as<phi::DenseTensor>(args[0]).dtype();
  out->set_meta(meta);
}

}  // namespace

std::vector<int> host_inputs(const std::string& kernel) {
  if (kernel == "arange_tensor") return {0, 1, 2};
  if (kernel == "linspace") return {2};
  return {};
}

void connect_output_sizes() {
  find_kernel("arange_tensor")->direct = arange_tensor;
  find_kernel("linspace")->size_outputs = size_linspace;
  find_kernel("matmul")->size_outputs = size_matmul;
  find_kernel("topk")->size_outputs = size_topk;
  find_kernel("contiguous")->size_outputs = dense_contiguous;
  for (const char* name : {"contiguous", "strided_copy"}) find_kernel(name)->moves_bits = true;
  find_kernel("strided_copy")->size_outputs = view_strided_copy;
}

}  // namespace openxpu::paddle_plugin
