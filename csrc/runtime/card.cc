// Cards, streams and events over the driver table.
#include "card.h"

#include <pthread.h>

#include <algorithm>

#include "allocator.h"
#include "environment.h"
#include "poison.h"
#include "records.h"

namespace openxpu {
namespace {

constexpr int64_t kInterruptNs = 50'000'000;
constexpr int kMaxCards = 64;
constexpr uint64_t kWorkspaceUnit = uint64_t{2} << 20;

std::atomic<bool> forked{false};
thread_local Stream* current[kMaxCards];

[[noreturn]] void raise(int status) {
  std::string sentence = driver().last_error();
  if (status == OPENXPU_OUT_OF_MEMORY) throw OutOfMemory(sentence);
  if (status == OPENXPU_LAUNCH_FAILED) throw LaunchError(sentence);
  throw Error(sentence);
}

void check(int status) {
  if (status != OPENXPU_OK) raise(status);
}

template <typename Wait>
void wait_interruptibly(Wait wait, const Interrupt& interrupt) {
  for (;;) {
    int status = wait(interrupt ? kInterruptNs : int64_t{-1});
    if (status == OPENXPU_OK) return;
    if (status != OPENXPU_NOT_READY) raise(status);
    if (interrupt) interrupt();
  }
}

std::string bytes_text(int64_t bytes) {
  char text[64];
  if (bytes >= (int64_t{1} << 30))
    snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / (1 << 30));
  else if (bytes >= (1 << 20))
    snprintf(text, sizeof text, "%.2f MiB", static_cast<double>(bytes) / (1 << 20));
  else
    snprintf(text, sizeof text, "%lld bytes", static_cast<long long>(bytes));
  return text;
}

struct Cards {
  std::mutex mutex;
  std::atomic<Card*> open[kMaxCards] = {};
};
Cards& cards() {
  static auto* instance = new Cards;  // never freed: see host/driver.cc
  return *instance;
}

}  // namespace

const openxpu_driver& driver() {
  static const openxpu_driver* table = openxpu_host_driver();
  return *table;
}

int card_count() {
  int count = driver().card_count();
  if (count < 0) raise(OPENXPU_INVALID);
  return count;
}

Card& card(int id) {
  if (id >= 0 && id < kMaxCards) {
    Card* open = cards().open[id].load(std::memory_order_acquire);
    if (open) return *open;
  }
  check(driver().card_open(id));
  std::lock_guard<std::mutex> lock(cards().mutex);
  Card* open = cards().open[id].load(std::memory_order_acquire);
  if (!open) {
    static bool once = pthread_atfork(nullptr, nullptr, [] { forked.store(true); }) == 0;
    (void)once;
    open = new Card(id);
    cards().open[id].store(open, std::memory_order_release);
  }
  return *open;
}

Card* card_of(const void* address) {
  for (auto& slot : cards().open) {
    Card* open = slot.load(std::memory_order_acquire);
    if (open && open->owns(address)) return open;
  }
  return nullptr;
}

// ---- events
// ---------------------------------------------------------------------------------------------------

Event::Event() { check(driver().event_create(&handle_)); }
Event::~Event() { driver().event_destroy(handle_); }
bool Event::query() const { return driver().event_query(handle_) == OPENXPU_OK; }

void Event::synchronize(const Interrupt& interrupt) const {
  wait_interruptibly([&](int64_t limit) { return driver().event_wait(handle_, limit); }, interrupt);
}

double Event::elapsed_ms(const Event& start) const {
  uint64_t begin = 0, end = 0;
  for (auto [event, out] : {std::pair{&start, &begin}, std::pair{this, &end}}) {
    int status = driver().event_time(event->handle_, out);
    if (status == OPENXPU_NOT_READY)
      throw Error(
          "The time between two events was asked for while one is still pending; synchronize it "
          "first.");
    check(status);
  }
  return (static_cast<double>(end) - static_cast<double>(begin)) * 1e-6;
}

// ---- streams
// --------------------------------------------------------------------------------------------------

