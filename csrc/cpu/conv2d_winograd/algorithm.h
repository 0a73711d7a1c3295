// The matrices of Winograd's minimal filtering, as straight-line code on vectors of channels.
//
// One dimension. A filter g of r numbers slides over n = m + r - 1 inputs d and gives m outputs y. Read as
// polynomials, the transposed problem is the product of g (degree r-1) and y (degree m-1): of degree n-1, so
// known from its values at n points. With n-1 finite points p and the point at infinity (the leading
// coefficient), Lagrange's formula gives
//
//   y = A^T [(G g) . (B^T d)]      . = product of each with each
//   A  (n x m)   row i  1, p_i, .., p_i^(m-1);                          last row 0, .., 0, 1
//   G  (n x r)   row i  (1, p_i, .., p_i^(r-1)) / prod_{j != i}(p_i - p_j);  last row 0, .., 0, 1
//   B^T (n x n)  row i  coefficients of prod_{j != i}(x - p_j);         last row of prod_j (x - p_j)
//
// n multiplications where the definition has m r. Two dimensions: each matrix from both sides, n^2 for
// m^2 r^2. B depends on the points alone: F(4x4,3x3), F(3x3,4x4), F(2x2,5x5) and F(5x5,2x2) share it.
//
// The points {0, +-1/sqrt2, +-sqrt2, inf} lose two to five times less than the usual {0, +-1, +-2, inf}:
// their powers grow less, and a pair of opposite points shares the even and the odd half of each sum.
// F(2x2,3x3) has {0, +-1, inf} and needs no multiplication but by 1/2.
//
// Infinity matters only to the last output: y_(m-1) is the one number with a product of the last plane. So a
// tile that is one output narrower just leaves that plane out, and 7 = 4 + 3, 14 = 4 + 4 + 3 + 3 waste
// nothing.
//
// Gradients are the transposes: dg = G^T [(A dy) . (B^T d)] summed over tiles; the gradient by the input is
// the forward map with the filter turned. scripts/generate/winograd_matrices.py derives the numbers below and checks
// them. Source: Winograd, "Arithmetic complexity of computations", 1980; Lavin, Gray, "Fast algorithms for
// convolutional neural networks", 2016; Barabasz, Anderson, Soodhalter, Gregg, "Error analysis and improving
// the accuracy of Winograd convolution for deep neural networks", 2020 (points).
#pragma once
#include "cpu/simd/vec.h"

namespace weft::cpu::WEFT_ISA {

using Vec = VecOf<float>::type;
constexpr int L = lanes_of<float>;

constexpr float root2 = 1.41421356237309504880f, root_half = 0.70710678118654752440f;

// What F(4x4,3x3), F(3x3,4x4), F(2x2,5x5) and F(5x5,2x2) share: p = 0, s, -s, t, -t, inf with s = 1/sqrt2, t
// = sqrt2.
struct SixPoints {
  static constexpr int n = 6;
  static constexpr bool infinity = true;  // the last plane is that of infinity

