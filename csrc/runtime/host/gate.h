// Waiting without starving anybody: a short spin, then a futex.
#pragma once
#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace openxpu::host {

inline uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

inline void futex_wait(std::atomic<uint32_t>* word, uint32_t expected, int64_t timeout_ns = -1) {
  timespec t{static_cast<time_t>(timeout_ns / 1000000000),
             static_cast<long>(timeout_ns % 1000000000)};
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns < 0 ? nullptr : &t, nullptr, 0);
}

inline void futex_wake(std::atomic<uint32_t>* word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

// Spins until ready() or about `pause_ns` + `yield_ns` have gone by. The second part gives the
// processor away in between, so that on a small machine the thread that would make us ready can
// run.
template <typename Ready>
bool spin_until(Ready ready, uint64_t pause_ns, uint64_t yield_ns = 0) {
  if (ready()) return true;
  uint64_t start = now_ns();
  for (;;) {
    for (int i = 0; i < 8; i++) {
      _mm_pause();
      if (ready()) return true;
    }
    uint64_t gone = now_ns() - start;
    if (gone >= pause_ns + yield_ns) return false;
    if (gone >= pause_ns) sched_yield();
  }
}

// Lets threads sleep until a condition over other atomics holds. Whoever changes those atomics
// (with sequentially consistent stores) calls notify() afterwards, which is one load when nobody
// sleeps.
class Gate {
 public:
  void notify() {
    if (waiters_.load(std::memory_order_seq_cst) != 0) {
      word_.fetch_add(1, std::memory_order_seq_cst);
      futex_wake(&word_, 1 << 30);
    }
  }

  // False: `timeout_ns` (>= 0) went by and ready() is still false.
  template <typename Ready>
  bool wait(Ready ready, int64_t timeout_ns, uint64_t spin_ns) {
    if (timeout_ns == 0) return ready();
    if (spin_until(ready, spin_ns)) return true;
    uint64_t end = timeout_ns < 0 ? 0 : now_ns() + static_cast<uint64_t>(timeout_ns);
    waiters_.fetch_add(1, std::memory_order_seq_cst);
    bool done = false;
    for (;;) {
      uint32_t seen = word_.load(std::memory_order_seq_cst);
      if ((done = ready())) break;
      int64_t left = -1;
      if (timeout_ns >= 0) {
        uint64_t now = now_ns();
        if (now >= end) break;
        left = static_cast<int64_t>(end - now);
      }
      futex_wait(&word_, seen, left);
    }
    waiters_.fetch_sub(1, std::memory_order_seq_cst);
    return done;
  }

 private:
  std::atomic<uint32_t> word_{0}, waiters_{0};
};

}  // namespace openxpu::host
