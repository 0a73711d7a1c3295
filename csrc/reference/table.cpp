#include "reference/kernels.h"

namespace weft::reference {

const Backend table = {WEFT_KERNELS(WEFT_TABLE_ENTRY)};

}  // namespace weft::reference
