#include "emulated_symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>

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

}  // namespace

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
