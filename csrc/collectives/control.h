// The control block that the ranks of a communicator share, and waiting in it.
#pragma once
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace openxpu::collectives {

constexpr int kMaxRanks = 64;
constexpr uint64_t kCarried = uint64_t{16} << 10;  // bytes that can travel inside a slot
constexpr uint32_t kLetters = 32;                  // sends that a pair of ranks may have under way
constexpr uint32_t kTextBytes = 512;

// A counter that one rank raises and others wait for, across processes.
struct Word {
  std::atomic<uint32_t> value, sleepers;
  bool reached(uint32_t target) const {
    return static_cast<int32_t>(value.load(std::memory_order_seq_cst) - target) >= 0;
  }
  void raise(uint32_t to);
  // Looks for about as long as waking a sleeper takes; crowded: giving the core away in between.
  bool spin(uint32_t target, bool crowded) const;
  // Sleeps for at most `timeout_ns`; true: reached.
  bool sleep(uint32_t target, int64_t timeout_ns);
};

// Nanoseconds that a rank looks for another before it sleeps; crowded: with more ranks than cores.
constexpr uint64_t kPatience = 40'000, kCrowdedPatience = 200'000;

enum Presence : uint32_t { kAbsent = 0, kJoined = 1, kLeft = 2, kFailed = 3 };

enum class Kind : uint8_t {
  kAllReduce,
  kReduce,
  kBroadcast,
  kAllGather,
  kReduceScatter,
  kAllToAll,
  kBarrier
};

// What a rank was asked in a collective. Addresses are those of its own process.
struct Request {
  Kind kind;
  uint8_t type, op;
  bool carried;  // what it gives lies in the slot; decided by each rank of all_to_all for itself
  int32_t root;
  uint64_t count, in, out;
};

std::string seconds(int64_t ns);          // "60 s"
std::string described(const Request& r);  // "all_reduce of 1000 float32 (sum)"

struct Part {
  uint64_t address,
      count;          // for one peer; the address is a place in the payload if that is carried
  uint64_t expected;  // elements that are to come from it
};

// A collective's request and small payload; the first bytes share a cache line with the word, so
// that a rank learns all of them from one transfer. Two lines: processors fetch them in pairs.
struct alignas(128) Slot {
  Word asked;  // the collective's number + 1
  Request request;
  alignas(8) char payload[kCarried];
};

// Slots and parts of even and odd collectives have places of their own: a rank can be one ahead of
// another, and no more, because each collective waits for all requests.
struct Member {
  std::atomic<uint32_t> presence;
  int32_t process;
  uint64_t started;
  uint64_t base, bytes, offset;  // its card memory: address, size, place in its file
  int32_t descriptor;
  int32_t cards;           // how many there are in its process
  cpu_set_t cores;         // that it may use
  char text[kTextBytes];   // why it failed
  alignas(128) Word done;  // number + 1 of the last collective in which it has used others' memory
  // Chunks of its output that were taken in a broadcast: the collective's number << 32 | chunks.
  alignas(128) std::atomic<uint64_t> taken;
  Slot slots[2];
  std::atomic<uint32_t> abroad;  // 1: it waits for another machine, and will say so if in vain
  Part parts[2][kMaxRanks];
};

struct Letter {
  uint64_t address, count;
  uint32_t type;
};

struct Mailbox {
  alignas(64) Word written;
  alignas(64) Word read;
  Letter letters[kLetters];
};

struct Control {
  uint64_t token;
  std::atomic<uint32_t> ranks;
  std::atomic<uint32_t> joined;  // ranks that have opened this block
  Member members[kMaxRanks];
  Mailbox boxes[kMaxRanks][kMaxRanks];  // [from][to]
};

// When a process was started, in clock ticks since the machine was; 0: it is gone, or only waits to
// be reaped.
uint64_t started(int process);

// The same for processes that can map each other's memory, and only for those.
std::string machine();

}  // namespace openxpu::collectives
