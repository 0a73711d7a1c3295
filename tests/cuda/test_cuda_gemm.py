"""The methods of the CUDA backend's matrix product, each at sizes that reach it. The numbers are small integers, whose
sums are exact in any order."""

from __future__ import annotations

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import assert_close, linear_backward_in_double, linear_problem

pytestmark = pytest.mark.usefixtures("cuda_device")

LAYOUTS = ["nn", "nt", "tn", "tt"]


def whole(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> weft.Tensor:
    return weft.tensor(rng.integers(-3, 4, shape).astype(np.float64), dtype=dtype)


def host(x: object) -> np.ndarray:
    return np.asarray(K.cast(x, "float64"))


def operands(
    rng: np.random.Generator, layout: str, size: tuple[int, int, int], dtype: str = "float32"
) -> tuple[weft.Tensor, weft.Tensor]:
    """A (M, K) and B (K, N); "t": turned in memory."""
    m, n, k = size
    a = whole(rng, k, m, dtype=dtype).T if layout[0] == "t" else whole(rng, m, k, dtype=dtype)
    b = whole(rng, n, k, dtype=dtype).T if layout[1] == "t" else whole(rng, k, n, dtype=dtype)
    return a, b


def check(a: weft.Tensor, b: weft.Tensor) -> None:
    assert (host(K.matmul(a, b)) == host(a) @ host(b)).all()


def check_end(rng: np.random.Generator, a: weft.Tensor, b: weft.Tensor, dtype: str) -> None:
    """alpha, beta, bias and ReLU; and an activation that only the long way has."""
    c, bias = whole(rng, a.shape[0], b.shape[1], dtype=dtype), whole(rng, b.shape[1], dtype=dtype)
    expected = 0.5 * (host(a) @ host(b)) - 2 * host(c) + host(bias)
    out = K.gemm(a, b, c, alpha=0.5, beta=-2.0, bias=bias, activation="relu")
    if dtype == "bfloat16":
        assert (np.abs(host(out) - np.maximum(expected, 0)) <= 2.0**-8 * np.abs(expected)).all()
        return
    assert (host(out) == np.maximum(expected, 0)).all()
    slope = np.where(expected > 0, expected, 0.01 * expected)
    assert_close(K.gemm(a, b, c, alpha=0.5, beta=-2.0, bias=bias, activation="leaky_relu"), slope, dtype=dtype)


# The tile that the model of tile_plan.h takes on 132 multiprocessors.
TILES = [
    ("huge", (2620, 1300, 20)),  # 11 x 11 tiles of 256 x 128, the last ones in part; a stage and a part of one
    ("huge", (2563, 1283, 16)),
    ("large", (1300, 1304, 20)),
    ("large", (1281, 1283, 16)),  # sizes that no vector fits
    ("middle", (1700, 300, 36)),
    ("middle", (2711, 229, 17)),
    ("small", (512, 500, 36)),
    ("small", (511, 513, 17)),
    ("narrow", (500, 250, 60)),
    ("narrow", (511, 241, 33)),
    ("narrow", (96, 100, 60)),
    ("narrow", (33, 31, 70)),
    ("narrow", (64, 120, 400)),
    ("small in parts", (65, 120, 1601)),
    ("narrow in parts", (64, 120, 801)),
    ("middle in parts", (100, 200, 2001)),
    ("large in parts", (1216, 448, 401)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("tile", "size"), TILES, ids=str)
def test_tiles(rng: np.random.Generator, tile: str, size: tuple[int, int, int], layout: str) -> None:
    check(*operands(rng, layout, size))


@pytest.mark.parametrize(("tile", "size"), TILES, ids=str)
def test_ends(rng: np.random.Generator, tile: str, size: tuple[int, int, int]) -> None:
    check_end(rng, *operands(rng, "nt", size), "float32")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(130, 70, 33), (64, 128, 48), (65, 40, 1500)], ids=str)
def test_float64(rng: np.random.Generator, size: tuple[int, int, int], layout: str) -> None:
    a, b = operands(rng, layout, size, "float64")
    check(a, b)
    check_end(rng, a, b, "float64")


def test_steps_in_both_directions(rng: np.random.Generator) -> None:
    """Neither axis has a stride of one, or the first element lies off a multiple of 16 bytes."""
    a, b = whole(rng, 150, 90), whole(rng, 90, 300)
    check(a[::2, ::3], b[::3, 1::2])
    check(a[1:, 3:], b[3:, 1:])
    check(a.T[1:, :], a[:, 5:])


MMA = [
    ("128", (1288, 1288, 40)),
    ("64", (200, 136, 72)),
    ("64 in parts", (72, 80, 1504)),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("tile", "size"), MMA, ids=str)
def test_tensor_cores(rng: np.random.Generator, tile: str, size: tuple[int, int, int], layout: str) -> None:
    a, b = operands(rng, layout, size, "bfloat16")
    assert (host(K.gemm(a, b, out_dtype="float32")) == host(a) @ host(b)).all()
    if layout == "nt":
        check_end(rng, a, b, "bfloat16")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(65, 70, 33), (65, 70, 40), (20, 24, 801), (1090, 70, 33)], ids=str)
