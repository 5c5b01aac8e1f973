// Notes for Paddle's profiler: which thread enqueued which commands, so that each is shown under
// its operator.
#pragma once
#include <atomic>
#include <cstddef>

namespace openxpu {
class Stream;
}

namespace openxpu::paddle_plugin {

extern std::atomic<bool> tracing;

// Put around the enqueuing of `commands` commands on a stream; costs one load when nothing is
// traced.
class EnqueueNote {
 public:
  EnqueueNote(Stream& stream, size_t commands)
      : stream_(stream), commands_(tracing.load(std::memory_order_relaxed) ? commands : 0) {
    if (commands_ > 0) begin();
  }
  ~EnqueueNote() {
    if (commands_ > 0) end();
  }
  EnqueueNote(const EnqueueNote&) = delete;
  EnqueueNote& operator=(const EnqueueNote&) = delete;

 private:
  void begin();
  void end();
  Stream& stream_;
  size_t commands_;
  unsigned long long begin_ns_ = 0;
};

}  // namespace openxpu::paddle_plugin
