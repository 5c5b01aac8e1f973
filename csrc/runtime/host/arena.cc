// Reserves and trims the card's address range; maps the arenas of other processes.
#include "host/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "error.h"

namespace openxpu::host {
namespace {

constexpr uint64_t kHuge = uint64_t{2} << 20;
constexpr uint64_t kPage = 4096;

[[noreturn]] void fail(const std::string& what, int64_t bytes) {
  throw Error("The system refused " + what + " of " + std::to_string(bytes) +
              " bytes for a card's memory (" + std::strerror(errno) +
              "); set OPENXPU_CARD_MEMORY to a smaller size, such as 1G.");
}

}  // namespace

Arena::Arena(int64_t limit, bool shared) {
  bytes_ = (static_cast<uint64_t>(limit) + kPage - 1) / kPage * kPage;
  // Whole huge pages, so that the last block gets them too; the page after the end is the readable
  // slack.
  uint64_t mapped = (bytes_ + kPage + kHuge - 1) / kHuge * kHuge;
  void* range =
      mmap(nullptr, mapped + kHuge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) fail("a range", limit);
  base_ = (reinterpret_cast<uint64_t>(range) + kHuge - 1) / kHuge * kHuge;
  int flags = MAP_FIXED | MAP_NORESERVE;
  if (shared) {
    fd_ = memfd_create("openxpu-card", MFD_CLOEXEC);
    if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(mapped)) != 0) fail("a shared file", limit);
    flags |= MAP_SHARED;
  } else {
    flags |= MAP_PRIVATE | MAP_ANONYMOUS;
  }
  if (mmap(reinterpret_cast<void*>(base_), mapped, PROT_READ | PROT_WRITE, flags, fd_, 0) ==
      MAP_FAILED)
    fail("a mapping", limit);
  madvise(reinterpret_cast<void*>(base_), mapped, MADV_HUGEPAGE);
  madvise(reinterpret_cast<void*>(base_), mapped, MADV_DONTFORK);
  madvise(reinterpret_cast<void*>(base_), mapped, MADV_DONTDUMP);
}

void Arena::trim(uint64_t address, uint64_t bytes) {
  uint64_t begin = (address + kHuge - 1) / kHuge * kHuge, end = (address + bytes) / kHuge * kHuge;
  if (end <= begin) return;
  if (fd_ >= 0)
    fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin - base_),
              static_cast<off_t>(end - begin));
  else
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void Arena::protect(uint64_t address, uint64_t bytes, bool open) {
  if (mprotect(reinterpret_cast<void*>(address), bytes,
               open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
    throw Error(std::string("The system refused a guard page (") + std::strerror(errno) +
                "); unset OPENXPU_GUARD, or raise vm.max_map_count.");
}

uint64_t map_peer(int process, int fd, uint64_t offset, uint64_t bytes) {
  std::string path = "/proc/" + std::to_string(process) + "/fd/" + std::to_string(fd);
  int peer = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (peer < 0)
    throw Error("Could not open the card memory of process " + std::to_string(process) + " (" +
                std::strerror(errno) +
                "); it must run as the same user, on this machine, and still be alive.");
  uint64_t skew = offset % kPage;
  void* address = mmap(nullptr, bytes + skew, PROT_READ | PROT_WRITE, MAP_SHARED, peer,
                       static_cast<off_t>(offset - skew));
  int error = errno;
  close(peer);
  if (address == MAP_FAILED)
    throw Error("Could not map " + std::to_string(bytes) + " bytes of the card memory of process " +
                std::to_string(process) + " (" + std::strerror(error) + ").");
  madvise(address, bytes + skew, MADV_DONTFORK);
  return reinterpret_cast<uint64_t>(address) + skew;
}

}  // namespace openxpu::host
