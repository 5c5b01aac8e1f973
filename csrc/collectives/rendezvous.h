// How the ranks of a communicator over several machines find each other, and the sockets to rank 0
// by which they tell each other later that one has failed, left or died.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "communicator.h"

namespace openxpu::collectives {

// What a rank tells the others about itself.
struct Entry {
  std::string machine;    // the same for ranks that can map each other's memory
  std::string host;       // its address, as rank 0 sees it
  std::string transport;  // where its end of the transport is
  UniqueId local{};       // for the communicator of its machine, should it be the first there
};

struct Joined {
  std::vector<Entry> entries;  // by rank
  std::vector<int> sockets;    // on rank 0: by rank; elsewhere: one, to rank 0
};

// Begins to listen for the ranks of `id`, at a free port of `address`, which this process must
// have; they go into the id.
void listen_at(const std::string& address, UniqueId& id);

// The interface that carries what this process exchanges with the maker of the id, and the address
// there: "" where none can be told.
std::string interface_to(const UniqueId& id);

// Returns when all ranks are there. Throws Error naming the ranks that are missing.
Joined join(const UniqueId& id, int ranks, int rank, const Entry& mine, int64_t limit_ns,
            const std::string& name);

// What travels by the sockets afterwards.
enum class NoticeKind : uint8_t { kFailed = 'F', kLeft = 'L', kDied = 'D' };
struct Notice {
  NoticeKind what;
  int rank;
  std::string text;
};
void tell(int socket, const Notice& notice);  // never waits; a socket that is gone is ignored
// Takes what has arrived. False: the other end is gone.
bool hear(int socket, std::string& pending, std::vector<Notice>& heard);

}  // namespace openxpu::collectives
