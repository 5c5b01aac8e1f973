// Sizes of images that shape inference leaves open: interpolation to a size that a tensor holds,
// crops.
#include "bridge.h"
#include "host_value.h"
#include "kernel_table.h"
#include "output_sizes.h"

namespace openxpu::paddle_plugin {
namespace {

const phi::DenseTensor* optional_tensor(Arg kind, const void* pointer) {
  if (kind == Arg::kMaybeTensor) return static_cast<const phi::DenseTensor*>(pointer);
  return static_cast<const paddle::optional<phi::DenseTensor>*>(pointer)->get_ptr();
}

const phi::DenseTensor& tensor(const void* pointer) {
  return *static_cast<const phi::DenseTensor*>(pointer);
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
  const auto& x = tensor(args[0]);
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
      dims[first + i] = static_cast<int64_t>(x.dims()[first + i] * host_value(one).to<float>());
    }
  }
  out->Resize(dims);
}

// (x, shape, offsets, out): -1 in shape takes what there is.
void size_crop(const void* const* args) {
  const auto& x = tensor(args[0]);
  const auto& shape = static_cast<const phi::IntArray*>(args[1])->GetData();
  const auto& offsets = static_cast<const phi::IntArray*>(args[2])->GetData();
  common::DDim dims = x.dims();
  for (size_t i = 0; i < shape.size(); ++i) {
    dims[i] = shape[i] == -1 ? x.dims()[i] - offsets[i] : shape[i];
  }
  (*static_cast<phi::DenseTensor* const*>(args[3]))->Resize(dims);
}

// (x, out_grad, offsets, x_grad)
void size_crop_grad(const void* const* args) {
  (*static_cast<phi::DenseTensor* const*>(args[3]))->Resize(tensor(args[0]).dims());
}

// (theta, output_shape, align_corners, out): images, channels, then the grid.
void size_affine_grid(const void* const* args) {
  std::vector<int64_t> dims = static_cast<const phi::IntArray*>(args[1])->GetData();
  dims.erase(dims.begin() + 1);
  dims.push_back(static_cast<int64_t>(dims.size()) - 1);
  (*static_cast<phi::DenseTensor* const*>(args[3]))->Resize(common::make_ddim(dims));
}

// (out_grad, output_shape, align_corners, theta_grad)
void size_affine_grid_grad(const void* const* args) {
  const auto& d = tensor(args[0]).dims();
  const int64_t sides = d.size() - 2;
  (*static_cast<phi::DenseTensor* const*>(args[3]))->Resize({d[0], sides, sides + 1});
}

}  // namespace

void connect_image_sizes() {
  find_kernel("affine_grid")->size_outputs = size_affine_grid;
  find_kernel("affine_grid_grad")->size_outputs = size_affine_grid_grad;
  find_kernel("crop")->size_outputs = size_crop;
  find_kernel("crop_grad")->size_outputs = size_crop_grad;
  for (const char* name : {"linear_interp", "bilinear_interp", "trilinear_interp", "nearest_interp",
                           "bicubic_interp", "interp_antialias"}) {
    find_kernel(name)->size_optional = size_interpolation;
  }
}

}  // namespace openxpu::paddle_plugin
