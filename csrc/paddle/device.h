// Fills Paddle's device table (device_ext.h) with the cards of the run time.
#pragma once
#include "paddle/phi/backends/device_ext.h"

namespace openxpu::paddle_plugin {

void fill_device_interface(C_DeviceInterface* table);      // device.cc
int current_card_number();                                 // of this thread, as Paddle set it
void fill_profiler_interface(C_DeviceInterface* table);    // profiler.cc
void fill_collective_interface(C_DeviceInterface* table);  // collectives.cc

}  // namespace openxpu::paddle_plugin
