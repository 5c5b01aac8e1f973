// openxpu._runtime: cards, memory, streams, events, images, plans and the planner's Python half.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <tuple>

#include "buffer.h"
#include "card.h"
#include "collectives.h"
#include "environment.h"
#include "host/cpu.h"
#include "host/image.h"
#include "launcher.h"
#include "plan.h"
#include "planner.h"
#include "poison.h"
#include "records.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace openxpu {
namespace {

// Ctrl-C: waits release the interpreter lock and look for signals about every 50 ms.
Interrupt python_interrupt() {
  return [] {
    nb::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  };
}

template <typename Waitable>
void synchronize(Waitable& waitable) {
  nb::gil_scoped_release release;
  waitable.synchronize(python_interrupt());
}

// Nanobind keeps a Python object inside any shared_ptr that it makes, and dropping that on a
// stream's thread would need the interpreter. So Python holds plans at one remove.
struct PlanHandle {
  std::shared_ptr<Plan> plan;
};

template <typename Number>
Number number_at(const nb::tuple& slot, size_t i, const char* what) {
  if (i >= slot.size())
    throw nb::value_error((std::string("A \"") + what + "\" slot is too short.").c_str());
  return nb::cast<Number>(slot[i]);
}

uint64_t integer_bits(nb::handle value) {
  // Wider than 64 bits is an error; unsigned values above 2^63 keep their bits.
  nb::int_ whole = nb::int_(value);
  int overflow = 0;
  long long number = PyLong_AsLongLongAndOverflow(whole.ptr(), &overflow);
  if (overflow == 0) {
    if (number == -1 && PyErr_Occurred()) throw nb::python_error();
    return static_cast<uint64_t>(number);
  }
  unsigned long long large = PyLong_AsUnsignedLongLong(whole.ptr());
  if (PyErr_Occurred()) throw nb::python_error();
  return large;
}

Slot slot_from(nb::handle object) {
  auto tuple = nb::cast<nb::tuple>(object);
  auto kind = number_at<std::string>(tuple, 0, "?");
  auto offset = [&](size_t i) {
    return static_cast<uint64_t>(tuple.size() > i ? nb::cast<int64_t>(tuple[i]) : 0);
  };
  if (kind == "t") return {Slot::kTensor, number_at<uint32_t>(tuple, 1, "t"), offset(2)};
  if (kind == "w") return {Slot::kWorkspace, 0, offset(1)};
  if (kind == "c") return {Slot::kConstant, number_at<uint32_t>(tuple, 1, "c"), offset(2)};
  if (kind == "i") {
    if (tuple.size() < 2) throw nb::value_error("An \"i\" slot is too short.");
    return {Slot::kValue, 0, integer_bits(tuple[1])};
  }
  if (kind == "f32") {
    auto value = static_cast<float>(number_at<double>(tuple, 1, "f32"));
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return {Slot::kValue, 0, bits};
  }
  if (kind == "f64") {
    auto value = number_at<double>(tuple, 1, "f64");
    uint64_t bits;
    std::memcpy(&bits, &value, 8);
    return {Slot::kValue, 0, bits};
  }
  if (kind == "d") {
    auto index = number_at<uint32_t>(tuple, 1, "d");
    auto type = number_at<std::string>(tuple, 2, "d");
    if (type == "i64") return {Slot::kDynamicI64, index, 0};
    if (type == "i32") return {Slot::kDynamicI32, index, 0};
    if (type == "f32") return {Slot::kDynamicF32, index, 0};
    if (type == "f64") return {Slot::kDynamicF64, index, 0};
    throw nb::value_error(
        ("A dynamic slot of type \"" + type + "\"; known are i64 i32 f32 f64.").c_str());
  }
  if (kind == "k") return {Slot::kKept, 0, offset(1)};
  if (kind == "n") return {Slot::kCount, number_at<uint32_t>(tuple, 1, "n"), 0};
  if (kind == "seed") return {Slot::kSeed, 0, 0};
  if (kind == "offset") return {Slot::kOffset, 0, 0};
  throw nb::value_error(("A slot of kind \"" + kind +
                         "\"; known are t w c i f32 f64 d k n seed offset (docs/architecture.md).")
                            .c_str());
}

Scalar scalar_from(nb::handle object) {
  if (PyLong_Check(object.ptr())) return Scalar::Int(static_cast<int64_t>(integer_bits(object)));
  return Scalar::Float(nb::cast<double>(object));
}

void replay(const PlanHandle& plan, Stream& stream, nb::sequence tensors, nb::sequence dynamics,
            std::optional<uint64_t> kept, std::vector<int64_t> counts) {
  constexpr size_t kSmall = 32;
  void* small[kSmall];
  std::vector<void*> large;
  size_t count = nb::len(tensors);
  void** pointers = small;
  if (count > kSmall) {
    large.resize(count);
    pointers = large.data();
  }
  PyObject** items = nullptr;
  nb::object fast =
      nb::steal(PySequence_Fast(tensors.ptr(), "tensors must be a sequence of addresses"));
  if (!fast.is_valid()) throw nb::python_error();
  items = PySequence_Fast_ITEMS(fast.ptr());
  for (size_t i = 0; i < count; i++)
    pointers[i] = items[i] == Py_None ? nullptr : PyLong_AsVoidPtr(items[i]);
  if (PyErr_Occurred()) throw nb::python_error();
  std::vector<Scalar> scalars;
  for (nb::handle d : dynamics) scalars.push_back(scalar_from(d));
  plan.plan->replay_stage(stream, pointers, count, scalars.data(), scalars.size(),
                          reinterpret_cast<void*>(kept.value_or(0)), counts.data());
}

// Argument slots: ints as they are, floats as f32 (contract 1).
std::vector<uint64_t> argument_block(nb::sequence values) {
  std::vector<uint64_t> block;
  for (nb::handle value : values) {
    if (PyFloat_Check(value.ptr())) {
      auto narrow = static_cast<float>(nb::cast<double>(value));
      uint32_t bits;
      std::memcpy(&bits, &narrow, 4);
      block.push_back(bits);
    } else {
      block.push_back(integer_bits(value));
    }
  }
  return block;
}

nb::dict stats_dict(const MemoryStats& s) {
  nb::dict d;
  d["limit"] = s.limit;
  d["used"] = s.used;
  d["peak"] = s.peak;
  d["reserved"] = s.reserved;
  d["largest_free"] = s.largest_free;
  d["live"] = s.live;
  d["allocations"] = s.allocations;
  d["workspace"] = s.workspace;
  return d;
}

nb::dict properties_dict(int id) {
  openxpu_properties p;
  if (driver().card_properties(id, &p) != OPENXPU_OK) throw Error(driver().last_error());
  nb::dict d;
  d["name"] = p.name;
  d["architecture"] = p.architecture;
  d["driver"] = driver().name;
  d["workers"] = p.workers;
  d["memory_limit"] = p.memory_limit;
  d["l1_bytes"] = p.l1_bytes;
  d["l2_bytes"] = p.l2_bytes;
  d["l3_bytes"] = p.l3_bytes;
  d["shared_memory"] = p.shared_memory != 0;
  return d;
}

openxpu_copy_kind copy_kind(const std::string& name) {
  if (name == "h2d") return OPENXPU_HOST_TO_CARD;
  if (name == "d2h") return OPENXPU_CARD_TO_HOST;
  if (name == "d2d") return OPENXPU_CARD_TO_CARD;
  throw nb::value_error(("A copy of kind \"" + name + "\"; known are h2d d2h d2d.").c_str());
}

void* pointer(uint64_t address) { return reinterpret_cast<void*>(address); }

nb::dlpack::dtype dlpack_dtype(DType dtype) {
  using nb::dlpack::dtype_code;
  auto code = [&]() -> int {
    switch (dtype) {
      case DType::kBool:
        return static_cast<int>(dtype_code::Bool);
      case DType::kU8:
        return static_cast<int>(dtype_code::UInt);
      case DType::kI8:
      case DType::kI16:
      case DType::kI32:
      case DType::kI64:
        return static_cast<int>(dtype_code::Int);
      case DType::kBF16:
        return static_cast<int>(dtype_code::Bfloat);
      case DType::kC64:
      case DType::kC128:
        return static_cast<int>(dtype_code::Complex);
      default:
        return static_cast<int>(dtype_code::Float);
    }
  }();
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(dtype_bytes(dtype) * 8), 1};
}

