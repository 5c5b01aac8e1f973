// The functions of kernels/shared.inc: tensors moved into one buffer of which they become parts,
// and tensors that take another's memory. A copy would detach what the caller wants to share.
#include "shared_kernels.h"

#include "bridge.h"
#include "card.h"
#include "error.h"
#include "kernel_table.h"
#include "paddle/phi/backends/device_manager.h"
#include "profiler.h"

namespace openxpu::paddle_plugin {
namespace {

template <typename T>
const T& as(const void* pointer) {
  return *static_cast<const T*>(pointer);
}

void copy(const phi::CustomContext& context, void* to, const phi::DenseTensor& from) {
  auto& stream = *reinterpret_cast<Stream*>(context.stream());
  const EnqueueNote note(stream, 1);
  const uint64_t bytes = static_cast<uint64_t>(from.numel()) * phi::SizeOf(from.dtype());
  stream.copy(to, from.data(), bytes, OPENXPU_CARD_TO_CARD);
}

void fill(const phi::CustomContext& context, phi::DenseTensor* out, phi::DataType dtype,
          float value) {
  static Kernel* const full = find_kernel("full");
  const phi::IntArray shape(common::vectorize<int64_t>(out->dims()));
  const phi::Scalar scalar(value);
  constexpr Arg kinds[] = {Arg::kIntArray, Arg::kScalar, Arg::kDataType, Arg::kOutput};
  const void* const args[] = {&shape, &scalar, &dtype, &out};
  run_kernel(*full, context, kinds, args, 4);
}

// (inputs, dtype, copy data, set constant, persist output, constant, align, alignment, item size,
// shapes, ranks, outputs, fused): the outputs become parts of `fused`, one behind the other. An
// input may be the output of its place, and have no memory yet.
void coalesce_tensor(const phi::CustomContext& context, const void* const* args) {
  const auto& inputs = as<std::vector<const phi::DenseTensor*>>(args[0]);
  const auto dtype = as<phi::DataType>(args[1]);
  const bool copy_data = as<bool>(args[2]), set_constant = as<bool>(args[3]),
             persist_output = as<bool>(args[4]), align = as<bool>(args[6]);
  const auto& shapes = as<std::vector<int64_t>>(args[9]);
  const auto& ranks = as<std::vector<int64_t>>(args[10]);
  const auto& outputs = as<std::vector<phi::DenseTensor*>>(args[11]);
  auto* fused = as<phi::DenseTensor*>(args[12]);
  if (inputs.empty() || inputs.size() != outputs.size()) {
    throw Error("coalesce_tensor needs as many outputs as inputs, and at least one of them.");
  }
  const int64_t item = as<int>(args[8]) > 0 ? as<int>(args[8]) : phi::SizeOf(dtype);
  const int64_t alignment =
      as<int>(args[7]) > 0
          ? as<int>(args[7])
          : static_cast<int64_t>(phi::DeviceManager::GetMinChunkSize(context.GetPlace()));

  std::vector<int64_t> offsets;
  std::vector<phi::DDim> dims;
  int64_t total = 0;
  size_t at = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    phi::DDim own = inputs[i]->dims();
    if (i < ranks.size()) {
      if (at + ranks[i] > shapes.size()) {
        throw Error("coalesce_tensor was given shapes that end before the last tensor's.");
      }
      if (!inputs[i]->initialized()) own = phi::DDim(shapes.data() + at, ranks[i]);
      at += ranks[i];
    }
    const int64_t count = common::product(own);
    if (count <= 0) {
      throw Error("coalesce_tensor was given a tensor without elements.");
    }
    offsets.push_back(total);
    dims.push_back(own);
    total += align ? (count * item + alignment - 1) / alignment * alignment / item : count;
  }
  fused->Resize({total});
  context.Alloc(fused, dtype);
  auto place_of = [&](size_t i) { return static_cast<char*>(fused->data()) + offsets[i] * item; };
  if (copy_data) {
    for (size_t i = 0; i < inputs.size(); ++i) copy(context, place_of(i), *inputs[i]);
  } else if (set_constant) {
    fill(context, fused, dtype, as<float>(args[5]));
  } else if (persist_output) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i]->initialized()) copy(context, place_of(i), *outputs[i]);
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    phi::DenseTensorMeta meta = fused->meta();
    meta.dims = dims[i];
    meta.strides = phi::DenseTensorMeta::calc_strides(dims[i]);
    meta.offset += static_cast<size_t>(offsets[i] * item);
    outputs[i]->ShareDataWith(*fused);
    outputs[i]->set_meta(meta);
  }
}

// (x, source, dims, strides, offset, out): out is this view of the source's memory.
void set(const phi::CustomContext&, const void* const* args) {
  const auto& source = as<phi::DenseTensor>(args[1]);
  auto* out = as<phi::DenseTensor*>(args[5]);
  phi::DenseTensorMeta meta = source.meta();
  meta.dims = common::make_ddim(as<std::vector<int64_t>>(args[2]));
  meta.strides = common::make_ddim(as<std::vector<int64_t>>(args[3]));
  meta.offset = static_cast<size_t>(as<int64_t>(args[4]));
  out->ShareDataWith(source);
  out->set_meta(meta);
}

// (x, out): out is x. Programs detach a tensor with it.
void share_data(const phi::CustomContext&, const void* const* args) {
  as<phi::DenseTensor*>(args[1])->ShareDataWith(as<phi::DenseTensor>(args[0]));
}

}  // namespace

void connect_shared_kernels() {
  find_kernel("coalesce_tensor")->direct = coalesce_tensor;
  find_kernel("set")->direct = set;
  find_kernel("share_data")->direct = share_data;
}

}  // namespace openxpu::paddle_plugin
