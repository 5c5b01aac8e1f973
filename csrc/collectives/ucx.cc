// Transport over UCX: tagged messages by TCP, or by RDMA where the machine has it.
#include <sys/stat.h>
#include <ucp/api/ucp.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>

#include "host/gate.h"
#include "transport.h"

namespace openxpu::collectives {
namespace {

void check(ucs_status_t status, const char* what) {
  if (status != UCS_OK)
    throw std::runtime_error(std::string(what) + ": " + ucs_status_string(status));
}

// One for each process, made for the interface of the first communicator.
ucp_context_h context(const std::string& interface) {
  static ucp_context_h made = nullptr;
  if (made) return made;
  ucp_config_t* config = nullptr;
  check(ucp_config_read(nullptr, nullptr, &config), "reading its settings");
  struct stat found{};
  const bool rdma = stat("/sys/class/infiniband", &found) == 0;
  // Ranks that share memory do not come here. Without RDMA the one interface is named, because the
  // others (loopback, bridges of containers) need not lead to the other machine.
  if (!std::getenv("UCX_TLS")) ucp_config_modify(config, "TLS", rdma ? "^shm" : "tcp");
  if (!std::getenv("UCX_NET_DEVICES") && !rdma && !interface.empty())
    ucp_config_modify(config, "NET_DEVICES", interface.c_str());
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED;
  params.features = UCP_FEATURE_TAG | UCP_FEATURE_WAKEUP;
  params.mt_workers_shared = 1;
  ucp_context_h context = nullptr;
  const ucs_status_t status = ucp_init_version(1, 11, &params, config, &context);
  ucp_config_release(config);
  check(status, "opening the network");
  return made = context;
}

class Ucx final : public Transport {
 public:
  explicit Ucx(const std::string& interface) {
    ucp_worker_params_t params{};
    params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
    params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
    check(ucp_worker_create(context(interface), &params, &worker_), "opening the network");
    ucp_address_t* bytes = nullptr;
    size_t size = 0;
    check(ucp_worker_get_address(worker_, &bytes, &size), "asking for its address");
    address_.assign(reinterpret_cast<const char*>(bytes), size);
    ucp_worker_release_address(worker_, bytes);
    check(ucp_worker_get_efd(worker_, &descriptor_), "asking for its descriptor");
  }

  ~Ucx() override {
    for (auto& [number, peer] : peers_)
      if (peer.endpoint) close(peer);
    ucp_worker_destroy(worker_);
  }

  std::string address() const override { return address_; }
  void set_peer(int peer, const std::string& address) override { peers_[peer].address = address; }

  void send(int number, uint64_t tag, const void* data, uint64_t bytes,
            Transfer& transfer) override {
    Peer& peer = peers_.at(number);
    if (!connect(peer)) {
      transfer.state.store(Transfer::kFailed, std::memory_order_release);
      return;
    }
    ucp_request_param_t params = parameters(transfer);
    params.cb.send = [](void* request, ucs_status_t status, void* data) {
      end(*static_cast<Transfer*>(data), request, status);
    };
    under_way++;
    begun(transfer, ucp_tag_send_nbx(peer.endpoint, data, bytes, tag, &params));
  }

  void receive(uint64_t tag, uint64_t mask, void* data, uint64_t bytes,
               Transfer& transfer) override {
    ucp_request_param_t params = parameters(transfer);
    // What was received is always told by the callback: releases differ in what they tell
    // otherwise.
    params.op_attr_mask |= UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
    params.cb.recv = [](void* request, ucs_status_t status, const ucp_tag_recv_info_t* found,
                        void* data) {
      auto& transfer = *static_cast<Transfer*>(data);
      transfer.tag = found->sender_tag;
      transfer.bytes = found->length;
      end(transfer, request, status);
    };
    under_way++;
    begun(transfer, ucp_tag_recv_nbx(worker_, data, bytes, tag, mask, &params));
  }

  bool progress() override { return ucp_worker_progress(worker_) != 0; }
  bool prepare_to_sleep() override { return ucp_worker_arm(worker_) == UCS_OK; }
  int descriptor() const override { return descriptor_; }
  void wake() override { ucp_worker_signal(worker_); }
  void flush(int64_t limit_ns) override {
    const ucp_request_param_t params{};
    await(ucp_worker_flush_nbx(worker_, &params), limit_ns);
  }
  std::string trouble(int peer) const override {
    const auto found = peers_.find(peer);
    return found == peers_.end() ? "" : found->second.trouble;
  }

 private:
  struct Peer {
    std::string address, trouble;
    ucp_ep_h endpoint = nullptr;
  };

  ucp_request_param_t parameters(Transfer& transfer) {
    ucp_request_param_t params{};
    params.op_attr_mask =
        UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
    params.memory_type = UCS_MEMORY_TYPE_HOST;
    params.user_data = &transfer;
    transfer.counter = &under_way;
    return params;
  }

  void begun(Transfer& transfer, ucs_status_ptr_t request) {
    if (request == nullptr || UCS_PTR_IS_ERR(request))
      end(transfer, nullptr, UCS_PTR_STATUS(request));
  }

  static void end(Transfer& transfer, void* request, ucs_status_t status) {
    if (request) ucp_request_free(request);
    transfer.counter->fetch_sub(1);
    transfer.state.store(status == UCS_OK                      ? Transfer::kDone
                         : status == UCS_ERR_MESSAGE_TRUNCATED ? Transfer::kTooLong
                                                               : Transfer::kFailed,
                         std::memory_order_release);
  }

  bool connect(Peer& peer) {
    if (!peer.trouble.empty()) return false;
    if (peer.endpoint) return true;
    ucp_ep_params_t params{};
    params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                        UCP_EP_PARAM_FIELD_ERR_HANDLER;
    params.address = reinterpret_cast<const ucp_address_t*>(peer.address.data());
    params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
    params.err_handler.cb = [](void* data, ucp_ep_h, ucs_status_t status) {
      static_cast<Peer*>(data)->trouble = ucs_status_string(status);
    };
    params.err_handler.arg = &peer;
    const ucs_status_t status = ucp_ep_create(worker_, &params, &peer.endpoint);
    if (status != UCS_OK) {
      peer.endpoint = nullptr;
      peer.trouble = ucs_status_string(status);
    }
    return status == UCS_OK;
  }

  void close(Peer& peer) {
    ucp_request_param_t params{};
    params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    params.flags = peer.trouble.empty() ? 0 : UCP_EP_CLOSE_FLAG_FORCE;
    await(ucp_ep_close_nbx(peer.endpoint, &params), 500'000'000);
  }

  void await(ucs_status_ptr_t request, int64_t limit_ns) {
    if (request == nullptr || UCS_PTR_IS_ERR(request)) return;
    const uint64_t end = host::now_ns() + static_cast<uint64_t>(limit_ns);
    while (ucp_request_check_status(request) == UCS_INPROGRESS && host::now_ns() < end)
      if (!ucp_worker_progress(worker_)) sched_yield();
    ucp_request_free(request);
  }

  ucp_worker_h worker_ = nullptr;
  std::string address_;
  int descriptor_ = -1;
  std::map<int, Peer> peers_;
};

}  // namespace
}  // namespace openxpu::collectives

extern "C" __attribute__((visibility("default"))) openxpu::collectives::Transport* openxpu_open_ucx(
    const char* interface, char* error, uint64_t error_bytes) {
  try {
    return new openxpu::collectives::Ucx(interface);
  } catch (const std::exception& e) {
    std::snprintf(error, error_bytes, "%s", e.what());
    return nullptr;
  }
}
