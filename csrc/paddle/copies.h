// Paddle's copies from and to cards.
#pragma once

namespace openxpu::paddle_plugin {

// False: Paddle's libraries are not those that this plug-in was made for; then copies take longer.
bool install_copy_hooks();

}  // namespace openxpu::paddle_plugin
