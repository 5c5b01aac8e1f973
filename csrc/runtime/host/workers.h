// The workers of one card: they share the programs of a launch with the stream thread that started
// it.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "host/gate.h"
#include "host/place.h"

namespace openxpu::host {

using Entry = int32_t (*)(const uint64_t* args, const uint32_t grid[3], uint64_t begin,
                          uint64_t end, void* scratch);

// Memory of the calling thread for kernels, 64-byte aligned, in huge pages when it is large; it
// only grows. Null when the system refuses.
void* thread_scratch(uint64_t bytes);

// Kernels expect round-to-nearest and denormals, whatever the thread's owner has set.
class FloatMode {
 public:
  FloatMode() : before_(_mm_getcsr()) {
    if ((before_ & 0xFFC0) != 0x1F80) _mm_setcsr(0x1F80);
  }
  ~FloatMode() {
    if ((before_ & 0xFFC0) != 0x1F80) _mm_setcsr(before_);
  }
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
  uint32_t before_;
};

class Workers {
 public:
  // `count` includes the stream thread itself: count - 1 threads are made, when the first job wants
  // them.
  explicit Workers(int count) : count_(count) {}

  int count() const { return count_; }

  static constexpr int32_t kNoScratch = -1;

  // Runs all programs and returns 0, kNoScratch or the first non-zero result. The caller takes
  // part. Safe from several threads at once.
  int32_t run(Entry entry, const uint64_t* args, const uint32_t grid[3], uint64_t scratch_bytes,
              uint64_t cost);

  // For a thread that has nothing to do until ready(): takes part in jobs, and gives up once there
  // has been none for `idle_ns`. It is awake already, where a worker would have to be woken (and
  // may be put behind the job's owner, on the same core).
  template <typename Ready>
  bool help_until(Ready ready, uint64_t idle_ns) {
    if (ready()) return true;
    if (count_ == 1) return false;
    FloatMode mode;
    Assistant here(*this);
    auto wanted = [&] { return ready() || open_count_.load(std::memory_order_seq_cst) != 0; };
    while (spin_until(wanted, kPauseNs, idle_ns) && !ready())
      if (!help_once(true)) break;
    return ready();
  }

  // While it lives, some thread (not necessarily this one) is about to take part in jobs, so that
  // one worker less has to be woken.
  class Assistant {
   public:
    explicit Assistant(Workers& workers) : workers_(workers) { workers_.assistants_.fetch_add(1); }
    ~Assistant() { workers_.assistants_.fetch_sub(1); }
    Assistant(const Assistant&) = delete;
    Assistant& operator=(const Assistant&) = delete;

   private:
    Workers& workers_;
  };

 private:
  static constexpr uint64_t kPauseNs = 10000;
  struct Job {
    Entry entry = nullptr;
    const uint64_t* args = nullptr;
    uint32_t grid[3] = {1, 1, 1};
    uint64_t total = 0, scratch_bytes = 0, cost = 0;
    alignas(64) std::atomic<uint64_t> next{0};
    alignas(64) std::atomic<uint32_t> helpers{0};  // threads inside, besides the owner
    std::atomic<int32_t> result{0};
    Gate left;
  };

  void start_threads();
  void work(Place& place);
  void wake(uint64_t helpers, uint64_t cost);
  // `bounded`: not in kernels that might never end (of unknown cost).
  bool help_once(bool bounded);
  void take_part(Job& job);

  int count_;
  std::atomic<bool> started_{false};
  std::unique_ptr<Place[]> places_;
  std::mutex mutex_;         // guards open_, spare_
  std::vector<Job*> open_;   // jobs that may still have programs
  std::vector<Job*> spare_;  // jobs are never freed: a worker may look at one that has just ended
  std::atomic<uint32_t> open_count_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<uint32_t> assistants_{0};  // waiting threads that would take part
};

}  // namespace openxpu::host
