// Rendezvous of the ranks, and the collectives over memory that they map from each other.
#include "communicator.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <tuple>

#include "control.h"
#include "environment.h"
#include "fold.h"
#include "host/gate.h"
#include "machines.h"
#include "rendezvous.h"

namespace openxpu {

using collectives::Control;
using collectives::described;
using collectives::Kind;
using collectives::kMaxRanks;
using collectives::kSmall;
using collectives::Letter;
using collectives::machine;
using collectives::Mailbox;
using collectives::Member;
using collectives::Part;
using collectives::Request;
using collectives::Word;

namespace {

constexpr int64_t kLook = 50'000'000;  // nanoseconds between two looks at the others
constexpr uint64_t kBlock = uint64_t{16}
                            << 10;  // bytes that are reduced, then written to all ranks

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

std::string seconds(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", static_cast<double>(ns) * 1e-9);
  return text;
}

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

bool alike(const Request& a, const Request& b) {
  return a.kind == b.kind && a.type == b.type && a.op == b.op && a.root == b.root &&
         a.count == b.count;
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

uint64_t size_of(DataType type) { return kTypes[static_cast<uint32_t>(type)].size; }
const char* name_of(DataType type) { return kTypes[static_cast<uint32_t>(type)].name; }

// ---------------------------------------------------------------- state

struct Communicator::State {
  // A send whose payload waits in card memory for the receiver.
  struct Sent {
    uint32_t number;
    void* memory;
  };

  Control* control = nullptr;
  int ranks = 0, rank = 0;
  Card* card = nullptr;
  std::string name;
  Names names;          // empty: the ranks are called by their own numbers
  std::string part_of;  // of the calls, with mutex held
  std::string serving;  // of the collective that runs
  int64_t limit_ns = 0;
  std::vector<char*> base;  // where this process sees each rank's card memory

  std::mutex mutex;                 // callers
  uint32_t asked = 0;               // collectives enqueued
  std::vector<uint32_t> sent, got;  // letters enqueued, to and from each rank
  std::vector<std::deque<Sent>> under_way;

  std::mutex turn_mutex;  // collectives run in the order of the calls, whatever their streams
  std::condition_variable turn;
  uint32_t next = 0;
  std::string broken;  // with turn_mutex held

  ~State() {
    if (control) munmap(control, sizeof(Control));
  }

  Member& me() const { return control->members[rank]; }
  Member& member(int peer) const { return control->members[peer]; }

  char* there(int peer, uint64_t address) const {
    return base[static_cast<size_t>(peer)] + (address - member(peer).base);
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
      if (me().presence.load() == collectives::kJoined) {
        std::snprintf(me().text, sizeof me().text, "%s", sentence.c_str());
        me().presence.store(collectives::kFailed);
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
             " waits for it in " + what + "; every rank has to call the same collectives.");
      const uint64_t alive = collectives::started(member(peer).process);
      if (alive == 0 || (member(peer).started && alive != member(peer).started))
        stop(who + " (process " + std::to_string(member(peer).process) + ") has died; rank " +
             called(rank) + " waited for it in " + what + " of communicator " + name + ".");
    }
  }

  void await(Word& word, uint32_t target, int peer, const std::function<std::string()>& what) {
    if (word.wait(target, 1'000'000)) return;
    const uint64_t end = host::now_ns() + static_cast<uint64_t>(limit_ns);
    while (!word.wait(target, kLook)) {
      look_at_the_others(what(), [&](int other) { return other == peer && !word.reached(target); });
      if (host::now_ns() >= end && !word.reached(target) && !member(peer).abroad.load())
        stop(rank_of_all(peer) + " did not come to " + what() + " of communicator " + name +
             " within " + seconds(limit_ns) + " (rank " + called(rank) +
             " waited; OPENXPU_COLLECTIVE_TIMEOUT sets the limit).");
    }
  }

  std::string told(uint32_t number, const Request& r) const {
    return serving.empty() ? described(r) + ", collective " + std::to_string(number) + ","
                           : described(r) + ", a part of " + serving + ",";
  }

  void await_all(uint32_t target, uint32_t number, const Request& r) {
    for (int step = 1; step < ranks; step++) {
      const int peer = (rank + step) % ranks;
      await(member(peer).phase, target, peer, [&] { return told(number, r); });
    }
  }

  // Publishes the request, waits for the others' and compares.
  void meet(uint32_t number, const Request& r) {
    Member& mine = me();
    mine.request[number & 1] = r;
    if (r.kind == Kind::kAllReduce && small(r))
      std::memcpy(mine.small[number & 1], reinterpret_cast<const void*>(r.in),
                  r.count * kTypes[r.type].size);
    mine.phase.raise(4 * number + 1);
    await_all(4 * number + 1, number, r);
    for (int peer = 0; peer < ranks; peer++) {
      const Request& other = member(peer).request[number & 1];
      if (!alike(r, other))
        stop("The ranks of communicator " + name + " do not agree in " +
             (serving.empty() ? "collective " + std::to_string(number) : "a part of " + serving) +
             ": rank " + called(std::min(rank, peer)) + " called " +
             described(rank < peer ? r : other) + ", rank " + called(std::max(rank, peer)) +
             " called " + described(rank < peer ? other : r) + ".");
      if (r.kind != Kind::kAllToAll) continue;
      const uint64_t theirs = member(peer).parts[number & 1][rank].count,
                     wanted = mine.parts[number & 1][peer].expected;
      if (theirs != wanted)
        stop("In all_to_all, collective " + std::to_string(number) + " of communicator " + name +
             ", rank " + called(peer) + " sends " + std::to_string(theirs) + " elements to rank " +
             called(rank) + ", which expects " + std::to_string(wanted) + ".");
    }
  }

  bool small(const Request& r) const { return r.count * kTypes[r.type].size <= kSmall; }

  void leave(uint32_t number, const Request& r) {
    me().phase.raise(4 * number + 2);
    await_all(4 * number + 2, number, r);
  }

  // ---- the operations, on a stream's thread ----

  // This rank's share of a vector, in whole cache lines.
  std::pair<uint64_t, uint64_t> share(uint64_t count, uint64_t size) const {
    const uint64_t line = std::max<uint64_t>(1, 64 / size), n = static_cast<uint64_t>(ranks);
    const uint64_t each = ((count + n - 1) / n + line - 1) / line * line;
    const uint64_t begin = std::min(count, each * static_cast<uint64_t>(rank));
    return {begin, std::min(count, begin + each)};
  }

  void run(uint32_t number, const Request& r) {
    meet(number, r);
    const uint64_t size = kTypes[r.type].size;
    const auto type = static_cast<DataType>(r.type);
    const auto place = [&](int peer) -> const Request& { return member(peer).request[number & 1]; };
    const auto n = static_cast<size_t>(ranks);
    std::vector<const void*> sources(n);
    switch (r.kind) {
      case Kind::kBarrier:
        return;
      case Kind::kAllReduce:
      case Kind::kReduce: {
        const collectives::Fold fold = collectives::fold_of(type, static_cast<ReduceOp>(r.op));
        if (r.kind == Kind::kAllReduce && small(r)) {
          for (size_t p = 0; p < n; p++) sources[p] = member(static_cast<int>(p)).small[number & 1];
          if (r.count) fold(sources.data(), ranks, 0, r.count, reinterpret_cast<void*>(r.out));
          return;
        }
        std::vector<char*> targets;
        for (int p = 0; p < ranks; p++) {
          sources[static_cast<size_t>(p)] = there(p, place(p).in);
          if (r.kind == Kind::kAllReduce ? p != rank : p == r.root)
            targets.push_back(there(p, place(p).out));
        }
        // Reduced into this rank's own output, which is at hand in the cache when it is written to
        // the others; in a reduction to one rank that output is nobody's, so that the root's is
        // written directly.
        const auto [begin, end] = share(r.count, size);
        char* own = r.kind == Kind::kAllReduce ? reinterpret_cast<char*>(r.out) : targets[0];
        if (r.kind == Kind::kReduce) targets.clear();
        const uint64_t step = kBlock / size;
        for (uint64_t at = begin; at < end; at += step) {
          const uint64_t stop_at = std::min(end, at + step);
          fold(sources.data(), ranks, at, stop_at, own);
          for (char* target : targets)
            std::memcpy(target + at * size, own + at * size, (stop_at - at) * size);
        }
        break;
      }
      case Kind::kReduceScatter: {
        const collectives::Fold fold = collectives::fold_of(type, static_cast<ReduceOp>(r.op));
        const uint64_t skip = r.count * size * static_cast<uint64_t>(rank);
        for (int p = 0; p < ranks; p++)
          sources[static_cast<size_t>(p)] = there(p, place(p).in) + skip;
        fold(sources.data(), ranks, 0, r.count, reinterpret_cast<void*>(r.out));
        break;
      }
      case Kind::kBroadcast:
        if (rank != r.root)
          std::memcpy(reinterpret_cast<void*>(r.out), there(r.root, place(r.root).in),
                      r.count * size);
        else if (r.in != r.out)
          std::memcpy(reinterpret_cast<void*>(r.out), reinterpret_cast<const void*>(r.in),
                      r.count * size);
        if (rank != r.root) {  // nobody reads from this rank
          me().phase.raise(4 * number + 2);
          return;
        }
        break;
      case Kind::kAllGather:
        for (int i = 0; i < ranks; i++) {
          const int p = (rank + i) % ranks;
          char* target = reinterpret_cast<char*>(r.out) + r.count * size * static_cast<uint64_t>(p);
          const char* source = there(p, place(p).in);
          if (target != source) std::memcpy(target, source, r.count * size);
        }
        break;
      case Kind::kAllToAll:
        for (int i = 0; i < ranks; i++) {
          const int p = (rank + i) % ranks;
          const Part& part = member(p).parts[number & 1][rank];
          void* target = reinterpret_cast<void*>(targets_of_all_to_all[static_cast<size_t>(p)]);
          if (part.count) std::memcpy(target, there(p, part.address), part.count * size);
        }
        break;
    }
    leave(number, r);
  }
  std::vector<uint64_t> targets_of_all_to_all;  // of the collective that runs

  void post(const void* in, uint64_t count, uint32_t type, int to, uint32_t number, void* memory) {
    const uint64_t bytes = count * kTypes[type].size;
    Mailbox& box = control->boxes[rank][to];
    const auto what = [&] { return "receive of send " + std::to_string(number); };
    if (number >= collectives::kLetters)
      await(box.read, number - collectives::kLetters + 1, to, what);
    if (bytes) std::memcpy(memory, in, bytes);
    box.letters[number % collectives::kLetters] = {reinterpret_cast<uint64_t>(memory), count, type};
    box.written.raise(number + 1);
  }

  void fetch(void* out, uint64_t count, uint32_t type, int from, uint32_t number) {
    Mailbox& box = control->boxes[from][rank];
    await(box.written, number + 1, from, [&] {
      return "send of " + std::to_string(count) + " " + kTypes[type].name + " to rank " +
             called(rank) + " (number " + std::to_string(number) + " of this pair)";
    });
    const Letter letter = box.letters[number % collectives::kLetters];
    if (letter.count != count || letter.type != type)
      stop("Rank " + called(from) + " sent " + std::to_string(letter.count) + " " +
           kTypes[letter.type].name + " to rank " + called(rank) + ", which receives " +
           std::to_string(count) + " " + kTypes[type].name + " (number " + std::to_string(number) +
           " of this pair in communicator " + name + ").");
    if (count) std::memcpy(out, there(from, letter.address), count * kTypes[type].size);
    box.read.raise(number + 1);
  }

  // ---- enqueueing, with mutex held ----

  void check() {
    std::lock_guard<std::mutex> lock(turn_mutex);
    if (!broken.empty()) throw Error("Communicator " + name + " can no longer be used: " + broken);
  }

  void check_buffer(const void* address, uint64_t bytes, const char* what) const {
    if (bytes && !card->owns(address))
      throw Error(std::string("The ") + what + " buffer of a collective is not memory of card " +
                  std::to_string(card->id()) + ", to which this rank belongs.");
  }

  void check_rank(int peer, const char* what) const {
    if (peer < 0 || peer >= ranks)
      throw Error(std::string("The ") + what + " of a collective is rank " + std::to_string(peer) +
                  "; communicator " + name + " has ranks 0 to " + std::to_string(ranks - 1) + ".");
  }

  void give_back_what_was_read(int to) {
    auto& waiting = under_way[static_cast<size_t>(to)];
    while (!waiting.empty() && control->boxes[rank][to].read.reached(waiting.front().number + 1)) {
      card->release(waiting.front().memory);
      waiting.pop_front();
    }
  }
};

namespace {

struct Task {
  std::function<void()> work;
};

void enqueue(Stream& stream, const char* name, std::function<void()> work) {
  auto* task = new Task{std::move(work)};
  stream.host_function(
      [](void* data) {
        const std::unique_ptr<Task> held(static_cast<Task*>(data));
        held->work();
      },
      task, name);
}

}  // namespace

// ---------------------------------------------------------------- rendezvous

UniqueId make_unique_id(const std::string& address) {
  UniqueId id{};
  const int fd = memfd_create("openxpu-communicator", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, sizeof(Control)) != 0 ||
      getrandom(&id.token, sizeof id.token, 0) != sizeof id.token)
    throw Error(std::string("Could not make the control block of a communicator: ") +
                std::strerror(errno) + ".");
  if (pwrite(fd, &id.token, sizeof id.token, offsetof(Control, token)) != sizeof id.token)
    throw Error("There is no memory left for the control block of a communicator.");
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
  mine.presence.store(collectives::kJoined);

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
  s.base.resize(static_cast<size_t>(ranks));
  for (int p = 0; p < ranks; p++) {
    const Member& member = s.member(p);
    if (member.process == getpid()) {
      s.base[static_cast<size_t>(p)] = reinterpret_cast<char*>(member.base);
    } else if (member.descriptor < 0) {
      s.stop("Card memory of rank " + std::to_string(p) +
             " is private to its process; set OPENXPU_ARENA=shared before "
             "it starts.");
    } else {
      s.base[static_cast<size_t>(p)] = map_once(card.id(), member);
    }
  }
  // Nobody may go before all have mapped what they need.
  const Request barrier{Kind::kBarrier, 0, 0, -1, 0, 0, 0};
  s.run(s.asked++, barrier);
  s.next = s.asked;
  if (id.process == getpid() && rank == 0) close(id.descriptor);
  return made;
}

Communicator::~Communicator() {
  State& s = *state_;
  if (!s.control) return;
  uint32_t joined = collectives::kJoined;
  s.me().presence.compare_exchange_strong(joined, collectives::kLeft);
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
Card& Communicator::card() const { return *state_->card; }

// ---------------------------------------------------------------- calls

namespace {

// Enqueues a collective; `prepare` runs on the stream, before the request is published.
template <typename StatePointer>
void enqueue_collective(const StatePointer& state, const Request& r, Stream& stream,
                        std::function<void(uint32_t)> prepare = nullptr) {
  std::lock_guard<std::mutex> lock(state->mutex);
  state->check();
  const uint32_t number = state->asked++;
  enqueue(stream, kKinds[static_cast<int>(r.kind)],
          [state, r, number, prepare = std::move(prepare), part_of = state->part_of] {
            {
              std::unique_lock<std::mutex> turn(state->turn_mutex);
              state->turn.wait(turn,
                               [&] { return state->next == number || !state->broken.empty(); });
              if (!state->broken.empty()) throw Error(state->broken);
            }
            if (prepare) prepare(number);
            state->serving = part_of;
            state->run(number, r);
            {
              std::lock_guard<std::mutex> turn(state->turn_mutex);
              state->next = number + 1;
            }
            state->turn.notify_all();
          });
}

Request request(Kind kind, DataType type, ReduceOp op, int root, uint64_t count, const void* in,
                const void* out) {
  return {kind,  static_cast<uint32_t>(type),    static_cast<uint32_t>(op),      root,
          count, reinterpret_cast<uint64_t>(in), reinterpret_cast<uint64_t>(out)};
}

void check_reducible(DataType type, ReduceOp op) {
  if (!collectives::fold_of(type, op))
    throw Error(std::string("A reduction by ") + kOps[static_cast<int>(op)] +
                " does not exist for " + name_of(type) + ".");
}

}  // namespace

void Communicator::all_reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                              Stream& stream) {
  check_reducible(type, op);
  state_->check_buffer(in, count, "input");
  state_->check_buffer(out, count, "output");
  enqueue_collective(state_, request(Kind::kAllReduce, type, op, -1, count, in, out), stream);
}

void Communicator::reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                          int root, Stream& stream) {
  check_reducible(type, op);
  state_->check_rank(root, "root");
  state_->check_buffer(in, count, "input");
  if (rank() == root) state_->check_buffer(out, count, "output");
  enqueue_collective(state_, request(Kind::kReduce, type, op, root, count, in, out), stream);
}

