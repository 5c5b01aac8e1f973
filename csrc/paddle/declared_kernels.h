// Declarations of phi kernels which Paddle's wheel has without a header, or with one that cannot be
// included. Nothing calls them: rows of kernels/*.inc take their types.
#pragma once
#include <cstdint>
#include <vector>

#include "paddle/phi/core/dense_tensor.h"
#include "paddle/utils/optional.h"

namespace openxpu::declared {

using phi::DenseTensor;
using Optional = paddle::optional<DenseTensor>;

template <typename T, typename Context>
void RintKernel(const Context&, const DenseTensor& x, DenseTensor* out);
template <typename T, typename Context>
void SoftReluKernel(const Context&, const DenseTensor& x, float threshold, DenseTensor* out);
template <typename T, typename Context>
void HingeLossKernel(const Context&, const DenseTensor& logits, const DenseTensor& labels,
                     DenseTensor* loss);
template <typename T, typename Context>
void HingeLossGradKernel(const Context&, const DenseTensor& logits, const DenseTensor& labels,
                         const DenseTensor& loss_grad, DenseTensor* logits_grad);
template <typename T, typename Context>
void SwiGLUKernel(const Context&, const DenseTensor& x, const Optional& y, DenseTensor* out);
template <typename T, typename Context>
void SwiGLUGradKernel(const Context&, const DenseTensor& x, const Optional& y,
                      const DenseTensor& out_grad, DenseTensor* x_grad, DenseTensor* y_grad);
template <typename T, typename Context>
void StftKernel(const Context&, const DenseTensor& x, const DenseTensor& window, int n_fft,
                int hop_length, bool normalized, bool onesided, DenseTensor* out);
template <typename T, typename Context>
void StftGradKernel(const Context&, const DenseTensor& x, const DenseTensor& window,
                    const DenseTensor& out_grad, int n_fft, int hop_length, bool normalized,
                    bool onesided, DenseTensor* x_grad);
template <typename T, typename Context>
void VarKernel(const Context&, const DenseTensor& x, const std::vector<int64_t>& axis, bool keepdim,
               bool unbiased, double correction, DenseTensor* out);
template <typename T, typename Context>
void VarGradKernel(const Context&, const DenseTensor& x, const DenseTensor& out_grad,
                   const std::vector<int64_t>& axis, bool keepdim, bool unbiased, double correction,
                   DenseTensor* x_grad);
template <typename T, typename Context>
void StdGradKernel(const Context&, const DenseTensor& x, const DenseTensor& out,
                   const DenseTensor& out_grad, const std::vector<int64_t>& axis, bool keepdim,
                   bool unbiased, double correction, DenseTensor* x_grad);

}  // namespace openxpu::declared