// ---- the planner
// ----------------------------------------------------------------------------------------------

nb::object to_python(const Argument& argument) {
  struct Visitor {
    nb::object operator()(const Absent&) const { return nb::none(); }
    nb::object operator()(const TensorMeta& t) const { return nb::cast(t); }
    nb::object operator()(const std::vector<std::variant<Absent, TensorMeta>>& list) const {
      nb::list out;
      for (const auto& item : list) {
        if (const auto* t = std::get_if<TensorMeta>(&item))
          out.append(nb::cast(*t));
        else
          out.append(nb::none());
      }
      return std::move(out);
    }
    nb::object operator()(bool v) const { return nb::bool_(v); }
    nb::object operator()(int64_t v) const { return nb::int_(v); }
    nb::object operator()(double v) const { return nb::float_(v); }
    nb::object operator()(const std::string& v) const { return nb::cast(v); }
    nb::object operator()(const std::vector<int64_t>& v) const { return nb::cast(v); }
    nb::object operator()(const std::vector<double>& v) const { return nb::cast(v); }
    nb::object operator()(DType v) const { return nb::cast(dtype_name(v)); }
    nb::object operator()(const DynamicScalar& v) const { return nb::cast(v); }
  };
  return std::visit(Visitor{}, argument);
}

// The sentence of a Python exception, without its trace.
[[noreturn]] void throw_plan_error(nb::python_error& error) {
  std::string type, sentence;
  try {
    type = nb::cast<std::string>(error.type().attr("__name__"));
    sentence = nb::cast<std::string>(nb::str(error.value()));
  } catch (...) {
    PyErr_Clear();
    type = "Exception";
    sentence = error.what();
  }
  // A defect in the planner deserves its trace; a refusal is a sentence.
  if (type != "Unsupported") sentence = type + ": " + sentence + "\n" + error.what();
  throw PlanError(type, sentence);
}

