"""The CUDA kernels of copies and elementwise functions: each way through their policies. They have the bits of the
CPU's naive kernels."""

from __future__ import annotations

import numpy as np
import pytest

import weft.kernels as K
from helpers import check_naive, small_numbers, values

pytestmark = pytest.mark.usefixtures("cuda_device")

CONTIGUOUS = K.MemoryFormat.contiguous_format
NUMBERS = ["float32", "float64", "bfloat16", "int64", "int32", "uint8"]
DTYPES = [*NUMBERS, "bool"]
# Around the elements of a pack, of a thread and of a block; the last is beyond the emulator's limit of narrow indices.
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 255, 257, 1023, 1024, 1025, 2047, 2049, 4097, 50_003]


def strided(x: K.Array, order: tuple[int, ...] = ()) -> K.Array:
    """The same elements in other memory: with gaps, reversed, and their axes in another order."""
    order = order or tuple(reversed(range(len(x.shape))))
    wide = K.zeros([2 * x.shape[i] for i in order], x.dtype)
    view = wide[tuple(slice(None, None, -2) for _ in order)].permute([order.index(i) for i in range(len(order))])
    K.copy_into(view, x)
    return view


# --- device/nest.h ---


@pytest.mark.parametrize("dtype", NUMBERS)
def test_packs_and_what_is_left_of_them(rng: np.random.Generator, dtype: str) -> None:
    for n in SIZES:
        a, b = small_numbers(rng, (n,), dtype), small_numbers(rng, (n,), dtype)
        check_naive(K.add, a, b)
        check_naive(K.neg, a)
        check_naive(K.lt, a, b)
        check_naive(K.isfinite, a)
        check_naive(K.where, K.lt(a, b), a, b)
        check_naive(K.copy, a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_that_begins_anywhere(rng: np.random.Generator, dtype: str) -> None:
    a, b = small_numbers(rng, (1300,), dtype), small_numbers(rng, (1300,), dtype)
    for first in (1, 2, 3, 8):
        x, y = a[first:], b[: 1300 - first]
        check_naive(K.eq, x, y)
        check_naive(K.logical_not, x)
        check_naive(K.copy, x)
        check_naive(K.where, K.eq(x, y), x, y)
        out = K.zeros((1300,), dtype)
        K.fill(out[first:], 1)
        assert values(out).astype(bool).sum() == 1300 - first
        K.copy_into(out[first:], x)
        np.testing.assert_array_equal(values(out[first:]), values(x))
        assert not values(out[:first]).any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "uint8"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((6, 16), (16,)),  # a bias: whole packs of both
        ((6, 16), (6, 1)),  # broadcast along packs
        ((6, 17), (17,)),
        ((2, 3, 32), (3, 1)),
        ((2, 3, 5, 8), (3, 1, 8)),
        ((1, 24), (7, 1)),
        ((7, 1), (1, 7)),
        ((2, 2, 2, 2, 2, 2, 2, 16), (2, 1, 2, 1, 2, 1, 2, 1)),
        ((250, 240), (240,)),
        ((250, 241), (250, 1)),
    ],
    ids=str,
)
def test_broadcast(rng: np.random.Generator, first: tuple[int, ...], second: tuple[int, ...], dtype: str) -> None:
    a, b = small_numbers(rng, first, dtype), small_numbers(rng, second, dtype)
    check_naive(K.sub, a, b)
    check_naive(K.sub, b, a)
    check_naive(K.ge, a, b)
    check_naive(K.where, K.lt(b, a), a, b)
    check_naive(K.mul, strided(a), b)


def test_every_rank_and_order(rng: np.random.Generator) -> None:
    shape = (3, 2, 5, 1, 2, 3, 2, 2)
    for rank in range(1, 9):
        a, b = small_numbers(rng, shape[:rank], "float32"), small_numbers(rng, shape[:rank], "float32")
        order = tuple(rng.permutation(rank).tolist())
        check_naive(K.sub, strided(a, order), b)
        check_naive(K.copy, strided(a, order))
        check_naive(lambda x: K.copy(x, CONTIGUOUS), strided(a, order))
        check_naive(lambda x: K.cast(x, "int64"), strided(b, order))
        out = strided(K.zeros(shape[:rank]), order)
        K.add(a, b, out=out)
        np.testing.assert_array_equal(values(out), values(a) + values(b))


def test_in_place(rng: np.random.Generator) -> None:
    for n in (5, 1030, 50_001):
        a, b = small_numbers(rng, (n,), "float32"), small_numbers(rng, (n,), "float32")
        expected = values(a) - values(b)
        K.sub(a, b, out=a)
        np.testing.assert_array_equal(values(a), expected)
        K.sub(b, a, out=a)
        np.testing.assert_array_equal(values(a), values(b) - expected)
        view = strided(b)
        K.neg(view, out=view)
        np.testing.assert_array_equal(values(view), -values(b))


