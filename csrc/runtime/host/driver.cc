// The host card's driver table: the processor's cores, vector units and memory behind driver.h.
#include "driver.h"

#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "environment.h"
#include "error.h"
#include "host/arena.h"
#include "host/cpu.h"
#include "host/image.h"
#include "host/stream.h"

namespace openxpu::host {
namespace {

struct OpenCard : HostCard {
  std::unique_ptr<Arena> arena;
};

// Never freed: streams' threads may outlive static destructors.
struct State {
  std::mutex mutex;
  std::vector<std::unique_ptr<OpenCard>> cards;
};
State& state() {
  static auto* instance = new State;
  return *instance;
}

// Threads do not survive a fork, and the arena is not inherited.
std::atomic<bool> forked{false};
std::atomic<bool> in_use{false};

thread_local std::string sentence;

int fail(int status, const std::string& text) {
  sentence = text;
  return status;
}

void refuse_after_fork() {
  if (forked.load(std::memory_order_relaxed))
    throw Error(
        "This process was forked from one that was already using an OpenXPU card, and a card does "
        "not survive a "
        "fork. Start the process with the \"spawn\" method, or use the card only in the parent "
        "(data loader "
        "workers should return host arrays).");
}

OpenCard& open_card(int id) {
  refuse_after_fork();
  const Environment& e = environment();
  if (id < 0 || id >= e.cards)
    throw Error("Card " + std::to_string(id) + " was asked for, and this machine shows " +
                (e.cards == 1 ? "one card: xpu:0."
                              : std::to_string(e.cards) +
                                    " cards: xpu:0 to xpu:" + std::to_string(e.cards - 1) + ".") +
                " Set OPENXPU_CARDS to show more.");
  State& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  if (s.cards.empty()) s.cards.resize(static_cast<size_t>(e.cards));
  auto& slot = s.cards[static_cast<size_t>(id)];
  if (!slot) {
    auto card = std::make_unique<OpenCard>();
    card->id = id;
    card->record = &card_record(id);
    card->arena = std::make_unique<Arena>(e.card_memory, shared_arena());
    card->workers = std::make_unique<Workers>(e.card_threads);
    if (!in_use.exchange(true)) pthread_atfork(nullptr, nullptr, [] { forked.store(true); });
    slot = std::move(card);
  }
  return *slot;
}

template <typename Function>
int guarded(Function function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return fail(OPENXPU_OUT_OF_MEMORY, "The system has no host memory left for the run time.");
  } catch (const std::exception& error) {
    return fail(OPENXPU_INVALID, error.what());
  }
}

HostStream* of(openxpu_stream s) { return reinterpret_cast<HostStream*>(s); }
HostEvent* of(openxpu_event e) { return reinterpret_cast<HostEvent*>(e); }

int blocking_end(HostStream* stream) {
  if (!environment().blocking) return OPENXPU_OK;
  stream->wait(-1);
  std::string failure = stream->take_failure();
  return failure.empty() ? OPENXPU_OK : fail(OPENXPU_LAUNCH_FAILED, failure);
}

const char* last_error() { return sentence.c_str(); }

int card_count() {
  try {
    return environment().cards;
  } catch (const std::exception& error) {
    fail(OPENXPU_INVALID, error.what());
    return -1;
  }
}

int card_open(int id) {
  return guarded([&] {
    open_card(id);
    return OPENXPU_OK;
  });
}

int card_properties(int id, openxpu_properties* out) {
  return guarded([&] {
    const Environment& e = environment();
    if (id < 0 || id >= e.cards) open_card(id);  // throws the sentence
    const Processor& p = processor();
    std::memset(out, 0, sizeof *out);
    std::strncpy(out->name, p.brand.c_str(), sizeof out->name - 1);
    std::strncpy(out->architecture, p.name.c_str(), sizeof out->architecture - 1);
    out->workers = e.card_threads;
    out->memory_limit = e.card_memory;
    out->l1_bytes = p.l1_bytes;
    out->l2_bytes = p.l2_bytes;
    out->l3_bytes = p.l3_bytes;
    out->shared_memory = shared_arena();
    return OPENXPU_OK;
  });
}

int card_busy_ns(int id, uint64_t* out) {
  return guarded([&] {
    *out = open_card(id).busy_ns();
    return OPENXPU_OK;
  });
}

int memory_range(int id, uint64_t* base, uint64_t* bytes) {
  return guarded([&] {
    OpenCard& card = open_card(id);
    *base = card.arena->base();
    *bytes = card.arena->bytes();
    return OPENXPU_OK;
  });
}

int memory_trim(int id, uint64_t address, uint64_t bytes) {
  return guarded([&] {
    open_card(id).arena->trim(address, bytes);
    return OPENXPU_OK;
  });
}

int memory_protect(int id, uint64_t address, uint64_t bytes, int open) {
  return guarded([&] {
    open_card(id).arena->protect(address, bytes, open != 0);
    return OPENXPU_OK;
  });
}

int memory_export(int id, uint64_t address, uint64_t bytes, openxpu_memory_handle* out) {
  return guarded([&] {
    OpenCard& card = open_card(id);
    if (card.arena->descriptor() < 0)
      return fail(
          OPENXPU_UNSUPPORTED,
          "Card memory of this process is private and cannot be shared with another process; set "
          "OPENXPU_ARENA=shared before it starts.");
    if (address < card.arena->base() || address + bytes > card.arena->base() + card.arena->bytes())
      return fail(OPENXPU_INVALID, "The memory to be shared is not card memory.");
    *out = {getpid(), card.arena->descriptor(), address - card.arena->base(), bytes};
    return static_cast<int>(OPENXPU_OK);
  });
}

int memory_import(int id, const openxpu_memory_handle* handle, uint64_t* address) {
  return guarded([&] {
    open_card(id);
    *address = map_peer(handle->process, handle->fd, handle->offset, handle->bytes);
    return OPENXPU_OK;
  });
}

int memory_release_import(int, uint64_t address, uint64_t bytes) {
  if (forked.load()) return OPENXPU_OK;
  uint64_t skew = address % 4096;
  munmap(reinterpret_cast<void*>(address - skew), bytes + skew);
  return OPENXPU_OK;
}

int peer_access(int card, int peer) {
  int count = card_count();
  return card >= 0 && peer >= 0 && card < count && peer < count;
}

int stream_create(int id, int number, openxpu_stream* out) {
  return guarded([&] {
    OpenCard& card = open_card(id);
    *out = reinterpret_cast<openxpu_stream>(new HostStream(card, number));
    return OPENXPU_OK;
  });
}

int stream_destroy(openxpu_stream stream) {
  if (forked.load()) return OPENXPU_OK;  // its thread does not exist here: nothing to join
  delete of(stream);
  return OPENXPU_OK;
}

int stream_query(openxpu_stream stream) {
  if (forked.load(std::memory_order_relaxed)) return OPENXPU_OK;
  return of(stream)->idle() ? OPENXPU_OK : OPENXPU_NOT_READY;
}

int stream_wait(openxpu_stream stream, int64_t timeout_ns) {
  // In a forked child there is no work: whatever was under way belongs to the parent.
  if (forked.load(std::memory_order_relaxed)) return OPENXPU_OK;
  if (!of(stream)->wait(timeout_ns)) return OPENXPU_NOT_READY;
  std::string failure = of(stream)->take_failure();
  return failure.empty() ? OPENXPU_OK : fail(OPENXPU_LAUNCH_FAILED, failure);
}

int stream_wait_event(openxpu_stream stream, openxpu_event event) {
  return guarded([&] {
    refuse_after_fork();
    of(stream)->wait_event(of(event));
    return OPENXPU_OK;
  });
}

int stream_host_function(openxpu_stream stream, void (*function)(void*), void* data,
                         const char* name) {
  return guarded([&] {
    refuse_after_fork();
    of(stream)->host_function(function, data, name);
    return blocking_end(of(stream));
  });
}

int stream_attempt(openxpu_stream stream, int (*attempt)(void*, uint64_t), void* data,
                   const char* name, int at_once) {
  return guarded([&] {
    refuse_after_fork();
    of(stream)->attempt(attempt, data, name, at_once != 0);
    return blocking_end(of(stream));
  });
}

int event_create(openxpu_event* out) {
  return guarded([&] {
    *out = reinterpret_cast<openxpu_event>(new HostEvent);
    return OPENXPU_OK;
  });
}

int event_destroy(openxpu_event event) {
  of(event)->release();
  return OPENXPU_OK;
}

int event_record(openxpu_event event, openxpu_stream stream) {
  return guarded([&] {
    refuse_after_fork();
    of(stream)->record(of(event));
    return OPENXPU_OK;
  });
}

int event_query(openxpu_event event) {
  HostEvent* e = of(event);
  if (forked.load(std::memory_order_relaxed)) return OPENXPU_OK;
  return e->reached(e->last_record()) ? OPENXPU_OK : OPENXPU_NOT_READY;
}

int event_wait(openxpu_event event, int64_t timeout_ns) {
  HostEvent* e = of(event);
  if (forked.load(std::memory_order_relaxed)) return OPENXPU_OK;
  return e->wait(e->last_record(), timeout_ns, 10000) ? OPENXPU_OK : OPENXPU_NOT_READY;
}

int event_time(openxpu_event event, uint64_t* ns) {
  HostEvent* e = of(event);
  if (e->last_record() == 0)
    return fail(OPENXPU_INVALID, "The time of an event was asked for that was never recorded.");
  if (!e->reached(e->last_record())) return OPENXPU_NOT_READY;
  *ns = e->time_ns();
  return OPENXPU_OK;
}

int launch(openxpu_stream stream, const openxpu_launch* launch) {
  return guarded([&] {
    refuse_after_fork();
    if (launch->arg_count > OPENXPU_MAX_ARGS || launch->entry == 0)
      return fail(OPENXPU_INVALID, std::string("Kernel \"") + (launch->name ? launch->name : "?") +
                                       "\" was launched with " + std::to_string(launch->arg_count) +
                                       " arguments and entry " + std::to_string(launch->entry) +
                                       "; at most " + std::to_string(OPENXPU_MAX_ARGS) +
                                       " arguments and a valid entry are needed.");
    of(stream)->launch(*launch);
    return blocking_end(of(stream));
  });
}

int copy(openxpu_stream stream, void* dst, const void* src, uint64_t bytes,
         openxpu_copy_kind kind) {
  return guarded([&] {
    refuse_after_fork();
    of(stream)->copy(dst, src, bytes, kind);
    return blocking_end(of(stream));
  });
}

int fill(openxpu_stream stream, void* dst, int byte, uint64_t bytes) {
  return guarded([&] {
    refuse_after_fork();
    of(stream)->fill(dst, byte, bytes);
    return blocking_end(of(stream));
  });
}

int copy_now(int id, void* dst, const void* src, uint64_t bytes) {
  return guarded([&] {
    shared_copy(*open_card(id).workers, dst, src, bytes);
    return OPENXPU_OK;
  });
}

int image_load(int, const void* elf, uint64_t bytes, openxpu_image* out) {
  return guarded([&] {
    *out = reinterpret_cast<openxpu_image>(new Image(elf, bytes));
    return OPENXPU_OK;
  });
}

int image_symbol(openxpu_image image, const char* name, uint64_t* entry) {
  return guarded([&] {
    *entry = reinterpret_cast<Image*>(image)->symbol(name);
    return OPENXPU_OK;
  });
}

int image_asserts(uint64_t entry, const char* const* messages, int count) {
  return guarded([&] {
    set_assert_messages(entry, messages, count);
    return OPENXPU_OK;
  });
}

int start_trace() {
  return guarded([] {
    if (!trace_start())
      throw Error(
          "A profile was asked for while another one is being taken; there is one at a time in a "
          "process: end the first one.");
    return OPENXPU_OK;
  });
}

int stop_trace(void (*sink)(const openxpu_trace_record*, void*), void* data) {
  trace_stop(sink, data);
  return OPENXPU_OK;
}

const openxpu_driver table = {
    OPENXPU_DRIVER_VERSION,
    "host",
    last_error,
    card_count,
    card_open,
    card_properties,
    card_busy_ns,
    memory_range,
    memory_trim,
    memory_export,
    memory_import,
    memory_release_import,
    peer_access,
    stream_create,
    stream_destroy,
    stream_query,
    stream_wait,
    stream_wait_event,
    stream_host_function,
    event_create,
    event_destroy,
    event_record,
    event_query,
    event_wait,
    event_time,
    launch,
    copy,
    fill,
    copy_now,
    image_load,
    image_symbol,
    image_asserts,
    start_trace,
    stop_trace,
    memory_protect,
    stream_attempt,
};

}  // namespace
}  // namespace openxpu::host

extern "C" const openxpu_driver* openxpu_host_driver(void) { return &openxpu::host::table; }
