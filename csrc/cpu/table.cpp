#include "cpu/kernels.h"

namespace weft::cpu::WEFT_ISA {

extern const Backend table;
const Backend table = {WEFT_KERNELS(WEFT_TABLE_ENTRY)};

}  // namespace weft::cpu::WEFT_ISA
