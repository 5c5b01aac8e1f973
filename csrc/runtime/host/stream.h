// Streams and events of the host card: in-order queues, each drained by a thread of its own.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "driver.h"
#include "host/gate.h"
#include "host/workers.h"
#include "records.h"

namespace openxpu::host {

// One event is a pair of counters: how often it was recorded, and up to which record the streams
// have come. Queue entries hold a reference, so destroying an event never waits.
class HostEvent {
 public:
  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  uint64_t next_record() { return recorded_.fetch_add(1, std::memory_order_acq_rel) + 1; }
  uint64_t last_record() const { return recorded_.load(std::memory_order_acquire); }
  bool reached(uint64_t record) const { return reached_.load(std::memory_order_seq_cst) >= record; }
  void reach(uint64_t record);
  bool wait(uint64_t record, int64_t timeout_ns, uint64_t spin_ns) {
    return gate_.wait([this, record] { return reached(record); }, timeout_ns, spin_ns);
  }
  uint64_t time_ns() const { return time_ns_.load(std::memory_order_acquire); }

 private:
  ~HostEvent() = default;
  std::atomic<uint64_t> recorded_{0}, reached_{0}, time_ns_{0};
  std::atomic<uint32_t> references_{1};
  Gate gate_;
};

// What the streams of one card share.
struct HostCard {
  int id = 0;
  std::unique_ptr<Workers> workers;
  // Time with at least one busy stream.
  void enter_busy();
  void leave_busy();
  uint64_t busy_ns() const;
  std::mutex busy_mutex;
  int busy_streams = 0;
  CardRecord* record =
      nullptr;  // busy times live where `openxpu smi` of another process reads them
};

class HostStream {
 public:
  HostStream(HostCard& card, int index) : card_(card), index_(index) {}
  ~HostStream();

  bool idle() const {
    return head_.load(std::memory_order_seq_cst) == tail_.load(std::memory_order_seq_cst);
  }
  bool wait(int64_t timeout_ns);
  // The first failure since the last call; empty when there was none.
  std::string take_failure();

  void launch(const openxpu_launch& launch);
  void copy(void* dst, const void* src, uint64_t bytes, openxpu_copy_kind kind);
  void fill(void* dst, int byte, uint64_t bytes);
  void record(HostEvent* event);
  void wait_event(HostEvent* event);
  void host_function(void (*function)(void*), void* data, const char* name);
  // See driver.h, stream_attempt.
  void attempt(int (*attempt)(void*, uint64_t), void* data, const char* name, bool at_once);

 private:
  struct Command;
  enum class Kind : uint32_t;

  // Returns room for one command, with lock_ held; publish() makes it visible.
  Command* reserve(uint64_t bytes);
  // `cost`: of the command, in bytes or flops.
  void publish(uint64_t cost = 0);
  void start();
  void drain();
  // Executes the next command, with drain_ held; there has to be one. False: it waits for others
  // and was not done by `until_ns`.
  bool step(uint64_t until_ns);
  // Executes commands up to `target` in the waiting caller, as far as that is its business.
  void take_over(uint64_t target, int64_t timeout_ns);
  bool execute(Command& command, uint64_t until_ns);
  bool attempted(int (*attempt)(void*, uint64_t), void* data, uint64_t until_ns);
  void run_launch(const Command& command, const uint64_t* args);
  void fail(const std::string& sentence);

  HostCard& card_;
  int index_;
  std::mutex lock_;  // producers
  std::unique_ptr<char[]> memory_;
  char* ring_ = nullptr;  // 64-byte aligned part of memory_
  std::thread thread_;
  uint64_t next_ = 0;  // position after the reserved command
  alignas(64) std::atomic<uint64_t> tail_{0};
  alignas(64) std::atomic<uint64_t> head_{0};
  Gate reached_;
  alignas(64) std::atomic<uint32_t> sleeping_{0};
  Place place_;
  std::mutex drain_;  // who holds it executes commands: the stream's thread, or a caller that waits
  bool busy_ = false;  // with drain_ held
  std::atomic<bool> failed_{false};
  std::mutex failure_mutex_;
  std::string failure_;
};

void set_assert_messages(uint64_t entry, const char* const* messages, int count);

// False: a trace is under way already.
bool trace_start();
void trace_stop(void (*sink)(const openxpu_trace_record*, void*), void* data);

// Copies with the help of the card's workers when that pays.
void shared_copy(Workers& workers, void* dst, const void* src, uint64_t bytes);

}  // namespace openxpu::host
