// Signatures of phi kernels that Paddle's headers only have together with their CPU code.
#pragma once
#include <string>

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

namespace fusion {

template <typename T, typename Context>
void FCKernel(const Context& context, const DenseTensor& x, const DenseTensor& weight,
              const paddle::optional<DenseTensor>& bias, int columns, const std::string& activation,
              bool padding_weights, DenseTensor* out);

}  // namespace fusion
}  // namespace phi
