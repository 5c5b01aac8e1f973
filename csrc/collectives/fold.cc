// The loops of fold.h, compiled for three instruction sets; the loader picks one.
#include "fold.h"

#include <cstring>

namespace openxpu::collectives {
namespace {

#define INLINE inline __attribute__((always_inline))
#if defined(__x86_64__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

// What sums are taken in.
template <typename T>
struct Wide {
  using type = T;
};
template <>
struct Wide<Half> {
  using type = float;
};
template <>
struct Wide<Brain> {
  using type = float;
};

template <typename To, typename From>
INLINE To bits_as(From from) {
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

template <typename T>
INLINE T widen(T x) {
  return x;
}
INLINE float widen(Brain x) { return bits_as<float>(static_cast<uint32_t>(x.bits) << 16); }
// Without branches, so that it becomes vector code where the processor has no conversion.
INLINE float widen(Half x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16, magnitude = x.bits & 0x7fffu;
  const float normal = bits_as<float>((magnitude << 13) + ((127u - 15u) << 23));
  const float small = static_cast<float>(static_cast<int32_t>(magnitude)) * 5.9604644775390625e-8f;
  const float special = bits_as<float>((magnitude << 13) | 0x7f800000u);
  const float found = magnitude < 0x400u ? small : magnitude >= 0x7c00u ? special : normal;
  return bits_as<float>(bits_as<uint32_t>(found) | sign);
}

template <typename T>
INLINE void narrow(T x, T* out) {
  *out = x;
}
INLINE void narrow(float x, Brain* out) {
  const uint32_t bits = bits_as<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40u;
  out->bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}
INLINE void narrow(float x, Half* out) {
  const uint32_t bits = bits_as<uint32_t>(x), sign = (bits >> 16) & 0x8000u,
                 magnitude = bits & 0x7fffffffu;
  // Below 2^-14 the addition of 0.5 leaves the rounded count of 2^-24 in the low bits.
  const uint32_t small = bits_as<uint32_t>(bits_as<float>(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t normal =
      (magnitude - ((127u - 15u) << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t found = magnitude < 0x38800000u    ? small
                         : magnitude >= 0x47800000u ? special
                                                    : normal;
  out->bits = static_cast<uint16_t>(found | sign);
}

struct Sum {
  template <typename A>
  INLINE static A apply(A a, A b) {
    return static_cast<A>(a + b);
  }
};
struct Product {
  template <typename A>
  INLINE static A apply(A a, A b) {
    return static_cast<A>(a * b);
  }
};
// NaN wins, as in NumPy.
struct Min {
  template <typename A>
  INLINE static A apply(A a, A b) {
    return b < a || b != b ? b : a;
  }
};
struct Max {
  template <typename A>
  INLINE static A apply(A a, A b) {
    return b > a || b != b ? b : a;
  }
};

// Blocks of many sources, each a page or so, begin anew what the processor fetches ahead: with more
// than two sources the next block is asked for while this one is added.
template <typename T, typename Op, bool kAverage>
INLINE void fold(const void* const* sources, int count, uint64_t begin, uint64_t end, void* out) {
  using A = typename Wide<T>::type;
  constexpr uint64_t kBlock = 1024;
  A sums[kBlock];
  const bool ahead = count > 2;
  const uint64_t block = ahead ? kBlock / 2 : kBlock;
  for (uint64_t at = begin; at < end; at += block) {
    const uint64_t n = end - at < block ? end - at : block;
    const T* first = static_cast<const T*>(sources[0]) + at;
    for (uint64_t i = 0; i < n; i++) sums[i] = widen(first[i]);
    for (int s = 1; s < count; s++) {
      const T* next = static_cast<const T*>(sources[s]) + at;
      for (uint64_t i = 0; ahead && i < n; i += 64 / sizeof(T))
        __builtin_prefetch(next + block + i);
      for (uint64_t i = 0; i < n; i++) sums[i] = Op::apply(sums[i], static_cast<A>(widen(next[i])));
    }
    T* to = static_cast<T*>(out) + (at - begin);
    if (kAverage) {
      for (uint64_t i = 0; i < n; i++) sums[i] = static_cast<A>(sums[i] / static_cast<A>(count));
    }
    for (uint64_t i = 0; i < n; i++) narrow(sums[i], to + i);
  }
}

#define FOLD(name, T, Op, average)                                                      \
  CLONES void name(const void* const* sources, int count, uint64_t begin, uint64_t end, \
                   void* out) {                                                         \
    fold<T, Op, average>(sources, count, begin, end, out);                              \
  }
#define FOLDS(name, T)                    \
  FOLD(name##_sum, T, Sum, false)         \
  FOLD(name##_product, T, Product, false) \
  FOLD(name##_min, T, Min, false)         \
  FOLD(name##_max, T, Max, false)         \
  FOLD(name##_average, T, Sum, true)

FOLDS(u8, uint8_t)
FOLDS(i8, int8_t)
FOLDS(i16, int16_t)
FOLDS(i32, int32_t)
FOLDS(i64, int64_t)
FOLDS(f16, Half)
FOLDS(bf16, Brain)
FOLDS(f32, float)
FOLDS(f64, double)

// Pairs of numbers: twice the range.
template <Fold kFold>
void pairs(const void* const* sources, int count, uint64_t begin, uint64_t end, void* out) {
  kFold(sources, count, 2 * begin, 2 * end, out);
}

#define ALL(name) {name##_sum, name##_product, name##_min, name##_max, name##_average}
// By DataType and ReduceOp. Truth values: a sum is "or", a product "and".
constexpr Fold kTable[][5] = {
    {u8_max, u8_min, u8_min, u8_max, nullptr},
    ALL(u8),
    ALL(i8),
    ALL(i16),
    ALL(i32),
    ALL(i64),
    ALL(f16),
    ALL(bf16),
    ALL(f32),
    ALL(f64),
    {pairs<f32_sum>, nullptr, nullptr, nullptr, pairs<f32_average>},
    {pairs<f64_sum>, nullptr, nullptr, nullptr, pairs<f64_average>},
};

}  // namespace

Fold fold_of(DataType type, ReduceOp op) {
  return kTable[static_cast<uint32_t>(type)][static_cast<uint32_t>(op)];
}

}  // namespace openxpu::collectives
