"""5x5 convolution of few channels by Winograd's method, plain and pooled, against the reference in double."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import weft
import weft.kernels as K
from helpers import check_convolution, check_largest, reference, threads

pytestmark = pytest.mark.cpu

BOUND = 1e-5  # of the largest value of the result: docs/convolution.md

# N, C, K, H, W; what each is there for.
CASES = [
    (16, 6, 16, 14, 14),  # one block of images, cut into two pieces
    (64, 6, 16, 14, 14),  # LeNet's second layer
    (37, 6, 16, 13, 15),  # a last block that is not full, odd sizes of the output
    (32, 7, 33, 11, 10),  # more channels than go at once, and outputs beyond a vector
    (24, 13, 13, 9, 12),
    (32, 3, 16, 6, 6),  # one tile
    (130, 4, 24, 8, 7),  # many blocks
]
PADDINGS = [(0, 0, 0, 0), (2, 2, 2, 2), (1, 2, 0, 3), (5, 0, 6, 1)]


def arrays(size: tuple[int, ...], padding: tuple[int, ...], seed: int = 0, positive: bool = False) -> Any:
    n, c, k, h, w = size
    top, bottom, left, right = padding
    rng = np.random.default_rng(seed)
    shapes = (n, c, h, w), (k, c, 5, 5), (k,), (n, k, h + top + bottom - 4, w + left + right - 4)
    drawn = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    return tuple(np.abs(a) if positive else a for a in drawn)


def wide(*given: np.ndarray) -> list[np.ndarray]:
    return [a.astype(np.float64) for a in given]


def check_pooled(given: Any, padding: tuple[int, ...]) -> None:
    x, weight, bias, dout = given
    dout = np.ascontiguousarray(dout[..., : dout.shape[2] // 2, : dout.shape[3] // 2])
    out, winner = K.conv2d_relu_max_pool2d(x, weight, bias, padding=padding)
    expected, codes = (
        np.asarray(a) for a in reference(K.conv2d_relu_max_pool2d, *wide(x, weight, bias), padding=padding)
    )
    check_largest(out, expected, BOUND)
    # Where rounding lets another element win, it is as large.
    assert (np.asarray(winner) != codes).mean() < 1e-3
    gradients = K.conv2d_relu_max_pool2d_backward(dout, codes, x, weight, padding=padding)
    wanted = reference(K.conv2d_relu_max_pool2d_backward, *wide(dout), codes, *wide(x, weight), padding=padding)
    for found, want in zip(gradients, wanted, strict=True):
        check_largest(found, want, BOUND)
    for asked in ((True, False, False), (False, True, False), (False, False, True), (False, True, True)):
        some = K.conv2d_relu_max_pool2d_backward(
            dout, codes, x, weight, padding=padding, need_x=asked[0], need_weight=asked[1], need_bias=asked[2]
        )
        for one, whole, ask in zip(some, gradients, asked, strict=True):
            assert (one is not None) == ask
            assert one is None or np.asarray(one).tobytes() == np.asarray(whole).tobytes()


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("size", CASES, ids=str)
def test_against_reference(every_isa: str, size: tuple[int, ...], padding: tuple[int, ...]) -> None:
    given = arrays(size, padding)
    check_convolution(given, padding, BOUND)
    check_pooled(given, padding)


@given(
    size=st.tuples(st.integers(16, 35), st.integers(2, 9), st.integers(13, 20), st.integers(1, 13), st.integers(1, 13)),
    padding=st.tuples(*[st.integers(0, 4)] * 4),
    seed=st.integers(0, 9),
)
def test_drawn_problems(size: tuple[int, ...], padding: tuple[int, ...], seed: int) -> None:
    assume(size[3] + padding[0] + padding[1] >= 6 and size[4] + padding[2] + padding[3] >= 6)
    given = arrays(size, padding, seed)
    check_convolution(given, padding, BOUND)
    check_pooled(given, padding)


@pytest.mark.parametrize("positive", [False, True], ids=["normal", "positive"])
def test_error_of_many_images(positive: bool) -> None:
    given = arrays((256, 6, 16, 14, 14), (0, 0, 0, 0), positive=positive)
    check_convolution(given, (0, 0, 0, 0), BOUND)
    check_pooled(given, (0, 0, 0, 0))


def test_is_taken_in_fast_precision_only() -> None:
    """Its rounding tells it from the definition's products, which whole numbers make without any."""
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-8, 9, size=s).astype(np.float32) for s in ((32, 6, 14, 14), (16, 6, 5, 5)))
    dout = rng.integers(-8, 9, size=(32, 16, 10, 10)).astype(np.float32)

    def results() -> list[np.ndarray]:
        out, _ = K.conv2d_relu_max_pool2d(x, weight)
        half = np.ascontiguousarray(dout[..., :5, :5])
        pooled = K.conv2d_relu_max_pool2d_backward(half, np.zeros(half.shape, np.uint8), x, weight)
        plain = K.conv2d(x, weight), K.conv2d_backward_input(dout, weight, x.shape)
        return [np.asarray(a) for a in (out, *pooled[:2], *plain, K.conv2d_backward_weight(dout, x, weight.shape))]

    fast, before = results(), weft.conv_precision()
    try:
        for precision in ("accurate", "direct"):
            weft.set_conv_precision(precision)
            for one, other in zip(fast, results(), strict=True):
                assert (other == np.round(other)).all()
                assert (one != other).any()
    finally:
        weft.set_conv_precision(before)


