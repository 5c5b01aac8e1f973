// Tensors of one element as scalars of the host.
#pragma once
#include "paddle/phi/common/scalar.h"
#include "paddle/phi/core/dense_tensor.h"

namespace openxpu::paddle_plugin {

// What phi::Scalar(tensor) says, for which Paddle starts and ends a thread when it copies from a
// card. Waits for the card.
phi::Scalar host_value(const phi::DenseTensor& tensor);

}  // namespace openxpu::paddle_plugin
