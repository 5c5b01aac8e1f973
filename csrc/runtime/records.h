// What a process lets `openxpu smi` of other processes see: one small mapped file per process, gone
// at exit.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

namespace openxpu {

struct CardRecord {
  std::atomic<int64_t> limit, used, peak;
  std::atomic<uint64_t> busy_total_ns, busy_since_ns;  // since: CLOCK_MONOTONIC, 0 when idle
  std::atomic<uint64_t> opened;                        // 1 once the process uses the card
};

// This process's record of a card. Private memory when the run directory cannot be written.
CardRecord& card_record(int card);

struct ProcessReport {
  int64_t pid = 0;
  int card = 0;
  int64_t used = 0, peak = 0, limit = 0;
  uint64_t busy_ns = 0;
};

// All live processes of this user that use cards. Removes the files of processes that are gone.
std::vector<ProcessReport> process_reports();

}  // namespace openxpu
