#include "core/stream.h"

#include "core/cuda.h"

namespace weft {

namespace {

void order_use(Storage& storage, Stream& stream) {
  if (storage.stream && storage.stream != &stream) cuda::order(*storage.stream, stream);
  storage.stream = &stream;
}

}  // namespace

void Stream::use(std::initializer_list<const Array*> arrays) {
  for (const Array* x : arrays)
    if (x->defined() && x->device() == device_) order_use(*x->storage(), *this);
}

void Stream::use(const std::vector<std::shared_ptr<Storage>>& storages) {
  for (const auto& storage : storages)
    if (storage->device == device_) order_use(*storage, *this);
}

void Stream::wait() { cuda::synchronize(*this); }

void Stream::launched(const char* name) { cuda::launched(*this, name); }

}  // namespace weft
