// The functions behind output_sizes.h: arange, linspace, norms, attention, linear systems, copies
// from and into views.
#include "output_sizes.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "bridge.h"
#include "error.h"
#include "host_value.h"
#include "kernel_table.h"

namespace openxpu::paddle_plugin {
namespace {

template <typename T>
const T& as(const void* pointer) {
  return *static_cast<const T*>(pointer);
}

// In the arithmetic of the output's dtype, as Paddle's own kernels do: 0.1 as a float is another
// step.
template <typename T>
int64_t arange_extent(const phi::Scalar& from, const phi::Scalar& to, const phi::Scalar& by) {
  const T start = from.to<T>(), end = to.to<T>(), step = by.to<T>();
  if (step == T(0)) throw Error("arange was asked for a step of 0; give another step.");
  if ((start < end && step < 0) || (start > end && step > 0)) return 0;
  if (std::is_integral<T>::value) {
    const int64_t span = std::abs(static_cast<int64_t>(end) - static_cast<int64_t>(start));
    const int64_t stride = std::abs(static_cast<int64_t>(step));
    return (span + stride - 1) / stride;
  }
  if (!std::isfinite(static_cast<double>(start)) || !std::isfinite(static_cast<double>(end))) {
    throw Error("arange was asked for a start or an end that is not finite.");
  }
  return static_cast<int64_t>(std::ceil(std::abs((end - start) / step)));
}

int64_t arange_extent(phi::DataType dtype, const phi::Scalar& start, const phi::Scalar& end,
                      const phi::Scalar& step) {
  switch (dtype) {
    case phi::DataType::FLOAT64:
      return arange_extent<double>(start, end, step);
    case phi::DataType::INT32:
      return arange_extent<int>(start, end, step);
    case phi::DataType::INT64:
      return arange_extent<int64_t>(start, end, step);
    default:
      return arange_extent<float>(start, end, step);
  }
}

// (start, end, step, out), the first three tensors of one element: goes on as `arange`, whose are
// scalars.
void arange_tensor(const phi::CustomContext& context, const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[3]);
  const auto dtype = as<phi::DenseTensor>(args[0]).dtype();
  const phi::Scalar start = host_value(as<phi::DenseTensor>(args[0])),
                    end = host_value(as<phi::DenseTensor>(args[1])),
                    step = host_value(as<phi::DenseTensor>(args[2]));
  out->Resize({arange_extent(dtype, start, end, step)});
  static Kernel* const arange = find_kernel("arange");
  constexpr Arg kinds[] = {Arg::kScalar, Arg::kScalar, Arg::kScalar, Arg::kOutput};
  const void* const scalars[] = {&start, &end, &step, args[3]};
  run_kernel(*arange, context, kinds, scalars, 4);
}

// (start, end, step, out): in a program they are tensors, which Paddle's shape inference leaves
// unread.
void size_arange(const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[3]);
  if (out->dims().size() == 1 && out->dims()[0] >= 0) return;
  out->Resize({arange_extent(out->dtype(), as<phi::Scalar>(args[0]), as<phi::Scalar>(args[1]),
                             as<phi::Scalar>(args[2]))});
}

// (x, index, axis, out): in a program the axis is a tensor, and Paddle's shape inference then takes
// it for 0.
void size_gather(const void* const* args) {
  const common::DDim& x = as<phi::DenseTensor>(args[0]).dims();
  const auto& index = as<phi::DenseTensor>(args[1]);
  int64_t axis = as<phi::Scalar>(args[2]).to<int64_t>();
  if (axis < 0) axis += x.size();
  if (axis == 0) return;
  std::vector<int64_t> extents;
  for (int d = 0; d < x.size(); ++d) {
    if (d != axis)
      extents.push_back(x[d]);
    else if (index.dims().size() > 0)
      extents.push_back(index.numel());
  }
  as<phi::DenseTensor*>(args[3])->Resize(common::make_ddim(extents));
}

// (start, stop, number, dtype, out), of logspace with the base before dtype
template <int place>
void size_spaced(const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[place]);
  out->Resize({host_value(as<phi::DenseTensor>(args[2])).to<int64_t>()});
}

