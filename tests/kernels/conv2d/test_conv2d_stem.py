"""Convolution with stride 2, 7x7 of few channels and 3x3 of many, against the naive kernels in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import reference, threads

pytestmark = pytest.mark.cpu

BOUND = 1e-5  # of the largest error, relative to the largest value: docs/convolution.md

# N, C, K, H, W and padding; what each is there for.
CASES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3, 64, 32, 34), (3, 3, 3, 3)),  # the usual stem on a small image
    ((1, 3, 17, 17, 131), (3, 3, 3, 3)),  # rows longer than a block, odd sizes
    ((3, 1, 16, 20, 18), (0, 0, 0, 0)),  # one channel, no padding: the last row and column of the image unused
    ((2, 2, 33, 27, 22), (2, 3, 1, 4)),  # uneven padding, another phase on each axis
    ((1, 4, 20, 21, 23), (5, 0, 6, 2)),  # four channels: all lanes
    ((5, 3, 40, 12, 12), (3, 2, 3, 2)),
]
# The same for 3x3.
SMALL_CASES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 64, 32, 32, 32), (1, 1, 1, 1)),  # narrow tiles alone
    ((3, 18, 33, 28, 26), (1, 1, 1, 1)),  # mixed tiles; channels beyond a vector, outputs beyond a panel
    ((1, 16, 16, 21, 150), (0, 1, 2, 1)),  # rows longer than a block, uneven padding
    ((2, 80, 70, 19, 20), (0, 0, 0, 0)),  # large weights: by panels; the last column of the image unused
    ((13, 17, 20, 10, 11), (2, 2, 2, 2)),
    ((2, 20, 24, 9, 13), (1, 0, 1, 3)),
]


def arrays(size: tuple[int, ...], padding: tuple[int, ...], taps: int = 7, seed: int = 0) -> tuple[np.ndarray, ...]:
    n, c, k, h, w = size
    rng = np.random.default_rng(seed)
    weight = (k, c, taps, taps)
    out = K.conv2d_output_size((n, c, h, w), weight, stride=2, padding=padding)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in ((n, c, h, w), weight, (k,), out))


def check(actual: Any, expected: Any) -> None:
    e = np.asarray(expected)
    error = np.abs(np.asarray(actual) - e).max() / np.abs(e).max()
    assert error <= BOUND, f"error {error:.2e}"


def check_all(size: tuple[int, ...], padding: tuple[int, ...], taps: int = 7, seed: int = 0) -> None:
    given = arrays(size, padding, taps, seed)
    x, weight, bias, dout = given
    wx, ww, wb, wd = (a.astype(np.float64) for a in given)
    options: dict[str, Any] = {"stride": 2, "padding": padding}
    expected = np.asarray(reference(K.conv2d, wx, ww, wb, **options))
    check(K.conv2d(x, weight, bias, **options), expected)
    check(K.conv2d(x, weight, bias, **options, activation="relu"), np.maximum(expected, 0))
    dx = K.conv2d_backward_input(dout, weight, x.shape, **options)
    check(dx, reference(K.conv2d_backward_input, wd, ww, x.shape, **options))
    dw, db = K.conv2d_backward_weight(dout, x, weight.shape, **options, bias=True)
    rdw, rdb = reference(K.conv2d_backward_weight, wd, wx, weight.shape, **options, bias=True)
    check(dw, rdw)
    check(db, rdb)


@pytest.mark.parametrize(("size", "padding"), CASES, ids=str)
def test_against_reference(every_isa: str, size: tuple[int, ...], padding: tuple[int, ...]) -> None:
    check_all(size, padding)


@pytest.mark.parametrize(("size", "padding"), SMALL_CASES, ids=str)
def test_3x3_against_reference(every_isa: str, size: tuple[int, ...], padding: tuple[int, ...]) -> None:
    check_all(size, padding, 3)


@pytest.mark.parametrize("size", [(8, 64, 64, 27, 28), (1, 512, 32, 28, 28), (24, 16, 32, 32, 32)], ids=str)
def test_3x3_error_bound(size: tuple[int, ...]) -> None:
    """Many channels for forward, many tiles for the gradient by the weight."""
    x, weight, _, dout = arrays(size, (1, 1, 1, 1), 3)
    wx, ww, wd = (a.astype(np.float64) for a in (x, weight, dout))
    check(K.conv2d(x, weight, None, 2, 1), reference(K.conv2d, wx, ww, None, 2, 1))
    check(
        K.conv2d_backward_input(dout, weight, x.shape, 2, 1), reference(K.conv2d_backward_input, wd, ww, x.shape, 2, 1)
    )
    dw = reference(K.conv2d_backward_weight, wd, wx, weight.shape, 2, 1)
    check(K.conv2d_backward_weight(dout, x, weight.shape, 2, 1), dw)


@given(
    size=st.tuples(st.integers(1, 3), st.integers(16, 40), st.integers(16, 40), st.integers(8, 24), st.integers(8, 24)),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    seed=st.integers(0, 9),
)
def test_3x3_drawn_problems(size: tuple[int, ...], padding: tuple[int, ...], seed: int) -> None:
    check_all(size, padding, 3, seed)


@given(
    size=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(16, 20), st.integers(12, 24), st.integers(12, 24)),
    padding=st.tuples(*[st.integers(0, 6)] * 4),
    seed=st.integers(0, 9),
)
def test_drawn_problems(size: tuple[int, ...], padding: tuple[int, ...], seed: int) -> None:
    check_all(size, padding, 7, seed)


@pytest.mark.parametrize(("size", "taps"), [((3, 3, 32, 64, 62), 7), ((6, 80, 64, 32, 30), 3)], ids=str)
def test_same_bits_for_any_number_of_threads(every_isa: str, size: tuple[int, ...], taps: int) -> None:
    pad = taps // 2
    x, weight, bias, dout = arrays(size, (pad, pad, pad, pad), taps)
    results = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            dw, db = K.conv2d_backward_weight(dout, x, weight.shape, 2, pad, bias=True)
            out = K.conv2d(x, weight, bias, 2, pad), K.conv2d_backward_input(dout, weight, x.shape, 2, pad)
            results.add(b"".join(np.asarray(a).tobytes() for a in (*out, dw, db)))
    assert len(results) == 1


def test_large_images(every_isa: str) -> None:
    """Large results are stored past the cache; those of one image are not, and have the same bits."""
    x, weight, bias, _ = arrays((2, 3, 64, 448, 448), (3, 3, 3, 3))
    out = np.asarray(K.conv2d(x, weight, bias, 2, 3, activation="relu"))
    for i in range(2):
        assert np.array_equal(K.conv2d(x[i], weight, bias, 2, 3, activation="relu"), out[i])


def test_nan_goes_through(every_isa: str) -> None:
    x, weight, bias, _ = arrays((1, 3, 16, 32, 32), (3, 3, 3, 3))
    x[0, 1, 15, 15] = np.nan
    out = np.asarray(K.conv2d(x, weight, bias, 2, 3, activation="relu"))
    assert np.isnan(out[0, :, 6:10, 6:10]).all()
    x, weight, bias, _ = arrays((1, 16, 16, 32, 32), (1, 1, 1, 1), 3)
    x[0, 1, 15, 15] = np.nan
    out = np.asarray(K.conv2d(x, weight, bias, 2, 1, activation="relu"))
    assert np.isnan(out[0, :, 7:9, 7:9]).all()
