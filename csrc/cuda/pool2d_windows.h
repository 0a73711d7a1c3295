// The windows of a pooling: which elements of a plane one has, and which windows an element lies in. See
// ops/pool2d.h; the same arithmetic as reference/pool2d.cpp.
//
// I: the type of all sizes and offsets, std::int32_t where everything fits, else std::int64_t.
#pragma once
#include "cuda/device/vec.h"
#include "cuda/kernels.h"

namespace weft::cuda {

// The rows (or columns) of a window that lie inside of the plane: begin, begin + step, ... below end. Or the
// windows that hold a row: a range of them, step 1.
template <class I>
struct Span {
  I begin, end, step;
  I padded;  // how many rows the window has inside of the padded image
};

template <class I>
struct Windows {
  I C, H, W, R, S, P, Q;
  I stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  bool adaptive, channels_last;

  explicit Windows(const Pool2dParams& p)
      : C(static_cast<I>(p.C)),
        H(static_cast<I>(p.H)),
        W(static_cast<I>(p.W)),
        R(static_cast<I>(p.R)),
        S(static_cast<I>(p.S)),
        P(static_cast<I>(p.P)),
        Q(static_cast<I>(p.Q)),
        stride_h(static_cast<I>(p.stride_h)),
        stride_w(static_cast<I>(p.stride_w)),
        pad_h(static_cast<I>(p.pad_h)),
        pad_w(static_cast<I>(p.pad_w)),
        dilation_h(static_cast<I>(p.dilation_h)),
        dilation_w(static_cast<I>(p.dilation_w)),
        adaptive(p.adaptive),
        channels_last(p.channels_last) {}

  __device__ Span<I> rows(I p) const {
    return adaptive ? adaptive_span(p, H, P) : fixed_span(p, H, R, stride_h, pad_h, dilation_h);
  }
  __device__ Span<I> columns(I q) const {
    return adaptive ? adaptive_span(q, W, Q) : fixed_span(q, W, S, stride_w, pad_w, dilation_w);
  }
  // The window rows that hold row h; with a dilation some of these may pass it by.
  __device__ Span<I> holding_row(I h) const {
    return adaptive ? adaptive_holding(h, H, P) : fixed_holding(h, P, R, stride_h, pad_h, dilation_h);
  }
  __device__ Span<I> holding_column(I w) const {
    return adaptive ? adaptive_holding(w, W, Q) : fixed_holding(w, Q, S, stride_w, pad_w, dilation_w);
  }

 private:
  __device__ static Span<I> fixed_span(I i, I in, I kernel, I stride, I pad, I dilation) {
    const I start = i * stride - pad, end = start + dilation * (kernel - 1) + 1;
    const I begin = start >= 0 ? start : start + (-start + dilation - 1) / dilation * dilation;
    return {begin, min(end, in), dilation, min(end, in + pad) - start};
  }
  __device__ static Span<I> adaptive_span(I i, I in, I out) {
    const I begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
    return {begin, end, 1, end - begin};
  }
  // Window i holds h where i stride - pad <= h < i stride - pad + extent.
  __device__ static Span<I> fixed_holding(I h, I out, I kernel, I stride, I pad, I dilation) {
    const I before = h + pad - dilation * (kernel - 1);  // its window would end at h
    return {before > 0 ? (before + stride - 1) / stride : 0, min((h + pad) / stride + 1, out), 1, 0};
  }
  // floor(i in / out) <= h < ceil((i + 1) in / out) where floor(h out / in) <= i < ceil((h + 1) out / in).
  __device__ static Span<I> adaptive_holding(I h, I in, I out) { return adaptive_span(h, out, in); }
};

// Where a thread's V neighbouring channels (V = 1 unless the channels lie last) are.
template <class I>
struct PoolPlace {
  I plane;     // n C + c; with the channels last n, and c separately
  I row, col;  // in the plane that the threads are numbered by
  I channel;   // the first of V; 0 where planes lie one after the other
};
// Thread i of planes of rows x cols.
template <int V, class I>
__device__ __forceinline__ PoolPlace<I> pool_place(const Windows<I>& g, I i, I rows, I cols) {
  PoolPlace<I> at{};
  if (g.channels_last) {
    const I packs = g.C / V;
    at.channel = i % packs * V;
    i /= packs;
  }
  at.col = i % cols;
  i /= cols;
  at.row = i % rows;
  at.plane = i / rows;
  return at;
}
// The offset of element j of that plane, of planes of `size` elements.
template <class I>
__device__ __forceinline__ I pool_offset(const Windows<I>& g, const PoolPlace<I>& at, I size, I j) {
  return g.channels_last ? (at.plane * size + j) * g.C + at.channel : at.plane * size + j;
}

}  // namespace weft::cuda
