// Batch normalisation with the statistics of all ranks' rows, in eager calls and in programs. On a
// single card it is batch normalisation, by that kernel's plan.
#include <cstdlib>
#include <numeric>

#include "bridge.h"
#include "card_group.h"
#include "kernel_table.h"

namespace openxpu::paddle_plugin {
namespace {

namespace api = paddle::experimental;
using paddle::Tensor;
using phi::DenseTensor;

template <typename T>
const T& as(const void* pointer) {
  return *static_cast<const T*>(pointer);
}

std::vector<int64_t> all_ranks() {
  const char* text = std::getenv("PADDLE_TRAINERS_NUM");
  std::vector<int64_t> ranks(std::max(1, text == nullptr ? 1 : std::atoi(text)));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

// Sums over rows of x, and over the rows of all ranks.
class Rows {
 public:
  Rows(const phi::CustomContext& context, const DenseTensor& x, const std::string& layout)
      : context_(context), ranks_(all_ranks()), dtype_(wide(x.dtype())) {
    const int channel = layout == "NHWC" || layout == "NDHWC" ? x.dims().size() - 1 : 1;
    for (int i = 0; i < x.dims().size(); ++i) {
      shape_.push_back(i == channel ? -1 : 1);
      if (i != channel) axes_.push_back(i);
    }
    count_ = x.numel() / std::max<int64_t>(1, x.dims()[channel]);
  }

  // Narrow types are summed in f32.
  static phi::DataType wide(phi::DataType type) {
    return type == phi::DataType::FLOAT64 ? type : phi::DataType::FLOAT32;
  }
  Tensor widened(const Tensor& x) const { return x.dtype() == dtype_ ? x : api::cast(x, dtype_); }
  Tensor widened(const DenseTensor& x) const { return widened(tensor_of(x)); }
  Tensor along_channels(const Tensor& x) const { return api::reshape(widened(x), shape_); }
  Tensor along_channels(const DenseTensor& x) const { return along_channels(tensor_of(x)); }
  Tensor sum(const Tensor& x) const { return api::sum(x, axes_); }

  // Means over the rows of all ranks, whose numbers may differ.
  std::vector<Tensor> means(std::vector<Tensor> sums) const {
    const int64_t channels = sums[0].numel(), several = static_cast<int64_t>(sums.size());
    sums.push_back(api::full({1}, static_cast<double>(count_), dtype_, context_.GetPlace()));
    const Tensor mine = api::concat(sums, 0), all = api::empty_like(mine);
    communicator_of(context_, ranks_)
        .AllReduce(&dense(all), dense(mine), phi::ccl::CCLReduceOp::SUM, context_.stream());
    const Tensor count = part(all, several * channels, 1);
    std::vector<Tensor> found;
    for (int64_t i = 0; i < several; ++i)
      found.push_back(api::divide(part(all, i * channels, channels), count));
    return found;
  }

  void give(DenseTensor* out, const Tensor& value) const {
    if (out == nullptr) return;
    const phi::DataType type = out->dtype();
    const bool fits = type == value.dtype() || type == phi::DataType::UNDEFINED;
    const Tensor right = fits ? value : api::cast(value, type);
    out->ShareDataWith(dense(right));
  }
  // Into memory that the tensor has already: running statistics are the layer's variables.
  void write(DenseTensor* out, const Tensor& value) const {
    Tensor there(std::make_shared<DenseTensor>(*out));
    api::assign_out_(value, there);
  }

 private:
  static Tensor part(const Tensor& x, int64_t start, int64_t length) {
    return tensor_of(dense(api::slice(x, {0}, {start}, {start + length}, {1}, {})));
  }

  const phi::CustomContext& context_;
  std::vector<int64_t> ranks_, axes_, shape_;
  phi::DataType dtype_;
  int64_t count_;
};

// (x, mean, variance, scale, bias, is_test, momentum, epsilon, layout, use_global_stats,
// trainable_statistics, y, mean_out, variance_out, saved_mean, saved_variance, reserve_space)
void forward(const phi::CustomContext& context, const void* const* args) {
  if (all_ranks().size() == 1 || as<bool>(args[5]) || as<bool>(args[9])) {
    static Kernel* const plain = find_kernel("batch_norm");
    constexpr Arg kinds[] = {Arg::kTensor, Arg::kTensor, Arg::kTensor, Arg::kTensor, Arg::kTensor,
                             Arg::kBool,   Arg::kFloat,  Arg::kFloat,  Arg::kString, Arg::kBool,
                             Arg::kBool,   Arg::kOutput, Arg::kOutput, Arg::kOutput, Arg::kOutput,
                             Arg::kOutput, Arg::kOutput};
    return run_kernel(*plain, context, kinds, args, 17);
  }
  const auto& x = as<DenseTensor>(args[0]);
  const float momentum = as<float>(args[6]), epsilon = as<float>(args[7]);
  const Rows rows(context, x, as<std::string>(args[8]));
  const Tensor wide = rows.widened(x);
  const Tensor mean = rows.means({rows.sum(wide)})[0];
  const Tensor centred = api::subtract(wide, rows.along_channels(mean));
  const Tensor variance = rows.means({rows.sum(api::multiply(centred, centred))})[0];
  const Tensor inverse = api::rsqrt(api::scale(variance, 1.0, epsilon));
  const Tensor scaled = api::multiply(api::multiply(centred, rows.along_channels(inverse)),
                                      rows.along_channels(as<DenseTensor>(args[3])));
  const auto output = [&](int i) { return as<DenseTensor*>(args[i]); };
  rows.give(output(11), api::add(scaled, rows.along_channels(as<DenseTensor>(args[4]))));
  const auto run = [&](int before, const Tensor& now, int after) {
    const Tensor running = tensor_of(as<DenseTensor>(args[before]));
    const Tensor moved =
        api::add(api::scale(running, momentum),
                 api::scale(now.dtype() == running.dtype() ? now : api::cast(now, running.dtype()),
                            1.0 - momentum));
    if (output(after)->initialized() &&
        output(after)->Holder() == as<DenseTensor>(args[before]).Holder()) {
      rows.write(output(after), moved);
    } else {
      rows.give(output(after), moved);
    }
  };
  run(1, mean, 12);
  run(2, variance, 13);
  rows.give(output(14), mean);
  rows.give(output(15), inverse);
}

// (x, scale, bias, saved_mean, saved_variance, reserve_space, dy, momentum, epsilon, layout,
// is_test, use_global_stats, trainable_statistics, dx, dscale, dbias). The gradients of scale and
// bias are of this rank's rows: data parallel training takes their mean over the ranks.
void backward(const phi::CustomContext& context, const void* const* args) {
  if (all_ranks().size() == 1 || as<bool>(args[10]) || as<bool>(args[11])) {
    static Kernel* const plain = find_kernel("batch_norm_grad");
    const paddle::optional<DenseTensor> none;
    constexpr Arg kinds[] = {Arg::kTensor,         Arg::kTensor, Arg::kTensor, Arg::kOptionalTensor,
                             Arg::kOptionalTensor, Arg::kTensor, Arg::kTensor, Arg::kOptionalTensor,
                             Arg::kTensor,         Arg::kFloat,  Arg::kFloat,  Arg::kString,
                             Arg::kBool,           Arg::kBool,   Arg::kBool,   Arg::kOutput,
                             Arg::kOutput,         Arg::kOutput};
    const void* const given[] = {args[0],  args[1],  args[2],  &none,    &none,    args[3],
                                 args[4],  &none,    args[6],  args[7],  args[8],  args[9],
                                 args[10], args[11], args[12], args[13], args[14], args[15]};
    return run_kernel(*plain, context, kinds, given, 18);
  }
  const auto& x = as<DenseTensor>(args[0]);
  const Rows rows(context, x, as<std::string>(args[9]));
  const Tensor inverse = rows.along_channels(as<DenseTensor>(args[4]));
  const Tensor normal = api::multiply(
      api::subtract(rows.widened(x), rows.along_channels(as<DenseTensor>(args[3]))), inverse);
  const Tensor dy = rows.widened(as<DenseTensor>(args[6]));
  const Tensor dbias = rows.sum(dy), dscale = rows.sum(api::multiply(dy, normal));
  const std::vector<Tensor> means = rows.means({dbias, dscale});
  const Tensor centred = api::subtract(api::subtract(dy, rows.along_channels(means[0])),
                                       api::multiply(normal, rows.along_channels(means[1])));
  const auto output = [&](int i) { return as<DenseTensor*>(args[i]); };
  rows.give(output(13),
            api::multiply(centred,
                          api::multiply(inverse, rows.along_channels(as<DenseTensor>(args[1])))));
  rows.give(output(14), dscale);
  rows.give(output(15), dbias);
}

}  // namespace

void connect_sync_batch_norm() {
  find_kernel("sync_batch_norm")->direct = forward;
  find_kernel("sync_batch_norm_grad")->direct = backward;
}

}  // namespace openxpu::paddle_plugin
