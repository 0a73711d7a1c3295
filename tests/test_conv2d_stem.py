"""7x7 convolution with stride 2 of few channels against the naive kernels in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import reference, threads

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


def arrays(size: tuple[int, ...], padding: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, ...]:
    n, c, k, h, w = size
    rng = np.random.default_rng(seed)
    out = K.conv2d_output_size((n, c, h, w), (k, c, 7, 7), stride=2, padding=padding)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in ((n, c, h, w), (k, c, 7, 7), (k,), out))


def check(actual: Any, expected: Any) -> None:
    e = np.asarray(expected)
    error = np.abs(np.asarray(actual) - e).max() / np.abs(e).max()
    assert error <= BOUND, f"error {error:.2e}"


def check_all(size: tuple[int, ...], padding: tuple[int, ...], seed: int = 0) -> None:
    given = arrays(size, padding, seed)
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


@given(
    size=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(16, 20), st.integers(12, 24), st.integers(12, 24)),
    padding=st.tuples(*[st.integers(0, 6)] * 4),
    seed=st.integers(0, 9),
)
def test_drawn_problems(size: tuple[int, ...], padding: tuple[int, ...], seed: int) -> None:
    check_all(size, padding, seed)


def test_same_bits_for_any_number_of_threads(every_isa: str) -> None:
    x, weight, bias, dout = arrays((3, 3, 32, 64, 62), (3, 3, 3, 3))
    results = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            dw, db = K.conv2d_backward_weight(dout, x, weight.shape, 2, 3, bias=True)
            out = K.conv2d(x, weight, bias, 2, 3), K.conv2d_backward_input(dout, weight, x.shape, 2, 3)
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
