// The byte of OPENXPU_POISON, which tests may change while they run.
#include "poison.h"

#include <atomic>
#include <string>

#include "environment.h"
#include "error.h"

namespace openxpu {
namespace {

std::atomic<int>& byte() {
  static std::atomic<int> instance{environment().poison};
  return instance;
}

}  // namespace

int poison() { return byte().load(std::memory_order_relaxed); }

void set_poison(int value) {
  if (value < -1 || value > 255)
    throw Error("Memory is poisoned with a byte, 0 to 255, or -1 for none; " +
                std::to_string(value) + " was given.");
  byte().store(value, std::memory_order_relaxed);
}

}  // namespace openxpu
