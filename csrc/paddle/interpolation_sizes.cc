// Sizes of interpolated images that are given by tensors, as programs give them.
#include "bridge.h"
#include "kernel_table.h"
#include "output_sizes.h"

namespace openxpu::paddle_plugin {
namespace {

const phi::DenseTensor* optional_tensor(Arg kind, const void* pointer) {
  if (kind == Arg::kMaybeTensor) return static_cast<const phi::DenseTensor*>(pointer);
  return static_cast<const paddle::optional<phi::DenseTensor>*>(pointer)->get_ptr();
}

// (x, out_size, size_tensor, scale_tensor, data_layout, out_d, out_h, out_w, scale, ..., out): a
// list of sizes comes before one tensor of sizes, and that before scales.
void size_interpolation(const Arg* kinds, const void* const* args) {
  using Tensors = std::vector<const phi::DenseTensor*>;
  const auto* whole = optional_tensor(kinds[1], args[1]);
  const auto* factors = optional_tensor(kinds[3], args[3]);
  const auto& parts = *static_cast<const paddle::optional<Tensors>*>(args[2]);
  const bool listed = parts && !parts->empty();
  if (whole == nullptr && factors == nullptr && !listed) return;
  const auto& x = *(kinds[0] == Arg::kMaybeTensor ? optional_tensor(kinds[0], args[0])
                                                  : static_cast<const phi::DenseTensor*>(args[0]));
  auto* out = *static_cast<phi::DenseTensor* const*>(args[12]);
  const int sides = x.dims().size() - 2;
  const int first = *static_cast<const std::string*>(args[4]) == "NHWC" ? 1 : 2;
  common::DDim dims = x.dims();
  if (listed || whole != nullptr) {
    const phi::IntArray sizes = listed ? phi::IntArray([&] {
      std::vector<phi::DenseTensor> copies;
      for (const auto* part : *parts) copies.push_back(*part);
      return copies;
    }())
                                       : phi::IntArray(*whole);
    for (int i = 0; i < sides; ++i) dims[first + i] = sizes.GetData()[i];
  } else {
    for (int i = 0; i < sides; ++i) {
      phi::DenseTensor one = *factors;
      phi::DenseTensorMeta meta = one.meta();
      meta.dims = common::make_ddim({1});
      meta.strides = meta.dims;
      if (factors->numel() > 1) meta.offset += i * phi::SizeOf(meta.dtype);
      one.set_meta(meta);
      dims[first + i] = static_cast<int64_t>(x.dims()[first + i] * phi::Scalar(one).to<float>());
    }
  }
  out->Resize(dims);
}

}  // namespace

void connect_interpolation_sizes() {
  for (const char* name : {"linear_interp", "bilinear_interp", "trilinear_interp", "nearest_interp",
                           "bicubic_interp", "interp_antialias"}) {
    find_kernel(name)->size_optional = size_interpolation;
  }
}

}  // namespace openxpu::paddle_plugin
