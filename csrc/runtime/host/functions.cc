// The functions that a kernel may call by name.
#include <emmintrin.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <unordered_map>

#include "host/image.h"

namespace openxpu::host {
namespace {

// Conversions that processors lack and that LLVM therefore calls. 16-bit floats travel in the low
// half of xmm0.
__m128i in_register(uint16_t bits) { return _mm_cvtsi32_si128(bits); }

// Rounds a double to a 16-bit float with `fraction` fraction bits and the given exponent range,
// ties to even, in one step (through float would round twice).
uint16_t round_double(double x, int fraction, int lowest_exponent, int highest_exponent) {
  uint64_t bits;
  std::memcpy(&bits, &x, 8);
  int exponent_bits = 15 - fraction;
  auto sign = static_cast<uint16_t>((bits >> 63) << 15);
  auto infinity = static_cast<uint16_t>(((1 << exponent_bits) - 1) << fraction);
  bits &= ~(uint64_t{1} << 63);
  if (bits > 0x7FF0000000000000u)
    return sign | infinity | static_cast<uint16_t>(1 << (fraction - 1)) |
           static_cast<uint16_t>((bits >> (52 - fraction)) & ((1u << fraction) - 1));
  int exponent = static_cast<int>(bits >> 52) - 1023;
  if (exponent > highest_exponent) return sign | infinity;
  if (exponent < lowest_exponent - fraction - 1) return sign;
  uint64_t mantissa = (bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1} << 52);
  int drop = 52 - fraction + (exponent < lowest_exponent ? lowest_exponent - exponent : 0);
  uint64_t kept = mantissa >> drop, rest = mantissa & ((uint64_t{1} << drop) - 1),
           half = uint64_t{1} << (drop - 1);
  if (rest > half || (rest == half && (kept & 1))) kept++;
  // `kept` carries the implicit bit of a normal number: adding it to the exponent field does the
  // right thing, also when the rounding carried over.
  uint64_t field =
      exponent < lowest_exponent ? 0 : static_cast<uint64_t>(exponent - lowest_exponent);
  uint64_t value = (field << fraction) + kept;
  return sign | static_cast<uint16_t>(value > infinity ? infinity : value);
}

__m128i double_to_half(double x) { return in_register(round_double(x, 10, -14, 15)); }
__m128i float_to_half(float x) { return in_register(round_double(x, 10, -14, 15)); }
__m128i double_to_bfloat(double x) { return in_register(round_double(x, 7, -126, 127)); }
__m128i float_to_bfloat(float x) { return in_register(round_double(x, 7, -126, 127)); }
float half_to_float(__m128i register_value) {
  auto bits = static_cast<uint32_t>(_mm_cvtsi128_si32(register_value)) & 0xFFFFu;
  uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 0x1F, mantissa = bits & 0x3FF,
           out;
  if (exponent == 31) {
    out = sign | 0x7F800000u | (mantissa << 13);
  } else if (exponent != 0) {
    out = sign | ((exponent + 112) << 23) | (mantissa << 13);
  } else {
    float value = std::ldexp(static_cast<float>(mantissa), -24);
    std::memcpy(&out, &value, 4);
    out |= sign;
  }
  float result;
  std::memcpy(&result, &out, 4);
  return result;
}

template <typename F>
uint64_t address(F* function) {
  return reinterpret_cast<uint64_t>(reinterpret_cast<void*>(function));
}

std::unordered_map<std::string, uint64_t>* make_table() {
  auto* t = new std::unordered_map<std::string, uint64_t>;
  (*t)["memcpy"] = address(static_cast<void* (*)(void*, const void*, size_t)>(std::memcpy));
  (*t)["memset"] = address(static_cast<void* (*)(void*, int, size_t)>(std::memset));
  (*t)["memmove"] = address(static_cast<void* (*)(void*, const void*, size_t)>(std::memmove));
  // tl.device_print
  (*t)["printf"] = address(static_cast<int (*)(const char*, ...)>(std::printf));
  (*t)["__truncdfhf2"] = address(double_to_half);
  (*t)["__truncsfhf2"] = address(float_to_half);
  (*t)["__gnu_f2h_ieee"] = address(float_to_half);
  (*t)["__truncdfbf2"] = address(double_to_bfloat);
  (*t)["__truncsfbf2"] = address(float_to_bfloat);
  (*t)["__extendhfsf2"] = address(half_to_float);
#define UNARY(name)                                             \
  (*t)[#name] = address(static_cast<double (*)(double)>(name)); \
  (*t)[#name "f"] = address(static_cast<float (*)(float)>(name##f))
#define BINARY(name)                                                    \
  (*t)[#name] = address(static_cast<double (*)(double, double)>(name)); \
  (*t)[#name "f"] = address(static_cast<float (*)(float, float)>(name##f))
  UNARY(acos);
  UNARY(acosh);
  UNARY(asin);
  UNARY(asinh);
  UNARY(atan);
  UNARY(atanh);
  UNARY(cbrt);
  UNARY(ceil);
  UNARY(cos);
  UNARY(cosh);
  UNARY(erf);
  UNARY(erfc);
  UNARY(exp);
  UNARY(exp10);
  UNARY(exp2);
  UNARY(expm1);
  UNARY(fabs);
  UNARY(floor);
  UNARY(j0);
  UNARY(j1);
  UNARY(lgamma);
  UNARY(log);
  UNARY(log10);
  UNARY(log1p);
  UNARY(log2);
  UNARY(nearbyint);
  UNARY(rint);
  UNARY(round);
  UNARY(roundeven);
  UNARY(sin);
  UNARY(sinh);
  UNARY(sqrt);
  UNARY(tan);
  UNARY(tanh);
  UNARY(tgamma);
  UNARY(trunc);
  UNARY(y0);
  UNARY(y1);
  BINARY(atan2);
  BINARY(copysign);
  BINARY(fdim);
  BINARY(fmax);
  BINARY(fmin);
  BINARY(fmod);
  BINARY(hypot);
  BINARY(nextafter);
  BINARY(pow);
  BINARY(remainder);
#undef UNARY
#undef BINARY
  (*t)["fma"] = address(static_cast<double (*)(double, double, double)>(fma));
  (*t)["fmaf"] = address(static_cast<float (*)(float, float, float)>(fmaf));
  (*t)["ldexp"] = address(static_cast<double (*)(double, int)>(ldexp));
  (*t)["ldexpf"] = address(static_cast<float (*)(float, int)>(ldexpf));
  (*t)["jn"] = address(static_cast<double (*)(int, double)>(jn));
  (*t)["jnf"] = address(static_cast<float (*)(int, float)>(jnf));
  (*t)["yn"] = address(static_cast<double (*)(int, double)>(yn));
  (*t)["ynf"] = address(static_cast<float (*)(int, float)>(ynf));
  (*t)["frexp"] = address(static_cast<double (*)(double, int*)>(frexp));
  (*t)["frexpf"] = address(static_cast<float (*)(float, int*)>(frexpf));
  (*t)["modf"] = address(static_cast<double (*)(double, double*)>(modf));
  (*t)["modff"] = address(static_cast<float (*)(float, float*)>(modff));
  return t;
}

}  // namespace

uint64_t allowed_function(const std::string& name) {
  static const auto* table = make_table();
  auto found = table->find(name);
  return found == table->end() ? 0 : found->second;
}

}  // namespace openxpu::host
