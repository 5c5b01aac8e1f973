// The collectives of machines.h. M machines, L ranks on this one; "lanes" are the indices that
// every machine has, whose ranks exchange their parts side by side.
#include "machines.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <mutex>

#include "control.h"
#include "environment.h"
#include "exchange.h"
#include "fold.h"
#include "host/gate.h"
#include "rendezvous.h"
#include "wire.h"

namespace openxpu {

using collectives::asked;
using collectives::described;
using collectives::Entry;
using collectives::Exchange;
using collectives::Kind;
using collectives::Request;
using collectives::seconds;
using collectives::Tag;
using collectives::Transfer;
using collectives::Wire;

namespace {

constexpr uint64_t kOneStep = uint64_t{32} << 10;  // up to this a vector goes whole
constexpr uint64_t kChunk = uint64_t{4} << 20;     // bytes of a lane that are under way at once

constexpr uint64_t kSilence = 1'000'000'000;  // nanoseconds after which nothing comes any more

struct Task {
  std::function<void()> work;
};

const char* at(const void* base, uint64_t bytes) { return static_cast<const char*>(base) + bytes; }
char* at(void* base, uint64_t bytes) { return static_cast<char*>(base) + bytes; }

// Part i of a vector in whole cache lines.
std::pair<uint64_t, uint64_t> share(uint64_t count, uint64_t size, int parts, int i) {
  const uint64_t line = std::max<uint64_t>(1, 64 / size), n = static_cast<uint64_t>(parts);
  const uint64_t each = ((count + n - 1) / n + line - 1) / line * line;
  const uint64_t begin = std::min(count, each * static_cast<uint64_t>(i));
  return {begin, std::min(count, begin + each)};
}

bool whole_numbers(DataType type) { return type >= DataType::kUint8 && type <= DataType::kInt64; }

template <typename T>
void divide(void* data, uint64_t count, int by) {
  for (T *x = static_cast<T*>(data), *end = x + count; x < end; x++)
    *x = static_cast<T>(static_cast<int64_t>(*x) / by);
}

void divide(void* data, uint64_t count, DataType type, int by) {
  switch (type) {
    case DataType::kUint8:
      return divide<uint8_t>(data, count, by);
    case DataType::kInt8:
      return divide<int8_t>(data, count, by);
    case DataType::kInt16:
      return divide<int16_t>(data, count, by);
    case DataType::kInt32:
      return divide<int32_t>(data, count, by);
    default:
      return divide<int64_t>(data, count, by);
  }
}

// Card memory for the commands that are enqueued while it lives.
class Scratch {
 public:
  Scratch(Card& card, Stream& stream, uint64_t bytes) : card_(card), stream_(stream) {
    if (bytes) memory_ = card.allocate(bytes, &stream);
  }
  ~Scratch() {
    if (memory_) card_.release(memory_, &stream_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  char* data() const { return static_cast<char*>(memory_); }

 private:
  Card& card_;
  Stream& stream_;
  void* memory_ = nullptr;
};

}  // namespace

// ---------------------------------------------------------------- state

struct Machines::State : std::enable_shared_from_this<Machines::State> {
  // A send whose bytes wait in card memory until they are gone.
  struct Letter {
    Transfer transfer;
    void* memory = nullptr;
  };

  // A call that is being enqueued: its number, and the commands that it consists of.
  class Call {
   public:
    Call(State& state, const Request& r, Stream& stream)
        : s(state), stream(stream), lock_(state.mutex), request(r) {
      s.check();
      number = s.asked++;
      s.local->serve(described(r) + ", collective " + std::to_string(number));
    }
    ~Call() { s.local->serve(""); }
    std::shared_ptr<Exchange> exchange() const {
      auto made = std::make_shared<Exchange>();
      made->call = request;
      made->number = number;
      made->rank = s.rank;
      return made;
    }
    // A command of the stream; what it throws ends the communicator.
    void then(std::function<void()> work) {
      s.enqueue(stream, s.step_name(request), std::move(work));
    }
    void start(const std::shared_ptr<Exchange>& e) {
      then([&state = s, e] { state.start(e, 0, e->parts.size(), true); });
    }
    void finish(const std::shared_ptr<Exchange>& e) {
      then([&state = s, e] { state.finish(e, 0, e->parts.size()); });
    }

    State& s;
    Stream& stream;

   private:
    std::unique_lock<std::mutex> lock_;

   public:
    const Request request;
    uint32_t number = 0;
  };

  std::string name;
  int ranks = 0, rank = 0;
  Card* card = nullptr;
  int64_t limit_ns = 0;
  std::vector<std::string> hosts;          // by rank
  std::vector<std::vector<int>> machines;  // the ranks of each
  std::vector<int> machine_of, index_of;   // by rank
  int m = 0, l = 0, M = 0, L = 0, S = 0;   // this machine, index in it; machines, ranks here, lanes
  std::unique_ptr<Communicator> local;     // of this machine's ranks

  std::mutex mutex;  // callers
  uint32_t asked = 0;
  std::vector<uint32_t> sent, got;
  std::vector<std::list<Letter>> letters;  // by receiver

  std::mutex ends;                             // of what follows
  std::list<std::shared_ptr<Exchange>> alive;  // started, not finished
  std::string broken;
  std::unique_ptr<Wire> wire;

  ~State() {
    if (!wire) return;
    deliver();
    wire->leave();
    wire.reset();  // nothing is written or read any more
    for (auto& to : letters)
      for (const Letter& letter : to)
        if (letter.memory) card->release(letter.memory);
  }