def test_bfloat16_of_odd_sizes(rng: np.random.Generator, size: tuple[int, int, int], layout: str) -> None:
    a, b = operands(rng, layout, size, "bfloat16")
    assert (host(K.gemm(a, b, out_dtype="float32")) == host(a) @ host(b)).all()
    check_end(rng, a, b, "bfloat16")


def test_bfloat16_results_are_rounded_once(rng: np.random.Generator) -> None:
    for size in ((64, 64, 64), (33, 35, 70), (3, 64, 80), (5, 7, 3)):
        a, b = operands(rng, "nn", size, "bfloat16")
        bias = weft.tensor(rng.normal(size=size[1]), dtype="bfloat16")
        wide = K.gemm(a, b, bias=bias, activation="gelu", out_dtype="float32")
        assert (host(K.gemm(a, b, bias=bias, activation="gelu")) == host(K.cast(wide, "bfloat16"))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_few_rows(rng: np.random.Generator, rows: int, layout: str, dtype: str) -> None:
    for n, k in ((264, 200), (37, 131), (24, 1500), (1, 2600), (520, 5)):
        a, b = operands(rng, layout, (rows, n, k), dtype)
        out = {"out_dtype": "float32"} if dtype == "bfloat16" else {}
        assert (host(K.gemm(a, b, **out)) == host(a) @ host(b)).all()
        assert (host(K.gemm(b.T, a.T, **out)) == host(b.T) @ host(a.T)).all()  # few columns
        check_end(rng, a, b, dtype)


def test_few_rows_of_many_problems(rng: np.random.Generator) -> None:
    a, b = whole(rng, 5, 4, 600), whole(rng, 5, 600, 36)
    assert (host(K.matmul(a, b)) == host(a) @ host(b)).all()
    turned = K.gemm(a, b.transpose(-1, -2).contiguous(), transpose_b=True)
    assert (host(turned) == host(a) @ host(b)).all()


@pytest.mark.parametrize("size", [(40, 36, 30), (9, 130, 700), (130, 70, 80)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_many_problems(rng: np.random.Generator, size: tuple[int, int, int], dtype: str) -> None:
    m, n, k = size
    a, b, c = whole(rng, 3, m, k, dtype=dtype), whole(rng, 3, k, n, dtype=dtype), whole(rng, 3, m, n)
    out = {"out_dtype": "float32"} if dtype == "bfloat16" else {}
    assert (host(K.gemm(a, b, c, beta=2.0, **out)) == host(a) @ host(b) + 2 * host(c)).all()
    alone = a[:1].expand(3, m, k)  # the same matrix each time
    assert (host(K.gemm(alone, b, **out)) == host(alone) @ host(b)).all()


def test_short_sums(rng: np.random.Generator) -> None:
    for size in ((300, 200, 1), (70, 33, 4), (1, 1, 1), (17, 5, 0), (400, 400, 0), (3, 900, 0)):
        a, b = operands(rng, "nt", size)
        check(a, b)
        check_end(rng, a, b, "float32")


@pytest.mark.parametrize("size", [(200, 300, 40), (40, 40, 600), (5, 700, 900), (30, 5, 900)], ids=str)
def test_nan_and_beta_zero(rng: np.random.Generator, size: tuple[int, int, int]) -> None:
    """NaN in C is not read; one in A reaches its row alone, through ReLU too."""
    m, n, k = size
    for layout in ("nn", "tt"):
        a, b = (host(x).astype(np.float32) for x in operands(rng, layout, size))
        a[m // 2, k - 1] = np.nan
        out = np.asarray(K.gemm(a, b, np.full((m, n), np.nan, np.float32), beta=0.0, activation="relu"))
        assert np.isnan(out[m // 2]).all()
        assert not np.isnan(np.delete(out, m // 2, axis=0)).any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_bits_again(rng: np.random.Generator, dtype: str) -> None:
    for m, n, k in ((64, 64, 2000), (4, 100, 5000), (300, 200, 64)):
        a, b = (weft.tensor(rng.normal(size=s), dtype=dtype) for s in ((m, k), (k, n)))
        first = host(K.matmul(a, b))
        assert all((host(K.matmul(a, b)) == first).all() for _ in range(3))


def test_errors_grow_as_in_float32_sums(rng: np.random.Generator) -> None:
    for m, n, k in ((64, 64, 3000), (2, 100, 9000), (300, 300, 500)):
        a, b = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
        assert_close(K.matmul(a, b), a.astype(np.float64) @ b, dtype="float32", terms=k)


def test_multiply_adds_are_counted() -> None:
    flop = np.asarray(K.fma_loop(100))
    assert flop.shape == (1,)
    assert flop[0] == 2 * 8 * 1024 * 100 * round(flop[0] / (2 * 8 * 1024 * 100)) > 0
    assert (np.asarray(K.fma_loop(300)) == 3 * flop).all()
    assert (np.asarray(K.fma_loop(0)) == 0).all()


@pytest.mark.parametrize("size", [(4, 84, 10), (33, 65, 31), (3, 5, 97)], ids=str)
def test_gradients_of_a_layer(rng: np.random.Generator, size: tuple[int, int, int]) -> None:
    """Tiles in part, each with its piece of db; more of it in test_linear.py."""
    given = linear_problem(rng, size, "relu")
    for found, expected in zip(
        K.linear_backward(*given, "relu"), linear_backward_in_double(*given, "relu"), strict=True
    ):
        assert_close(found, expected, dtype="float32", terms=100, factor=2)