// (..., source, target, ..., reduction, size, out, counts): as many nodes receive as there are, or
// as the call says. Paddle leaves them open.
template <int reduction>
void size_received(const void* const* args) {
  const auto& sizes = as<phi::IntArray>(args[reduction + 1]).GetData();
  auto* out = as<phi::DenseTensor*>(args[reduction + 2]);
  const int64_t given = sizes.empty() ? 0 : sizes[0];
  common::DDim dims = out->dims();
  dims[0] = given > 0 ? given : as<phi::DenseTensor>(args[0]).dims()[0];
  out->Resize(dims);
  if (as<std::string>(args[reduction]) == "MEAN")
    as<phi::DenseTensor*>(args[reduction + 3])->Resize({dims[0]});
}

// (x, states, weights, lengths, dropout, bidirectional, inputs, hidden, layers, mode, seed,
// is_test, out, dropout state, last states, reserve): what training keeps, as in
// openxpu/ops/rnn.py.
void size_rnn(const void* const* args) {
  const common::DDim& x = as<phi::DenseTensor>(args[0]).dims();
  const int64_t directions = as<bool>(args[5]) ? 2 : 1, layers = as<int>(args[8]);
  const std::string& mode = as<std::string>(args[9]);
  const int64_t plane = x[1] * as<int>(args[7]), step = plane * x[0], states = step + plane;
  const int64_t layer = mode == "LSTM"  ? 4 * step + 2 * states
                        : mode == "GRU" ? 4 * step + states
                                        : step + states;
  const bool training = !as<bool>(args[11]), dropping = as<float>(args[4]) > 0 && layers > 1;
  auto* masks = as<phi::DenseTensor*>(args[13]);
  auto* reserve = as<phi::DenseTensor*>(args[15]);
  const int64_t between = (layers - 1) * directions * step;
  // The state may be that of another call, or bytes of a layer that was trained on the CPU.
  if (training) masks->clear();
  masks->Resize({dropping ? between : 1});
  reserve->Resize({layers * directions * layer + between});
}

// (x, scale, epsilon, y, invvar): one factor for each row of x.
void size_row_factors(const void* const* args) {
  const phi::DDim& dims = as<phi::DenseTensor>(args[0]).dims();
  as<phi::DenseTensor*>(args[4])->Resize(common::slice_ddim(dims, 0, dims.size() - 1));
}

// (qkv, seeds, mask, five attributes, out, softmax, lse, seeds): qkv is [batch, rows, groups + 2,
// heads of keys, depth].
void size_packed_attention(const void* const* args) {
  const phi::DDim& dims = as<phi::DenseTensor>(args[0]).dims();
  const int64_t batch = dims[0], rows = dims[1], heads = (dims[2] - 2) * dims[3];
  const auto output = [args](int i) { return as<phi::DenseTensor*>(args[i]); };
  output(8)->Resize({batch, rows, heads, dims[4]});
  output(9)->Resize({batch, heads, rows, rows});
  output(10)->Resize({batch, heads, rows});
  output(11)->Resize({2});
}

// (query, key, value, five optional inputs, six attributes, out, lse, seeds).
void size_row_logarithms(const void* const* args) {
  const phi::DDim& dims = as<phi::DenseTensor>(args[0]).dims();
  as<phi::DenseTensor*>(args[15])->Resize({dims[0], dims[2], dims[1]});
}

// (x, label, w, bias, path, code, classes, is_sparse, out, steps, w out): the length of the longest
// way.
void size_hsigmoid(const Arg* kinds, const void* const* args) {
  const auto* path = kinds[4] == Arg::kMaybeTensor
                         ? static_cast<const phi::DenseTensor*>(args[4])
                         : as<paddle::optional<phi::DenseTensor>>(args[4]).get_ptr();
  int64_t steps = 0;
  if (path != nullptr) {
    steps = path->dims()[1];
  } else {
    for (int64_t nodes = as<int>(args[6]) - 1; nodes > 0; nodes >>= 1) ++steps;
  }
  as<phi::DenseTensor*>(args[9])->Resize({as<phi::DenseTensor>(args[0]).dims()[0], steps});
}

