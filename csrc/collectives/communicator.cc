// Rendezvous of the ranks, and the collectives over memory that they map from each other.
#include "communicator.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "control.h"
#include "environment.h"
#include "fold.h"
#include "host/copy.h"
#include "host/gate.h"
#include "machines.h"
#include "records.h"
#include "rendezvous.h"

namespace openxpu {

using collectives::Control;
using collectives::described;
using collectives::kCarried;
using collectives::Kind;
using collectives::kMaxRanks;
using collectives::Letter;
using collectives::machine;
using collectives::Mailbox;
using collectives::Member;
using collectives::Part;
using collectives::Request;
using collectives::seconds;
using collectives::Slot;
using collectives::Word;

namespace {

constexpr int64_t kLook = 50'000'000;  // nanoseconds between two looks at the others
// Bytes that are reduced, then written to all ranks.
constexpr uint64_t kBlock = uint64_t{16} << 10;
// Up to this the caller does the work itself, if the others come in time: it takes no longer than
// handing it to another thread does.
constexpr uint64_t kDirect = uint64_t{1} << 20;
// Payloads up to this lie in the slots: of each rank, what one other has to read. Through memory it
// is one copy less and one meeting more, which is short where every rank has a core.
struct Limits {
  uint64_t of_all,
      of_one;  // where every rank reads all of it; where it reads its part, or the root's
};
constexpr Limits kSpacious{1 << 10, 2 << 10}, kCrowded{kCarried, kCarried};

struct TypeFacts {
  const char* name;
  uint64_t size;
};
constexpr TypeFacts kTypes[] = {{"bool", 1},    {"uint8", 1},     {"int8", 1},
                                {"int16", 2},   {"int32", 4},     {"int64", 8},
                                {"float16", 2}, {"bfloat16", 2},  {"float32", 4},
                                {"float64", 8}, {"complex64", 8}, {"complex128", 16}};
constexpr const char* kOps[] = {"sum", "product", "min", "max", "average"};
constexpr const char* kKinds[] = {"all_reduce",     "reduce",     "broadcast", "all_gather",
                                  "reduce_scatter", "all_to_all", "barrier"};

}  // namespace

std::string collectives::machine() {
  char text[64] = {};
  if (FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "re")) {
    const size_t size = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
    text[size] = 0;
  }
  std::string found(text);
  found.erase(std::find(found.begin(), found.end(), '\n'), found.end());
  // Containers on one machine see neither each other's processes nor addresses.
  for (const char* space : {"/proc/self/ns/pid", "/proc/self/ns/net"}) {
    struct stat s{};
    if (stat(space, &s) == 0) found += "." + std::to_string(s.st_ino);
  }
  return found;
}

namespace {

// Card memory of other processes, mapped once for all communicators; mappings stay until the end.
char* map_once(int card, const Member& member) {
  static std::mutex mutex;
  static auto& mapped = *new std::map<std::tuple<int, uint64_t, int>, char*>();
  std::lock_guard<std::mutex> lock(mutex);
  char*& found = mapped[{member.process, member.started, member.descriptor}];
  if (!found) {
    const openxpu_memory_handle handle{member.process, member.descriptor, member.offset,
                                       member.bytes};
    uint64_t address = 0;
    if (driver().memory_import(card, &handle, &address) != OPENXPU_OK)
      throw Error(driver().last_error());
    found = reinterpret_cast<char*>(address);
  }
  return found;
}

}  // namespace

std::string collectives::described(const Request& r) {
  if (r.kind == Kind::kBarrier) return "barrier";
  std::string text = kKinds[static_cast<int>(r.kind)];
  const std::string type = kTypes[r.type].name;
  if (r.kind == Kind::kAllToAll) return text + " of " + type;
  text += " of " + std::to_string(r.count) + " " + type;
  if (r.kind == Kind::kAllReduce || r.kind == Kind::kReduce || r.kind == Kind::kReduceScatter)
    text += std::string(" (") + kOps[r.op] + ")";
  if (r.root >= 0) text += ", root " + std::to_string(r.root);
  return text;
}

namespace {

bool alike(const Request& a, const Request& b) {
  return a.kind == b.kind && a.type == b.type && a.op == b.op && a.root == b.root &&
         a.count == b.count;
}

Request request(Kind kind, DataType type, ReduceOp op, int root, uint64_t count, const void* in,
                const void* out) {
  return {kind,  static_cast<uint8_t>(type),     static_cast<uint8_t>(op),       false, root,
          count, reinterpret_cast<uint64_t>(in), reinterpret_cast<uint64_t>(out)};
}

void check_reducible(DataType type, ReduceOp op) {
  if (!collectives::fold_of(type, op))
    throw Error(std::string("A reduction by ") + kOps[static_cast<int>(op)] +
                " does not exist for " + name_of(type) + ".");
}

}  // namespace

uint64_t size_of(DataType type) { return kTypes[static_cast<uint32_t>(type)].size; }
const char* name_of(DataType type) { return kTypes[static_cast<uint32_t>(type)].name; }

// ---------------------------------------------------------------- state

struct Communicator::State {
  // A send whose payload waits in card memory for the receiver.
  struct Sent {
    uint32_t number;
    void* memory;
  };
  // How long somebody has been waiting, however often the wait was taken up again.
  struct Patience {
    uint64_t since = 0, looked = 0;
  };
  // What is enqueued: it can be left where it waits, and be gone on with by another thread.
  struct Task {
    explicit Task(std::shared_ptr<State> s) : state(std::move(s)) {}
    virtual ~Task() = default;
    // False: not done by `until` (0: however long it takes).
    virtual bool advance(uint64_t until) = 0;
    const std::shared_ptr<State> state;
    Patience patience;
  };
  struct Collective;
  struct Post;
  struct Fetch;

