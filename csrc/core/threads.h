// How many threads a kernel may use.
#pragma once

namespace weft {

// At first OMP_NUM_THREADS, else the processors this process may run on. After a fork the child runs
// on one thread for good: libgomp's pool does not survive a fork.
int num_threads();
void set_num_threads(int count);  // ValueError below 1

}  // namespace weft
