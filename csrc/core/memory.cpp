#include "core/memory.h"

#include <cstring>

#include "core/cuda.h"
#include "core/error.h"
#include "core/recording.h"
#include "core/stream.h"

namespace weft {

namespace {

void fill_bytes_on_host(Stream&, const FillBytesArgs& args) {
  std::memset(args.data, args.value, args.bytes);
}
void write_words_on_host(Stream&, const WriteWordsArgs& args) {
  for (int i = 0; i < args.count; ++i) args.to[i] = args.words[i];
}

bool on_cpu(const Array& x) { return x.device().kind == Device::Kind::cpu; }

}  // namespace

void fill_bytes(const Array& out, int value) {
  const FillBytesArgs args{out.raw(), out.nbytes(), value};
  if (args.bytes == 0) return;
  current_stream(out.device())
      .submit("poison", on_cpu(out) ? &fill_bytes_on_host : &cuda::fill_bytes, args, {&out});
}

void write_words(const Array& out, const WriteWordsArgs& args) {
  current_stream(out.device())
      .submit("set_generator", on_cpu(out) ? &write_words_on_host : &cuda::write_words, args, {&out});
}

void transfer(const char* op, const Array& out, const Array& x) {
  check_state(
      out.is_contiguous() && x.is_contiguous() && out.dtype() == x.dtype() && out.numel() == x.numel(), op,
      ": only contiguous arrays of one dtype and size can be moved, got ", x.shape(), " and ", out.shape());
  if (x.nbytes() == 0) return;
  Stream* const to = on_cpu(out) ? nullptr : &current_stream(out.device());
  Stream* const from = on_cpu(x) ? nullptr : &current_stream(x.device());
  if (to) to->use({&out});
  if (from) from->use({&x});
  if (to && x.storage()->pinned) to->use({&x});  // it is read when the stream gets there
  if (to && from) return cuda::between(*to, out.raw(), *from, x.raw(), x.nbytes());
  host_read(op);
  if (to) return cuda::to_device(*to, out.raw(), x.raw(), x.nbytes(), x.storage()->pinned);
  if (from) return cuda::to_host(*from, out.raw(), x.raw(), x.nbytes());
  std::memcpy(out.raw(), x.raw(), x.nbytes());
}

Array on_host(const char* op, const Array& x) {
  host_read(op);
  if (on_cpu(x)) return x;
  check_state(x.is_dense(), op, ": only an array without gaps can be read from ", x.device());
  const Array flat = x.with({x.numel()}, {1}, x.offset());
  const Array copy = Array::constant({x.numel()}, x.dtype());
  transfer(op, copy, flat);
  return copy.with(x.shape(), x.strides(), 0);
}

}  // namespace weft
