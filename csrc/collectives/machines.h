// A communicator whose ranks are on several machines: inside a machine by shared memory, between
// machines by messages.
//
// A collective is a row of commands on the caller's stream: collectives of the machine's own
// communicator, and steps that exchange their results with the ranks of the same index elsewhere.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "communicator.h"

namespace openxpu {

class Machines final : public Communicator {
 public:
  // For an id that has an address. All ranks on one machine: that machine's own communicator.
  static std::unique_ptr<Communicator> join(const UniqueId& id, int ranks, int rank, Card& card);
  ~Machines() override;

  int ranks() const override;
  int rank() const override;
  const std::string& name() const override;
  const char* path(int peer) const override;
  Card& card() const override;

  void all_reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                  Stream& stream) override;
  void reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op, int root,
              Stream& stream) override;
  void broadcast(const void* in, void* out, uint64_t count, DataType type, int root,
                 Stream& stream) override;
  void all_gather(const void* in, void* out, uint64_t count, DataType type,
                  Stream& stream) override;
  void reduce_scatter(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                      Stream& stream) override;
  void all_to_all(const std::vector<const void*>& in, const std::vector<uint64_t>& in_counts,
                  const std::vector<void*>& out, const std::vector<uint64_t>& out_counts,
                  DataType type, Stream& stream) override;
  void barrier(Stream& stream) override;
  void send(const void* in, uint64_t count, DataType type, int to, Stream& stream) override;
  void receive(void* out, uint64_t count, DataType type, int from, Stream& stream) override;

  struct State;

 private:
  explicit Machines(std::shared_ptr<State> state);
  std::shared_ptr<State> whole_;
};

}  // namespace openxpu
