// Publishes and reads the process records in the run directory (environment.h).
#include "records.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>

#include "environment.h"

namespace openxpu {
namespace {

constexpr uint64_t kMagic = 0x31756E6570786F31;  // changes with the layout
constexpr int kCards = 64;

struct File {
  uint64_t magic;
  int64_t pid;
  uint64_t started;  // the process's start time: a recycled pid is another process
  CardRecord cards[kCards];
};

// Clock ticks since boot at which a process started, or 0 when there is no such process.
uint64_t start_time(int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  size_t end = text.rfind(')');  // the name before it may hold anything
  if (end == std::string::npos) return 0;
  std::istringstream rest(text.substr(end + 2));
  std::string field;
  for (int i = 3; i <= 22; i++) rest >> field;
  return std::strtoull(field.c_str(), nullptr, 10);
}

bool own_directory(const std::string& path) {
  mkdir(path.c_str(), 0700);
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == getuid();
}

std::string published;  // path of this process's file
pid_t publisher = 0;

void withdraw() {
  if (!published.empty() && getpid() == publisher) unlink(published.c_str());
}

File* publish() {
  const std::string& directory = environment().run_directory;
  File* file = nullptr;
  if (own_directory(directory)) {
    std::string path = directory + "/" + std::to_string(getpid());
    unlink(path.c_str());
    int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
      if (ftruncate(fd, sizeof(File)) == 0) {
        void* memory = mmap(nullptr, sizeof(File), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory != MAP_FAILED) {
          file = static_cast<File*>(memory);
          published = path;
          publisher = getpid();
          std::atexit(withdraw);
        }
      }
      close(fd);
      if (!file) unlink(path.c_str());
    }
  }
  if (!file) file = static_cast<File*>(std::calloc(1, sizeof(File)));
  file->pid = getpid();
  file->started = start_time(getpid());
  std::atomic_thread_fence(std::memory_order_release);
  file->magic = kMagic;
  return file;
}

}  // namespace

CardRecord& card_record(int card) {
  static File* file = publish();
  return file->cards[card];
}

std::vector<ProcessReport> process_reports() {
  std::vector<ProcessReport> reports;
  const std::string& directory = environment().run_directory;
  DIR* list = opendir(directory.c_str());
  if (!list) return reports;
  while (dirent* entry = readdir(list)) {
    char* end = nullptr;
    int64_t pid = std::strtoll(entry->d_name, &end, 10);
    if (pid <= 0 || *end != '\0') continue;
    std::string path = directory + "/" + entry->d_name;
    uint64_t started = start_time(pid);
    if (started == 0) {
      unlink(path.c_str());
      continue;
    }
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    struct stat info;
    void* memory = MAP_FAILED;
    if (fstat(fd, &info) == 0 && info.st_size >= static_cast<off_t>(sizeof(File)))
      memory = mmap(nullptr, sizeof(File), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED) continue;
    const auto* file = static_cast<const File*>(memory);
    if (file->magic == kMagic && file->started != started) {
      unlink(path.c_str());
    } else if (file->magic == kMagic) {
      timespec t;
      clock_gettime(CLOCK_MONOTONIC, &t);
      uint64_t now =
          static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
      for (int i = 0; i < kCards; i++) {
        const CardRecord& c = file->cards[i];
        if (c.opened == 0) continue;
        uint64_t since = c.busy_since_ns, total = c.busy_total_ns;
        reports.push_back({pid, i, c.used, c.peak, c.limit,
                           total + (since != 0 && now > since ? now - since : 0)});
      }
    }
    munmap(memory, sizeof(File));
  }
  closedir(list);
  return reports;
}

}  // namespace openxpu
