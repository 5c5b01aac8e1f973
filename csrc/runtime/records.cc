// Publishes this process's record and reads those of others, by /proc/<pid>/fd.
#include "records.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

namespace openxpu {
namespace {

constexpr uint64_t kMagic = 0x32756E6570786F31;  // changes with the layout
constexpr int kCards = 64, kGroups = 128;
constexpr char kName[] = "openxpu-process";
constexpr char kLink[] = "/memfd:openxpu-process (deleted)";

struct Group {
  std::atomic<GroupState> state;  // kNone: free
  int32_t card, rank, ranks;
  char name[64];
};

struct File {
  uint64_t magic;
  int64_t pid;  // a forked child has the descriptor, too
  CardRecord cards[kCards];
  Group groups[kGroups];
};

File* publish() {
  void* memory = MAP_FAILED;
  const int fd = memfd_create(kName, MFD_CLOEXEC);  // open until the end: others find it
  if (fd >= 0 && ftruncate(fd, sizeof(File)) == 0)
    memory = mmap(nullptr, sizeof(File), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    if (fd >= 0) close(fd);
    memory = std::calloc(1, sizeof(File));
  }
  File* file = static_cast<File*>(memory);
  file->pid = getpid();
  std::atomic_thread_fence(std::memory_order_release);
  file->magic = kMagic;
  return file;
}

File& own() {
  static File* file = publish();
  return *file;
}

std::mutex& slots() {
  static auto* mutex = new std::mutex;  // groups may end after static destructors
  return *mutex;
}

// The record of a process, read at once: a mapping would fault if its owner cut the file.
std::unique_ptr<File> read_record(const std::string& pid) {
  const std::string folder = "/proc/" + pid + "/fd/";
  DIR* list = opendir(folder.c_str());  // refused: it is another user's
  if (!list) return nullptr;
  std::unique_ptr<File> found;
  while (dirent* entry = readdir(list)) {
    char link[sizeof kLink] = {};
    const std::string path = folder + entry->d_name;
    if (readlink(path.c_str(), link, sizeof link) != sizeof kLink - 1 ||
        std::strncmp(link, kLink, sizeof kLink - 1) != 0)
      continue;
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    auto file = std::make_unique<File>();
    const bool whole = pread(fd, static_cast<void*>(file.get()), sizeof(File), 0) == sizeof(File);
    close(fd);
    if (!whole || file->magic != kMagic || std::to_string(file->pid) != pid) continue;
    found = std::move(file);
    break;
  }
  closedir(list);
  return found;
}

}  // namespace

CardRecord& card_record(int card) { return own().cards[card]; }

GroupRecord::GroupRecord(const std::string& name, int card, int rank, int ranks) {
  std::lock_guard<std::mutex> lock(slots());
  for (int i = 0; i < kGroups && slot_ < 0; i++) {
    Group& group = own().groups[i];
    if (group.state.load() != GroupState::kNone) continue;
    slot_ = i;
    group.card = card;
    group.rank = rank;
    group.ranks = ranks;
    std::snprintf(group.name, sizeof group.name, "%s", name.c_str());
    group.state.store(GroupState::kJoining);
  }
}

GroupRecord::~GroupRecord() { set(GroupState::kNone); }

void GroupRecord::set(GroupState state) {
  // A forked child shares the file, and is no rank.
  if (slot_ >= 0 && own().pid == getpid()) own().groups[slot_].state.store(state);
}

std::vector<ProcessReport> process_reports() {
  std::vector<ProcessReport> reports;
  DIR* list = opendir("/proc");
  if (!list) return reports;
  timespec t;
  while (dirent* entry = readdir(list)) {
    if (std::strspn(entry->d_name, "0123456789") != std::strlen(entry->d_name)) continue;
    const auto file = read_record(entry->d_name);
    if (!file) continue;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const uint64_t now =
        static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
    for (int i = 0; i < kCards; i++) {
      const CardRecord& c = file->cards[i];
      if (c.opened == 0) continue;
      const uint64_t since = c.busy_since_ns, total = c.busy_total_ns;
      ProcessReport report{file->pid, i,
                           c.used,    c.peak,
                           c.limit,   total + (since != 0 && now > since ? now - since : 0),
                           {}};
      for (Group& group : file->groups) {
        group.name[sizeof group.name - 1] = 0;
        if (group.state != GroupState::kNone && group.card == i)
          report.groups.push_back({group.name, group.rank, group.ranks, group.state});
      }
      reports.push_back(std::move(report));
    }
  }
  closedir(list);
  return reports;
}

}  // namespace openxpu
