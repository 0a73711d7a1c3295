"""Matrix products against the naive kernel in double precision, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import assert_close, reference, threads

# M, N, K: one tile, its edges, several panels, several slices of K, vectors, primes.
SIZES = [
    (1, 1, 1), (1, 7, 5), (7, 1, 5), (12, 32, 8), (13, 33, 9), (5, 31, 3), (64, 120, 400), (100, 70, 257),
    (37, 97, 1031), (1, 1500, 300), (1, 300, 1500), (300, 1, 40), (150, 600, 64), (2, 3, 513),
]  # fmt: skip


def normal(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matmul(every_isa: str, rng: np.random.Generator, size: tuple[int, int, int], dtype: str) -> None:
    m, n, k = size
    a, b = normal(rng, m, k, dtype=dtype), normal(rng, k, n, dtype=dtype)
    assert_close(K.matmul(a, b), a.astype(np.float64) @ b.astype(np.float64), dtype=dtype, terms=k)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", ["nt", "tn", "tt"])
def test_transposed(every_isa: str, rng: np.random.Generator, size: tuple[int, int, int], layout: str) -> None:
    m, n, k = size
    ta, tb = layout[0] == "t", layout[1] == "t"
    a = normal(rng, *((k, m) if ta else (m, k)))
    b = normal(rng, *((n, k) if tb else (k, n)))
    expected = (a.T if ta else a).astype(np.float64) @ (b.T if tb else b)
    assert_close(K.gemm(a, b, transpose_a=ta, transpose_b=tb), expected, dtype="float32", terms=k)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["nn", "nt"])
def test_many_rows(every_isa: str, rng: np.random.Generator, layout: str, dtype: str) -> None:
    """A is read where it lies, with a narrow panel of B at the end and a part of a tile below."""
    m, n, k = 21001, 37, 64
    a, b = normal(rng, m, k, dtype=dtype), normal(rng, *((k, n) if layout == "nn" else (n, k)), dtype=dtype)
    bias = normal(rng, n, dtype=dtype)
    expected = np.maximum(a.astype(np.float64) @ (b if layout == "nn" else b.T) + bias, 0)
    out = K.gemm(a, b, bias=bias, transpose_b=layout == "nt", activation="relu")
    assert_close(out, expected, dtype=dtype, terms=k)


@pytest.mark.cpu
@pytest.mark.parametrize("size", [(33000, 160, 48), (3000, 2096, 192), (22, 300032, 4)], ids=str)
def test_large_results(every_isa: str, rng: np.random.Generator, size: tuple[int, int, int]) -> None:
    """They are stored past the cache; a few of their rows are not."""
    m, n, k = size
    a, b, bias = normal(rng, m, k), normal(rng, k, n), normal(rng, n)
    for options in ({}, {"bias": bias}, {"bias": bias, "activation": "relu"}):
        out = np.asarray(K.gemm(a, b, **options))
        with threads(3):
            assert np.array_equal(K.gemm(a, b, **options), out)
        for first in range(0, m, max(1, m // 7)):
            assert_close(out[first : first + 9], K.gemm(a[first : first + 9], b, **options), terms=k)


@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid", "gelu"])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 40, 50), (40, 1, 50), (33, 65, 300)], ids=str)
def test_gemm_end(every_isa: str, rng: np.random.Generator, shape: tuple[int, int, int], activation: str) -> None:
    """alpha, beta, bias and activation in one pass."""
    m, n, k = shape
    a, b, c, bias = normal(rng, m, k), normal(rng, k, n), normal(rng, m, n), normal(rng, n)
    options = {"alpha": 0.5, "beta": -1.5, "bias": bias, "activation": activation}
    wide = [v.astype(np.float64) for v in (a, b, c)]
    expected = reference(K.gemm, *wide, **{**options, "bias": bias.astype(np.float64)})
    assert_close(K.gemm(a, b, c, **options), expected, dtype="float32", terms=k)


def test_beta_zero_does_not_read(every_isa: str) -> None:
    c = np.full((5, 6), np.nan, np.float32)
    out = K.gemm(np.ones((5, 3), np.float32), np.ones((3, 6), np.float32), c, beta=0.0)
    assert_close(out, np.full((5, 6), 3, np.float32))


def test_empty_sum_and_empty_result(every_isa: str) -> None:
    bias = np.arange(4, dtype=np.float32) - 1
    out = K.gemm(np.ones((3, 0), np.float32), np.ones((0, 4), np.float32), bias=bias, activation="relu")
    assert_close(out, np.tile(np.maximum(bias, 0), (3, 1)))
    assert np.asarray(K.matmul(np.ones((0, 3), np.float32), np.ones((3, 4), np.float32))).shape == (0, 4)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((3,), (3,)), ((3,), (3, 4)), ((5, 3), (3,)), ((2, 5, 3), (3, 4)), ((2, 1, 5, 3), (6, 3, 4)), ((2, 5, 3), (3,)),
     ((4, 3, 2), (4, 2, 7)), ((3,), (2, 3, 4)), ((0, 2, 3), (3, 4))],
    ids=str,
)  # fmt: skip
def test_matmul_shapes(every_isa: str, rng: np.random.Generator, a_shape: tuple, b_shape: tuple) -> None:
    a, b = normal(rng, *a_shape), normal(rng, *b_shape)
    assert_close(K.matmul(a, b), a.astype(np.float64) @ b, dtype="float32", terms=3)


def test_strided_operands_are_read_where_they_lie(every_isa: str, rng: np.random.Generator) -> None:
    a, b = normal(rng, 40, 60)[::2, ::3], normal(rng, 50, 40)[::-1, 1::2].T[:, :30].T[:20, :]
    assert_close(K.matmul(a, b), a.astype(np.float64) @ b, dtype="float32", terms=20)


@given(m=st.integers(1, 70), n=st.integers(1, 70), k=st.integers(1, 70), seed=st.integers(0, 99))
def test_drawn_sizes(m: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = normal(rng, m, k), normal(rng, k, n)
    assert_close(K.matmul(a, b), a.astype(np.float64) @ b, dtype="float32", terms=k)


def test_linear(every_isa: str, rng: np.random.Generator) -> None:
    x, w, b = normal(rng, 2, 5, 37), normal(rng, 11, 37), normal(rng, 11)
    expected = x.astype(np.float64) @ w.T + b
    assert_close(K.linear(x, w, b), expected, dtype="float32", terms=37)
    assert_close(K.linear(x, w, b, activation="relu"), np.maximum(expected, 0), dtype="float32", terms=37)
    assert_close(K.linear(x[0, 0], w), x[0, 0].astype(np.float64) @ w.T, dtype="float32", terms=37)


def test_nan_goes_through(every_isa: str) -> None:
    a = np.ones((20, 30), np.float32)
    a[3, 4] = np.nan
    out = np.asarray(K.gemm(a, np.ones((30, 40), np.float32), activation="relu"))
    assert np.isnan(out[3]).all()
    assert not np.isnan(np.delete(out, 3, axis=0)).any()


# The policy of csrc/cpu/gemm.cpp: a method, a layout ("t": transposed in memory) and sizes that reach it.
PATHS = [
    ("rows", "nn", (1, 5000, 600)),  # one block of K
    ("rows", "nn", (3, 2100, 131)),
    ("rows", "tn", (8, 301, 1000)),  # several blocks of K, a strided A
    ("rows", "nt", (3000, 1, 97)),  # a column: turned
    ("dots", "nt", (1, 70, 3001)),
    ("dots", "nt", (5, 33, 70)),  # narrow tiles at the end of rows and columns
    ("dots", "nt", (23, 37, 259)),
    ("row", "nn", (1, 401, 120)),  # panels, the last vector overlaps
    ("row", "nn", (1, 40, 84)),
    ("row", "tn", (1, 131, 17)),
    ("row", "tn", (250, 1, 33)),  # a column: turned
    ("outer", "tn", (120, 401, 1)),
    ("outer", "nn", (37, 70, 3)),
    ("outer", "tn", (700, 300, 4)),  # several threads
    ("in place", "nn", (64, 120, 400)),
    ("in place", "nt", (64, 120, 400)),  # panels of B are packed
    ("in place", "nt", (31, 10, 84)),  # one narrow panel
    ("in place", "tn", (120, 401, 64)),
    ("in place", "tt", (45, 47, 1100)),  # slices of K
    ("packed", "nn", (37, 2700, 517)),
    ("packed", "tt", (2605, 47, 517)),  # several blocks of rows
    ("packed", "nt", (61, 6200, 401)),  # two strips of columns
]


def operands(rng: np.random.Generator, layout: str, size: tuple[int, int, int], dtype: str) -> tuple[Any, Any]:
    m, n, k = size
    a = normal(rng, k, m, dtype=dtype).T if layout[0] == "t" else normal(rng, m, k, dtype=dtype)
    b = normal(rng, n, k, dtype=dtype).T if layout[1] == "t" else normal(rng, k, n, dtype=dtype)
    return a, b


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("method", "layout", "size"), PATHS, ids=str)
def test_every_method(
    every_isa: str, rng: np.random.Generator, method: str, layout: str, size: tuple[int, int, int], dtype: str
) -> None:
    a, b = operands(rng, layout, size, dtype)
    m, n, k = size
    product = a.astype(np.float64) @ b.astype(np.float64)
    assert_close(K.matmul(a, b), product, dtype=dtype, terms=k)
    c, bias = normal(rng, m, n, dtype=dtype), normal(rng, n, dtype=dtype)
    out = K.gemm(a, b, c, alpha=0.5, beta=-1.5, bias=bias, activation="relu")
    assert_close(out, np.maximum(0.5 * product - 1.5 * c + bias, 0), dtype=dtype, terms=k)


@pytest.mark.parametrize(("method", "layout", "size"), PATHS, ids=str)
def test_nan_beside_beta_zero(
    every_isa: str, rng: np.random.Generator, method: str, layout: str, size: tuple[int, int, int]
) -> None:
    """C is not read where beta = 0; a NaN of A reaches its own row and no other."""
    a, b = operands(rng, layout, size, "float32")
    m, n, k = size
    a[m // 2, k // 2] = np.nan
    out = np.asarray(K.gemm(a, b, np.full((m, n), np.nan, np.float32), beta=0.0, activation="relu"))
    assert np.isnan(out[m // 2]).all()
    assert not np.isnan(np.delete(out, m // 2, axis=0)).any()


@pytest.mark.cpu
@pytest.mark.parametrize(("method", "layout", "size"), PATHS, ids=str)
def test_same_bits_for_any_number_of_threads(
    rng: np.random.Generator, method: str, layout: str, size: tuple[int, int, int]
) -> None:
    a, b = operands(rng, layout, size, "float32")
    results = []
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            results.append(np.asarray(K.matmul(a, b)).tobytes())
    assert len(set(results)) == 1


def test_many_small_problems(every_isa: str, rng: np.random.Generator) -> None:
    a, b = normal(rng, 50, 9, 33), normal(rng, 50, 33, 21)
    assert_close(K.matmul(a, b), a.astype(np.float64) @ b, dtype="float32", terms=33)
    assert_close(K.matmul(a, b[0]), a.astype(np.float64) @ b[0], dtype="float32", terms=33)
    assert_close(K.matmul(a[:1], b), a[:1].astype(np.float64) @ b, dtype="float32", terms=33)


def test_errors() -> None:
    f = np.float32
    with pytest.raises(ValueError, match=r"matmul: the first operand has K=3 \(\(2, 3\)\) but the second has K=4"):
        K.matmul(np.ones((2, 3), f), np.ones((4, 5), f))
    with pytest.raises(ValueError, match=r"linear: weight expects in=4 \(weight \(5, 4\)\) but input has in=3"):
        K.linear(np.ones((2, 3), f), np.ones((5, 4), f))
    with pytest.raises(ValueError, match=r"linear: bias must have shape \(out,\) = \(5,\), got \(4,\)"):
        K.linear(np.ones((2, 4), f), np.ones((5, 4), f), np.ones(4, f))
    with pytest.raises(TypeError, match="must have the same dtype, got float32 and float64"):
        K.matmul(np.ones((2, 3), f), np.ones((3, 2)))
    with pytest.raises(TypeError, match="matmul: the first operand must be float32, float64 or bfloat16, got int64"):
        K.matmul(np.ones((2, 3), int), np.ones((3, 2), int))
    with pytest.raises(ValueError, match="matmul: operands must have rank 1 at least"):
        K.matmul(np.ones((), f), np.ones(3, f))
    with pytest.raises(ValueError, match=r"gemm: a and b must both have rank 2 or 3, got \(2,\) and \(2, 2\)"):
        K.gemm(np.ones(2, f), np.ones((2, 2), f))
    with pytest.raises(ValueError, match=r"gemm: c \(3, 3\) does not broadcast to the result \(2, 2\)|gemm: shapes"):
        K.gemm(np.ones((2, 2), f), np.ones((2, 2), f), np.ones((3, 3), f))