  // Waits for sends that a rank leaves behind, as long as their receivers are there.
  void deliver() {
    if (!failure().empty()) return;
    const std::lock_guard<std::mutex> lock(mutex);
    const uint64_t end = host::now_ns() + static_cast<uint64_t>(limit_ns);
    const auto settled = [&] {
      for (size_t to = 0; to < letters.size(); to++)
        for (const Letter& letter : letters[to])
          if (!letter.transfer.over() && wire->presence(static_cast<int>(to)) == Wire::kHere &&
              wire->trouble(static_cast<int>(to)).empty())
            return host::now_ns() >= end;
      return true;
    };
    wire->wait(settled, [] {});
    wire->flush();
  }

  int at_index(int machine, int index) const {
    const auto& there = machines[static_cast<size_t>(machine)];
    return there[static_cast<size_t>(index) % there.size()];
  }
  int size_of_machine(int machine) const {
    return static_cast<int>(machines[static_cast<size_t>(machine)].size());
  }
  std::string who(int r) const {
    return "Rank " + std::to_string(r) + " of " + std::to_string(ranks) + " (at " +
           hosts[static_cast<size_t>(r)] + ")";
  }
  const char* step_name(const Request& r) const {
    static constexpr const char* kNames[] = {
        "all_reduce between machines",     "reduce between machines",
        "broadcast between machines",      "all_gather between machines",
        "reduce_scatter between machines", "all_to_all between machines",
        "barrier between machines"};
    return kNames[static_cast<int>(r.kind)];
  }

  // ---- failures ----

  void check() {
    const std::lock_guard<std::mutex> lock(ends);
    if (!broken.empty()) throw Error("Communicator " + name + " can no longer be used: " + broken);
  }

  void check_buffer(const void* address, uint64_t count, const char* what) const {
    if (count && !card->owns(address))
      throw Error(std::string("The ") + what + " buffer of a collective is not memory of card " +
                  std::to_string(card->id()) + ", to which this rank belongs.");
  }
  void check_rank(int peer, const char* what) const {
    if (peer < 0 || peer >= ranks)
      throw Error(std::string("The ") + what + " of a collective is rank " + std::to_string(peer) +
                  "; communicator " + name + " has ranks 0 to " + std::to_string(ranks - 1) + ".");
  }

  void fail(const std::string& sentence) {
    {
      const std::lock_guard<std::mutex> lock(ends);
      if (!broken.empty()) return;
      broken = sentence;
    }
    wire->stop();
    if (wire->failure() != sentence) wire->tell_failure(sentence);
    local->give_up(sentence);
  }

  std::string failure() {
    const std::lock_guard<std::mutex> lock(ends);
    return broken;
  }

  void enqueue(Stream& stream, const char* step, std::function<void()> work) {
    auto* task = new Task{[self = shared_from_this(), work = std::move(work)] {
      if (const std::string text = self->failure(); !text.empty()) throw Error(text);
      try {
        self->local->look();
        work();
      } catch (const std::exception& e) {
        self->fail(e.what());
        throw;
      }
    }};
    stream.host_function(
        [](void* data) {
          const std::unique_ptr<Task> held(static_cast<Task*>(data));
          held->work();
        },
        task, step);
  }

  // ---- exchanges, on a stream's thread ----

  // `alone`: collectives of the machine come before the stream waits.
  void start(const std::shared_ptr<Exchange>& e, size_t from, size_t to, bool alone) {
    alone = alone && L > 1;
    if (from == 0) {
      const std::lock_guard<std::mutex> lock(ends);
      alive.push_back(e);
      if (!alone) wire->attend(e->attended = static_cast<int>(e->parts.size()));
    }
    for (const bool sending : {false, true})
      for (size_t i = from; i < to; i++) {
        Exchange::Part& p = e->parts[i];
        if (p.sending != sending) continue;
        if (sending)
          wire->send(p.peer, p.tag, p.data, p.bytes, p.transfer);
        else
          wire->receive(p.tag, Tag::kMatched, p.data, p.bytes, p.transfer);
      }
    if (alone) wire->move_alone();
  }

  std::string told(const Exchange& e) const {
    return e.letter ? "a send of " + std::to_string(e.call.count) + " " +
                          name_of(static_cast<DataType>(e.call.type)) + " to rank " +
                          std::to_string(rank) + " (number " + std::to_string(e.number) +
                          " of this pair)"
                    : described(e.call) + ", collective " + std::to_string(e.number) + ",";
  }

  // What is wrong with the ranks that this exchange needs; called every now and then.
  void look(const Exchange& e, size_t from, size_t to, uint64_t begin) {
    if (const std::string text = failure(); !text.empty()) throw Error(text);
    if (const std::string text = wire->failure(); !text.empty()) throw Error(text);
    local->look();
    const std::string waits = "; rank " + std::to_string(rank) + " waited for it in " + told(e) +
                              " of communicator " + name + ".";
    const bool late = host::now_ns() - begin >= static_cast<uint64_t>(limit_ns);
    const auto gone = [&](int r) {
      if (wire->presence(r) == Wire::kDied)
        throw Error(who(r) + " has died, or its connection was cut" + waits);
    };
    for (size_t i = from; i < to; i++) {
      const Exchange::Part& p = e.parts[i];
      if (p.transfer.over() && p.transfer.state != Transfer::kFailed) continue;
      gone(p.peer);
      // What it sent before may still be on its way.
      if (wire->presence(p.peer) == Wire::kLeft && !p.sending &&
          host::now_ns() - std::max(begin, wire->moved_at()) > kSilence)
        throw Error(who(p.peer) + " has left communicator " + name + waits);
      if (const std::string text = wire->trouble(p.peer); !text.empty())
        throw Error(who(p.peer) + " can no longer be reached (" + text + ")" + waits);
      if (late)
        throw Error(who(p.peer) + " did not come to " + told(e) + " of communicator " + name +
                    " within " + seconds(limit_ns) +
                    ", or its machine can no longer be reached (rank " + std::to_string(rank) +
                    " waited; OPENXPU_COLLECTIVE_TIMEOUT sets the limit).");
    }
    for (int r = 0; r < ranks && !e.letter; r++) gone(r);
  }