def test_what_is_cut_in_two(rng: np.random.Generator) -> None:
    """Pieces of 31-bit indices: along the longest stride, whichever axis that is."""
    for shape in [(311, 203), (5, 30_011), (30_011, 5), (40, 41, 43)]:
        a, b = small_numbers(rng, shape, "float32"), small_numbers(rng, shape[1:], "float32")
        order = tuple(rng.permutation(len(shape)).tolist())
        check_naive(K.sub, strided(a), b)
        check_naive(K.add, a.permute(order), strided(a).permute(order))
        check_naive(lambda x: K.copy(x), a[::-1])
        out = strided(K.zeros(shape))
        K.fill(out, 3)
        assert (values(out) == 3).all()


# --- the functions ---


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_whole_numbers(rng: np.random.Generator, dtype: str) -> None:
    info = np.iinfo(dtype)
    ends = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 7, 10]
    a = np.array([*ends, *rng.integers(info.min, info.max, 54, dtype)], dtype)
    if info.min < 0:
        a[4:7] = [-1, -2, -7]
    b = rng.permutation(a)
    b[:10] = a[:10][::-1]
    for op in ("add", "sub", "mul", "floor_divide", "remainder", "pow", "maximum", "minimum"):
        check_naive(lambda x, y, op=op: getattr(K, op)(x[:, None], y), a, b)  # every pair
    for op in ("neg", "abs", "sign", "square", "floor", "ceil", "round"):
        check_naive(getattr(K, op), a)
    check_naive(lambda x: K.clip(x, 2, 5), a)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_special_numbers(dtype: str) -> None:
    x = np.array([0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, 3, -7.5, np.inf, -np.inf, np.nan, 1e30, -1e-30, 6], "float64")
    x = K.cast(x, dtype)
    binary = ["sub", "div", "floor_divide", "remainder", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"]
    for op in [*binary, "logical_and", "logical_or", "logical_xor"]:
        check_naive(lambda a, b, op=op: getattr(K, op)(a[:, None], b), x, x)
    for op in ("neg", "abs", "sign", "square", "sqrt", "rsqrt", "reciprocal", "floor", "ceil", "round"):
        check_naive(getattr(K, op), x)
    for op in ("isnan", "isfinite", "logical_not"):
        check_naive(getattr(K, op), x)
    check_naive(lambda a: K.clip(a, -1, 2), x)
    check_naive(lambda a: K.pow(a, 2), x)


@pytest.mark.parametrize("to", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_casts(rng: np.random.Generator, dtype: str, to: str) -> None:
    """Numbers that the other type has not, too: both devices give the same."""
    if dtype in ("float32", "float64", "bfloat16"):
        ends = [0.0, -0.0, 0.4, -0.6, 1.5, 254.7, 255.9, 256.3, 300, -1, -1.5, 2.0**31, 2.0**31 - 1, -(2.0**31), 3e9]
        ends += [2.0**63, -(2.0**63), 1e19, -1e19, 1e30, np.inf, -np.inf, np.nan, 1e-40, 65537.0, 1e300]
        with np.errstate(over="ignore"):
            x = K.cast(np.array([*ends, *rng.normal(scale=1e3, size=200)]), dtype)
    elif dtype == "bool":
        x = small_numbers(rng, (230,), dtype)
    else:
        info = np.iinfo(dtype)
        ends = [info.min, info.max, 0, 1, 127, 128, 255, info.max // 2 + 1]
        x = K.asarray(np.array([*ends, *rng.integers(info.min, info.max, 221, dtype)], dtype))
    check_naive(lambda a: K.cast(a, to), x)
    check_naive(lambda a: K.cast(a, to), x[1:])
    check_naive(lambda a: K.cast(a, to), x[::-1])


def test_arange_in_pieces() -> None:
    check_naive(lambda: K.arange(3, 200_000, 7))
    check_naive(lambda: K.arange(0.1, 5000, 0.1, dtype="float64"))
    check_naive(lambda: K.arange(-5, 5, dtype="uint8"))


# --- transposition ---


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "uint8"])
@pytest.mark.parametrize(
    "shape",
    [
        (8, 8),
        (8, 300),
        (300, 8),
        (9, 40),
        (40, 9),
        (16, 70),
        (31, 33),
        (64, 65),
        (127, 129),
        (3, 20, 50),
        (230, 240),
        (7, 90),
    ],
    ids=str,
)
def test_transposed(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> None:
    x = small_numbers(rng, shape, dtype)
    order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    check_naive(lambda a: K.copy(a.permute(order), CONTIGUOUS), x)
    out = K.zeros((*shape[:-2], shape[-1], 2 * shape[-2]), dtype)
    view = out[..., : shape[-2]]  # rows with gaps
    K.copy_into(view, x.permute(order))
    np.testing.assert_array_equal(values(view), np.swapaxes(values(x), -1, -2))
    assert not values(out[..., shape[-2] :]).any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (2, 8, 5, 7), (3, 40, 6, 6), (1, 64, 9, 9), (2, 33, 28, 29)], ids=str)
def test_memory_formats(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> None:
    x = small_numbers(rng, shape, dtype)
    last = K.copy(x, K.MemoryFormat.channels_last)
    np.testing.assert_array_equal(values(last), values(x))
    check_naive(lambda a: K.copy(a, CONTIGUOUS), last)
    np.testing.assert_array_equal(values(K.copy(last, CONTIGUOUS)), values(x))
    check_naive(K.add, last, x)
