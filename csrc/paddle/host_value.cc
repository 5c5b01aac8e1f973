// The function behind host_value.h.
#include "host_value.h"

#include "card.h"

namespace openxpu::paddle_plugin {
namespace {

template <typename T>
phi::Scalar read(const phi::DenseTensor& tensor) {
  T value;
  card(tensor.place().GetDeviceId())
      .copy_sync(&value, tensor.data(), sizeof value, OPENXPU_CARD_TO_HOST);
  return phi::Scalar(value);
}

}  // namespace

phi::Scalar host_value(const phi::DenseTensor& tensor) {
  if (tensor.place().GetType() == phi::AllocationType::CUSTOM && tensor.numel() == 1) {
    switch (tensor.dtype()) {
      case phi::DataType::INT32:
        return read<int32_t>(tensor);
      case phi::DataType::INT64:
        return read<int64_t>(tensor);
      case phi::DataType::FLOAT32:
        return read<float>(tensor);
      case phi::DataType::FLOAT64:
        return read<double>(tensor);
      default:
        break;
    }
  }
  return phi::Scalar(tensor);
}

}  // namespace openxpu::paddle_plugin
