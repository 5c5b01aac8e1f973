// Card memory that goes back when its last Python owner goes.
#pragma once
#include <nanobind/nanobind.h>

#include <cstdint>
#include <utility>

#include "card.h"

namespace openxpu {

struct Buffer {
  Card& card;
  Stream* stream;  // null: any stream may still use the block when it is released
  nanobind::object stream_owner;
  uint64_t address, bytes;
  Buffer(Card& card, uint64_t bytes, nanobind::object stream_object)
      : card(card), stream(nullptr), stream_owner(std::move(stream_object)), bytes(bytes) {
    stream = stream_owner.is_none() ? nullptr : nanobind::cast<Stream*>(stream_owner);
    address = reinterpret_cast<uint64_t>(card.allocate(bytes, stream));
  }
  ~Buffer() { card.release(reinterpret_cast<void*>(address), stream); }
  Buffer(const Buffer&) = delete;

  // Work on `other` reads or writes the block: its release must wait for more than its own stream.
  void used_on(const Stream& other) {
    if (stream != &other) stream = nullptr;
  }
};

}  // namespace openxpu