// (x, k, axis, largest, sorted, out, indices): in a program k is a tensor, which Paddle's shape
// inference leaves unread.
void size_topk(const void* const* args) {
  const auto& k = as<phi::Scalar>(args[1]);
  if (!k.FromTensor()) return;
  common::DDim dims = as<phi::DenseTensor>(args[0]).dims();
  const int axis = as<int>(args[2]);
  if (dims.size() > 0) dims[axis < 0 ? axis + dims.size() : axis] = k.to<int64_t>();
  for (int i : {5, 6}) as<phi::DenseTensor*>(args[i])->Resize(dims);
}

// (x, y, transpose_x, transpose_y, out): Paddle's shape inference does not broadcast the batches of
// operands of different rank.
void size_matmul(const void* const* args) {
  const common::DDim x = as<phi::DenseTensor>(args[0]).dims(),
                     y = as<phi::DenseTensor>(args[1]).dims();
  if (x.size() == y.size() || x.size() < 3 || y.size() < 3) return;
  auto* out = as<phi::DenseTensor*>(args[4]);
  common::DDim dims = out->dims();
  for (int i = 0; i + 2 < dims.size(); ++i) {
    const int at_x = i - (dims.size() - x.size()), at_y = i - (dims.size() - y.size());
    const int64_t of_x = at_x < 0 ? 1 : x[at_x], of_y = at_y < 0 ? 1 : y[at_y];
    dims[i] = of_x == 1 ? of_y : of_x;
  }
  out->Resize(dims);
}

// (x, out): Paddle hands over an output with the strides of the input.
void dense_contiguous(const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[1]);
  phi::DenseTensorMeta meta = as<phi::DenseTensor>(args[0]).meta();
  meta.strides = phi::DenseTensorMeta::calc_strides(meta.dims);
  meta.offset = 0;
  out->set_meta(meta);
}

// (x, dims, strides, offset, out): the output becomes this view of the memory that it holds
// already.
void view_strided_copy(const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[4]);
  phi::DenseTensorMeta meta = out->meta();
  meta.dims = common::make_ddim(as<std::vector<int64_t>>(args[1]));
  meta.strides = common::make_ddim(as<std::vector<int64_t>>(args[2]));
  meta.offset = static_cast<size_t>(as<int64_t>(args[3]));
  meta.dtype = as<phi::DenseTensor>(args[0]).dtype();
  out->set_meta(meta);
}

// The greatest of some lengths, read from the card; 0 when there are none.
int64_t longest(const phi::DenseTensor& lengths) {
  if (lengths.numel() == 0) return 0;
  const auto values = phi::IntArray(lengths).GetData();
  return std::max<int64_t>(*std::max_element(values.begin(), values.end()), 0);
}

// (x, transitions, lengths, ends, scores, path): paths are as long as the longest sequence.
void size_viterbi_decode(const void* const* args) {
  as<phi::DenseTensor*>(args[5])->Resize(
      {as<phi::DenseTensor>(args[0]).dims()[0], longest(as<phi::DenseTensor>(args[2]))});
}

// (x, kind, threshold, match, value): without LoD one row of matches.
void size_bipartite_match(const void* const* args) {
  const int64_t columns = as<phi::DenseTensor>(args[0]).dims()[1];
  for (int i : {3, 4}) as<phi::DenseTensor*>(args[i])->Resize({1, columns});
}

// (boxes, scores, counts, limit, out, out counts): lists with an entry for each level.
void size_collect_fpn_proposals(const void* const* args) {
  int64_t total = 0;
  for (const auto* boxes : as<std::vector<const phi::DenseTensor*>>(args[0])) {
    total += boxes->dims()[0];
  }
  as<phi::DenseTensor*>(args[4])->Resize({std::min<int64_t>(total, as<int>(args[3])), 4});
  const auto& counts = as<paddle::optional<std::vector<const phi::DenseTensor*>>>(args[2]);
  if (counts && !counts->empty()) {
    as<phi::DenseTensor*>(args[5])->Resize({counts->front()->numel()});
  }
}

