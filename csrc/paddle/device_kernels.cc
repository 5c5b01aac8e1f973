// The functions of kernels/device.inc: memory moves as it is, so there is nothing to plan.
#include "device_kernels.h"

#include "bridge.h"
#include "card.h"
#include "kernel_table.h"
#include "profiler.h"

namespace openxpu::paddle_plugin {
namespace {

const phi::DenseTensor& input(const void* const* args, int i) {
  return *static_cast<const phi::DenseTensor*>(args[i]);
}
phi::DenseTensor* output(const void* const* args, int i) {
  return *static_cast<phi::DenseTensor* const*>(args[i]);
}

// `out` has its shape from Paddle's shape inference; in place, both have one memory.
void same_elements(const phi::CustomContext& context, const phi::DenseTensor& x,
                   phi::DenseTensor* out) {
  if (out == nullptr) return;
  if (x.initialized() && out->initialized() && out->Holder() == x.Holder()) return;
  context.Alloc(out, x.dtype());
  const uint64_t bytes = static_cast<uint64_t>(x.numel()) * phi::SizeOf(x.dtype());
  if (bytes == 0) return;
  auto& stream = *reinterpret_cast<Stream*>(context.stream());
  const EnqueueNote note(stream, 1);
  stream.copy(out->data(), x.data(), bytes, OPENXPU_CARD_TO_CARD);
}

// (x, axes, out[, xshape])
void shaped(const phi::CustomContext& context, const void* const* args) {
  same_elements(context, input(args, 0), output(args, 2));
}
// (x, dout, axes, dx)
void squeeze_grad(const phi::CustomContext& context, const void* const* args) {
  same_elements(context, input(args, 1), output(args, 3));
}
// (x, dout, dx)
void unsqueeze_grad(const phi::CustomContext& context, const void* const* args) {
  same_elements(context, input(args, 1), output(args, 2));
}
// (x, ring_id, use_calc_stream, use_model_parallel, out): its gradient is summed over the cards.
void identity(const phi::CustomContext& context, const void* const* args) {
  same_elements(context, input(args, 0), output(args, 4));
}

}  // namespace

void connect_device_kernels() {
  find_kernel("squeeze")->direct = shaped;
  find_kernel("squeeze_with_xshape")->direct = shaped;
  find_kernel("squeeze_grad")->direct = squeeze_grad;
  find_kernel("unsqueeze")->direct = shaped;
  find_kernel("unsqueeze_with_xshape")->direct = shaped;
  find_kernel("unsqueeze_grad")->direct = unsqueeze_grad;
  find_kernel("c_identity")->direct = identity;
}

}  // namespace openxpu::paddle_plugin
