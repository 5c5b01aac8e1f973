// Our exceptions as Paddle's: its Python layer ends the process for any other type.
#pragma once
#include <exception>

namespace openxpu::paddle_plugin {

// Throws the current exception again, as the Paddle error that fits it. Call inside a catch block.
[[noreturn]] void rethrow_for_paddle();

}  // namespace openxpu::paddle_plugin
