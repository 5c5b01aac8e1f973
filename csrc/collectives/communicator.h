// Collective communication between cards. This class joins cards of one machine, whose memory every
// rank can map; create() returns one that joins several machines (machines.h) where the unique id
// has an address.
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
  char machine[64];    // boot id and name spaces: the same only on one machine
  char address[64];    // where rank 0 listens for ranks of other machines; "": there are none
  uint16_t port;
};
// Throws Error. With an address of this machine the ranks may be on several; then the maker has to
// be rank 0.
UniqueId make_unique_id(const std::string& address = "");

class Communicator {
 public:
  // Returns when all ranks are there. Throws Error naming the ranks that are missing.
  static std::unique_ptr<Communicator> create(const UniqueId& id, int ranks, int rank, Card& card);
  virtual ~Communicator();  // tells the others; work that was enqueued must be done

  virtual int ranks() const;
  virtual int rank() const;
  virtual const std::string& name() const;
  // How this rank reaches a peer's card memory: "self", "process" (one address space), "memory"
  // (mapped from another process of the machine), "network". Throws Error.
  virtual const char* path(int peer) const;
  virtual Card& card() const;

  // All of these return at once, but for the moment in which small ones are done by the caller;
  // failures show when the stream is waited for, and every later call throws Error. Buffers are
  // card memory. `count` is in elements. A buffer may be both input and output where it begins at
  // the same element; other overlaps are not allowed.
  virtual void all_reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                          Stream& stream);
  virtual void reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                      int root, Stream& stream);
  virtual void broadcast(const void* in, void* out, uint64_t count, DataType type, int root,
                         Stream& stream);
  // `count` of each rank; out has ranks * count.
  virtual void all_gather(const void* in, void* out, uint64_t count, DataType type, Stream& stream);
  // `count` of each rank; in has ranks * count.
  virtual void reduce_scatter(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                              Stream& stream);
  // One buffer and one count for each rank, in both directions.
  virtual void all_to_all(const std::vector<const void*>& in,
                          const std::vector<uint64_t>& in_counts, const std::vector<void*>& out,
                          const std::vector<uint64_t>& out_counts, DataType type, Stream& stream);
  virtual void barrier(Stream& stream);
  // Buffered: a send does not wait for its receiver.
  virtual void send(const void* in, uint64_t count, DataType type, int to, Stream& stream);
  virtual void receive(void* out, uint64_t count, DataType type, int from, Stream& stream);

 protected:
  friend class Machines;
  Communicator();

  // For a communicator that is one machine's part of another: what its sentences call its ranks.
  struct Names {
    std::vector<int> numbers;  // of the ranks, in the whole
    int ranks = 0;             // of the whole
    std::string communicator;  // the whole's name
  };
  static std::unique_ptr<Communicator> create_part(const UniqueId& id, const Names& names, int rank,
                                                   Card& card);
  void serve(const std::string& what);  // what the next calls are a part of, or ""
  void set_abroad(bool abroad);         // this rank waits for another machine: be patient with it
  void look();                          // throws Error when a rank has failed
  void give_up(const std::string& sentence) noexcept;  // this rank has failed

 private:
  struct State;
  static std::unique_ptr<Communicator> create(const UniqueId& id, int ranks, int rank, Card& card,
                                              const Names& names);
  std::shared_ptr<State> state_;
};

}  // namespace openxpu
