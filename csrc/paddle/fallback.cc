// Sees each CPU fallback by listening to Paddle's kernel selection (see the comment at `hooks`).
#include "fallback.h"

#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

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
    const std::string why = reason.empty() ? "the card has no kernel for it in this dtype" : reason;
    if (chosen == Policy::kError) {
      throw Error("Operator " + kernel + " would run on the CPU: " + why +
                  " OPENXPU_FALLBACK=error forbids that; set it to warn or allow to go on.");
    }
    if (!entry.warned.exchange(true)) {
      std::fprintf(stderr, "OpenXPU: operator %s runs on the CPU: %s\n", kernel.c_str(),
                   why.c_str());
    }
  }
  entry.calls.fetch_add(1, std::memory_order_relaxed);
}

// ---------------------------------------------------------------- hooks

// Paddle decides about a fallback in two places, both calls from libpaddle.so into libphi_core.so:
//  - eager: each call asks SelectKernelOrThrowError, whose result says `has_fallback_cpu`;
//  - programs (to_static, Inference): while a program is lowered, HasKernel(card) fails and
//    HasKernel(CPU) succeeds; later the instruction takes its kernel from SelectKernel. It gets a
//    copy of the kernel there that counts each run.
// The calls go through libpaddle.so's procedure linkage table, whose entries are replaced here. All
// hooks call the original function and change nothing else.

using phi::Kernel;
using phi::KernelFactory;
using phi::KernelKey;
using phi::KernelResult;

using SelectOrThrow = KernelResult (*)(const KernelFactory*, const std::string&, const KernelKey&,
                                       bool);
using Has = bool (*)(const KernelFactory*, const std::string&, const KernelKey&);
using Select = const Kernel& (*)(const KernelFactory*, const std::string&, const KernelKey&);
using Construct = void (*)(void*, size_t, const phi::Place&, pir::Operation*,
                           const paddle::framework::ValueExecutionInfo*);

SelectOrThrow original_select_or_throw = nullptr;
Has original_has = nullptr;
Select original_select = nullptr;
Construct original_construct = nullptr;

bool is_card(phi::Backend backend) { return backend > phi::Backend::NUM_BACKENDS; }

KernelResult select_or_throw(const KernelFactory* factory, const std::string& name,
                             const KernelKey& key, bool strided) {
  KernelResult result = original_select_or_throw(factory, name, key, strided);
  if (__builtin_expect(result.has_fallback_cpu, 0) && is_card(key.backend())) {
    try {
      count_fallback(name, "");
    } catch (...) {
      rethrow_for_paddle();
    }
  }
  return result;
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
  Kernel original, counting;
  Counter* counter = nullptr;
};
std::array<Place*, kPlaces> places{};
std::atomic<size_t> used_places{0};

template <size_t I>
void counting_function(phi::KernelContext* context) {
  Place& place = *places[I];
  try {
    note(place.name, *place.counter, "");
  } catch (...) {
    rethrow_for_paddle();
  }
  place.original(context);
}
template <size_t... I>
constexpr std::array<phi::KernelFn, sizeof...(I)> counting_functions(std::index_sequence<I...>) {
  return {&counting_function<I>...};
}