  void finish(const std::shared_ptr<Exchange>& e, size_t from, size_t to) {
    const auto over = [&] {
      for (size_t i = from; i < to; i++)
        if (!e->parts[i].transfer.over()) return false;
      return true;
    };
    if (!over()) {
      struct Abroad {
        Communicator& c;
        explicit Abroad(Communicator& local) : c(local) { c.set_abroad(true); }
        ~Abroad() { c.set_abroad(false); }
      } const abroad(*local);
      const uint64_t begin = host::now_ns();
      wire->wait(over, [&] { look(*e, from, to, begin); });
    }
    for (size_t i = from; i < to; i++) verify(*e, e->parts[i]);
    if (to < e->parts.size()) return;
    if (e->attended) wire->attend(-e->attended);
    const std::lock_guard<std::mutex> lock(ends);
    alive.remove(e);
  }

  void verify(const Exchange& e, const Exchange::Part& p) {
    const uint32_t state = p.transfer.state;
    if (state == Transfer::kFailed) {
      const std::string text = wire->trouble(p.peer);
      throw Error(who(p.peer) + " can no longer be reached" +
                  (text.empty() ? "" : " (" + text + ")") + "; rank " + std::to_string(rank) +
                  " was in " + told(e) + " of communicator " + name + ".");
    }
    if (p.sending) return;
    const uint64_t size = size_of(static_cast<DataType>(e.call.type));
    const bool another = state == Transfer::kDone && ((p.transfer.tag ^ p.tag) & ~Tag::kMatched);
    if (state == Transfer::kDone && !another && p.transfer.bytes == p.bytes) return;
    const std::string came = state == Transfer::kTooLong
                                 ? "more than " + std::to_string(p.bytes / size)
                                 : std::to_string(p.transfer.bytes / size);
    const char* type = name_of(static_cast<DataType>(e.call.type));
    if (e.letter) {
      const Request theirs = Tag::call_of(p.transfer.tag);
      const auto sent = static_cast<DataType>(state == Transfer::kDone ? theirs.type : e.call.type);
      throw Error(
          "Rank " + std::to_string(p.peer) + " sent " +
          (state == Transfer::kTooLong ? came : std::to_string(p.transfer.bytes / size_of(sent))) +
          " " + name_of(sent) + " to rank " + std::to_string(rank) + ", which receives " +
          std::to_string(e.call.count) + " " + type + " (number " + std::to_string(e.number) +
          " of this pair in communicator " + name + ").");
    }
    const Request theirs = Tag::call_of(p.transfer.tag);
    const bool same = !another || (theirs.kind == e.call.kind && theirs.type == e.call.type &&
                                   theirs.op == e.call.op && theirs.root == e.call.root);
    if (e.call.kind == Kind::kAllToAll && same)
      throw Error("In all_to_all, collective " + std::to_string(e.number) + " of communicator " +
                  name + ", rank " + std::to_string(p.peer) + " sends " + came +
                  " elements to rank " + std::to_string(rank) + ", which expects " +
                  std::to_string(p.bytes / size) + ".");
    std::string other = described(theirs);
    if (const size_t none = other.find(" of 0 "); none != std::string::npos)
      other.replace(none, 6, " of ");
    throw Error("The ranks of communicator " + name + " do not agree in collective " +
                std::to_string(e.number) + ": rank " + std::to_string(rank) + " called " +
                described(e.call) + ", rank " + std::to_string(p.peer) + " called " +
                (same ? "it with another count." : other + "."));
  }

  // ---- arithmetic ----

  // Averages of floats are averages of averages, so that halves do not overflow on the way; those
  // of whole numbers are divided once, at the end.
  ReduceOp inside(DataType type, ReduceOp op) const {
    return op == ReduceOp::kAverage && whole_numbers(type) ? ReduceOp::kSum : op;
  }

