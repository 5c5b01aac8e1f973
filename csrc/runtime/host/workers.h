// The workers of one card: they share the programs of a launch with the stream thread that started
// it.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "host/gate.h"

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

 private:
  struct Job {
    Entry entry = nullptr;
    const uint64_t* args = nullptr;
    uint32_t grid[3] = {1, 1, 1};
    uint64_t total = 0, scratch_bytes = 0;
    alignas(64) std::atomic<uint64_t> next{0};
    alignas(64) std::atomic<uint32_t> helpers{0};  // workers inside, besides the owner
    std::atomic<int32_t> result{0};
    Gate left;
  };

  void start_threads();
  void work();
  void take_part(Job& job);

  int count_;
  std::atomic<bool> started_{false};
  std::mutex mutex_;         // guards open_, spare_
  std::vector<Job*> open_;   // jobs that may still have programs
  std::vector<Job*> spare_;  // jobs are never freed: a worker may look at one that has just ended
  std::atomic<uint32_t> open_count_{0};
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<uint32_t> sleepers_{0};
};

}  // namespace openxpu::host
