// The hooks behind inplace_fallback.h.
#include "inplace_fallback.h"

#include <vector>

#include "card.h"
#include "errors.h"
#include "linkage.h"
#include "paddle/phi/api/include/tensor.h"
#include "paddle/phi/backends/context_pool.h"
#include "paddle/phi/backends/custom/custom_context.h"
#include "paddle/phi/common/backend.h"
#include "paddle/phi/core/dense_tensor.h"

namespace openxpu::paddle_plugin {
namespace {

// An eager call names its outputs with SetKernelOutput before its kernel runs, and brings them back
// to the card with TransDataBackend afterwards. An output that has card memory in the first call is
// changed in place.

using Outputs = std::vector<phi::DenseTensor*>;
using SetOutput = phi::DenseTensor* (*)(paddle::Tensor*);
using SetOutputs = Outputs (*)(size_t, std::vector<paddle::Tensor>*);
using ToBackend = void (*)(const phi::DenseTensor*, phi::Backend, phi::DenseTensor*);

SetOutput original_set_output = nullptr;
SetOutputs original_set_outputs = nullptr;
ToBackend original_to_backend = nullptr;

struct Kept {
  const phi::DenseTensor* output;
  phi::DenseTensor before;  // shares the memory
};
thread_local bool falling = false;
thread_local std::vector<Kept> kept;

void keep(const phi::DenseTensor* output) {
  if (output == nullptr || !output->initialized()) return;
  if (output->place().GetType() != phi::AllocationType::CUSTOM) return;
  kept.push_back({output, *output});
}

phi::DenseTensor* set_output(paddle::Tensor* tensor) {
  phi::DenseTensor* output = original_set_output(tensor);
  if (__builtin_expect(falling, 0)) keep(output);
  return output;
}

Outputs set_outputs(size_t count, std::vector<paddle::Tensor>* tensors) {
  Outputs outputs = original_set_outputs(count, tensors);
  if (__builtin_expect(falling, 0)) {
    for (const auto* output : outputs) keep(output);
  }
  return outputs;
}

// True when the result went into the memory that the tensor had before.
bool put_back(const phi::DenseTensor& result, phi::DenseTensor* output) {
  for (Kept& entry : kept) {
    const phi::DenseTensor& before = entry.before;
    if (entry.output != output || &result != output || !result.initialized()) continue;
    if (result.place().GetType() != phi::AllocationType::CPU) return false;
    if (result.dtype() != before.dtype() || result.numel() != before.numel()) return false;
    if (!result.meta().is_contiguous() || !before.meta().is_contiguous()) return false;
    const auto* context = static_cast<const phi::CustomContext*>(
        phi::DeviceContextPool::Instance().Get(before.place()));
    const size_t bytes = result.numel() * phi::SizeOf(result.dtype());
    if (bytes > 0) {
      const auto* base = static_cast<const char*>(before.Holder()->ptr()) + before.meta().offset;
      reinterpret_cast<Stream*>(context->stream())
          ->copy(const_cast<char*>(base), result.data(), bytes, OPENXPU_HOST_TO_CARD);
    }
    phi::DenseTensorMeta meta = result.meta();
    meta.offset = before.meta().offset;
    *output = before;
    output->set_meta(meta);
    return true;
  }
  return false;
}

void to_backend(const phi::DenseTensor* tensor, phi::Backend backend, phi::DenseTensor* output) {
  if (__builtin_expect(!kept.empty(), 0) && tensor != nullptr) {
    try {
      if (put_back(*tensor, output)) return;
    } catch (...) {
      rethrow_for_paddle();
    }
  }
  original_to_backend(tensor, backend, output);
}

}  // namespace

void begin_call(bool falls_back) {
  falling = falls_back;
  if (!kept.empty()) kept.clear();
}

bool install_inplace_hooks() {
  return install_hooks({
      {"_ZN6paddle12experimental15SetKernelOutputEPNS_6TensorE", "libphi_core.so",
       reinterpret_cast<void*>(&set_output), reinterpret_cast<void**>(&original_set_output)},
      {"_ZN6paddle12experimental28SetInplaceVectorKernelOutputEmPSt6vectorINS_6TensorESaIS2_EE",
       "libphi_core.so", reinterpret_cast<void*>(&set_outputs),
       reinterpret_cast<void**>(&original_set_outputs)},
      {"_ZN6paddle12experimental16TransDataBackendEPKN3phi11DenseTensorENS0_7BackendEPS2_",
       "libphi_core.so", reinterpret_cast<void*>(&to_backend),
       reinterpret_cast<void**>(&original_to_backend)},
  });
}

}  // namespace openxpu::paddle_plugin