// (x, y, lengths, lengths, normalized, count, out): Paddle leaves the output as wide as a sequence.
void size_edit_distance(const void* const* args) {
  as<phi::DenseTensor*>(args[6])->Resize({as<phi::DenseTensor>(args[0]).dims()[0], 1});
}

// (lengths, width, dtype, out): without a width as long as the longest.
void size_sequence_mask(const void* const* args) {
  const auto& lengths = as<phi::DenseTensor>(args[0]);
  const auto width = as<phi::Scalar>(args[1]).to<int64_t>();
  auto dims = common::vectorize<int64_t>(lengths.dims());
  dims.push_back(width < 0 ? longest(lengths) : width);
  as<phi::DenseTensor*>(args[3])->Resize(common::make_ddim(dims));
}

// (x, out): signs and logarithms of the matrices of x, stacked.
void size_slogdet(const void* const* args) {
  const phi::DDim& dims = as<phi::DenseTensor>(args[0]).dims();
  std::vector<int64_t> extents{2};
  for (int d = 0; d + 2 < dims.size(); ++d) extents.push_back(dims[d]);
  as<phi::DenseTensor*>(args[1])->Resize(common::make_ddim(extents));
}

// (x, y, out): y is one right side (for each matrix) when it has as many dimensions less; else
// matrices, whose batches are broadcast with those of x, which shape inference forgets.
void size_solve(const void* const* args) {
  const phi::DDim& x = as<phi::DenseTensor>(args[0]).dims();
  const phi::DDim& y = as<phi::DenseTensor>(args[1]).dims();
  bool vector = y.size() == 1;
  if (y.size() == x.size() - 1) {
    bool same = true;
    for (int d = 0; d < y.size(); ++d) same = same && y[d] == x[d];
    vector = vector || same;
  }
  const int tail = vector ? 1 : 2, x_batch = x.size() - 2, y_batch = y.size() - tail;
  const int batch = std::max(x_batch, y_batch);
  std::vector<int64_t> extents;
  for (int d = 0; d < batch; ++d) {
    const int dx = d - (batch - x_batch), dy = d - (batch - y_batch);
    const int64_t own = dx < 0 ? 1 : x[dx], other = dy < 0 ? 1 : y[dy];
    extents.push_back(own == 1 ? other : own);
  }
  for (int d = y.size() - tail; d < y.size(); ++d) extents.push_back(y[d]);
  as<phi::DenseTensor*>(args[2])->Resize(common::make_ddim(extents));
}

// (x, axes, starts, ends, [steps,] ..., out): in a program the ends can be tensors, for which
// Paddle's shape inference leaves the extents open. `dropped` says where the dimensions are that
// go.
template <typename T, int steps, int dropped, int output>
void size_slice(const void* const* args) {
  auto* out = as<phi::DenseTensor*>(args[output]);
  bool open = false;
  for (int d = 0; d < out->dims().size(); ++d) open = open || out->dims()[d] < 0;
  if (!open) return;
  auto extents = common::vectorize<int64_t>(as<phi::DenseTensor>(args[0]).dims());
  const auto& axes = as<std::vector<T>>(args[1]);
  const auto& starts = as<phi::IntArray>(args[2]).GetData();
  const auto& ends = as<phi::IntArray>(args[3]).GetData();
  const int64_t rank = static_cast<int64_t>(extents.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(axes[i] < 0 ? axes[i] + rank : axes[i]);
    const int64_t extent = extents[axis];
    int64_t step = 1;
    if constexpr (steps > 0) step = as<phi::IntArray>(args[steps]).GetData()[i];
    if (step == 0) throw Error("A slice was asked for a step of 0; give another step.");
    const int64_t lowest = step > 0 ? 0 : -1, highest = step > 0 ? extent : extent - 1;
    const auto placed = [&](int64_t at) {
      return std::clamp(at < 0 ? at + extent : at, lowest, highest);
    };
    const int64_t span =
        step > 0 ? placed(ends[i]) - placed(starts[i]) : placed(starts[i]) - placed(ends[i]);
    const int64_t stride = std::abs(step);
    extents[axis] = span > 0 ? (span + stride - 1) / stride : 0;
  }
  if constexpr (dropped > 0) {
    std::vector<T> gone = as<std::vector<T>>(args[dropped]);
    std::sort(gone.begin(), gone.end());
    for (auto axis = gone.rbegin(); axis != gone.rend(); ++axis)
      extents.erase(extents.begin() + *axis);
  }
  out->Resize(common::make_ddim(extents));
}

