// The phi kernels that this plug-in registers, with their plans and their counters.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "plan.h"

namespace phi {
class CustomContext;
}

namespace openxpu::paddle_plugin {

// A plan together with what it takes to allocate its outputs.
struct CachedPlan {
  std::vector<uint64_t> signature;
  uint64_t hash = 0;
  std::shared_ptr<const Plan> plan;  // null: the planner cannot do this signature (see `refusal`)
  std::string refusal;
  struct OutputRule {
    Plan::Output kind = Plan::Output::kMeta;
    DType dtype = DType::kF32;
  };
  std::vector<OutputRule> outputs;  // one for each present output, in call order
};

// A bounded hash table of the plans of one kernel. When it is full it starts again from empty:
// a program with that many signatures gains nothing from any other order of eviction.
class PlanCache {
 public:
  std::shared_ptr<const CachedPlan> find(const uint64_t* words, size_t count, uint64_t hash);
  void insert(std::shared_ptr<const CachedPlan> entry);
  void clear();
  size_t size();

 private:
  static constexpr size_t kMaxEntries = 2048;
  void place(std::shared_ptr<const CachedPlan> entry);

  std::mutex mutex_;
  std::shared_ptr<const CachedPlan> latest_;
  std::vector<std::shared_ptr<const CachedPlan>> slots_;
  size_t entries_ = 0;
};

struct Kernel {
  Kernel(std::string name, std::string group) : name(std::move(name)), group(std::move(group)) {}
  const std::string name;
  const std::string group;          // the Python module that maps it, or "device": needs no plan
  std::vector<std::string> dtypes;  // as Paddle writes them; complete once the plug-in is loaded
  std::atomic<uint64_t> native_calls{0};   // ran as compiled kernels on a card's stream
  std::atomic<uint64_t> refused_calls{0};  // the planner refused; ran on the CPU (fallback.cc)
  std::atomic<uint64_t> plans_made{0};
  // Asked of Python at the first call: which arguments are dynamic scalars.
  std::atomic<bool> described{false};
  uint64_t dynamic_mask = 0;
  PlanCache cache;
  // The elements are moved, not looked at: any dtype of one byte goes as u8.
  bool moves_bits = false;
  // Set for kernels whose output has no size yet when the kernel is called (output_sizes.cc).
  void (*size_outputs)(const void* const* args) = nullptr;
  // Set for kernels that need no plan (device_kernels.cc).
  void (*direct)(const phi::CustomContext& context, const void* const* args) = nullptr;
};

// The entry for a name; made at registration, never removed.
Kernel* add_kernel(const std::string& name, const std::string& group);
Kernel* find_kernel(const std::string& name);
std::vector<Kernel*> all_kernels();

}  // namespace openxpu::paddle_plugin
