// What Python reads from the plug-in (openxpu/paddle/counters.py, by ctypes).
#include <sstream>
#include <string>

#include "fallback.h"
#include "kernel_table.h"

#define OPENXPU_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

// The text lives until the calling thread's next call.
const char* keep(std::string text) {
  thread_local std::string kept;
  kept = std::move(text);
  return kept.c_str();
}

}  // namespace

using openxpu::paddle_plugin::all_kernels;

// Lines "name count": calls that ran on a card.
OPENXPU_EXPORT const char* openxpu_paddle_native_calls() {
  std::ostringstream out;
  for (auto* kernel : all_kernels()) {
    if (const auto calls = kernel->native_calls.load()) out << kernel->name << ' ' << calls << '\n';
  }
  return keep(out.str());
}

// Lines "name count": calls that ran on the CPU instead.
OPENXPU_EXPORT const char* openxpu_paddle_fallbacks() {
  return keep(openxpu::paddle_plugin::fallback_lines());
}

// Lines "name plans": plans made since the start, and how many are kept now.
OPENXPU_EXPORT const char* openxpu_paddle_plans() {
  std::ostringstream out;
  for (auto* kernel : all_kernels()) {
    if (const auto plans = kernel->plans_made.load()) {
      out << kernel->name << ' ' << plans << ' ' << kernel->cache.size() << '\n';
    }
  }
  return keep(out.str());
}

// Lines "name group dtype...": all registered kernels.
OPENXPU_EXPORT const char* openxpu_paddle_kernels() {
  std::string out;
  for (auto* kernel : all_kernels()) {
    out += kernel->name + ' ' + kernel->group;
    for (const auto& dtype : kernel->dtypes) out += ' ' + dtype;
    out += '\n';
  }
  return keep(std::move(out));
}

OPENXPU_EXPORT void openxpu_paddle_reset_counters() {
  for (auto* kernel : all_kernels()) {
    kernel->native_calls.store(0);
    kernel->refused_calls.store(0);
  }
  openxpu::paddle_plugin::reset_fallbacks();
}

OPENXPU_EXPORT void openxpu_paddle_clear_plans() {
  for (auto* kernel : all_kernels()) kernel->cache.clear();
}
