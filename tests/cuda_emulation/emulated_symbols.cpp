#include "emulated_symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

namespace weft::emulated {
namespace {

// Looks `offset` up in the file's table of symbols, which unlike dladdr's has the hidden ones too.
std::string symbol_in_file(const char* path, std::size_t offset) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (bytes.size() < sizeof(Elf64_Ehdr) || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) return "";
  const auto& header = *reinterpret_cast<const Elf64_Ehdr*>(bytes.data());
  if (header.e_shoff + header.e_shnum * sizeof(Elf64_Shdr) > bytes.size()) return "";
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(bytes.data() + header.e_shoff);
  for (int s = 0; s < header.e_shnum; ++s) {
    if (sections[s].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const Elf64_Sym*>(bytes.data() + sections[s].sh_offset);
    const char* names = bytes.data() + sections[sections[s].sh_link].sh_offset;
    for (std::size_t i = 0; i < sections[s].sh_size / sizeof(Elf64_Sym); ++i)
      if (ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC && offset >= symbols[i].st_value &&
          offset < symbols[i].st_value + symbols[i].st_size)
        return names + symbols[i].st_name;
  }
  return "";
}

struct Image {
  const char *base = nullptr, *end = nullptr;
  const char* path = nullptr;
};

const Image& image() {
  static const Image found = [] {
    Image i;
    Dl_info info{};
    dladdr(reinterpret_cast<const void*>(&symbol_in_file), &info);
    i.base = static_cast<const char*>(info.dli_fbase);
    i.path = info.dli_fname;
    dl_iterate_phdr(
        [](dl_phdr_info* object, std::size_t, void* data) {
          Image& own = *static_cast<Image*>(data);
          for (int h = 0; h < object->dlpi_phnum; ++h) {
            const ElfW(Phdr)& header = object->dlpi_phdr[h];
            if (header.p_type != PT_LOAD) continue;
            const char* begin = reinterpret_cast<const char*>(object->dlpi_addr + header.p_vaddr);
            // The object whose first segment lies at our base.
            if (header.p_offset == 0 && begin != own.base) return 0;
            if (begin + header.p_memsz > own.end) own.end = begin + header.p_memsz;
          }
          return 1;
        },
        &i);
    return i;
  }();
  return found;
}

}  // namespace

const char* image_base() { return image().base; }
bool in_image(const void* address) {
  const auto* p = static_cast<const char*>(address);
  return p >= image().base && p < image().end;
}

std::string source_line(const void* pc) {
  const std::size_t offset = static_cast<std::size_t>(static_cast<const char*>(pc) - image_base()) - 1;
  char text[512];
  std::snprintf(text, sizeof text, "addr2line -i -e '%s' %#zx 2>/dev/null", image().path, offset);
  if (FILE* pipe = popen(text, "r")) {
    // One line for each function that was inlined, the innermost first; without the emulator's own.
    std::string places;
    while (std::fgets(text, sizeof text, pipe) != nullptr) {
      std::string line = text;
      line = line.substr(0, line.find_first_of(" \n"));
      if (line.empty() || line[0] == '?' || line.find("/emulated_") != std::string::npos) continue;
      places += places.empty() ? line : " (in " + line.substr(line.rfind('/') + 1) + ")";
    }
    pclose(pipe);
    if (!places.empty()) return places;
  }
  std::snprintf(text, sizeof text, "%s+%#zx", image().path, offset);
  return text;
}

std::string symbol_name(const void* address) {
  Dl_info info{};
  std::string mangled;
  if (dladdr(address, &info) != 0 && info.dli_fname != nullptr) {
    const auto at = reinterpret_cast<std::size_t>(address),
               base = reinterpret_cast<std::size_t>(info.dli_fbase);
    mangled = symbol_in_file(info.dli_fname, at - base);
    if (mangled.empty()) mangled = symbol_in_file(info.dli_fname, at);  // a program with fixed addresses
    if (mangled.empty() && info.dli_sname != nullptr) mangled = info.dli_sname;
  }
  if (mangled.empty()) {
    char text[32];
    std::snprintf(text, sizeof text, "at %p", address);
    return text;
  }
  int status = 0;
  char* name = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  const std::string result = status == 0 ? name : mangled;
  std::free(name);
  return result;
}

}  // namespace weft::emulated