  // v = B^T d
  [[gnu::always_inline]] static inline void input(const Vec (&d)[6], Vec (&v)[6]) {
    const Vec even_s = d[4] - 2.0f * d[2], odd_s = d[3] - 2.0f * d[1];
    const Vec even_t = d[4] - 0.5f * d[2], odd_t = d[3] - 0.5f * d[1];
    v[0] = d[4] - 2.5f * d[2] + d[0];
    v[1] = even_s + root_half * odd_s;
    v[2] = even_s - root_half * odd_s;
    v[3] = even_t + root2 * odd_t;
    v[4] = even_t - root2 * odd_t;
    v[5] = d[5] - 2.5f * d[3] + d[1];
  }
  // d = B v, the transpose.
  [[gnu::always_inline]] static inline void dinput(const Vec (&v)[6], Vec (&d)[6]) {
    const Vec even_s = v[1] + v[2], odd_s = root_half * (v[1] - v[2]);
    const Vec even_t = v[3] + v[4], odd_t = root2 * (v[3] - v[4]);
    d[0] = v[0];
    d[1] = v[5] - 2.0f * odd_s - 0.5f * odd_t;
    d[2] = -2.5f * v[0] - 2.0f * even_s - 0.5f * even_t;
    d[3] = odd_s + odd_t - 2.5f * v[5];
    d[4] = v[0] + even_s + even_t;
    d[5] = v[5];
  }
  // Values of a polynomial with 4 coefficients at the six points.
  [[gnu::always_inline]] static inline void values4(const Vec (&c)[4], Vec (&v)[6]) {
    const Vec even_s = c[0] + 0.5f * c[2], odd_s = root_half * (c[1] + 0.5f * c[3]);
    const Vec even_t = c[0] + 2.0f * c[2], odd_t = root2 * (c[1] + 2.0f * c[3]);
    v[0] = c[0];
    v[1] = even_s + odd_s;
    v[2] = even_s - odd_s;
    v[3] = even_t + odd_t;
    v[4] = even_t - odd_t;
    v[5] = c[3];
  }
  [[gnu::always_inline]] static inline void values2(const Vec (&c)[2], Vec (&v)[6]) {
    const Vec odd_s = root_half * c[1], odd_t = root2 * c[1];
    v[0] = c[0];
    v[1] = c[0] + odd_s;
    v[2] = c[0] - odd_s;
    v[3] = c[0] + odd_t;
    v[4] = c[0] - odd_t;
    v[5] = c[1];
  }
  [[gnu::always_inline]] static inline void values3(const Vec (&c)[3], Vec (&v)[6]) {
    const Vec even_s = c[0] + 0.5f * c[2], odd_s = root_half * c[1];
    const Vec even_t = c[0] + 2.0f * c[2], odd_t = root2 * c[1];
    v[0] = c[0];
    v[1] = even_s + odd_s;
    v[2] = even_s - odd_s;
    v[3] = even_t + odd_t;
    v[4] = even_t - odd_t;
    v[5] = c[2];
  }
  [[gnu::always_inline]] static inline void values5(const Vec (&c)[5], Vec (&v)[6]) {
    const Vec even_s = c[0] + 0.5f * c[2] + 0.25f * c[4], odd_s = root_half * (c[1] + 0.5f * c[3]);
    const Vec even_t = c[0] + 2.0f * c[2] + 4.0f * c[4], odd_t = root2 * (c[1] + 2.0f * c[3]);
    v[0] = c[0];
    v[1] = even_s + odd_s;
    v[2] = even_s - odd_s;
    v[3] = even_t + odd_t;
    v[4] = even_t - odd_t;
    v[5] = c[4];
  }
  // The transposes of these, after the diagonal of G: v_i / prod_{j != i}(p_i - p_j). U is kept without
  // that factor, because here it costs nothing.
  static constexpr float scale_s = -2.0f / 3, scale_t = 1.0f / 6;
  static constexpr float scale[6] = {1, scale_s, scale_s, scale_t, scale_t, 1};
  [[gnu::always_inline]] static inline void moments5(const Vec (&v)[6], Vec (&c)[5]) {
    const Vec even_s = v[1] + v[2], odd_s = v[1] - v[2];
    const Vec even_t = v[3] + v[4], odd_t = v[3] - v[4];
    c[0] = v[0] + scale_s * even_s + scale_t * even_t;
    c[1] = (scale_s * root_half) * odd_s + (scale_t * root2) * odd_t;
    c[2] = (scale_s * 0.5f) * even_s + (scale_t * 2) * even_t;
    c[3] = (scale_s * root_half * 0.5f) * odd_s + (scale_t * root2 * 2) * odd_t;
    c[4] = v[5] + (scale_s * 0.25f) * even_s + (scale_t * 4) * even_t;
  }
  [[gnu::always_inline]] static inline void moments4(const Vec (&v)[6], Vec (&c)[4]) {
    const Vec even_s = v[1] + v[2], odd_s = v[1] - v[2];
    const Vec even_t = v[3] + v[4], odd_t = v[3] - v[4];
    c[0] = v[0] + scale_s * even_s + scale_t * even_t;
    c[1] = (scale_s * root_half) * odd_s + (scale_t * root2) * odd_t;
    c[2] = (scale_s * 0.5f) * even_s + (scale_t * 2) * even_t;
    c[3] = v[5] + (scale_s * root_half * 0.5f) * odd_s + (scale_t * root2 * 2) * odd_t;
  }
  [[gnu::always_inline]] static inline void moments3(const Vec (&v)[6], Vec (&c)[3]) {
    const Vec even_s = v[1] + v[2], even_t = v[3] + v[4];
    c[0] = v[0] + scale_s * even_s + scale_t * even_t;
    c[1] = (scale_s * root_half) * (v[1] - v[2]) + (scale_t * root2) * (v[3] - v[4]);
    c[2] = v[5] + (scale_s * 0.5f) * even_s + (scale_t * 2) * even_t;
  }
  [[gnu::always_inline]] static inline void moments2(const Vec (&v)[6], Vec (&c)[2]) {
    c[0] = v[0] + scale_s * (v[1] + v[2]) + scale_t * (v[3] + v[4]);
    c[1] = v[5] + (scale_s * root_half) * (v[1] - v[2]) + (scale_t * root2) * (v[3] - v[4]);
  }
};

// F(4x4, 3x3): 36 multiplications for 144.
struct F4 : SixPoints {
  static constexpr int m = 4, r = 3;
  [[gnu::always_inline]] static inline void weight(const Vec (&g)[3], Vec (&u)[6]) { values3(g, u); }
  [[gnu::always_inline]] static inline void output(const Vec (&v)[6], Vec (&y)[4]) { moments4(v, y); }
  [[gnu::always_inline]] static inline void dout(const Vec (&dy)[4], Vec (&v)[6]) { values4(dy, v); }
  [[gnu::always_inline]] static inline void dweight(const Vec (&v)[6], Vec (&dg)[3]) { moments3(v, dg); }
};

// F(3x3, 4x4): 36 multiplications for 144; for the stem (conv2d_stem.cpp).
struct F3 : SixPoints {
  static constexpr int m = 3, r = 4;
  [[gnu::always_inline]] static inline void weight(const Vec (&g)[4], Vec (&u)[6]) { values4(g, u); }
  [[gnu::always_inline]] static inline void output(const Vec (&v)[6], Vec (&y)[3]) { moments3(v, y); }
  [[gnu::always_inline]] static inline void dout(const Vec (&dy)[3], Vec (&v)[6]) { values3(dy, v); }
  [[gnu::always_inline]] static inline void dweight(const Vec (&v)[6], Vec (&dg)[4]) { moments4(v, dg); }
};

// F(2x2, 5x5): 36 multiplications for 100. The weight's gradient needs short sums over the tiles, see
// docs/convolution.md.
struct F5 : SixPoints {
  static constexpr int m = 2, r = 5;
  [[gnu::always_inline]] static inline void weight(const Vec (&g)[5], Vec (&u)[6]) { values5(g, u); }
  [[gnu::always_inline]] static inline void output(const Vec (&v)[6], Vec (&y)[2]) { moments2(v, y); }
  [[gnu::always_inline]] static inline void dout(const Vec (&dy)[2], Vec (&v)[6]) { values2(dy, v); }
  [[gnu::always_inline]] static inline void dweight(const Vec (&v)[6], Vec (&dg)[5]) { moments5(v, dg); }
};

// A pair of opposite points +-p among 0, +-p, +-q, +-r. Its rows of B^T are x (x +- p) (x^4 - sum x^2 +
// product), its diagonal entry of G is `scale`.
struct Pair {
  constexpr Pair(double p, double q, double r)
      : p(static_cast<float>(p)),
        sum(static_cast<float>(q * q + r * r)),
        product(static_cast<float>(q * q * r * r)),
        scale(static_cast<float>(1 / (2 * p * p * (p * p - q * q) * (p * p - r * r)))) {}
  float p, sum, product, scale;
};

// F(4x4, 4x4): 49 multiplications for 256; for the stem. p = 0, +-5/8, +-9/8, +-17/8: seven numbers and no
// infinity, so a tile that is narrower needs all planes too. These points lose half of what 0, +-1/2, +-1,
// +-2 do.
struct F7 {
  static constexpr int n = 7, m = 4, r = 4;
  static constexpr bool infinity = false;
  static constexpr double a = 0.625, b = 1.125, c = 2.125;
  static constexpr Pair pairs[3] = {{a, b, c}, {b, a, c}, {c, a, b}};
  // Of the row of 0: (x^2 - a^2) (x^2 - b^2) (x^2 - c^2) over its value at 0.
  static constexpr double all = a * a * b * b * c * c;
  static constexpr float zero2 = static_cast<float>(-1 / (a * a) - 1 / (b * b) - 1 / (c * c)),
                         zero4 = static_cast<float>((a * a + b * b + c * c) / all),
                         zero6 = static_cast<float>(-1 / all);

