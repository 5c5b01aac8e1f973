// Packs Python values into the argument slots of a kernel and enqueues one launch; on the path of
// every kernel[grid](...).
#include "launcher.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "buffer.h"
#include "card.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace openxpu {
namespace {

enum class Kind : uint8_t { kSkip, kPointer, kSigned, kUnsigned, kBool, kF16, kBF16, kF32, kF64 };

struct Argument {
  Kind kind;
  int bits = 64;
};

Argument argument_from(const std::string& type) {
  if (type == "constexpr") return {Kind::kSkip};
  if (!type.empty() && type[0] == '*') return {Kind::kPointer};
  if (type == "i1" || type == "u1") return {Kind::kBool, 1};
  if (type == "fp16" || type == "f16") return {Kind::kF16};
  if (type == "bf16") return {Kind::kBF16};
  if (type == "fp32" || type == "f32") return {Kind::kF32};
  if (type == "fp64" || type == "f64") return {Kind::kF64};
  for (int bits : {8, 16, 32, 64}) {
    if (type == "i" + std::to_string(bits)) return {Kind::kSigned, bits};
    if (type == "u" + std::to_string(bits)) return {Kind::kUnsigned, bits};
  }
  throw nb::value_error(("A kernel argument has the type \"" + type +
                         "\"; known are pointers, i1 to i64, u1 to u64, fp16, bf16, fp32, fp64.")
                            .c_str());
}

uint64_t low_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

// Rounds to nearest even, once, from the double that Python has.
uint64_t bf16_bits(double value) {
  if (std::isnan(value)) return 0x7FC0;
  auto narrow = static_cast<float>(value);
  uint64_t bits = low_bits(narrow);
  // The step to f32 may have landed on a tie that the double was not on: step back towards it.
  if ((bits & 0xFFFF) == 0x8000 && static_cast<double>(narrow) != value)
    bits = std::fabs(static_cast<double>(narrow)) < std::fabs(value) ? bits + 1 : bits - 1;
  return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) & 0xFFFF;
}

uint64_t f16_bits(double value) {
  uint64_t sign = std::signbit(value) ? 0x8000 : 0;
  double size = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7E00;
  if (size >= 65520.0) return sign | 0x7C00;
  if (size < 6.103515625e-05)  // subnormal: multiples of 2^-24, and the carry into 2^-14 is right
    return sign | static_cast<uint64_t>(std::nearbyint(size * 16777216.0));
  int exponent = 0;
  double fraction = std::frexp(size, &exponent);  // [0.5, 1)
  auto mantissa = static_cast<uint64_t>(std::nearbyint(fraction * 2048.0));
  return sign | ((static_cast<uint64_t>(exponent + 13) << 10) + mantissa);
}

struct Names {
  nb::object address = nb::steal(PyUnicode_InternFromString("_address"));
  nb::object owner = nb::steal(PyUnicode_InternFromString("_owner"));
};
const Names& names() {
  static const auto* found = new Names;  // as long as the interpreter
  return *found;
}

uint64_t address_of(nb::handle number) {
  uint64_t address = PyLong_AsUnsignedLongLong(number.ptr());
  if (PyErr_Occurred()) throw nb::python_error();
  return address;
}

// One launch of the kernel on the way to its stream.
class Launcher {
 public:
  Launcher(std::string name, uint64_t entry, uint64_t scratch_bytes,
           const std::vector<std::string>& types)
      : entry_(entry), scratch_bytes_(scratch_bytes) {
    // A launch on its way holds the name by pointer, and kernels are few: it lives for ever.
    name_ = (new std::string(std::move(name)))->c_str();
    for (const auto& type : types) arguments_.push_back(argument_from(type));
    for (const auto& argument : arguments_) slots_ += argument.kind != Kind::kSkip;
    if (slots_ > OPENXPU_MAX_ARGS)
      throw nb::value_error(("Kernel " + std::string(name_) + " has " + std::to_string(slots_) +
                             " arguments at run time; a launch takes at most " +
                             std::to_string(OPENXPU_MAX_ARGS) + ".")
                                .c_str());
  }

  // stream: where to launch. wait: until the launch has ended. Returns whether it waited.
  bool call(Stream& stream, bool wait, nb::handle grid, nb::args values) {
    openxpu_launch launch{};
    if (!read_grid(grid, launch.grid)) return false;
    if (values.size() != arguments_.size())
      throw nb::value_error((std::string("Kernel ") + name_ + " takes " +
                             std::to_string(arguments_.size()) + " arguments but got " +
                             std::to_string(values.size()) + ".")
                                .c_str());
    uint64_t slots[OPENXPU_MAX_ARGS];
    uint32_t count = 0;
    for (size_t i = 0; i < arguments_.size(); i++) {
      const Argument& argument = arguments_[i];
      if (argument.kind == Kind::kSkip) continue;
      nb::handle value = values[i];
      slots[count++] = argument.kind == Kind::kPointer ? pointer(stream, value, wait)
                                                       : number(argument, value, i);
    }
    launch.entry = entry_;
    launch.args = slots;
    launch.arg_count = count;
    launch.scratch_bytes = scratch_bytes_;
    launch.name = name_;
    // Who waits for a single program anyway may as well run it: no other thread has to wake up.
    if (wait && launch.grid[0] == 1 && launch.grid[1] == 1 && launch.grid[2] == 1) launch.cost = 1;
    if (!wait) {
      stream.launch(launch);
      return false;
    }
    nb::gil_scoped_release release;
    stream.launch(launch);
    stream.synchronize([] {
      nb::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
    });
    return true;
  }

