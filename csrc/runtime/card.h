// Cards, streams and events as C++ objects over the driver table, and a card's memory.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"
#include "error.h"

namespace openxpu {

class Allocator;
class Card;
class Plan;

// The caller's own sign that a wait should end early (Python's Ctrl-C); called about every 50 ms.
using Interrupt = std::function<void()>;

struct MemoryStats {
  int64_t limit = 0;         // the card may not hand out more
  int64_t used = 0;          // in live blocks, rounding included
  int64_t peak = 0;          // highest `used`
  int64_t reserved = 0;      // bytes that were handed out at some time and keep their pages
  int64_t largest_free = 0;  // the largest request that would succeed now
  int64_t live = 0;          // blocks
  int64_t allocations = 0;   // since the start
  int64_t workspace = 0;     // part of `used`: held by streams for plans
};

class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  bool query() const;  // true: reached, or never recorded
  void synchronize(const Interrupt& interrupt = nullptr) const;
  // Milliseconds from `start`'s last record to this one's. Both must have been reached.
  double elapsed_ms(const Event& start) const;
  openxpu_event handle() const { return handle_; }

 private:
  openxpu_event handle_ = nullptr;
};

class Stream {
 public:
  explicit Stream(Card& card);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Card& card() const { return card_; }
  openxpu_stream handle() const { return handle_; }
  int index() const { return index_; }
  // In trace records; no two streams of a card have the same.
  int number() const { return number_; }

  bool query() const;  // true: all work that was enqueued is done
  // Waits for all work that was enqueued; throws LaunchError with the first failure since the last
  // call.
  void synchronize(const Interrupt& interrupt = nullptr);
  // As synchronize, when all work is done; false: it is not.
  bool synchronize_at_once();
  void wait(const Event& event);  // binds to the event's latest record as of now
  void record(Event& event);
  void launch(const openxpu_launch& launch);
  // Asynchronous. The source of a host-to-card copy may be changed as soon as the call returns.
  void copy(void* dst, const void* src, uint64_t bytes, openxpu_copy_kind kind);
  void fill(void* dst, int byte, uint64_t bytes);
  // Runs on the stream's thread at this point of the queue; what it throws is the stream's failure.
  void host_function(void (*function)(void*), void* data, const char* name = "host function");
  // Work that waits for others, attempted by the caller first: see driver.h, stream_attempt.
  void attempt(int (*attempt)(void*, uint64_t until_ns), void* data, const char* name,
               bool at_once);

 private:
  friend class Plan;
  friend class Card;
  // A block that every plan of this stream uses in turn, which the stream's order makes safe.
  // Call with mutex_ held; the block stays valid for work that is enqueued before the mutex is
  // released.
  void* workspace(uint64_t bytes);
  void drop_workspace();

  Card& card_;
  openxpu_stream handle_ = nullptr;
  int index_ = 0, number_ = 0;
  std::mutex mutex_;  // one replay at a time: steps of two plans must not interleave
  void* workspace_ = nullptr;
  uint64_t workspace_bytes_ = 0;
};

class Card {
 public:
  int id() const { return id_; }
  const openxpu_properties& properties() const { return properties_; }

  // Card memory, 256-byte aligned, with at least 64 readable bytes after it. Throws OutOfMemory.
  // With a stream: for use by that stream's work; a block freed by other streams is made safe by
  // events. Without: for use by anyone at once; waits for the streams that may still touch the
  // block.
  void* allocate(uint64_t bytes, Stream* stream = nullptr);
  // With a stream: work enqueued on it may still use the block. Without: any stream's work may.
  void release(void* address, Stream* stream = nullptr) noexcept;
  bool owns(const void* address) const;
  MemoryStats memory_stats() const;
  void reset_peak();
  void trim();  // gives the pages of free blocks back to the system

  Stream& default_stream() { return *default_stream_; }
  // The stream that Python functions and ops use on this thread; the default stream unless set.
  Stream& current_stream();
  void set_current_stream(Stream* stream);                 // null: the default stream
  void synchronize(const Interrupt& interrupt = nullptr);  // all streams of the card

  // Waits for all streams of the card, then copies on the calling thread and the workers.
  void copy_sync(void* dst, const void* src, uint64_t bytes, openxpu_copy_kind kind);

  // The generator of random numbers: a Philox key and a counter that grows.
  void set_seed(uint64_t seed);  // the offset becomes 0
  void set_philox(uint64_t seed, uint64_t offset);
  std::pair<uint64_t, uint64_t> philox() const;
  std::pair<uint64_t, uint64_t> advance_philox(uint64_t increment);  // returns the state before

  uint64_t busy_ns() const;

 private:
  friend class Stream;
  friend Card& card(int id);
  explicit Card(int id);
  void* allocate_block(uint64_t bytes, Stream* stream, bool in_replay);
  ~Card();

  int id_;
  openxpu_properties properties_{};
  std::unique_ptr<Allocator> allocator_;
  std::unique_ptr<Stream> default_stream_;
  mutable std::mutex streams_mutex_;
  std::vector<Stream*> streams_;
  uint64_t used_indices_ = 0;
  int next_number_ = 0;
  std::atomic<int64_t> workspace_total_{0};
  mutable std::mutex philox_mutex_;
  uint64_t seed_ = 0, offset_ = 0;
};

const openxpu_driver& driver();
int card_count();
// Opens the card at first use. Throws Error naming the cards that exist.
Card& card(int id);
// The card whose memory holds the address, or null; only cards that were opened.
Card* card_of(const void* address);

struct TraceRecord {
  std::string name;
  int card = 0, stream = 0;
  uint64_t begin_ns = 0, end_ns = 0;  // CLOCK_MONOTONIC
  uint64_t bytes = 0;
  // Of launches, else 0.
  uint64_t entry = 0;
  uint32_t grid[3] = {};
  std::vector<uint64_t> args;
};
void trace_start();  // throws Error when a trace is under way
std::vector<TraceRecord> trace_stop();

}  // namespace openxpu