  [[gnu::always_inline]] static inline void input(const Vec (&d)[7], Vec (&v)[7]) {
    v[0] = d[0] + zero2 * d[2] + zero4 * d[4] + zero6 * d[6];
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) {
      const Pair k = pairs[i];
      const Vec even = d[6] - k.sum * d[4] + k.product * d[2];
      const Vec odd = d[5] - k.sum * d[3] + k.product * d[1];
      v[1 + 2 * i] = even + k.p * odd;
      v[2 + 2 * i] = even - k.p * odd;
    }
  }
  [[gnu::always_inline]] static inline void weight(const Vec (&g)[4], Vec (&u)[7]) {
    u[0] = g[0];
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) {
      const float p = pairs[i].p;
      const Vec even = g[0] + p * p * g[2], odd = p * g[1] + p * p * p * g[3];
      u[1 + 2 * i] = even + odd;
      u[2 + 2 * i] = even - odd;
    }
  }
  [[gnu::always_inline]] static inline void output(const Vec (&v)[7], Vec (&y)[4]) {
    Vec even[3], odd[3];
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) {
      even[i] = v[1 + 2 * i] + v[2 + 2 * i];
      odd[i] = v[1 + 2 * i] - v[2 + 2 * i];
    }
    const auto sum = [](const Vec(&x)[3], int power) __attribute__((always_inline)) {
      return weight_of(0, power) * x[0] + weight_of(1, power) * x[1] + weight_of(2, power) * x[2];
    };
    y[0] = v[0] + sum(even, 0);
    y[1] = sum(odd, 1);
    y[2] = sum(even, 2);
    y[3] = sum(odd, 3);
  }
  [[gnu::always_inline]] static constexpr float weight_of(int pair, int power) {
    float w = pairs[pair].scale;
    for (int i = 0; i < power; ++i) w *= pairs[pair].p;
    return w;
  }
};

