// All OPENXPU_* variables that the run time reads, in one place; openxpu/environment.py documents
// them for users.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace openxpu {

struct Environment {
  int cards = 1;            // OPENXPU_CARDS: how many cards this machine shows
  int64_t card_memory = 0;  // OPENXPU_CARD_MEMORY: bytes per card ("4G", "512M", "2500000")
  int card_threads = 1;     // OPENXPU_CARD_THREADS: workers per card
  bool blocking = false;    // OPENXPU_BLOCKING=1: every command is waited for
  int poison = -1;          // OPENXPU_POISON: the byte that fresh memory is filled with; -1: none
  bool guard = false;       // OPENXPU_GUARD=1: every block ends at a page without access
  std::optional<bool> shared_arena;  // OPENXPU_ARENA=private|shared; without it, shared_arena()
  int64_t collective_timeout_ns = 60'000'000'000;  // OPENXPU_COLLECTIVE_TIMEOUT, in seconds
};

// Read at first use. Throws Error when a variable cannot be understood.
const Environment& environment();

// Whether a card that is opened now gets memory that other processes can map: ranks of a card group
// do. Everyone else gets anonymous memory, because only that comes in huge pages where the system
// keeps them from shared memory. Asked when a card is opened, and not at first use: programs that
// start their ranks themselves name the group (PADDLE_TRAINERS_NUM) after Paddle was imported.
bool shared_arena();

// "4G", "1.5G", "512M", "64K", "1000": bytes. Throws Error naming the variable.
int64_t parse_bytes(const char* variable, const std::string& text);

}  // namespace openxpu