  // The machines' results, in their order, into one.
  void combine(const std::vector<const void*>& parts, uint64_t count, DataType type, ReduceOp op,
               void* out) const {
    const ReduceOp inner = inside(type, op);
    std::vector<const void*> sources;
    const auto [few, many] =
        std::minmax_element(machines.begin(), machines.end(),
                            [](const auto& a, const auto& b) { return a.size() < b.size(); });
    const bool weighted = inner == ReduceOp::kAverage && few->size() != many->size();
    for (size_t j = 0; j < parts.size(); j++)
      sources.insert(sources.end(), weighted ? machines[j].size() : 1, parts[j]);
    collectives::fold_of(type, inner)(sources.data(), static_cast<int>(sources.size()), 0, count,
                                      out);
    if (inner != op) divide(out, count, type, ranks);
  }
};

// ---------------------------------------------------------------- set-up

namespace {

// Sends that are under way when the program ends still arrive.
void finish_at_exit(const std::shared_ptr<Machines::State>& state) {
  static std::mutex mutex;
  static auto& all = *new std::list<std::weak_ptr<Machines::State>>;
  const std::lock_guard<std::mutex> lock(mutex);
  all.remove_if([](const auto& one) { return one.expired(); });
  all.push_back(state);
  static const int once = std::atexit([] {
    const std::lock_guard<std::mutex> lock(mutex);
    for (const auto& one : all)
      if (const auto s = one.lock()) {
        s->deliver();
        s->wire->leave();
        s->wire->stop();
      }
  });
  if (once != 0) throw Error("The system has no room for what is done at a program's end.");
}

}  // namespace

Machines::Machines(std::shared_ptr<State> state) : whole_(std::move(state)) {}
Machines::~Machines() = default;
int Machines::ranks() const { return whole_->ranks; }
int Machines::rank() const { return whole_->rank; }
const std::string& Machines::name() const { return whole_->name; }
Card& Machines::card() const { return *whole_->card; }
const char* Machines::path(int peer) const {
  if (peer < 0 || peer >= whole_->ranks)
    throw Error("The peer is rank " + std::to_string(peer) + "; communicator " + whole_->name +
                " has ranks 0 to " + std::to_string(whole_->ranks - 1) + ".");
  const auto at = static_cast<size_t>(peer);
  return whole_->machine_of[at] == whole_->m ? whole_->local->path(whole_->index_of[at])
                                             : "network";
}

std::unique_ptr<Communicator> Machines::join(const UniqueId& id, int ranks, int rank, Card& card) {
  if (ranks < 1 || ranks > collectives::kMaxSpread)
    throw Error("A communicator over several machines was asked for " + std::to_string(ranks) +
                " ranks; it can have 1 to " + std::to_string(collectives::kMaxSpread) + ".");
  if (rank < 0 || rank >= ranks)
    throw Error("A communicator of " + std::to_string(ranks) + " ranks was asked for rank " +
                std::to_string(rank) + ".");
  const auto state = std::make_shared<State>();
  State& s = *state;
  char name[32];
  std::snprintf(name, sizeof name, "%08x", static_cast<unsigned>(id.token));
  s.name = name;
  s.ranks = ranks;
  s.rank = rank;
  s.card = &card;
  s.limit_ns = environment().collective_timeout_ns;

  auto transport = collectives::open_transport(collectives::interface_to(id));
  Entry mine;
  mine.machine = collectives::machine();
  mine.transport = transport->address();
  mine.local = make_unique_id();
  struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) close(number);
    }
  } offered{mine.local.descriptor};
  collectives::Joined joined = collectives::join(id, ranks, rank, mine, s.limit_ns, s.name);

  std::vector<std::string> known;
  for (int r = 0; r < ranks; r++) {
    const Entry& e = joined.entries[static_cast<size_t>(r)];
    const auto found = std::find(known.begin(), known.end(), e.machine);
    const auto machine = static_cast<size_t>(found - known.begin());
    if (found == known.end()) {
      known.push_back(e.machine);
      s.machines.emplace_back();
    }
    s.hosts.push_back(e.host);
    s.machine_of.push_back(static_cast<int>(machine));
    s.index_of.push_back(static_cast<int>(s.machines[machine].size()));
    s.machines[machine].push_back(r);
    if (r != rank) transport->set_peer(r, e.transport);
  }
  s.M = static_cast<int>(s.machines.size());
  s.m = s.machine_of[static_cast<size_t>(rank)];
  s.l = s.index_of[static_cast<size_t>(rank)];
  s.L = s.size_of_machine(s.m);
  s.S = s.L;
  for (int j = 0; j < s.M; j++) s.S = std::min(s.S, s.size_of_machine(j));
  s.sent.resize(static_cast<size_t>(ranks));
  s.got.resize(static_cast<size_t>(ranks));
  s.letters.resize(static_cast<size_t>(ranks));
  const UniqueId& here = joined.entries[static_cast<size_t>(s.at_index(s.m, 0))].local;
  if (s.l == 0) offered.number = -1;  // closed by the communicator that it makes
  if (s.M == 1) {
    for (const int socket : joined.sockets)
      if (socket >= 0) close(socket);
    return create(here, ranks, rank, card);
  }
  s.wire = std::make_unique<Wire>(std::move(transport), std::move(joined.sockets), ranks, rank);
  try {
    s.local = create_part(here, {s.machines[static_cast<size_t>(s.m)], ranks, s.name}, s.l, card);
  } catch (const Error& e) {
    s.wire->tell_failure(e.what());
    throw;
  }
  finish_at_exit(state);
  return std::unique_ptr<Communicator>(new Machines(state));
}

// ---------------------------------------------------------------- reductions