  Control* control = nullptr;
  int ranks = 0, rank = 0;
  Card* card = nullptr;
  std::string name;
  Names names;          // empty: the ranks are called by their own numbers
  std::string part_of;  // of the calls, with mutex held
  int64_t limit_ns = 0;
  bool crowded = false;         // fewer cores than ranks
  uint64_t past_cache = 0;      // outputs from this size on would not stay in a core's cache
  std::vector<uint64_t> shift;  // from a rank's own addresses to where this process sees them

  std::mutex mutex;                 // callers
  uint32_t asked = 0;               // collectives enqueued
  std::vector<uint32_t> sent, got;  // letters enqueued, to and from each rank
  std::vector<std::deque<Sent>> under_way;

  std::mutex turn_mutex;  // collectives run in the order of the calls, whatever their streams
  std::condition_variable turn;
  std::atomic<uint32_t> next{0}, waiting_for_turn{0};
  std::atomic<bool> is_broken{false};
  std::string broken;  // with turn_mutex held
  std::optional<GroupRecord> shown;

  ~State() {
    if (control) munmap(control, sizeof(Control));
  }

  Member& me() const { return control->members[rank]; }
  Member& member(int peer) const { return control->members[peer]; }

  char* there(int peer, uint64_t address) const {
    return reinterpret_cast<char*>(address + shift[static_cast<size_t>(peer)]);
  }

  std::string called(int peer) const {
    return std::to_string(names.ranks ? names.numbers[static_cast<size_t>(peer)] : peer);
  }
  std::string rank_of_all(int peer) const {
    return "Rank " + called(peer) + " of " + std::to_string(names.ranks ? names.ranks : ranks);
  }

  [[noreturn]] void stop(const std::string& sentence) {
    {
      std::lock_guard<std::mutex> lock(turn_mutex);
      if (broken.empty()) broken = sentence;
      is_broken.store(true);
      if (me().presence.load() == collectives::kJoined) {
        std::snprintf(me().text, sizeof me().text, "%s", sentence.c_str());
        me().presence.store(collectives::kFailed);
        if (shown) shown->set(GroupState::kFailed);
      }
    }
    turn.notify_all();
    throw Error(sentence);
  }

  // Whether anyone is gone without whom `what` cannot end.
  void look_at_the_others(const std::string& what, const std::function<bool(int)>& needed) {
    for (int peer = 0; peer < ranks; peer++) {
      if (peer == rank) continue;
      const uint32_t presence = member(peer).presence.load();
      if (presence == collectives::kFailed) stop(member(peer).text);
      if (!needed(peer) || presence == collectives::kAbsent) continue;
      const std::string who = rank_of_all(peer);
      if (presence == collectives::kLeft)
        stop(who + " has left communicator " + name + " while rank " + called(rank) +
             " waits for it in " + what + (what.back() == ',' ? "" : ";") +
             " every rank has to call the same collectives.");
      const uint64_t alive = collectives::started(member(peer).process);
      if (alive == 0 || (member(peer).started && alive != member(peer).started))
        stop(who + " (process " + std::to_string(member(peer).process) + ") has died; rank " +
             called(rank) + " waited for it in " + what + " of communicator " + name + ".");
    }
  }

  // Waits until `peer` has raised its word to `target`; false: it had not by `until`.
  template <typename What>
  bool await(Word& word, uint32_t target, int peer, uint64_t until, Patience& patience,
             const What& what) {
    if (word.spin(target, crowded)) return true;
    for (;;) {
      uint64_t now = host::now_ns();
      if (until != 0 && now >= until) return word.reached(target);
      if (patience.since == 0) patience.since = patience.looked = now;
      int64_t nap = kLook;
      if (until != 0) nap = std::min(nap, static_cast<int64_t>(until - now));
      if (word.sleep(target, nap)) return true;
      now = host::now_ns();
      if (now - patience.looked >= static_cast<uint64_t>(kLook)) {
        patience.looked = now;
        look_at_the_others(what(),
                           [&](int other) { return other == peer && !word.reached(target); });
      }
      if (now - patience.since >= static_cast<uint64_t>(limit_ns) && !word.reached(target) &&
          !member(peer).abroad.load())
        stop(rank_of_all(peer) + " did not come to " + what() + " of communicator " + name +
             " within " + seconds(limit_ns) + " (rank " + called(rank) +
             " waited; OPENXPU_COLLECTIVE_TIMEOUT sets the limit).");
    }
  }

  // ---- enqueueing, with mutex held ----

  void check() {
    if (!is_broken.load()) return;
    std::lock_guard<std::mutex> lock(turn_mutex);
    throw Error("Communicator " + name + " can no longer be used: " + broken);
  }

  // Returns the buffer's bytes.
  uint64_t check_buffer(const void* address, uint64_t count, DataType type,
                        const char* what) const {
    uint64_t bytes = 0;
    const bool possible = !__builtin_mul_overflow(count, size_of(type), &bytes);
    const auto* begin = static_cast<const char*>(address);
    if (!possible || (bytes && (!card->owns(begin) || !card->owns(begin + (bytes - 1)) ||
                                begin + (bytes - 1) < begin)))
      throw Error(std::string("The ") + what + " buffer of a collective, " + std::to_string(count) +
                  " " + name_of(type) + ", is not within the memory of card " +
                  std::to_string(card->id()) + ", to which this rank belongs.");
    return bytes;
  }

  void check_rank(int peer, const char* what) const {
    if (peer < 0 || peer >= ranks)
      throw Error(std::string("The ") + what + " of a collective is rank " + std::to_string(peer) +
                  "; communicator " + name + " has ranks 0 to " + std::to_string(ranks - 1) + ".");
  }

