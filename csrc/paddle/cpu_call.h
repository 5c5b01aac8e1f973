// One call of a phi kernel on the CPU, for a signature that the card's planner refuses.
#pragma once
#include <string>

#include "bridge.h"

namespace openxpu::paddle_plugin {

// Copies the inputs to the host, runs Paddle's CPU kernel, copies the outputs back; counted as a
// fallback with `reason`. Throws when there is no CPU kernel either.
void call_on_cpu(Kernel& kernel, const phi::CustomContext& context, const Arg* kinds,
                 const void* const* args, int count, const std::string& reason);

}  // namespace openxpu::paddle_plugin
