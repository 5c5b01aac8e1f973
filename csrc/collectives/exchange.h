// The messages of one step of a collective between machines, and the tags by which they are told
// apart.
#pragma once
#include <deque>

#include "communicator.h"
#include "control.h"
#include "transport.h"

namespace openxpu::collectives {

constexpr int kMaxSpread = 1000;  // ranks of a communicator over several machines

// A call as described() puts it into words.
inline Request asked(Kind kind, DataType type, ReduceOp op, int root, uint64_t count) {
  Request r{};
  r.kind = kind;
  r.type = static_cast<decltype(r.type)>(type);
  r.op = static_cast<decltype(r.op)>(op);
  r.root = root;
  r.count = count;
  return r;
}

// A tag says whose message it is and, in the bits that do not take part in matching, which call it
// belongs to, so that ranks that disagree are found out.
struct Tag {
  bool letter;      // of a send, not of a collective
  uint32_t number;  // of the collective, or of the send between these two ranks
  uint32_t step;    // which part of a collective
  int source;
  Request call;

  static constexpr uint64_t kMatched = ~uint64_t{0} << 25;
  uint64_t bits() const {
    return uint64_t{letter} << 63 | uint64_t{number & 0xfffff} << 43 | uint64_t{step & 0xff} << 35 |
           static_cast<uint64_t>(source) << 25 | static_cast<uint64_t>(call.kind) << 22 |
           static_cast<uint64_t>(call.type) << 18 | static_cast<uint64_t>(call.op) << 15 |
           static_cast<uint64_t>(call.root + 1) << 5 | call.count % 31;
  }
  // What the sender of these bits called, but for the count.
  static Request call_of(uint64_t bits) {
    return asked(static_cast<Kind>(bits >> 22 & 7), static_cast<DataType>(bits >> 18 & 15),
                 static_cast<ReduceOp>(bits >> 15 & 7), static_cast<int>(bits >> 5 & 0x3ff) - 1, 0);
  }
};

struct Exchange {
  struct Part {
    bool sending;
    int peer;
    void* data;
    uint64_t bytes, tag;
    Transfer transfer;
  };
  Request call{};
  uint32_t number = 0;
  bool letter = false;
  int rank = 0;              // this one
  int attended = 0;          // parts that the stream waits for at once
  std::deque<Part> parts{};  // transfers stay where they are

  void send(int peer, const void* data, uint64_t bytes, uint32_t step) {
    add(true, peer, const_cast<void*>(data), bytes, step);
  }
  void receive(int peer, void* data, uint64_t bytes, uint32_t step) {
    add(false, peer, data, bytes, step);
  }

 private:
  void add(bool sending, int peer, void* data, uint64_t bytes, uint32_t step) {
    Part& part = parts.emplace_back();
    part.sending = sending;
    part.peer = peer;
    part.data = data;
    part.bytes = bytes;
    part.tag = Tag{letter, number, step, sending ? rank : peer, call}.bits();
  }
};

}  // namespace openxpu::collectives