  static void enqueue(Stream& stream, const char* what, std::unique_ptr<Task> task, bool at_once) {
    stream.attempt(
        [](void* data, uint64_t until) {
          std::unique_ptr<Task> held(static_cast<Task*>(data));
          if (held->advance(until)) return 1;
          held.release();
          return 0;
        },
        task.release(), what, at_once);
  }

  // Enqueues a collective that moves `bytes`, or does it at once.
  static void start(const std::shared_ptr<State>& state, const Request& r, uint64_t bytes,
                    Stream& stream, std::vector<Part> parts = {},
                    std::vector<uint64_t> targets = {});

  uint64_t of_all(uint64_t count) const {
    uint64_t all = 0;
    return __builtin_mul_overflow(count, static_cast<uint64_t>(ranks), &all) ? ~uint64_t{0} : all;
  }

  void give_back_what_was_read(int to) {
    auto& waiting = under_way[static_cast<size_t>(to)];
    while (!waiting.empty() && control->boxes[rank][to].read.reached(waiting.front().number + 1)) {
      card->release(waiting.front().memory);
      waiting.pop_front();
    }
  }

  // Once the communicator is gone here: false while somebody may still read what was sent.
  bool give_back_all() {
    bool all = true;
    for (int to = 0; to < ranks; to++) {
      give_back_what_was_read(to);
      auto& waiting = under_way[static_cast<size_t>(to)];
      if (waiting.empty()) continue;
      const Member& reader = member(to);
      const uint64_t alive = collectives::started(reader.process);
      if (reader.presence.load() == collectives::kJoined && alive != 0 && alive == reader.started) {
        all = false;
        continue;
      }
      for (const Sent& one : waiting) card->release(one.memory);
      waiting.clear();
    }
    return all;
  }
};

// ---------------------------------------------------------------- collectives

struct Communicator::State::Collective : Communicator::State::Task {
  Collective(std::shared_ptr<State> s, const Request& r, uint32_t n)
      : Task(std::move(s)),
        request(r),
        number(n),
        part_of(state->part_of),
        size(kTypes[r.type].size) {}

  Request request;
  const uint32_t number;
  const std::string part_of;
  const uint64_t size;            // of an element
  std::vector<Part> parts;        // of all_to_all
  std::vector<uint64_t> targets;  // of all_to_all: where the peers' parts go
  enum { kWaiting, kAsked, kLeaving } stage = kWaiting;
  bool past_cache = false;  // see copy()

  Slot& slot(int peer) const { return state->member(peer).slots[number & 1]; }
  size_t n() const { return static_cast<size_t>(state->ranks); }
  std::string described_here() const { return described(request) + ", " + here() + ","; }
  std::string here() const {
    return part_of.empty() ? "collective " + std::to_string(number) : "a part of " + part_of;
  }

  bool advance(uint64_t until) override {
    State& s = *state;
    if (stage == kWaiting) {
      if (!take_turn(until)) return false;
      ask();
      stage = kAsked;
    }
    if (stage == kAsked) {
      for (int step = 1; step < s.ranks; step++) {
        const int peer = (s.rank + step) % s.ranks;
        if (!s.await(slot(peer).asked, number + 1, peer, until, patience,
                     [&] { return described_here(); }))
          return false;
      }
      compare();
      patience = {};
      if (from_slots()) return pass_on();
      through_memory();
      s.me().done.raise(number + 1);
      stage = kLeaving;
    }
    // Nobody may go on while another reads or writes its memory; of a broadcast, that is the root.
    for (int step = 1; step < s.ranks; step++) {
      const int peer = (s.rank + step) % s.ranks;
      if (request.kind == Kind::kBroadcast && s.rank != request.root && peer != request.root)
        continue;
      if (!s.await(s.member(peer).done, number + 1, peer, until, patience,
                   [&] { return described_here(); }))
        return false;
    }
    return pass_on();
  }

  bool take_turn(uint64_t until) {
    State& s = *state;
    if (s.next.load() == number && !s.is_broken.load()) return true;
    std::unique_lock<std::mutex> lock(s.turn_mutex);
    const auto ready = [&] { return s.next.load() == number || s.is_broken.load(); };
    s.waiting_for_turn.fetch_add(1);
    if (until == 0) {
      s.turn.wait(lock, ready);
    } else {
      const uint64_t now = host::now_ns();
      s.turn.wait_for(lock, std::chrono::nanoseconds(until > now ? until - now : 0), ready);
    }
    s.waiting_for_turn.fetch_sub(1);
    if (!ready()) return false;
    if (s.is_broken.load()) throw Error(s.broken);
    return true;
  }

  bool pass_on() {
    state->next.store(number + 1);
    if (state->waiting_for_turn.load() != 0) {
      std::lock_guard<std::mutex> lock(state->turn_mutex);
      state->turn.notify_all();
    }
    return true;
  }

  // Bytes that a rank puts into its slot for the others, if they fit.
  bool fits() const {
    uint64_t bytes = request.count * size;
    const Limits& limits = state->crowded ? kCrowded : kSpacious;
    switch (request.kind) {
      case Kind::kAllReduce:
      case Kind::kReduce:
      case Kind::kAllGather:
        return bytes <= kCarried && bytes * (n() - 1) <= limits.of_all;  // also of a single rank
      case Kind::kReduceScatter:
        bytes *= n();
        break;
      case Kind::kAllToAll:
        for (const Part& part : parts) bytes += part.count * size;
        break;
      case Kind::kBroadcast:
      case Kind::kBarrier:
        break;
    }
    return bytes <= limits.of_one;
  }

