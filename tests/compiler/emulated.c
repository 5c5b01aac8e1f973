// Runs one kernel for tests: emulated IN OUT. IN has the arguments, OUT gets the arrays back; the exit status is the
// kernel's result.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

extern int32_t openxpu_entry(const uint64_t *args, const uint32_t grid[3], uint64_t begin, uint64_t end, void *scratch);

static void get(FILE *f, void *to, size_t bytes) {
  if (fread(to, 1, bytes, f) != bytes) exit(126);
}

// A block whose end is followed by a page that may not be touched.
static char *guarded(uint64_t bytes) {
  uint64_t pages = (bytes + 4095) / 4096 * 4096;
  char *base = mmap(NULL, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED || mprotect(base + pages, 4096, PROT_NONE) != 0) exit(126);
  return base + pages - bytes;
}

int main(int argc, char **argv) {
  if (argc != 3) return 126;
  FILE *in = fopen(argv[1], "rb");
  if (!in) return 126;
  uint64_t count, scratch_bytes, args[64], sizes[64];
  uint32_t grid[3];
  get(in, &count, 8);
  get(in, &scratch_bytes, 8);
  get(in, grid, 12);
  if (count > 64) return 126;
  for (uint64_t i = 0; i < count; i++) {  // size in bytes and contents; a scalar has size 0 and eight bytes
    get(in, &sizes[i], 8);
    if (sizes[i] == 0) {
      get(in, &args[i], 8);
    } else {
      char *block = guarded(sizes[i]);
      get(in, block, sizes[i]);
      args[i] = (uint64_t)block;
    }
  }
  void *scratch = aligned_alloc(64, (scratch_bytes + 127) / 64 * 64);
  int32_t result = openxpu_entry(args, grid, 0, (uint64_t)grid[0] * grid[1] * grid[2], scratch);
  FILE *out = fopen(argv[2], "wb");
  if (!out) return 126;
  for (uint64_t i = 0; i < count; i++)
    if (sizes[i]) fwrite((void *)args[i], 1, sizes[i], out);
  if (fclose(out) != 0) return 126;
  return result;
}
