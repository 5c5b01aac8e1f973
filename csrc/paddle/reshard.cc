// Auto-parallel tensors on cards: from one split of a tensor over a mesh of ranks to another.
// Paddle's own functions for this are compiled for processors and GPUs only; ours stand before them
// in Paddle's list. The pieces are cut and joined by the card's kernels, and exchanged by its
// collectives.
#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "card_group.h"
#include "paddle/phi/backends/device_manager.h"
#include "paddle/phi/core/distributed/auto_parallel/dist_tensor.h"
#include "paddle/phi/core/distributed/auto_parallel/reshard/reshard_function.h"

namespace phi::distributed {
// Declared in reshard_function_registry.h, which the wheel's libraries export but do not mark.
std::vector<std::unique_ptr<ReshardFunction>>& GetReshardFunctionList();
}  // namespace phi::distributed

namespace openxpu::paddle_plugin {
namespace {

namespace api = paddle::experimental;
using paddle::Tensor;
using phi::DenseTensor;
using phi::distributed::DistTensor;
using phi::distributed::ProcessMesh;
using phi::distributed::TensorDistAttr;
using phi::distributed::XCCLCommContext;
using Sizes = std::vector<int64_t>;

// Ranks that exchange pieces with each other, and this rank's place among them.
struct Line {
  Sizes ranks;
  size_t place;
  const phi::CustomContext* context;

