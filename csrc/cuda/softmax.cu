// Softmax and log-softmax; the formulas are in ops/softmax.h.
//
//   softmax_rows     the axis is the last one, and not long: a row lies in the registers of 8, 32 or 256
//                    threads. The array is read once and written once.
//   softmax_columns  any other: neighbouring threads take neighbouring columns, the threads of a block share
//                    the rows. The largest value and the sum come from one pass ("online": a new largest
//                    value rescales the sum so far), the result from a second one, which finds most of the
//                    array in the cache.
//
// Sums are double: the exponentials cost ten times as much. Bytes of a float32 element: forward 8,
// backward 12. Source of the online sum: Milakov, Gimelshein 2018.
#include "cuda/device/columns.h"
#include "cuda/device/math.h"
#include "cuda/device/row.h"
#include "cuda/kernels.h"

namespace weft::cuda {

namespace {

template <class T, class Shape>
__global__ void __launch_bounds__(row_block)
    softmax_rows(std::int64_t rows, int length, bool log, const T* x, T* out) {
  const std::int64_t row = blockIdx.x * std::int64_t{Shape::rows} + threadIdx.x / Shape::Threads;
  const int n = row < rows ? length : 0;
  T values[Shape::K];
  Shape::load(values, x + row * length, n);
  T largest = Larger<T>::identity();
#pragma unroll
  for (int k = 0; k < Shape::K; ++k)
    if (Shape::place(k) < n) largest = Larger<T>::combine(largest, values[k]);
  largest = Shape::template reduce<Larger<T>>(largest);
  double sum = 0;
#pragma unroll
  for (int k = 0; k < Shape::K; ++k) {
    if (Shape::place(k) >= n) continue;
    values[k] -= largest;
    const T exponential = math::exp(values[k]);
    sum += static_cast<double>(exponential);
    if (!log) values[k] = exponential;
  }
  sum = Shape::template reduce<Sum<double>>(sum);
  const T scale = static_cast<T>(1 / sum), shift = static_cast<T>(math::log(sum));
#pragma unroll
  for (int k = 0; k < Shape::K; ++k) values[k] = log ? values[k] - shift : values[k] * scale;
  Shape::store(out + row * length, values, n);
}

template <class T, class Shape>
__global__ void __launch_bounds__(row_block)
    softmax_rows_backward(std::int64_t rows, int length, bool log, const T* dout, const T* out, T* dx) {
  const std::int64_t row = blockIdx.x * std::int64_t{Shape::rows} + threadIdx.x / Shape::Threads;
  const int n = row < rows ? length : 0;
  T dy[Shape::K], y[Shape::K];
  Shape::load(dy, dout + row * length, n);
  Shape::load(y, out + row * length, n);
  double sum = 0;
#pragma unroll
  for (int k = 0; k < Shape::K; ++k)
    if (Shape::place(k) < n)
      sum += log ? static_cast<double>(dy[k]) : static_cast<double>(dy[k]) * static_cast<double>(y[k]);
  const T total = static_cast<T>(Shape::template reduce<Sum<double>>(sum));
#pragma unroll
  for (int k = 0; k < Shape::K; ++k)
    if (Shape::place(k) < n) dy[k] = log ? dy[k] - math::exp(y[k]) * total : y[k] * (dy[k] - total);
  Shape::store(dx + row * length, dy, n);
}

// --- any axis

template <class T>
__global__ void __launch_bounds__(row_block) softmax_columns(Columns c, bool log, const T* x, T* out) {
  for (std::int64_t tile = blockIdx.x; tile < c.tiles; tile += gridDim.x) {
    const auto place = c.place(tile);
    const std::int64_t start = place.start, n = place.exists ? c.n : 0;
    Online<T> all = JoinOnline<T>::identity();
#pragma unroll 2
    for (std::int64_t i = c.first_row(); i < n; i += c.rows())
      all = JoinOnline<T>::add(all, x[start + i * c.inner]);
    all = column_reduce<JoinOnline<T>, row_block>(all, c.across);
    all.sum += static_cast<double>(all.largest - all.largest);  // plus infinity: NaN
    const T scale = static_cast<T>(1 / all.sum), shift = static_cast<T>(math::log(all.sum));
#pragma unroll 2
    for (std::int64_t i = c.first_row(); i < n; i += c.rows()) {
      const T value = x[start + i * c.inner] - all.largest;
      out[start + i * c.inner] = log ? value - shift : math::exp(value) * scale;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(row_block)
    softmax_columns_backward(Columns c, bool log, const T* dout, const T* out, T* dx) {
  for (std::int64_t tile = blockIdx.x; tile < c.tiles; tile += gridDim.x) {
    const auto place = c.place(tile);
    const std::int64_t start = place.start, n = place.exists ? c.n : 0;
    double sum = 0;
#pragma unroll 2
    for (std::int64_t i = c.first_row(); i < n; i += c.rows()) {
      const std::int64_t at = start + i * c.inner;
      sum +=
          log ? static_cast<double>(dout[at]) : static_cast<double>(dout[at]) * static_cast<double>(out[at]);
    }
    const T total = static_cast<T>(column_reduce<Sum<double>, row_block>(sum, c.across));
#pragma unroll 2
    for (std::int64_t i = c.first_row(); i < n; i += c.rows()) {
      const std::int64_t at = start + i * c.inner;
      const T y = out[at], dy = dout[at];
      dx[at] = log ? dy - math::exp(y) * total : y * (dy - total);
    }
  }
}

template <class T>
void forward(const Stream& stream, const SoftmaxArgs& a) {
  const auto* x = static_cast<const T*>(a.x);
  auto* out = static_cast<T*>(a.out);
  const auto rows = [&]<class Shape>(Shape) {
    launch_grid<row_block>(stream, softmax_rows<T, Shape>,
                           static_cast<unsigned>(ceil_div(a.outer, Shape::rows)), a.outer,
                           static_cast<int>(a.n), a.log, x, out);
  };
  if (a.inner == 1 && with_row_shape_of < T,
      sizeof(T) == 4 ? 32 : 16 > (a.outer, a.n, aligned(x) && aligned(out), rows))
    return;
  const Columns c(a.outer, a.n, a.inner);
  launch_grid<row_block>(stream, softmax_columns<T>, c.grid(), c, a.log, x, out);
}

template <class T>
void backward(const Stream& stream, const SoftmaxBackwardArgs& a) {
  const auto *dout = static_cast<const T*>(a.dout), *out = static_cast<const T*>(a.out);
  auto* dx = static_cast<T*>(a.dx);
  const auto rows = [&]<class Shape>(Shape) {
    launch_grid<row_block>(stream, softmax_rows_backward<T, Shape>,
                           static_cast<unsigned>(ceil_div(a.outer, Shape::rows)), a.outer,
                           static_cast<int>(a.n), a.log, dout, out, dx);
  };
  if (a.inner == 1 && with_row_shape_of < T,
      sizeof(T) == 4 ? 32 : 16 > (a.outer, a.n, aligned(dout) && aligned(out) && aligned(dx), rows))
    return;
  const Columns c(a.outer, a.n, a.inner);
  launch_grid<row_block>(stream, softmax_columns_backward<T>, c.grid(), c, a.log, dout, out, dx);
}

}  // namespace

void softmax_forward(Stream& stream, const SoftmaxArgs& a) {
  a.dtype == DType::float32 ? forward<float>(stream, a) : forward<double>(stream, a);
}
void softmax_backward(Stream& stream, const SoftmaxBackwardArgs& a) {
  a.dtype == DType::float32 ? backward<float>(stream, a) : backward<double>(stream, a);
}

}  // namespace weft::cuda
