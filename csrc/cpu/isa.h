// The instruction set in use. The sources of cpu/ are compiled once for each, in a namespace of its own;
// `reference` is the table of the naive kernels.
#pragma once
#include <string>
#include <vector>

namespace weft {
struct Backend;
}

namespace weft::cpu {

const Backend& backend();

// The table of each of them, by name.
struct NamedTable {
  const char* name;
  const Backend* table;
};
const std::vector<NamedTable>& tables();

// "reference", "baseline", "avx2", "avx512", "avx512bf16": those built in that this processor can run, best
// last.
std::vector<std::string> available_isas();
// At first WEFT_ISA, else the best.
std::string isa();
void set_isa(const std::string& name);  // ValueError for one that is not available

}  // namespace weft::cpu
