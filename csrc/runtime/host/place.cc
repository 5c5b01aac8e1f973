// Keeps a thread that is about to be woken off the core of the one that wakes it.
#include "host/place.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace openxpu::host {
namespace {

constexpr int kFewCores = 8;

}  // namespace

void Place::here() {
  thread_.store(static_cast<pid_t>(syscall(SYS_gettid)), std::memory_order_release);
}

void Place::aside() {
  pid_t thread = thread_.load(std::memory_order_acquire);
  int core = sched_getcpu();
  uint32_t expected = kAnywhere;
  if (thread == 0 || core < 0 || core >= CPU_SETSIZE ||
      !state_.compare_exchange_strong(expected, kChanging, std::memory_order_acquire))
    return;
  uint32_t now = kAnywhere;
  if (sched_getaffinity(thread, sizeof before_, &before_) == 0) {
    cpu_set_t others = before_;
    CPU_CLR(static_cast<size_t>(core), &others);
    int left = CPU_COUNT(&others);
    if (left > 0 && left < kFewCores && sched_setaffinity(thread, sizeof others, &others) == 0)
      now = kAside;
  }
  state_.store(now, std::memory_order_release);
}

void Place::back() {
  for (;;) {
    uint32_t state = state_.load(std::memory_order_acquire);
    if (state == kAnywhere) return;
    if (state == kAside) break;
    sched_yield();  // the waker is between its two system calls
  }
  sched_setaffinity(0, sizeof before_, &before_);
  state_.store(kAnywhere, std::memory_order_release);
}

}  // namespace openxpu::host