  // Publishes the request, and the payload where it is small.
  void ask() {
    Slot& mine = slot(state->rank);
    request.carried = fits();
    if (request.kind == Kind::kAllToAll) {
      uint64_t at = 0;
      Part* published = state->me().parts[number & 1];
      for (size_t p = 0; p < n(); p++) {
        published[p] = parts[p];
        if (!request.carried) continue;
        if (parts[p].count)
          std::memcpy(mine.payload + at, reinterpret_cast<const void*>(parts[p].address),
                      parts[p].count * size);
        published[p].address = at;
        at += parts[p].count * size;
      }
    } else if (request.carried && request.count &&
               (request.kind != Kind::kBroadcast || state->rank == request.root)) {
      const uint64_t times = request.kind == Kind::kReduceScatter ? n() : 1;
      std::memcpy(mine.payload, reinterpret_cast<const void*>(request.in),
                  request.count * size * times);
    }
    mine.request = request;
    mine.asked.raise(number + 1);
  }

  void compare() const {
    State& s = *state;
    const Request& r = request;
    for (int peer = 0; peer < s.ranks; peer++) {
      const Request& other = slot(peer).request;
      if (!alike(r, other))
        s.stop("The ranks of communicator " + s.name + " do not agree in " + here() + ": rank " +
               s.called(std::min(s.rank, peer)) + " called " +
               described(s.rank < peer ? r : other) + ", rank " + s.called(std::max(s.rank, peer)) +
               " called " + described(s.rank < peer ? other : r) + ".");
      if (r.kind != Kind::kAllToAll) continue;
      const uint64_t theirs = s.member(peer).parts[number & 1][s.rank].count,
                     wanted = parts[static_cast<size_t>(peer)].expected;
      if (theirs != wanted)
        s.stop("In all_to_all, " + here() + " of communicator " + s.name + ", rank " +
               s.called(peer) + " sends " + std::to_string(theirs) + " elements to rank " +
               s.called(s.rank) + ", which expects " + std::to_string(wanted) + ".");
    }
  }

  collectives::Fold fold() const {
    return collectives::fold_of(static_cast<DataType>(request.type),
                                static_cast<ReduceOp>(request.op));
  }

  // Does all of it from what the slots carry. False: something is only in the ranks' memory.
  bool from_slots() const {
    const State& s = *state;
    const uint64_t bytes = request.count * size;
    auto* out = reinterpret_cast<char*>(request.out);
    const void* sources[kMaxRanks];
    if (request.kind == Kind::kAllToAll) {
      for (int p = 0; p < s.ranks; p++)
        if (!slot(p).request.carried) return false;
      for (int p = 0; p < s.ranks; p++) take_part(p);
      return true;
    }
    if (!request.carried) return false;
    if (request.count == 0) return true;
    switch (request.kind) {
      case Kind::kReduce:
        if (s.rank != request.root) return true;
        [[fallthrough]];
      case Kind::kAllReduce:
      case Kind::kReduceScatter: {
        const uint64_t skip =
            request.kind == Kind::kReduceScatter ? bytes * static_cast<uint64_t>(s.rank) : 0;
        for (int p = 0; p < s.ranks; p++) sources[p] = slot(p).payload + skip;
        fold()(sources, s.ranks, 0, request.count, out);
        return true;
      }
      case Kind::kBroadcast:
        if (s.rank != request.root || request.in != request.out)
          std::memcpy(out, slot(request.root).payload, bytes);
        return true;
      case Kind::kAllGather:
        for (int p = 0; p < s.ranks; p++)
          std::memcpy(out + bytes * static_cast<uint64_t>(p), slot(p).payload, bytes);
        return true;
      case Kind::kAllToAll:
      case Kind::kBarrier:
        return true;
    }
    return true;
  }

  void take_part(int peer) const {
    const State& s = *state;
    const Part& part = s.member(peer).parts[number & 1][s.rank];
    if (part.count == 0) return;
    const char* from = slot(peer).request.carried ? slot(peer).payload + part.address
                                                  : s.there(peer, part.address);
    copy(reinterpret_cast<void*>(targets[static_cast<size_t>(peer)]), from, part.count * size);
  }

  // Bytes of this rank's output.
  uint64_t output_bytes() const {
    uint64_t count = request.count;
    if (request.kind == Kind::kAllGather) count *= n();
    for (const Part& part : parts) count += part.expected;
    return count * size;
  }

  // An output that is larger than the cache would be written to memory in any case, after its old
  // contents were read from there.
  void copy(void* to, const void* from, uint64_t bytes) const {
    if (past_cache)
      host::copy_past_cache(to, from, bytes);
    else
      std::memcpy(to, from, bytes);
  }

  // Reads and writes the ranks' memory.
  void through_memory() {
    const State& s = *state;
    past_cache = output_bytes() >= s.past_cache;
    const uint64_t bytes = request.count * size;
    auto* out = reinterpret_cast<char*>(request.out);
    const void* sources[kMaxRanks];
    const auto in_of = [&](int p) { return s.there(p, slot(p).request.in); };
    switch (request.kind) {
      case Kind::kAllReduce:
      case Kind::kReduce:
        for (int p = 0; p < s.ranks; p++) sources[p] = in_of(p);
        reduce_share(sources);
        return;
      case Kind::kReduceScatter:
        for (int p = 0; p < s.ranks; p++)
          sources[p] = in_of(p) + bytes * static_cast<uint64_t>(s.rank);
        reduce_range(sources, 0, request.count, out, nullptr, 0);
        return;
      case Kind::kBroadcast:
        if (s.rank != request.root)
          hand_over(s.rank, in_of(request.root), out);
        else
          serve();
        return;
      case Kind::kAllGather:
        for (int i = 0; i < s.ranks; i++) {
          const int p = (s.rank + i) % s.ranks;
          char* target = out + bytes * static_cast<uint64_t>(p);
          if (target != in_of(p)) copy(target, in_of(p), bytes);
        }
        return;
      case Kind::kAllToAll:
        for (int i = 0; i < s.ranks; i++) take_part((s.rank + i) % s.ranks);
        return;
      case Kind::kBarrier:
        return;
    }
  }

