// A pass over programs that Paddle Inference serves on the card: convolutions take their batch
// norm, bias, residual sum and activation along, products their bias, and dropout goes.
//
// Paddle runs it before it folds constants, so that filters which batch norms scale are computed
// once, when a program is loaded. openxpu/paddle/built_in_xpu.py asks for it by name.
#include <algorithm>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "paddle/fluid/pir/dialect/operator/ir/op_attribute.h"
#include "paddle/pir/include/core/builder.h"
#include "paddle/pir/include/core/builtin_op.h"
#include "paddle/pir/include/core/builtin_type.h"
#include "paddle/pir/include/core/ir_context.h"
#include "paddle/pir/include/core/operation.h"
#include "paddle/pir/include/pass/pass.h"
#include "paddle/pir/include/pass/pass_registry.h"

namespace openxpu::paddle_plugin {
namespace {

namespace pd = paddle::dialect;

// "pd_op.relu_" -> "relu".
std::string bare_name(const pir::Operation& op) {
  std::string name = op.name();
  if (name.rfind("pd_op.", 0) != 0) return "";
  name.erase(0, 6);
  if (!name.empty() && name.back() == '_') name.pop_back();
  return name;
}

double number(const pir::Operation& op, const std::string& name, double otherwise) {
  const auto found = op.attribute(name);
  if (!found) return otherwise;
  if (auto value = found.dyn_cast<pir::FloatAttribute>()) return value.data();
  if (auto value = found.dyn_cast<pir::DoubleAttribute>()) return value.data();
  return otherwise;
}

bool flag(const pir::Operation& op, const std::string& name) {
  const auto found = op.attribute(name);
  const auto value = found ? found.dyn_cast<pir::BoolAttribute>() : pir::BoolAttribute();
  return value && value.data();
}

std::string text(const pir::Operation& op, const std::string& name) {
  const auto found = op.attribute(name);
  const auto value = found ? found.dyn_cast<pir::StrAttribute>() : pir::StrAttribute();
  return value ? value.AsString() : "";
}

std::optional<pir::DenseTensorType> tensor_type(pir::Value value) {
  if (!value || !value.type()) return std::nullopt;
  if (auto type = value.type().dyn_cast<pir::DenseTensorType>()) return type;
  return std::nullopt;
}

// The operation that alone uses the value, in the same block; none when there is another, or the
// value is fetched.
pir::Operation* only_user(pir::Value value) {
  if (!value.HasOneUse()) return nullptr;
  auto* user = value.first_use().owner();
  auto* maker = value.defining_op();
  return maker != nullptr && user->GetParent() == maker->GetParent() ? user : nullptr;
}

// Whether an operation outside of the row may write into the value's memory: it is read later than
// it was.
bool written_elsewhere(pir::Value value, const std::vector<pir::Operation*>& row) {
  for (auto use = value.use_begin(); use != value.use_end(); ++use) {
    auto* user = use->owner();
    const std::string name = user->name();
    if (name.back() != '_' || name == "pd_op.batch_norm_") continue;
    if (std::find(row.begin(), row.end(), user) == row.end()) return true;
  }
  return false;
}

// Whether the others of an operation's results are without use.
bool only_first_used(pir::Operation& op) {
  for (uint32_t i = 1; i < op.num_results(); ++i) {
    if (op.result(i) && !op.result(i).use_empty()) return false;
  }
  return true;
}

// The activation as kernels read it, "leaky_relu:0.1", or "" for what is none that they know.
std::string activation_text(const pir::Operation& op) {
  const std::string name = bare_name(op);
  static const std::unordered_set<std::string> plain = {"relu", "relu6",   "hardswish",
                                                        "silu", "sigmoid", "tanh"};
  if (plain.count(name) != 0) return name;
  const auto exactly = [](double value) {
    std::ostringstream out;
    out.precision(17);
    out << value;
    return out.str();
  };
  if (name == "swish") return "silu";
  if (name == "leaky_relu") return name + ":" + exactly(number(op, "negative_slope", 0.02));
  if (name == "elu") return name + ":" + exactly(number(op, "alpha", 1.0));
  if (name == "hardsigmoid") {
    return name + ":" + exactly(number(op, "slope", 0.2)) + ":" +
           exactly(number(op, "offset", 0.5));
  }
  if (name == "gelu") return flag(op, "approximate") ? "gelu_tanh" : "gelu";
  return "";
}

// What stands between the first operation of a row and its last, and what they hand to the fused
// one.
struct Row {
  std::vector<pir::Operation*> parts;  // in order; the first is the convolution or product
  pir::Value bias;
  pir::Value residual;
  std::string activation;

