// Moving messages: whoever waits drives the transport, and a thread does while nobody waits.
#include "wire.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace openxpu::collectives {
namespace {

constexpr int kLookMs = 50;

void ring(int bell) {
  const uint64_t one = 1;
  if (write(bell, &one, sizeof one) < 0) return;  // full: it rings already
}

}  // namespace

Wire::Wire(std::unique_ptr<Transport> transport, std::vector<int> sockets, int ranks, int rank)
    : transport_(std::move(transport)),
      sockets_(std::move(sockets)),
      ranks_(ranks),
      rank_(rank),
      presence_(static_cast<size_t>(ranks)),
      bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {}

Wire::~Wire() {
  ending_ = true;
  ring(bell_);
  thread_.join();
  for (const int socket : sockets_)
    if (socket >= 0) close(socket);
  close(bell_);
}

bool Wire::progress() {
  const std::lock_guard<std::mutex> lock(api_);
  if (stopped_) return false;
  bool moved = false;
  while (transport_->progress()) moved = true;
  if (moved) moved_at_ = host::now_ns();
  if (moved && asleep_) transport_->wake();  // what it waits for may have come
  return moved;
}

void Wire::send(int peer, uint64_t tag, const void* data, uint64_t bytes, Transfer& transfer) {
  const std::lock_guard<std::mutex> lock(api_);
  transport_->send(peer, tag, data, bytes, transfer);
  if (asleep_) transport_->wake();
}

void Wire::receive(uint64_t tag, uint64_t mask, void* data, uint64_t bytes, Transfer& transfer) {
  const std::lock_guard<std::mutex> lock(api_);
  transport_->receive(tag, mask, data, bytes, transfer);
  if (asleep_) transport_->wake();
}

void Wire::move_alone() {
  if (waiters_ == 0 && transport_->under_way > attended_) ring(bell_);
}

void Wire::attend(int transfers) {
  attended_ += transfers;
  if (transfers < 0) move_alone();
}

void Wire::wait(const std::function<bool()>& ready, const std::function<void()>& look) {
  struct Waiting {
    Wire& wire;
    explicit Waiting(Wire& w) : wire(w) { wire.waiters_++; }
    ~Waiting() {
      if (--wire.waiters_ == 0) wire.move_alone();
    }
  } const waiting(*this);
  uint64_t next_look = host::now_ns() + kLookMs * 1'000'000u;
  while (!ready()) {
    if (std::unique_lock<std::mutex> driving(driving_, std::try_to_lock); driving) {
      driven_ = true;
      const bool done = host::spin_until(
          [&] {
            if (progress()) gate_.notify();
            return ready();
          },
          5'000, 50'000);
      bool armed = false;
      if (!done) {
        const std::lock_guard<std::mutex> lock(api_);
        armed = !stopped_ && transport_->prepare_to_sleep();
        asleep_ = armed;
      }
      pollfd p{transport_->descriptor(), POLLIN, 0};
      if (armed && !ready()) poll(&p, 1, kLookMs);
      asleep_ = false;
      driven_ = false;
    } else {
      gate_.wait([&] { return ready() || !driven_; }, kLookMs * 1'000'000, 20'000);
    }
    gate_.notify();
    if (host::now_ns() >= next_look) {
      if (ready()) return;
      look();
      next_look = host::now_ns() + kLookMs * 1'000'000u;
    }
  }
}

void Wire::flush() {
  const std::lock_guard<std::mutex> lock(api_);
  if (!stopped_) transport_->flush(500'000'000);
}

void Wire::stop() {
  const std::lock_guard<std::mutex> lock(api_);
  stopped_ = true;
}

// ---- what is known about the ranks ----

void Wire::leave() {
  for (const int socket : sockets_) tell(socket, {NoticeKind::kLeft, rank_, ""});
}

void Wire::tell_failure(const std::string& sentence) {
  for (const int socket : sockets_) tell(socket, {NoticeKind::kFailed, rank_, sentence});
}

std::string Wire::failure() const {
  const std::lock_guard<std::mutex> lock(notices_);
  return failure_;
}

Wire::Presence Wire::presence(int rank) const {
  return static_cast<Presence>(presence_[static_cast<size_t>(rank)].load());
}

std::string Wire::trouble(int peer) {
  const std::lock_guard<std::mutex> lock(api_);
  return transport_->trouble(peer);
}

// Rank 0 passes on what it hears.
void Wire::handle(const Notice& notice, int from) {
  if (notice.rank < 0 || notice.rank >= ranks_) return;
  if (notice.what == NoticeKind::kFailed) {
    const std::lock_guard<std::mutex> lock(notices_);
    if (failure_.empty()) failure_ = notice.text;
  } else {
    uint32_t here = kHere;
    const uint32_t now = notice.what == NoticeKind::kLeft ? kLeft : kDied;
    presence_[static_cast<size_t>(notice.rank)].compare_exchange_strong(here, now);
  }
  if (rank_ != 0) return;
  for (int r = 0; r < static_cast<int>(sockets_.size()); r++)
    if (r != from) tell(sockets_[static_cast<size_t>(r)], notice);
}

void Wire::run() {
  const size_t n = sockets_.size();
  std::vector<std::string> pending(n);
  std::vector<pollfd> watched(n + 2);
  for (size_t i = 0; i < n; i++) watched[i] = {sockets_[i], POLLIN, 0};
  watched[n] = {bell_, POLLIN, 0};
  while (!ending_) {
    bool drive = transport_->under_way > attended_ && waiters_ == 0 && !stopped_;
    if (drive) {
      if (progress()) gate_.notify();
      const std::lock_guard<std::mutex> lock(api_);
      if (!transport_->prepare_to_sleep()) continue;
    }
    watched[n + 1] = {drive ? transport_->descriptor() : -1, POLLIN, 0};
    if (poll(watched.data(), watched.size(), drive ? kLookMs : -1) <= 0) continue;
    uint64_t rung = 0;
    if (watched[n].revents && read(bell_, &rung, sizeof rung) < 0) continue;
    for (size_t i = 0; i < n; i++) {
      if (!watched[i].revents) continue;
      std::vector<Notice> heard;
      const bool there = hear(sockets_[i], pending[i], heard);
      const int from = rank_ == 0 ? static_cast<int>(i) : 0;
      for (const Notice& notice : heard) handle(notice, from);
      if (there) continue;
      // After a farewell this changes nothing.
      handle({NoticeKind::kDied, from, ""}, from);
      watched[i].fd = -1;
    }
  }
}

}  // namespace openxpu::collectives
