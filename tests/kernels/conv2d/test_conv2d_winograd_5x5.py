"""5x5 convolution by Winograd's method: sizes of image, channel and padding, against the reference in double."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import check_convolution, threads

pytestmark = pytest.mark.cpu

BOUND = 1e-5  # of the largest value of the result: docs/convolution.md

# N, C, K, H, W; what each is there for.
CASES = [
    (1, 16, 16, 6, 6),  # one block
    (3, 17, 33, 7, 9),  # odd sizes: narrow tiles; channels beyond a vector, outputs beyond a panel
    (2, 40, 20, 12, 13),  # several blocks an image
    (1, 16, 16, 5, 70),  # rows longer than a block
    (5, 16, 48, 8, 8),  # several images, and one panel with a single vector
    (2, 150, 120, 7, 6),  # large weights: by panels
]
PADDINGS = [(2, 2, 2, 2), (0, 0, 0, 0), (4, 4, 4, 4), (0, 3, 4, 1)]


def arrays(size: tuple[int, ...], padding: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, ...]:
    n, c, k, h, w = size
    top, bottom, left, right = padding
    rng = np.random.default_rng(seed)
    shapes = (n, c, h, w), (k, c, 5, 5), (k,), (n, k, h + top + bottom - 4, w + left + right - 4)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("size", CASES, ids=str)
def test_against_reference(every_isa: str, size: tuple[int, ...], padding: tuple[int, ...]) -> None:
    check_convolution(arrays(size, padding), padding, BOUND)


@given(
    size=st.tuples(st.integers(1, 3), st.integers(16, 35), st.integers(16, 40), st.integers(1, 15), st.integers(1, 15)),
    padding=st.tuples(*[st.integers(0, 4)] * 4),
    seed=st.integers(0, 9),
)
def test_drawn_problems(size: tuple[int, ...], padding: tuple[int, ...], seed: int) -> None:
    assume(size[3] + padding[0] + padding[1] >= 5 and size[4] + padding[2] + padding[3] >= 5)
    check_convolution(arrays(size, padding, seed), padding, BOUND)


@pytest.mark.parametrize("size", [(4, 32, 48, 14, 14), (3, 144, 128, 7, 7)], ids=str)
def test_same_bits_for_any_number_of_threads(every_isa: str, size: tuple[int, ...]) -> None:
    x, weight, bias, dout = arrays(size, (2, 2, 2, 2))
    results = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            dw, db = K.conv2d_backward_weight(dout, x, weight.shape, padding=2, bias=True)
            out = K.conv2d(x, weight, bias, padding=2), K.conv2d_backward_input(dout, weight, x.shape, padding=2)
            results.add(b"".join(np.asarray(a).tobytes() for a in (*out, dw, db)))
    assert len(results) == 1


def test_nan_goes_through(every_isa: str) -> None:
    x, weight, bias, _ = arrays((1, 16, 16, 12, 12), (2, 2, 2, 2))
    x[0, 3, 5, 6] = np.nan
    out = np.asarray(K.conv2d(x, weight, bias, padding=2, activation="relu"))
    assert np.isnan(out[0, :, 3:8, 4:9]).all()


@pytest.mark.parametrize("draw", ["normal", "uniform"])
@pytest.mark.parametrize("size", [(2, 64, 48, 11, 11), (1, 256, 32, 9, 9)], ids=str)
def test_error_bound(size: tuple[int, ...], draw: str) -> None:
    """Numbers around zero, and positive ones, whose sums do not cancel."""
    given = arrays(size, (2, 2, 2, 2))
    check_convolution(tuple(np.abs(a) % 1 for a in given) if draw == "uniform" else given, (2, 2, 2, 2), BOUND)


def test_only_the_fast_setting_takes_it() -> None:
    x, weight, _, _ = arrays((2, 32, 32, 12, 12), (2, 2, 2, 2))
    results = {}
    for setting in ("fast", "accurate", "direct"):
        K.set_conv_precision(setting)
        try:
            results[setting] = np.asarray(K.conv2d(x, weight, padding=2)).tobytes()
        finally:
            K.set_conv_precision("fast")
    assert results["accurate"] == results["direct"] != results["fast"]