  pir::Value result() const { return parts.back()->result(0); }
};

class Fusion {
 public:
  explicit Fusion(pir::IrContext* context) : context_(context), builder_(context) {}

  int64_t count() const { return count_; }

  void visit(pir::Block* block) {
    // Operations are erased and made meanwhile, but only after the one that is looked at.
    std::vector<pir::Operation*> operations;
    for (auto& op : *block) operations.push_back(&op);
    for (auto* op : operations) {
      if (erased_.count(op) != 0) continue;
      for (size_t i = 0; i < op->num_regions(); ++i) {
        for (auto& inner : op->region(i)) visit(&inner);
      }
      const std::string name = bare_name(*op);
      if (name == "dropout") {
        drop(op);
      } else if (name == "conv2d" || name == "depthwise_conv2d") {
        convolution(op);
      } else if (name == "matmul") {
        product(op);
      }
    }
  }

 private:
  // Dropout that is not trained hands on what it gets, unless it scales at inference.
  void drop(pir::Operation* op) {
    if (!flag(*op, "is_test") || text(*op, "mode") != "upscale_in_train") return;
    if (!only_first_used(*op)) return;
    op->result(0).ReplaceAllUsesWith(op->operand_source(0));
    erase({op});
  }

  void convolution(pir::Operation* op) {
    const auto type = tensor_type(op->result(0));
    const auto filter_type = tensor_type(op->operand_source(1));
    if (!type || !filter_type || type->dims().size() != 4) return;
    if (text(*op, "data_format") != "NCHW") return;
    const int64_t channels = filter_type->dims()[0];
    Row row;
    row.parts.push_back(op);
    pir::Operation* norm = nullptr;
    auto* next = only_user(row.result());
    if (next != nullptr && is_norm(next, row.result())) {
      norm = next;
      row.parts.push_back(next);
      next = only_user(row.result());
    } else if (next != nullptr) {
      if (auto bias = addend(next, row.result()); bias && is_bias(bias, channels)) {
        row.bias = bias;
        row.parts.push_back(next);
        next = only_user(row.result());
        if (next != nullptr && is_norm(next, row.result())) {
          norm = next;
          row.parts.push_back(next);
          next = only_user(row.result());
        }
      }
    }
    if (norm == nullptr && !row.bias) return;
    if (next != nullptr) {
      auto other = addend(next, row.result());
      if (other && same_dims(other, row.result())) {
        row.residual = other;
        row.parts.push_back(next);
        next = only_user(row.result());
      }
    }
    finish(row, next);
    if (written_elsewhere(op->operand_source(0), row.parts)) return;
    if (row.residual && written_elsewhere(row.residual, row.parts)) return;
    pir::Value filter = op->operand_source(1);
    builder_.set_insertion_point(row.parts.back());
    if (norm != nullptr) fold(norm, &filter, &row.bias);
    pir::AttributeMap attributes;
    for (const char* name :
         {"strides", "paddings", "padding_algorithm", "dilations", "groups", "data_format"}) {
      attributes[name] = op->attribute(name);
    }
    attributes["activation"] = builder_.str_attr(row.activation);
    attributes["split_channels"] = builder_.array_attr({});
    attributes["exhaustive_search"] = builder_.bool_attr(false);
    attributes["workspace_size_MB"] = builder_.int32_attr(32);
    attributes["fuse_alpha"] = builder_.float_attr(0.0F);
    const std::vector<pir::Value> inputs = {op->operand_source(0), filter, row.bias, row.residual};
    const pir::Type none = pir::VectorType::get(context_, std::vector<pir::Type>{});
    replace(row, make("fused_conv2d_add_act", inputs, attributes, {row.result().type(), none}));
  }

