// Devices, streams, events, copies and memory as Paddle asks for them, on the run time's cards.
#include "device.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <unordered_set>

#include "card.h"
#include "environment.h"
#include "errors.h"
#include "paddle/phi/core/memory/allocation/allocator.h"
#include "profiler.h"

namespace openxpu::paddle_plugin {
namespace {

thread_local int current_card = 0;

Stream& stream_of(C_Stream stream) { return *reinterpret_cast<Stream*>(stream); }

// A CPU kernel of Paddle that gets a tensor of a card copies it with what it takes for the stream
// of its own context (phi::Copy casts every context to that of a custom device): null, or no stream
// at all. Such copies have to be done at once.
class Streams {
 public:
  void add(C_Stream stream) {
    std::lock_guard<std::mutex> lock(mutex_);
    live_.insert(stream);
  }
  void remove(C_Stream stream) {
    std::lock_guard<std::mutex> lock(mutex_);
    live_.erase(stream);
  }
  bool has(C_Stream stream) {
    std::lock_guard<std::mutex> lock(mutex_);
    return live_.count(stream) > 0;
  }

 private:
  std::mutex mutex_;
  std::unordered_set<C_Stream> live_;
};
// Never destroyed: Paddle destroys its streams after main().
Streams& streams() {
  static auto* instance = new Streams;
  return *instance;
}
Event& event_of(C_Event event) { return *reinterpret_cast<Event*>(event); }

// For calls that Paddle makes from destructors, where an exception would end the process.
template <typename F>
C_Status quiet(F&& body) noexcept {
  try {
    body();
    return C_SUCCESS;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "OpenXPU: %s\n", error.what());
    return C_ERROR;
  }
}

// All other calls throw Paddle's exceptions with the run time's sentence: a status code would
// become "CustomDevice error" without a reason.
template <auto function>
struct Guarded;
template <typename... Args, C_Status (*function)(Args...)>
struct Guarded<function> {
  static C_Status call(Args... args) {
    try {
      return function(args...);
    } catch (...) {
      rethrow_for_paddle();
    }
  }
};

// ---------------------------------------------------------------- devices

C_Status initialize() { return C_SUCCESS; }
C_Status finalize() { return C_SUCCESS; }

C_Status get_device_count(size_t* count) {
  return quiet([&] { *count = static_cast<size_t>(card_count()); });
}
C_Status get_device_list(size_t* devices) {
  return quiet([&] {
    for (int i = 0; i < card_count(); ++i) devices[i] = static_cast<size_t>(i);
  });
}
C_Status init_device(const C_Device device) {
  card(device->id);
  return C_SUCCESS;
}
C_Status deinit_device(const C_Device) { return C_SUCCESS; }
C_Status set_device(const C_Device device) {
  card(device->id);
  current_card = device->id;
  return C_SUCCESS;
}
C_Status get_device(const C_Device device) {
  device->id = current_card;
  return C_SUCCESS;
}
C_Status synchronize_device(const C_Device device) {
  card(device->id).synchronize();
  return C_SUCCESS;
}

// ---------------------------------------------------------------- streams

C_Status create_stream(const C_Device device, C_Stream* stream) {
  *stream = reinterpret_cast<C_Stream>(new Stream(card(device->id)));
  streams().add(*stream);
  return C_SUCCESS;
}
C_Status destroy_stream(const C_Device, C_Stream stream) {
  return quiet([&] {
    streams().remove(stream);
    delete &stream_of(stream);
  });
}
C_Status query_stream(const C_Device, C_Stream stream) {
  return stream_of(stream).query() ? C_SUCCESS : C_FAILED;
}
C_Status synchronize_stream(const C_Device, C_Stream stream) {
  stream_of(stream).synchronize();
  return C_SUCCESS;
}

struct Callback {
  C_Device device;
  C_Stream stream;
  C_Callback function;
  void* data;
};
C_Status stream_add_callback(const C_Device device, C_Stream stream, C_Callback function,
                             void* data) {
  auto* callback = new Callback{device, stream, function, data};
  const EnqueueNote note(stream_of(stream), 1);
  stream_of(stream).host_function(
      [](void* pointer) {
        auto* c = static_cast<Callback*>(pointer);
        C_Status status = C_SUCCESS;
        c->function(c->device, c->stream, c->data, &status);
        delete c;
      },
      callback, "callback");
  return C_SUCCESS;
}

// ---------------------------------------------------------------- events

C_Status create_event(const C_Device, C_Event* event) {
  *event = reinterpret_cast<C_Event>(new Event);
  return C_SUCCESS;
}
C_Status record_event(const C_Device, C_Stream stream, C_Event event) {
  stream_of(stream).record(event_of(event));
  return C_SUCCESS;
}
C_Status destroy_event(const C_Device, C_Event event) {
  return quiet([&] { delete &event_of(event); });
}
C_Status query_event(const C_Device, C_Event event) {
  return event_of(event).query() ? C_SUCCESS : C_FAILED;
}
C_Status synchronize_event(const C_Device, C_Event event) {
  event_of(event).synchronize();
  return C_SUCCESS;
}
C_Status stream_wait_event(const C_Device, C_Stream stream, C_Event event) {
  stream_of(stream).wait(event_of(event));
  return C_SUCCESS;
}

// ---------------------------------------------------------------- memory

// Paddle's allocator takes BadAlloc as the sign to give its idle chunks back and try once more; its
// message then reaches the user, so it carries the run time's sentence.
C_Status device_memory_allocate(const C_Device device, void** pointer, size_t size) {
  try {
    *pointer = card(device->id).allocate(size);
  } catch (const OutOfMemory& error) {
    throw paddle::memory::allocation::BadAlloc(
        std::string("ResourceExhaustedError: ") + error.what(), "openxpu", 0);
  }
  return C_SUCCESS;
}
C_Status device_memory_deallocate(const C_Device device, void* pointer, size_t) {
  return quiet([&] { card(device->id).release(pointer); });
}
C_Status device_memory_set(const C_Device device, void* pointer, unsigned char value, size_t size) {
  Card& c = card(device->id);
  c.synchronize();
  c.default_stream().fill(pointer, value, size);
  c.default_stream().synchronize();
  return C_SUCCESS;
}

constexpr size_t kHostAlignment = 64;
C_Status host_memory_allocate(const C_Device, void** pointer, size_t size) {
  const size_t rounded = (size + kHostAlignment - 1) / kHostAlignment * kHostAlignment;
  *pointer = std::aligned_alloc(kHostAlignment, rounded ? rounded : kHostAlignment);
  return *pointer ? C_SUCCESS : C_FAILED;
}
C_Status host_memory_deallocate(const C_Device, void* pointer, size_t) {
  std::free(pointer);
  return C_SUCCESS;
}

C_Status copy_h2d(const C_Device device, void* dst, const void* src, size_t size) {
  card(device->id).copy_sync(dst, src, size, OPENXPU_HOST_TO_CARD);
  return C_SUCCESS;
}
C_Status copy_d2h(const C_Device device, void* dst, const void* src, size_t size) {
  card(device->id).copy_sync(dst, src, size, OPENXPU_CARD_TO_HOST);
  return C_SUCCESS;
}
C_Status copy_d2d(const C_Device device, void* dst, const void* src, size_t size) {
  card(device->id).copy_sync(dst, src, size, OPENXPU_CARD_TO_CARD);
  return C_SUCCESS;
}
C_Status copy_p2p(const C_Device dst_device, const C_Device src_device, void* dst, const void* src,
                  size_t size) {
  card(src_device->id).synchronize();
  card(dst_device->id).copy_sync(dst, src, size, OPENXPU_CARD_TO_CARD);
  return C_SUCCESS;
}
C_Status async_copy_h2d(const C_Device device, C_Stream stream, void* dst, const void* src,
                        size_t size) {
  if (!streams().has(stream)) return copy_h2d(device, dst, src, size);
  const EnqueueNote note(stream_of(stream), 1);
  stream_of(stream).copy(dst, src, size, OPENXPU_HOST_TO_CARD);
  return C_SUCCESS;
}
// Paddle reads ordinary host memory right after this call on some paths (as CUDA's copies to memory
// that is not pinned allow), so the copy has arrived when this returns.
C_Status async_copy_d2h(const C_Device device, C_Stream stream, void* dst, const void* src,
                        size_t size) {
  if (!streams().has(stream)) return copy_d2h(device, dst, src, size);
  const EnqueueNote note(stream_of(stream), 1);
  stream_of(stream).copy(dst, src, size, OPENXPU_CARD_TO_HOST);
  stream_of(stream).synchronize();
  return C_SUCCESS;
}
C_Status async_copy_d2d(const C_Device device, C_Stream stream, void* dst, const void* src,
                        size_t size) {
  if (!streams().has(stream)) return copy_d2d(device, dst, src, size);
  const EnqueueNote note(stream_of(stream), 1);
  stream_of(stream).copy(dst, src, size, OPENXPU_CARD_TO_CARD);
  return C_SUCCESS;
}
C_Status async_copy_p2p(const C_Device dst_device, const C_Device src_device, C_Stream stream,
                        void* dst, const void* src, size_t size) {
  if (!streams().has(stream)) return copy_p2p(dst_device, src_device, dst, src, size);
  card(src_device->id).synchronize();
  const EnqueueNote note(stream_of(stream), 1);
  stream_of(stream).copy(dst, src, size, OPENXPU_CARD_TO_CARD);
  return C_SUCCESS;
}

C_Status device_memory_stats(const C_Device device, size_t* total, size_t* free) {
  const MemoryStats stats = card(device->id).memory_stats();
  *total = static_cast<size_t>(stats.limit);
  *free = static_cast<size_t>(stats.limit - stats.used);
  return C_SUCCESS;
}

// Paddle's allocator divides its chunks at multiples of this; it is also what our arena aligns to.
C_Status device_min_chunk_size(const C_Device, size_t* size) {
  *size = environment().guard ? 1 : 256;  // guarded tensors end where their memory does
  return C_SUCCESS;
}
// Kernels touch nothing beyond a tensor (OPENXPU_GUARD shows it).
C_Status device_extra_padding_size(const C_Device, size_t* size) {
  *size = 0;
  return C_SUCCESS;
}
C_Status device_max_size(const C_Device device, size_t* size) {
  *size = static_cast<size_t>(card(device->id).memory_stats().limit);
  return C_SUCCESS;
}

// ---------------------------------------------------------------- properties

C_Status get_compute_capability(const C_Device, size_t* value) {
  *value = 1;
  return C_SUCCESS;
}
C_Status get_version(const C_Device, size_t* value) {
  *value = OPENXPU_DRIVER_VERSION;
  return C_SUCCESS;
}
C_Status get_multi_process(const C_Device device, size_t* value) {
  *value = static_cast<size_t>(card(device->id).properties().workers);
  return C_SUCCESS;
}
C_Status get_max_threads_per_mp(const C_Device, size_t* value) {
  *value = 1;
  return C_SUCCESS;
}
C_Status get_max_threads_per_block(const C_Device, size_t* value) {
  *value = 1;
  return C_SUCCESS;
}
C_Status get_max_grid_dim_size(const C_Device, std::array<unsigned int, 3>* value) {
  *value = {0x7fffffffu, 0x7fffffffu, 0x7fffffffu};
  return C_SUCCESS;
}
C_Status supported(const C_Device, bool* value) {
  *value = true;
  return C_SUCCESS;
}
C_Status not_supported(const C_Device, bool* value) {
  *value = false;
  return C_SUCCESS;
}

}  // namespace

