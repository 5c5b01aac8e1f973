// Fills Paddle's device table (device_ext.h) with the cards of the run time.
#pragma once
#include "driver.h"
#include "paddle/phi/backends/device_ext.h"

namespace openxpu::paddle_plugin {

void fill_device_interface(C_DeviceInterface* table);  // device.cc
int current_card_number();                             // of this thread, as Paddle set it
// On a stream of Paddle, or at once where it is none. Throws Error.
void copy_for_paddle(int card, void* dst, const void* src, size_t bytes, openxpu_copy_kind kind,
                     void* stream);
void fill_profiler_interface(C_DeviceInterface* table);    // profiler.cc
void fill_collective_interface(C_DeviceInterface* table);  // collectives.cc

}  // namespace openxpu::paddle_plugin