  void product(pir::Operation* op) {
    const auto x = tensor_type(op->operand_source(0));
    const auto y = tensor_type(op->operand_source(1));
    if (!x || !y || x->dims().size() < 2 || y->dims().size() != 2) return;
    if (flag(*op, "transpose_x")) return;
    const bool turned = flag(*op, "transpose_y");
    const int64_t columns = y->dims()[turned ? 0 : 1];
    Row row;
    row.parts.push_back(op);
    auto* next = only_user(row.result());
    if (next == nullptr) return;
    auto bias = addend(next, row.result());
    const auto type = tensor_type(bias);
    if (!type || type->dims().size() != 1 || type->dims()[0] != columns || columns < 0) return;
    row.bias = bias;
    row.parts.push_back(next);
    if (written_elsewhere(op->operand_source(0), row.parts)) return;
    builder_.set_insertion_point(row.parts.back());
    pir::AttributeMap attributes;
    attributes["trans_x"] = builder_.bool_attr(false);
    attributes["trans_y"] = builder_.bool_attr(turned);
    // With another, its kernel would have to hand out what comes before the activation too.
    attributes["activation"] = builder_.str_attr("none");
    replace(row,
            make("fused_gemm_epilogue", {op->operand_source(0), op->operand_source(1), row.bias},
                 attributes, {row.result().type(), pir::Type()}));
  }

  static bool is_norm(pir::Operation* op, pir::Value x) {
    if (bare_name(*op) != "batch_norm" || op->operand_source(0) != x) return false;
    if (!flag(*op, "is_test") && !flag(*op, "use_global_stats")) return false;
    for (uint32_t i = 1; i < 5; ++i) {
      const auto type = tensor_type(op->operand_source(i));
      if (!type || type->dims().size() != 1) return false;
      if (!type->dtype().isa<pir::Float32Type>()) return false;
    }
    return text(*op, "data_format") == "NCHW" && only_first_used(*op) &&
           tensor_type(x)->dtype().isa<pir::Float32Type>();
  }

  // The other summand of an addition, or none.
  static pir::Value addend(pir::Operation* op, pir::Value value) {
    if (bare_name(*op) != "add") return {};
    const auto a = op->operand_source(0);
    const auto b = op->operand_source(1);
    if (a == b) return {};
    return a == value ? b : b == value ? a : pir::Value();
  }

  // [1, channels, 1, 1] or [channels, 1, 1].
  static bool is_bias(pir::Value value, int64_t channels) {
    const auto type = tensor_type(value);
    if (!type) return false;
    const auto& dims = type->dims();
    const int at = dims.size() == 4 ? 1 : 0;
    if (dims.size() != 4 && dims.size() != 3) return false;
    for (int i = 0; i < dims.size(); ++i) {
      if (dims[i] != (i == at ? channels : 1)) return false;
    }
    return true;
  }

  static bool same_dims(pir::Value a, pir::Value b) {
    const auto x = tensor_type(a);
    const auto y = tensor_type(b);
    return x && y && x->dims() == y->dims() && x->dtype() == y->dtype();
  }

  void finish(Row& row, pir::Operation* next) const {
    row.activation = "identity";
    if (next == nullptr) return;
    const std::string found = activation_text(*next);
    if (found.empty() || !only_first_used(*next)) return;
    row.activation = found;
    row.parts.push_back(next);
  }

  // Makes an operation at the insertion point; returns its first result.
  pir::Value make(const std::string& name, const std::vector<pir::Value>& inputs,
                  pir::AttributeMap attributes, const std::vector<pir::Type>& types) {
    const auto info = context_->GetRegisteredOpInfo("pd_op." + name);
    return builder_.Build(inputs, attributes, types, info)->result(0);
  }

