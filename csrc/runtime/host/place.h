// Keeps a thread that is about to be woken off the core of the one that wakes it.
#pragma once
#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace openxpu::host {

// Linux may put a woken thread behind its waker, although another core is idle, and leaves it there
// for milliseconds: measured on two cores, every second wake-up. So the waker takes its own core
// out of the sleeper's affinity, and the sleeper puts it back as soon as it runs. That costs some
// microseconds, which larger launches are worth; machines with many cores find an idle one anyway.
class Place {
 public:
  static constexpr uint64_t kCost = 4 << 20;  // bytes or flops of a launch that is worth it

  // The thread itself, once.
  void here();
  // The waker, before it wakes the sleeping thread.
  void aside();
  // The thread itself, after it has slept.
  void back();

 private:
  enum State : uint32_t { kAnywhere, kChanging, kAside };
  std::atomic<pid_t> thread_{0};
  std::atomic<uint32_t> state_{kAnywhere};
  cpu_set_t before_;
};

}  // namespace openxpu::host
