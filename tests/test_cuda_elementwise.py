"""The CUDA kernels of copies, elementwise functions, activations and indexing: each way through their policies, beside
the CPU's naive kernels. Whole numbers and arithmetic of single operations have the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, on_cpu, reference

pytestmark = pytest.mark.usefixtures("cuda_device")

CONTIGUOUS = K.MemoryFormat.contiguous_format
NUMBERS = ["float32", "float64", "bfloat16", "int64", "int32", "uint8"]
DTYPES = [*NUMBERS, "bool"]
# Around the elements of a pack, of a thread and of a block; the last is beyond the emulator's limit of narrow indices.
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 255, 257, 1023, 1024, 1025, 2047, 2049, 4097, 50_003]


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> K.Array:
    """Whole numbers and quarters, which bfloat16 has."""
    low = 0 if dtype in ("uint8", "bool") else -40
    whole = rng.integers(low, 2 if dtype == "bool" else 41, shape)
    given = whole / 4 if dtype in ("float32", "float64", "bfloat16") else whole
    return K.cast(np.asarray(given), dtype)


def values(x: Any) -> np.ndarray:
    """As NumPy has it; bfloat16 as float32, which is exact."""
    x = on_cpu(x)
    return np.asarray(K.cast(x, "float32") if str(x.dtype) == "bfloat16" else x)


def same(function: Callable[..., Any], *args: Any) -> None:
    """The device's result has the naive kernels' bits, NaN aside."""
    found, expected = function(*args), reference(function, *args)
    assert str(found.dtype) == str(expected.dtype)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(values(found), values(expected))


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
        a, b = numbers(rng, (n,), dtype), numbers(rng, (n,), dtype)
        same(K.add, a, b)
        same(K.neg, a)
        same(K.lt, a, b)
        same(K.isfinite, a)
        same(K.where, K.lt(a, b), a, b)
        same(K.copy, a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_that_begins_anywhere(rng: np.random.Generator, dtype: str) -> None:
    a, b = numbers(rng, (1300,), dtype), numbers(rng, (1300,), dtype)
    for first in (1, 2, 3, 8):
        x, y = a[first:], b[: 1300 - first]
        same(K.eq, x, y)
        same(K.logical_not, x)
        same(K.copy, x)
        same(K.where, K.eq(x, y), x, y)
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
    a, b = numbers(rng, first, dtype), numbers(rng, second, dtype)
    same(K.sub, a, b)
    same(K.sub, b, a)
    same(K.ge, a, b)
    same(K.where, K.lt(b, a), a, b)
    same(K.mul, strided(a), b)


def test_every_rank_and_order(rng: np.random.Generator) -> None:
    shape = (3, 2, 5, 1, 2, 3, 2, 2)
    for rank in range(1, 9):
        a, b = numbers(rng, shape[:rank], "float32"), numbers(rng, shape[:rank], "float32")
        order = tuple(rng.permutation(rank).tolist())
        same(K.sub, strided(a, order), b)
        same(K.copy, strided(a, order))
        same(lambda x: K.copy(x, CONTIGUOUS), strided(a, order))
        same(lambda x: K.cast(x, "int64"), strided(b, order))
        out = strided(K.zeros(shape[:rank]), order)
        K.add(a, b, out=out)
        np.testing.assert_array_equal(values(out), values(a) + values(b))


def test_in_place(rng: np.random.Generator) -> None:
    for n in (5, 1030, 50_001):
        a, b = numbers(rng, (n,), "float32"), numbers(rng, (n,), "float32")
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
        a, b = numbers(rng, shape, "float32"), numbers(rng, shape[1:], "float32")
        order = tuple(rng.permutation(len(shape)).tolist())
        same(K.sub, strided(a), b)
        same(K.add, a.permute(order), strided(a).permute(order))
        same(lambda x: K.copy(x), a[::-1])
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
        same(lambda x, y, op=op: getattr(K, op)(x[:, None], y), a, b)  # every pair
    for op in ("neg", "abs", "sign", "square", "floor", "ceil", "round"):
        same(getattr(K, op), a)
    same(lambda x: K.clip(x, 2, 5), a)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_special_numbers(dtype: str) -> None:
    x = np.array([0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, 3, -7.5, np.inf, -np.inf, np.nan, 1e30, -1e-30, 6], "float64")
    x = K.cast(x, dtype)
    binary = ["sub", "div", "floor_divide", "remainder", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"]
    for op in [*binary, "logical_and", "logical_or", "logical_xor"]:
        same(lambda a, b, op=op: getattr(K, op)(a[:, None], b), x, x)
    for op in ("neg", "abs", "sign", "square", "sqrt", "rsqrt", "reciprocal", "floor", "ceil", "round"):
        same(getattr(K, op), x)
    for op in ("isnan", "isfinite", "logical_not"):
        same(getattr(K, op), x)
    same(lambda a: K.clip(a, -1, 2), x)
    same(lambda a: K.pow(a, 2), x)


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
        x = numbers(rng, (230,), dtype)
    else:
        info = np.iinfo(dtype)
        ends = [info.min, info.max, 0, 1, 127, 128, 255, info.max // 2 + 1]
        x = K.asarray(np.array([*ends, *rng.integers(info.min, info.max, 221, dtype)], dtype))
    same(lambda a: K.cast(a, to), x)
    same(lambda a: K.cast(a, to), x[1:])
    same(lambda a: K.cast(a, to), x[::-1])


@pytest.mark.parametrize(
    "kind", ["none", "step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "silu"]
)
def test_activations(rng: np.random.Generator, kind: str) -> None:
    for n in (1, 5, 1027, 50_001):
        for dtype in ("float32", "float64", "bfloat16"):
            x = K.cast(rng.normal(scale=3, size=n), dtype)
            dout = K.cast(rng.normal(size=n), dtype)
            args = (x, 1.5) if kind in ("leaky_relu", "elu", "softplus") else (x,)
            pairs = [(lambda d, s: K.activation_backward(kind, d, s, 1.5), (dout, x))]
            if kind != "none":
                pairs.append((getattr(K, kind), args))
            for function, given in pairs:
                found, expected = function(*given), reference(function, *given)
                if dtype == "bfloat16":  # the last bit may differ where float32 does
                    np.testing.assert_allclose(values(found), values(expected), rtol=2**-7)
                else:
                    assert_close(found, expected, factor=4)


def test_arange_in_pieces() -> None:
    same(lambda: K.arange(3, 200_000, 7))
    same(lambda: K.arange(0.1, 5000, 0.1, dtype="float64"))
    same(lambda: K.arange(-5, 5, dtype="uint8"))


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
    x = numbers(rng, shape, dtype)
    order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    same(lambda a: K.copy(a.permute(order), CONTIGUOUS), x)
    out = K.zeros((*shape[:-2], shape[-1], 2 * shape[-2]), dtype)
    view = out[..., : shape[-2]]  # rows with gaps
    K.copy_into(view, x.permute(order))
    np.testing.assert_array_equal(values(view), np.swapaxes(values(x), -1, -2))
    assert not values(out[..., shape[-2] :]).any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (2, 8, 5, 7), (3, 40, 6, 6), (1, 64, 9, 9), (2, 33, 28, 29)], ids=str)
def test_memory_formats(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> None:
    x = numbers(rng, shape, dtype)
    last = K.copy(x, K.MemoryFormat.channels_last)
    np.testing.assert_array_equal(values(last), values(x))
    same(lambda a: K.copy(a, CONTIGUOUS), last)
    np.testing.assert_array_equal(values(K.copy(last, CONTIGUOUS)), values(x))
    same(K.add, last, x)


# --- indexing ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inner", [1, 2, 3, 4, 6, 8, 12, 16, 31])
def test_rows_of_all_lengths(rng: np.random.Generator, inner: int, dtype: str) -> None:
    x, index = numbers(rng, (2, 7, inner), dtype), rng.integers(-7, 7, 40)
    same(lambda a: K.index_select(a, 1, index), x)
    flat = K.cat([numbers(rng, (1,), dtype), x.reshape((14 * inner,))])
    same(lambda a: K.index_select(a[1:].reshape((14, inner)), 0, index), flat)  # begins anywhere


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "uint8"])
def test_reading_much(rng: np.random.Generator, dtype: str) -> None:
    x = numbers(rng, (5, 13, 3), dtype)
    index = rng.integers(-13, 13, 4001)
    same(lambda a: K.index_select(a, 1, index), x)
    each = rng.integers(-13, 13, (5, 4001, 3))
    same(lambda a: K.gather(a, 1, each), x)
    same(lambda a: K.gather(a, 1, each[:, :50]), x)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 7, 10, 16, 33])
def test_one_hot(rng: np.random.Generator, classes: int, dtype: str) -> None:
    for count in (1, 5, 1000, 60_000 // classes):
        index = rng.integers(0, classes, count)
        same(lambda i: K.one_hot(i, classes, dtype), index)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
@pytest.mark.parametrize(
    ("shape", "axis", "count"),
    [
        ((5,), 0, 33),  # sorted in one pass
        ((300, 3), 0, 700),  # two passes
        ((70_000,), 0, 2100),  # three, two tiles
        ((2, 9, 4), 1, 4100),
        ((3, 2, 5), 2, 2048),
        ((4, 6), 0, 32),  # a thread for each column
        ((4, 700), 0, 90),
        ((7, 3), 0, 50_100),
    ],
    ids=str,
)
def test_adding_in_order(rng: np.random.Generator, shape: tuple[int, ...], axis: int, count: int, dtype: str) -> None:
    def draw(*size: int) -> np.ndarray:
        if dtype in ("float32", "float64"):
            return rng.normal(size=size).astype(dtype)
        return rng.integers(0, 200, size).astype(dtype)

    n, total = shape[axis], (*shape[:axis], count, *shape[axis + 1 :])
    x, out = draw(*total), draw(*shape)

    def index_add(target: np.ndarray, index: np.ndarray, added: np.ndarray) -> K.Array:
        made = K.copy(target)
        K.index_add(made, axis, index, added)
        return made

    def scatter_add(target: np.ndarray, index: np.ndarray, added: np.ndarray) -> K.Array:
        made = K.copy(target)
        K.scatter_add(made, axis, index, added)
        return made

    same(index_add, out, rng.integers(-n, n, count), x)
    same(index_add, out, np.full(count, n - 1), x)
    same(index_add, out, np.sort(rng.integers(0, n, count))[::-1].copy(), x)
    same(scatter_add, out, rng.integers(-n, n, total), x)
    same(scatter_add, out, np.zeros(total, int), x)


def test_bad_indices_are_passed_over(rng: np.random.Generator) -> None:
    """In a replay a check is looked at after the kernels that follow it, which must not read what isn't there."""
    table, many = K.asarray(np.ones((5, 4), np.float32)), K.asarray(np.ones((60, 4), np.float32))
    good = np.zeros(60, np.int64)

    def pass_all(index: K.Array) -> list[K.Array]:
        added, few, each = (K.zeros((5, 4)) for _ in range(3))
        K.index_add(added, 0, index, many)
        K.index_add(few, 0, index[:8], many[:8])
        K.scatter_add(each, 0, K.copy(index.reshape((60, 1)).expand((60, 4))), many)
        wide = K.gather(table, 0, K.copy(index.reshape((60, 1)).expand((60, 4))))
        return [K.index_select(table, 0, index), wide, K.one_hot(index, 5), added, few, each]

    replay = K.Replay(True)
    given = K.copy(good)
    replay.begin()
    try:
        outputs = pass_all(given)
    finally:
        replay.end()
    replay.set_inputs([given])
    replay.set_outputs(outputs)

    def run(index: np.ndarray) -> None:
        replay.call([index])
        K.cuda_synchronize()

    for bad in (5, -6, 1 << 40, -(1 << 62)):
        index = good.copy()
        index[7] = bad
        index[8:] = 1
        with pytest.raises(IndexError, match=rf"index_add: index {bad} is out of range for size 5"):
            run(index)
        added, few, each = (values(x)[:2, 0].tolist() for x in outputs[3:])
        assert (added, few, each) == ([7, 52], [7, 0], [7, 52])
        assert [values(x)[7].any() for x in outputs[:3]] == [False] * 3
    (selected, *_) = replay.call([good])
    assert (values(selected) == 1).all()


@pytest.mark.parametrize("count", [1, 511, 4096, 4097, 40_000, 1_100_000])
def test_the_first_bad_index_is_told(rng: np.random.Generator, count: int) -> None:
    """By one block and by many."""
    x, good = K.zeros((5,)), np.zeros(count, np.int64)
    for place in sorted({0, count // 3, count - 1}) if count < 100_000 else [count - 1]:
        index = good.copy()
        index[place:] = rng.integers(6, 9, count - place)
        index[place] = 5
        with pytest.raises(IndexError, match="index_select: index 5 is out of range for size 5"):
            K.index_select(x, 0, index)
    if count < 100_000:
        assert K.index_select(x, 0, good).shape == (count,)
