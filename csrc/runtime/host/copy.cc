// Stores that do not fetch what they overwrite.
#include "host/copy.h"

#include <algorithm>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace openxpu::host {

void copy_past_cache(void* to, const void* from, uint64_t bytes) {
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
#if defined(__SSE2__)
  const uint64_t skew = std::min(bytes, (64 - reinterpret_cast<uint64_t>(target) % 64) % 64);
  std::memcpy(target, source, skew);
  target += skew, source += skew, bytes -= skew;
  for (; bytes >= 64; target += 64, source += 64, bytes -= 64) {
    auto* line = reinterpret_cast<__m128i*>(target);
    const auto* read = reinterpret_cast<const __m128i*>(source);
    const __m128i a = _mm_loadu_si128(read), b = _mm_loadu_si128(read + 1),
                  c = _mm_loadu_si128(read + 2), d = _mm_loadu_si128(read + 3);
    _mm_stream_si128(line, a);
    _mm_stream_si128(line + 1, b);
    _mm_stream_si128(line + 2, c);
    _mm_stream_si128(line + 3, d);
  }
  _mm_sfence();
#endif
  std::memcpy(target, source, bytes);
}

void fill_past_cache(void* to, int byte, uint64_t bytes) {
  auto* target = static_cast<char*>(to);
#if defined(__SSE2__)
  const uint64_t skew = std::min(bytes, (64 - reinterpret_cast<uint64_t>(target) % 64) % 64);
  std::memset(target, byte, skew);
  target += skew, bytes -= skew;
  const __m128i value = _mm_set1_epi8(static_cast<char>(byte));
  for (; bytes >= 64; target += 64, bytes -= 64)
    for (int i = 0; i < 4; i++) _mm_stream_si128(reinterpret_cast<__m128i*>(target) + i, value);
  _mm_sfence();
#endif
  std::memset(target, byte, bytes);
}

}  // namespace openxpu::host