  size_t size() const { return ranks.size(); }
  XCCLCommContext& communicator() const { return communicator_of(*context, ranks); }
};

// The line of the mesh along one of its axes on which this rank lies.
Line line_along(const ProcessMesh& mesh, int64_t axis, const phi::CustomContext& context) {
  const Sizes place = phi::distributed::GetCurRankCoordInMesh(mesh);
  int64_t stride = 1, own = 0;
  for (int64_t a = mesh.ndim(); --a > axis;) stride *= mesh.shape()[a];
  for (int64_t a = 0; a < mesh.ndim(); ++a) own = own * mesh.shape()[a] + place[a];
  Line line{{}, static_cast<size_t>(place[axis]), &context};
  for (int64_t i = 0; i < mesh.shape()[axis]; ++i)
    line.ranks.push_back(mesh.process_ids()[own + (i - place[axis]) * stride]);
  return line;
}

// As Paddle splits: where the extent does not divide, the first parts are larger, and the last may
// be empty (BalancedSplit of this Paddle gives negative parts then).
Sizes split(int64_t extent, int64_t parts) {
  const int64_t most = (extent + parts - 1) / parts;
  Sizes lengths(parts);
  for (int64_t i = 0; i < parts; ++i)
    lengths[i] = std::min(most, std::max<int64_t>(0, extent - i * most));
  return lengths;
}
Sizes split(int64_t extent, const Line& line) {
  return split(extent, static_cast<int64_t>(line.size()));
}

Tensor cut(const Tensor& x, int64_t dimension, int64_t start, int64_t length) {
  return tensor_of(dense(api::slice(x, {dimension}, {start}, {start + length}, {1}, {})));
}

std::vector<Tensor> cut(const Tensor& x, int64_t dimension, const Sizes& lengths) {
  std::vector<Tensor> parts;
  int64_t start = 0;
  for (const int64_t length : lengths) {
    parts.push_back(cut(x, dimension, start, length));
    start += length;
  }
  return parts;
}

// give[p] goes to rank p of the line; what comes from it is lengths[p] long in `dimension`, and all
// of it is joined there.
Tensor exchange(const std::vector<Tensor>& give, int64_t dimension, const Sizes& lengths,
                const Line& line) {
  Sizes shape = give[line.place].shape();
  const int64_t before = std::accumulate(shape.begin(), shape.begin() + dimension, int64_t{1},
                                         std::multiplies<int64_t>());
  const phi::DataType dtype = give[0].dtype();
  const phi::Place place = give[0].place();
  // One behind the other: that is the joined tensor, where the dimension is the outermost.
  shape[dimension] = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  const Tensor whole = api::empty(shape, dtype, place);
  std::vector<const void*> out;
  std::vector<void*> in;
  std::vector<size_t> out_counts, in_counts;
  std::vector<Tensor> parts;
  auto* next = static_cast<char*>(dense(whole).data());
  for (size_t p = 0; p < line.size(); ++p) {
    out.push_back(dense(give[p]).data());
    out_counts.push_back(static_cast<size_t>(give[p].numel()));
    shape[dimension] = lengths[p];
    if (before == 1) {
      in.push_back(next);
    } else {
      parts.push_back(api::empty(shape, dtype, place));
      in.push_back(dense(parts.back()).data());
    }
    in_counts.push_back(static_cast<size_t>(phi::product(phi::make_ddim(shape))));
    next += in_counts.back() * phi::SizeOf(dtype);
  }
  const std::vector<phi::DataType> dtypes(line.size(), dtype);
  phi::DeviceManager::CCLAllToAll(place.GetDeviceType(), out.data(), out_counts.data(),
                                  dtypes.data(), in.data(), in_counts.data(), dtypes.data(),
                                  line.place, line.size(), line.communicator().GetXcclComm(),
                                  line.context->stream());
  if (before == 1) return whole;
  std::vector<Tensor> filled;
  for (const Tensor& part : parts)
    if (part.numel() > 0) filled.push_back(part);
  return filled.empty() ? whole : api::concat(filled, dimension);
}

Tensor sum(const Tensor& x, phi::ReduceType type, const Line& line) {
  const bool any = type == phi::ReduceType::kRedAny, all = type == phi::ReduceType::kRedAll;
  const auto op = any   ? phi::ccl::CCLReduceOp::MAX
                  : all ? phi::ccl::CCLReduceOp::MIN
                        : phi::ccl::ToXCCLReduceOp(static_cast<int>(type));
  const Tensor out = api::empty_like(x);
  line.communicator().AllReduce(&dense(out), dense(x), op, line.context->stream());
  return out;
}

// A sum of which every rank keeps its part of the outermost dimension.
Tensor sum_and_cut(const Tensor& x, const Line& line) {
  Sizes shape = x.shape();
  shape[0] /= static_cast<int64_t>(line.size());
  const Tensor out = api::empty(shape, x.dtype(), x.place());
  line.communicator().ReduceScatter(&dense(out), dense(x), phi::ccl::CCLReduceOp::SUM,
                                    line.context->stream());
  return out;
}

// The mesh axes over which each dimension of a tensor is split, the outermost split first.
std::vector<Sizes> splits_of(const TensorDistAttr& attributes) {
  std::vector<Sizes> splits = attributes.multi_dims_mapping();
  for (Sizes& axes : splits)
    axes.erase(std::remove_if(axes.begin(), axes.end(), [](int64_t axis) { return axis < 0; }),
               axes.end());
  return splits;
}

// The extents that this rank sees of a dimension: whole, after the first split, after the second
// ...
Sizes extents(int64_t whole, const Sizes& axes, const ProcessMesh& mesh) {
  const Sizes place = phi::distributed::GetCurRankCoordInMesh(mesh);
  Sizes seen{whole};
  for (const int64_t axis : axes)
    seen.push_back(split(seen.back(), mesh.shape()[axis])[place[axis]]);
  return seen;
}

class Move {
 public:
  Move(const DistTensor& in, const TensorDistAttr& to, const phi::CustomContext& context)
      : mesh_(to.process_mesh()),
        shape_(common::vectorize<int64_t>(in.dims())),
        context_(context),
        splits_(splits_of(in.dist_attr())),
        wanted_(splits_of(to)),
        sums_(in.dist_attr().partial_status()),
        wanted_sums_(to.partial_status()) {}

  // From the split of the input to the wanted one, both over mesh_.
  Tensor run(Tensor x) {
    for (int64_t axis = 0; axis < mesh_.ndim(); ++axis) x = finish_sum(x, axis);
    x = turn(x);
    for (size_t d = 0; d < shape_.size(); ++d) x = join(x, static_cast<int64_t>(d));
    for (size_t d = 0; d < shape_.size(); ++d) x = divide(x, static_cast<int64_t>(d));
    for (const auto& [axis, type] : wanted_sums_)
      if (sums_.count(axis) == 0) x = begin_sum(x, axis, type);
    return x;
  }

 private:
  Line line(int64_t axis) const { return line_along(mesh_, axis, context_); }

