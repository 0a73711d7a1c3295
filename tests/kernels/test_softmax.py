"""Softmax and log-softmax against the naive kernels in double precision."""

from __future__ import annotations

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, reference, threads

KINDS = ["softmax", "log_softmax"]
CASES = [
    ((7,), 0),
    ((5, 1), 1),
    ((3, 10), -1),
    ((64, 1000), 1),
    ((4, 5, 6), 1),
    ((2, 3, 70), 0),
    ((2, 17, 3, 67), 1),
    ((1, 1), 0),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_ways(every_isa: str, rng: np.random.Generator, kind: str, shape: tuple, axis: int, dtype: str) -> None:
    x = rng.normal(scale=4, size=shape).astype(dtype)
    dout = rng.normal(size=shape).astype(dtype)
    out = getattr(K, kind)(x, axis)
    expected = reference(getattr(K, kind), x.astype(np.float64), axis)
    assert_close(out, expected, dtype=dtype, factor=3)
    dx = getattr(K, f"{kind}_backward")(dout, np.asarray(expected).astype(dtype), axis)
    wide = reference(getattr(K, f"{kind}_backward"), dout.astype(np.float64), expected, axis)
    assert_close(dx, wide, dtype=dtype, terms=shape[axis], factor=3)


@pytest.mark.parametrize("kind", KINDS)
def test_large_logits_do_not_overflow(every_isa: str, kind: str) -> None:
    x = np.array([[1e4, 1e4 - 1, -1e4]] * 20, np.float32)
    assert_close(getattr(K, kind)(x), reference(getattr(K, kind), x.astype(np.float64)), dtype="float32", factor=3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("bad", [[np.nan, 0, 0], [np.inf, 0, 0], [-np.inf] * 3])
def test_rows_that_are_not_numbers(every_isa: str, kind: str, axis: int, bad: list[float]) -> None:
    x = np.zeros((3, 4), np.float32)
    x[:, 1] = bad
    x = x if axis == 0 else np.ascontiguousarray(x.T)
    out = np.asarray(getattr(K, kind)(x, axis))
    assert np.isnan(out).any(axis=axis).tolist() == [False, True, False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_one_infinitely_small_logit(every_isa: str, kind: str) -> None:
    x = np.array([0, -np.inf, 0], np.float32)
    expected = [0.5, 0, 0.5] if kind == "softmax" else [-np.log(2), -np.inf, -np.log(2)]
    assert_close(getattr(K, kind)(x), np.array(expected), dtype="float32")


@pytest.mark.cpu
def test_same_bits_for_any_number_of_threads(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 777)).astype(np.float32)
    results = []
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            results.append(b"".join(np.asarray(K.softmax(x, axis)).tobytes() for axis in (0, 1)))
    assert len(set(results)) == 1


def test_empty(every_isa: str) -> None:
    assert np.asarray(K.softmax(np.ones((0, 3), np.float32))).shape == (0, 3)
    assert np.asarray(K.softmax(np.ones((3, 0), np.float32))).shape == (3, 0)


def test_errors() -> None:
    with pytest.raises(TypeError, match="softmax: input must be float32 or float64, got int64"):
        K.softmax(np.arange(3))
    with pytest.raises(IndexError, match="log_softmax: axis 2 is out of range for an array with 2 dimensions"):
        K.log_softmax(np.ones((2, 3)), 2)
    with pytest.raises(ValueError, match="softmax: input must have rank 1 at least"):
        K.softmax(np.ones(()))
    with pytest.raises(ValueError, match=r"softmax_backward: dout \(2,\) and out \(3,\) must have the same shape"):
        K.softmax_backward(np.ones(2), np.ones(3))


@pytest.mark.parametrize("log", [False, True])
def test_rows_of_every_length(every_isa: str, rng: np.random.Generator, log: bool) -> None:
    function = K.log_softmax if log else K.softmax
    for n in [*range(1, 40), 63, 64, 65, 79, 80, 81, 129, 1000]:
        x = rng.normal(scale=4, size=(3, n)).astype(np.float32)
        x[0, n // 2] = -np.inf if n > 1 else 0  # a class that is masked
        expected = reference(function, x.astype(np.float64), -1)
        assert_close(function(x, -1), expected, factor=4)
        x[1, n - 1] = np.nan
        assert np.isnan(np.asarray(function(x, -1))).tolist() == [[False] * n, [True] * n, [False] * n]
