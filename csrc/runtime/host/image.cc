// Places the sections, applies the relocations, then makes the code executable and read-only.
#include "host/image.h"

#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "error.h"

namespace openxpu::host {
namespace {

constexpr uint64_t kPage = 4096;

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

std::string quoted(const std::string& name) { return "\"" + name + "\""; }

// An object file in memory whose every access is checked: the bytes may come from a damaged file.
class Object {
 public:
  Object(const void* data, size_t bytes) : data_(static_cast<const char*>(data)), bytes_(bytes) {
    const auto* h = at<Elf64_Ehdr>(0);
    if (std::memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_type != ET_REL)
      throw Error("A kernel image is not a relocatable ELF64 object; compile the kernel again.");
    if (h->e_machine != EM_X86_64)
      throw Error("A kernel image is for ELF machine " + std::to_string(h->e_machine) +
                  ", and this card runs x86-64 (62); compile the kernel for this card.");
    if (h->e_shentsize != sizeof(Elf64_Shdr))
      throw Error("A kernel image has a malformed section table.");
    count_ = h->e_shnum;
    sections_ = at<Elf64_Shdr>(h->e_shoff, count_);
  }
  template <typename T>
  const T* at(uint64_t offset, uint64_t count = 1) const {
    if (offset > bytes_ || count > (bytes_ - offset) / sizeof(T) || offset % alignof(T) != 0)
      throw Error(
          "A kernel image is cut short or damaged; remove it from the kernel cache and compile "
          "again.");
    return reinterpret_cast<const T*>(data_ + offset);
  }
  uint32_t count() const { return count_; }
  const Elf64_Shdr& section(uint32_t i) const {
    if (i >= count_)
      throw Error("A kernel image names section " + std::to_string(i) + " which it does not have.");
    return sections_[i];
  }
  const char* content(const Elf64_Shdr& s) const { return at<char>(s.sh_offset, s.sh_size); }
  std::string text(const Elf64_Shdr& table, uint32_t offset) const {
    const char* start = content(table);
    if (offset >= table.sh_size) throw Error("A kernel image has a name outside its string table.");
    std::string name(start + offset, strnlen(start + offset, table.sh_size - offset));
    for (char& c : name)
      if (c < 0x20 || c > 0x7E) c = '?';  // names go into messages
    return name;
  }

