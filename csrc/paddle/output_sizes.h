// Outputs whose extent or view Paddle's shape inference leaves to the kernel.
#pragma once
#include <string>
#include <vector>

namespace openxpu::paddle_plugin {

// Inputs of a kernel whose values decide about its output's extent: they stay on the host, where
// they can be read without waiting for the card.
std::vector<int> host_inputs(const std::string& kernel);

// Gives those kernels their functions; after registration.
void connect_output_sizes();
void connect_image_sizes();

}  // namespace openxpu::paddle_plugin
