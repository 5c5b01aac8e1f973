// Kernels whose outputs lie in memory that something else has, too.
#pragma once

namespace openxpu::paddle_plugin {

// Gives the kernels of kernels/shared.inc their functions; after registration.
void connect_shared_kernels();

}  // namespace openxpu::paddle_plugin
