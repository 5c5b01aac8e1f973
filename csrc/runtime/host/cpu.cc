// Reads cpuid and xgetbv.
#include "host/cpu.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace openxpu::host {
namespace {

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(uint32_t leaf, uint32_t sub = 0) {
  Leaf r;
  __get_cpuid_count(leaf, sub, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

uint64_t xgetbv() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// Linux hands out the tile registers on request only; the permission holds for all threads of the
// process.
bool tiles_allowed() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

std::string llvm_name(const Processor& p, const std::string& vendor, uint32_t family,
                      uint32_t model) {
  if (vendor == "AuthenticAMD") {
    if (family == 0x1A && p.has("avx512f")) return "znver5";
    if (family == 0x19)
      return ((model >= 0x10 && model <= 0x1F) || (model >= 0x60 && model <= 0xAF)) &&
                     p.has("avx512f")
                 ? "znver4"
                 : "znver3";
    if (family == 0x17) return model >= 0x30 ? "znver2" : "znver1";
  } else if (vendor == "GenuineIntel" && family == 6) {
    // Hypervisors may show a model with features of another; the features decide.
    if (p.has("amx-fp16")) return "graniterapids";
    if (p.has("amx-tile") || p.has("avx512fp16")) return "sapphirerapids";
    if (p.has("avx512vbmi2")) return "icelake-server";
    if (p.has("avx512bf16")) return "cooperlake";
    if (p.has("avx512vnni")) return "cascadelake";
    if (p.has("avx512f")) return "skylake-avx512";
    if (p.has("avx2")) return "haswell";
  }
  if (p.has("avx512f") && p.has("avx512bw") && p.has("avx512vl") && p.has("avx512dq"))
    return "x86-64-v4";
  if (p.has("avx2") && p.has("fma") && p.has("bmi2")) return "x86-64-v3";
  return "x86-64";
}

Processor read() {
  Processor p;
  Leaf zero = cpuid(0);
  char vendor[13] = {};
  std::memcpy(vendor, &zero.ebx, 4);
  std::memcpy(vendor + 4, &zero.edx, 4);
  std::memcpy(vendor + 8, &zero.ecx, 4);
  Leaf one = cpuid(1), seven, seven1, d1, ext;
  if (zero.eax >= 7) {
    seven = cpuid(7);
    if (seven.eax >= 1) seven1 = cpuid(7, 1);
  }
  uint32_t highest_ext = cpuid(0x80000000u).eax;
  if (highest_ext >= 0x80000001u) ext = cpuid(0x80000001u);
  if (zero.eax >= 0xD) d1 = cpuid(0xD, 1);

  uint64_t saved = (one.ecx >> 27) & 1 ? xgetbv() : 0;
  bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xE6) == 0xE6;
  bool tiles = (saved & 0x60000) == 0x60000 && ((seven.edx >> 24) & 1) && tiles_allowed();
  auto add = [&](bool present, const char* name) {
    if (present) p.features.push_back(name);
  };
  auto bit = [](uint32_t word, int i) { return ((word >> i) & 1) != 0; };
  add(bit(one.ecx, 0), "sse3");
  add(bit(one.ecx, 9), "ssse3");
  add(bit(one.ecx, 19), "sse4.1");
  add(bit(one.ecx, 20), "sse4.2");
  add(bit(one.ecx, 22), "movbe");
  add(bit(one.ecx, 23), "popcnt");
  add(bit(one.ecx, 1), "pclmul");
  add(bit(one.ecx, 25), "aes");
  add(bit(ext.ecx, 5), "lzcnt");
  add(bit(seven.ebx, 3), "bmi");
  add(bit(seven.ebx, 8), "bmi2");
  add(bit(seven.ecx, 8), "gfni");
  add(ymm && bit(one.ecx, 28), "avx");
  add(ymm && bit(one.ecx, 12), "fma");
  add(ymm && bit(one.ecx, 29), "f16c");
  add(ymm && bit(seven.ebx, 5), "avx2");
  add(ymm && bit(seven.ecx, 9), "vaes");
  add(ymm && bit(seven.ecx, 10), "vpclmulqdq");
  add(ymm && bit(seven1.eax, 4), "avxvnni");
  add(ymm && bit(seven1.eax, 23), "avxifma");
  add(ymm && bit(seven1.edx, 4), "avxvnniint8");
  add(ymm && bit(seven1.edx, 5), "avxneconvert");
  add(zmm && bit(seven.ebx, 16), "avx512f");
  add(zmm && bit(seven.ebx, 17), "avx512dq");
  add(zmm && bit(seven.ebx, 21), "avx512ifma");
  add(zmm && bit(seven.ebx, 28), "avx512cd");
  add(zmm && bit(seven.ebx, 30), "avx512bw");
  add(zmm && bit(seven.ebx, 31), "avx512vl");
  add(zmm && bit(seven.ecx, 1), "avx512vbmi");
  add(zmm && bit(seven.ecx, 6), "avx512vbmi2");
  add(zmm && bit(seven.ecx, 11), "avx512vnni");
  add(zmm && bit(seven.ecx, 12), "avx512bitalg");
  add(zmm && bit(seven.ecx, 14), "avx512vpopcntdq");
  add(zmm && bit(seven.edx, 8), "avx512vp2intersect");
  add(zmm && bit(seven1.eax, 5), "avx512bf16");
  add(zmm && bit(seven.edx, 23), "avx512fp16");
  add(tiles, "amx-tile");
  add(tiles && bit(seven.edx, 22), "amx-bf16");
  add(tiles && bit(seven.edx, 25), "amx-int8");
  add(tiles && bit(seven1.eax, 21), "amx-fp16");
  std::sort(p.features.begin(), p.features.end());

  uint32_t family = (one.eax >> 8) & 0xF, model = (one.eax >> 4) & 0xF;
  if (family == 6 || family == 15) model |= ((one.eax >> 16) & 0xF) << 4;
  if (family == 15) family += (one.eax >> 20) & 0xFF;
  p.name = llvm_name(p, vendor, family, model);

  if (highest_ext >= 0x80000004u) {
    char text[49] = {};
    for (uint32_t i = 0; i < 3; i++) {
      Leaf r = cpuid(0x80000002u + i);
      std::memcpy(text + 16 * i, &r, 16);
    }
    p.brand = text;
    p.brand.erase(0, p.brand.find_first_not_of(' '));
    p.brand.erase(p.brand.find_last_not_of(' ') + 1);
  }
  if (p.brand.empty()) p.brand = vendor;

  p.l1_bytes = std::max(0L, sysconf(_SC_LEVEL1_DCACHE_SIZE));
  p.l2_bytes = std::max(0L, sysconf(_SC_LEVEL2_CACHE_SIZE));
  p.l3_bytes = std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE));
  if (p.l1_bytes == 0) p.l1_bytes = 32 << 10;
  if (p.l2_bytes == 0) p.l2_bytes = 512 << 10;
  if (p.l3_bytes == 0) p.l3_bytes = 8 << 20;
  return p;
}

}  // namespace

bool Processor::has(const char* feature) const {
  return std::find(features.begin(), features.end(), feature) != features.end();
}

const Processor& processor() {
  static const Processor* instance = new Processor(read());
  return *instance;
}

}  // namespace openxpu::host
