// Paddle's profiler interface: the card's launches and copies as device events, under their names.
#include "profiler.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "card.h"
#include "device.h"
#include "paddle/phi/api/profiler/trace_event.h"

namespace openxpu::paddle_plugin {

std::atomic<bool> tracing{false};

namespace {

uint64_t now(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000ull + static_cast<uint64_t>(t.tv_nsec);
}

// Commands of one call, in the order in which a stream will run them.
struct Note {
  uint64_t begin_ns, end_ns;  // CLOCK_REALTIME, as Paddle's host events have it
  uint64_t thread;
  size_t commands;
};

std::mutex notes_mutex;
std::map<std::pair<int, int>, std::deque<Note>> notes;  // by card and stream
std::vector<TraceRecord> records;

C_Status initialize(C_Profiler, void**) { return C_SUCCESS; }
C_Status finalize(C_Profiler, void*) { return C_SUCCESS; }
C_Status prepare(C_Profiler, void*) { return C_SUCCESS; }

C_Status start(C_Profiler, void*) {
  // Work from before would have records without notes.
  for (int i = 0; i < card_count(); ++i) card(i).synchronize();
  {
    std::lock_guard<std::mutex> lock(notes_mutex);
    notes.clear();
    records.clear();
  }
  try {
    trace_start();
  } catch (const Error& error) {
    // Paddle still has its own events.
    std::fprintf(stderr, "openxpu: %s This profile is without the card's events.\n", error.what());
    return C_SUCCESS;
  }
  tracing.store(true);
  return C_SUCCESS;
}

C_Status stop(C_Profiler, void*) {
  if (!tracing.exchange(false)) return C_SUCCESS;  // another profile is being taken
  for (int i = 0; i < card_count(); ++i) card(i).synchronize();
  std::lock_guard<std::mutex> lock(notes_mutex);
  records = trace_stop();
  return C_SUCCESS;
}

C_Status collect(C_Profiler profiler, uint64_t start_ns, void*) {
  const uint64_t offset = now(CLOCK_REALTIME) - now(CLOCK_MONOTONIC);
  const auto process = static_cast<uint64_t>(getpid());
  std::lock_guard<std::mutex> lock(notes_mutex);
  uint32_t correlation = 0;
  for (const TraceRecord& record : records) {
    auto& waiting = notes[{record.card, record.stream}];
    if (waiting.empty()) continue;  // enqueued by no operator, such as openxpu.ops
    Note& note = waiting.front();
    ++correlation;
    const uint64_t begin = record.begin_ns + offset, end = record.end_ns + offset;
    if (note.begin_ns >= start_ns) {
      phi::RuntimeTraceEvent runtime("openxpu launch", note.begin_ns, note.end_ns, process,
                                     note.thread, correlation, 0);
      profiler_add_runtime_trace_event(profiler, &runtime);
      const bool copy = record.name == "copy";
      phi::DeviceTraceEvent device;
      device.name = record.name;
      device.start_ns = begin;
      device.end_ns = end;
      device.device_id = static_cast<uint64_t>(record.card);
      device.context_id = 0;
      device.stream_id = static_cast<uint64_t>(record.stream);
      device.correlation_id = correlation;
      if (copy) {
        device.type = phi::TracerEventType::Memcpy;
        std::memset(&device.memcpy_info, 0, sizeof(device.memcpy_info));
        device.memcpy_info.num_bytes = record.bytes;
      } else {
        device.type = phi::TracerEventType::Kernel;
        std::memset(&device.kernel_info, 0, sizeof(device.kernel_info));
      }
      profiler_add_device_trace_event(profiler, &device);
    }
    if (--note.commands == 0) waiting.pop_front();
  }
  notes.clear();
  records.clear();
  return C_SUCCESS;
}

}  // namespace

void EnqueueNote::begin() { begin_ns_ = now(CLOCK_REALTIME); }

void EnqueueNote::end() {
  const Note note{begin_ns_, now(CLOCK_REALTIME), static_cast<uint64_t>(syscall(SYS_gettid)),
                  commands_};
  std::lock_guard<std::mutex> lock(notes_mutex);
  notes[{stream_.card().id(), stream_.number()}].push_back(note);
}

void fill_profiler_interface(C_DeviceInterface* table) {
  table->profiler_initialize = initialize;
  table->profiler_finalize = finalize;
  table->profiler_prepare_tracing = prepare;
  table->profiler_start_tracing = start;
  table->profiler_stop_tracing = stop;
  table->profiler_collect_trace_data = collect;
}

}  // namespace openxpu::paddle_plugin