 private:
  // False: no programs.
  bool read_grid(nb::handle grid, uint32_t out[3]) const {
    nb::object fast = nb::steal(PySequence_Fast(grid.ptr(), ""));
    Py_ssize_t size = -1;
    if (fast.is_valid())
      size = PySequence_Fast_GET_SIZE(fast.ptr());
    else
      PyErr_Clear();
    bool good = size >= 1 && size <= 3;
    bool programs = true;
    out[0] = out[1] = out[2] = 1;
    for (Py_ssize_t i = 0; good && i < size; i++) {
      nb::object whole = nb::steal(PyNumber_Index(PySequence_Fast_GET_ITEM(fast.ptr(), i)));
      long long n = whole.is_valid() ? PyLong_AsLongLong(whole.ptr()) : -1;
      PyErr_Clear();
      good = n >= 0 && n <= 0xFFFFFFFFLL;
      out[i] = static_cast<uint32_t>(n);
      programs &= n > 0;
    }
    if (!good)
      throw nb::value_error((std::string("Kernel ") + name_ + " was launched with the grid " +
                             nb::cast<std::string>(nb::repr(grid)) +
                             "; give one to three whole numbers from 0 to 4294967295.")
                                .c_str());
    return programs;
  }

  // A card array (openxpu.Array), an address or None.
  uint64_t pointer(Stream& stream, nb::handle value, bool& wait) const {
    if (value.is_none()) return 0;
    if (PyLong_Check(value.ptr())) {
      uint64_t address = address_of(value);
      if (!stream.card().owns(reinterpret_cast<void*>(address)) && address != 0 &&
          !card_of(reinterpret_cast<void*>(address)))
        wait = true;  // nothing but this call keeps host memory alive and tells when to read it
      return address;
    }
    nb::object address = nb::steal(PyObject_GetAttr(value.ptr(), names().address.ptr()));
    if (!address.is_valid()) throw nb::python_error();
    nb::object owner = nb::steal(PyObject_GetAttr(value.ptr(), names().owner.ptr()));
    if (!owner.is_valid()) throw nb::python_error();
    if (nb::isinstance<Buffer>(owner))
      nb::inst_ptr<Buffer>(owner)->used_on(stream);
    else
      wait = true;  // memory of another library, which knows nothing of the stream
    return address_of(address);
  }

  uint64_t number(const Argument& argument, nb::handle value, size_t index) const {
    switch (argument.kind) {
      case Kind::kF16:
        return f16_bits(nb::cast<double>(value));
      case Kind::kBF16:
        return bf16_bits(nb::cast<double>(value));
      case Kind::kF32:
        return low_bits(static_cast<float>(
            PyFloat_Check(value.ptr()) ? PyFloat_AS_DOUBLE(value.ptr()) : nb::cast<double>(value)));
      case Kind::kF64: {
        auto wide = nb::cast<double>(value);
        uint64_t bits;
        std::memcpy(&bits, &wide, 8);
        return bits;
      }
      case Kind::kBool: {
        int truth = PyObject_IsTrue(value.ptr());
        if (truth < 0) throw nb::python_error();
        return static_cast<uint64_t>(truth);
      }
      default:
        return integer(argument, value, index);
    }
  }

  uint64_t integer(const Argument& argument, nb::handle value, size_t index) const {
    nb::object whole =
        PyLong_Check(value.ptr()) ? nb::borrow(value) : nb::steal(PyNumber_Index(value.ptr()));
    if (!whole.is_valid()) throw nb::python_error();
    bool is_signed = argument.kind == Kind::kSigned;
    uint64_t bits = 0;
    bool fits;
    int overflow = 0;
    long long n = PyLong_AsLongLongAndOverflow(whole.ptr(), &overflow);
    int width = argument.bits;
    if (overflow == 0) {
      bits = static_cast<uint64_t>(n);
      if (is_signed)
        fits = width == 64 || (n >= -(1LL << (width - 1)) && n < (1LL << (width - 1)));
      else
        fits = n >= 0 && (width == 64 || n < (1LL << width));
    } else {
      bits = overflow > 0 ? PyLong_AsUnsignedLongLong(whole.ptr()) : 0;
      fits = !is_signed && width == 64 && overflow > 0 && !PyErr_Occurred();
      PyErr_Clear();
    }
    if (!fits)
      throw nb::value_error((std::string("Kernel ") + name_ + ": argument " +
                             std::to_string(index) + " is " +
                             nb::cast<std::string>(nb::repr(value)) + ", which does not fit " +
                             (is_signed ? "i" : "u") + std::to_string(width) + ".")
                                .c_str());
    return bits;
  }

  const char* name_;
  uint64_t entry_, scratch_bytes_;
  std::vector<Argument> arguments_;
  uint32_t slots_ = 0;
};

}  // namespace

void bind_launcher(nb::module_& m) {
  nb::class_<Launcher>(m, "Launcher", "A compiled kernel with its argument types, ready to launch.")
      .def(nb::init<std::string, uint64_t, uint64_t, const std::vector<std::string>&>(), "name"_a,
           "entry"_a, "scratch_bytes"_a, "types"_a)
      .def("__call__", &Launcher::call, "stream"_a, "wait"_a, "grid"_a, "values"_a,
           "Enqueues one launch; card arrays, addresses and numbers in the order of the types.");
  m.def(
      "stream_at", [](uint64_t address) { return reinterpret_cast<Stream*>(address); }, "address"_a,
      nb::rv_policy::reference,
      "The stream that C++ made at this address, as Paddle reports its own.");
  m.def(
      "card_at",
      [](uint64_t address) {
        Card* found = card_of(reinterpret_cast<void*>(address));
        return found ? found->id() : -1;
      },
      "address"_a, "The card whose memory holds the address, or -1.");
}

}  // namespace openxpu
