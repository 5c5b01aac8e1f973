// Communication between cards (the xccl_* part of Paddle's device table).
#include "device.h"

namespace openxpu::paddle_plugin {

// Without entries Paddle reports each collective as not implemented on this device.
void fill_collective_interface(C_DeviceInterface* /*table*/) {}

}  // namespace openxpu::paddle_plugin
