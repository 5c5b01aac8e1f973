// The entry point that `import paddle` calls: device table, kernels, fallback counters, naming
// shim.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "card_group.h"
#include "copies.h"
#include "device.h"
#include "device_kernels.h"
#include "fallback.h"
#include "inplace_fallback.h"
#include "output_sizes.h"
#include "paddle/phi/backends/device_ext.h"
#include "shared_kernels.h"

namespace openxpu::paddle_plugin {

void register_generated_kernels();  // registrations.cc, generated

namespace {

// A wheel that was built for Kunlun chips has a device "xpu" of its own.
bool paddle_has_its_own_xpu() {
  return dlsym(RTLD_DEFAULT, "_ZN3phi8backends3xpu17GetXPUDeviceCountEv") != nullptr;
}

template <typename F>
F symbol(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
}

// Imports openxpu.paddle.boot when this process has a Python interpreter (a C++ inference program
// has none). By name, so that the plug-in does not depend on a libpython.
void boot_python() {
  auto is_initialized = symbol<int (*)()>("Py_IsInitialized");
  if (is_initialized == nullptr || !is_initialized()) return;
  auto ensure = symbol<int (*)()>("PyGILState_Ensure");
  auto release = symbol<void (*)(int)>("PyGILState_Release");
  auto import = symbol<void* (*)(const char*)>("PyImport_ImportModule");
  auto decref = symbol<void (*)(void*)>("Py_DecRef");
  auto print = symbol<void (*)()>("PyErr_Print");
  const int state = ensure();
  void* module = import("openxpu.paddle.boot");
  if (module != nullptr) {
    decref(module);
  } else {
    print();
    std::fprintf(
        stderr,
        "OpenXPU: the Python package openxpu could not be imported (see above). The device xpu "
        "exists, but operators cannot be planned. Install openxpu into this environment.\n");
  }
  release(state);
}

}  // namespace

static void init(CustomRuntimeParams* params) {
  PADDLE_CUSTOM_RUNTIME_CHECK_VERSION(params);
  if (paddle_has_its_own_xpu()) {
    std::fprintf(stderr,
                 "OpenXPU: this Paddle wheel has XPU support of its own, so OpenXPU leaves the "
                 "device name xpu "
                 "to it.\n");
    return;
  }
  static char device_type[] = "xpu";
  static char sub_device_type[] = "host";
  params->device_type = device_type;
  params->sub_device_type = sub_device_type;
  std::memset(params->interface, 0, sizeof(C_DeviceInterface));
  params->interface->size = sizeof(C_DeviceInterface);
  fill_device_interface(params->interface);
  fill_profiler_interface(params->interface);
  fill_collective_interface(params->interface);
  register_generated_kernels();
  connect_device_kernels();
  connect_shared_kernels();
  connect_output_sizes();
  connect_sync_batch_norm();
  connect_program_collectives();
  register_reshard_functions();
  if (!install_fallback_hooks()) {
    std::fprintf(stderr,
                 "OpenXPU: this Paddle build hides its kernel selection, so CPU fallbacks will not "
                 "be counted.\n");
  }
  if (!install_inplace_hooks()) {
    std::fprintf(stderr,
                 "OpenXPU: this Paddle build hides how it returns tensors, so an operator that "
                 "falls back to the CPU "
                 "and works in place gives its tensor new memory.\n");
  }
  install_copy_hooks();  // without them copies are only slower
  boot_python();
}

}  // namespace openxpu::paddle_plugin

extern "C" __attribute__((visibility("default"))) void InitPlugin(CustomRuntimeParams* params) {
  try {
    openxpu::paddle_plugin::init(params);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "OpenXPU: the device xpu is not available: %s\n", error.what());
    params->device_type = nullptr;
  }
}
