// Holds the planner that Python sets.
#include "planner.h"

#include <mutex>

namespace openxpu {
namespace {

std::mutex& mutex() {
  static auto* instance = new std::mutex;
  return *instance;
}
// Never freed: they hold Python objects, and static destructors run after the interpreter has gone.
Planner& planner() {
  static auto* instance = new Planner;
  return *instance;
}
DynamicLookup& lookup() {
  static auto* instance = new DynamicLookup;
  return *instance;
}

}  // namespace

void set_planner(Planner value) {
  std::lock_guard<std::mutex> lock(mutex());
  planner() = std::move(value);
}

void set_dynamic_lookup(DynamicLookup value) {
  std::lock_guard<std::mutex> lock(mutex());
  lookup() = std::move(value);
}

bool has_planner() {
  std::lock_guard<std::mutex> lock(mutex());
  return static_cast<bool>(planner());
}

std::shared_ptr<const Plan> make_plan(const Request& request) {
  Planner call;
  {
    std::lock_guard<std::mutex> lock(mutex());
    call = planner();
  }
  if (!call)
    throw PlanError("RuntimeError",
                    "Kernel \"" + request.kernel +
                        "\" was called before a planner was set; import openxpu.paddle first.");
  return call(request);
}

std::vector<int> dynamic_arguments(const std::string& kernel) {
  DynamicLookup call;
  {
    std::lock_guard<std::mutex> lock(mutex());
    call = lookup();
  }
  return call ? call(kernel) : std::vector<int>{};
}

}  // namespace openxpu
