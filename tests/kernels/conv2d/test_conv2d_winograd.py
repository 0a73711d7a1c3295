"""3x3 convolution by Winograd's method: every size of image, channel and padding, against the definition in double."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import weft
import weft.kernels as K
from helpers import reference, threads

pytestmark = pytest.mark.cpu

# Largest error, relative to the largest value of the result, that each setting may make: docs/convolution.md.
BOUND = {"fast": 1e-5, "accurate": 3e-6, "direct": 5e-6}

# N, C, K, H, W; what each is there for.
CASES = [
    (1, 16, 16, 3, 3),  # one narrow tile
    (2, 64, 64, 8, 8),  # whole tiles, several images a block
    (3, 17, 33, 7, 7),  # 7 = 4 + 3; channels beyond a vector, outputs beyond a panel
    (2, 48, 20, 14, 13),  # mixed tiles on both axes
    (1, 16, 32, 5, 150),  # rows longer than a block
    (1, 32, 16, 40, 36),  # several blocks an image
    (13, 24, 24, 4, 5),  # a prime number of images
    (2, 160, 144, 6, 7),  # large weights: by panels
]
# By panels in several stages; weight gradient of several stages.
LARGE = (40, 160, 130, 9, 10)
PADDINGS = [(1, 1, 1, 1), (0, 0, 0, 0), (2, 2, 2, 2), (0, 1, 2, 1)]


def arrays(size: tuple[int, ...], padding: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, ...]:
    n, c, k, h, w = size
    top, bottom, left, right = padding
    rng = np.random.default_rng(seed)
    shapes = (n, c, h, w), (k, c, 3, 3), (k,), (n, k, h + top + bottom - 2, w + left + right - 2)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def exact(x: np.ndarray, weight: np.ndarray, padding: tuple[int, ...]) -> np.ndarray:
    """The definition in double, tap by tap."""
    top, bottom, left, right = padding
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    p, q = wide.shape[2] - 2, wide.shape[3] - 2
    out = np.zeros((len(x), len(weight), p, q))
    for r in range(3):
        for s in range(3):
            tap = weight[:, :, r, s].astype(np.float64)
            out += np.einsum("kc,nchw->nkhw", tap, wide[:, :, r : r + p, s : s + q], optimize=True)
    return out


def exact_dx(dout: np.ndarray, weight: np.ndarray, padding: tuple[int, ...]) -> np.ndarray:
    turned = weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    return exact(dout, turned, tuple(2 - p for p in padding))


def exact_dw(dout: np.ndarray, x: np.ndarray, padding: tuple[int, ...]) -> np.ndarray:
    top, bottom, left, right = padding
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    p, q = dout.shape[2:]
    dw = np.empty((dout.shape[1], x.shape[1], 3, 3))
    for r in range(3):
        for s in range(3):
            part = wide[:, :, r : r + p, s : s + q]
            dw[:, :, r, s] = np.einsum("nkhw,nchw->kc", dout.astype(np.float64), part, optimize=True)
    return dw


def check(actual: Any, expected: np.ndarray, bound: float | None = None) -> None:
    bound = BOUND[K.conv_precision()] if bound is None else bound
    error = np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max()
    assert error <= bound, f"error {error:.2e}"


@pytest.fixture(params=["fast", "accurate"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test once with tiles of 4 x 4 outputs and once with tiles of 2 x 2."""
    K.set_conv_precision(request.param)
    yield request.param
    K.set_conv_precision("fast")


def check_all(size: tuple[int, ...], padding: tuple[int, ...], seed: int = 0) -> None:
    x, weight, bias, dout = arrays(size, padding, seed)
    expected = exact(x, weight, padding) + bias[:, None, None]
    check(K.conv2d(x, weight, bias, padding=padding), expected)
    check(K.conv2d(x, weight, bias, padding=padding, activation="relu"), np.maximum(expected, 0))
    check(K.conv2d_backward_input(dout, weight, x.shape, padding=padding), exact_dx(dout, weight, padding))
    dw, db = K.conv2d_backward_weight(dout, x, weight.shape, padding=padding, bias=True)
    check(dw, exact_dw(dout, x, padding))
    check(db, dout.astype(np.float64).sum((0, 2, 3)))


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("size", CASES, ids=str)
def test_against_definition(every_isa: str, precision: str, size: tuple[int, ...], padding: tuple[int, ...]) -> None:
    check_all(size, padding)


def test_large(every_isa: str, precision: str) -> None:
    check_all(LARGE, (1, 1, 1, 1))


@pytest.mark.parametrize("height", range(1, 18))
def test_every_size_of_image(every_isa: str, precision: str, height: int) -> None:
    for padding in PADDINGS:
        width = 1 + 5 * height % 17
        if height + padding[0] + padding[1] >= 3 and width + padding[2] + padding[3] >= 3:
            check_all((2, 18, 35, height, width), padding)


