// A communicator's connections to other machines: the transport, who moves it forward, and what is
// known about the ranks.
#pragma once
#include <poll.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "host/gate.h"
#include "rendezvous.h"
#include "transport.h"

namespace openxpu::collectives {

class Wire {
 public:
  Wire(std::unique_ptr<Transport> transport, std::vector<int> sockets, int ranks, int rank);
  ~Wire();

  void send(int peer, uint64_t tag, const void* data, uint64_t bytes, Transfer& transfer);
  void receive(uint64_t tag, uint64_t mask, void* data, uint64_t bytes, Transfer& transfer);
  // Moves transfers, from here on, while nobody waits; but for those that somebody is about to.
  void move_alone();
  void attend(int transfers);  // so many more (or fewer) will be waited for at once
  // Waits until ready(), which looks at transfers. look() is called about every 50 ms and may
  // throw.
  void wait(const std::function<bool()>& ready, const std::function<void()>& look);
  void flush();  // until what was sent has left this process, or half a second
  // No byte is written any more by transfers that are under way.
  void stop();

  void leave();  // tells the others that nothing comes from this rank any more
  void tell_failure(const std::string& sentence);
  std::string failure() const;  // what another rank told, or ""
  enum Presence : uint32_t { kHere, kLeft, kDied };
  Presence presence(int rank) const;
  uint64_t moved_at() const { return moved_at_; }  // when a message moved last
  std::string trouble(int peer);

 private:
  void run();
  void listen(int from, std::string& pending, int socket);
  void handle(const Notice& notice, int from);
  bool progress();

  std::unique_ptr<Transport> transport_;
  const std::vector<int> sockets_;
  const int ranks_, rank_;
  std::vector<std::atomic<uint32_t>> presence_;
  mutable std::mutex notices_;
  std::string failure_;  // with notices_ held

  std::mutex api_;      // the transport takes one call at a time
  std::mutex driving_;  // held by the one who moves the transport for all that wait
  std::atomic<bool> driven_{false}, asleep_{false}, stopped_{false}, ending_{false};
  std::atomic<int> waiters_{0}, attended_{0};
  std::atomic<uint64_t> moved_at_{0};
  host::Gate gate_;
  int bell_ = -1;  // wakes the thread
  std::thread thread_;
};

}  // namespace openxpu::collectives