void set_python_planner(nb::object callable) {
  if (callable.is_none()) return set_planner(nullptr);
  PyObject* function =
      callable.release().ptr();  // for ever: C++ may copy it without the interpreter lock
  set_planner([function](const Request& request) -> std::shared_ptr<const Plan> {
    nb::gil_scoped_acquire gil;
    try {
      nb::list arguments;
      for (const Argument& a : request.arguments) arguments.append(to_python(a));
      nb::object result = nb::handle(function)(request.kernel, arguments);
      return nb::cast<PlanHandle&>(result).plan;
    } catch (nb::python_error& error) {
      throw_plan_error(error);
    } catch (nb::cast_error&) {
      throw PlanError("TypeError",
                      "The planner for kernel \"" + request.kernel + "\" did not return a Plan.");
    }
  });
}

void set_python_lookup(nb::object callable) {
  if (callable.is_none()) return set_dynamic_lookup(nullptr);
  PyObject* function = callable.release().ptr();
  set_dynamic_lookup([function](const std::string& kernel) {
    nb::gil_scoped_acquire gil;
    try {
      return nb::cast<std::vector<int>>(nb::handle(function)(kernel));
    } catch (nb::python_error& error) {
      throw_plan_error(error);
    }
  });
}

}  // namespace

NB_MODULE(_runtime, m) {
  m.doc() = "The run time of OpenXPU: cards, memory, streams, events, kernel images and plans.";
  nb::set_leak_warnings(
      false);  // plans and kernels live in module-level caches until the process ends

  static nb::exception<Error> error(m, "RuntimeError_", PyExc_RuntimeError);
  static nb::exception<OutOfMemory> out_of_memory(m, "OutOfMemory", error.ptr());
  static nb::exception<LaunchError> launch_error(m, "LaunchError", error.ptr());
  m.attr("Error") = error;

  nb::class_<Event>(m, "Event", "A point in a stream's queue.")
      .def(nb::init<>())
      .def("query", &Event::query)
      .def("synchronize", &synchronize<Event>)
      .def("elapsed_ms", &Event::elapsed_ms, "start"_a)
      .def_prop_ro("handle", [](const Event& e) { return reinterpret_cast<uint64_t>(e.handle()); });

  nb::class_<Card>(m, "Card", "A card. Open one with card(id).")
      .def_prop_ro("id", &Card::id)
      .def("properties", [](Card& c) { return properties_dict(c.id()); })
      .def(
          "allocate",
          [](Card& c, uint64_t bytes, Stream* s) {
            return reinterpret_cast<uint64_t>(c.allocate(bytes, s));
          },
          "nbytes"_a, "stream"_a = nb::none(), nb::call_guard<nb::gil_scoped_release>())
      .def(
          "release", [](Card& c, uint64_t address, Stream* s) { c.release(pointer(address), s); },
          "address"_a, "stream"_a = nb::none())
      .def(
          "owns", [](Card& c, uint64_t address) { return c.owns(pointer(address)); }, "address"_a)
      .def("memory_stats", [](Card& c) { return stats_dict(c.memory_stats()); })
      .def("reset_peak", &Card::reset_peak)
      .def("trim", &Card::trim, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("default_stream", &Card::default_stream, nb::rv_policy::reference)
      .def_prop_ro("current_stream", &Card::current_stream, nb::rv_policy::reference)
      .def("set_current_stream", &Card::set_current_stream, "stream"_a.none(),
           nb::keep_alive<1, 2>())
      .def("synchronize", &synchronize<Card>)
      .def(
          "copy_sync",
          [](Card& c, uint64_t dst, uint64_t src, uint64_t bytes, const std::string& kind) {
            auto k = copy_kind(kind);
            nb::gil_scoped_release release;
            c.copy_sync(pointer(dst), pointer(src), bytes, k);
          },
          "dst"_a, "src"_a, "nbytes"_a, "kind"_a)
      .def("set_seed", &Card::set_seed, "seed"_a)
      .def("set_philox", &Card::set_philox, "seed"_a, "offset"_a)
      .def("philox", &Card::philox)
      .def("busy_ns", &Card::busy_ns);

  nb::class_<Stream>(m, "Stream", "An in-order queue of work on a card.")
      .def(nb::init<Card&>(), "card"_a)
      .def_prop_ro("card", &Stream::card, nb::rv_policy::reference)
      .def_prop_ro("handle", [](const Stream& s) { return reinterpret_cast<uint64_t>(s.handle()); })
      .def("query", &Stream::query)
      .def("synchronize",
           [](Stream& stream) {
             if (!stream.synchronize_at_once()) synchronize(stream);
           })
      .def("wait", &Stream::wait, "event"_a)
      .def("record", &Stream::record, "event"_a)
      .def(
          "copy",
          [](Stream& s, uint64_t dst, uint64_t src, uint64_t bytes, const std::string& kind) {
            auto k = copy_kind(kind);
            nb::gil_scoped_release release;
            s.copy(pointer(dst), pointer(src), bytes, k);
          },
          "dst"_a, "src"_a, "nbytes"_a, "kind"_a)
      .def(
          "fill",
          [](Stream& s, uint64_t dst, int byte, uint64_t bytes) {
            s.fill(pointer(dst), byte, bytes);
          },
          "dst"_a, "byte"_a, "nbytes"_a, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "launch",
          [](Stream& s, uint64_t entry, std::tuple<uint32_t, uint32_t, uint32_t> grid,
             nb::sequence args, uint64_t scratch_bytes, uint64_t cost, nb::str name) {
            std::vector<uint64_t> block = argument_block(args);
            openxpu_launch launch{};
            launch.entry = entry;
            launch.args = block.data();
            launch.arg_count = static_cast<uint32_t>(block.size());
            launch.grid[0] = std::get<0>(grid);
            launch.grid[1] = std::get<1>(grid);
            launch.grid[2] = std::get<2>(grid);
            launch.scratch_bytes = scratch_bytes;
            launch.cost = cost;
            // Kernel names are few; interned strings live until the process ends.
            PyObject* interned = name.release().ptr();
            PyUnicode_InternInPlace(&interned);
            launch.name = PyUnicode_AsUTF8(interned);
            s.launch(launch);
          },
          "entry"_a, "grid"_a, "args"_a, "scratch_bytes"_a = 0, "cost"_a = 0, "name"_a = "kernel");

  nb::class_<Buffer>(m, "Buffer", "Card memory that is released with its last owner.")
      .def(nb::init<Card&, uint64_t, nb::object>(), "card"_a, "nbytes"_a,
           "stream"_a.none() = nb::none(), nb::keep_alive<1, 2>())
      .def_prop_ro("address", [](const Buffer& b) { return b.address; })
      .def_prop_ro("nbytes", [](const Buffer& b) { return b.bytes; })
      .def_prop_ro(
          "card", [](const Buffer& b) -> Card& { return b.card; }, nb::rv_policy::reference);

  nb::class_<host::Image>(m, "Image",
                          "A loaded kernel image; its code stays until the process ends.")
      .def("symbol", &host::Image::symbol, "name"_a);
  m.def(
      "load_image",
      [](nb::bytes elf) {
        try {
          return new host::Image(elf.c_str(), elf.size());
        } catch (const Error&) {
          throw;
        } catch (const std::exception& error) {  // sizes in a damaged file that no memory can hold
          throw Error(std::string("A kernel image is damaged (") + error.what() +
                      "); compile the kernel again.");
        }
      },
      "elf"_a, nb::rv_policy::take_ownership);
  m.def(
      "set_assert_messages",
      [](uint64_t entry, const std::vector<std::string>& messages) {
        std::vector<const char*> texts;
        for (const auto& text : messages) texts.push_back(text.c_str());
        driver().image_asserts(entry, texts.data(), static_cast<int>(texts.size()));
      },
      "entry"_a, "messages"_a);
  bind_launcher(m);
  m.def("allowed_function", &host::allowed_function, "name"_a);

  nb::class_<PlanHandle>(
      m, "Plan", "Steps that are replayed without Python (docs/architecture.md, contract 3).")
      .def(
          "__init__",
          [](PlanHandle* self, const std::string& name) {
            new (self) PlanHandle{Plan::make(name)};
          },
          "name"_a)
      .def(
          "add_launch",
          [](PlanHandle& p, uint64_t entry, uint64_t scratch_bytes,
             std::tuple<uint32_t, uint32_t, uint32_t> grid, nb::sequence slots, double cost,
             const std::string& kernel_name) {
            std::vector<Slot> list;
            for (nb::handle s : slots) list.push_back(slot_from(s));
            uint32_t g[3] = {std::get<0>(grid), std::get<1>(grid), std::get<2>(grid)};
            p.plan->add_launch(entry, scratch_bytes, g, std::move(list),
                               static_cast<uint64_t>(cost), kernel_name);
          },
          "entry"_a, "scratch_bytes"_a, "grid"_a, "slots"_a, "cost"_a = 0,
          "kernel_name"_a = "kernel")
      .def(
          "add_copy",
          [](PlanHandle& p, nb::object dst, nb::object src, uint64_t bytes) {
            p.plan->add_copy(slot_from(dst), slot_from(src), bytes);
          },
          "dst"_a, "src"_a, "nbytes"_a)
      .def(
          "add_fill",
          [](PlanHandle& p, nb::object dst, uint64_t bytes, int byte_value) {
            p.plan->add_fill(slot_from(dst), bytes, static_cast<uint8_t>(byte_value));
          },
          "dst"_a, "nbytes"_a, "byte_value"_a = 0)
      .def(
          "add_constant",
          [](PlanHandle& p, nb::bytes data) {
            return p.plan->add_constant(data.c_str(), data.size());
          },
          "data"_a)
      .def(
          "set_output",
          [](PlanHandle& p, uint32_t tensor, std::optional<std::string> dtype) {
            p.plan->set_output(
                tensor, dtype ? std::optional<DType>(dtype_from_name(*dtype)) : std::nullopt);
          },
          "tensor"_a, "dtype"_a.none())
      .def(
          "set_next",
          [](PlanHandle& p, uint64_t kept_bytes, uint32_t counts, const PlanHandle& next) {
            p.plan->set_next(kept_bytes, counts, next.plan);
          },
          "kept_bytes"_a, "counts"_a, "next"_a)
      .def(
          "size_output",
          [](PlanHandle& p, uint32_t tensor, std::vector<int64_t> extents) {
            p.plan->size_output(tensor, std::move(extents));
          },
          "tensor"_a, "extents"_a)
      .def_prop_ro("measure",
                   [](const PlanHandle& p) -> nb::object {
                     const auto& m = p.plan->measure();
                     if (!m) return nb::none();
                     // What Python holds is only ever read.
                     PlanHandle next{std::const_pointer_cast<Plan>(m->next)};
                     return nb::make_tuple(m->kept_bytes, m->counts, std::move(next));
                   })
      .def(
          "measured_extents",
          [](const PlanHandle& p, uint32_t tensor) -> nb::object {
            const Plan::Extents* extents = p.plan->measured_extents(tensor);
            return extents ? nb::cast(*extents) : nb::none();
          },
          "tensor"_a)
      .def_prop_rw(
          "workspace_bytes", [](const PlanHandle& p) { return p.plan->workspace_bytes; },
          [](PlanHandle& p, uint64_t bytes) { p.plan->workspace_bytes = bytes; })
      .def_prop_rw(
          "philox_increment", [](const PlanHandle& p) { return p.plan->philox_increment; },
          [](PlanHandle& p, uint64_t n) { p.plan->philox_increment = n; })
      .def_prop_ro("name", [](const PlanHandle& p) { return p.plan->name(); })
      .def_prop_ro("step_count", [](const PlanHandle& p) { return p.plan->step_count(); })
      .def_prop_ro("launch_count", [](const PlanHandle& p) { return p.plan->launch_count(); })
      .def_prop_ro("tensor_count", [](const PlanHandle& p) { return p.plan->tensor_count(); })
      .def_prop_ro("dynamic_count", [](const PlanHandle& p) { return p.plan->dynamic_count(); })
      .def(
          "output",
          [](const PlanHandle& p, uint32_t tensor) -> nb::object {
            DType dtype;
            switch (p.plan->output(tensor, &dtype)) {
              case Plan::Output::kMeta:
                return nb::cast("meta");
              case Plan::Output::kLeave:
                return nb::none();
              default:
                return nb::cast(dtype_name(dtype));
            }
          },
          "tensor"_a)
      .def("replay", &replay, "stream"_a, "tensors"_a, "dynamics"_a = nb::tuple(),
           "kept"_a = nb::none(), "counts"_a = std::vector<int64_t>());

  nb::class_<TensorMeta>(m, "TensorMeta", "Shape, dtype and strides of a tensor in a call.")
      .def(
          "__init__",
          [](TensorMeta* self, int slot, std::vector<int64_t> shape, const std::string& dtype,
             std::vector<int64_t> strides, bool is_output) {
            new (self) TensorMeta{slot, dtype_from_name(dtype), is_output, std::move(shape),
                                  std::move(strides)};
          },
          "slot"_a, "shape"_a, "dtype"_a, "strides"_a, "is_output"_a = false)
      .def_prop_ro("slot", [](const TensorMeta& t) { return t.slot; })
      .def_prop_ro("shape", [](const TensorMeta& t) { return nb::tuple(nb::cast(t.shape)); })
      .def_prop_ro("strides", [](const TensorMeta& t) { return nb::tuple(nb::cast(t.strides)); })
      .def_prop_ro("dtype", [](const TensorMeta& t) { return dtype_name(t.dtype); })
      .def_prop_ro("is_output", [](const TensorMeta& t) { return t.is_output; })
      .def("__repr__", [](const TensorMeta& t) {
        std::string text =
            "TensorMeta(slot=" + std::to_string(t.slot) + ", " + dtype_name(t.dtype) + "[";
        for (size_t i = 0; i < t.shape.size(); i++)
          text += (i ? ", " : "") + std::to_string(t.shape[i]);
        return text + (t.is_output ? "], output)" : "])");
      });
  nb::class_<DynamicScalar>(m, "DynamicScalar", "An attribute that changes from call to call.")
      .def(
          "__init__",
          [](DynamicScalar* self, int index, const std::string& kind) {
            new (self) DynamicScalar{index, kind == "int" ? Scalar::kInt : Scalar::kFloat};
          },
          "index"_a, "kind"_a = "float")
      .def_prop_ro("index", [](const DynamicScalar& d) { return d.index; })
      .def_prop_ro("kind",
                   [](const DynamicScalar& d) { return d.kind == Scalar::kInt ? "int" : "float"; });
  m.def("set_planner", &set_python_planner, "callable"_a.none());
  m.def("set_dynamic_lookup", &set_python_lookup, "callable"_a.none());
  m.def(
      "make_plan",
      [](const std::string& kernel, nb::sequence arguments) {
        Request request;
        request.kernel = kernel;
        for (nb::handle a : arguments) {
          TensorMeta tensor;
          DynamicScalar dynamic;
          if (a.is_none())
            request.arguments.emplace_back(Absent{});
          else if (nb::try_cast(a, tensor))
            request.arguments.emplace_back(tensor);
          else if (nb::try_cast(a, dynamic))
            request.arguments.emplace_back(dynamic);
          else if (PyBool_Check(a.ptr()))
            request.arguments.emplace_back(a.is(nb::handle(Py_True)));
          else if (PyLong_Check(a.ptr()))
            request.arguments.emplace_back(nb::cast<int64_t>(a));
          else if (PyFloat_Check(a.ptr()))
            request.arguments.emplace_back(nb::cast<double>(a));
          else if (PyUnicode_Check(a.ptr()))
            request.arguments.emplace_back(nb::cast<std::string>(a));
          else
            request.arguments.emplace_back(nb::cast<std::vector<int64_t>>(a));
        }
        return PlanHandle{std::const_pointer_cast<Plan>(make_plan(request))};
      },
      "kernel"_a, "arguments"_a, "Asks the planner as the Paddle plug-in does; for tests.");

  m.def("card_count", &card_count);
  m.def("card", &card, "id"_a, nb::rv_policy::reference);
  m.def("card_properties", &properties_dict, "id"_a);
  m.def("cpu_features", [] { return host::processor().features; });
  m.def("cpu_name", [] { return host::processor().name; });
  m.def("cpu_brand", [] { return host::processor().brand; });
  m.def("cache_sizes", [] {
    const auto& p = host::processor();
    return std::make_tuple(p.l1_bytes, p.l2_bytes, p.l3_bytes);
  });
  m.def("processes", [] {
    nb::list list;
    for (const ProcessReport& r : process_reports()) {
      nb::dict d;
      d["pid"] = r.pid;
      d["card"] = r.card;
      d["used"] = r.used;
      d["peak"] = r.peak;
      d["limit"] = r.limit;
      d["busy_ns"] = r.busy_ns;
      nb::list groups;
      for (const GroupReport& g : r.groups) {
        nb::dict group;
        group["name"] = g.name;
        group["rank"] = g.rank;
        group["ranks"] = g.ranks;
        group["state"] = g.state == GroupState::kJoining ? "joining"
                         : g.state == GroupState::kReady ? "ready"
                                                         : "failed";
        groups.append(group);
      }
      d["groups"] = groups;
      list.append(d);
    }
    return list;
  });
  m.def(
      "set_poison", &set_poison, "byte"_a,
      "Fills fresh card memory, workspaces and outputs with this byte from now on; -1: no longer.");
  m.def("trace_start", &trace_start);
  m.def("trace_stop", [] {
    nb::list list;
    for (const TraceRecord& r : trace_stop())
      list.append(nb::make_tuple(r.name, r.card, r.stream, r.begin_ns, r.end_ns, r.bytes, r.entry,
                                 nb::make_tuple(r.grid[0], r.grid[1], r.grid[2]),
                                 nb::tuple(nb::cast(r.args))));
    return list;
  });
  m.def(
      "export_memory",
      [](uint64_t address, uint64_t bytes) {
        Card* owner = card_of(pointer(address));
        if (!owner) throw Error("The memory to be shared belongs to no card of this process.");
        openxpu_memory_handle h{};
        if (driver().memory_export(owner->id(), address, bytes, &h) != OPENXPU_OK)
          throw Error(driver().last_error());
        return std::make_tuple(h.process, h.fd, h.offset, h.bytes);
      },
      "address"_a, "nbytes"_a);
  m.def(
      "import_memory",
      [](int id, std::tuple<int32_t, int32_t, uint64_t, uint64_t> t) {
        openxpu_memory_handle h{std::get<0>(t), std::get<1>(t), std::get<2>(t), std::get<3>(t)};
        uint64_t address = 0;
        if (driver().memory_import(id, &h, &address) != OPENXPU_OK)
          throw Error(driver().last_error());
        return address;
      },
      "card"_a, "handle"_a);
  m.def(
      "release_import",
      [](uint64_t address, uint64_t bytes) { driver().memory_release_import(0, address, bytes); },
      "address"_a, "nbytes"_a);

  // A view that speaks DLPack for any consumer (NumPy, torch, ...): the memory is the processor's
  // own.
  m.def(
      "dlpack_view",
      [](nb::object owner, uint64_t address, std::vector<size_t> shape,
         std::vector<int64_t> strides, const std::string& dtype) {
        return nb::ndarray<nb::array_api>(pointer(address), shape.size(), shape.data(), owner,
                                          strides.data(), dlpack_dtype(dtype_from_name(dtype)),
                                          nb::device::cpu::value, 0);
      },
      "owner"_a, "address"_a, "shape"_a, "strides"_a, "dtype"_a);
  m.def(
      "dlpack_read",
      [](nb::ndarray<nb::ro> array) -> nb::object {
        for (int i = 0; i <= static_cast<int>(DType::kC128); i++) {
          auto dtype = static_cast<DType>(i);
          if (array.dtype() != dlpack_dtype(dtype)) continue;
          std::vector<int64_t> shape, strides;
          for (size_t d = 0; d < array.ndim(); d++) {
            shape.push_back(static_cast<int64_t>(array.shape(d)));
            strides.push_back(array.stride(d));
          }
          return nb::make_tuple(reinterpret_cast<uint64_t>(array.data()),
                                nb::tuple(nb::cast(shape)), nb::tuple(nb::cast(strides)),
                                dtype_name(dtype), array.device_type());
        }
        throw nb::type_error("An array of this DLPack dtype cannot live on a card.");
      },
      "array"_a,
      "(address, shape, strides in elements, dtype name, DLPack device type) of any DLPack "
      "producer.");

  bind_collectives(m);
}

}  // namespace openxpu
