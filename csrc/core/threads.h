// How many threads a kernel may use, and the threads themselves, which are OpenMP's.
#pragma once
#include <cstdint>

namespace weft {

// At first OMP_NUM_THREADS, else the processors this process may run on; 1 in a forked child.
int num_threads();
void set_num_threads(int count);  // ValueError below 1 and beyond 1023
const char* threads_runtime();    // for weft.config()

// Does the tasks begin, ..., end - 1.
using Tasks = void (*)(void* context, std::int64_t begin, std::int64_t end);

// All tasks below `count`, on the calling thread and up to threads - 1 others. Which thread does a task is
// not fixed: each begins with its own share, the same for the same count, and takes what is left of the
// others' shares when that is done. So nobody waits for a thread to which the system gives no processor.
// Where the threads are busy already, with another caller's tasks or with those that call this, the caller
// does all itself. The other threads take over the caller's float mode. An exception ends in the caller,
// after all have stopped.
void run_tasks(std::int64_t count, int threads, Tasks tasks, void* context);

// Whether the calling thread is at such tasks.
bool in_tasks();

}  // namespace weft