const Kernel& counting_kernel(const std::string& name, const KernelKey& key, const Kernel& kernel) {
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

const Kernel& select(const KernelFactory* factory, const std::string& name, const KernelKey& key) {
  const Kernel& kernel = original_select(factory, name, key);
  if (!building_for_card || key.backend() != phi::Backend::CPU || !kernel.IsValid()) return kernel;
  {
    std::lock_guard<std::mutex> lock(lowered().mutex);
    if (lowered().fallen.count(lowered_key(name, key)) == 0) return kernel;
  }
  return counting_kernel(name, key, kernel);
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

// ---------------------------------------------------------------- procedure linkage table

struct Hook {
  const char* symbol;
  void* replacement;
  void** original;
  bool placed = false;
};

const char kSelectOrThrow[] =
    "_ZNK3phi13KernelFactory24SelectKernelOrThrowErrorERKNSt7__cxx1112basic_stringIcSt11char_"
    "traitsIcESaIcEEE"
    "RKNS_9KernelKeyEb";
const char kHas[] =
    "_ZNK3phi13KernelFactory9HasKernelERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS_"
    "9KernelKeyE";
const char kSelect[] =
    "_ZNK3phi13KernelFactory12SelectKernelERKNSt7__cxx1112basic_stringIcSt11char_"
    "traitsIcESaIcEEERKNS_"
    "9KernelKeyE";
const char kConstruct[] =
    "_ZN6paddle9framework20PhiKernelInstructionC1EmRKN3phi5PlaceEPN3pir9OperationEPKNS0_"
    "18ValueExecutionInfoE";

void write_entry(void** entry, void* value) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  auto* start = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(entry) & ~(page - 1));
  // Lazily bound tables are writable; others were made read-only after loading.
  if (mprotect(start, page, PROT_READ | PROT_WRITE) != 0) return;
  *entry = value;
}

int patch_object(struct dl_phdr_info* info, size_t, void* data) {
  const char* name = info->dlpi_name;
  if (name == nullptr || std::strstr(name, "libpaddle.so") == nullptr) return 0;
  auto& hooks = *static_cast<std::vector<Hook>*>(data);
  const ElfW(Dyn)* dynamic = nullptr;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) {
      dynamic = reinterpret_cast<const ElfW(Dyn)*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    }
  }
  if (dynamic == nullptr) return 1;
  const ElfW(Rela)* relocations = nullptr;
  size_t bytes = 0;
  const ElfW(Sym)* symbols = nullptr;
  const char* strings = nullptr;
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    switch (dynamic->d_tag) {
      case DT_JMPREL:
        relocations = reinterpret_cast<const ElfW(Rela)*>(dynamic->d_un.d_ptr);
        break;
      case DT_PLTRELSZ:
        bytes = dynamic->d_un.d_val;
        break;
      case DT_SYMTAB:
        symbols = reinterpret_cast<const ElfW(Sym)*>(dynamic->d_un.d_ptr);
        break;
      case DT_STRTAB:
        strings = reinterpret_cast<const char*>(dynamic->d_un.d_ptr);
        break;
      default:
        break;
    }
  }
  if (relocations == nullptr || symbols == nullptr || strings == nullptr) return 1;
  for (size_t i = 0; i < bytes / sizeof(ElfW(Rela)); ++i) {
    const ElfW(Sym) & symbol = symbols[relocations[i].r_info >> 32];
    const char* text = strings + symbol.st_name;
    for (Hook& hook : hooks) {
      if (hook.placed && *hook.original == nullptr) continue;
      if (std::strcmp(text, hook.symbol) != 0) continue;
      write_entry(reinterpret_cast<void**>(info->dlpi_addr + relocations[i].r_offset),
                  hook.replacement);
      hook.placed = true;
    }
  }
  return 1;
}

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
  // Addresses first: the hooks are live from the moment their entry is written.
  std::vector<Hook> hooks = {
      {kSelectOrThrow, reinterpret_cast<void*>(&select_or_throw),
       reinterpret_cast<void**>(&original_select_or_throw)},
      {kHas, reinterpret_cast<void*>(&has), reinterpret_cast<void**>(&original_has)},
      {kSelect, reinterpret_cast<void*>(&select), reinterpret_cast<void**>(&original_select)},
      {kConstruct, reinterpret_cast<void*>(&construct),
       reinterpret_cast<void**>(&original_construct)},
  };
  for (Hook& hook : hooks) {
    *hook.original = dlsym(RTLD_DEFAULT, hook.symbol);
    if (*hook.original == nullptr) return false;
  }
  dl_iterate_phdr(&patch_object, &hooks);
  for (const Hook& hook : hooks) {
    if (!hook.placed) return false;
  }
  return true;
}

}  // namespace openxpu::paddle_plugin
