// The queue is a ring of bytes: commands lie in it whole, arguments included, so that enqueuing
// allocates nothing.
#include "host/stream.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <unordered_map>
#include <vector>

#include "host/copy.h"

namespace openxpu::host {

namespace {

constexpr uint64_t kRing = 1 << 20;
constexpr uint64_t kCell = 64;
// Work this small is done by the caller itself when the stream has nothing else to do: waking a
// thread costs more.
constexpr uint64_t kInlineCost = 16 << 10;
constexpr uint64_t kInlineScratch = 64 << 10;
// Host memory up to this size travels inside the queue.
constexpr uint64_t kStagedInQueue = 32 << 10;
constexpr uint64_t kSharedCopy = 1 << 20;
constexpr uint64_t kStreamedCopy = 32 << 20;
constexpr uint64_t kStreamedFill = 4 << 20;
constexpr uint64_t kCopyPiece = 256 << 10;
// How long a waiting caller looks for work to take part in: a sleeping stream thread needs tens of
// microseconds until it has started some.
constexpr uint64_t kHelpNs = 60000;

// ---- profile records
// ------------------------------------------------------------------------------------------

struct Tracer {
  std::atomic<bool> on{false};
  std::mutex mutex;
  struct Record {
    std::string name;
    int card, stream;
    uint64_t begin, end, bytes;
    uint64_t entry;
    uint32_t grid[3];
    std::vector<uint64_t> args;
  };
  std::vector<Record> records;
};
Tracer& tracer() {
  static auto* instance = new Tracer;
  return *instance;
}

// ---- failed asserts
// -------------------------------------------------------------------------------------------

struct Asserts {
  std::mutex mutex;
  std::unordered_map<uint64_t, std::vector<std::string>> messages;
};
Asserts& asserts() {
  static auto* instance = new Asserts;
  return *instance;
}

std::string assert_sentence(const char* kernel, uint64_t entry, int32_t number) {
  std::string sentence = std::string("A device assertion failed in kernel \"") + kernel + "\"";
  std::lock_guard<std::mutex> lock(asserts().mutex);
  auto found = asserts().messages.find(entry);
  if (found != asserts().messages.end() && number >= 1 &&
      number <= static_cast<int32_t>(found->second.size()))
    return sentence + ": " + found->second[static_cast<size_t>(number - 1)];
  return sentence + " (number " + std::to_string(number) + ").";
}

// ---- copies
// ---------------------------------------------------------------------------------------------------

int32_t copy_pieces(const uint64_t* args, const uint32_t*, uint64_t begin, uint64_t end, void*) {
  auto* dst = reinterpret_cast<char*>(args[0]);
  auto* src = reinterpret_cast<const char*>(args[1]);
  uint64_t first = begin * kCopyPiece, last = std::min(args[2], end * kCopyPiece);
  std::memcpy(dst + first, src + first, last - first);
  return 0;
}

// Copies that are larger than the cache go past it: a plain store would read every line first.
int32_t stream_pieces(const uint64_t* args, const uint32_t*, uint64_t begin, uint64_t end, void*) {
  auto* dst = reinterpret_cast<char*>(args[0]);
  auto* src = reinterpret_cast<const char*>(args[1]);
  uint64_t first = begin * kCopyPiece, last = std::min(args[2], end * kCopyPiece);
  copy_past_cache(dst + first, src + first, last - first);
  return 0;
}

int32_t fill_pieces(const uint64_t* args, const uint32_t*, uint64_t begin, uint64_t end, void*) {
  uint64_t first = begin * kCopyPiece, last = std::min(args[2], end * kCopyPiece);
  char* dst = reinterpret_cast<char*>(args[0]) + first;
  const int byte = static_cast<int>(args[1]);
  if (args[2] >= kStreamedFill)
    fill_past_cache(dst, byte, last - first);
  else
    std::memset(dst, byte, last - first);
  return 0;
}

void in_pieces(Workers& workers, Entry entry, uint64_t a, uint64_t b, uint64_t bytes) {
  uint64_t args[3] = {a, b, bytes};
  uint32_t grid[3] = {static_cast<uint32_t>((bytes + kCopyPiece - 1) / kCopyPiece), 1, 1};
  workers.run(entry, args, grid, 0, bytes);
}

bool overlap(const void* a, const void* b, uint64_t bytes) {
  auto x = reinterpret_cast<uint64_t>(a), y = reinterpret_cast<uint64_t>(b);
  return x < y + bytes && y < x + bytes;
}

}  // namespace

void shared_copy(Workers& workers, void* dst, const void* src, uint64_t bytes) {
  if (bytes < kSharedCopy || overlap(dst, src, bytes)) {
    std::memmove(dst, src, bytes);
  } else {
    in_pieces(workers, bytes < kStreamedCopy ? copy_pieces : stream_pieces,
              reinterpret_cast<uint64_t>(dst), reinterpret_cast<uint64_t>(src), bytes);
  }
}

void set_assert_messages(uint64_t entry, const char* const* messages, int count) {
  std::lock_guard<std::mutex> lock(asserts().mutex);
  asserts().messages[entry].assign(messages, messages + count);
}

bool trace_start() {
  std::lock_guard<std::mutex> lock(tracer().mutex);
  if (tracer().on.load(std::memory_order_relaxed)) return false;
  tracer().records.clear();
  tracer().on.store(true, std::memory_order_release);
  return true;
}

void trace_stop(void (*sink)(const openxpu_trace_record*, void*), void* data) {
  tracer().on.store(false, std::memory_order_release);
  std::vector<Tracer::Record> records;
  {
    std::lock_guard<std::mutex> lock(tracer().mutex);
    records.swap(tracer().records);
  }
  for (const auto& r : records) {
    openxpu_trace_record out{};
    out.name = r.name.c_str();
    out.card = r.card;
    out.stream = r.stream;
    out.begin_ns = r.begin;
    out.end_ns = r.end;
    out.bytes = r.bytes;
    out.entry = r.entry;
    std::copy(r.grid, r.grid + 3, out.grid);
    out.args = r.args.data();
    out.arg_count = static_cast<uint32_t>(r.args.size());
    sink(&out, data);
  }
}

// ---- events, busy time
// ----------------------------------------------------------------------------------------

void HostEvent::reach(uint64_t record) {
  time_ns_.store(now_ns(), std::memory_order_release);
  uint64_t before = reached_.load(std::memory_order_relaxed);
  while (before < record &&
         !reached_.compare_exchange_weak(before, record, std::memory_order_seq_cst)) {
  }
  gate_.notify();
}

void HostCard::enter_busy() {
  std::lock_guard<std::mutex> lock(busy_mutex);
  if (busy_streams++ == 0) record->busy_since_ns.store(now_ns(), std::memory_order_relaxed);
}

void HostCard::leave_busy() {
  std::lock_guard<std::mutex> lock(busy_mutex);
  if (--busy_streams != 0) return;
  uint64_t since = record->busy_since_ns.load(std::memory_order_relaxed);
  record->busy_since_ns.store(0, std::memory_order_relaxed);
  record->busy_total_ns.fetch_add(now_ns() - since, std::memory_order_relaxed);
}

uint64_t HostCard::busy_ns() const {
  uint64_t since = record->busy_since_ns.load(std::memory_order_relaxed), now = now_ns();
  return record->busy_total_ns.load(std::memory_order_relaxed) +
         (since != 0 && now > since ? now - since : 0);
}

// ---- the queue
// ------------------------------------------------------------------------------------------------

enum class HostStream::Kind : uint32_t {
  kPad,
  kStop,
  kLaunch,
  kCopy,
  kFreeingCopy,
  kFill,
  kRecord,
  kWait,
  kFunction,
  kAttempt
};

struct HostStream::Command {
  uint32_t bytes;  // of the whole command, a multiple of kCell
  Kind kind;
  union {
    struct {
      uint64_t entry;
      uint32_t grid[3];
      uint32_t arg_count;
      uint64_t scratch_bytes, cost;
      const char* name;
      void (*done)(void*);
      void* done_data;
    } launch;  // the arguments follow the command
    struct {
      void* dst;
      const void* src;
      uint64_t bytes;
    } copy;
    struct {
      void* dst;
      uint64_t bytes;
      int byte;
    } fill;
    struct {
      HostEvent* event;
      uint64_t record;
    } event;
    struct {
      void (*function)(void*);
      void* data;
      const char* name;
    } function;
    struct {
      int (*attempt)(void*, uint64_t);
      void* data;
      const char* name;
      uint64_t begin;  // of the first attempt here; 0: there was none
    } attempt;
  };
  void* tail() { return this + 1; }
};

HostStream::~HostStream() {
  {
    std::lock_guard<std::mutex> lock(lock_);
    if (!thread_.joinable()) return;
    reserve(sizeof(Command))->kind = Kind::kStop;
    publish();
  }
  thread_.join();
}

void HostStream::start() {
  memory_.reset(new char[kRing + kCell]);
  auto address = reinterpret_cast<uint64_t>(memory_.get());
  ring_ = memory_.get() + ((kCell - address % kCell) % kCell);
  // Signals belong to the threads of the application.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { drain(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), "openxpu-stream");
}

HostStream::Command* HostStream::reserve(uint64_t bytes) {
  if (!ring_) start();
  bytes = (bytes + kCell - 1) / kCell * kCell;
  uint64_t tail = tail_.load(std::memory_order_relaxed);
  uint64_t to_end = kRing - tail % kRing;
  uint64_t pad = bytes > to_end ? to_end : 0;
  // A full queue holds the caller back. The stream only ever waits for events that were recorded
  // before, so it gets on without us.
  while (tail + pad + bytes - head_.load(std::memory_order_acquire) > kRing) {
    timespec t{0, 20000};
    nanosleep(&t, nullptr);
  }
  if (pad) {
    auto* filler = reinterpret_cast<Command*>(ring_ + tail % kRing);
    filler->bytes = static_cast<uint32_t>(pad);
    filler->kind = Kind::kPad;
    tail += pad;
  }
  auto* command = reinterpret_cast<Command*>(ring_ + tail % kRing);
  command->bytes = static_cast<uint32_t>(bytes);
  next_ = tail + bytes;
  return command;
}

void HostStream::publish(uint64_t cost) {
  tail_.store(next_, std::memory_order_seq_cst);
  if (sleeping_.load(std::memory_order_seq_cst) == 0 || sleeping_.exchange(0) == 0) return;
  if (cost >= Place::kCost && card_.workers->count() > 1) place_.aside();
  futex_wake(&sleeping_, 1);
}

bool HostStream::step(uint64_t until_ns) {
  uint64_t head = head_.load(std::memory_order_relaxed);
  auto& command = *reinterpret_cast<Command*>(ring_ + head % kRing);
  if (!busy_) card_.enter_busy();
  busy_ = true;
  uint64_t bytes = command.bytes;
  if (!execute(command, until_ns)) return false;
  head_.store(head + bytes, std::memory_order_seq_cst);
  if (tail_.load(std::memory_order_seq_cst) == head + bytes) {
    card_.leave_busy();
    busy_ = false;
  }
  reached_.notify();
  return true;
}

void HostStream::drain() {
  FloatMode mode;
  place_.here();
  auto more = [&] { return !idle(); };
  for (bool stop = false; !stop;) {
    if (!spin_until(more, 5000, 12000)) {
      sleeping_.store(1, std::memory_order_seq_cst);
      while (!more() && sleeping_.load(std::memory_order_seq_cst) != 0) futex_wait(&sleeping_, 1);
      sleeping_.store(0, std::memory_order_relaxed);
      place_.back();
      continue;
    }
    std::unique_lock<std::mutex> lock(drain_, std::try_to_lock);
    if (!lock.owns_lock()) {
      // A waiting caller is at it already, and may be glad of help.
      card_.workers->help_until([&] { return lock.owns_lock() || lock.try_lock(); }, kHelpNs);
      if (!lock.owns_lock()) lock.lock();
    }
    if (!more()) continue;
    uint64_t head = head_.load(std::memory_order_relaxed);
    stop = reinterpret_cast<Command*>(ring_ + head % kRing)->kind == Kind::kStop;
    step(0);
  }
}

// A sleeping thread needs tens of microseconds until it runs; a caller that does nothing but wait
// is there at once. Waits for events and functions of unknown length stay with the stream's thread,
// as do kernels that might never end: callers can be interrupted, kernels cannot.
void HostStream::take_over(uint64_t target, int64_t timeout_ns) {
  std::unique_lock<std::mutex> lock(drain_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  FloatMode mode;
  const uint64_t until = timeout_ns < 0 ? 0 : now_ns() + static_cast<uint64_t>(timeout_ns);
  for (;;) {
    uint64_t head = head_.load(std::memory_order_seq_cst);
    if (head >= target) return;
    if (until != 0 && now_ns() > until) return;
    const auto& command = *reinterpret_cast<Command*>(ring_ + head % kRing);
    bool ours = command.kind == Kind::kPad || command.kind == Kind::kCopy ||
                command.kind == Kind::kFreeingCopy || command.kind == Kind::kFill ||
                command.kind == Kind::kRecord ||
                (command.kind == Kind::kLaunch && command.launch.cost != 0);
    if (command.kind == Kind::kAttempt) {  // the others may let wait
      if (!step(until)) return;
      continue;
    }
    if (!ours) return;
    // The stream's thread comes, finds the queue taken, and helps.
    const Workers::Assistant stream(*card_.workers);
    step(until);
  }
}

void HostStream::fail(const std::string& sentence) {
  std::lock_guard<std::mutex> lock(failure_mutex_);
  if (failure_.empty()) failure_ = sentence;
  failed_.store(true, std::memory_order_release);
}

std::string HostStream::take_failure() {
  if (!failed_.load(std::memory_order_acquire)) return "";
  std::lock_guard<std::mutex> lock(failure_mutex_);
  failed_.store(false, std::memory_order_release);
  std::string sentence;
  sentence.swap(failure_);
  return sentence;
}

bool HostStream::wait(int64_t timeout_ns) {
  uint64_t target = tail_.load(std::memory_order_seq_cst);
  auto ready = [&] { return head_.load(std::memory_order_seq_cst) >= target; };
  if (ready()) return true;
  if (timeout_ns != 0) {
    take_over(target, timeout_ns);
    if (card_.workers->help_until(ready, kHelpNs)) return true;
  }
  return reached_.wait(ready, timeout_ns, 10000);
}

void HostStream::run_launch(const Command& command, const uint64_t* args) {
  const auto& l = command.launch;
  int32_t result =
      card_.workers->run(reinterpret_cast<Entry>(l.entry), args, l.grid, l.scratch_bytes, l.cost);
  if (result == Workers::kNoScratch)
    fail(std::string("Kernel \"") + l.name + "\" needs " + std::to_string(l.scratch_bytes) +
         " bytes of scratch for each worker, which the system refused; free host memory.");
  else if (result != 0)
    fail(assert_sentence(l.name, l.entry, result));
}

bool HostStream::attempted(int (*attempt)(void*, uint64_t), void* data, uint64_t until_ns) {
  try {
    return attempt(data, until_ns) != 0;
  } catch (const std::exception& error) {
    fail(error.what());
    return true;
  }
}

bool HostStream::execute(Command& command, uint64_t until_ns) {
  bool traced = tracer().on.load(std::memory_order_relaxed);
  // Its name is taken before the command ends, because the plan that owns it may end with it.
  Tracer::Record record{};
  if (traced) record.begin = now_ns();
  switch (command.kind) {
    case Kind::kLaunch:
      if (traced) {
        const auto& l = command.launch;
        const auto* args = static_cast<const uint64_t*>(command.tail());
        record.name = l.name;
        record.bytes = l.cost;
        record.entry = l.entry;
        std::copy(l.grid, l.grid + 3, record.grid);
        record.args.assign(args, args + l.arg_count);
        record.begin = now_ns();
      }
      run_launch(command, static_cast<const uint64_t*>(command.tail()));
      if (command.launch.done) command.launch.done(command.launch.done_data);
      break;
    case Kind::kCopy:
    case Kind::kFreeingCopy:
      if (traced) record.name = "copy", record.bytes = command.copy.bytes;
      shared_copy(*card_.workers, command.copy.dst, command.copy.src, command.copy.bytes);
      if (command.kind == Kind::kFreeingCopy) std::free(const_cast<void*>(command.copy.src));
      break;
    case Kind::kFill:
      if (traced) record.name = "fill", record.bytes = command.fill.bytes;
      if (command.fill.bytes < kSharedCopy)
        std::memset(command.fill.dst, command.fill.byte, command.fill.bytes);
      else
        in_pieces(*card_.workers, fill_pieces, reinterpret_cast<uint64_t>(command.fill.dst),
                  static_cast<uint64_t>(command.fill.byte), command.fill.bytes);
      break;
    case Kind::kRecord:
      command.event.event->reach(command.event.record);
      command.event.event->release();
      return true;
    case Kind::kWait:
      command.event.event->wait(command.event.record, -1, 10000);
      command.event.event->release();
      return true;
    case Kind::kFunction:
      if (traced) record.name = command.function.name;
      try {
        command.function.function(command.function.data);
      } catch (const std::exception& error) {
        fail(error.what());
      }
      break;
    case Kind::kAttempt:
      if (command.attempt.begin == 0) command.attempt.begin = now_ns();
      if (!attempted(command.attempt.attempt, command.attempt.data, until_ns)) return false;
      if (traced) record.name = command.attempt.name, record.begin = command.attempt.begin;
      break;
    case Kind::kPad:
    case Kind::kStop:
      return true;
  }
  if (traced) {
    record.end = now_ns();
    record.card = card_.id;
    record.stream = index_;
    std::lock_guard<std::mutex> lock(tracer().mutex);
    tracer().records.push_back(std::move(record));
  }
  return true;
}

void HostStream::launch(const openxpu_launch& launch) {
  std::lock_guard<std::mutex> lock(lock_);
  bool direct = launch.cost != 0 && launch.cost <= kInlineCost &&
                launch.scratch_bytes <= kInlineScratch && idle() &&
                !tracer().on.load(std::memory_order_relaxed);
  Command here;
  Command* command =
      direct ? &here : reserve(sizeof(Command) + launch.arg_count * sizeof(uint64_t));
  command->kind = Kind::kLaunch;
  auto& l = command->launch;
  l.entry = launch.entry;
  std::copy(launch.grid, launch.grid + 3, l.grid);
  l.arg_count = launch.arg_count;
  l.scratch_bytes = launch.scratch_bytes;
  l.cost = launch.cost;
  l.name = launch.name ? launch.name : "kernel";
  l.done = launch.done;
  l.done_data = launch.done_data;
  if (direct) {
    FloatMode mode;
    run_launch(here, launch.args);
    if (l.done) l.done(l.done_data);
    return;
  }
  std::memcpy(command->tail(), launch.args, launch.arg_count * sizeof(uint64_t));
  publish(launch.cost);
}

void HostStream::copy(void* dst, const void* src, uint64_t bytes, openxpu_copy_kind kind) {
  if (bytes == 0) return;
  std::lock_guard<std::mutex> lock(lock_);
  // From host memory, the caller has to wait for the bytes to leave in any case.
  bool direct = bytes <= kInlineCost || kind == OPENXPU_HOST_TO_CARD;
  if (direct && idle() && !tracer().on.load(std::memory_order_relaxed)) {
    shared_copy(*card_.workers, dst, src, bytes);
    return;
  }
  bool staged = kind == OPENXPU_HOST_TO_CARD && bytes <= kStagedInQueue;
  Command* command = reserve(sizeof(Command) + (staged ? bytes : 0));
  command->kind = Kind::kCopy;
  command->copy = {dst, src, bytes};
  if (staged) {
    std::memcpy(command->tail(), src, bytes);
    command->copy.src = command->tail();
  } else if (kind == OPENXPU_HOST_TO_CARD) {
    // The caller may reuse its memory at once, so the bytes move out of it now.
    void* stage = std::malloc(bytes);
    if (!stage) throw std::bad_alloc();
    std::memcpy(stage, src, bytes);
    command->kind = Kind::kFreeingCopy;
    command->copy.src = stage;
  }
  publish(bytes);
}

void HostStream::fill(void* dst, int byte, uint64_t bytes) {
  if (bytes == 0) return;
  std::lock_guard<std::mutex> lock(lock_);
  if (bytes <= kInlineCost && idle() && !tracer().on.load(std::memory_order_relaxed)) {
    std::memset(dst, byte, bytes);
    return;
  }
  Command* command = reserve(sizeof(Command));
  command->kind = Kind::kFill;
  command->fill = {dst, bytes, byte & 0xFF};
  publish();
}

void HostStream::record(HostEvent* event) {
  std::lock_guard<std::mutex> lock(lock_);
  uint64_t record = event->next_record();
  if (idle()) {
    event->reach(record);
    return;
  }
  event->retain();
  Command* command = reserve(sizeof(Command));
  command->kind = Kind::kRecord;
  command->event = {event, record};
  publish();
}

void HostStream::wait_event(HostEvent* event) {
  uint64_t record = event->last_record();
  if (event->reached(record)) return;
  std::lock_guard<std::mutex> lock(lock_);
  event->retain();
  Command* command = reserve(sizeof(Command));
  command->kind = Kind::kWait;
  command->event = {event, record};
  publish();
}

void HostStream::host_function(void (*function)(void*), void* data, const char* name) {
  std::lock_guard<std::mutex> lock(lock_);
  Command* command = reserve(sizeof(Command));
  command->kind = Kind::kFunction;
  command->function = {function, data, name};
  publish();
}

void HostStream::attempt(int (*attempt)(void*, uint64_t), void* data, const char* name,
                         bool at_once) {
  std::lock_guard<std::mutex> lock(lock_);
  if (at_once && idle() && !tracer().on.load(std::memory_order_relaxed)) {
    FloatMode mode;
    if (attempted(attempt, data, 1)) return;
  }
  Command* command = reserve(sizeof(Command));
  command->kind = Kind::kAttempt;
  command->attempt = {attempt, data, name, 0};
  publish();
}

}  // namespace openxpu::host