Stream::Stream(Card& card) : card_(card) {
  std::lock_guard<std::mutex> lock(card_.streams_mutex_);
  number_ = card_.next_number_++;
  check(driver().stream_create(card.id(), number_, &handle_));
  // The lowest index that is free; the 65th stream shares a bit with another, which is safe, only
  // slower.
  index_ = 0;
  while (index_ < 63 && (card_.used_indices_ >> index_) & 1) index_++;
  card_.used_indices_ |= uint64_t{1} << index_;
  card_.streams_.push_back(this);
}

Stream::~Stream() {
  if (forked.load()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    drop_workspace();
  }
  {
    std::lock_guard<std::mutex> lock(card_.streams_mutex_);
    card_.streams_.erase(std::find(card_.streams_.begin(), card_.streams_.end(), this));
    bool shared = std::any_of(card_.streams_.begin(), card_.streams_.end(),
                              [this](Stream* other) { return other->index_ == index_; });
    // Its work ends before the index can be handed out again, because the lock is held.
    driver().stream_destroy(handle_);
    if (!shared) card_.used_indices_ &= ~(uint64_t{1} << index_);
  }
  if (current[card_.id()] == this) current[card_.id()] = nullptr;
}

bool Stream::query() const { return driver().stream_query(handle_) == OPENXPU_OK; }

void Stream::synchronize(const Interrupt& interrupt) {
  wait_interruptibly([&](int64_t limit) { return driver().stream_wait(handle_, limit); },
                     interrupt);
}

bool Stream::synchronize_at_once() {
  const int status = driver().stream_wait(handle_, 0);
  if (status != OPENXPU_NOT_READY) check(status);
  return status == OPENXPU_OK;
}

void Stream::wait(const Event& event) {
  check(driver().stream_wait_event(handle_, event.handle()));
}
void Stream::record(Event& event) { check(driver().event_record(event.handle(), handle_)); }
void Stream::launch(const openxpu_launch& launch) { check(driver().launch(handle_, &launch)); }
void Stream::copy(void* dst, const void* src, uint64_t bytes, openxpu_copy_kind kind) {
  check(driver().copy(handle_, dst, src, bytes, kind));
}
void Stream::fill(void* dst, int byte, uint64_t bytes) {
  check(driver().fill(handle_, dst, byte, bytes));
}
void Stream::host_function(void (*function)(void*), void* data, const char* name) {
  check(driver().stream_host_function(handle_, function, data, name));
}
void Stream::attempt(int (*attempt)(void*, uint64_t), void* data, const char* name, bool at_once) {
  check(driver().stream_attempt(handle_, attempt, data, name, at_once));
}

void* Stream::workspace(uint64_t bytes) {
  if (environment().guard) {  // ends where this plan's last scratch does, begins as all workspaces
    bytes = (bytes + 63) / 64 * 64;
    if (bytes != workspace_bytes_) {
      drop_workspace();
      workspace_ = card_.allocate_block(bytes, this, true);
      workspace_bytes_ = bytes;
      card_.workspace_total_.fetch_add(static_cast<int64_t>(bytes));
    }
    return workspace_;
  }
  if (bytes > workspace_bytes_) {
    drop_workspace();
    uint64_t size = (bytes + kWorkspaceUnit - 1) / kWorkspaceUnit * kWorkspaceUnit;
    if (static_cast<int64_t>(size) > card_.memory_stats().largest_free) size = bytes;
    workspace_ = card_.allocate_block(size, this, true);
    workspace_bytes_ = size;
    card_.workspace_total_.fetch_add(static_cast<int64_t>(size));
  }
  return workspace_;
}

void Stream::drop_workspace() {
  if (!workspace_) return;
  card_.release(workspace_, this);
  card_.workspace_total_.fetch_sub(static_cast<int64_t>(workspace_bytes_));
  workspace_ = nullptr;
  workspace_bytes_ = 0;
}

// ---- cards
// ----------------------------------------------------------------------------------------------------

