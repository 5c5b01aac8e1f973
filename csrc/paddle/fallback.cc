// Sees each CPU fallback by listening to Paddle's kernel selection (see the comment at `hooks`).
#include "fallback.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "error.h"
#include "errors.h"
#include "inplace_fallback.h"
#include "kernel_table.h"
#include "linkage.h"
#include "paddle/phi/common/data_type.h"
#include "paddle/phi/core/kernel_factory.h"

namespace pir {
class Operation;
}
namespace paddle::framework {
class ValueExecutionInfo;
}

namespace openxpu::paddle_plugin {
namespace {

// ---------------------------------------------------------------- counters

struct Counter {
  std::atomic<uint64_t> calls{0};
  std::atomic<bool> warned{false};
};

struct Counters {
  std::mutex mutex;
  std::unordered_map<std::string, std::unique_ptr<Counter>> by_name;
};

// Never destroyed: kernels may run on threads that outlive main().
Counters& counters() {
  static auto* instance = new Counters;
  return *instance;
}

Counter& counter(const std::string& kernel) {
  Counters& all = counters();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto& entry = all.by_name[kernel];
  if (!entry) entry = std::make_unique<Counter>();
  return *entry;
}

enum class Policy { kAllow, kWarn, kError };

Policy policy() {
  static const Policy chosen = [] {
    const char* text = std::getenv("OPENXPU_FALLBACK");
    if (text == nullptr || *text == 0 || std::strcmp(text, "allow") == 0) return Policy::kAllow;
    if (std::strcmp(text, "warn") == 0) return Policy::kWarn;
    if (std::strcmp(text, "error") == 0) return Policy::kError;
    std::fprintf(
        stderr,
        "OpenXPU: OPENXPU_FALLBACK is \"%s\"; it can be allow, warn or error. It is taken as "
        "allow.\n",
        text);
    return Policy::kAllow;
  }();
  return chosen;
}

void note(const std::string& kernel, Counter& entry, const std::string& reason) {
  const Policy chosen = policy();
  if (chosen != Policy::kAllow) {
    if (chosen == Policy::kError) {
      throw Error("Operator " + kernel + " would run on the CPU: " + reason +
                  " OPENXPU_FALLBACK=error forbids that; set it to warn or allow to go on.");
    }
    if (!entry.warned.exchange(true)) {
      std::fprintf(stderr, "OpenXPU: operator %s runs on the CPU: %s\n", kernel.c_str(),
                   reason.c_str());
    }
  }
  entry.calls.fetch_add(1, std::memory_order_relaxed);
}

// ---------------------------------------------------------------- hooks

// Paddle decides about a fallback in two places:
//  - eager: each call asks SelectKernelOrThrowError, whose result says `has_fallback_cpu`; the
//    callers are in libphi_core.so itself;
//  - programs (to_static, Inference): while a program is lowered, HasKernel(card) fails and
//    HasKernel(CPU) succeeds. Operators all of whose inputs come from there run on the CPU too.
//    Later the instruction takes its CPU kernel from SelectKernelOrThrowError, and gets a copy of
//    it that counts each run. The callers are in libpaddle.so.
// The hooks (linkage.h) call the original function and change nothing else.

using phi::Kernel;
using phi::KernelFactory;
using phi::KernelKey;
using phi::KernelResult;

using SelectOrThrow = KernelResult (*)(const KernelFactory*, const std::string&, const KernelKey&,
                                       bool);
using Has = bool (*)(const KernelFactory*, const std::string&, const KernelKey&);
using Construct = void (*)(void*, size_t, const phi::Place&, pir::Operation*,
                           const paddle::framework::ValueExecutionInfo*);

SelectOrThrow original_select_or_throw = nullptr;
Has original_has = nullptr;
Construct original_construct = nullptr;

bool is_card(phi::Backend backend) { return backend > phi::Backend::NUM_BACKENDS; }

std::string why(const std::string& name, const KernelKey& key) {
  if (find_kernel(name) == nullptr) return "the card has no kernel of this name.";
  return "the card's kernel does not take " + phi::DataTypeToString(key.dtype()) + ".";
}

struct Lowered {
  std::mutex mutex;
  std::unordered_set<std::string> fallen;  // "kernel/dtype"
};
Lowered& lowered() {
  static auto* instance = new Lowered;
  return *instance;
}
std::string lowered_key(const std::string& name, const KernelKey& key) {
  return name + '/' + std::to_string(static_cast<int>(key.dtype()));
}

thread_local std::string
    missing_on_card;  // the last HasKernel on this thread that failed for a card

bool has(const KernelFactory* factory, const std::string& name, const KernelKey& key) {
  const bool found = original_has(factory, name, key);
  if (is_card(key.backend())) {
    missing_on_card = found ? std::string() : lowered_key(name, key);
  } else if (!missing_on_card.empty() && key.backend() == phi::Backend::CPU) {
    const std::string wanted = lowered_key(name, key);
    if (found && wanted == missing_on_card) {
      std::lock_guard<std::mutex> lock(lowered().mutex);
      lowered().fallen.insert(wanted);
    }
    missing_on_card.clear();
  }
  return found;
}

// A kernel has a plain function pointer and no room for a counter, so there is a supply of
// functions, each with a place of its own.
constexpr size_t kPlaces = 1024;
struct Place {
  std::string name;
  std::string reason;
  Kernel original, counting;
  Counter* counter = nullptr;
};
std::array<Place*, kPlaces> places{};
std::atomic<size_t> used_places{0};

template <size_t I>
void counting_function(phi::KernelContext* context) {
  Place& place = *places[I];
  try {
    note(place.name, *place.counter, place.reason);
  } catch (...) {
    rethrow_for_paddle();
  }
  place.original(context);
}
template <size_t... I>
constexpr std::array<phi::KernelFn, sizeof...(I)> counting_functions(std::index_sequence<I...>) {
  return {&counting_function<I>...};
}

const Kernel& counting_kernel(const std::string& name, const KernelKey& key, const Kernel& kernel,
                              const std::string& reason) {
  static const auto functions = counting_functions(std::make_index_sequence<kPlaces>());
  static std::mutex mutex;
  static auto* made = new std::unordered_map<std::string, Place*>;
  const std::string id =
      lowered_key(name, key) + '/' + std::to_string(static_cast<int>(key.layout()));
  std::lock_guard<std::mutex> lock(mutex);
  auto found = made->find(id);
  if (found != made->end()) return found->second->counting;
  const size_t index = used_places.load();
  if (index >= kPlaces) return kernel;
  auto* place = new Place;
  place->name = name;
  place->reason = reason;
  place->counter = &counter(name);
  place->original = kernel;
  place->counting = Kernel(functions[index], kernel.GetVariadicKernelFn<void*>());
  *place->counting.mutable_args_def() = kernel.args_def();
  place->counting.get_kerneltype_forvar_fn_ = kernel.get_kerneltype_forvar_fn_;
  places[index] = place;
  used_places.store(index + 1);
  (*made)[id] = place;
  return place->counting;
}

thread_local bool building_for_card = false;

// Constants that programs keep on the host for other operators' attributes.
bool is_host_constant(const std::string& name) {
  static const std::unordered_set<std::string> names = {"full", "full_with_tensor", "assign_value",
                                                        "arange"};
  return names.count(name) > 0;
}

// Why an instruction of a card's program runs a CPU kernel; empty: because it is meant to.
std::string instruction_reason(const std::string& name, const KernelKey& key) {
  {
    std::lock_guard<std::mutex> lock(lowered().mutex);
    // Nothing fell yet: what is on the host comes from shapes, which Paddle keeps there.
    if (lowered().fallen.empty()) return "";
    if (lowered().fallen.count(lowered_key(name, key)) > 0) return why(name, key);
  }
  // Whole numbers are shapes more often than not, which Paddle computes on the host.
  const bool real = key.dtype() == phi::DataType::FLOAT32 ||
                    key.dtype() == phi::DataType::FLOAT16 ||
                    key.dtype() == phi::DataType::BFLOAT16 || key.dtype() == phi::DataType::FLOAT64;
  if (!real || find_kernel(name) == nullptr || is_host_constant(name)) return "";
  return "its inputs come from an operator that ran there.";
}

KernelResult select_or_throw(const KernelFactory* factory, const std::string& name,
                             const KernelKey& key, bool strided) {
  KernelResult result = original_select_or_throw(factory, name, key, strided);
  const bool falls = result.has_fallback_cpu && is_card(key.backend());
  if (__builtin_expect(falls, 0)) {
    try {
      count_fallback(name, why(name, key));
    } catch (...) {
      rethrow_for_paddle();
    }
  }
  begin_call(falls);
  if (__builtin_expect(building_for_card, 0) && key.backend() == phi::Backend::CPU &&
      result.kernel.IsValid()) {
    const std::string reason = instruction_reason(name, key);
    if (!reason.empty()) {
      return {counting_kernel(name, key, result.kernel, reason), result.has_fallback_cpu,
              result.is_stride_kernel};
    }
  }
  return result;
}

void construct(void* self, size_t id, const phi::Place& place, pir::Operation* operation,
               const paddle::framework::ValueExecutionInfo* info) {
  building_for_card = place.GetType() == phi::AllocationType::CUSTOM;
  try {
    original_construct(self, id, place, operation, info);
  } catch (...) {
    building_for_card = false;
    throw;
  }
  building_for_card = false;
}

const char kSelectOrThrow[] =
    "_ZNK3phi13KernelFactory24SelectKernelOrThrowErrorERKNSt7__cxx1112basic_stringIcSt11char_"
    "traitsIcESaIcEEERKNS_9KernelKeyEb";
const char kHas[] =
    "_ZNK3phi13KernelFactory9HasKernelERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS_"
    "9KernelKeyE";
const char kConstruct[] =
    "_ZN6paddle9framework20PhiKernelInstructionC1EmRKN3phi5PlaceEPN3pir9OperationEPKNS0_"
    "18ValueExecutionInfoE";

}  // namespace

void count_fallback(const std::string& kernel, const std::string& reason) {
  note(kernel, counter(kernel), reason);
}

std::string fallback_lines() {
  Counters& all = counters();
  std::lock_guard<std::mutex> lock(all.mutex);
  std::ostringstream out;
  for (const auto& [name, entry] : all.by_name) {
    if (const uint64_t calls = entry->calls.load()) out << name << ' ' << calls << '\n';
  }
  return out.str();
}

void reset_fallbacks() {
  Counters& all = counters();
  std::lock_guard<std::mutex> lock(all.mutex);
  for (const auto& [name, entry] : all.by_name) entry->calls.store(0);
}

bool install_fallback_hooks() {
  return install_hooks({
      {kSelectOrThrow, "libphi_core.so", reinterpret_cast<void*>(&select_or_throw),
       reinterpret_cast<void**>(&original_select_or_throw)},
      {kHas, "libpaddle.so", reinterpret_cast<void*>(&has),
       reinterpret_cast<void**>(&original_has)},
      {kConstruct, "libpaddle.so", reinterpret_cast<void*>(&construct),
       reinterpret_cast<void**>(&original_construct)},
  });
}

}  // namespace openxpu::paddle_plugin