// (inputs, equation, out, cache, shapes): the gradient gets the cache and no inputs, so the cache
// is the inputs, in their own memory, as it is on the CPU where no operand has to be transposed.
void cache_einsum_inputs(const void* const* args) {
  const auto& inputs = as<std::vector<const phi::DenseTensor*>>(args[0]);
  const auto& cache = as<std::vector<phi::DenseTensor*>>(args[3]);
  for (size_t i = 0; i < inputs.size() && i < cache.size(); ++i) {
    if (cache[i] != nullptr) cache[i]->ShareDataWith(*inputs[i]);
  }
}

}  // namespace

std::vector<int> host_inputs(const std::string& kernel) {
  if (kernel == "arange_tensor") return {0, 1, 2};
  if (kernel == "linspace" || kernel == "logspace") return {2};
  if (kernel.find("interp") != std::string::npos) return {1, 2, 3};
  return {};
}

void connect_output_sizes() {
  find_kernel("arange_tensor")->direct = arange_tensor;
  find_kernel("gather")->size_outputs = size_gather;
  find_kernel("viterbi_decode")->size_outputs = size_viterbi_decode;
  find_kernel("collect_fpn_proposals")->size_outputs = size_collect_fpn_proposals;
  find_kernel("bipartite_match")->size_outputs = size_bipartite_match;
  find_kernel("edit_distance")->size_outputs = size_edit_distance;
  find_kernel("sequence_mask_scalar")->size_outputs = size_sequence_mask;
  find_kernel("einsum")->size_outputs = cache_einsum_inputs;
  find_kernel("arange")->size_outputs = size_arange;
  find_kernel("slice")->size_outputs = size_slice<int64_t, 0, 5, 6>;
  find_kernel("strided_slice")->size_outputs = size_slice<int, 4, 0, 5>;
  find_kernel("strided_slice_raw")->size_outputs = size_slice<int, 4, 6, 7>;
  find_kernel("linspace")->size_outputs = size_spaced<4>;
  find_kernel("logspace")->size_outputs = size_spaced<5>;
  find_kernel("send_u_recv")->size_outputs = size_received<3>;
  find_kernel("send_ue_recv")->size_outputs = size_received<5>;
  find_kernel("hsigmoid_loss")->size_optional = size_hsigmoid;
  find_kernel("rnn")->size_outputs = size_rnn;
  find_kernel("fused_rms_norm_ext")->size_outputs = size_row_factors;
  find_kernel("flash_attn_qkvpacked")->size_outputs = size_packed_attention;
  find_kernel("memory_efficient_attention")->size_outputs = size_row_logarithms;
  find_kernel("matmul")->size_outputs = size_matmul;
  find_kernel("topk")->size_outputs = size_topk;
  find_kernel("contiguous")->size_outputs = dense_contiguous;
  for (const char* name : {"contiguous", "strided_copy"}) find_kernel(name)->moves_bits = true;
  find_kernel("solve")->size_outputs = size_solve;
  find_kernel("slogdet")->size_outputs = size_slogdet;
  for (const char* name : {"bipartite_match", "crf_decoding", "ctc_align", "edit_distance"}) {
    find_kernel(name)->reads_lod = true;
  }
  find_kernel("strided_copy")->size_outputs = view_strided_copy;
  connect_image_sizes();
}

}  // namespace openxpu::paddle_plugin
