"""Elementwise operations against NumPy, on every instruction set, dtype, shape and stride."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import assert_close, reference, threads

FLOATS = ["float32", "float64"]
NUMBERS = [*FLOATS, "int64", "int32", "uint8"]
DTYPES = [*NUMBERS, "bool"]
SHAPES = [(), (0,), (1,), (7,), (3, 5, 2), (0, 4), (40_003,), (131, 257)]

# The function in NumPy, or of the math module, and the range of its argument.
FLOATING: dict[str, tuple[Callable[..., Any], float, float]] = {
    "sqrt": (np.sqrt, 0, 1e6),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1e-6, 1e6),
    "reciprocal": (lambda x: 1 / x, 0.1, 100),
    "exp": (np.exp, -80, 80),
    "expm1": (np.expm1, -5, 5),
    "log": (np.log, 1e-6, 1e6),
    "log1p": (np.log1p, -0.9, 1e3),
    "sin": (np.sin, -30, 30),
    "cos": (np.cos, -30, 30),
    "erf": (np.vectorize(math.erf, otypes=[float]), -5, 5),
    "erfc": (np.vectorize(math.erfc, otypes=[float]), -5, 5),
}
ANY_NUMBER: dict[str, Callable[..., Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
}
PREDICATES = ["isnan", "isfinite", "logical_not"]
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
}
TO_BOOL: dict[str, Callable[..., Any]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Small numbers with ties, so that comparisons see equal ones and powers stay finite."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    low = 0 if dtype == "uint8" else -6
    if np.dtype(dtype).kind == "f":
        return (rng.integers(-24, 25, shape) / 4).astype(dtype)
    return rng.integers(low, 7, shape).astype(dtype)


def strided(x: np.ndarray) -> np.ndarray:
    """The same elements in other memory: reversed, with gaps, axes in another order."""
    wide = np.zeros([2 * n for n in x.shape][::-1], x.dtype).T
    view = wide[(..., *(slice(None, None, -2) for _ in x.shape))]
    view[...] = x
    return view


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", FLOATING)
def test_floating(every_implementation: str, rng: np.random.Generator, op: str, shape: tuple[int, ...]) -> None:
    function, low, high = FLOATING[op]
    for dtype in FLOATS:
        x = rng.uniform(low, high, shape).astype(dtype)
        expected = function(x.astype(np.float64))
        assert_close(getattr(K, op)(x), expected, dtype=dtype)
        assert_close(getattr(K, op)(strided(x)), expected, dtype=dtype)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("op", ANY_NUMBER)
def test_any_number(every_implementation: str, rng: np.random.Generator, op: str, dtype: str) -> None:
    for shape in SHAPES:
        x = draw(rng, shape, dtype)
        out = np.asarray(getattr(K, op)(x))
        assert out.dtype == x.dtype
        np.testing.assert_array_equal(out, ANY_NUMBER[op](x).astype(dtype))
        np.testing.assert_array_equal(np.asarray(getattr(K, op)(strided(x))), out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", PREDICATES)
def test_unary_to_bool(every_implementation: str, rng: np.random.Generator, op: str, dtype: str) -> None:
    for shape in SHAPES:
        x = np.array(draw(rng, shape, dtype))
        if x.dtype.kind == "f" and x.size > 4:
            x.reshape(-1)[:4] = [np.nan, np.inf, -np.inf, -0.0]
        out = np.asarray(getattr(K, op)(x))
        assert out.dtype == bool
        np.testing.assert_array_equal(out, getattr(np, op)(x))
        np.testing.assert_array_equal(np.asarray(getattr(K, op)(strided(x))), out)


def test_no_function_is_left_out() -> None:
    """Whatever takes one array and an output stands in a table above."""
    elementwise = "(x: weft.kernels.ArrayLike, out: weft.kernels.OutputLike | None = None) -> weft.kernels.Array\n"
    found = {name for name in dir(K) if (getattr(K, name).__doc__ or "").startswith(name + elementwise)}
    assert found == {*FLOATING, *ANY_NUMBER, *PREDICATES}


@pytest.mark.parametrize("op", FLOATING)
def test_special_values(every_implementation: str, op: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-40, 200, -200], np.float32)
    with np.errstate(all="ignore"):
        expected = FLOATING[op][0](x)
        largest = FLOATING[op][0](np.float64(1e-40)) if op in ("rsqrt", "reciprocal") else None
    out = np.asarray(getattr(K, op)(np.tile(x, 9)))
    if largest is not None and largest > 3e38:
        expected[7] = np.inf
    assert_close(out, np.tile(expected, 9))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_arithmetic(every_implementation: str, rng: np.random.Generator, op: str, dtype: str) -> None:
    for shape in SHAPES:
        a, b = draw(rng, shape, dtype), draw(rng, shape, dtype)
        if op == "pow":
            a, b = np.abs(a), np.abs(b)
        if a.dtype.kind != "f" and op in ("floor_divide", "remainder"):
            b = np.where(b == 0, 1, b).astype(dtype)
        with np.errstate(all="ignore"):
            expected = ARITHMETIC[op](a, b)
        out = getattr(K, op)(a, b)
        assert np.asarray(out).dtype == dtype
        assert_close(out, expected)
        assert_close(getattr(K, op)(strided(a), b), expected)
        assert_close(getattr(K, op)(strided(a), strided(b)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", TO_BOOL)
def test_comparison(every_implementation: str, rng: np.random.Generator, op: str, dtype: str) -> None:
    for shape in SHAPES:
        a, b = np.array(draw(rng, shape, dtype)), draw(rng, shape, dtype)
        if a.dtype.kind == "f" and a.size > 2:
            a.reshape(-1)[1] = np.nan
        out = np.asarray(getattr(K, op)(a, b))
        assert out.dtype == bool
        np.testing.assert_array_equal(out, TO_BOOL[op](a, b))
        np.testing.assert_array_equal(np.asarray(getattr(K, op)(strided(a), b)), out)


def test_div(every_implementation: str, rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(3, 1001)), rng.uniform(1, 2, size=1001)
    assert_close(K.div(a, b), a / b)
    assert_close(K.div(a.astype(np.float32), b.astype(np.float32)), a / b, dtype="float32")
    assert K.div(np.arange(3), np.array([2])).dtype == K.DType.float32
    np.testing.assert_array_equal(np.asarray(K.div(np.arange(4), 2)), np.float32([0, 0.5, 1, 1.5]))
    np.testing.assert_array_equal(
        np.asarray(K.div(np.float32([1, -1, 0]), np.float32([0]))), np.float32([np.inf, -np.inf, np.nan])
    )


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integer_corners(every_implementation: str, dtype: str) -> None:
    """No division by zero and no overflow stops the program; both have a defined result."""
    info = np.iinfo(dtype)
    low, high = np.full(37, info.min, dtype), np.full(37, info.max, dtype)
    zero, one = np.zeros(37, dtype), np.ones(37, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped, squared = high + one, high * high
    np.testing.assert_array_equal(np.asarray(K.add(high, one)), wrapped)
    np.testing.assert_array_equal(np.asarray(K.mul(high, high)), squared)
    np.testing.assert_array_equal(np.asarray(K.square(high)), squared)
    np.testing.assert_array_equal(np.asarray(K.floor_divide(high, zero)), zero)
    np.testing.assert_array_equal(np.asarray(K.remainder(high, zero)), zero)
    if info.min < 0:
        np.testing.assert_array_equal(np.asarray(K.floor_divide(low, -one)), low)
        np.testing.assert_array_equal(np.asarray(K.remainder(low, -one)), zero)
        np.testing.assert_array_equal(np.asarray(K.neg(low)), low)
        np.testing.assert_array_equal(np.asarray(K.abs(low)), low)
        base = np.array([0, 1, -1, -1, 2], dtype)
        exponent = np.array([-1, -2, -2, -3, -1], dtype)
        np.testing.assert_array_equal(np.asarray(K.pow(base, exponent)), [0, 1, 1, -1, 0])


def test_float_division_rounds_down(every_implementation: str) -> None:
    a = np.array([7.5, -7.5, 7.5, -7.5, 6, -6, 1, 0, np.nan, 1e30], np.float64)
    b = np.array([2, 2, -2, -2, 3, 3, 0, 0, 1, 3], np.float64)
    with np.errstate(all="ignore"):
        for dtype in FLOATS:
            x, y = a.astype(dtype), b.astype(dtype)
            assert_close(K.floor_divide(x, y), np.floor_divide(x, y))
            assert_close(K.remainder(x, y), np.remainder(x, y))


@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_extremes_propagate_nan(every_implementation: str, op: str) -> None:
    a = np.tile(np.float32([np.nan, 1, np.nan, 2]), 17)
    b = np.tile(np.float32([1, np.nan, np.nan, 3]), 17)
    np.testing.assert_array_equal(np.asarray(getattr(K, op)(a, b)), ARITHMETIC[op](a, b))


@pytest.mark.parametrize("dtype", NUMBERS)
def test_clip(every_implementation: str, rng: np.random.Generator, dtype: str) -> None:
    for shape in SHAPES:
        x = draw(rng, shape, dtype)
        np.testing.assert_array_equal(np.asarray(K.clip(x, 1, 3)), np.clip(x, 1, 3).astype(dtype))
        np.testing.assert_array_equal(np.asarray(K.clip(x, max=2)), np.minimum(x, 2).astype(dtype))
        np.testing.assert_array_equal(np.asarray(K.clip(strided(x), min=2)), np.maximum(x, 2).astype(dtype))
        np.testing.assert_array_equal(np.asarray(K.clip(x)), x)


def test_clip_bounds(every_implementation: str) -> None:
    x = np.float32([np.nan, -np.inf, np.inf, 0.5])
    np.testing.assert_array_equal(np.asarray(K.clip(x, 0, 1)), np.float32([np.nan, 0, 1, 0.5]))
    np.testing.assert_array_equal(np.asarray(K.clip(np.arange(6), 0.5, 3.5)), [1, 1, 2, 3, 3, 3])
    np.testing.assert_array_equal(np.asarray(K.clip(np.arange(3, dtype=np.uint8), -5, 1e9)), [0, 1, 2])
    with pytest.raises(ValueError, match="clip: min 2 must not be greater than max 1"):
        K.clip(x, 2, 1)
    with pytest.raises(ValueError, match="clip: min nan must not be"):
        K.clip(x, float("nan"), 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_where(every_implementation: str, rng: np.random.Generator, dtype: str) -> None:
    for shape in SHAPES:
        condition = draw(rng, shape, "bool")
        a, b = draw(rng, shape, dtype), draw(rng, shape, dtype)
        expected = np.where(condition, a, b)
        np.testing.assert_array_equal(np.asarray(K.where(condition, a, b)), expected)
        np.testing.assert_array_equal(np.asarray(K.where(strided(condition), a, strided(b))), expected)
    a, b, condition = draw(rng, (3, 1, 5), dtype), draw(rng, (4, 1), dtype), draw(rng, (5,), "bool")
    np.testing.assert_array_equal(np.asarray(K.where(condition, a, b)), np.where(condition, a, b))


def test_where_with_numbers(every_implementation: str) -> None:
    x = np.float32([-1, 2, np.nan])
    assert_close(K.where(K.gt(x, 0), x, 0), np.float32([0, 2, 0]))
    assert K.where(K.gt(x, 0), 1, 0).dtype == K.DType.int64
    with pytest.raises(TypeError, match="where: condition must be bool, got float32"):
        K.where(x, x, x)


@given(data=st.data())
def test_broadcast(data: st.DataObject) -> None:
    """Any two shapes that broadcast, with strides of any kind."""
    shape = data.draw(st.lists(st.integers(0, 5), max_size=4).map(tuple))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    operands = []
    for _ in range(2):
        kept = data.draw(st.integers(0, len(shape)))
        own = tuple(1 if data.draw(st.booleans()) else n for n in shape[len(shape) - kept :])
        x = rng.normal(size=own).astype(np.float32)
        operands.append(strided(x) if data.draw(st.booleans()) else x)
    a, b = operands
    np.testing.assert_array_equal(np.asarray(K.add(a, b)), a + b)
    np.testing.assert_array_equal(np.asarray(K.lt(a, b)), a < b)
    np.testing.assert_array_equal(np.asarray(reference(K.mul, a, b)), a * b)


@given(data=st.data())
def test_copy_any_strides(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 70), max_size=3).map(tuple))
    order = data.draw(st.permutations(range(len(shape))))
    to, from_ = data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from(DTYPES))
    x = draw(np.random.default_rng(0), shape, from_)
    expected = x.transpose(order).astype(to)
    if np.dtype(from_).kind != "u" and to == "uint8":
        x = np.abs(x)
        expected = x.transpose(order).astype(to)
    view = K.asarray(strided(x) if data.draw(st.booleans()) else x).permute(order)
    np.testing.assert_array_equal(np.asarray(K.cast(view, to)), expected)
    out = K.asarray(strided(np.zeros(expected.shape, to)))
    K.copy_into(out, view)
    np.testing.assert_array_equal(np.asarray(out), expected)


@pytest.mark.parametrize("shape", [(64, 64), (65, 130), (1, 300), (300, 1), (3, 70, 129), (2, 3, 40, 50)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_transposed_copy(
    every_implementation: str, rng: np.random.Generator, dtype: str, shape: tuple[int, ...]
) -> None:
    x = draw(rng, shape, dtype)
    np.testing.assert_array_equal(np.asarray(K.copy(x.T)), x.T)
    swapped = x.swapaxes(-1, -2)
    np.testing.assert_array_equal(np.asarray(K.copy(swapped)), swapped)
    np.testing.assert_array_equal(np.asarray(K.copy(np.moveaxis(x, 0, -1))), np.moveaxis(x, 0, -1))


def test_copy_broadcasts(every_implementation: str) -> None:
    out = K.asarray(np.zeros((3, 4), np.float32))
    K.copy_into(out, np.arange(4))
    np.testing.assert_array_equal(np.asarray(out), np.tile(np.arange(4), (3, 1)))
    with pytest.raises(ValueError, match=r"copy: shapes \(3, 4\) and \(3,\) do not broadcast"):
        K.copy_into(out, np.zeros(3))
    with pytest.raises(ValueError, match=r"copy: shape \(2, 3, 4\) does not broadcast to \(3, 4\)"):
        K.copy_into(out, np.zeros((2, 3, 4)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_fill(every_implementation: str, dtype: str) -> None:
    for shape in SHAPES:
        np.testing.assert_array_equal(np.asarray(K.full(shape, 1, dtype)), np.full(shape, 1, dtype))
    array = K.asarray(np.zeros((70, 90), dtype))
    K.fill(array[::2, ::3], 1)
    gaps = np.asarray(array)
    assert gaps[::2, ::3].all()
    assert int(gaps.sum(dtype=np.int64)) == 35 * 30


def test_arange(every_implementation: str) -> None:
    for args in [(5,), (2, 7), (0, 10, 3), (10, 0, -3), (3, 3), (5, 0), (-4, 4, 2), (40_001,)]:
        out = np.asarray(K.arange(*args))
        np.testing.assert_array_equal(out, np.arange(*args))
        assert out.dtype == np.int64
    assert_close(K.arange(0, 1, 0.1), np.arange(0, 1, 0.1), dtype="float32")
    assert K.arange(0.5, 4).dtype == K.DType.float32
    for dtype in NUMBERS:
        np.testing.assert_array_equal(np.asarray(K.arange(3, dtype=dtype)), np.arange(3, dtype=dtype))
    with pytest.raises(ValueError, match="arange: step must not be zero"):
        K.arange(0, 3, 0)
    with pytest.raises(ValueError, match="arange: start, stop and step must be finite"):
        K.arange(float("inf"))
    with pytest.raises(TypeError, match="arange: dtype must be a number, got bool"):
        K.arange(3, dtype=bool)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_take_the_other_dtype(every_implementation: str, dtype: str) -> None:
    x = np.ones(3, dtype)
    if dtype != "bool":
        assert K.add(x, 1).dtype == K.asarray(x).dtype
        assert K.add(True, x).dtype == K.asarray(x).dtype
    wanted = dtype if dtype in FLOATS else "float32"
    assert str(K.mul(0.5, x).dtype) == wanted
    np.testing.assert_array_equal(np.asarray(K.sub(1.5, x)), np.full(3, 0.5))
    assert K.eq(x, 1).dtype == K.DType.bool


def test_numbers() -> None:
    assert K.add(1, 2).item() == 3
    assert K.add(1, 2).dtype == K.DType.int64
    assert K.add(1, 2.5).dtype == K.DType.float32
    assert K.add(np.ones(2, bool), 2).dtype == K.DType.int64
    big = np.array([2**62], np.int64)
    assert K.add(big, 2**62 - 1).item() == 2**63 - 1
    with pytest.raises(ValueError, match="add: 300 does not fit into uint8"):
        K.add(np.ones(2, np.uint8), 300)


def test_out(every_implementation: str, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 5, 7)).astype(np.float32)
    expected = x + y
    a, b = K.asarray(x), K.asarray(y)
    out = K.asarray(np.zeros((7, 5), np.float32).T)
    K.add(a, b, out=out)
    np.testing.assert_array_equal(np.asarray(out), expected)
    K.add(a, b, out=a)
    np.testing.assert_array_equal(np.asarray(a), expected)
    K.neg(a, out=a)
    np.testing.assert_array_equal(np.asarray(a), -expected)
    K.clip(a, 0, 1, out=a)
    assert np.asarray(a).min() >= 0


def test_out_that_overlaps(every_implementation: str) -> None:
    """The operand is read as it was before."""
    for n in (5, 1001):
        x = K.arange(n, dtype="float32")
        K.add(x[:-1], 1, out=x[1:])
        np.testing.assert_array_equal(np.asarray(x)[1:], np.arange(n - 1) + 1)
        x = K.arange(n, dtype="float32")
        K.copy_into(x, x[::-1])
        np.testing.assert_array_equal(np.asarray(x), np.arange(n)[::-1])
        y = K.arange(n, dtype="float32")
        K.mul(y[::-1], 2, out=y)
        np.testing.assert_array_equal(np.asarray(y), 2 * np.arange(n)[::-1])


@pytest.mark.cpu
def test_out_that_overlaps_in_numpy(every_implementation: str) -> None:
    """The same where both came from NumPy on their own."""
    for n in (5, 1001):
        x = np.arange(n, dtype=np.float32)
        K.add(x[:-1], 1, out=x[1:])
        np.testing.assert_array_equal(x[1:], np.arange(n - 1) + 1)
        x = np.arange(n, dtype=np.float32)
        K.copy_into(x, x[::-1])
        np.testing.assert_array_equal(x, np.arange(n)[::-1])


@pytest.mark.cpu
@pytest.mark.parametrize("shape", [(100_003,), (301, 513), (7, 40_001)], ids=str)
def test_threads_do_not_change_bits(
    every_implementation: str, rng: np.random.Generator, shape: tuple[int, ...]
) -> None:
    a, b = rng.normal(size=(2, *shape)).astype(np.float32)
    column = a[..., :1]

    def results() -> list[bytes]:
        made = [K.mul(a, b), K.exp(a), K.add(a, column), K.where(K.gt(a, b), a, b), K.copy(K.asarray(a.T))]
        return [np.asarray(x).tobytes() for x in made]

    with threads(1):
        expected = results()
    for count in (2, 3, 4, 7):
        with threads(count):
            assert results() == expected


def test_errors() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"add: shapes \(2, 3\) and \(4,\) do not broadcast"):
        K.add(x, np.ones(4, np.float32))
    with pytest.raises(TypeError, match="mul: the first operand and the second must have the same dtype, got"):
        K.mul(x, np.ones(3))
    with pytest.raises(TypeError, match="exp: input must be float32, float64 or bfloat16, got int64"):
        K.exp(np.arange(3))
    with pytest.raises(TypeError, match="neg: input must be a number, got bool"):
        K.neg(np.ones(3, bool))
    with pytest.raises(TypeError, match="add: operands must be numbers, got bool"):
        K.add(np.ones(3, bool), np.ones(3, bool))
    with pytest.raises(ValueError, match=r"add: the result has shape \(2, 3\) but out has \(3,\)"):
        K.add(x, x, out=np.ones(3, np.float32))
    with pytest.raises(TypeError, match="lt: the result has dtype bool but out has float32"):
        K.lt(x, x, out=np.ones((2, 3), np.float32))


@pytest.mark.cpu
def test_read_only() -> None:
    x = np.ones((2, 3), np.float32)
    frozen = np.ones((2, 3), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="add: the output array is read-only"):
        K.add(x, x, out=frozen)
    with pytest.raises(ValueError, match="fill: the output array is read-only"):
        K.fill(frozen, 1)
