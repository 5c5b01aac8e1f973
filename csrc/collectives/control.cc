// Waiting in shared memory, and whether a process still lives.
#include "control.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "host/gate.h"

namespace openxpu::collectives {

std::string seconds(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", static_cast<double>(ns) * 1e-9);
  return text;
}

void Word::raise(uint32_t to) {
  value.store(to, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) != 0)
    syscall(SYS_futex, &value, FUTEX_WAKE, 1 << 30, nullptr, nullptr, 0);
}

bool Word::spin(uint32_t target, bool crowded) const {
  const auto ready = [&] { return reached(target); };
  // With a core for each rank the other is hardly late, and who gives a core away may get it back
  // much later; but it may also be the other one that was put behind this one.
  return host::spin_until(ready, crowded ? 0 : kPatience / 2,
                          crowded ? kCrowdedPatience : kPatience / 2);
}

bool Word::sleep(uint32_t target, int64_t timeout_ns) {
  const timespec t{static_cast<time_t>(timeout_ns / 1000000000),
                   static_cast<long>(timeout_ns % 1000000000)};
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  const uint32_t seen = value.load(std::memory_order_seq_cst);
  if (static_cast<int32_t>(seen - target) < 0)
    syscall(SYS_futex, &value, FUTEX_WAIT, seen, &t, nullptr, 0);
  sleepers.fetch_sub(1, std::memory_order_seq_cst);
  return reached(target);
}

uint64_t started(int process) {
  char text[1024];
  FILE* file = std::fopen(("/proc/" + std::to_string(process) + "/stat").c_str(), "re");
  if (!file) return 0;
  const size_t size = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  text[size] = 0;
  const char* after = std::strrchr(text, ')');  // the name may hold anything
  char state = 0;
  unsigned long long ticks = 0;
  // State is field 3, the start time field 22.
  if (!after ||
      std::sscanf(
          after + 1,
          " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
          &state, &ticks) != 2)
    return 0;
  return state == 'Z' || state == 'X' ? 0 : ticks;
}

}  // namespace openxpu::collectives
