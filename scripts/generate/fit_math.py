"""Prints the coefficients of csrc/cpu/simd/math.h and normal_cdf.h that are fitted: python scripts/generate/fit_math.py

Each is the polynomial that agrees with the function at the Chebyshev nodes of its interval, which is close to the
one with the smallest largest error; computed in double precision, printed in single.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def fit(function: Callable[[np.ndarray], np.ndarray], low: float, high: float, degree: int) -> np.ndarray:
    """Coefficients, constant first."""
    series = np.polynomial.Chebyshev.interpolate(function, degree, domain=[low, high])
    coefficients: np.ndarray = series.convert(kind=np.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1]).coef
    return coefficients


def scaled_erfc(t: np.ndarray, c: float) -> np.ndarray:
    """erfc(x) e^(x^2) / t with t = 1 / (1 + c x), by its asymptotic series for large x."""
    values = []
    for v in np.atleast_1d(t):
        x = math.inf if v <= 0 else (1 / v - 1) / c
        if math.isinf(x):
            values.append(c / math.sqrt(math.pi))
        elif x < 20:
            values.append(math.erfc(x) * math.exp(x * x) / v)
        else:
            z = 1 / (x * x)
            values.append((1 - z / 2 * (1 - 1.5 * z * (1 - 2.5 * z))) / (x * math.sqrt(math.pi)) / v)
    return np.array(values)


def main() -> None:
    # 2^r = 1 + r p(r) for |r| <= 1/2
    ln2 = np.log(2.0)
    tail = fit(lambda r: np.where(r == 0, ln2, np.expm1(r * ln2) / np.where(r == 0, 1, r)), -0.5, 0.5, 5)
    print("exp2, highest first:", ", ".join(f"{c:.8g}f" for c in tail[::-1]))
    r = np.linspace(-0.5, 0.5, 100_001)
    error = np.abs((1 + r * np.polynomial.Polynomial(tail.astype(np.float32))(r)) / np.exp2(r) - 1).max()
    print(f"largest relative error {error:.1e}")

    # erfc(x) e^(x^2) = t p(t), t = 1 / (1 + c x), for x >= 1/2: closer to 0 nobody asks
    c = 0.38
    last = 1 / (1 + c / 2)
    erfc = fit(lambda t: scaled_erfc(t, c), 0, last, 9)
    print("scaled_erfc, highest first:", ", ".join(f"{c:.8g}f" for c in erfc[::-1]))
    t = np.linspace(1e-3, last, 20_001)
    error = np.abs(np.polynomial.Polynomial(erfc.astype(np.float32))(t) / scaled_erfc(t, c) - 1).max()
    print(f"largest relative error {error:.1e}")

    # the normal distribution function less 1/2 = x p(x^2) for x^2 <= 1/2
    def slope(z: np.ndarray) -> np.ndarray:
        x = np.sqrt(np.maximum(z, 1e-12))
        return np.array([0.5 * math.erf(v / math.sqrt(2)) / v for v in np.atleast_1d(x)])

    near = fit(slope, 0, 0.5, 4)
    print("normal_near, highest first:", ", ".join(f"{c:.8g}f" for c in near[::-1]))
    z = np.linspace(0, 0.5, 20_001)
    print(f"largest relative error {np.abs(np.polynomial.Polynomial(near)(z) / slope(z) - 1).max():.1e}")

    # log2 of the normal distribution function at -(c + r), for |r| <= 1/4 and c = 0, 1/2, 1, ...
    def log_tail(s: np.ndarray) -> np.ndarray:
        return np.array([math.log2(0.5 * math.erfc(v / math.sqrt(2))) for v in s])

    rows = [fit(lambda r, c=c: log_tail(c + r), -0.25, 0.25, 4) for c in np.arange(28) / 2]
    never = [np.array([-200.0, 0, 0, 0, 0])] * 4
    for power, column in enumerate(np.array(rows + never).T):
        print(f"log2_tail, power {power}:", ", ".join(f"{c:.8g}f" for c in column))


if __name__ == "__main__":
    main()