int current_card_number() { return current_card; }

void copy_for_paddle(int card, void* dst, const void* src, size_t bytes, openxpu_copy_kind kind,
                     void* stream) {
  C_Device_st number{card};
  set_device(&number);
  const auto queue = static_cast<C_Stream>(stream);
  if (kind == OPENXPU_CARD_TO_HOST)
    async_copy_d2h(&number, queue, dst, src, bytes);
  else if (kind == OPENXPU_HOST_TO_CARD)
    async_copy_h2d(&number, queue, dst, src, bytes);
  else
    async_copy_d2d(&number, queue, dst, src, bytes);
}

void fill_device_interface(C_DeviceInterface* table) {
  table->initialize = Guarded<initialize>::call;
  table->finalize = Guarded<finalize>::call;
  table->init_device = Guarded<init_device>::call;
  table->deinit_device = Guarded<deinit_device>::call;
  table->set_device = Guarded<set_device>::call;
  table->get_device = Guarded<get_device>::call;
  table->synchronize_device = Guarded<synchronize_device>::call;
  table->get_device_count = Guarded<get_device_count>::call;
  table->get_device_list = Guarded<get_device_list>::call;

  table->create_stream = Guarded<create_stream>::call;
  table->destroy_stream = Guarded<destroy_stream>::call;
  table->query_stream = Guarded<query_stream>::call;
  table->synchronize_stream = Guarded<synchronize_stream>::call;
  table->stream_add_callback = Guarded<stream_add_callback>::call;
  table->create_event = Guarded<create_event>::call;
  table->record_event = Guarded<record_event>::call;
  table->destroy_event = Guarded<destroy_event>::call;
  table->query_event = Guarded<query_event>::call;
  table->synchronize_event = Guarded<synchronize_event>::call;
  table->stream_wait_event = Guarded<stream_wait_event>::call;

  table->device_memory_allocate = Guarded<device_memory_allocate>::call;
  table->device_memory_deallocate = Guarded<device_memory_deallocate>::call;
  table->device_memory_set = Guarded<device_memory_set>::call;
  table->host_memory_allocate = Guarded<host_memory_allocate>::call;
  table->host_memory_deallocate = Guarded<host_memory_deallocate>::call;
  table->memory_copy_h2d = Guarded<copy_h2d>::call;
  table->memory_copy_d2h = Guarded<copy_d2h>::call;
  table->memory_copy_d2d = Guarded<copy_d2d>::call;
  table->memory_copy_p2p = Guarded<copy_p2p>::call;
  table->async_memory_copy_h2d = Guarded<async_copy_h2d>::call;
  table->async_memory_copy_d2h = Guarded<async_copy_d2h>::call;
  table->async_memory_copy_d2d = Guarded<async_copy_d2d>::call;
  table->async_memory_copy_p2p = Guarded<async_copy_p2p>::call;
  table->device_memory_stats = Guarded<device_memory_stats>::call;
  table->device_min_chunk_size = Guarded<device_min_chunk_size>::call;
  table->device_max_chunk_size = Guarded<device_max_size>::call;
  table->device_max_alloc_size = Guarded<device_max_size>::call;
  table->device_extra_padding_size = Guarded<device_extra_padding_size>::call;

  table->get_compute_capability = Guarded<get_compute_capability>::call;
  table->get_runtime_version = Guarded<get_version>::call;
  table->get_driver_version = Guarded<get_version>::call;
  table->get_multi_process = Guarded<get_multi_process>::call;
  table->get_max_threads_per_mp = Guarded<get_max_threads_per_mp>::call;
  table->get_max_threads_per_block = Guarded<get_max_threads_per_block>::call;
  table->get_max_grid_dim_size = Guarded<get_max_grid_dim_size>::call;
  table->is_float16_supported = Guarded<supported>::call;
  table->is_bfloat16_supported = Guarded<supported>::call;
  table->is_dnn_supported = Guarded<not_supported>::call;
}

}  // namespace openxpu::paddle_plugin
