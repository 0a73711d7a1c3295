// What the rest of the library asks of the CUDA backend. cuda/ implements it where CMake found a toolkit, and
// no_cuda/ elsewhere; nothing outside of these two folders is compiled differently.
#pragma once

namespace weft {

class Allocator;
class Stream;
struct Backend;

namespace cuda {

bool built();        // this build has the backend
int device_count();  // 0 where there is no driver, no device, or no backend
// RuntimeError where that device cannot be used.
const Backend& backend(int device);
Allocator& allocator(int device);
Stream& stream(int device);

}  // namespace cuda
}  // namespace weft
