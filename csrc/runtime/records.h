// What a process lets `openxpu smi` of other processes see: an unnamed file that they find among
// its descriptors, so that it goes with the process, however that ends.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace openxpu {

struct CardRecord {
  std::atomic<int64_t> limit, used, peak;
  std::atomic<uint64_t> busy_total_ns, busy_since_ns;  // since: CLOCK_MONOTONIC, 0 when idle
  std::atomic<uint64_t> opened;                        // 1 once the process uses the card
};

// This process's record of a card. Private memory when the system has no file for it.
CardRecord& card_record(int card);

enum class GroupState : uint32_t { kNone, kJoining, kReady, kFailed };

// This process's rank in a communicator, seen by others as long as the object lives.
class GroupRecord {
 public:
  GroupRecord(const std::string& name, int card, int rank, int ranks);
  ~GroupRecord();
  GroupRecord(const GroupRecord&) = delete;
  GroupRecord& operator=(const GroupRecord&) = delete;
  void set(GroupState state);

 private:
  int slot_ = -1;  // -1: all are taken, and this one is not seen
};

struct GroupReport {
  std::string name;
  int rank = 0, ranks = 0;
  GroupState state = GroupState::kNone;
};

struct ProcessReport {
  int64_t pid = 0;
  int card = 0;
  int64_t used = 0, peak = 0, limit = 0;
  uint64_t busy_ns = 0;
  std::vector<GroupReport> groups;
};

// All live processes that use cards and that this user may look into.
std::vector<ProcessReport> process_reports();

}  // namespace openxpu
