#include "core/stream.h"

#include "core/cuda.h"

namespace weft {

namespace {

void order_use(Storage& storage, Stream& stream) {
  if (storage.device != stream.device() && !storage.pinned) return;
  if (storage.stream.load(std::memory_order_relaxed) == &stream) return;
  if (Stream* const before = storage.stream.exchange(&stream)) cuda::order(*before, stream);
}

}  // namespace

void Stream::use(std::initializer_list<const Array*> arrays) {
  for (const Array* x : arrays)
    if (x->defined()) order_use(*x->storage(), *this);
}

void Stream::use(const std::vector<std::shared_ptr<Storage>>& storages) {
  for (const auto& storage : storages) order_use(*storage, *this);
}

void Stream::wait() { cuda::synchronize(*this); }

void Stream::launched(const char* name) { cuda::launched(*this, name); }

}  // namespace weft
