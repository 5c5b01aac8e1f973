// openxpu._runtime.Communicator: collectives over arrays in card memory.
#include "collectives.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <structmember.h>

#include <cstring>
#include <string>
#include <vector>

#include "communicator.h"
#include "transport.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace openxpu {
namespace {

constexpr const char* kTypes[] = {"bool", "u8",   "i8",  "i16", "i32", "i64",
                                  "f16",  "bf16", "f32", "f64", "c64", "c128"};
constexpr const char* kOps[] = {"sum", "prod", "min", "max", "avg"};

[[noreturn]] void refuse(const std::string& sentence) { throw nb::value_error(sentence.c_str()); }

ReduceOp op_of(const char* name) {
  std::string known;
  for (uint32_t i = 0; i < std::size(kOps); i++) {
    if (std::strcmp(name, kOps[i]) == 0) return static_cast<ReduceOp>(i);
    known += (i ? ", " : "") + std::string(kOps[i]);
  }
  refuse("\"" + std::string(name) + "\" is no reduction; known are " + known);
}

// The slots of openxpu.Array are on the path of every call, so they are read where they lie.
struct Slots {
  PyTypeObject* type = nullptr;
  Py_ssize_t shape = 0, dtype = 0, address = 0, strides = 0;

  static const Slots& of_array() {
    static const Slots* const found = [] {
      auto* slots = new Slots;  // lives until the process ends, as the type does
      nb::object array = nb::module_::import_("openxpu.runtime.array").attr("Array");
      slots->shape = place(array, "shape");
      slots->dtype = place(array, "dtype");
      slots->address = place(array, "_address");
      slots->strides = place(array, "strides");
      slots->type = reinterpret_cast<PyTypeObject*>(array.release().ptr());
      return slots;
    }();
    return *found;
  }

 private:
  static Py_ssize_t place(nb::handle type, const char* name) {
    nb::object member = type.attr(name);
    if (Py_TYPE(member.ptr()) != &PyMemberDescr_Type)
      throw nb::type_error((std::string("openxpu.Array has no slot ") + name).c_str());
    return reinterpret_cast<PyMemberDescrObject*>(member.ptr())->d_member->offset;
  }
};

uint32_t type_number(PyObject* dtype) {
  static PyObject** const names = [] {
    auto** made = new PyObject*[std::size(kTypes)];
    for (size_t i = 0; i < std::size(kTypes); i++) made[i] = PyUnicode_InternFromString(kTypes[i]);
    return made;
  }();
  for (uint32_t i = 0; i < std::size(kTypes); i++)
    if (dtype == names[i]) return i;
  for (uint32_t i = 0; i < std::size(kTypes); i++)
    if (PyUnicode_Check(dtype) && PyUnicode_Compare(dtype, names[i]) == 0) return i;
  refuse("an array has the dtype " + nb::cast<std::string>(nb::str(dtype)) +
         ", which no collective knows");
}

int64_t number_at(PyObject* tuple, size_t i) {
  return PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, static_cast<Py_ssize_t>(i)));
}

// What a collective needs to know of an array.
struct Operand {
  nb::handle shape, dtype;  // the array's own
  uint64_t address = 0, count = 1;
  DataType type = DataType::kBool;
  bool contiguous = true;