  // This rank's share of a vector, in whole cache lines, goes to whoever wants it.
  void reduce_share(const void* const* sources) const {
    const State& s = *state;
    const uint64_t line = std::max<uint64_t>(1, 64 / size);
    const uint64_t each = ((request.count + n() - 1) / n() + line - 1) / line * line;
    const uint64_t begin = std::min(request.count, each * static_cast<uint64_t>(s.rank));
    const uint64_t end = std::min(request.count, begin + each);
    char* outs[kMaxRanks];
    int others = 0;
    if (request.kind == Kind::kReduce) {
      char* target = s.there(request.root, slot(request.root).request.out);
      return reduce_range(sources, begin, end, target + begin * size, nullptr, 0);
    }
    for (int step = 1; step < s.ranks; step++) {
      const int p = (s.rank + step) % s.ranks;
      outs[others++] = s.there(p, slot(p).request.out) + begin * size;
    }
    reduce_range(sources, begin, end, reinterpret_cast<char*>(request.out) + begin * size, outs,
                 others);
  }

  // Block by block, so that what is written to the others is at hand in the cache.
  void reduce_range(const void* const* sources, uint64_t begin, uint64_t end, char* own,
                    char* const* others, int other_count) const {
    const auto reduce = fold();
    alignas(64) thread_local char block[kBlock];
    const uint64_t step = kBlock / size;
    for (uint64_t at = begin, place = 0; at < end; at += step) {
      const uint64_t stop_at = std::min(end, at + step), bytes = (stop_at - at) * size;
      char* result = past_cache ? block : own + place;
      reduce(sources, state->ranks, at, stop_at, result);
      if (past_cache) copy(own + place, block, bytes);
      for (int p = 0; p < other_count; p++) copy(others[p] + place, result, bytes);
      place += bytes;
    }
  }

  // ---- broadcast: the root writes what the others have not read yet, so that no core is idle ----

  uint64_t chunk() const {
    return std::min<uint64_t>(std::max<uint64_t>(request.count * size / 16 / 4096 * 4096, 16 << 10),
                              256 << 10);
  }

  // Copies the next chunk of rank `to`'s output that nobody has taken; false: there is none.
  bool hand_over_one(int to, const char* from, char* out) const {
    const uint64_t bytes = request.count * size, each = chunk(), tag = uint64_t{number} << 32;
    auto& taken = state->member(to).taken;
    uint64_t seen = taken.load(std::memory_order_relaxed), index;
    do {
      index = seen >> 32 == number ? seen & 0xffffffffu : 0;
      if (index * each >= bytes) return false;
    } while (!taken.compare_exchange_weak(seen, tag | (index + 1), std::memory_order_relaxed));
    const uint64_t at = index * each, length = std::min(each, bytes - at);
    copy(out + at, from + at, length);
    return true;
  }

  void hand_over(int to, const char* from, char* out) const {
    while (hand_over_one(to, from, out)) {
    }
  }

  void serve() const {
    const State& s = *state;
    const auto* in = reinterpret_cast<const char*>(request.in);
    if (request.in != request.out)
      copy(reinterpret_cast<void*>(request.out), in, request.count * size);
    if (s.crowded) return;  // the others are at it already
    for (bool some = true; some;) {
      some = false;
      for (int step = 1; step < s.ranks; step++) {
        const int p = (s.rank + step) % s.ranks;
        some |= hand_over_one(p, in, s.there(p, slot(p).request.out));
      }
    }
  }
};

void Communicator::State::start(const std::shared_ptr<State>& state, const Request& r,
                                uint64_t bytes, Stream& stream, std::vector<Part> parts,
                                std::vector<uint64_t> targets) {
  State& s = *state;
  std::lock_guard<std::mutex> lock(s.mutex);
  s.check();
  auto task = std::make_unique<Collective>(state, r, s.asked++);
  task->parts = std::move(parts);
  task->targets = std::move(targets);
  const bool at_once = bytes <= kDirect && s.next.load() == task->number;
  enqueue(stream, kKinds[static_cast<int>(r.kind)], std::move(task), at_once);
}

// ---------------------------------------------------------------- letters

struct Communicator::State::Post : Communicator::State::Task {
  using Task::Task;
  const void* in;
  void* memory;
  uint64_t count;
  uint32_t type, number;
  int to;

  bool advance(uint64_t until) override {
    State& s = *state;
    Mailbox& box = s.control->boxes[s.rank][to];
    const auto what = [&] { return "receive of send " + std::to_string(number); };
    if (number >= collectives::kLetters &&
        !s.await(box.read, number - collectives::kLetters + 1, to, until, patience, what))
      return false;
    // Earlier letters come from other streams.
    if (!s.await(box.written, number, s.rank, until, patience, what)) return false;
    if (count) std::memcpy(memory, in, count * kTypes[type].size);
    box.letters[number % collectives::kLetters] = {reinterpret_cast<uint64_t>(memory), count, type};
    box.written.raise(number + 1);
    return true;
  }
};

struct Communicator::State::Fetch : Communicator::State::Task {
  using Task::Task;
  void* out;
  uint64_t count;
  uint32_t type, number;
  int from;
  bool copied = false;

