// A plan: the steps of one operator call, made once per signature and replayed without Python.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "card.h"

namespace openxpu {

enum class DType : uint8_t {
  kBool,
  kU8,
  kI8,
  kI16,
  kI32,
  kI64,
  kF16,
  kBF16,
  kF32,
  kF64,
  kC64,
  kC128
};
const char* dtype_name(DType dtype);             // "f32", ...
DType dtype_from_name(const std::string& name);  // throws Error
size_t dtype_bytes(DType dtype);

// A number that changes from call to call and is therefore no part of a plan.
struct Scalar {
  enum Kind : uint8_t { kInt, kFloat } kind;
  union {
    int64_t i;
    double f;
  };
  static Scalar Int(int64_t v) {
    Scalar s;
    s.kind = kInt;
    s.i = v;
    return s;
  }
  static Scalar Float(double v) {
    Scalar s;
    s.kind = kFloat;
    s.f = v;
    return s;
  }
};

// What one 8-byte argument of a kernel is made from (docs/architecture.md, contract 3).
struct Slot {
  enum Kind : uint8_t {
    kTensor,     // address of tensor `index` + `value`
    kWorkspace,  // workspace + `value`
    kConstant,   // address of constant `index` + `value`
    kValue,      // the bits in `value`
    kDynamicI64,
    kDynamicI32,
    kDynamicF32,
    kDynamicF64,  // dynamic scalar `index`, converted
    kKept,        // memory that outlives a stage + `value`
    kCount,       // the `index`-th count that the stages before have measured
    kSeed,
    kOffset
  } kind;
  uint32_t index = 0;
  uint64_t value = 0;
};

// Built by one thread, then only read. Replays may run on many threads and streams at once.
class Plan {
 public:
  static std::shared_ptr<Plan> make(std::string name);

  void add_launch(uint64_t entry, uint64_t scratch_bytes, const uint32_t grid[3],
                  std::vector<Slot> slots, uint64_t cost, std::string kernel_name);
  void add_copy(Slot dst, Slot src, uint64_t bytes);
  void add_fill(Slot dst, uint64_t bytes, uint8_t byte_value);
  uint32_t add_constant(const void* bytes, size_t size);

  // The output dtype that the Paddle stub allocates; see contract 3.
  enum class Output : uint8_t { kMeta, kDType, kLeave };
  void set_output(uint32_t tensor, std::optional<DType> dtype);  // nullopt: leave it alone
  Output output(uint32_t tensor, DType* dtype) const;            // kMeta when never set

  uint64_t workspace_bytes = 0;
  uint64_t philox_increment = 0;

  // Outputs whose size depends on values: this plan is a first stage, which leaves numbers (i64)
  // at the start of a block that is kept. They are read back, give outputs their sizes, and are
  // arguments of the stage after.
  struct Measure {
    uint64_t kept_bytes = 0;
    uint32_t counts = 0;
    std::shared_ptr<const Plan> next;
  };
  // Extents of an output: a number, or -1 - k for the k-th count.
  using Extents = std::vector<int64_t>;
  void set_next(uint64_t kept_bytes, uint32_t counts, std::shared_ptr<const Plan> next);
  void size_output(uint32_t tensor, Extents extents);
  const std::optional<Measure>& measure() const { return measure_; }
  const Extents* measured_extents(uint32_t tensor) const;  // null: the output has its size

  const std::string& name() const { return name_; }
  size_t step_count() const { return steps_.size(); }
  size_t launch_count() const { return launch_count_; }
  uint32_t tensor_count() const { return tensor_count_; }    // 1 + the highest tensor index in use
  uint32_t dynamic_count() const { return dynamic_count_; }  // 1 + the highest dynamic index in use

  // Enqueues all steps on the stream and returns. The plan is kept alive until they have run.
  void replay(Stream& stream, void* const* tensors, size_t tensor_count,
              const Scalar* dynamics = nullptr, size_t dynamic_count = 0) const {
    replay_stage(stream, tensors, tensor_count, dynamics, dynamic_count, nullptr, nullptr);
  }
  // The same for one stage of several; `counts` are those that the stages before have measured.
  void replay_stage(Stream& stream, void* const* tensors, size_t tensor_count,
                    const Scalar* dynamics, size_t dynamic_count, void* kept_memory,
                    const int64_t* counts) const;

 private:
  struct Step {
    enum Kind : uint8_t { kLaunch, kCopy, kFill } kind = kLaunch;
    uint8_t byte_value = 0;
    uint32_t first_slot = 0, slot_count = 0;  // launch: arguments; copy: dst, src; fill: dst
    uint32_t grid[3] = {1, 1, 1};
    uint64_t entry = 0, scratch_bytes = 0, cost = 0;
    uint64_t bytes = 0;
    std::string name;
  };
  explicit Plan(std::string name) : name_(std::move(name)) {}
  void check(const std::vector<Slot>& slots);
  void retain() const { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() const {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  static void release_from_queue(void* plan) { static_cast<const Plan*>(plan)->release(); }

  std::string name_;
  std::vector<Step> steps_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<uint64_t[]>> constants_;
  std::vector<std::pair<uint32_t, std::optional<DType>>> outputs_;
  std::vector<std::pair<uint32_t, Extents>> extents_;
  std::optional<Measure> measure_;
  bool needs_kept_ = false;
  size_t launch_count_ = 0;
  uint32_t tensor_count_ = 0, dynamic_count_ = 0;
  // Own count, because a queue entry holds a plan without a heap allocation.
  mutable std::atomic<uint32_t> references_{1};
};

}  // namespace openxpu
