// The procedure linkage tables of Paddle's libraries, through which even calls within one library
// go.
#include "linkage.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace openxpu::paddle_plugin {
namespace {

const char* const kLibraries[] = {"libpaddle.so", "libphi.so", "libphi_core.so"};

struct Search {
  const std::vector<Hook>& hooks;
  std::vector<bool> placed;
};

bool write_entry(void** entry, void* value) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  auto* start = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(entry) & ~(page - 1));
  // Lazily bound tables are writable; others were made read-only after loading.
  if (mprotect(start, page, PROT_READ | PROT_WRITE) != 0) return false;
  *entry = value;
  return true;
}

const char* library_name(const dl_phdr_info* info) {
  if (info->dlpi_name == nullptr) return nullptr;
  const char* slash = std::strrchr(info->dlpi_name, '/');
  const char* name = slash != nullptr ? slash + 1 : info->dlpi_name;
  for (const char* known : kLibraries) {
    if (std::strcmp(name, known) == 0) return known;
  }
  return nullptr;
}

int patch_library(dl_phdr_info* info, size_t, void* data) {
  const char* library = library_name(info);
  if (library == nullptr) return 0;
  auto& search = *static_cast<Search*>(data);
  const ElfW(Dyn)* dynamic = nullptr;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) {
      dynamic = reinterpret_cast<const ElfW(Dyn)*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    }
  }
  if (dynamic == nullptr) return 0;
  const ElfW(Rela)* relocations = nullptr;
  size_t bytes = 0;
  const ElfW(Sym)* symbols = nullptr;
  const char* strings = nullptr;
  for (; dynamic->d_tag != DT_NULL; ++dynamic) {
    switch (dynamic->d_tag) {
      case DT_JMPREL:
        relocations = reinterpret_cast<const ElfW(Rela)*>(dynamic->d_un.d_ptr);
        break;
      case DT_PLTRELSZ:
        bytes = dynamic->d_un.d_val;
        break;
      case DT_SYMTAB:
        symbols = reinterpret_cast<const ElfW(Sym)*>(dynamic->d_un.d_ptr);
        break;
      case DT_STRTAB:
        strings = reinterpret_cast<const char*>(dynamic->d_un.d_ptr);
        break;
      default:
        break;
    }
  }
  if (relocations == nullptr || symbols == nullptr || strings == nullptr) return 0;
  for (size_t r = 0; r < bytes / sizeof(ElfW(Rela)); ++r) {
    const char* text = strings + symbols[ELF64_R_SYM(relocations[r].r_info)].st_name;
    for (size_t h = 0; h < search.hooks.size(); ++h) {
      const Hook& hook = search.hooks[h];
      if (std::strcmp(text, hook.symbol) != 0) continue;
      auto** entry = reinterpret_cast<void**>(info->dlpi_addr + relocations[r].r_offset);
      if (write_entry(entry, hook.replacement) && std::strcmp(library, hook.library) == 0) {
        search.placed[h] = true;
      }
    }
  }
  return 0;
}

}  // namespace

bool install_hooks(const std::vector<Hook>& hooks) {
  // Addresses first: a hook is live from the moment its entry is written.
  for (const Hook& hook : hooks) {
    *hook.original = dlsym(RTLD_DEFAULT, hook.symbol);
    if (*hook.original == nullptr) return false;
  }
  Search search{hooks, std::vector<bool>(hooks.size(), false)};
  dl_iterate_phdr(&patch_library, &search);
  for (const bool placed : search.placed) {
    if (!placed) return false;
  }
  return true;
}

}  // namespace openxpu::paddle_plugin
