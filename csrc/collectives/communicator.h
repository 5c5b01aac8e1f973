// Collective communication between cards of one machine, whose memory every rank can map.
//
// A communicator is a set of ranks: processes, or cards of one process. The ranks share a control
// block, an unnamed file that the unique id points to, so that nothing is left behind when a rank
// dies. Every operation is enqueued on a stream and runs there: the ranks publish what they were
// asked and where their buffers lie, compare, and then read each other's memory directly.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "card.h"

namespace openxpu {

enum class DataType : uint32_t {
  kBool,
  kUint8,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFloat16,
  kBfloat16,
  kFloat32,
  kFloat64,
  kComplex64,
  kComplex128
};
enum class ReduceOp : uint32_t { kSum, kProduct, kMin, kMax, kAverage };

uint64_t size_of(DataType type);  // bytes of an element
const char* name_of(DataType type);

// What rank 0 makes and hands to the others by any means. Valid while its process lives.
struct UniqueId {
  int32_t process;     // who holds the control block
  int32_t descriptor;  // its file descriptor there
  uint64_t started;    // when that process was started: numbers of processes come again
  uint64_t token;      // random, also inside the control block
  char machine[64];    // boot id: the same only on one machine
};
UniqueId make_unique_id();  // throws Error

class Communicator {
 public:
  // Returns when all ranks are there. Throws Error naming the ranks that are missing.
  static std::unique_ptr<Communicator> create(const UniqueId& id, int ranks, int rank, Card& card);
  ~Communicator();  // tells the others; work that was enqueued must be done

  int ranks() const;
  int rank() const;
  const std::string& name() const;
  // How this rank reaches a peer's card memory: "self", "process" (one address space), "memory"
  // (mapped from another process of the machine). Throws Error.
  const char* path(int peer) const;
  Card& card() const;

  // All of these return at once, but for the moment in which small ones are done by the caller;
  // failures show when the stream is waited for, and every later call throws Error. Buffers are
  // card memory. `count` is in elements. A buffer may be both input and output where it begins at
  // the same element; other overlaps are not allowed.
  void all_reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                  Stream& stream);
  void reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op, int root,
              Stream& stream);
  void broadcast(const void* in, void* out, uint64_t count, DataType type, int root,
                 Stream& stream);
  // `count` of each rank; out has ranks * count.
  void all_gather(const void* in, void* out, uint64_t count, DataType type, Stream& stream);
  // `count` of each rank; in has ranks * count.
  void reduce_scatter(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                      Stream& stream);
  // One buffer and one count for each rank, in both directions.
  void all_to_all(const std::vector<const void*>& in, const std::vector<uint64_t>& in_counts,
                  const std::vector<void*>& out, const std::vector<uint64_t>& out_counts,
                  DataType type, Stream& stream);
  void barrier(Stream& stream);
  // Buffered: a send does not wait for its receiver.
  void send(const void* in, uint64_t count, DataType type, int to, Stream& stream);
  void receive(void* out, uint64_t count, DataType type, int from, Stream& stream);

 private:
  Communicator();
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace openxpu
