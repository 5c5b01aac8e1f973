// Bindings of the collectives for openxpu._runtime.
#pragma once
#include <nanobind/nanobind.h>

namespace openxpu {
void bind_collectives(nanobind::module_& m);
}
