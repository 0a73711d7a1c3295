// The CUDA backend of a build without CUDA: it says so.
#include "core/cuda.h"
#include "core/error.h"
#include "core/stream.h"

namespace weft::cuda {

namespace {
// WEFT_NO_CUDA is why, from CMake.
constexpr const char* reason =
    "this build of weft has no CUDA backend (" WEFT_NO_CUDA
    "); where there is a CUDA toolkit, `pip install . -C cmake.define.WEFT_CUDA=ON` builds it";
[[noreturn]] void refuse() { throw StateError(str("cuda: ", reason)); }
}  // namespace

bool built() { return false; }
bool emulated() { return false; }
int device_count() { return 0; }
std::string unavailable_reason() { return reason; }
Versions versions() { return {}; }
DeviceInfo device_info(int) { refuse(); }
const Backend& backend(int) { refuse(); }
Allocator& allocator(int) { refuse(); }
OnDevice::OnDevice(int) { refuse(); }
OnDevice::~OnDevice() = default;
Stream& stream(int) { refuse(); }
Stream& new_stream(int) { refuse(); }
void set_stream(Stream&) { refuse(); }
void synchronize(int) { refuse(); }
void synchronize(Stream&) { refuse(); }
bool finished(Stream&) { refuse(); }
void launched(Stream&, const char*) { refuse(); }
void order(Stream&, Stream&) { refuse(); }
void order_foreign(Stream&, std::uintptr_t) { refuse(); }
void finish(Stream&) noexcept {}
void keep_until_idle(std::shared_ptr<Storage>) noexcept {}
std::unique_ptr<Event> new_event(int, bool) { refuse(); }
void* allocate_pinned(std::size_t) { refuse(); }
void free_pinned(void*) noexcept {}
void to_device(Stream&, void*, const void*, std::size_t, bool) { refuse(); }
void to_host(Stream&, void*, const void*, std::size_t) { refuse(); }
void between(Stream&, void*, Stream&, const void*, std::size_t) { refuse(); }
void fill_bytes(Stream&, const FillBytesArgs&) { refuse(); }
void copy_blocks(Stream&, const CopyBlocksArgs&) { refuse(); }
void write_words(Stream&, const WriteWordsArgs&) { refuse(); }
std::unique_ptr<Graph> make_graph(int, const std::function<void(Stream&)>&, Allocator&) { refuse(); }

}  // namespace weft::cuda