namespace {

void check_reducible(DataType type, ReduceOp op) {
  if (!collectives::fold_of(type, op))
    throw Error(std::string("This reduction (number ") + std::to_string(static_cast<int>(op)) +
                ") does not exist for " + name_of(type) + ".");
}

uint64_t rounded(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

// A short vector is reduced to the first rank of each machine, and those exchange it whole.
// A long one is reduced in parts, one for each lane; the ranks of a lane each combine a share of
// its part and exchange the results. While one chunk is under way, the next is reduced.
void Machines::all_reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                          Stream& stream) {
  check_reducible(type, op);
  State& s = *whole_;
  s.check_buffer(in, count, "input");
  s.check_buffer(out, count, "output");
  State::Call call(s, asked(Kind::kAllReduce, type, op, -1, count), stream);
  const uint64_t size = size_of(type), bytes = count * size;
  const ReduceOp inner = s.inside(type, op);
  const auto machines = static_cast<uint64_t>(s.M);
  const bool alone = s.L == 1;

  if (bytes <= kOneStep) {
    const uint64_t room = rounded(bytes);
    const Scratch scratch(*s.card, stream, s.l == 0 ? room * machines : 0);
    std::vector<const void*> parts(machines);
    for (uint64_t j = 0; j < machines; j++) parts[j] = at(scratch.data(), j * room);
    const auto m = static_cast<size_t>(s.m);
    if (alone)
      parts[m] = in;
    else
      s.local->reduce(in, s.l == 0 ? at(scratch.data(), m * room) : nullptr, count, type, inner, 0,
                      stream);
    if (s.l == 0) {
      const auto e = call.exchange();
      for (int j = 0; j < s.M; j++) {
        if (j == s.m) continue;
        e->receive(s.at_index(j, 0), at(scratch.data(), static_cast<uint64_t>(j) * room), bytes, 0);
        e->send(s.at_index(j, 0), parts[m], bytes, 0);
      }
      call.then([&s, e, parts, count, type, op, out] {
        s.start(e, 0, e->parts.size(), false);
        s.finish(e, 0, e->parts.size());
        if (count) s.combine(parts, count, type, op, out);
      });
    }
    if (!alone) s.local->broadcast(out, out, count, type, 0, stream);
    return;
  }

  const auto lanes = static_cast<uint64_t>(s.S);
  const uint64_t chunk = lanes * (kChunk / size), chunks = (count + chunk - 1) / chunk;
  const bool carries = s.l < s.S, even = s.S == s.L;
  // The last lane also has what is left by the division.
  const auto lane = [&](uint64_t k, int i) -> std::pair<uint64_t, uint64_t> {
    const uint64_t begin = k * chunk, n = std::min(chunk, count - begin), each = n / lanes;
    const auto index = static_cast<uint64_t>(i);
    return {begin + index * each, index + 1 == lanes ? n - index * each : each};
  };
  const auto rest = [&](uint64_t k) { return (std::min(chunk, count - k * chunk)) % lanes; };
  // Of the longest lane, and of a machine's share of it.
  const uint64_t most = std::min(chunk, count) / lanes + lanes;
  const uint64_t part_room = alone ? 0 : rounded(most * size),
                 share_room = rounded(share(most, size, s.M, 0).second * size);
  const uint64_t slot = part_room + share_room * machines;
  const Scratch scratch(*s.card, stream, carries ? 2 * slot : 0);
  std::vector<std::shared_ptr<Exchange>> given(chunks), taken(chunks);

  const auto partial = [&](uint64_t k) -> const void* {
    return alone ? at(in, lane(k, s.l).first * size) : at(scratch.data(), (k % 2) * slot);
  };
  const auto received = [&](uint64_t k, int j) {
    return at(scratch.data(), (k % 2) * slot + part_room + static_cast<uint64_t>(j) * share_room);
  };
  const auto first = [&](uint64_t k) {
    if (!alone) {
      char* mine = carries ? at(scratch.data(), (k % 2) * slot) : nullptr;
      if (even) {
        const auto [begin, n] = lane(k, 0);
        const auto [last, longest] = lane(k, s.S - 1);
        const uint64_t each = longest - rest(k), left = rest(k);
        if (each) s.local->reduce_scatter(at(in, begin * size), mine, each, type, inner, stream);
        if (left)
          s.local->reduce(at(in, (last + each) * size),
                          s.l == s.S - 1 ? at(mine, each * size) : nullptr, left, type, inner,
                          s.S - 1, stream);
      } else {
        for (int i = 0; i < s.S; i++)
          if (const auto [begin, n] = lane(k, i); n)
            s.local->reduce(at(in, begin * size), s.l == i ? mine : nullptr, n, type, inner, i,
                            stream);
      }
    }
    if (!carries) return;
    const uint64_t n = lane(k, s.l).second;
    given[k] = call.exchange();
    for (int j = 0; j < s.M; j++) {
      if (j == s.m) continue;
      const auto [from, to] = share(n, size, s.M, j);
      const auto [own, end] = share(n, size, s.M, s.m);
      const auto step = static_cast<uint32_t>(2 * k);
      given[k]->send(s.at_index(j, s.l), at(partial(k), from * size), (to - from) * size, step);
      given[k]->receive(s.at_index(j, s.l), received(k, j), (end - own) * size, step);
    }
    call.start(given[k]);
  };
  const auto second = [&](uint64_t k) {
    if (!carries) return;
    const auto [begin, n] = lane(k, s.l);
    const auto [own, end] = share(n, size, s.M, s.m);
    std::vector<const void*> parts;
    for (int j = 0; j < s.M; j++)
      parts.push_back(j == s.m ? at(partial(k), own * size) : received(k, j));
    char* result = at(out, (begin + own) * size);
    taken[k] = call.exchange();
    for (int j = 0; j < s.M; j++) {
      if (j == s.m) continue;
      const auto [from, to] = share(n, size, s.M, j);
      const auto step = static_cast<uint32_t>(2 * k + 1);
      taken[k]->send(s.at_index(j, s.l), result, (end - own) * size, step);
      taken[k]->receive(s.at_index(j, s.l), at(out, (begin + from) * size), (to - from) * size,
                        step);
    }
    call.then([&s, e = given[k], next = taken[k], parts, n = end - own, type, op, result] {
      s.finish(e, 0, e->parts.size());
      if (n) s.combine(parts, n, type, op, result);
      s.start(next, 0, next->parts.size(), true);
    });
  };
  const auto third = [&](uint64_t k) {
    if (carries) call.finish(taken[k]);
    if (alone) return;
    const uint64_t left = even ? rest(k) : 0;
    if (even) {
      const auto [last, longest] = lane(k, s.S - 1);
      const uint64_t each = longest - left;
      if (each)
        s.local->all_gather(at(out, lane(k, s.l).first * size), at(out, lane(k, 0).first * size),
                            each, type, stream);
      char* tail = at(out, (last + each) * size);
      if (left) s.local->broadcast(tail, tail, left, type, s.S - 1, stream);
      return;
    }
    for (int i = 0; i < s.S; i++) {
      const auto [begin, n] = lane(k, i);
      char* place = at(out, begin * size);
      if (n) s.local->broadcast(place, place, n, type, i, stream);
    }
  };
  for (uint64_t k = 0; k < chunks + 2; k++) {
    if (k < chunks) first(k);
    if (k >= 1 && k - 1 < chunks) second(k - 1);
    if (k >= 2) third(k - 2);
  }
}

// One rank of each machine collects its part and sends it to the root.
void Machines::reduce(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                      int root, Stream& stream) {
  check_reducible(type, op);
  State& s = *whole_;
  s.check_rank(root, "root");
  s.check_buffer(in, count, "input");
  if (s.rank == root) s.check_buffer(out, count, "output");
  State::Call call(s, asked(Kind::kReduce, type, op, root, count), stream);
  const uint64_t size = size_of(type), chunk = kChunk / size;
  const ReduceOp inner = s.inside(type, op);
  const uint64_t chunks = std::max<uint64_t>(1, (count + chunk - 1) / chunk);
  const int index = s.index_of[static_cast<size_t>(root)], collector = index % s.L;
  const bool collects = s.l == collector, alone = s.L == 1;
  const uint64_t room = rounded(std::min(chunk, count) * size),
                 slot = room * static_cast<uint64_t>(s.rank == root ? s.M : 1);
  const Scratch scratch(*s.card, stream, collects ? 2 * slot : 0);
  std::vector<std::shared_ptr<Exchange>> exchanges(chunks);
  std::vector<std::vector<const void*>> parts(chunks);
  for (uint64_t k = 0; k < chunks + 1; k++) {
    if (k < chunks) {
      const uint64_t n = std::min(chunk, count - k * chunk);
      char* base = collects ? at(scratch.data(), (k % 2) * slot) : nullptr;
      const void* partial = alone ? at(in, k * chunk * size) : base;
      if (!alone)
        s.local->reduce(at(in, k * chunk * size), base, n, type, inner, collector, stream);
      if (collects) {
        exchanges[k] = call.exchange();
        const auto step = static_cast<uint32_t>(k);
        uint64_t place = room;  // after this machine's own
        for (int j = 0; s.rank == root && j < s.M; j++) {
          parts[k].push_back(j == s.m ? partial : at(base, place));
          if (j == s.m) continue;
          exchanges[k]->receive(s.at_index(j, index), at(base, place), n * size, step);
          place += room;
        }
        if (s.rank != root) exchanges[k]->send(root, partial, n * size, step);
        call.start(exchanges[k]);
      }
    }
    if (k == 0 || !collects) continue;
    const uint64_t n = std::min(chunk, count - (k - 1) * chunk);
    call.then([&s, e = exchanges[k - 1], parts = parts[k - 1], n, type, op,
               to = at(out, (k - 1) * chunk * size)] {
      s.finish(e, 0, e->parts.size());
      if (!parts.empty() && n) s.combine(parts, n, type, op, to);
    });
  }
}

// Each machine combines what its own ranks have for each rank, and sends it there.
void Machines::reduce_scatter(const void* in, void* out, uint64_t count, DataType type, ReduceOp op,
                              Stream& stream) {
  check_reducible(type, op);
  State& s = *whole_;
  s.check_buffer(in, count, "input");
  s.check_buffer(out, count, "output");
  State::Call call(s, asked(Kind::kReduceScatter, type, op, -1, count), stream);
  const uint64_t size = size_of(type), bytes = count * size, room = rounded(bytes);
  const ReduceOp inner = s.inside(type, op);
  const bool alone = s.L == 1;
  // Of machine j this rank serves the ranks l, l + L, l + 2 L, ...
  const auto served = [&](int j) {
    return static_cast<uint64_t>(std::max(0, (s.size_of_machine(j) - s.l + s.L - 1) / s.L));
  };
  uint64_t blocks = static_cast<uint64_t>(s.M);
  for (int j = 0; j < s.M && !alone; j++) blocks += served(j);
  const Scratch scratch(*s.card, stream, blocks * room);
  char* next = at(scratch.data(), static_cast<uint64_t>(s.M) * room);
  std::vector<const void*> parts(static_cast<size_t>(s.M));
  const auto collected = call.exchange();
  for (int j = 0; j < s.M; j++) {
    char* place = at(scratch.data(), static_cast<uint64_t>(j) * room);
    parts[static_cast<size_t>(j)] = place;
    if (j != s.m) collected->receive(s.at_index(j, s.l), place, bytes, 0);
  }
  std::vector<std::shared_ptr<Exchange>> under_way{collected};
  call.start(collected);
  for (int turn = 1; turn <= s.M; turn++) {  // this machine's own part comes last
    const int j = (s.m + turn) % s.M, there = s.size_of_machine(j);
    const std::vector<int>& who = s.machines[static_cast<size_t>(j)];
    const auto input = [&](int k) {
      return at(in, static_cast<uint64_t>(who[static_cast<size_t>(k)]) * bytes);
    };
    const bool row = who.back() - who.front() == there - 1;
    const auto e = call.exchange();
    if (!alone && row && there == s.L)
      s.local->reduce_scatter(input(0), next, count, type, inner, stream);
    for (int k = 0; k < there; k++) {
      const bool mine = k % s.L == s.l;
      if (!alone && !(row && there == s.L))
        s.local->reduce(input(k), mine ? next : nullptr, count, type, inner, k % s.L, stream);
      if (!mine) continue;
      const void* partial = alone ? input(k) : next;
      if (!alone) next += room;
      if (j == s.m)
        parts[static_cast<size_t>(j)] = partial;
      else
        e->send(who[static_cast<size_t>(k)], partial, bytes, 0);
    }
    if (j == s.m || e->parts.empty()) continue;
    call.start(e);
    under_way.push_back(e);
  }
  call.then([&s, under_way, parts, count, type, op, out] {
    for (const auto& e : under_way) s.finish(e, 0, e->parts.size());
    if (count) s.combine(parts, count, type, op, out);
  });
}

// ---------------------------------------------------------------- the rest

// From the root to one rank of each machine, and from there to the others of the machine, chunk by
// chunk. Long vectors go from machine to machine in a chain, which sends every byte once.
void Machines::broadcast(const void* in, void* out, uint64_t count, DataType type, int root,
                         Stream& stream) {
  State& s = *whole_;
  s.check_rank(root, "root");
  if (s.rank == root) s.check_buffer(in, count, "input");
  s.check_buffer(out, count, "output");
  State::Call call(s, asked(Kind::kBroadcast, type, ReduceOp::kSum, root, count), stream);
  const uint64_t size = size_of(type), bytes = count * size;
  const uint64_t chunks = std::max<uint64_t>(1, (bytes + kChunk - 1) / kChunk);
  const bool chain = bytes > kOneStep && s.M > 2;
  const int index = s.index_of[static_cast<size_t>(root)],
            home = s.machine_of[static_cast<size_t>(root)], collector = index % s.L,
            place = (s.m - home + s.M) % s.M;
  const auto n = [&](uint64_t k) { return std::min(kChunk, bytes - k * kChunk); };
  const auto from = [&](uint64_t k) { return static_cast<uint32_t>(k); };
  const auto given = call.exchange();  // in the order of the chunks
  for (uint64_t k = 0; s.l == collector && k < chunks; k++)
    for (int hop = 1; hop < s.M; hop++) {
      const bool mine = chain ? hop == place + 1 : place == 0;
      if (mine)
        given->send(s.at_index((home + hop) % s.M, index),
                    at(place == 0 ? in : static_cast<const void*>(out), k * kChunk), n(k), from(k));
    }
  if (place == 0) {
    if (s.rank == root) call.start(given);
    s.local->broadcast(in, out, count, type, collector, stream);
    if (s.rank == root) call.finish(given);
    return;
  }
  const auto taken = call.exchange();
  const int before = chain && place > 1 ? s.at_index((home + place - 1) % s.M, index) : root;
  for (uint64_t k = 0; s.l == collector && k < chunks; k++)
    taken->receive(before, at(out, k * kChunk), n(k), from(k));
  if (s.l == collector) call.start(taken);
  const bool forwards = !given->parts.empty();
  for (uint64_t k = 0; k < chunks; k++) {
    if (s.l == collector)
      call.then([&s, taken, given, forwards, k] {
        s.finish(taken, k, k + 1);
        if (forwards) s.start(given, k, k + 1, true);
      });
    char* part = at(out, k * kChunk);
    if (s.L > 1) s.local->broadcast(part, part, n(k) / size, type, collector, stream);
  }
  if (forwards) call.finish(given);
}

// A block goes to one rank of each other machine, which shows it to the others there.
void Machines::all_gather(const void* in, void* out, uint64_t count, DataType type,
                          Stream& stream) {
  State& s = *whole_;
  s.check_buffer(in, count, "input");
  s.check_buffer(out, count, "output");
  State::Call call(s, asked(Kind::kAllGather, type, ReduceOp::kSum, -1, count), stream);
  const uint64_t bytes = count * size_of(type);
  const auto block = [&](int r) { return at(out, static_cast<uint64_t>(r) * bytes); };
  const auto given = call.exchange();
  for (int j = 0; j < s.M; j++)
    if (j != s.m) given->send(s.at_index(j, s.l), in, bytes, 0);
  // Rank k of another machine sends to index k mod L here.
  std::vector<std::vector<std::shared_ptr<Exchange>>> taken(static_cast<size_t>(s.M));
  for (int j = 0; j < s.M; j++)
    for (int k = s.l; j != s.m && k < s.size_of_machine(j); k += s.L) {
      const int r = s.at_index(j, k);
      taken[static_cast<size_t>(j)].push_back(call.exchange());
      taken[static_cast<size_t>(j)].back()->receive(r, block(r), bytes, 0);
      call.start(taken[static_cast<size_t>(j)].back());
    }
  call.start(given);
  const auto n = static_cast<size_t>(s.L);
  for (int turn = 0; turn < s.M; turn++) {
    const int j = (s.m + turn) % s.M, there = s.size_of_machine(j);
    for (int row = 0; row * s.L < there; row++) {
      const int mine = row * s.L + s.l;
      const bool have = mine < there;
      const void* source = in;
      if (j != s.m && have) {
        call.finish(taken[static_cast<size_t>(j)][static_cast<size_t>(row)]);
        source = block(s.at_index(j, mine));
      }
      std::vector<const void*> sources(n, source);
      std::vector<void*> targets(n, nullptr);
      std::vector<uint64_t> sent(n, have ? count : 0), expected(n, 0);
      for (int p = 0; p < s.L; p++) {
        if (row * s.L + p >= there) continue;
        targets[static_cast<size_t>(p)] = block(s.at_index(j, row * s.L + p));
        expected[static_cast<size_t>(p)] = count;
      }
      const auto me = static_cast<size_t>(s.l);  // what is in its place already stays there
      if (have && targets[me] == source) sent[me] = expected[me] = 0;
      s.local->all_to_all(sources, sent, targets, expected, type, stream);
    }
  }
  call.finish(given);
}

void Machines::all_to_all(const std::vector<const void*>& in,
                          const std::vector<uint64_t>& in_counts, const std::vector<void*>& out,
                          const std::vector<uint64_t>& out_counts, DataType type, Stream& stream) {
  State& s = *whole_;
  const auto n = static_cast<size_t>(s.ranks);
  if (in.size() != n || in_counts.size() != n || out.size() != n || out_counts.size() != n)
    throw Error("all_to_all of " + std::to_string(n) +
                " ranks needs as many input and output buffers.");
  for (size_t p = 0; p < n; p++) {
    s.check_buffer(in[p], in_counts[p], "input");
    s.check_buffer(out[p], out_counts[p], "output");
    if (in_counts[p] && in[p] == out[p])
      throw Error(
          "all_to_all cannot put its result into its own input; give another output buffer.");
  }
  State::Call call(s, asked(Kind::kAllToAll, type, ReduceOp::kSum, -1, 0), stream);
  const uint64_t size = size_of(type);
  const auto e = call.exchange();
  std::vector<const void*> here_in;
  std::vector<void*> here_out;
  std::vector<uint64_t> here_sent, here_expected;
  for (int turn = 0; turn < s.ranks; turn++) {
    const int r = (s.rank + turn) % s.ranks;
    const auto p = static_cast<size_t>(r);
    if (s.machine_of[p] == s.m) continue;
    e->send(r, in[p], in_counts[p] * size, 0);
    e->receive(r, out[p], out_counts[p] * size, 0);
  }
  for (const int r : s.machines[static_cast<size_t>(s.m)]) {
    const auto p = static_cast<size_t>(r);
    here_in.push_back(in[p]);
    here_sent.push_back(in_counts[p]);
    here_out.push_back(out[p]);
    here_expected.push_back(out_counts[p]);
  }
  call.start(e);
  s.local->all_to_all(here_in, here_sent, here_out, here_expected, type, stream);
  call.finish(e);
}

void Machines::barrier(Stream& stream) {
  State& s = *whole_;
  State::Call call(s, asked(Kind::kBarrier, DataType::kUint8, ReduceOp::kSum, -1, 0), stream);
  if (s.L > 1) s.local->barrier(stream);
  if (s.l == 0) {
    const auto e = call.exchange();
    for (int j = 0; j < s.M; j++) {
      if (j == s.m) continue;
      e->receive(s.at_index(j, 0), nullptr, 0, 0);
      e->send(s.at_index(j, 0), nullptr, 0, 0);
    }
    call.then([&s, e] {
      s.start(e, 0, e->parts.size(), false);
      s.finish(e, 0, e->parts.size());
    });
  }
  if (s.L > 1) s.local->barrier(stream);
}

void Machines::send(const void* in, uint64_t count, DataType type, int to, Stream& stream) {
  State& s = *whole_;
  s.check_rank(to, "receiver");
  s.check_buffer(in, count, "input");
  const auto peer = static_cast<size_t>(to);
  if (s.machine_of[peer] == s.m) return s.local->send(in, count, type, s.index_of[peer], stream);
  const std::lock_guard<std::mutex> lock(s.mutex);
  s.check();
  auto& letters = s.letters[peer];
  for (auto i = letters.begin(); i != letters.end();) {
    if (!i->transfer.over()) {
      ++i;
      continue;
    }
    if (i->memory) s.card->release(i->memory);
    i = letters.erase(i);
  }
  const uint64_t bytes = count * size_of(type);
  State::Letter& letter = letters.emplace_back();
  if (bytes) letter.memory = s.card->allocate(bytes, &stream);
  const Tag tag{true, s.sent[peer]++, 0, s.rank,
                asked(Kind::kBarrier, type, ReduceOp::kSum, -1, count)};
  s.enqueue(stream, "send", [&s, &letter, in, bytes, to, bits = tag.bits()] {
    if (bytes) std::memcpy(letter.memory, in, bytes);
    s.wire->send(to, bits, letter.memory, bytes, letter.transfer);
    s.wire->move_alone();
  });
}

void Machines::receive(void* out, uint64_t count, DataType type, int from, Stream& stream) {
  State& s = *whole_;
  s.check_rank(from, "sender");
  s.check_buffer(out, count, "output");
  const auto peer = static_cast<size_t>(from);
  if (s.machine_of[peer] == s.m)
    return s.local->receive(out, count, type, s.index_of[peer], stream);
  const std::lock_guard<std::mutex> lock(s.mutex);
  s.check();
  const auto e = std::make_shared<Exchange>();
  e->letter = true;
  e->call = asked(Kind::kBarrier, type, ReduceOp::kSum, -1, count);
  e->number = s.got[peer]++;
  e->rank = s.rank;
  e->receive(from, out, count * size_of(type), 0);
  s.enqueue(stream, "receive", [&s, e] {
    s.start(e, 0, 1, false);
    s.finish(e, 0, 1);
  });
}

}  // namespace openxpu
