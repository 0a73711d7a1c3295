"""Reductions against NumPy in double precision, over every choice of axes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import assert_close, reference, threads

FLOATS = ["float32", "float64"]
DTYPES = [*FLOATS, "int64", "int32", "uint8", "bool"]
FUNCTIONS: dict[str, Any] = {
    "sum": np.sum,
    "prod": np.prod,
    "mean": np.mean,
    "sum_squares": lambda x, **kwargs: np.sum(np.square(x), **kwargs),
    "var": lambda x, **kwargs: np.var(x, ddof=1, **kwargs),
    "max": np.max,
    "min": np.min,
    "any": np.any,
    "all": np.all,
}
FLOATING_ONLY = ["mean", "sum_squares", "var"]
SHAPES = [(1,), (7,), (3, 5, 2), (40_003,), (131, 257), (5, 1, 67, 3)]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return rng.normal(1, 0.5, shape).astype(dtype)
    return rng.integers(0, 2 if dtype == "bool" else 9, shape).astype(dtype)


def all_axes(ndim: int) -> list[Any]:
    """None, every single axis, and every set of axes."""
    sets = [s for n in range(1, ndim + 1) for s in itertools.combinations(range(ndim), n)]
    return [None, *range(-ndim, ndim), *sets]


def terms(shape: tuple[int, ...], axis: Any) -> int:
    axes = range(len(shape)) if axis is None else [axis] if isinstance(axis, int) else axis
    return int(np.prod([shape[a] for a in axes]))


@pytest.mark.filterwarnings("ignore:Degrees of freedom")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", FUNCTIONS)
def test_floating(every_isa: str, rng: np.random.Generator, op: str, shape: tuple[int, ...]) -> None:
    for dtype in FLOATS:
        x = draw(rng, shape, dtype)
        if op == "prod":
            x = (x > 0.5).astype(dtype) + dtype_ones(dtype) / 128
        for axis in all_axes(len(shape)):
            with np.errstate(all="ignore"):
                expected = FUNCTIONS[op](x.astype(np.float64), axis=axis)
            if op == "var" and terms(shape, axis) == 1:
                expected = np.full_like(expected, np.nan)
            out = getattr(K, op)(x, axis)
            assert_close(out, expected, dtype=None if expected.dtype == bool else dtype, terms=terms(shape, axis))
            kept = getattr(K, op)(x, axis=axis, keepdim=True)
            assert kept.shape == np.sum(x, axis=axis, keepdims=True).shape
            np.testing.assert_array_equal(np.asarray(kept).reshape(out.shape), np.asarray(out))


def dtype_ones(dtype: str) -> Any:
    return np.ones((), dtype)


@pytest.mark.parametrize("dtype", DTYPES[2:])
@pytest.mark.parametrize("op", [op for op in FUNCTIONS if op not in FLOATING_ONLY])
def test_integers(every_isa: str, rng: np.random.Generator, op: str, dtype: str) -> None:
    for shape in SHAPES:
        x = draw(rng, shape, dtype)
        for axis in all_axes(len(shape)):
            with np.errstate(all="ignore"):
                wide = {"dtype": np.int64} if op in ("sum", "prod") else {}
                expected = FUNCTIONS[op](x, axis=axis, **wide)
            out = np.asarray(getattr(K, op)(x, axis))
            assert out.dtype == expected.dtype
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_position(every_isa: str, rng: np.random.Generator, op: str, dtype: str) -> None:
    for shape in SHAPES:
        # Few values, so that ties are common: the first one counts.
        x = rng.integers(0, 2 if dtype == "bool" else 5, shape).astype(dtype)
        for axis in [None, *range(-x.ndim, x.ndim)]:
            out = np.asarray(getattr(K, op)(x, axis))
            assert out.dtype == np.int64
            np.testing.assert_array_equal(out, getattr(np, op)(x, axis=axis))
            turned = np.asarray(getattr(K, op)(x.T[::-1], axis))
            np.testing.assert_array_equal(turned, getattr(np, op)(x.T[::-1], axis=axis))


@pytest.mark.parametrize("n", [1, 7, 64, 1000, 40_003])
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan(every_isa: str, rng: np.random.Generator, dtype: str, n: int) -> None:
    """NaN reaches every result, wherever it stands; argmax and argmin give the first one."""
    for at in {0, n // 2, n - 1}:
        x = rng.normal(size=(3, n)).astype(dtype)
        x[1, at:] = np.nan
        x[2, at] = -np.inf
        for y, axis in ((x, 1), (np.ascontiguousarray(x.T), 0)):
            for op in ("max", "min", "argmax", "argmin"):
                np.testing.assert_array_equal(np.asarray(getattr(K, op)(y, axis)), getattr(np, op)(y, axis=axis))
            assert np.isnan(np.asarray(K.sum(y, axis))[1])
            assert np.asarray(K.any(y, axis))[1]


@given(data=st.data())
def test_any_strides(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple))
    order = data.draw(st.permutations(range(len(shape))))
    step = data.draw(st.sampled_from([1, 2, -1]))
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)).copy()
    wide = np.random.default_rng(0).normal(size=tuple(2 * n for n in shape)).astype(np.float32)
    x = wide[tuple(slice(n) for n in shape)].transpose(order)[::step]
    axis = tuple(sorted(axes))
    for op in ("sum", "max", "mean", "sum_squares"):
        assert_close(
            getattr(K, op)(x, axis),
            FUNCTIONS[op](x.astype(np.float64), axis=axis),
            dtype="float32",
            terms=x.size,
        )
    expanded = K.asarray(x).unsqueeze(0).expand((3, *x.shape))
    assert_close(K.sum(expanded, 0), 3 * x.astype(np.float64), dtype="float32", terms=3)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 5)], ids=str)
def test_empty(every_isa: str, shape: tuple[int, ...]) -> None:
    for dtype in DTYPES:
        x = np.zeros(shape, dtype)
        for axis in all_axes(len(shape)):
            for op in ("sum", "prod", "any", "all"):
                wide = {"dtype": np.int64} if op in ("sum", "prod") and x.dtype.kind != "f" else {}
                expected = FUNCTIONS[op](x, axis=axis, **wide)
                np.testing.assert_array_equal(np.asarray(getattr(K, op)(x, axis)), expected)
            if x.dtype.kind == "f":
                assert np.isnan(np.asarray(K.mean(x, axis))).all()
                assert np.isnan(np.asarray(K.var(x, axis))).all()
    with pytest.raises(ValueError, match="max: no elements to choose from along the reduced axes of shape"):
        K.max(np.zeros(shape), None)


def test_scalar(every_isa: str) -> None:
    x = np.array(3.5, np.float32)
    for op in ("sum", "prod", "mean", "max", "min"):
        assert getattr(K, op)(x).item() == 3.5
    assert K.argmax(x).item() == 0
    assert np.isnan(K.var(x).item())
    assert K.var(x, correction=0).item() == 0


def test_variance(every_isa: str, rng: np.random.Generator) -> None:
    """Two passes: a large mean does not cancel the digits away."""
    x = (1000 + rng.normal(size=(4, 5000))).astype(np.float32)
    for axis in (None, 0, 1, (0, 1)):
        for correction in (0, 1, 2.5):
            n = terms(x.shape, axis)
            expected = np.var(x.astype(np.float64), axis=axis) * n / (n - correction)
            assert_close(K.var(x, axis, correction=correction), expected, dtype="float32", terms=n)


def test_sums_are_accurate(every_isa: str) -> None:
    """Plain addition in float32 stops growing at 2^24."""
    assert K.sum(np.ones(2**25, np.float32)).item() == 2**25
    x = np.full((3000, 40), 0.1, np.float32)
    for view in (x, x.T):
        for axis in (0, 1, None):
            exact = view.astype(np.float64).sum(axis=axis)
            assert_close(K.sum(view, axis), exact, dtype="float32", factor=3)


@pytest.mark.cpu
@pytest.mark.parametrize("shape", [(300_007,), (3, 100_003), (100_003, 3), (64, 33, 100)], ids=str)
def test_threads_do_not_change_bits(every_isa: str, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = rng.normal(size=shape).astype(np.float32)

    def results() -> list[bytes]:
        made = [
            np.asarray(getattr(K, op)(x, axis))
            for op in ("sum", "mean", "var", "max", "sum_squares")
            for axis in all_axes(x.ndim)
        ]
        places = [np.asarray(a) for a in (K.argmax(x), K.argmax(x, -1), K.argmin(x, 0))]
        return [out.tobytes() for out in [*made, *places]]

    with threads(1):
        expected = results()
    for count in (2, 3, 4, 7):
        with threads(count):
            assert results() == expected


@given(shape=st.lists(st.integers(1, 6), max_size=4).map(tuple), seed=st.integers(0, 99))
def test_reference_agrees(shape: tuple[int, ...], seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=shape)
    for op in [*FUNCTIONS, "argmax", "argmin"]:
        assert_close(getattr(K, op)(x), reference(getattr(K, op), x), terms=x.size)


def test_errors() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(IndexError, match="sum: axis 2 is out of range for an array with 2 dimensions"):
        K.sum(x, 2)
    with pytest.raises(IndexError, match="mean: axis -3 is out of range"):
        K.mean(x, -3)
    with pytest.raises(ValueError, match=r"sum: axis 1 occurs twice in \(1, -1\)"):
        K.sum(x, (1, -1))
    with pytest.raises(ValueError, match=r"argmax: expected one axis or none, got \(0, 1\)"):
        K.argmax(x, (0, 1))
    with pytest.raises(TypeError, match="mean: input must be float32, float64 or bfloat16, got int64"):
        K.mean(np.arange(3))
    with pytest.raises(ValueError, match=r"argmin: no elements to choose from .* shape \(0, 3\)"):
        K.argmin(np.zeros((0, 3)), 0)
