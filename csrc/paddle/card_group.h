// Groups of cards in kernels: the communicator that Paddle keeps for some ranks.
#pragma once
#include <cstdint>
#include <vector>

#include "paddle/phi/api/include/api.h"
#include "paddle/phi/backends/custom/custom_context.h"
#include "paddle/phi/backends/device_manager.h"
#include "paddle/phi/core/distributed/auto_parallel/reshard/reshard_utils.h"
#include "paddle/phi/core/distributed/xccl_comm_context.h"

namespace openxpu::paddle_plugin {

// Made at its first use, which is a collective call of these ranks.
inline phi::distributed::XCCLCommContext& communicator_of(const phi::CustomContext& context,
                                                          const std::vector<int64_t>& ranks) {
  phi::DeviceManager::SetDevice(context.GetPlace());  // it is made for the thread's card
  return *static_cast<phi::distributed::XCCLCommContext*>(
      phi::distributed::CreateOrGetCommContext(context, ranks));
}

inline phi::DenseTensor& dense(const paddle::Tensor& tensor) {
  return *static_cast<phi::DenseTensor*>(tensor.impl().get());
}

// With its elements one behind the other.
inline paddle::Tensor tensor_of(const phi::DenseTensor& value) {
  paddle::Tensor tensor(std::make_shared<phi::DenseTensor>(value));
  return value.meta().is_contiguous() ? tensor : paddle::experimental::assign(tensor);
}

void register_reshard_functions();   // reshard.cc
void connect_sync_batch_norm();      // sync_batch_norm.cc
void connect_program_collectives();  // program_collectives.cc

}  // namespace openxpu::paddle_plugin
