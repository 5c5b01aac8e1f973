// Element-wise reduction of several buffers into one, in a fixed order: the arithmetic of reducing
// collectives.
#pragma once
#include <cstdint>

#include "communicator.h"

namespace openxpu::collectives {

// out[i - begin] = op over sources[0][i], sources[1][i], ...; f16 and bf16 are accumulated in f32
// and rounded once. `out` may be the same place of a source. Null: the type has no such reduction.
using Fold = void (*)(const void* const* sources, int count, uint64_t begin, uint64_t end,
                      void* out);
Fold fold_of(DataType type, ReduceOp op);

}  // namespace openxpu::collectives
