// Moving and setting bytes on any device, in the order of its stream.
#pragma once
#include <cstddef>
#include <cstdint>

namespace weft {

class Array;

struct FillBytesArgs {
  void* data;
  std::size_t bytes;
  int value;
};
struct WriteWordsArgs {  // to[i] = words[i], i < count <= 2
  std::uint64_t* to;
  int count;
  std::uint64_t words[2];
};

struct CopyBlocksArgs {  // bytes from each `from` to its `to`, which do not overlap; on one device
  static constexpr int most = 8;
  struct Part {
    void* to;
    const void* from;
    std::size_t bytes;  // at least 1
  };
  int count;
  Part parts[most];
};

// Submits it: a recording keeps it.
void fill_bytes(const Array& out, int value);
void write_words(const Array& out, const WriteWordsArgs& args);

// Copies a contiguous array to a contiguous one of the same dtype and number of elements, on any two devices.
// A copy to the host waits for the device. To and from the host it is no step of a recording but happens at
// once, so it is a read on the host in the sense of host_read(), and `op` names it.
void transfer(const char* op, const Array& out, const Array& x);

// An array on the host with x's elements: x itself where it lies there, else a copy in x's memory order.
// RuntimeError inside of a capture, by host_read().
Array on_host(const char* op, const Array& x);

}  // namespace weft
