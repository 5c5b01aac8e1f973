// Signatures of phi kernels that the wheel registers without declaring them in a header, or only
// together with their CPU code.
#pragma once
#include <string>
#include <vector>

#include "paddle/phi/core/dense_tensor.h"
#include "paddle/utils/optional.h"

namespace phi {

template <typename T, typename Context>
void LegacyMatmulKernel(const Context& context, const DenseTensor& x, const DenseTensor& y,
                        bool transpose_x, bool transpose_y, float alpha, DenseTensor* out);

template <typename T, typename Context>
void LegacyMatmulGradKernel(const Context& context, const DenseTensor& x, const DenseTensor& y,
                            const DenseTensor& dout, bool transpose_x, bool transpose_y,
                            float alpha, DenseTensor* dx, DenseTensor* dy);

template <typename T, typename Context>
void IndexElementwisePutWithTensorKernel(
    const Context& dev_ctx, const DenseTensor& x, const std::vector<const DenseTensor*>& index,
    const DenseTensor& value, const std::vector<int64_t>& input_dims,
    const std::vector<int64_t>& input_strides, const std::vector<int64_t>& index_dims,
    const std::vector<int64_t>& index_strides, const int64_t slice_offset, DenseTensor* out);

template <typename T, typename Context>
void IndexElementwisePutWithTensorGradKernel(
    const Context& dev_ctx, const DenseTensor& x, const std::vector<const DenseTensor*>& index,
    const DenseTensor& value, const DenseTensor& out_grad, const std::vector<int64_t>& input_dims,
    const std::vector<int64_t>& input_strides, const std::vector<int64_t>& index_dims,
    const std::vector<int64_t>& index_strides, const int64_t slice_offset, DenseTensor* x_grad,
    DenseTensor* value_grad);

namespace fusion {

template <typename T, typename Context>
void FCKernel(const Context& context, const DenseTensor& x, const DenseTensor& weight,
              const paddle::optional<DenseTensor>& bias, int columns, const std::string& activation,
              bool padding_weights, DenseTensor* out);

}  // namespace fusion
}  // namespace phi
