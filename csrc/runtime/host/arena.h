// The memory of one host card: a reserved range of addresses with a hard end.
#pragma once
#include <cstdint>

namespace openxpu::host {

// Two kinds of backing, chosen when the card opens (environment.h):
//  - anonymous memory in huge pages: the normal case; page faults are what makes eager CPU tensors
//  slow;
//  - a memfd that other processes of the user may map: ranks of a card group. Linux keeps shared
//  memory in
//    4 KB pages unless /sys/kernel/mm/transparent_hugepage/shmem_enabled says otherwise.
// A forked child does not inherit the range: otherwise every page that the parent writes after the
// fork would be copied, and its huge pages lost.
class Arena {
 public:
  Arena(int64_t limit, bool shared);  // throws Error
  uint64_t base() const { return base_; }
  uint64_t bytes() const { return bytes_; }
  int descriptor() const { return fd_; }  // -1 when not shared
  void trim(uint64_t address, uint64_t bytes);
  void protect(uint64_t address, uint64_t bytes, bool open);  // whole pages; throws Error

 private:
  uint64_t base_ = 0, bytes_ = 0;
  int fd_ = -1;
};

// Maps a piece of another process's shared arena. Throws Error.
uint64_t map_peer(int process, int fd, uint64_t offset, uint64_t bytes);

}  // namespace openxpu::host