// F(5x5, 2x2): 36 multiplications for 100; for 3x3 with stride 2 (conv2d_strided.cpp).
struct F52 : SixPoints {
  static constexpr int m = 5, r = 2;
  [[gnu::always_inline]] static inline void weight(const Vec (&g)[2], Vec (&u)[6]) { values2(g, u); }
  [[gnu::always_inline]] static inline void output(const Vec (&v)[6], Vec (&y)[5]) { moments5(v, y); }
  [[gnu::always_inline]] static inline void dout(const Vec (&dy)[5], Vec (&v)[6]) { values5(dy, v); }
  [[gnu::always_inline]] static inline void dweight(const Vec (&v)[6], Vec (&dg)[2]) { moments2(v, dg); }
};

// F(2x2, 3x3): 16 multiplications for 36. p = 0, 1, -1, inf. The rows of 0 change their sign in B and G.
struct F2 {
  static constexpr int n = 4, m = 2, r = 3;
  static constexpr bool infinity = true;
  [[gnu::always_inline]] static inline void input(const Vec (&d)[4], Vec (&v)[4]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  [[gnu::always_inline]] static inline void weight(const Vec (&g)[3], Vec (&u)[4]) {
    const Vec even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
  [[gnu::always_inline]] static inline void output(const Vec (&v)[4], Vec (&y)[2]) {
    y[0] = v[0] + v[1] + v[2];
    y[1] = v[1] - v[2] + v[3];
  }
  [[gnu::always_inline]] static inline void dout(const Vec (&dy)[2], Vec (&v)[4]) {
    v[0] = dy[0];
    v[1] = dy[0] + dy[1];
    v[2] = dy[0] - dy[1];
    v[3] = dy[1];
  }
  [[gnu::always_inline]] static inline void dweight(const Vec (&v)[4], Vec (&dg)[3]) {
    const Vec even = 0.5f * (v[1] + v[2]);
    dg[0] = v[0] + even;
    dg[1] = 0.5f * (v[1] - v[2]);
    dg[2] = even + v[3];
  }
};

}  // namespace weft::cpu::WEFT_ISA
