// The normal distribution's cumulative function of a vector of floats, for where nobody asks for the density
// too; the errors are those that simd/math.h states.
//
// With AVX-512: the function at -|x| is 2^q(|x|), and q is so smooth that pieces of degree 4 and width 1/2
// are enough. A table of 32 numbers is two registers, and one instruction looks 16 of them up. Without: the
// formula of simd/math.h, with a division and a second polynomial near 0.
#pragma once
#include "cpu/simd/math.h"

namespace weft::cpu::WEFT_ISA {

#if defined(WEFT_ISA_avx512)
// log2_tail[k][i]: the coefficient of r^k in q(i / 2 + r), |r| <= 1/4; from i = 28 on 2^q is 0. Fitted by
// scripts/generate/fit_math.py.
// clang-format off
alignas(64) constexpr float log2_tail[5][32] = {
    {-1.0f, -1.6964821f, -2.6560328f, -3.9038526f, -5.4579813f, -7.3312688f, -9.5329339f, -12.069681f,
     -14.946467f, -18.167022f, -21.734198f, -25.650218f, -29.916834f, -34.53545f, -39.507205f, -44.833034f,
     -50.513712f, -56.549889f, -62.942114f, -69.690854f, -76.796511f, -84.259431f, -92.079916f, -100.25823f,
     -108.7946f, -117.68924f, -126.94233f, -136.55403f, -200.0f, -200.0f, -200.0f, -200.0f},
    {-1.1511042f, -1.6462266f, -2.2003044f, -2.7969193f, -3.4238259f, -4.0723596f, -4.7365099f, -5.4121134f,
     -6.0962624f, -6.7868988f, -7.4825435f, -8.1821155f, -8.8848123f, -9.5900287f, -10.297302f, -11.006272f,
     -11.716657f, -12.428234f, -13.140821f, -13.854273f, -14.568469f, -15.283311f, -15.998716f, -16.714616f,
     -17.43095f, -18.147671f, -18.864736f, -19.582108f, 0.0f, 0.0f, 0.0f, 0.0f},
    {-0.45922372f, -0.52767974f, -0.57772893f, -0.61347251f, -0.63891263f, -0.65716653f, -0.67044985f, -0.68027906f,
     -0.6876802f, -0.69334907f, -0.69776203f, -0.7012495f, -0.7040441f, -0.70631214f, -0.70817434f, -0.70971959f,
     -0.7110143f, -0.71210872f, -0.71304136f, -0.71384203f, -0.71453412f, -0.71513612f, -0.71566281f, -0.71612608f,
     -0.71653561f, -0.7168993f, -0.71722369f, -0.71751417f, 0.0f, 0.0f, 0.0f, 0.0f},
    {-0.052416659f, -0.039137479f, -0.028161747f, -0.020031456f, -0.014299412f, -0.010328988f, -0.0075798628f, -0.0056593844f,
     -0.0042994204f, -0.0033211499f, -0.0026058817f, -0.002074432f, -0.0016734251f, -0.0013664115f, -0.0011281452f, -0.00094088465f,
     -0.000791982f, -0.00067229472f, -0.0005751257f, -0.00049550701f, -0.00042970927f, -0.00037490132f, -0.00032891111f, -0.00029005573f,
     -0.00025701902f, -0.0002287627f, -0.00020446089f, -0.00018345161f, 0.0f, 0.0f, 0.0f, 0.0f},
    {0.0068752204f, 0.0061854701f, 0.0047607009f, 0.0034108131f, 0.0023729676f, 0.0016399151f, 0.0011396298f, 0.00080148776f,
     0.00057220332f, 0.00041517139f, 0.00030617204f, 0.00022937596f, 0.00017443248f, 0.00013452368f, 0.00010510926f, 8.3126632e-05f,
     6.6481766e-05f, 5.3723002e-05f, 4.3830237e-05f, 3.6077144e-05f, 2.9939962e-05f, 2.5036453e-05f, 2.1084374e-05f, 1.7873213e-05f,
     1.5244184e-05f, 1.3076438e-05f, 1.1276996e-05f, 9.7740143e-06f, 0.0f, 0.0f, 0.0f, 0.0f}};
// clang-format on

[[gnu::always_inline]] inline FloatVec normal_cdf(FloatVec x) {
  constexpr float halves = 6291456.0f, wholes = 12582912.0f;  // adding it rounds to a multiple of 1/2, of 1
  const FloatVec size = at_most(15.0f, absolute(x)), shifted = size + halves, r = size - (shifted - halves);
  const IntVec piece = reinterpret_cast<IntVec>(shifted);  // in its five lowest bits
  const auto coefficient = [&](int k) __attribute__((always_inline)) {
    const auto* table = reinterpret_cast<const FloatVec*>(log2_tail[k]);
    return __builtin_shuffle(table[0], table[1], piece);
  };
  FloatVec p = coefficient(4);
#pragma GCC unroll 4
  for (int k = 3; k > 0; --k) p = p * r + coefficient(k);
  // q = n + f, with f from the parts of q: q itself is rounded to far fewer digits behind the point.
  const FloatVec middle = coefficient(0), n = (p * r + middle + wholes) - wholes, f = p * r + (middle - n);
  const FloatVec tail = __builtin_ia32_scalefps512_mask(1.0f + f * exp2_slope(f), n, n, 0xffff, 4);
  return x < 0.0f ? tail : 1.0f - tail;
}
#else
[[gnu::always_inline]] inline FloatVec normal_cdf(FloatVec x) { return normal_cdf(x, half_bell(x)); }
#endif

}  // namespace weft::cpu::WEFT_ISA