void Communicator::broadcast(const void* in, void* out, uint64_t count, DataType type, int root,
                             Stream& stream) {
  state_->check_rank(root, "root");
  if (rank() == root) state_->check_buffer(in, count, "input");
  state_->check_buffer(out, count, "output");
  enqueue_collective(state_, request(Kind::kBroadcast, type, ReduceOp::kSum, root, count, in, out),
                     stream);
}

void Communicator::all_gather(const void* in, void* out, uint64_t count, DataType type,
                              Stream& stream) {
  state_->check_buffer(in, count, "input");
  state_->check_buffer(out, count, "output");
  enqueue_collective(state_, request(Kind::kAllGather, type, ReduceOp::kSum, -1, count, in, out),
                     stream);
}

void Communicator::reduce_scatter(const void* in, void* out, uint64_t count, DataType type,
                                  ReduceOp op, Stream& stream) {
  check_reducible(type, op);
  state_->check_buffer(in, count, "input");
  state_->check_buffer(out, count, "output");
  enqueue_collective(state_, request(Kind::kReduceScatter, type, op, -1, count, in, out), stream);
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
  for (size_t p = 0; p < n; p++) {
    state_->check_buffer(in[p], in_counts[p], "input");
    state_->check_buffer(out[p], out_counts[p], "output");
    if (in_counts[p] && in[p] == out[p])
      throw Error(
          "all_to_all cannot put its result into its own input; give another output buffer.");
    parts[p] = {reinterpret_cast<uint64_t>(in[p]), in_counts[p], out_counts[p]};
    targets[p] = reinterpret_cast<uint64_t>(out[p]);
  }
  State* state = state_.get();  // alive: the enqueued work holds it
  enqueue_collective(
      state_, request(Kind::kAllToAll, type, ReduceOp::kSum, -1, 0, nullptr, nullptr), stream,
      [state, parts = std::move(parts), targets = std::move(targets)](uint32_t number) {
        std::copy(parts.begin(), parts.end(), state->me().parts[number & 1]);
        state->targets_of_all_to_all = targets;
      });
}

