/* The driver interface: what a chip must offer to become a card of OpenXPU.
 *
 * A driver is one table of C functions. The host card (csrc/runtime/host) is the first one.
 * Everything above the table (allocator, plans, Paddle plug-in, Python) is the same for every chip.
 *
 * Rules for all functions:
 *  - They return 0, or a code of openxpu_status; then last_error() has one sentence (per thread).
 *  - They may be called from any thread. A stream runs its commands in the order of the calls.
 *  - Times are nanoseconds of CLOCK_MONOTONIC. Sizes are bytes.
 */
#ifndef OPENXPU_RUNTIME_DRIVER_H_
#define OPENXPU_RUNTIME_DRIVER_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OPENXPU_DRIVER_VERSION 1

typedef enum openxpu_status {
  OPENXPU_OK = 0,
  OPENXPU_NOT_READY = 1, /* a query or a bounded wait: the work is still under way */
  OPENXPU_INVALID = 2,   /* a wrong argument, or use after a fork */
  OPENXPU_OUT_OF_MEMORY = 3,
  OPENXPU_LAUNCH_FAILED = 4, /* an earlier command of the stream failed */
  OPENXPU_UNSUPPORTED = 5
} openxpu_status;

typedef struct openxpu_stream_s* openxpu_stream;
typedef struct openxpu_event_s* openxpu_event;
typedef struct openxpu_image_s* openxpu_image;

typedef struct openxpu_properties {
  char name[128];                       /* what a person calls the chip */
  char architecture[64];                /* what the compiler's target tables call it */
  int32_t workers;                      /* programs that run at one time */
  int64_t memory_limit;                 /* bytes that allocations may use */
  int64_t l1_bytes, l2_bytes, l3_bytes; /* caches of one worker, one worker, all workers */
  int32_t shared_memory;                /* 1: the arena can be mapped by another process */
} openxpu_properties;

/* One launch of a compiled kernel; docs/architecture.md, contract 1, has the entry point. */
typedef struct openxpu_launch {
  uint64_t entry;       /* address of the kernel's function, from image_symbol */
  const uint64_t* args; /* arg_count slots, copied before the call returns */
  uint32_t arg_count;   /* at most OPENXPU_MAX_ARGS */
  uint32_t grid[3];
  uint64_t scratch_bytes; /* private to a worker during the call */
  uint64_t cost;          /* rough bytes or flops of the whole launch; 0: unknown, worth sharing */
  const char* name;       /* for profiles and errors; lives as long as the launch (see keep) */
  void (*done)(
      void*); /* may be null: called with done_data when the launch has ended; short, never waits */
  void* done_data;
} openxpu_launch;

#define OPENXPU_MAX_ARGS 96

typedef enum openxpu_copy_kind {
  OPENXPU_HOST_TO_CARD = 0,
  OPENXPU_CARD_TO_HOST = 1,
  OPENXPU_CARD_TO_CARD = 2
} openxpu_copy_kind;

/* A piece of card memory that another process may map (peer access). */
typedef struct openxpu_memory_handle {
  int32_t process; /* who exports */
  int32_t fd;      /* its descriptor of the arena */
  uint64_t offset, bytes;
} openxpu_memory_handle;

typedef struct openxpu_trace_record {
  const char* name; /* kernel, "copy", "fill", "host function" */
  int32_t card, stream;
  uint64_t begin_ns, end_ns;
  uint64_t bytes; /* of copies and fills; cost of launches */
  /* launches only, else 0: what ran, over which grid, with which argument slots */
  uint64_t entry;
  uint32_t grid[3];
  const uint64_t* args; /* arg_count slots, valid during the sink's call */
  uint32_t arg_count;
} openxpu_trace_record;