 private:
  const char* data_;
  size_t bytes_;
  uint32_t count_ = 0;
  const Elf64_Shdr* sections_ = nullptr;
};

bool needs_table_entry(uint32_t type) {
  return type == R_X86_64_GOTPCREL || type == R_X86_64_GOTPCRELX || type == R_X86_64_REX_GOTPCRELX;
}

}  // namespace

Image::Image(const void* elf, size_t bytes) {
  // ELF structures want 8-byte alignment; the caller's bytes may start anywhere.
  std::vector<uint64_t> aligned((bytes + 7) / 8);
  std::memcpy(aligned.data(), elf, bytes);
  Object object(aligned.data(), bytes);

  // 1. Which sections are needed at run time, and where they go: read-only and executable first,
  // then writable.
  std::vector<uint64_t> place(object.count(), UINT64_MAX);
  std::vector<bool> wanted(object.count(), false);
  for (uint32_t i = 0; i < object.count(); i++) {
    const Elf64_Shdr& s = object.section(i);
    std::string name = object.text(object.section(object.at<Elf64_Ehdr>(0)->e_shstrndx), s.sh_name);
    bool loaded =
        (s.sh_flags & SHF_ALLOC) != 0 && (s.sh_type == SHT_PROGBITS || s.sh_type == SHT_NOBITS);
    wanted[i] = loaded && name != ".eh_frame";  // kernels do not throw
    if (loaded && (s.sh_flags & SHF_TLS))
      throw Error("A kernel image uses thread-local storage (" + name +
                  "), which kernels cannot have.");
    if (wanted[i] && s.sh_addralign > kPage)
      throw Error("A kernel image wants section " + name + " aligned to " +
                  std::to_string(s.sh_addralign) + " bytes; at most 4096 is possible.");
  }
  uint64_t end = 0;
  auto lay_out = [&](bool writable) {
    for (uint32_t i = 0; i < object.count(); i++) {
      const Elf64_Shdr& s = object.section(i);
      if (!wanted[i] || ((s.sh_flags & SHF_WRITE) != 0) != writable) continue;
      if (s.sh_size > (uint64_t{1} << 30))
        throw Error("A kernel image has a section larger than 1 GB.");
      end = round_up(end, std::max<uint64_t>(1, s.sh_addralign));
      place[i] = end;
      end += s.sh_size;
    }
  };
  lay_out(false);

  // 2. The symbol table, and room for one table entry and one jump per symbol that needs them.
  const Elf64_Shdr* symbol_section = nullptr;
  for (uint32_t i = 0; i < object.count(); i++)
    if (object.section(i).sh_type == SHT_SYMTAB) symbol_section = &object.section(i);
  if (!symbol_section) throw Error("A kernel image has no symbol table.");
  uint64_t symbol_count = symbol_section->sh_size / sizeof(Elf64_Sym);
  const auto* symbols = object.at<Elf64_Sym>(symbol_section->sh_offset, symbol_count);
  const Elf64_Shdr& names = object.section(symbol_section->sh_link);

  struct Use {
    const Elf64_Rela* first;
    uint64_t count;
    uint32_t target;
  };
  std::vector<Use> uses;
  std::vector<uint64_t> table(symbol_count, UINT64_MAX), jump(symbol_count, UINT64_MAX);
  bool low_addresses = false;
  uint64_t table_entries = 0;
  for (uint32_t i = 0; i < object.count(); i++) {
    const Elf64_Shdr& s = object.section(i);
    if (s.sh_type != SHT_RELA || !wanted.at(std::min<size_t>(s.sh_info, wanted.size() - 1)))
      continue;
    Use use{object.at<Elf64_Rela>(s.sh_offset, s.sh_size / sizeof(Elf64_Rela)),
            s.sh_size / sizeof(Elf64_Rela), s.sh_info};
    uses.push_back(use);
    for (uint64_t k = 0; k < use.count; k++) {
      uint32_t type = ELF64_R_TYPE(use.first[k].r_info);
      uint64_t symbol = ELF64_R_SYM(use.first[k].r_info);
      if (symbol >= symbol_count)
        throw Error("A kernel image relocates against a symbol that it does not have.");
      low_addresses |= type == R_X86_64_32 || type == R_X86_64_32S;
      bool external = symbols[symbol].st_shndx == SHN_UNDEF;
      bool wants_jump = external && (type == R_X86_64_PLT32 || type == R_X86_64_PC32);
      if ((needs_table_entry(type) || wants_jump) && table[symbol] == UINT64_MAX)
        table[symbol] = table_entries++;
      if (wants_jump && jump[symbol] == UINT64_MAX) jump[symbol] = 0;
    }
  }
  end = round_up(end, 16);
  for (uint64_t i = 0; i < symbol_count; i++)
    if (jump[i] != UINT64_MAX) jump[i] = end, end += 16;
  for (uint64_t i = 0; i < symbol_count; i++)
    if (table[i] != UINT64_MAX) table[i] = end + 8 * table[i];
  end += 8 * table_entries;
  uint64_t fixed_bytes = end = round_up(end, kPage);
  lay_out(true);
  uint64_t total = round_up(std::max<uint64_t>(end, 1), kPage);

  // 3. Memory, contents. Some reads of constants may run past a pool's end: the last page is
  // followed by slack.
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | (low_addresses ? MAP_32BIT : 0);
  void* memory = mmap(nullptr, total, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED)
    throw Error("The system refused " + std::to_string(total) + " bytes for a kernel (" +
                std::strerror(errno) + ").");
  struct Unmap {
    void* memory;
    uint64_t bytes;
    ~Unmap() {
      if (memory) munmap(memory, bytes);
    }
  } guard{memory, total};
  auto base = reinterpret_cast<uint64_t>(memory);
  for (uint32_t i = 0; i < object.count(); i++)
    if (wanted[i] && object.section(i).sh_type == SHT_PROGBITS)
      std::memcpy(reinterpret_cast<void*>(base + place[i]), object.content(object.section(i)),
                  object.section(i).sh_size);

  auto address_of = [&](uint64_t i) -> uint64_t {
    const Elf64_Sym& s = symbols[i];
    if (s.st_shndx == SHN_UNDEF) {
      if (i == 0) return 0;
      std::string name = object.text(names, s.st_name);
      uint64_t address = allowed_function(name);
      if (address == 0)
        throw Error("A kernel image calls " + quoted(name) +
                    ", which is not on the list of functions that kernels may call (memcpy, "
                    "memset, memmove, printf and the "
                    "mathematical functions of libm); express it in the kernel instead.");
      return address;
    }
    if (s.st_shndx == SHN_ABS) return s.st_value;
    if (s.st_shndx >= object.count() || place[s.st_shndx] == UINT64_MAX)
      throw Error("A kernel image refers to " + quoted(object.text(names, s.st_name)) +
                  " in a section that is not loaded.");
    return base + place[s.st_shndx] + s.st_value;
  };
  for (uint64_t i = 0; i < symbol_count; i++) {
    if (table[i] == UINT64_MAX) continue;
    uint64_t target = address_of(i);
    std::memcpy(reinterpret_cast<void*>(base + table[i]), &target, 8);
    if (jump[i] == UINT64_MAX) continue;
    unsigned char code[6] = {0xFF, 0x25};  // jmp [rip + distance]
    auto distance = static_cast<int32_t>(table[i] - (jump[i] + 6));
    std::memcpy(code + 2, &distance, 4);
    std::memcpy(reinterpret_cast<void*>(base + jump[i]), code, 6);
  }

  // 4. Relocations.
  for (const Use& use : uses) {
    for (uint64_t k = 0; k < use.count; k++) {
      const Elf64_Rela& r = use.first[k];
      uint32_t type = ELF64_R_TYPE(r.r_info);
      uint64_t symbol = ELF64_R_SYM(r.r_info);
      uint64_t size = type == R_X86_64_64 || type == R_X86_64_PC64 ? 8 : 4;
      if (r.r_offset > object.section(use.target).sh_size ||
          object.section(use.target).sh_size - r.r_offset < size)
        throw Error("A kernel image relocates outside its section.");
      uint64_t where = base + place[use.target] + r.r_offset;
      int64_t value = 0;
      bool fits = true;
      auto fits_signed = [](int64_t v) { return v >= INT32_MIN && v <= INT32_MAX; };
      switch (type) {
        case R_X86_64_NONE:
          continue;
        case R_X86_64_64:
          value = static_cast<int64_t>(address_of(symbol)) + r.r_addend;
          break;
        case R_X86_64_PC64:
          value = static_cast<int64_t>(address_of(symbol) + r.r_addend - where);
          break;
        case R_X86_64_PC32:
        case R_X86_64_PLT32:
          value = static_cast<int64_t>(
              (jump[symbol] != UINT64_MAX ? base + jump[symbol] : address_of(symbol)) + r.r_addend -
              where);
          fits = fits_signed(value);
          break;
        case R_X86_64_GOTPCREL:
        case R_X86_64_GOTPCRELX:
        case R_X86_64_REX_GOTPCRELX:
          value = static_cast<int64_t>(base + table[symbol] + r.r_addend - where);
          fits = fits_signed(value);
          break;
        case R_X86_64_32:
          value = static_cast<int64_t>(address_of(symbol) + r.r_addend);
          fits = value >= 0 && value <= UINT32_MAX;
          break;
        case R_X86_64_32S:
          value = static_cast<int64_t>(address_of(symbol) + r.r_addend);
          fits = fits_signed(value);
          break;
        default:
          throw Error(
              "A kernel image has relocation type " + std::to_string(type) +
              ", which the loader does not know; compile kernels with the small code model.");
      }
      if (!fits)
        throw Error("A kernel image refers to " +
                    quoted(object.text(names, symbols[symbol].st_name)) +
                    " over more than 2 GB; compile kernels as position-independent code.");
      std::memcpy(reinterpret_cast<void*>(where), &value, size);
    }
  }
  for (uint64_t i = 1; i < symbol_count; i++)
    if (ELF64_ST_BIND(symbols[i].st_info) != STB_LOCAL && symbols[i].st_shndx != SHN_UNDEF &&
        symbols[i].st_shndx < object.count() && place[symbols[i].st_shndx] != UINT64_MAX)
      symbols_[object.text(names, symbols[i].st_name)] = address_of(i);

  if (fixed_bytes != 0 && mprotect(memory, fixed_bytes, PROT_READ | PROT_EXEC) != 0)
    throw Error(std::string("The system does not let this process make a kernel executable (") +
                std::strerror(errno) + "); a security policy forbids it.");
  guard.memory = nullptr;
}

uint64_t Image::symbol(const std::string& name) const {
  auto found = symbols_.find(name);
  if (found != symbols_.end()) return found->second;
  std::string known;
  for (const auto& [symbol, address] : symbols_) known += (known.empty() ? "" : ", ") + symbol;
  throw Error("A kernel image has no symbol " + quoted(name) +
              "; it has: " + (known.empty() ? "none" : known) + ".");
}

}  // namespace openxpu::host