@pytest.mark.parametrize("size", [(64, 6, 16, 14, 14), (37, 7, 16, 9, 11)], ids=str)
def test_same_bits_for_any_number_of_threads(every_isa: str, size: tuple[int, ...]) -> None:
    x, weight, bias, dout = arrays(size, (2, 2, 2, 2))
    half = np.ascontiguousarray(dout[..., : dout.shape[2] // 2, : dout.shape[3] // 2])
    results = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            out, winner = K.conv2d_relu_max_pool2d(x, weight, bias, padding=2)
            found = [out, winner, *K.conv2d_relu_max_pool2d_backward(half, winner, x, weight, padding=2)]
            found += K.conv2d_backward_weight(dout, x, weight.shape, padding=2, bias=True)
            found += [K.conv2d(x, weight, bias, padding=2), K.conv2d_backward_input(dout, weight, x.shape, padding=2)]
            results.add(b"".join(np.asarray(a).tobytes() for a in found))
    assert len(results) == 1


def test_not_a_number_stays_in_its_image(every_isa: str) -> None:
    """NaN reaches every output that the definition gives it, others of the tiles around, and no other image."""
    x, weight, bias, dout = arrays((32, 6, 16, 14, 14), (0, 0, 0, 0))
    x[3, 2, 6, 7] = np.nan
    dout[20, 1, 4, 4] = np.inf
    half = np.ascontiguousarray(dout[..., :5, :5])
    out, winner = (np.asarray(a) for a in K.conv2d_relu_max_pool2d(x, weight, bias))
    plain = np.asarray(K.conv2d(x, weight, bias))
    expected = np.asarray(reference(K.conv2d, *wide(x, weight, bias)))
    pooled = np.asarray(reference(K.conv2d_relu_max_pool2d, *wide(x, weight, bias))[0])
    assert np.isnan(plain[np.isnan(expected)]).all()
    assert np.isnan(out[np.isnan(pooled)]).all()
    assert (winner[np.isnan(out)] < 4).all()
    dx = np.asarray(K.conv2d_backward_input(dout, weight, x.shape))
    assert not np.isfinite(dx[20, :, 4:9, 4:9]).any()
    half_dx = np.asarray(K.conv2d_relu_max_pool2d_backward(half, winner, x, weight)[0])
    for array, image in ((plain, 3), (out, 3), (dx, 20)):
        assert np.isfinite(np.delete(array, image, 0)).all()
    assert np.isfinite(np.delete(half_dx, [3, 20], 0)).all()


def test_a_winner_outside_of_its_window_adds_nothing(every_isa: str) -> None:
    x, weight, _, dout = arrays(CASES[0], (0, 0, 0, 0))
    half = np.ascontiguousarray(dout[..., :5, :5])
    for code in (63, 64):
        winner = np.full(half.shape, code, np.uint8)
        for gradient in K.conv2d_relu_max_pool2d_backward(half, winner, x, weight):
            assert not np.asarray(gradient).any()
