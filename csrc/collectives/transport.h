// Messages between processes of several machines, carried by a library that is loaded at first use.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace openxpu::collectives {

// A message under way. It stays where it is until `state` says that it is over.
struct Transfer {
  enum State : uint32_t { kUnderWay, kDone, kTooLong, kFailed };
  std::atomic<uint32_t> state{kUnderWay};
  uint64_t tag = 0, bytes = 0;          // of the message that was received
  std::atomic<int>* counter = nullptr;  // of the transfers that are under way
  bool over() const { return state.load(std::memory_order_acquire) != kUnderWay; }
};

// One process's end of a communicator. Calls come from one thread at a time.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::string address() const = 0;  // bytes that reach this end
  virtual void set_peer(int peer, const std::string& address) = 0;
  // Both return at once. The bytes belong to the transfer until it is over.
  virtual void send(int peer, uint64_t tag, const void* data, uint64_t bytes,
                    Transfer& transfer) = 0;
  // Takes a message whose tag is the same under `mask`.
  virtual void receive(uint64_t tag, uint64_t mask, void* data, uint64_t bytes,
                       Transfer& transfer) = 0;
  virtual bool progress() = 0;                      // true: something moved
  virtual bool prepare_to_sleep() = 0;              // false: something is to be moved first
  virtual int descriptor() const = 0;               // becomes readable after prepare_to_sleep()
  virtual void wake() = 0;                          // makes it readable
  virtual std::string trouble(int peer) const = 0;  // why the peer cannot be reached, or ""
  virtual void flush(int64_t limit_ns) = 0;         // until what was sent has left this process
  std::atomic<int> under_way{0};
};

// `interface` carries `host`, this process's address. Throws Error that says what to install.
std::unique_ptr<Transport> open_transport(const std::string& interface);

// The library's entry point (libopenxpu_ucx.so). Null: `error` has the reason.
using OpenTransport = Transport* (*)(const char* interface, char* error, uint64_t error_bytes);

}  // namespace openxpu::collectives

namespace openxpu {
// Where a Python package keeps libucp.so.0; without it the system's is taken.
void set_transport_folder(const std::string& folder);
}  // namespace openxpu
