// Names of functions, for messages.
#pragma once

#include <string>

namespace weft::emulated {

// The function at `address`, with its template arguments; its address where there is no symbol.
std::string symbol_name(const void* address);

// "file:line" of an instruction, where the compiler left it (-g1) and there is addr2line; else an offset.
std::string source_line(const void* pc);

// The program or library that the emulator is a part of: where it is loaded, and whether it has this address.
const char* image_base();
bool in_image(const void* address);

}  // namespace weft::emulated