  Tensor finish_sum(const Tensor& x, int64_t axis) {
    const auto found = sums_.find(axis);
    if (found == sums_.end()) return x;
    const auto wanted = wanted_sums_.find(axis);
    if (wanted != wanted_sums_.end() && wanted->second == found->second) return x;
    const phi::ReduceType type = found->second;
    sums_.erase(found);
    const Line ranks = line(axis);
    const auto outermost = [&] { return splits_[0].empty() && wanted_[0] == Sizes{axis}; };
    if (type == phi::ReduceType::kRedSum && !shape_.empty() && outermost() &&
        shape_[0] % static_cast<int64_t>(ranks.size()) == 0) {
      splits_[0] = {axis};
      return sum_and_cut(x, ranks);
    }
    return sum(x, type, ranks);
  }

  // A split that only goes from one dimension to another needs no whole tensor in between.
  Tensor turn(const Tensor& x) {
    for (size_t from = 0; from < shape_.size(); ++from) {
      if (splits_[from].empty()) continue;
      const int64_t axis = splits_[from].back();
      for (size_t to = 0; to < shape_.size(); ++to) {
        Sizes left = splits_[from], grown = splits_[to];
        left.pop_back();
        grown.push_back(axis);
        if (to == from || wanted_[from] != left || wanted_[to] != grown) continue;
        const Line ranks = line(axis);
        const int64_t whole = extents(shape_[from], left, mesh_).back();
        const auto give = cut(x, static_cast<int64_t>(to), split(x.shape()[to], ranks));
        splits_[from] = left;
        splits_[to] = grown;
        return exchange(give, static_cast<int64_t>(from), split(whole, ranks), ranks);
      }
    }
    return x;
  }

  size_t kept(int64_t d) const {
    size_t n = 0;
    while (n < splits_[d].size() && n < wanted_[d].size() && splits_[d][n] == wanted_[d][n]) ++n;
    return n;
  }

  Tensor join(Tensor x, int64_t d) {
    const Sizes seen = extents(shape_[d], splits_[d], mesh_);
    for (size_t n = splits_[d].size(); n > kept(d); --n) {
      const Line ranks = line(splits_[d][n - 1]);
      x = exchange(std::vector<Tensor>(ranks.size(), x), d, split(seen[n - 1], ranks), ranks);
      splits_[d].pop_back();
    }
    return x;
  }

  Tensor divide(Tensor x, int64_t d) {
    for (size_t n = splits_[d].size(); n < wanted_[d].size(); ++n) {
      const Line ranks = line(wanted_[d][n]);
      const Sizes lengths = split(x.shape()[d], ranks);
      const int64_t start =
          std::accumulate(lengths.begin(), lengths.begin() + ranks.place, int64_t{0});
      x = cut(x, d, start, lengths[ranks.place]);
      splits_[d].push_back(wanted_[d][n]);
    }
    return x;
  }

  // Terms of a sum that is the value: the first rank has it, the others have zeros. Of a maximum, a
  // minimum or an average the value itself is a term.
  Tensor begin_sum(const Tensor& x, int64_t axis, phi::ReduceType type) const {
    const bool first = line(axis).place == 0;
    if (first) return x;
    if (type == phi::ReduceType::kRedSum) return api::full_like(x, 0);
    return type == phi::ReduceType::kRedProd ? api::full_like(x, 1) : x;
  }

