// Reads the OPENXPU_* variables and works out the defaults from the machine.
#include "environment.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "error.h"

namespace openxpu {
namespace {

std::string text_of(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int whole_number(const char* name, int fallback, int low, int high) {
  std::string text = text_of(name);
  if (text.empty()) return fallback;
  char* end = nullptr;
  long value = std::strtol(text.c_str(), &end, 10);
  if (*end != '\0' || value < low || value > high)
    throw Error(std::string(name) + " is \"" + text + "\"; give a whole number from " +
                std::to_string(low) + " to " + std::to_string(high) + ".");
  return static_cast<int>(value);
}

bool yes_or_no(const char* name) {
  std::string text = text_of(name);
  if (text.empty() || text == "0") return false;
  if (text == "1") return true;
  throw Error(std::string(name) + " is \"" + text + "\"; give 0 or 1.");
}

int processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  return std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
}

// Physical memory, or the control group's limit where that is lower (containers).
int64_t physical_memory() {
  int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    int64_t limit = 0;
    if (file >> limit && limit > 0) bytes = std::min(bytes, limit);
  }
  return bytes;
}

Environment read() {
  Environment e;
  e.cards = whole_number("OPENXPU_CARDS", 1, 1, 64);
  std::string memory = text_of("OPENXPU_CARD_MEMORY");
  e.card_memory = memory.empty() ? physical_memory() / 4 * 3 / e.cards
                                 : parse_bytes("OPENXPU_CARD_MEMORY", memory);
  if (e.card_memory < (1 << 20))
    throw Error("OPENXPU_CARD_MEMORY is \"" + memory + "\"; a card needs at least 1M.");
  // The cards share the processors, as they share the memory.
  e.card_threads = whole_number("OPENXPU_CARD_THREADS",
                                std::max(1, std::min(processors(), 256) / e.cards), 1, 1024);
  e.blocking = yes_or_no("OPENXPU_BLOCKING");
  e.poison = whole_number("OPENXPU_POISON", -1, 0, 255);
  e.guard = yes_or_no("OPENXPU_GUARD");
  std::string arena = text_of("OPENXPU_ARENA");
  if (arena == "shared" || arena == "private") {
    e.shared_arena = arena == "shared";
  } else if (!arena.empty()) {
    throw Error("OPENXPU_ARENA is \"" + arena + "\"; give \"private\" or \"shared\".");
  }
  const std::string limit = text_of("OPENXPU_COLLECTIVE_TIMEOUT");
  if (!limit.empty()) {
    char* end = nullptr;
    const double seconds = std::strtod(limit.c_str(), &end);
    if (*end || !(seconds > 0) || seconds > 1e8)
      throw Error("OPENXPU_COLLECTIVE_TIMEOUT is \"" + limit +
                  "\"; give seconds above zero, such as 60.");
    e.collective_timeout_ns = static_cast<int64_t>(seconds * 1e9);
  }
  return e;
}

}  // namespace

int64_t parse_bytes(const char* variable, const std::string& text) {
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  std::string unit(end);
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  if (unit.size() > 1 && unit.back() == 'B') unit.pop_back();
  if (unit.size() > 1 && unit.back() == 'I') unit.pop_back();
  double factor = unit.empty() || unit == "B" ? 1
                  : unit == "K"               ? 1024.0
                  : unit == "M"               ? 1048576.0
                  : unit == "G"               ? 1073741824.0
                  : unit == "T"               ? 1099511627776.0
                                              : 0;
  if (end == text.c_str() || factor == 0 || !(value > 0) || value * factor > 9e18)
    throw Error(std::string(variable) + " is \"" + text +
                "\"; give a size such as 4G, 512M or 1000000 (bytes).");
  return static_cast<int64_t>(value * factor);
}

bool shared_arena() {
  return environment().shared_arena.value_or(std::atoi(text_of("PADDLE_TRAINERS_NUM").c_str()) > 1);
}

const Environment& environment() {
  static const Environment instance = read();
  return instance;
}

}  // namespace openxpu
