// Divides a card's address range: best fit with coalescing, and the memory of which streams may
// still use a block.
#pragma once
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "card.h"

namespace openxpu {

class Allocator {
 public:
  // Makes a page fault when it is touched, or opens it again.
  using Protect = std::function<void(uint64_t address, uint64_t bytes, bool open)>;

  // With `protect` blocks are whole pages, and what is handed out ends, to the byte, at a page
  // without access: what it starts at is aligned as its size is.
  Allocator(uint64_t base, uint64_t bytes, Protect protect = nullptr);
  ~Allocator();

  struct Result {
    uint64_t address = 0;  // 0: no free block is large enough
    uint64_t users =
        0;  // one bit per stream index (modulo 64) whose work may still touch the block
  };
  Result take(uint64_t bytes);
  // False when the address is not a live block.
  bool give(uint64_t address, uint64_t users);

  bool owns(uint64_t address) const { return address >= base_ && address < base_ + bytes_; }
  MemoryStats stats() const;
  int64_t used() const;
  int64_t peak() const;
  void reset_peak();
  // Calls forget(address, bytes) for every free block that holds pages.
  template <typename Forget>
  void trim(Forget forget);

  uint64_t rounded(uint64_t bytes) const;

 private:
  struct Block {
    uint64_t address, bytes;
    Block *before, *after;
    bool live;
    uint64_t users;
    uint64_t touched;  // how many of a free block's bytes were in use before and keep their pages
  };
  void forget(Block* block);  // from the free set

  Protect protect_;
  uint64_t base_, bytes_;
  mutable std::mutex mutex_;
  std::set<std::pair<uint64_t, uint64_t>>
      free_;  // (bytes, address): the lowest address of the best size
  std::unordered_map<uint64_t, Block*> blocks_;  // by address, live and free
  uint64_t used_ = 0, peak_ = 0, reserved_ = 0, live_ = 0, allocations_ = 0;
};

template <typename Forget>
void Allocator::trim(Forget forget) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [bytes, address] : free_) {
    Block* block = blocks_.at(address);
    if (block->touched == 0) continue;
    forget(address, bytes);
    reserved_ -= block->touched;
    block->touched = 0;
  }
}

}  // namespace openxpu