  bool advance(uint64_t until) override {
    State& s = *state;
    Mailbox& box = s.control->boxes[from][s.rank];
    const auto what = [&] {
      return "send of " + std::to_string(count) + " " + kTypes[type].name + " to rank " +
             s.called(s.rank) + " (number " + std::to_string(number) + " of this pair)";
    };
    if (!copied) {
      if (!s.await(box.written, number + 1, from, until, patience, what)) return false;
      const Letter letter = box.letters[number % collectives::kLetters];
      if (letter.count != count || letter.type != type)
        s.stop("Rank " + s.called(from) + " sent " + std::to_string(letter.count) + " " +
               kTypes[letter.type].name + " to rank " + s.called(s.rank) + ", which receives " +
               std::to_string(count) + " " + kTypes[type].name + " (number " +
               std::to_string(number) + " of this pair in communicator " + s.name + ").");
      if (count) std::memcpy(out, s.there(from, letter.address), count * kTypes[type].size);
      copied = true;
    }
    // Earlier letters are read on other streams.
    if (!s.await(box.read, number, s.rank, until, patience, what)) return false;
    box.read.raise(number + 1);
    return true;
  }
};

// ---------------------------------------------------------------- what outlives a communicator

namespace {

// Control blocks that this process made; each stays open until its ranks have opened it too.
struct Made {
  std::mutex mutex;
  std::vector<int> descriptors;
};
Made& made_here() {
  static auto* instance = new Made;
  return *instance;
}

void close_what_all_have_joined() {
  std::lock_guard<std::mutex> lock(made_here().mutex);
  auto& all = made_here().descriptors;
  all.erase(std::remove_if(all.begin(), all.end(),
                           [](int fd) {
                             uint32_t ranks = 0, joined = 0;
                             if (pread(fd, &ranks, sizeof ranks, offsetof(Control, ranks)) !=
                                     sizeof ranks ||
                                 pread(fd, &joined, sizeof joined, offsetof(Control, joined)) !=
                                     sizeof joined ||
                                 ranks == 0 || joined < ranks)
                               return false;
                             close(fd);
                             return true;
                           }),
            all.end());
}

// Communicators that are gone here, but whose letters are not read yet.
template <typename StatePointer>
void keep_until_read(StatePointer state) {
  static std::mutex mutex;
  static auto& left = *new std::vector<StatePointer>();
  std::lock_guard<std::mutex> lock(mutex);
  if (state) left.push_back(std::move(state));
  left.erase(std::remove_if(left.begin(), left.end(),
                            [](const StatePointer& s) { return s->give_back_all(); }),
             left.end());
}

}  // namespace

// ---------------------------------------------------------------- rendezvous

UniqueId make_unique_id(const std::string& address) {
  close_what_all_have_joined();
  UniqueId id{};
  const int fd = memfd_create("openxpu-communicator", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, sizeof(Control)) != 0 ||
      getrandom(&id.token, sizeof id.token, 0) != sizeof id.token)
    throw Error(std::string("Could not make the control block of a communicator: ") +
                std::strerror(errno) + ".");
  if (pwrite(fd, &id.token, sizeof id.token, offsetof(Control, token)) != sizeof id.token)
    throw Error("There is no memory left for the control block of a communicator.");
  {
    std::lock_guard<std::mutex> lock(made_here().mutex);
    made_here().descriptors.push_back(fd);
  }
  id.process = getpid();
  id.descriptor = fd;
  id.started = collectives::started(id.process);
  std::snprintf(id.machine, sizeof id.machine, "%s", machine().c_str());
  if (!address.empty()) collectives::listen_at(address, id);
  return id;
}

Communicator::Communicator() : state_(std::make_shared<State>()) {}

std::unique_ptr<Communicator> Communicator::create(const UniqueId& id, int ranks, int rank,
                                                   Card& card) {
  if (id.address[0]) return Machines::join(id, ranks, rank, card);
  return create(id, ranks, rank, card, Names{});
}

std::unique_ptr<Communicator> Communicator::create_part(const UniqueId& id, const Names& names,
                                                        int rank, Card& card) {
  return create(id, static_cast<int>(names.numbers.size()), rank, card, names);
}