void Communicator::barrier(Stream& stream) {
  enqueue_collective(
      state_, request(Kind::kBarrier, DataType::kUint8, ReduceOp::kSum, -1, 0, nullptr, nullptr),
      stream);
}

void Communicator::send(const void* in, uint64_t count, DataType type, int to, Stream& stream) {
  state_->check_rank(to, "receiver");
  state_->check_buffer(in, count, "input");
  const auto state = state_;
  std::lock_guard<std::mutex> lock(state->mutex);
  state->check();
  state->give_back_what_was_read(to);
  void* memory = count ? state->card->allocate(count * size_of(type), &stream) : nullptr;
  const uint32_t number = state->sent[static_cast<size_t>(to)]++;
  if (memory) state->under_way[static_cast<size_t>(to)].push_back({number, memory});
  enqueue(stream, "send",
          [=] { state->post(in, count, static_cast<uint32_t>(type), to, number, memory); });
}

void Communicator::receive(void* out, uint64_t count, DataType type, int from, Stream& stream) {
  state_->check_rank(from, "sender");
  state_->check_buffer(out, count, "output");
  const auto state = state_;
  std::lock_guard<std::mutex> lock(state->mutex);
  state->check();
  const uint32_t number = state->got[static_cast<size_t>(from)]++;
  enqueue(stream, "receive",
          [=] { state->fetch(out, count, static_cast<uint32_t>(type), from, number); });
}

}  // namespace openxpu