Card::Card(int id) : id_(id) {
  check(driver().card_properties(id, &properties_));
  uint64_t base = 0, bytes = 0;
  check(driver().memory_range(id, &base, &bytes));
  Allocator::Protect protect;
  if (environment().guard && driver().memory_protect)
    protect = [id](uint64_t address, uint64_t size, bool open) {
      check(driver().memory_protect(id, address, size, open));
    };
  allocator_ = std::make_unique<Allocator>(base, bytes, std::move(protect));
  default_stream_ = std::make_unique<Stream>(*this);
  CardRecord& record = card_record(id);
  record.limit = static_cast<int64_t>(bytes);
  record.opened = 1;
}

Card::~Card() = default;

Stream& Card::current_stream() {
  Stream* stream = current[id_];
  return stream ? *stream : *default_stream_;
}

void Card::set_current_stream(Stream* stream) { current[id_] = stream; }

void* Card::allocate(uint64_t bytes, Stream* stream) {
  void* address = allocate_block(bytes, stream, false);
  const int junk = poison();
  if (junk < 0 || bytes == 0) return address;
  if (stream) {
    stream->fill(address, junk, bytes);
  } else {  // for use by anyone at once
    Event filled;
    default_stream_->fill(address, junk, bytes);
    default_stream_->record(filled);
    filled.synchronize();
  }
  return address;
}

void* Card::allocate_block(uint64_t bytes, Stream* stream, bool in_replay) {
  if (forked.load(std::memory_order_relaxed)) {
    check(driver().card_open(id_));  // throws the sentence
    throw Error("Card memory cannot be allocated after a fork.");
  }
  Allocator::Result block = allocator_->take(bytes);
  if (block.address == 0) {
    // Workspaces that streams keep for their next plan are the only memory that can be had back.
    {
      std::lock_guard<std::mutex> lock(streams_mutex_);
      for (Stream* s : streams_) {
        if (s == stream) continue;
        std::unique_lock<std::mutex> replay(s->mutex_, std::try_to_lock);
        if (replay.owns_lock()) s->drop_workspace();
      }
      // A replay has dropped its own stream's workspace by itself, and holds that stream's lock.
      if (stream && !in_replay) {
        std::lock_guard<std::mutex> replay(stream->mutex_);
        stream->drop_workspace();
      }
    }
    block = allocator_->take(bytes);
  }
  if (block.address == 0) {
    MemoryStats s = memory_stats();
    throw OutOfMemory("Out of memory on card xpu:" + std::to_string(id_) + ": " +
                      bytes_text(static_cast<int64_t>(bytes)) + " were asked for, " +
                      bytes_text(s.limit - s.used) + " are free (largest free block " +
                      bytes_text(s.largest_free) + "), " + bytes_text(s.used) +
                      " are in use, the limit is " + bytes_text(s.limit) +
                      ". Free some arrays, use a smaller batch, or raise OPENXPU_CARD_MEMORY.");
  }
  uint64_t others = block.users & (stream ? ~(uint64_t{1} << stream->index()) : ~uint64_t{0});
  if (others != 0) {
    std::vector<std::unique_ptr<Event>> pending;
    {
      std::lock_guard<std::mutex> lock(streams_mutex_);
      for (Stream* s : streams_) {
        if (!((others >> s->index()) & 1) || s == stream || s->query()) continue;
        pending.push_back(std::make_unique<Event>());
        s->record(*pending.back());
      }
    }
    for (auto& event : pending) {
      if (stream)
        stream->wait(*event);
      else
        event->synchronize();
    }
  }
  CardRecord& record = card_record(id_);
  record.used.store(allocator_->used(), std::memory_order_relaxed);
  record.peak.store(allocator_->peak(), std::memory_order_relaxed);
  return reinterpret_cast<void*>(block.address);
}

void Card::release(void* address, Stream* stream) noexcept {
  if (!address || forked.load(std::memory_order_relaxed)) return;
  uint64_t users = 0;
  if (stream) {
    users = uint64_t{1} << stream->index();
  } else {
    std::lock_guard<std::mutex> lock(streams_mutex_);
    for (Stream* s : streams_)
      if (!s->query()) users |= uint64_t{1} << s->index();
  }
  allocator_->give(reinterpret_cast<uint64_t>(address), users);
  card_record(id_).used.store(allocator_->used(), std::memory_order_relaxed);
}

