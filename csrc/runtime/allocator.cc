// Blocks form a list by address; free ones are also sorted by size.
#include "allocator.h"

#include <algorithm>

namespace openxpu {
namespace {

// Vector loads are aligned, kernels may read one vector past a block's end, and two cards' or
// streams' blocks never share a cache line.
constexpr uint64_t kUnit = 256;
constexpr uint64_t kSlack = 64;
constexpr uint64_t kGuard = 4096;  // one page

}  // namespace

uint64_t Allocator::rounded(uint64_t bytes) const {
  if (bytes > (uint64_t{1} << 62)) return uint64_t{1} << 62;  // fails later, without overflow
  if (protect_) return (bytes + kGuard - 1) / kGuard * kGuard + kGuard;
  return (bytes + kSlack + kUnit - 1) / kUnit * kUnit;
}

Allocator::Allocator(uint64_t base, uint64_t bytes, Protect protect)
    : protect_(std::move(protect)), base_(base), bytes_(bytes / kUnit * kUnit) {
  auto* all = new Block{base_, bytes_, nullptr, nullptr, false, 0, 0};
  blocks_[base_] = all;
  free_.insert({bytes_, base_});
}

Allocator::~Allocator() {
  for (auto& [address, block] : blocks_) delete block;
}

void Allocator::forget(Block* block) { free_.erase({block->bytes, block->address}); }

Allocator::Result Allocator::take(uint64_t bytes) {
  if (protect_ && bytes == 0) bytes = 1;  // its address has to lie in the block
  uint64_t size = rounded(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  auto best = free_.lower_bound({size, 0});
  if (best == free_.end()) return {};
  Block* block = blocks_.at(best->second);
  if (protect_) protect_(block->address + size - kGuard, kGuard, false);
  free_.erase(best);
  uint64_t touched = std::min(block->touched, size);
  if (block->bytes > size) {
    auto* rest =
        new Block{block->address + size, block->bytes - size,     block, block->after, false,
                  block->users,          block->touched - touched};
    if (block->after) block->after->before = rest;
    block->after = rest;
    block->bytes = size;
    blocks_[rest->address] = rest;
    free_.insert({rest->bytes, rest->address});
  }
  reserved_ += size - touched;
  block->live = true;
  block->touched = 0;
  used_ += size;
  peak_ = std::max(peak_, used_);
  live_++;
  allocations_++;
  Result result{block->address, block->users};
  if (protect_) result.address += size - kGuard - bytes;
  block->users = 0;
  return result;
}

bool Allocator::give(uint64_t address, uint64_t users) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (protect_) address = address / kGuard * kGuard;
  auto found = blocks_.find(address);
  if (found == blocks_.end() || !found->second->live) return false;
  Block* block = found->second;
  if (protect_) protect_(block->address + block->bytes - kGuard, kGuard, true);
  used_ -= block->bytes;
  live_--;
  block->live = false;
  block->users = users;
  block->touched = block->bytes;
  auto join = [this](Block* left, Block* right) {
    left->bytes += right->bytes;
    left->users |= right->users;
    left->touched += right->touched;
    left->after = right->after;
    if (right->after) right->after->before = left;
    blocks_.erase(right->address);
    delete right;
  };
  if (block->after && !block->after->live) {
    forget(block->after);
    join(block, block->after);
  }
  if (block->before && !block->before->live) {
    Block* before = block->before;
    forget(before);
    join(before, block);
    block = before;
  }
  free_.insert({block->bytes, block->address});
  return true;
}

int64_t Allocator::used() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int64_t>(used_);
}

int64_t Allocator::peak() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int64_t>(peak_);
}

MemoryStats Allocator::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  MemoryStats s;
  s.limit = static_cast<int64_t>(bytes_);
  s.used = static_cast<int64_t>(used_);
  s.peak = static_cast<int64_t>(peak_);
  s.reserved = static_cast<int64_t>(reserved_);
  s.largest_free =
      free_.empty()
          ? 0
          : static_cast<int64_t>(free_.rbegin()->first - std::min(kSlack, free_.rbegin()->first));
  s.live = static_cast<int64_t>(live_);
  s.allocations = static_cast<int64_t>(allocations_);
  return s;
}

void Allocator::reset_peak() {
  std::lock_guard<std::mutex> lock(mutex_);
  peak_ = used_;
}

}  // namespace openxpu
