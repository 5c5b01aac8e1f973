// Copies and fills of more than the cache holds.
#pragma once
#include <cstdint>

namespace openxpu::host {

// Past the cache: a plain store reads every line before it is written. Ends with a fence.
void copy_past_cache(void* to, const void* from, uint64_t bytes);
void fill_past_cache(void* to, int byte, uint64_t bytes);

}  // namespace openxpu::host
