// Building and replaying plans.
#include "plan.h"

#include <cstring>

#include "poison.h"

namespace openxpu {
namespace {

struct DTypeRow {
  const char* name;
  size_t bytes;
};
constexpr DTypeRow kDTypes[] = {{"bool", 1}, {"u8", 1},  {"i8", 1},  {"i16", 2},
                                {"i32", 4},  {"i64", 8}, {"f16", 2}, {"bf16", 2},
                                {"f32", 4},  {"f64", 8}, {"c64", 8}, {"c128", 16}};

uint64_t float_bits(double value) {
  auto narrow = static_cast<float>(value);
  uint32_t bits;
  std::memcpy(&bits, &narrow, 4);
  return bits;
}

uint64_t double_bits(double value) {
  uint64_t bits;
  std::memcpy(&bits, &value, 8);
  return bits;
}

int64_t as_int(const Scalar& s) { return s.kind == Scalar::kInt ? s.i : static_cast<int64_t>(s.f); }
double as_double(const Scalar& s) {
  return s.kind == Scalar::kInt ? static_cast<double>(s.i) : s.f;
}

}  // namespace

const char* dtype_name(DType dtype) { return kDTypes[static_cast<int>(dtype)].name; }
size_t dtype_bytes(DType dtype) { return kDTypes[static_cast<int>(dtype)].bytes; }

DType dtype_from_name(const std::string& name) {
  std::string known;
  for (size_t i = 0; i < sizeof kDTypes / sizeof kDTypes[0]; i++) {
    if (name == kDTypes[i].name) return static_cast<DType>(i);
    known += std::string(i ? " " : "") + kDTypes[i].name;
  }
  throw Error("\"" + name + "\" is not a dtype name; known are: " + known + ".");
}

std::shared_ptr<Plan> Plan::make(std::string name) {
  return std::shared_ptr<Plan>(new Plan(std::move(name)), [](Plan* plan) { plan->release(); });
}

void Plan::check(const std::vector<Slot>& slots) {
  for (const Slot& s : slots) {
    switch (s.kind) {
      case Slot::kTensor:
        tensor_count_ = std::max(tensor_count_, s.index + 1);
        break;
      case Slot::kDynamicI64:
      case Slot::kDynamicI32:
      case Slot::kDynamicF32:
      case Slot::kDynamicF64:
        dynamic_count_ = std::max(dynamic_count_, s.index + 1);
        break;
      case Slot::kConstant:
        if (s.index >= constants_.size())
          throw Error("Plan \"" + name_ + "\" refers to constant " + std::to_string(s.index) +
                      " and has " + std::to_string(constants_.size()) +
                      "; add the constant first.");
        break;
      default:
        break;
    }
  }
}

void Plan::add_launch(uint64_t entry, uint64_t scratch_bytes, const uint32_t grid[3],
                      std::vector<Slot> slots, uint64_t cost, std::string kernel_name) {
  if (entry == 0 || slots.size() > OPENXPU_MAX_ARGS)
    throw Error("Plan \"" + name_ + "\": kernel \"" + kernel_name + "\" has entry " +
                std::to_string(entry) + " and " + std::to_string(slots.size()) +
                " arguments; a valid entry and at most " + std::to_string(OPENXPU_MAX_ARGS) +
                " arguments are needed.");
  check(slots);
  Step step;
  step.kind = Step::kLaunch;
  step.first_slot = static_cast<uint32_t>(slots_.size());
  step.slot_count = static_cast<uint32_t>(slots.size());
  std::copy(grid, grid + 3, step.grid);
  step.entry = entry;
  step.scratch_bytes = scratch_bytes;
  step.cost = cost;
  step.name = std::move(kernel_name);
  slots_.insert(slots_.end(), slots.begin(), slots.end());
  steps_.push_back(std::move(step));
  launch_count_++;
}

void Plan::add_copy(Slot dst, Slot src, uint64_t bytes) {
  check({dst, src});
  Step step;
  step.kind = Step::kCopy;
  step.first_slot = static_cast<uint32_t>(slots_.size());
  step.slot_count = 2;
  step.bytes = bytes;
  slots_.insert(slots_.end(), {dst, src});
  steps_.push_back(std::move(step));
}

void Plan::add_fill(Slot dst, uint64_t bytes, uint8_t byte_value) {
  check({dst});
  Step step;
  step.kind = Step::kFill;
  step.byte_value = byte_value;
  step.first_slot = static_cast<uint32_t>(slots_.size());
  step.slot_count = 1;
  step.bytes = bytes;
  slots_.push_back(dst);
  steps_.push_back(std::move(step));
}

uint32_t Plan::add_constant(const void* bytes, size_t size) {
  // 64-byte aligned, with readable slack, like card memory.
  size_t words = size / 8 + 1 + 16;
  auto memory = std::make_unique<uint64_t[]>(words);
  auto address = reinterpret_cast<uint64_t>(memory.get());
  std::memcpy(reinterpret_cast<void*>((address + 63) / 64 * 64), bytes, size);
  constants_.push_back(std::move(memory));
  return static_cast<uint32_t>(constants_.size() - 1);
}

void Plan::set_output(uint32_t tensor, std::optional<DType> dtype) {
  outputs_.emplace_back(tensor, dtype);
}

Plan::Output Plan::output(uint32_t tensor, DType* dtype) const {
  for (auto it = outputs_.rbegin(); it != outputs_.rend(); ++it) {
    if (it->first != tensor) continue;
    if (!it->second) return Output::kLeave;
    *dtype = *it->second;
    return Output::kDType;
  }
  return Output::kMeta;
}

void Plan::replay(Stream& stream, void* const* tensors, size_t tensor_count, const Scalar* dynamics,
                  size_t dynamic_count) const {
  if (tensor_count < tensor_count_ || dynamic_count < dynamic_count_)
    throw Error("Plan \"" + name_ + "\" wants " + std::to_string(tensor_count_) + " tensors and " +
                std::to_string(dynamic_count_) + " dynamic numbers; " +
                std::to_string(tensor_count) + " and " + std::to_string(dynamic_count) +
                " were given.");
  if (steps_.empty()) return;
  std::pair<uint64_t, uint64_t> philox{0, 0};
  if (philox_increment != 0) philox = stream.card().advance_philox(philox_increment);
  std::lock_guard<std::mutex> lock(stream.mutex_);
  uint64_t workspace =
      workspace_bytes != 0 ? reinterpret_cast<uint64_t>(stream.workspace(workspace_bytes)) : 0;
  const int junk = poison();
  if (junk >= 0 && workspace != 0)
    stream.fill(reinterpret_cast<void*>(workspace), junk, workspace_bytes);

  auto resolve = [&](const Slot& s) -> uint64_t {
    switch (s.kind) {
      case Slot::kTensor:
        return reinterpret_cast<uint64_t>(tensors[s.index]) + s.value;
      case Slot::kWorkspace:
        return workspace + s.value;
      case Slot::kConstant:
        return (reinterpret_cast<uint64_t>(constants_[s.index].get()) + 63) / 64 * 64 + s.value;
      case Slot::kValue:
        return s.value;
      case Slot::kDynamicI64:
        return static_cast<uint64_t>(as_int(dynamics[s.index]));
      case Slot::kDynamicI32:
        return static_cast<uint64_t>(int64_t{static_cast<int32_t>(as_int(dynamics[s.index]))});
      case Slot::kDynamicF32:
        return float_bits(as_double(dynamics[s.index]));
      case Slot::kDynamicF64:
        return double_bits(as_double(dynamics[s.index]));
      case Slot::kSeed:
        return philox.first;
      case Slot::kOffset:
        return philox.second;
    }
    return 0;
  };

  // The last launch keeps the plan alive; what comes after it (a copy, a fill) refers to nothing of
  // the plan but, perhaps, a constant, so the plan then ends with a function of its own.
  const Step& last = steps_.back();
  bool kept = false;
  uint64_t args[OPENXPU_MAX_ARGS];
  auto enqueue = [&](const Step& step) {
    const Slot* slots = slots_.data() + step.first_slot;
    switch (step.kind) {
      case Step::kLaunch: {
        for (uint32_t i = 0; i < step.slot_count; i++) args[i] = resolve(slots[i]);
        openxpu_launch launch{};
        launch.entry = step.entry;
        launch.args = args;
        launch.arg_count = step.slot_count;
        std::copy(step.grid, step.grid + 3, launch.grid);
        launch.scratch_bytes = step.scratch_bytes;
        launch.cost = step.cost;
        launch.name = step.name.c_str();
        if (&step == &last) {
          retain();
          kept = true;
          launch.done = release_from_queue;
          launch.done_data = const_cast<Plan*>(this);
        }
        stream.launch(launch);
        break;
      }
      case Step::kCopy: {
        auto* dst = reinterpret_cast<void*>(resolve(slots[0]));
        auto* src = reinterpret_cast<void*>(resolve(slots[1]));
        // In-place operators plan a copy that turns out to have nowhere to go.
        if (dst != src) stream.copy(dst, src, step.bytes, OPENXPU_CARD_TO_CARD);
        break;
      }
      case Step::kFill:
        stream.fill(reinterpret_cast<void*>(resolve(slots[0])), step.byte_value, step.bytes);
        break;
    }
  };
  for (const Step& step : steps_) enqueue(step);
  if (!kept && (launch_count_ != 0 || !constants_.empty())) {
    retain();
    stream.host_function(release_from_queue, const_cast<Plan*>(this), "plan end");
  }
}

}  // namespace openxpu
