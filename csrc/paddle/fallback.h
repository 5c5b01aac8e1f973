// Counts and governs the calls that Paddle runs on the CPU because the card has no kernel for them.
#pragma once
#include <string>

namespace openxpu::paddle_plugin {

// Finds Paddle's kernel selection in libpaddle.so and listens to it. False: the wheel's layout is
// not the one this plug-in was made for, and fallbacks cannot be seen.
bool install_fallback_hooks();

// One call of `kernel` that runs on the CPU. OPENXPU_FALLBACK=warn prints the first of each kernel,
// =error throws. `reason` is a sentence, or empty: the card has no such kernel.
void count_fallback(const std::string& kernel, const std::string& reason);

// "name count" lines.
std::string fallback_lines();
void reset_fallbacks();

}  // namespace openxpu::paddle_plugin