  explicit Operand(nb::handle array) {
    const Slots& slots = Slots::of_array();
    if (!PyObject_TypeCheck(array.ptr(), slots.type))
      throw nb::type_error((std::string("collectives take arrays in card memory, openxpu.Array; "
                                        "given was a ") +
                            Py_TYPE(array.ptr())->tp_name)
                               .c_str());
    const auto slot = [&](Py_ssize_t place) {
      return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(array.ptr()) + place);
    };
    shape = slot(slots.shape);
    dtype = slot(slots.dtype);
    PyObject* strides = slot(slots.strides);
    address = PyLong_AsUnsignedLongLong(slot(slots.address));
    for (size_t i = rank(); i-- > 0;) {
      const auto extent = static_cast<uint64_t>(number_at(shape.ptr(), i));
      if (extent != 1 && number_at(strides, i) != static_cast<int64_t>(count)) contiguous = false;
      count *= extent;
    }
    if (PyErr_Occurred()) throw nb::python_error();
    contiguous |= count == 0;
    type = static_cast<DataType>(type_number(dtype.ptr()));
  }

  size_t rank() const { return static_cast<size_t>(PyTuple_GET_SIZE(shape.ptr())); }
  void* data() const { return reinterpret_cast<void*>(address); }
  std::string text() const {
    return nb::cast<std::string>(dtype) + " of shape " + nb::cast<std::string>(nb::str(shape));
  }
  // Whether dimensions [skip, ...) are those of `other` from `other_skip` on.
  bool ends_like(const Operand& other, size_t skip, size_t other_skip) const {
    if (rank() - skip != other.rank() - other_skip) return false;
    for (size_t i = skip; i < rank(); i++)
      if (extent(i) != other.extent(i - skip + other_skip)) return false;
    return true;
  }
  uint64_t extent(size_t i) const { return static_cast<uint64_t>(number_at(shape.ptr(), i)); }
};

Operand input(nb::handle array) {
  Operand found(array);
  if (!found.contiguous) refuse("collectives take contiguous arrays; call clone() first");
  return found;
}

// `fits`: its shape is `wanted`, which is words for a person.
Operand output(nb::handle array, const Operand& like,
               bool (*fits)(const Operand& out, const Operand& in, int ranks), int ranks,
               const char* wanted) {
  Operand found(array);
  if (found.type != like.type || !found.contiguous || !fits(found, like, ranks))
    refuse("the output has to be a contiguous " + nb::cast<std::string>(like.dtype) + " array " +
           wanted + ", which is " + nb::cast<std::string>(nb::str(like.shape)) + "; given was " +
           found.text() + (found.contiguous ? "" : ", not contiguous"));
  return found;
}

bool same_shape(const Operand& out, const Operand& in, int) { return out.ends_like(in, 0, 0); }

