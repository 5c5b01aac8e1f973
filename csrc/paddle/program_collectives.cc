// Collectives of programs: the kernels, and the device context of a group. A kernel that names a
// group runs on the device context of its communicator, which Paddle makes for GPUs only; here it
// is the card's own stream and memory.
#include "card.h"
#include "card_group.h"
#include "device.h"
#include "error.h"
#include "kernel_table.h"
#include "paddle/phi/backends/context_pool.h"
#include "paddle/phi/backends/device_manager.h"
// Its one instance is a static of an inline function: Paddle's, not a hidden one of this library.
#pragma GCC visibility push(default)
#include "paddle/phi/core/distributed/comm_context_manager.h"
#pragma GCC visibility pop
#include "profiler.h"

namespace openxpu::paddle_plugin {
namespace {

using phi::distributed::XCCLCommContext;

template <typename T>
const T& as(const void* pointer) {
  return *static_cast<const T*>(pointer);
}

// The group of a call, its input and its output, which has memory then.
struct Exchange {
  Exchange(const phi::CustomContext& context, const void* input, const void* output)
      : value(tensor_of(as<phi::DenseTensor>(input))),
        group(static_cast<XCCLCommContext*>(context.GetCommContext())),
        in(dense(value)),
        out(as<phi::DenseTensor*>(output)),
        stream(context.stream()) {
    if (group == nullptr)
      throw Error("A collective of a program names a group that has no communicator on this card.");
    context.Alloc(out, in.dtype());
  }

  const paddle::Tensor value;
  XCCLCommContext* group;
  phi::DenseTensor& in;
  phi::DenseTensor* out;
  phi::stream::stream_t stream;
};

// (x, reduce_type, out)
void all_reduce(const phi::CustomContext& context, const void* const* args) {
  const Exchange e(context, args[0], args[2]);
  e.group->AllReduce(e.out, e.in, phi::ccl::ToXCCLReduceOp(as<int>(args[1])), e.stream);
}
// (x, nranks, out)
void all_gather(const phi::CustomContext& context, const void* const* args) {
  const Exchange e(context, args[0], args[2]);
  e.group->AllGather(e.out, e.in, e.stream);
}
// (x, nranks, out)
void reduce_scatter(const phi::CustomContext& context, const void* const* args) {
  const Exchange e(context, args[0], args[2]);
  e.group->ReduceScatter(e.out, e.in, phi::ccl::CCLReduceOp::SUM, e.stream);
}
// (x, root, out)
void broadcast(const phi::CustomContext& context, const void* const* args) {
  const Exchange e(context, args[0], args[2]);
  e.group->Broadcast(e.out, e.in, as<int>(args[1]), e.stream);
  if (e.group->GetRank() != as<int>(args[1]) || e.out->data() == e.in.data()) return;
  // Paddle sends the root's input and leaves its output to the library.
  auto& stream = *reinterpret_cast<Stream*>(e.stream);
  const EnqueueNote note(stream, 1);
  stream.copy(e.out->data(), e.in.data(), e.in.numel() * phi::SizeOf(e.in.dtype()),
              OPENXPU_CARD_TO_CARD);
}
// (x, out): part p of the outermost dimension goes to rank p.
void all_to_all(const phi::CustomContext& context, const void* const* args) {
  const Exchange e(context, args[0], args[1]);
  const size_t ranks = e.group->GetSize(), count = e.in.numel() / ranks;
  const size_t bytes = count * phi::SizeOf(e.in.dtype());
  std::vector<const void*> give;
  std::vector<void*> take;
  for (size_t p = 0; p < ranks; ++p) {
    give.push_back(static_cast<const char*>(e.in.data()) + p * bytes);
    take.push_back(static_cast<char*>(e.out->data()) + p * bytes);
  }
  const std::vector<size_t> counts(ranks, count);
  const std::vector<phi::DataType> dtypes(ranks, e.in.dtype());
  phi::DeviceManager::CCLAllToAll(e.in.place().GetDeviceType(), give.data(), counts.data(),
                                  dtypes.data(), take.data(), counts.data(), dtypes.data(),
                                  e.group->GetRank(), ranks, e.group->GetXcclComm(), e.stream);
}

}  // namespace

void connect_program_collectives() {
  find_kernel("all_reduce")->direct = all_reduce;
  find_kernel("all_gather")->direct = all_gather;
  find_kernel("reduce_scatter")->direct = reduce_scatter;
  find_kernel("broadcast")->direct = broadcast;
  find_kernel("all_to_all")->direct = all_to_all;
}

}  // namespace openxpu::paddle_plugin

// Called by openxpu/paddle/distributed/programs.py before and after it makes a communicator, which
// is of the calling thread's card.
extern "C" __attribute__((visibility("default"))) void openxpu_paddle_use_card(int number) {
  phi::DeviceManager::SetDevice(phi::CustomPlace("xpu", number));
}
extern "C" __attribute__((visibility("default"))) void openxpu_paddle_prepare_group(
    const char* name) {
  using namespace phi;  // NOLINT
  auto* group = static_cast<distributed::XCCLCommContext*>(
      distributed::CommContextManager::GetInstance().Get(name));
  if (group->GetDevContext() != nullptr) return;
  const CustomPlace place("xpu", openxpu::paddle_plugin::current_card_number());
  const auto* own = static_cast<CustomContext*>(DeviceContextPool::Instance().Get(place));
  auto context = std::make_unique<CustomContext>(place);
  context->SetAllocator(&own->GetAllocator());
  context->SetHostAllocator(&own->GetHostAllocator());
  context->SetZeroAllocator(&own->GetZeroAllocator());
  context->SetHostZeroAllocator(&own->GetHostZeroAllocator());
  context->SetGenerator(own->GetGenerator());
  context->SetStream(own->GetStream());
  context->SetCommContext(group);
  group->SetDevContext(std::move(context));
}
