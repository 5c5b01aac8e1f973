// OpenXPU's collectives called from C++, as Paddle's plug-in calls them: one rank of
// benchmarks/collectives.py.
//
// `collectives RANKS RANK`: rank 0 prints the group's id, every rank reads it, then lines
// "operation bytes repeats", and answers with the seconds of one call.
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "communicator.h"

namespace {

using openxpu::Card;
using openxpu::Communicator;
using openxpu::DataType;
using openxpu::ReduceOp;
using openxpu::Stream;

// Ranks that can have a core of their own stay on it, as MPI's do.
void bind(int ranks, int rank) {
  cpu_set_t cores, own;
  sched_getaffinity(0, sizeof cores, &cores);
  if (ranks > CPU_COUNT(&cores)) return;
  CPU_ZERO(&own);
  for (int core = 0, seen = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &cores) && seen++ == rank) CPU_SET(core, &own);
  sched_setaffinity(0, sizeof own, &own);
}

class Block {
 public:
  Block(Card& card, uint64_t bytes) : card_(card), address_(card.allocate(bytes)) {
    card.default_stream().fill(address_, 0, bytes);
    card.default_stream().synchronize();
  }
  ~Block() { card_.release(address_); }
  char* get() const { return static_cast<char*>(address_); }

 private:
  Card& card_;
  void* address_;
};

std::function<void()> chosen(const std::string& operation, Communicator& group, Stream& stream,
                             char* in, char* out, uint64_t bytes) {
  const uint64_t count = bytes / sizeof(float), ranks = static_cast<uint64_t>(group.ranks());
  const uint64_t part = count / ranks ? count / ranks : 1;
  constexpr auto type = DataType::kFloat32;
  constexpr auto sum = ReduceOp::kSum;
  if (operation == "all_reduce")
    return [=, &group, &stream] { group.all_reduce(in, out, count, type, sum, stream); };
  if (operation == "all_gather")
    return [=, &group, &stream] { group.all_gather(in, out, part, type, stream); };
  if (operation == "reduce_scatter")
    return [=, &group, &stream] { group.reduce_scatter(in, out, part, type, sum, stream); };
  if (operation == "broadcast")
    return [=, &group, &stream] { group.broadcast(in, in, count, type, 0, stream); };
  if (operation != "all_to_all") throw std::runtime_error("no operation is called " + operation);
  std::vector<const void*> gone;
  std::vector<void*> come;
  for (uint64_t p = 0; p < ranks; ++p) {
    gone.push_back(in + p * part * sizeof(float));
    come.push_back(out + p * part * sizeof(float));
  }
  const std::vector<uint64_t> counts(ranks, part);
  return [=, &group, &stream] {
    group.all_to_all(gone, counts, come, counts, type, stream);
  };
}

int serve(int ranks, int rank) {
  openxpu::UniqueId id{};
  auto* raw = reinterpret_cast<unsigned char*>(&id);
  if (rank == 0) {
    id = openxpu::make_unique_id();
    for (size_t i = 0; i < sizeof id; ++i) std::printf("%02x", raw[i]);
    std::printf("\n");
    std::fflush(stdout);
  }
  for (size_t i = 0; i < sizeof id; ++i) {
    unsigned byte = 0;
    if (std::scanf("%2x", &byte) != 1) return 1;
    raw[i] = static_cast<unsigned char>(byte);
  }
  bind(ranks, rank);
  Card& card = openxpu::card(rank);
  auto group = Communicator::create(id, ranks, rank, card);
  Stream& stream = card.default_stream();
  std::printf("ready\n");
  std::fflush(stdout);
  char operation[32];
  unsigned long bytes = 0, repeats = 0;
  while (std::scanf("%31s %lu %lu", operation, &bytes, &repeats) == 3 && repeats) {
    const uint64_t room = bytes + sizeof(float) * static_cast<uint64_t>(ranks);
    Block in(card, room), out(card, room);
    const auto call = chosen(operation, *group, stream, in.get(), out.get(), bytes);
    call();
    stream.synchronize();
    group->barrier(stream);
    stream.synchronize();
    const auto begin = std::chrono::steady_clock::now();
    for (unsigned long i = 0; i < repeats; ++i) {
      call();
      stream.synchronize();
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    std::printf("%.9g\n", spent.count() / static_cast<double>(repeats));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    return serve(std::atoi(argv[1]), std::atoi(argv[2]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %s: %s\n", argv[2], error.what());
    return 1;
  }
}
