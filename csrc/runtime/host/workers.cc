// Splits a launch's programs over threads by guided chunks: large first, single programs at the
// end.
#include "host/workers.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <thread>

namespace openxpu::host {
namespace {

constexpr uint64_t kHuge = uint64_t{2} << 20;
// A launch that costs less than this (bytes or flops) is over before another worker would be of
// use.
constexpr uint64_t kShareCost = 32 << 10;
// Waking a sleeping worker takes a system call and tens of microseconds.
constexpr uint64_t kWakeCost = 192 << 10;

struct Scratch {
  void* memory = nullptr;
  uint64_t bytes = 0;
  ~Scratch() {
    if (memory) munmap(memory, bytes);
  }
};
thread_local Scratch scratch;

}  // namespace

void* thread_scratch(uint64_t bytes) {
  if (bytes + 4096 <= scratch.bytes) return scratch.memory;
  // Room behind the end: kernels may read up to a vector past what they asked for.
  uint64_t want = std::max(bytes + 4096, std::min(scratch.bytes * 2, bytes * 2));
  uint64_t unit = want >= kHuge / 2 ? kHuge : 64 << 10;
  want = (want + unit - 1) / unit * unit;
  uint64_t extra = unit == kHuge ? kHuge : 0;
  void* memory = mmap(nullptr, want + extra, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (extra) {
    uint64_t start = reinterpret_cast<uint64_t>(memory),
             aligned = (start + kHuge - 1) / kHuge * kHuge;
    if (aligned > start) munmap(memory, aligned - start);
    if (start + extra > aligned)
      munmap(reinterpret_cast<void*>(aligned + want), start + extra - aligned);
    memory = reinterpret_cast<void*>(aligned);
    madvise(memory, want, MADV_HUGEPAGE);
  }
  if (scratch.memory) munmap(scratch.memory, scratch.bytes);
  scratch.memory = memory;
  scratch.bytes = want;
  return memory;
}

void Workers::start_threads() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (started_.load(std::memory_order_relaxed)) return;
  // Signals belong to the threads of the application.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  places_.reset(new Place[static_cast<size_t>(count_)]);
  for (int i = 1; i < count_; i++) {
    std::thread thread([this, i] { work(places_[static_cast<size_t>(i)]); });
    pthread_setname_np(thread.native_handle(), "openxpu-worker");
    thread.detach();  // workers live as long as the process
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  started_.store(true, std::memory_order_release);
}

void Workers::take_part(Job& job) {
  void* memory = nullptr;
  if (job.scratch_bytes != 0 && (memory = thread_scratch(job.scratch_bytes)) == nullptr) {
    // Leave the programs to the others; if nobody has memory, the owner reports it.
    return;
  }
  uint64_t threads = static_cast<uint64_t>(count_);
  uint64_t begin = job.next.load(std::memory_order_relaxed);
  while (begin < job.total) {
    uint64_t chunk = std::max<uint64_t>(1, (job.total - begin) / (2 * threads));
    if (!job.next.compare_exchange_weak(begin, begin + chunk, std::memory_order_relaxed)) continue;
    int32_t result = job.entry(job.args, job.grid, begin, begin + chunk, memory);
    int32_t none = 0;
    if (result != 0) job.result.compare_exchange_strong(none, result);
    begin = job.next.load(std::memory_order_relaxed);
  }
}

int32_t Workers::run(Entry entry, const uint64_t* args, const uint32_t grid[3],
                     uint64_t scratch_bytes, uint64_t cost) {
  uint64_t total = uint64_t{grid[0]} * grid[1] * grid[2];
  if (total == 0) return 0;
  if (total == 1 || count_ == 1 || (cost != 0 && cost < kShareCost)) {
    void* memory = nullptr;
    if (scratch_bytes != 0 && (memory = thread_scratch(scratch_bytes)) == nullptr)
      return kNoScratch;
    return entry(args, grid, 0, total, memory);
  }
  if (!started_.load(std::memory_order_acquire)) start_threads();
  if (scratch_bytes != 0 && thread_scratch(scratch_bytes) == nullptr) return kNoScratch;

  Job* job;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (spare_.empty()) spare_.push_back(new Job);
    job = spare_.back();
    spare_.pop_back();
    job->entry = entry;
    job->args = args;
    std::copy(grid, grid + 3, job->grid);
    job->total = total;
    job->scratch_bytes = scratch_bytes;
    job->cost = cost;
    job->next.store(0, std::memory_order_relaxed);
    job->result.store(0, std::memory_order_relaxed);
    open_.push_back(job);
    open_count_.store(static_cast<uint32_t>(open_.size()), std::memory_order_seq_cst);
  }
  epoch_.fetch_add(1, std::memory_order_seq_cst);
  if (cost == 0 || cost >= kWakeCost)
    wake(std::min<uint64_t>(total, static_cast<uint64_t>(count_)) - 1, cost);

  take_part(*job);

  {
    std::lock_guard<std::mutex> lock(mutex_);
    open_.erase(std::find(open_.begin(), open_.end(), job));
    open_count_.store(static_cast<uint32_t>(open_.size()), std::memory_order_seq_cst);
  }
  // Nobody can join any more; those who did may still be in their last chunk.
  job->left.wait([job] { return job->helpers.load(std::memory_order_acquire) == 0; }, -1, 20000);
  int32_t result = job->result.load(std::memory_order_relaxed);
  std::lock_guard<std::mutex> lock(mutex_);
  spare_.push_back(job);
  return result;
}

void Workers::wake(uint64_t helpers, uint64_t cost) {
  uint64_t asleep = sleepers_.load(std::memory_order_seq_cst);
  uint64_t awake = assistants_.load(std::memory_order_seq_cst);
  if (asleep == 0 || awake >= helpers) return;
  // All of them: the system chooses whom it wakes.
  if (cost == 0 || cost >= Place::kCost)
    for (int i = 1; i < count_; i++) places_[static_cast<size_t>(i)].aside();
  futex_wake(&epoch_, static_cast<int>(std::min(asleep, helpers - awake)));
}

// False: there was no job with room for one more thread.
bool Workers::help_once(bool bounded) {
  if (open_count_.load(std::memory_order_seq_cst) == 0) return false;
  Job* job = nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (Job* candidate : open_)
      if ((!bounded || candidate->cost != 0) &&
          candidate->next.load(std::memory_order_relaxed) < candidate->total &&
          candidate->helpers.load(std::memory_order_relaxed) + 1 < static_cast<uint32_t>(count_)) {
        job = candidate;
        job->helpers.fetch_add(1, std::memory_order_relaxed);
        break;
      }
  }
  if (!job) return false;
  take_part(*job);
  if (job->helpers.fetch_sub(1, std::memory_order_seq_cst) == 1) job->left.notify();
  return true;
}

void Workers::work(Place& place) {
  FloatMode mode;
  place.here();
  for (;;) {
    uint32_t seen = epoch_.load(std::memory_order_seq_cst);
    if (help_once(false)) continue;
    auto changed = [&] { return epoch_.load(std::memory_order_seq_cst) != seen; };
    if (spin_until(changed, 6000, 14000)) continue;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    if (!changed()) futex_wait(&epoch_, seen);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
    place.back();
  }
}

}  // namespace openxpu::host
