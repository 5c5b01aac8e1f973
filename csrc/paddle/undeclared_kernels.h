// Signatures of phi kernels that the wheel registers without declaring them in a header.
#pragma once
#include <vector>

#include "paddle/phi/core/dense_tensor.h"

namespace phi {

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

}  // namespace phi
