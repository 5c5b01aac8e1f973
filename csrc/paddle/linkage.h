// Replaces functions of Paddle by our own where one of its libraries calls them.
#pragma once
#include <vector>

namespace openxpu::paddle_plugin {

struct Hook {
  const char* symbol;   // mangled
  const char* library;  // whose calls have to go to the replacement; those of Paddle's other
                        // libraries do too
  void* replacement;
  void** original;  // receives the function itself before any call is diverted
};

// False: Paddle's libraries are not laid out as those that this plug-in was made for; then some of
// the hooks are not in place.
bool install_hooks(const std::vector<Hook>& hooks);

}  // namespace openxpu::paddle_plugin
