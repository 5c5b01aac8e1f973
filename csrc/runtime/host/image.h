// Loads a compiled kernel: an ELF64 relocatable object, straight from memory, without LLVM or the
// system's linker.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace openxpu::host {

// The code stays mapped until the process ends: plans and queue entries hold bare addresses of it.
class Image {
 public:
  // Throws Error: not an object of this machine, an unknown relocation, a name outside the
  // allow-list.
  Image(const void* elf, size_t bytes);
  uint64_t symbol(const std::string& name) const;  // throws Error

 private:
  std::map<std::string, uint64_t> symbols_;
};

// Address of a function that kernels may call, or 0.
uint64_t allowed_function(const std::string& name);

}  // namespace openxpu::host
