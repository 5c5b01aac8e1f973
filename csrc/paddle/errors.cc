// Which Paddle error stands for which of ours.
#include "errors.h"

#include <cstdlib>

#include "error.h"
#include "paddle/phi/core/enforce.h"
#include "paddle/phi/core/memory/allocation/allocator.h"
#include "planner.h"

namespace openxpu::paddle_plugin {

void rethrow_for_paddle() {
  try {
    throw;
  } catch (const OutOfMemory& error) {
    PADDLE_THROW(common::errors::ResourceExhausted("%s", error.what()));
  } catch (const PlanError& error) {
    if (error.type == "Unsupported")
      PADDLE_THROW(common::errors::Unimplemented("%s", error.what()));
    PADDLE_THROW(common::errors::External("%s", error.what()));
  } catch (const Error& error) {
    PADDLE_THROW(common::errors::External("%s", error.what()));
  }
  // Paddle's own exceptions passed through above.
  std::abort();
}

}  // namespace openxpu::paddle_plugin
