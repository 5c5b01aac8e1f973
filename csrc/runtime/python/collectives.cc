// openxpu._runtime.Communicator: collectives over addresses of card memory.
#include "collectives.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "communicator.h"
#include "transport.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace openxpu {
namespace {

template <typename Enum>
Enum number_of(const std::string& name, std::initializer_list<const char*> names,
               const char* what) {
  uint32_t i = 0;
  for (const char* known : names) {
    if (name == known) return static_cast<Enum>(i);
    i++;
  }
  std::string all;
  for (const char* known : names) all += (all.empty() ? "" : ", ") + std::string(known);
  throw nb::value_error(
      (std::string("\"") + name + "\" is no " + what + " of a collective; known are " + all + ".")
          .c_str());
}

DataType type_of(const std::string& name) {
  return number_of<DataType>(
      name, {"bool", "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64", "c64", "c128"},
      "dtype");
}
ReduceOp op_of(const std::string& name) {
  return number_of<ReduceOp>(name, {"sum", "prod", "min", "max", "avg"}, "operation");
}

template <typename Pointer>
std::vector<Pointer> pointers(const std::vector<uint64_t>& addresses) {
  std::vector<Pointer> found;
  for (const uint64_t a : addresses) found.push_back(reinterpret_cast<Pointer>(a));
  return found;
}

const void* from(uint64_t address) { return reinterpret_cast<const void*>(address); }
void* to(uint64_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

void bind_collectives(nb::module_& m) {
  m.def(
      "make_unique_id",
      [](const std::string& address) {
        const UniqueId id = make_unique_id(address);
        return nb::bytes(reinterpret_cast<const char*>(&id), sizeof id);
      },
      "address"_a = "");
  m.def("set_transport_folder", &set_transport_folder, "folder"_a);
  nb::class_<Communicator>(m, "Communicator",
                           "The ranks of a group; make one with create_communicator().")
      .def_prop_ro("ranks", &Communicator::ranks)
      .def_prop_ro("rank", &Communicator::rank)
      .def_prop_ro("name", [](const Communicator& c) { return c.name(); })
      .def(
          "all_reduce",
          [](Communicator& c, uint64_t in, uint64_t out, uint64_t count, const std::string& type,
             const std::string& op,
             Stream& s) { c.all_reduce(from(in), to(out), count, type_of(type), op_of(op), s); },
          "input"_a, "output"_a, "count"_a, "dtype"_a, "op"_a, "stream"_a)
      .def(
          "reduce",
          [](Communicator& c, uint64_t in, uint64_t out, uint64_t count, const std::string& type,
             const std::string& op, int root,
             Stream& s) { c.reduce(from(in), to(out), count, type_of(type), op_of(op), root, s); },
          "input"_a, "output"_a, "count"_a, "dtype"_a, "op"_a, "root"_a, "stream"_a)
      .def(
          "broadcast",
          [](Communicator& c, uint64_t in, uint64_t out, uint64_t count, const std::string& type,
             int root,
             Stream& s) { c.broadcast(from(in), to(out), count, type_of(type), root, s); },
          "input"_a, "output"_a, "count"_a, "dtype"_a, "root"_a, "stream"_a)
      .def(
          "all_gather",
          [](Communicator& c, uint64_t in, uint64_t out, uint64_t count, const std::string& type,
             Stream& s) { c.all_gather(from(in), to(out), count, type_of(type), s); },
          "input"_a, "output"_a, "count"_a, "dtype"_a, "stream"_a)
      .def(
          "reduce_scatter",
          [](Communicator& c, uint64_t in, uint64_t out, uint64_t count, const std::string& type,
             const std::string& op, Stream& s) {
            c.reduce_scatter(from(in), to(out), count, type_of(type), op_of(op), s);
          },
          "input"_a, "output"_a, "count"_a, "dtype"_a, "op"_a, "stream"_a)
      .def(
          "all_to_all",
          [](Communicator& c, const std::vector<uint64_t>& in,
             const std::vector<uint64_t>& in_counts, const std::vector<uint64_t>& out,
             const std::vector<uint64_t>& out_counts, const std::string& type, Stream& s) {
            c.all_to_all(pointers<const void*>(in), in_counts, pointers<void*>(out), out_counts,
                         type_of(type), s);
          },
          "inputs"_a, "input_counts"_a, "outputs"_a, "output_counts"_a, "dtype"_a, "stream"_a)
      .def("barrier", &Communicator::barrier, "stream"_a)
      .def(
          "send",
          [](Communicator& c, uint64_t in, uint64_t count, const std::string& type, int peer,
             Stream& s) { c.send(from(in), count, type_of(type), peer, s); },
          "input"_a, "count"_a, "dtype"_a, "to"_a, "stream"_a)
      .def(
          "receive",
          [](Communicator& c, uint64_t out, uint64_t count, const std::string& type, int peer,
             Stream& s) { c.receive(to(out), count, type_of(type), peer, s); },
          "output"_a, "count"_a, "dtype"_a, "source"_a, "stream"_a);
  m.def(
      "create_communicator",
      [](nb::bytes id, int ranks, int rank, Card& card) {
        UniqueId unique{};
        if (id.size() != sizeof unique)
          throw nb::value_error(
              "A unique id of a communicator comes from make_unique_id() of rank 0.");
        std::memcpy(&unique, id.c_str(), sizeof unique);
        nb::gil_scoped_release release;
        return Communicator::create(unique, ranks, rank, card);
      },
      "unique_id"_a, "ranks"_a, "rank"_a, "card"_a);
}

}  // namespace openxpu
