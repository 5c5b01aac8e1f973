// Junk in card memory that nothing has written yet, so that a kernel which reads it is noticed.
#pragma once

namespace openxpu {

// The byte that fresh blocks, workspaces and outputs are filled with, or -1: they stay as they are.
// OPENXPU_POISON, until set_poison() says otherwise.
int poison();
void set_poison(int byte);

}  // namespace openxpu
