"""Derives the matrices of Winograd's minimal filtering from their points, checks them exactly, and prints them.

The numbers are a + b sqrt2 with fractions a, b, so that nothing is rounded. csrc/cpu/conv2d_winograd/algorithm.h has
the same matrices as straight-line code; its head explains them. Checked for each algorithm:

    y = A^T [(G g) . (B^T d)]    is    y_i = sum over k of d_(i+k) g_k    for every d and g
    with the point at infinity, all outputs but the last are right without the last plane (tiles that are one output
    narrower)

Usage: python scripts/generate/winograd_matrices.py
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product


@dataclass(frozen=True)
class Number:
    """a + b sqrt2, exactly."""

    a: Fraction = Fraction(0)
    b: Fraction = Fraction(0)

    def __add__(self, o: Number) -> Number:
        return Number(self.a + o.a, self.b + o.b)

    def __sub__(self, o: Number) -> Number:
        return Number(self.a - o.a, self.b - o.b)

    def __mul__(self, o: Number) -> Number:
        return Number(self.a * o.a + 2 * self.b * o.b, self.a * o.b + self.b * o.a)

    def __truediv__(self, o: Number) -> Number:
        norm = o.a * o.a - 2 * o.b * o.b
        return self * Number(o.a / norm, -o.b / norm)

    def __str__(self) -> str:
        root = {1: "sqrt2", -1: "-sqrt2"}.get(self.b, f"{self.b} sqrt2")
        if not self.b:
            return str(self.a)
        return root if not self.a else f"{self.a} + {root}"


ZERO, ONE = Number(), Number(Fraction(1))
Matrix = list[list[Number]]


def of(a: float | Fraction, b: float | Fraction = 0) -> Number:
    return Number(Fraction(a), Fraction(b))


def powers(p: Number, count: int) -> list[Number]:
    row = [ONE]
    for _ in range(count - 1):
        row.append(row[-1] * p)
    return row[:count]


def times(polynomial: list[Number], root: Number) -> list[Number]:
    """The polynomial (coefficients from the lowest) times (x - root)."""
    result = [ZERO, *polynomial]
    for i, c in enumerate(polynomial):
        result[i] = result[i] - c * root
    return result


def matrices(points: list[Number], m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """A (n x m), G (n x r) and B^T (n x n) for finite `points` and, where they are one too few, infinity."""
    n = m + r - 1
    assert len(points) in (n - 1, n)
    a, g, b = [], [], []
    for p in points:
        rest, scale = [ONE], ONE
        for q in points:
            if q is not p:
                rest, scale = times(rest, q), scale * (p - q)
        a.append(powers(p, m))
        g.append([x / scale for x in powers(p, r)])
        b.append(rest + [ZERO] * (n - len(rest)))
    if len(points) < n:
        everything = [ONE]
        for p in points:
            everything = times(everything, p)
        a.append([ZERO] * (m - 1) + [ONE])
        g.append([ZERO] * (r - 1) + [ONE])
        b.append(everything)
    return a, g, b


def coefficient(a: Matrix, g: Matrix, b: Matrix, i: int, j: int, k: int, planes: int) -> Number:
    """Of d_j g_k in y_i."""
    total = ZERO
    for plane in range(planes):
        total = total + a[plane][i] * g[plane][k] * b[plane][j]
    return total


def check(points: list[Number], m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    a, g, b = matrices(points, m, r)
    n = m + r - 1
    for planes, outputs in ((n, m), (n - 1, m - 1)) if len(points) < n else ((n, m),):
        for i, j, k in product(range(outputs), range(n), range(r)):
            expected = ONE if j == i + k else ZERO
            assert coefficient(a, g, b, i, j, k, planes) == expected, (m, r, planes, i, j, k)
    return a, g, b


def main() -> None:
    root_half, root = of(0, Fraction(1, 2)), of(0, 1)
    six = [ZERO, root_half, ZERO - root_half, root, ZERO - root]
    three = [ZERO, ONE, ZERO - ONE]
    seven = [ZERO, *(of(Fraction(sign * p, 8)) for p in (5, 9, 17) for sign in (1, -1))]
    for points, m, r in ((six, 4, 3), (six, 3, 4), (six, 2, 5), (six, 5, 2), (three, 2, 3), (seven, 4, 4)):
        a, g, b = check(points, m, r)
        infinity = ", infinity" if len(points) < m + r - 1 else ""
        print(f"F({m}x{m}, {r}x{r}): points {', '.join(map(str, points))}{infinity}")
        for name, matrix in (("A", a), ("G", g), ("B^T", b)):
            for row in matrix:
                print(f"  {name:4}" + "  ".join(f"{x!s:>12}" for x in row))
                name = ""
    print("all identities hold exactly")


if __name__ == "__main__":
    main()
