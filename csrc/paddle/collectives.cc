// Communication between cards (the xccl_* part of Paddle's device table): Paddle's communicators,
// types and reductions as those of csrc/collectives, on the stream that Paddle names.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "communicator.h"
#include "device.h"
#include "errors.h"
#include "profiler.h"

namespace openxpu::paddle_plugin {
namespace {

Communicator& communicator_of(C_CCLComm comm) {
  if (comm == nullptr)
    throw Error("A collective was called on a group whose communicator is gone.");
  return *reinterpret_cast<Communicator*>(comm);
}
Stream& stream_of(C_Stream stream) { return *reinterpret_cast<Stream*>(stream); }

DataType type_of(C_DataType type) {
  switch (type) {
    case BOOL:
      return DataType::kBool;
    case UINT8:
      return DataType::kUint8;
    case INT8:
      return DataType::kInt8;
    case INT16:
      return DataType::kInt16;
    case INT32:
      return DataType::kInt32;
    case INT64:
      return DataType::kInt64;
    case FLOAT16:
      return DataType::kFloat16;
    case BFLOAT16:
      return DataType::kBfloat16;
    case FLOAT32:
      return DataType::kFloat32;
    case FLOAT64:
      return DataType::kFloat64;
    case COMPLEX64:
      return DataType::kComplex64;
    case COMPLEX128:
      return DataType::kComplex128;
    default:  // no kernel makes tensors of the other unsigned types
      throw Error("A collective got a tensor of a data type that cards do not exchange (number " +
                  std::to_string(static_cast<int>(type)) + "); cast it first.");
  }
}

ReduceOp op_of(C_CCLReduceOp op) {
  switch (op) {
    case SUM:
      return ReduceOp::kSum;
    case AVG:
      return ReduceOp::kAverage;
    case MAX:
      return ReduceOp::kMax;
    case MIN:
      return ReduceOp::kMin;
    case PRODUCT:
      return ReduceOp::kProduct;
  }
  throw Error("A reduction between cards has the unknown number " +
              std::to_string(static_cast<int>(op)) + "; give SUM, PROD, MIN, MAX or AVG.");
}

// Errors reach Paddle as its own, with the engine's sentence.
template <typename F>
C_Status guarded(F&& body) {
  try {
    body();
  } catch (...) {
    rethrow_for_paddle();
  }
  return C_SUCCESS;
}

// A collective is one command of the stream.
template <typename F>
C_Status enqueue(C_Stream stream, F&& body) {
  return guarded([&] {
    const EnqueueNote note(stream_of(stream), 1);
    body(stream_of(stream));
  });
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}
std::string host_of(const std::string& endpoint) {  // of "10.0.0.1:6070" or "[fd00::1]:6070"
  const std::string host = endpoint.substr(0, endpoint.rfind(':'));
  return host.size() > 2 && host[0] == '[' ? host.substr(1, host.size() - 2) : host;
}

// Where ranks of other machines find this one: "" where Paddle's launcher says that there are none.
std::string own_address() {
  if (const std::string chosen = variable("OPENXPU_ADDRESS"); !chosen.empty()) return chosen;
  const std::string own = host_of(variable("PADDLE_CURRENT_ENDPOINT"));
  std::stringstream all(variable("PADDLE_TRAINER_ENDPOINTS"));
  for (std::string endpoint; std::getline(all, endpoint, ',');)
    if (host_of(endpoint) != own) return own;
  return "";
}

C_Status unique_id_size(size_t* size) {
  *size = sizeof(UniqueId);
  return C_SUCCESS;
}
C_Status unique_id(C_CCLRootId* out) {
  return guarded([&] {
    const UniqueId id = make_unique_id(own_address());
    std::memcpy(out->data, &id, sizeof id);
  });
}
C_Status init_rank(size_t ranks, C_CCLRootId* unique_id, size_t rank, C_CCLComm* comm) {
  return guarded([&] {
    UniqueId id;
    if (unique_id->sz != sizeof id)
      throw Error("The name of a group of cards has " + std::to_string(unique_id->sz) +
                  " bytes instead of " + std::to_string(sizeof id) +
                  "; do all ranks run the same version of OpenXPU?");
    std::memcpy(&id, unique_id->data, sizeof id);
    auto communicator = Communicator::create(id, static_cast<int>(ranks), static_cast<int>(rank),
                                             card(current_card_number()));
    *comm = reinterpret_cast<C_CCLComm>(communicator.release());
  });
}
C_Status destroy(C_CCLComm comm) {
  return guarded([&] { delete reinterpret_cast<Communicator*>(comm); });
}
C_Status comm_name(C_CCLComm comm, char* name) {
  return guarded([&] {
    constexpr size_t kRoom = 128;  // what Paddle's callers have
    std::snprintf(name, kRoom, "%s", communicator_of(comm).name().c_str());
  });
}

C_Status all_reduce(void* send, void* recv, size_t count, C_DataType type, C_CCLReduceOp op,
                    C_CCLComm comm, C_Stream stream) {
  return enqueue(stream, [&](Stream& s) {
    communicator_of(comm).all_reduce(send, recv, count, type_of(type), op_of(op), s);
  });
}
C_Status broadcast(void* buffer, size_t count, C_DataType type, size_t root, C_CCLComm comm,
                   C_Stream stream) {
  return enqueue(stream, [&](Stream& s) {
    communicator_of(comm).broadcast(buffer, buffer, count, type_of(type), static_cast<int>(root),
                                    s);
  });
}
C_Status reduce(void* send, void* recv, size_t count, C_DataType type, C_CCLReduceOp op,
                size_t root, C_CCLComm comm, C_Stream stream) {
  return enqueue(stream, [&](Stream& s) {
    communicator_of(comm).reduce(send, recv, count, type_of(type), op_of(op),
                                 static_cast<int>(root), s);
  });
}
C_Status all_gather(void* send, void* recv, size_t count, C_DataType type, C_CCLComm comm,
                    C_Stream stream) {
  return enqueue(stream, [&](Stream& s) {
    communicator_of(comm).all_gather(send, recv, count, type_of(type), s);
  });
}
C_Status reduce_scatter(void* send, void* recv, size_t count, C_DataType type, C_CCLReduceOp op,
                        C_CCLComm comm, C_Stream stream) {
  return enqueue(stream, [&](Stream& s) {
    communicator_of(comm).reduce_scatter(send, recv, count, type_of(type), op_of(op), s);
  });
}
C_Status send(void* buffer, size_t count, C_DataType type, size_t peer, C_CCLComm comm,
              C_Stream stream) {
  return enqueue(stream, [&](Stream& s) {
    communicator_of(comm).send(buffer, count, type_of(type), static_cast<int>(peer), s);
  });
}
C_Status receive(void* buffer, size_t count, C_DataType type, size_t peer, C_CCLComm comm,
                 C_Stream stream) {
  return enqueue(stream, [&](Stream& s) {
    communicator_of(comm).receive(buffer, count, type_of(type), static_cast<int>(peer), s);
  });
}
C_Status all_to_all(const void** send, const size_t* send_counts, const C_DataType* send_types,
                    void** recv, const size_t* recv_counts, const C_DataType* recv_types, size_t,
                    size_t ranks, C_CCLComm comm, C_Stream stream) {
  return enqueue(stream, [&](Stream& s) {
    for (size_t i = 0; i < ranks; ++i)
      if (send_types[i] != send_types[0] || recv_types[i] != send_types[0])
        throw Error("An all-to-all got tensors of several data types; cast them to one.");
    // No braces: two pointers to pointers would be a list of two pointers.
    communicator_of(comm).all_to_all(std::vector<const void*>(send, send + ranks),
                                     std::vector<uint64_t>(send_counts, send_counts + ranks),
                                     std::vector<void*>(recv, recv + ranks),
                                     std::vector<uint64_t>(recv_counts, recv_counts + ranks),
                                     type_of(send_types[0]), s);
  });
}

// Sends do not wait for their receivers, so the calls of a group need not begin together.
C_Status group_boundary() { return C_SUCCESS; }

}  // namespace

void fill_collective_interface(C_DeviceInterface* table) {
  table->xccl_get_comm_name = comm_name;
  table->xccl_get_unique_id_size = unique_id_size;
  table->xccl_get_unique_id = unique_id;
  table->xccl_comm_init_rank = init_rank;
  table->xccl_destroy_comm = destroy;
  table->xccl_all_reduce = all_reduce;
  table->xccl_broadcast = broadcast;
  table->xccl_reduce = reduce;
  table->xccl_all_gather = all_gather;
  table->xccl_reduce_scatter = reduce_scatter;
  table->xccl_all_to_all = all_to_all;
  table->xccl_send = send;
  table->xccl_recv = receive;
  table->xccl_group_start = group_boundary;
  table->xccl_group_end = group_boundary;
}

}  // namespace openxpu::paddle_plugin