@given(
    size=st.tuples(st.integers(1, 5), st.integers(16, 40), st.integers(16, 70), st.integers(1, 20), st.integers(1, 20)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    seed=st.integers(0, 9),
)
def test_drawn_problems(size: tuple[int, ...], padding: tuple[int, ...], seed: int) -> None:
    assume(size[3] + padding[0] + padding[1] >= 3 and size[4] + padding[2] + padding[3] >= 3)
    check_all(size, padding, seed)


@pytest.mark.parametrize("size", [(2, 17, 33, 7, 9), (1, 16, 40, 6, 6)], ids=str)
def test_the_definition_here_is_the_reference(size: tuple[int, ...]) -> None:
    padding = (1, 0, 2, 1)
    x, weight, _, dout = (a.astype(np.float64) for a in arrays(size, padding))
    check(reference(K.conv2d, x, weight, padding=padding), exact(x, weight, padding), 1e-14)
    dx = reference(K.conv2d_backward_input, dout, weight, x.shape, padding=padding)
    check(dx, exact_dx(dout, weight, padding), 1e-14)
    dw = reference(K.conv2d_backward_weight, dout, x, weight.shape, padding=padding)
    check(dw, exact_dw(dout, x, padding), 1e-14)


@pytest.mark.parametrize("size", [(16, 64, 64, 14, 14), (9, 160, 144, 7, 7), (1, 32, 48, 33, 31)], ids=str)
def test_same_bits_for_any_number_of_threads(every_isa: str, precision: str, size: tuple[int, ...]) -> None:
    x, weight, bias, dout = arrays(size, (1, 1, 1, 1))
    results = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            dw, db = K.conv2d_backward_weight(dout, x, weight.shape, padding=1, bias=True)
            out = K.conv2d(x, weight, bias, padding=1), K.conv2d_backward_input(dout, weight, x.shape, padding=1)
            results.add(b"".join(np.asarray(a).tobytes() for a in (*out, dw, db)))
    assert len(results) == 1


def test_nan_goes_through(every_isa: str, precision: str) -> None:
    x, weight, bias, _ = arrays((1, 16, 16, 12, 12), (1, 1, 1, 1))
    x[0, 3, 5, 6] = np.nan
    out = np.asarray(K.conv2d(x, weight, bias, padding=1, activation="relu"))
    assert np.isnan(out[0, :, 4:7, 5:8]).all()


def check_setting(setting: str, x: np.ndarray, weight: np.ndarray, dout: np.ndarray) -> None:
    """All three convolutions at a precision, with a padding of one."""
    K.set_conv_precision(setting)
    try:
        check(K.conv2d(x, weight, padding=1), exact(x, weight, (1, 1, 1, 1)))
        check(K.conv2d_backward_input(dout, weight, x.shape, padding=1), exact_dx(dout, weight, (1, 1, 1, 1)))
        check(K.conv2d_backward_weight(dout, x, weight.shape, padding=1), exact_dw(dout, x, (1, 1, 1, 1)))
    finally:
        K.set_conv_precision("fast")


@pytest.mark.parametrize("draw", ["normal", "uniform"])
@pytest.mark.parametrize("setting", list(BOUND))
@pytest.mark.parametrize("size", [(2, 16, 16, 16, 16), (2, 64, 64, 12, 12), (1, 512, 64, 8, 8)], ids=str)
def test_error_bounds(size: tuple[int, ...], setting: str, draw: str) -> None:
    """The table of docs/convolution.md: numbers around zero, and positive ones, whose sums do not cancel."""
    x, weight, _, dout = arrays(size, (1, 1, 1, 1))
    if draw == "uniform":
        x, weight, dout = np.abs(x) % 1, np.abs(weight) % 1, np.abs(dout) % 1
    check_setting(setting, x, weight, dout)


@pytest.mark.parametrize("setting", ["fast", "accurate"])
@pytest.mark.parametrize("size", [(8, 32, 32, 27, 27), (3, 48, 32, 56, 50), (24, 16, 64, 32, 32)], ids=str)
def test_error_bounds_of_many_tiles(size: tuple[int, ...], setting: str) -> None:
    """The gradient by the weight sums over the tiles of all images; the products fetch other images meanwhile."""
    x, weight, _, dout = arrays(size, (1, 1, 1, 1))
    check_setting(setting, x, weight, dout)


def test_the_setting_chooses_the_method() -> None:
    x, weight, _, _ = arrays((2, 32, 32, 12, 12), (1, 1, 1, 1))
    results = set()
    assert weft.conv_precision() == "fast"
    for setting in BOUND:
        weft.set_conv_precision(setting)
        assert weft.conv_precision() == weft.config()["conv_precision"] == setting
        results.add(np.asarray(K.conv2d(x, weight, padding=1)).tobytes())
    weft.set_conv_precision("fast")
    assert len(results) == 3
    with pytest.raises(ValueError, match="set_conv_precision: expected fast, accurate or direct, got 'exact'"):
        weft.set_conv_precision("exact")
