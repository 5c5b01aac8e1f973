// The control block that the ranks of a communicator share, and waiting in it.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>

namespace openxpu::collectives {

constexpr int kMaxRanks = 64;
constexpr uint64_t kSmall = 4096;  // payloads up to this travel inside the control block
constexpr uint32_t kLetters = 32;  // sends that a pair of ranks may have under way
constexpr uint32_t kTextBytes = 512;

// A counter that one rank raises and others wait for, across processes.
struct alignas(64) Word {
  std::atomic<uint32_t> value, sleepers;
  bool reached(uint32_t target) const {
    return static_cast<int32_t>(value.load(std::memory_order_seq_cst) - target) >= 0;
  }
  void raise(uint32_t to);
  // Sleeps for at most `timeout_ns`, after a short spin; true: reached.
  bool wait(uint32_t target, int64_t timeout_ns);
};

enum Presence : uint32_t { kAbsent = 0, kJoined = 1, kLeft = 2, kFailed = 3 };

enum class Kind : uint32_t {
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
  uint32_t type, op;
  int32_t root;
  uint64_t count, in, out;
};

std::string described(const Request& r);  // "all_reduce of 1000 float32 (sum)"

struct Part {
  uint64_t address, count;  // for one peer
  uint64_t expected;        // elements that are to come from it
};

// Requests of even and odd collectives have places of their own: a rank can be one ahead of
// another.
struct Member {
  std::atomic<uint32_t> presence;
  int32_t process;
  uint64_t started;
  uint64_t base, bytes, offset;  // its card memory: address, size, place in its file
  int32_t descriptor;
  std::atomic<uint32_t> abroad;  // 1: it waits for another machine, and will say so if in vain
  char text[kTextBytes];         // why it failed
  Word phase;                    // 4 * collective + 1: asked; + 2: done
  Request request[2];
  Part parts[2][kMaxRanks];
  alignas(64) char small[2][kSmall];
};

struct Letter {
  uint64_t address, count;
  uint32_t type;
};

struct Mailbox {
  Word written, read;
  Letter letters[kLetters];
};

struct Control {
  uint64_t token;
  std::atomic<uint32_t> ranks;
  Member members[kMaxRanks];
  Mailbox boxes[kMaxRanks][kMaxRanks];  // [from][to]
};

// When a process was started, in clock ticks since the machine was; 0: it is gone, or only waits to
// be reaped.
uint64_t started(int process);

// The same for processes that can map each other's memory, and only for those.
std::string machine();

}  // namespace openxpu::collectives
