// Names of functions, for messages.
#pragma once

#include <string>

namespace weft::emulated {

// The function at `address`, with its template arguments; its address where there is no symbol.
std::string symbol_name(const void* address);

}  // namespace weft::emulated
