// Keeps the memory of a tensor that an operator changes in place on the CPU.
#pragma once

namespace openxpu::paddle_plugin {

// Paddle gives such a tensor new card memory, so that its views, and whatever else shares its
// memory, keep the old values. False: the hooks could not be placed.
bool install_inplace_hooks();

// An eager call on this thread has chosen its kernel; `falls_back`: a CPU kernel for tensors of a
// card.
void begin_call(bool falls_back);

}  // namespace openxpu::paddle_plugin