  pir::Value elementwise(const std::string& name, pir::Value a, pir::Value b) {
    return make(name, {a, b}, {}, {a.type()});
  }

  pir::Value reshaped(pir::Value value, const std::vector<int64_t>& shape) {
    std::vector<pir::Attribute> extents;
    for (const auto extent : shape) extents.push_back(builder_.int64_attr(extent));
    const auto rank = static_cast<int64_t>(shape.size());
    const auto place = pd::PlaceAttribute::get(context_, phi::CPUPlace());
    pir::AttributeMap attributes = {
        {"value", builder_.array_attr(extents)},
        {"dtype", pd::DataTypeAttribute::get(context_, phi::DataType::INT64)},
        {"place", place}};
    const auto numbers =
        make("full_int_array", {}, attributes, {typed(pir::Int64Type::get(context_), {rank})});
    const auto dtype = tensor_type(value)->dtype();
    return make("reshape", {value, numbers}, {}, {typed(dtype, shape)});
  }

  pir::Type typed(pir::Type dtype, const std::vector<int64_t>& shape) {
    return pir::DenseTensorType::get(context_, dtype, common::make_ddim(shape));
  }

  // filter * scale / sqrt(variance + epsilon), and the bias that goes with it, [channels].
  void fold(pir::Operation* norm, pir::Value* filter, pir::Value* bias) {
    const auto mean = norm->operand_source(1);
    const auto variance = norm->operand_source(2);
    const auto scale = norm->operand_source(3);
    const auto shift = norm->operand_source(4);
    const int64_t channels = tensor_type(mean)->dims()[0];
    pir::AttributeMap attributes = {
        {"shape", pd::IntArrayAttribute::get(context_, phi::IntArray(std::vector<int64_t>{1}))},
        {"value", builder_.double_attr(number(*norm, "epsilon", 1e-5))},
        {"dtype", pd::DataTypeAttribute::get(context_, phi::DataType::FLOAT32)},
        {"place", pd::PlaceAttribute::get(context_, phi::Place())}};
    const auto dtype = tensor_type(mean)->dtype();
    const auto epsilon = make("full", {}, attributes, {typed(dtype, {1})});
    const auto sum = elementwise("add", variance, epsilon);
    const auto factor = elementwise("divide", scale, make("sqrt", {sum}, {}, {sum.type()}));
    *filter = elementwise("multiply", *filter, reshaped(factor, {channels, 1, 1, 1}));
    const auto centre = *bias ? elementwise("subtract", mean, reshaped(*bias, {channels})) : mean;
    *bias = elementwise("subtract", shift, elementwise("multiply", centre, factor));
  }

  void replace(const Row& row, pir::Value fused) {
    row.result().ReplaceAllUsesWith(fused);
    erase(row.parts);
    ++count_;
  }

  void erase(const std::vector<pir::Operation*>& parts) {
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      erased_.insert(*part);
      (*part)->Erase();
    }
  }

  pir::IrContext* context_;
  pir::Builder builder_;
  std::unordered_set<pir::Operation*> erased_;
  int64_t count_ = 0;
};

class InferencePass : public pir::Pass {
 public:
  InferencePass() : pir::Pass("openxpu_inference_pass", 2) {}

 protected:
  void Run(pir::Operation* op) override {
    Fusion fusion(pir::IrContext::Instance());
    for (size_t i = 0; i < op->num_regions(); ++i) {
      for (auto& block : op->region(i)) fusion.visit(&block);
    }
    AddStatistics(fusion.count());
  }

  bool CanApplyOn(pir::Operation* op) const override {
    return op->isa<pir::ModuleOp>() && op->num_regions() > 0;
  }
};

const bool registered = [] {
  pir::PassRegistry::Instance().Insert("openxpu_inference_pass",
                                       [] { return std::make_unique<InferencePass>(); });
  return true;
}();

}  // namespace
}  // namespace openxpu::paddle_plugin