bool Card::owns(const void* address) const {
  return allocator_->owns(reinterpret_cast<uint64_t>(address));
}

MemoryStats Card::memory_stats() const {
  MemoryStats s = allocator_->stats();
  s.workspace = workspace_total_.load();
  return s;
}

void Card::reset_peak() { allocator_->reset_peak(); }

void Card::trim() {
  synchronize();
  {
    std::lock_guard<std::mutex> lock(streams_mutex_);
    for (Stream* s : streams_) {
      std::unique_lock<std::mutex> replay(s->mutex_, std::try_to_lock);
      if (replay.owns_lock() && s->query()) s->drop_workspace();
    }
  }
  allocator_->trim(
      [this](uint64_t address, uint64_t bytes) { driver().memory_trim(id_, address, bytes); });
}

void Card::synchronize(const Interrupt& interrupt) {
  if (forked.load(std::memory_order_relaxed)) return;
  std::vector<std::unique_ptr<Event>> pending;
  {
    std::lock_guard<std::mutex> lock(streams_mutex_);
    for (Stream* s : streams_) {
      if (s->query()) continue;
      pending.push_back(std::make_unique<Event>());
      s->record(*pending.back());
    }
  }
  for (auto& event : pending) event->synchronize(interrupt);
  int status = OPENXPU_OK;
  std::string sentence;
  {
    std::lock_guard<std::mutex> lock(streams_mutex_);
    for (Stream* s : streams_) {
      // An event is reached a moment before its command leaves the queue, and a failure is told
      // once the queue is empty. The limit is for streams that other threads keep busy.
      int one = driver().stream_wait(s->handle(), pending.empty() ? 0 : kInterruptNs);
      if (one == OPENXPU_OK || one == OPENXPU_NOT_READY || status != OPENXPU_OK) continue;
      status = one;
      sentence = driver().last_error();
    }
  }
  if (status == OPENXPU_LAUNCH_FAILED) throw LaunchError(sentence);
  if (status != OPENXPU_OK) throw Error(sentence);
}

void Card::copy_sync(void* dst, const void* src, uint64_t bytes, openxpu_copy_kind) {
  if (bytes == 0) return;
  synchronize();
  check(driver().copy_now(id_, dst, src, bytes));
}

void Card::set_seed(uint64_t seed) { set_philox(seed, 0); }

void Card::set_philox(uint64_t seed, uint64_t offset) {
  std::lock_guard<std::mutex> lock(philox_mutex_);
  seed_ = seed;
  offset_ = offset;
}

std::pair<uint64_t, uint64_t> Card::philox() const {
  std::lock_guard<std::mutex> lock(philox_mutex_);
  return {seed_, offset_};
}

std::pair<uint64_t, uint64_t> Card::advance_philox(uint64_t increment) {
  std::lock_guard<std::mutex> lock(philox_mutex_);
  std::pair<uint64_t, uint64_t> before{seed_, offset_};
  offset_ += increment;
  return before;
}

uint64_t Card::busy_ns() const {
  uint64_t ns = 0;
  check(driver().card_busy_ns(id_, &ns));
  return ns;
}

// ---- profiles
// -------------------------------------------------------------------------------------------------

void trace_start() { check(driver().trace_start()); }

std::vector<TraceRecord> trace_stop() {
  std::vector<TraceRecord> records;
  check(driver().trace_stop(
      [](const openxpu_trace_record* r, void* out) {
        static_cast<std::vector<TraceRecord>*>(out)->push_back(
            {r->name,
             r->card,
             r->stream,
             r->begin_ns,
             r->end_ns,
             r->bytes,
             r->entry,
             {r->grid[0], r->grid[1], r->grid[2]},
             std::vector<uint64_t>(r->args, r->args + r->arg_count)});
      },
      &records));
  return records;
}

}  // namespace openxpu