std::unique_ptr<Communicator> Communicator::create(const UniqueId& id, int ranks, int rank,
                                                   Card& card, const Names& names) {
  if (ranks < 1 || ranks > kMaxRanks)
    throw Error("A communicator was asked for " + std::to_string(ranks) +
                " ranks; it can have 1 to " + std::to_string(kMaxRanks) + ".");
  if (rank < 0 || rank >= ranks)
    throw Error("A communicator of " + std::to_string(ranks) + " ranks was asked for rank " +
                std::to_string(rank) + ".");
  if (machine() != id.machine)
    throw Error(
        "The ranks of this communicator are on different machines (or in different containers), "
        "and its unique id has no address; rank 0 has to make it with one, as "
        "unique_id(address=...) or by OPENXPU_ADDRESS.");
  keep_until_read(std::shared_ptr<State>());
  auto made = std::unique_ptr<Communicator>(new Communicator());
  State& s = *made->state_;
  s.ranks = ranks;
  s.rank = rank;
  s.card = &card;
  s.limit_ns = environment().collective_timeout_ns;
  // So that other machines, which wait for this one's ranks, hear which of them is missing.
  if (names.ranks) s.limit_ns -= std::min<int64_t>(1'000'000'000, s.limit_ns / 5);
  char name[32];
  std::snprintf(name, sizeof name, "%08x", static_cast<unsigned>(id.token));
  s.name = names.ranks ? names.communicator : name;
  s.names = names;
  s.sent.resize(static_cast<size_t>(ranks));
  s.got.resize(static_cast<size_t>(ranks));
  s.under_way.resize(static_cast<size_t>(ranks));

  const std::string path =
      "/proc/" + std::to_string(id.process) + "/fd/" + std::to_string(id.descriptor);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat found{};
  if (fd < 0 || fstat(fd, &found) != 0 || static_cast<uint64_t>(found.st_size) < sizeof(Control)) {
    if (fd >= 0) close(fd);
    throw Error("Rank " + std::to_string(rank) + " could not reach process " +
                std::to_string(id.process) + ", which made the unique id of communicator " +
                s.name + "; it must be alive, of the same user, and not have used this id before.");
  }
  void* memory = mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) throw Error("Could not map the control block of a communicator.");
  s.control = static_cast<Control*>(memory);
  if (s.control->token != id.token)
    throw Error("The unique id of communicator " + s.name +
                " is no longer valid; rank 0 has to make a new one.");
  uint32_t unset = 0;
  if (!s.control->ranks.compare_exchange_strong(unset, static_cast<uint32_t>(ranks)) &&
      unset != static_cast<uint32_t>(ranks))
    throw Error("Rank " + std::to_string(rank) + " joins communicator " + s.name + " as one of " +
                std::to_string(ranks) + " ranks, another rank as one of " + std::to_string(unset) +
                ".");

  Member& mine = s.me();
  if (mine.process != 0)
    throw Error("Communicator " + s.name + " has a rank " + std::to_string(rank) +
                " already (process " + std::to_string(mine.process) + ").");
  mine.process = getpid();
  mine.started = collectives::started(mine.process);
  uint64_t base = 0, bytes = 0;
  if (driver().memory_range(card.id(), &base, &bytes) != OPENXPU_OK)
    throw Error(driver().last_error());
  mine.base = base;
  mine.bytes = bytes;
  openxpu_memory_handle handle{};
  const bool shared = driver().memory_export(card.id(), base, bytes, &handle) == OPENXPU_OK;
  mine.descriptor = shared ? handle.fd : -1;
  mine.offset = handle.offset;
  mine.cards = environment().cards;
  if (sched_getaffinity(0, sizeof mine.cores, &mine.cores) != 0) CPU_ZERO(&mine.cores);
  mine.presence.store(collectives::kJoined);
  s.shown.emplace(s.name, card.id(), names.ranks ? names.numbers[static_cast<size_t>(rank)] : rank,
                  names.ranks ? names.ranks : ranks);
  s.control->joined.fetch_add(1);

  const uint64_t end = host::now_ns() + static_cast<uint64_t>(s.limit_ns);
  for (uint64_t turn = 0;; turn++) {
    std::string missing;
    for (int p = 0; p < ranks; p++)
      if (s.member(p).presence.load() == collectives::kAbsent)
        missing += (missing.empty() ? "" : ", ") + std::to_string(p);
    if (missing.empty()) break;
    s.look_at_the_others("the set-up", [](int) { return true; });
    if (host::now_ns() >= end)
      s.stop("Communicator " + s.name + " of " + std::to_string(ranks) + " ranks waited " +
             seconds(s.limit_ns) + " for rank " + missing +
             " to join (OPENXPU_COLLECTIVE_TIMEOUT sets the limit).");
    usleep(turn < 100 ? 200 : 5000);
  }
  s.shift.resize(static_cast<size_t>(ranks));
  for (int p = 0; p < ranks; p++) {
    const Member& member = s.member(p);
    uint64_t& shift = s.shift[static_cast<size_t>(p)];
    if (member.process == getpid()) {
      shift = 0;
    } else if (member.descriptor < 0) {
      s.stop("Card memory of rank " + std::to_string(p) +
             " is private to its process; set OPENXPU_ARENA=shared before "
             "it starts.");
    } else {
      try {
        shift = reinterpret_cast<uint64_t>(map_once(card.id(), member)) - member.base;
      } catch (const Error& error) {  // most likely it has died since it joined
        s.look_at_the_others("the set-up", [](int) { return true; });
        s.stop("Rank " + std::to_string(rank) + " cannot reach the card of rank " +
               std::to_string(p) + ": " + error.what());
      }
    }
  }
  int busy = ranks;
  cpu_set_t cores = mine.cores;
  for (int p = 0; p < ranks; p++) {
    CPU_OR(&cores, &cores, &s.member(p).cores);
    busy = std::max(busy, s.member(p).cards);
  }
  s.crowded = CPU_COUNT(&cores) < busy;
  const auto cache = static_cast<uint64_t>(std::max<int64_t>(card.properties().l2_bytes, 1 << 20));
  const auto sharing = static_cast<uint64_t>(ranks / std::max(1, CPU_COUNT(&cores)));
  s.past_cache = cache / std::max<uint64_t>(1, sharing);
  // Nobody may go before all have mapped what they need.
  State::Collective(
      made->state_,
      request(Kind::kBarrier, DataType::kUint8, ReduceOp::kSum, -1, 0, nullptr, nullptr), s.asked++)
      .advance(0);
  close_what_all_have_joined();
  s.shown->set(GroupState::kReady);
  return made;
}

Communicator::~Communicator() {
  State& s = *state_;
  if (!s.control || s.me().process != getpid()) return;  // a forked child is no rank
  uint32_t joined = collectives::kJoined;
  s.me().presence.compare_exchange_strong(joined, collectives::kLeft);
  keep_until_read(state_);
}

void Communicator::serve(const std::string& what) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  state_->part_of = what;
}

void Communicator::set_abroad(bool abroad) { state_->me().abroad.store(abroad); }

void Communicator::look() {
  {
    std::lock_guard<std::mutex> lock(state_->turn_mutex);
    if (!state_->broken.empty()) throw Error(state_->broken);
  }
  state_->look_at_the_others("", [](int) { return false; });
}

