// openxpu._runtime.Launcher: a compiled kernel that Python calls with a grid and its arguments.
#pragma once
#include <nanobind/nanobind.h>

namespace openxpu {

void bind_launcher(nanobind::module_& m);

}  // namespace openxpu
