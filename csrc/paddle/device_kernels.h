// Kernels that run without a plan.
#pragma once

namespace openxpu::paddle_plugin {

// Gives the kernels of kernels/device.inc their functions; after registration.
void connect_device_kernels();

}  // namespace openxpu::paddle_plugin
