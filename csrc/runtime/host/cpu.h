// What this processor can do: instruction-set features under LLVM's names, its name, its caches.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace openxpu::host {

struct Processor {
  std::string brand;                  // "AMD EPYC 9354 ..."
  std::string name;                   // LLVM's processor name, such as "znver4" or "x86-64-v3"
  std::vector<std::string> features;  // sorted; only what the operating system saves and allows
  int64_t l1_bytes = 0, l2_bytes = 0, l3_bytes = 0;
  bool has(const char* feature) const;
};

const Processor& processor();

}  // namespace openxpu::host