typedef struct openxpu_driver {
  uint32_t version; /* OPENXPU_DRIVER_VERSION */
  const char* name;
  const char* (*last_error)(void);

  /* cards */
  int (*card_count)(void);
  int (*card_open)(int card); /* may be called again */
  int (*card_properties)(int card, openxpu_properties* out);
  int (*card_busy_ns)(int card, uint64_t* out); /* time in which at least one stream had work */

  /* memory: one range of addresses per card; the allocator above divides it */
  int (*memory_range)(int card, uint64_t* base, uint64_t* bytes);
  int (*memory_trim)(int card, uint64_t address, uint64_t bytes); /* contents may be forgotten */
  int (*memory_export)(int card, uint64_t address, uint64_t bytes, openxpu_memory_handle* out);
  int (*memory_import)(int card, const openxpu_memory_handle* handle, uint64_t* address);
  int (*memory_release_import)(int card, uint64_t address, uint64_t bytes);
  int (*peer_access)(int card, int peer); /* 1: card may read and write the peer's addresses */

  /* streams */
  // `number` tells the streams of a card apart in trace records.
  int (*stream_create)(int card, int number, openxpu_stream* out);
  int (*stream_destroy)(openxpu_stream stream); /* waits for its work */
  int (*stream_query)(openxpu_stream stream);   /* OK: nothing under way; NOT_READY */
  int (*stream_wait)(openxpu_stream stream,
                     int64_t timeout_ns); /* < 0: for ever; else NOT_READY when late */
  int (*stream_wait_event)(openxpu_stream stream, openxpu_event event);
  int (*stream_host_function)(openxpu_stream stream, void (*function)(void*), void* data,
                              const char* name);

  /* events */
  int (*event_create)(openxpu_event* out);
  int (*event_destroy)(openxpu_event event);
  int (*event_record)(openxpu_event event, openxpu_stream stream);
  int (*event_query)(openxpu_event event); /* never recorded counts as ready */
  int (*event_wait)(openxpu_event event, int64_t timeout_ns);
  int (*event_time)(openxpu_event event, uint64_t* ns); /* when its last record was reached */

  /* work */
  int (*launch)(openxpu_stream stream, const openxpu_launch* launch);
  int (*copy)(openxpu_stream stream, void* dst, const void* src, uint64_t bytes,
              openxpu_copy_kind kind);
  int (*fill)(openxpu_stream stream, void* dst, int byte, uint64_t bytes);
  /* Copies before it returns, outside of all streams; the caller has waited for whoever uses the
   * memory. */
  int (*copy_now)(int card, void* dst, const void* src, uint64_t bytes);

  /* kernels */
  int (*image_load)(int card, const void* elf, uint64_t bytes, openxpu_image* out);
  int (*image_symbol)(openxpu_image image, const char* name, uint64_t* entry);
  int (*image_asserts)(uint64_t entry, const char* const* messages,
                       int count); /* texts of failed asserts */

  /* profiles: between start and stop every command leaves a record; a second start before the stop
   * is OPENXPU_INVALID */
  int (*trace_start)(void);
  int (*trace_stop)(void (*sink)(const openxpu_trace_record*, void*), void* data);

  /* Whole pages that fault when they are touched, until they are opened again; null where the chip
   * cannot. */
  int (*memory_protect)(int card, uint64_t address, uint64_t bytes, int open);

  /* Work that waits for others. attempt(data, until_ns) returns 1 when it is done; 0: not by
   * `until_ns` (0: however long it takes; a time that is past: a short look), to be called again.
   * With `at_once`, on a stream that has nothing else to do, the caller takes that look, and nobody
   * has to be woken when it is enough; later whoever waits for the stream attempts it, or the
   * stream's thread. */
  int (*stream_attempt)(openxpu_stream stream, int (*attempt)(void*, uint64_t until_ns), void* data,
                        const char* name, int at_once);
} openxpu_driver;

/* The driver that this build uses. */
const openxpu_driver* openxpu_host_driver(void);

#ifdef __cplusplus
}
#endif
#endif /* OPENXPU_RUNTIME_DRIVER_H_ */