  const ProcessMesh& mesh_;
  Sizes shape_;
  const phi::CustomContext& context_;
  std::vector<Sizes> splits_, wanted_;
  paddle::flat_hash_map<int64_t, phi::ReduceType> sums_, wanted_sums_;
};

// The local parts of a tensor go from the ranks of one mesh to those of another of the same shape.
Tensor carry(const DistTensor& in, const ProcessMesh& to, const phi::CustomContext& context) {
  const ProcessMesh& from = in.process_mesh();
  const Sizes everyone = phi::distributed::GetUnionProcessIds(from.process_ids(), to.process_ids());
  const int64_t place = phi::distributed::GetLocalRankInParticipate(everyone);
  const int64_t self = everyone[place];
  const auto place_of = [&](int64_t rank) {
    return static_cast<int>(std::find(everyone.begin(), everyone.end(), rank) - everyone.begin());
  };
  const Line line{everyone, static_cast<size_t>(place), &context};
  XCCLCommContext& communicator = line.communicator();
  Tensor out;
  // Sends do not wait for their receivers.
  for (size_t i = 0; i < to.process_ids().size(); ++i) {
    if (from.process_ids()[i] != self) continue;
    const Tensor mine = tensor_of(in.value());
    if (to.process_ids()[i] == self) {
      out = mine;
    } else {
      communicator.Send(dense(mine), mine.numel(), place_of(to.process_ids()[i]), context.stream());
    }
  }
  for (size_t i = 0; i < to.process_ids().size(); ++i) {
    if (to.process_ids()[i] != self || from.process_ids()[i] == self) continue;
    Sizes shape = common::vectorize<int64_t>(in.dims());
    const std::vector<Sizes> splits = splits_of(in.dist_attr());
    for (size_t d = 0; d < shape.size(); ++d) shape[d] = extents(shape[d], splits[d], to).back();
    out = api::empty(shape, in.dtype(), context.GetPlace());
    communicator.Recv(&dense(out), out.numel(), place_of(from.process_ids()[i]), context.stream());
  }
  return out;
}

// The gradients of many operators take a tensor for its shape only; Paddle keeps it without memory.
bool is_shape_only(const DenseTensor& value) {
  return value.numel() > 0 && (value.Holder() == nullptr || value.Holder()->size() == 0);
}

DenseTensor shape_only(const DistTensor& in, const TensorDistAttr& to) {
  phi::DenseTensorMeta meta = in.value().meta();
  Sizes shape = common::vectorize<int64_t>(in.dims());
  const std::vector<Sizes> splits = splits_of(to);
  for (size_t d = 0; d < shape.size(); ++d)
    shape[d] = extents(shape[d], splits[d], to.process_mesh()).back();
  meta.dims = common::make_ddim(shape);
  meta.strides = phi::DenseTensorMeta::calc_strides(meta.dims);
  return DenseTensor(std::make_shared<phi::Allocation>(nullptr, 0, in.place()), meta);
}

bool is_here(const ProcessMesh& mesh) { return phi::distributed::IsCurRankInMesh(mesh); }

bool plainly_split(const TensorDistAttr& attributes) {
  for (int64_t axis = 0; axis < attributes.process_mesh().ndim(); ++axis)
    if (attributes.get_split_factor(axis) != 1) return false;
  return true;
}

class CardReshard final : public phi::distributed::ReshardFunction {
 public:
  bool IsSuitable(const DistTensor& in, const TensorDistAttr& out) override {
    const phi::Place place = in.has_allocation() ? in.place() : phi::distributed::GetDefaultPlace();
    return place.GetType() == phi::AllocationType::CUSTOM &&
           in.process_mesh().shape() == out.process_mesh().shape() &&
           plainly_split(in.dist_attr()) && plainly_split(out) && !out.skip_check_mesh() &&
           !in.skip_check_mesh();
  }

  void Eval(phi::DeviceContext* device_context, const DistTensor& in, const TensorDistAttr& to,
            DistTensor* out) override {
    const auto& context = *static_cast<const phi::CustomContext*>(device_context);
    const ProcessMesh& mesh = to.process_mesh();
    Tensor x;
    if (in.process_mesh() == mesh && is_here(mesh) && is_shape_only(in.value())) {
      SetValue(out, shape_only(in, to));
      return SetDistProps(out, in.dims(), to);
    }
    if (in.process_mesh() == mesh) {
      if (is_here(mesh)) x = tensor_of(in.value());
    } else if (is_here(mesh) || is_here(in.process_mesh())) {
      x = carry(in, mesh, context);
    }
    if (is_here(mesh)) SetValue(out, dense(Move(in, to, context).run(x)));
    SetDistProps(out, in.dims(), to);
  }

  std::string Name() override { return "OpenXPUReshard"; }
};

}  // namespace

void register_reshard_functions() {
  auto& functions = phi::distributed::GetReshardFunctionList();
  functions.insert(functions.begin(), std::make_unique<CardReshard>());
}

}  // namespace openxpu::paddle_plugin