// Enqueues without the interpreter lock: a call may wait a moment for the other ranks.
template <typename F>
void call(Communicator& c, Stream* stream, const F& f) {
  Stream& on = stream ? *stream : c.card().current_stream();
  nb::gil_scoped_release release;
  f(on);
}

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
  // Streams are native ones; None is the card's current one.
  nb::class_<Communicator>(m, "Communicator",
                           "The ranks of a group; make one with create_communicator().")
      .def_prop_ro("ranks", &Communicator::ranks)
      .def_prop_ro("rank", &Communicator::rank)
      .def_prop_ro("name", [](const Communicator& c) { return c.name(); })
      .def("path", &Communicator::path, "peer"_a)
      .def(
          "all_reduce",
          [](Communicator& c, nb::handle x, nb::handle out, const char* op, Stream* stream) {
            const ReduceOp how = op_of(op);
            const Operand in = input(x);
            const Operand to = output(out, in, same_shape, 1, "of the input's shape");
            call(c, stream,
                 [&](Stream& s) { c.all_reduce(in.data(), to.data(), in.count, in.type, how, s); });
          },
          "x"_a, "out"_a, "op"_a, "stream"_a.none())
      .def(
          "reduce",
          [](Communicator& c, nb::handle x, nb::handle out, const char* op, int root,
             Stream* stream) {
            const ReduceOp how = op_of(op);
            const Operand in = input(x);
            void* to = nullptr;
            if (!out.is_none()) to = output(out, in, same_shape, 1, "of the input's shape").data();
            call(c, stream,
                 [&](Stream& s) { c.reduce(in.data(), to, in.count, in.type, how, root, s); });
          },
          "x"_a, "out"_a.none(), "op"_a, "root"_a, "stream"_a.none())
      .def(
          "broadcast",
          [](Communicator& c, nb::handle x, int root, Stream* stream) {
            const Operand in = input(x);
            call(c, stream,
                 [&](Stream& s) { c.broadcast(in.data(), in.data(), in.count, in.type, root, s); });
          },
          "x"_a, "root"_a, "stream"_a.none())
      .def(
          "all_gather",
          [](Communicator& c, nb::handle x, nb::handle out, Stream* stream) {
            const Operand in = input(x);
            const Operand to = output(
                out, in,
                [](const Operand& o, const Operand& i, int ranks) {
                  return o.rank() == i.rank() + 1 && o.extent(0) == static_cast<uint64_t>(ranks) &&
                         o.ends_like(i, 1, 0);
                },
                c.ranks(), "with the ranks before the input's shape");
            call(c, stream,
                 [&](Stream& s) { c.all_gather(in.data(), to.data(), in.count, in.type, s); });
          },
          "x"_a, "out"_a, "stream"_a.none())
      .def(
          "reduce_scatter",
          [](Communicator& c, nb::handle x, nb::handle out, const char* op, Stream* stream) {
            const ReduceOp how = op_of(op);
            const Operand in = input(x);
            const Operand to = output(
                out, in,
                [](const Operand& o, const Operand& i, int ranks) {
                  return i.rank() > 0 && i.extent(0) == static_cast<uint64_t>(ranks) &&
                         o.ends_like(i, 0, 1);
                },
                c.ranks(), "of the input's shape without its first dimension, the ranks");
            call(c, stream, [&](Stream& s) {
              c.reduce_scatter(in.data(), to.data(), to.count, in.type, how, s);
            });
          },
          "x"_a, "out"_a, "op"_a, "stream"_a.none())
      .def(
          "all_to_all",
          [](Communicator& c, nb::sequence inputs, nb::sequence outputs, Stream* stream) {
            const auto ranks = static_cast<size_t>(c.ranks());
            if (nb::len(inputs) != ranks || nb::len(outputs) != ranks)
              refuse("all_to_all takes an input and an output for each of " +
                     std::to_string(ranks) + " ranks; given were " +
                     std::to_string(nb::len(inputs)) + " and " + std::to_string(nb::len(outputs)));
            std::vector<const void*> in(ranks);
            std::vector<void*> out(ranks);
            std::vector<uint64_t> in_counts(ranks), out_counts(ranks);
            DataType type{};
            for (size_t p = 0; p < ranks; p++) {
              const Operand from = input(inputs[p]), to = input(outputs[p]);
              if (p == 0) type = from.type;
              for (const Operand* one : {&from, &to})
                if (one->type != type)
                  throw nb::type_error(
                      (std::string("all_to_all takes arrays of one dtype; given were ") +
                       kTypes[static_cast<uint32_t>(type)] + ", " +
                       kTypes[static_cast<uint32_t>(one->type)])
                          .c_str());
              in[p] = from.data();
              out[p] = to.data();
              in_counts[p] = from.count;
              out_counts[p] = to.count;
            }
            call(c, stream,
                 [&](Stream& s) { c.all_to_all(in, in_counts, out, out_counts, type, s); });
          },
          "inputs"_a, "outputs"_a, "stream"_a.none())
      .def(
          "barrier",
          [](Communicator& c, Stream* stream) {
            call(c, stream, [&](Stream& s) { c.barrier(s); });
          },
          "stream"_a.none())
      .def(
          "send",
          [](Communicator& c, nb::handle x, int to, Stream* stream) {
            const Operand in = input(x);
            call(c, stream, [&](Stream& s) { c.send(in.data(), in.count, in.type, to, s); });
          },
          "x"_a, "to"_a, "stream"_a.none())
      .def(
          "receive",
          [](Communicator& c, nb::handle out, int source, Stream* stream) {
            const Operand to = input(out);
            call(c, stream, [&](Stream& s) { c.receive(to.data(), to.count, to.type, source, s); });
          },
          "out"_a, "source"_a, "stream"_a.none());
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