void Communicator::give_up(const std::string& sentence) noexcept {
  try {
    state_->stop(sentence);
  } catch (const Error&) {
    return;  // the caller has the sentence
  }
}

int Communicator::ranks() const { return state_->ranks; }
int Communicator::rank() const { return state_->rank; }
const std::string& Communicator::name() const { return state_->name; }
const char* Communicator::path(int peer) const {
  state_->check_rank(peer, "peer");
  if (peer == rank()) return "self";
  return state_->member(peer).process == getpid() ? "process" : "memory";
}
Card& Communicator::card() const { return *state_->card; }

// ---------------------------------------------------------------- calls

void Communicator::all_reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                              Stream& stream) {
  check_reducible(type, op);
  state_->check_buffer(in, count, type, "input");
  const uint64_t bytes = state_->check_buffer(out, count, type, "output");
  State::start(state_, request(Kind::kAllReduce, type, op, -1, count, in, out), bytes, stream);
}

void Communicator::reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                          int root, Stream& stream) {
  check_reducible(type, op);
  state_->check_rank(root, "root");
  const uint64_t bytes = state_->check_buffer(in, count, type, "input");
  if (rank() == root) state_->check_buffer(out, count, type, "output");
  State::start(state_, request(Kind::kReduce, type, op, root, count, in, out), bytes, stream);
}

void Communicator::broadcast(const void* in, void* out, uint64_t count, DataType type, int root,
                             Stream& stream) {
  state_->check_rank(root, "root");
  if (rank() == root) state_->check_buffer(in, count, type, "input");
  const uint64_t bytes = state_->check_buffer(out, count, type, "output");
  State::start(state_, request(Kind::kBroadcast, type, ReduceOp::kSum, root, count, in, out), bytes,
               stream);
}

void Communicator::all_gather(const void* in, void* out, uint64_t count, DataType type,
                              Stream& stream) {
  state_->check_buffer(in, count, type, "input");
  const uint64_t bytes = state_->check_buffer(out, state_->of_all(count), type, "output");
  State::start(state_, request(Kind::kAllGather, type, ReduceOp::kSum, -1, count, in, out), bytes,
               stream);
}

void Communicator::reduce_scatter(const void* in, void* out, uint64_t count, DataType type,
                                  ReduceOp op, Stream& stream) {
  check_reducible(type, op);
  const uint64_t bytes = state_->check_buffer(in, state_->of_all(count), type, "input");
  state_->check_buffer(out, count, type, "output");
  State::start(state_, request(Kind::kReduceScatter, type, op, -1, count, in, out), bytes, stream);
}

void Communicator::all_to_all(const std::vector<const void*>& in,
                              const std::vector<uint64_t>& in_counts, const std::vector<void*>& out,
                              const std::vector<uint64_t>& out_counts, DataType type,
                              Stream& stream) {
  const auto n = static_cast<size_t>(ranks());
  if (in.size() != n || in_counts.size() != n || out.size() != n || out_counts.size() != n)
    throw Error("all_to_all of " + std::to_string(n) +
                " ranks needs as many input and output buffers.");
  std::vector<Part> parts(n);
  std::vector<uint64_t> targets(n);
  uint64_t bytes = 0;
  for (size_t p = 0; p < n; p++) {
    bytes += state_->check_buffer(in[p], in_counts[p], type, "input");
    bytes += state_->check_buffer(out[p], out_counts[p], type, "output");
    if (in_counts[p] && in[p] == out[p])
      throw Error(
          "all_to_all cannot put its result into its own input; give another output buffer.");
    parts[p] = {reinterpret_cast<uint64_t>(in[p]), in_counts[p], out_counts[p]};
    targets[p] = reinterpret_cast<uint64_t>(out[p]);
  }
  State::start(state_, request(Kind::kAllToAll, type, ReduceOp::kSum, -1, 0, nullptr, nullptr),
               bytes, stream, std::move(parts), std::move(targets));
}

void Communicator::barrier(Stream& stream) {
  State::start(state_,
               request(Kind::kBarrier, DataType::kUint8, ReduceOp::kSum, -1, 0, nullptr, nullptr),
               0, stream);
}

void Communicator::send(const void* in, uint64_t count, DataType type, int to, Stream& stream) {
  State& s = *state_;
  s.check_rank(to, "receiver");
  const uint64_t bytes = s.check_buffer(in, count, type, "input");
  std::lock_guard<std::mutex> lock(s.mutex);
  s.check();
  s.give_back_what_was_read(to);
  auto task = std::make_unique<State::Post>(state_);
  task->in = in;
  task->memory = count ? s.card->allocate(bytes, &stream) : nullptr;
  task->count = count;
  task->type = static_cast<uint32_t>(type);
  task->number = s.sent[static_cast<size_t>(to)]++;
  task->to = to;
  if (count) s.under_way[static_cast<size_t>(to)].push_back({task->number, task->memory});
  State::enqueue(stream, "send", std::move(task), bytes <= kDirect);
}

void Communicator::receive(void* out, uint64_t count, DataType type, int from, Stream& stream) {
  State& s = *state_;
  s.check_rank(from, "sender");
  const uint64_t bytes = s.check_buffer(out, count, type, "output");
  std::lock_guard<std::mutex> lock(s.mutex);
  s.check();
  auto task = std::make_unique<State::Fetch>(state_);
  task->out = out;
  task->count = count;
  task->type = static_cast<uint32_t>(type);
  task->number = s.got[static_cast<size_t>(from)]++;
  task->from = from;
  State::enqueue(stream, "receive", std::move(task), bytes <= kDirect);
}

}  // namespace openxpu
