"""Each method of CUDA's pooling, fused convolution and batches of images, at shapes just large enough for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, reference

pytestmark = pytest.mark.usefixtures("cuda_device")

MEMORY = [K.MemoryFormat.contiguous_format, K.MemoryFormat.channels_last]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Few different values, so that equal ones meet, and some NaN."""
    x = rng.integers(-6, 7, shape).astype(dtype)
    x[rng.uniform(size=shape) < 0.03] = np.nan
    return x


def wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


# Pairs of 2x2 windows; a row too narrow for them, an odd height; 3x3 in steps of 2 with and without a border, cut
# short and hanging over; 3x3 windows in other steps; windows that leave gaps; dilated ones that pass elements by.
WINDOWS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 8, 12), {"kernel_size": 2}),
    ((1, 1, 2, 4), {"kernel_size": 2}),
    ((2, 3, 8, 6), {"kernel_size": 2}),
    ((2, 3, 7, 8), {"kernel_size": 2}),
    ((2, 3, 7, 8), {"kernel_size": 2, "ceil_mode": True}),
    ((2, 8, 9, 11), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((1, 3, 8, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((1, 3, 8, 7), {"kernel_size": 3, "stride": 2, "padding": (0, 1), "ceil_mode": True}),
    ((1, 1, 3, 3), {"kernel_size": 3, "stride": 2}),
    ((2, 2, 10, 9), {"kernel_size": 3, "stride": 2}),
    ((2, 4, 7, 7), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ((2, 5, 9, 11), {"kernel_size": 2, "stride": 3}),
    ((2, 4, 9, 11), {"kernel_size": (2, 3), "stride": (1, 2), "padding": 1, "dilation": (3, 2)}),
    ((1, 2, 5, 5), {"kernel_size": 2, "stride": 1, "padding": 2, "dilation": 3}),
    ((2, 2, 4, 6), {"kernel_size": (4, 6)}),
]
IDS = [f"{'x'.join(map(str, shape))}-{'-'.join(map(str, window.values()))}" for shape, window in WINDOWS]


@pytest.mark.parametrize("memory", MEMORY, ids=["planes", "last"])
@pytest.mark.parametrize(("shape", "window"), WINDOWS, ids=IDS)
def test_max(rng: np.random.Generator, shape: tuple[int, ...], window: dict[str, Any], memory: K.MemoryFormat) -> None:
    for dtype in ("float32", "float64"):
        for function in (K.max_pool2d, K.min_pool2d):
            x = draw(rng, shape, dtype)
            out, index = function(K.asarray(x).contiguous(memory), **window)
            expected, places = reference(function, wide(x), **window)
            assert_close(out, expected, dtype=dtype)
            assert_close(index, places)
            dout = rng.normal(size=np.asarray(out).shape).astype(dtype)
            wanted = reference(K.max_pool2d_backward, wide(dout), np.asarray(places), shape)
            assert_close(K.max_pool2d_backward(dout, index, shape, **window), wanted, dtype=dtype, terms=9)
            assert_close(K.max_pool2d_backward(dout, index, shape), wanted, dtype=dtype, terms=9)


def test_max_without_a_batch_axis(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4, 8))
    out, index = K.max_pool2d(x, 2)
    dx = K.max_pool2d_backward(out, index, x.shape, 2)
    assert_close(dx, reference(K.max_pool2d_backward, np.asarray(out), np.asarray(index), x.shape))


def test_windows_that_do_not_fit_the_gradient() -> None:
    with pytest.raises(ValueError, match=r"dout .* must have the output's shape \(1, 1, 2, 2\)"):
        K.max_pool2d_backward(np.ones((1, 1, 1, 2)), np.zeros((1, 1, 1, 2), np.int32), (1, 1, 4, 4), 2)


@pytest.mark.parametrize("memory", MEMORY, ids=["planes", "last"])
@pytest.mark.parametrize("options", [{}, {"count_include_pad": False}, {"divisor_override": 3}], ids=str)
@pytest.mark.parametrize(("shape", "window"), WINDOWS, ids=IDS)
def test_avg(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    window: dict[str, Any],
    options: dict[str, Any],
    memory: K.MemoryFormat,
) -> None:
    if "dilation" in window:
        window = {"kernel_size": 3, "stride": 1, "padding": 1, "ceil_mode": True}
    for dtype in ("float32", "float64"):
        x = rng.normal(size=shape).astype(dtype)
        out = K.avg_pool2d(K.asarray(x).contiguous(memory), **window, **options)
        assert_close(out, reference(K.avg_pool2d, wide(x), **window, **options), dtype=dtype, terms=24)
        dout = rng.normal(size=np.asarray(out).shape).astype(dtype)
        dx = K.avg_pool2d_backward(K.asarray(dout).contiguous(memory), shape, **window, **options)
        wanted = reference(K.avg_pool2d_backward, wide(dout), shape, **window, **options)
        assert_close(dx, wanted, dtype=dtype, terms=24)


@pytest.mark.parametrize("memory", MEMORY, ids=["planes", "last"])
@pytest.mark.parametrize("shape", [(3, 4, 7, 7), (2, 8, 4, 6), (9, 1, 1, 1), (1, 1, 12, 40), (0, 2, 3, 3)], ids=str)
@pytest.mark.parametrize("size", [1, (2, 3), (9, 5)], ids=str)
def test_adaptive(rng: np.random.Generator, shape: tuple[int, ...], size: Any, memory: K.MemoryFormat) -> None:
    for dtype in ("float32", "float64"):
        x = rng.normal(size=shape).astype(dtype)
        given = K.asarray(x).contiguous(memory)
        out = K.adaptive_avg_pool2d(given, size)
        assert_close(out, reference(K.adaptive_avg_pool2d, wide(x), size), dtype=dtype, terms=480)
        dout = rng.normal(size=np.asarray(out).shape).astype(dtype)
        dx = K.adaptive_avg_pool2d_backward(K.asarray(dout).contiguous(memory), shape)
        assert_close(dx, reference(K.adaptive_avg_pool2d_backward, wide(dout), shape), dtype=dtype, terms=480)
        largest, index = K.adaptive_max_pool2d(given, size)
        expected, places = reference(K.adaptive_max_pool2d, wide(x), size)
        assert_close(largest, expected, dtype=dtype)
        assert_close(index, places)
        wanted = reference(K.max_pool2d_backward, wide(dout), np.asarray(places), shape)
        assert_close(K.max_pool2d_backward(dout, index, shape), wanted, dtype=dtype, terms=60)


@pytest.mark.parametrize("memory", MEMORY, ids=["planes", "last"])
@pytest.mark.parametrize("norm", [1, 2, 2.5])
def test_lp(rng: np.random.Generator, norm: float, memory: K.MemoryFormat) -> None:
    for shape, window in WINDOWS:
        if "padding" in window:
            continue
        x = draw(rng, shape)
        out = K.lp_pool2d(K.asarray(x).contiguous(memory), norm, **window)
        assert_close(out, reference(K.lp_pool2d, wide(x), norm, **window), dtype="float32", terms=24)
        dout = rng.normal(size=np.asarray(out).shape).astype(np.float32)
        dx = K.lp_pool2d_backward(dout, K.asarray(x).contiguous(memory), out, norm, **window)
        wanted = reference(K.lp_pool2d_backward, wide(dout), wide(x), wide(out), norm, **window)
        assert_close(dx, wanted, dtype="float32", terms=24)


# N, C, H, W, K, R, S and options of the fused convolution: two, four and six channels a thread; windows in one chunk
# and in two, of which the second begins within a row; taps that fill the lanes of one and of five turns, and more;
# channels beyond a block's; an odd size; uneven padding; more images than parts of dw, so that a block takes two.
FUSED: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 1, 28, 28, 6, 5, 5), {"padding": 2}),
    ((3, 6, 14, 14, 16, 5, 5), {}),
    ((40, 1, 16, 28, 6, 5, 5), {"padding": 2}),
    ((2, 1, 24, 28, 17, 3, 3), {"padding": 1}),
    ((2, 3, 9, 11, 9, 3, 3), {"padding": (1, 0, 2, 1)}),
    ((1, 19, 6, 6, 18, 3, 3), {"padding": 1}),
    ((1, 7, 8, 8, 3, 5, 5), {"padding": 2}),
    ((300, 1, 6, 6, 2, 3, 3), {}),
    ((140, 4, 6, 4, 20, 3, 3), {"padding": 1}),
    ((2, 33, 12, 12, 24, 5, 5), {"padding": 2}),  # composed
    ((1, 3, 9, 9, 4, 3, 3), {"kernel_size": 3}),
    ((1, 3, 28, 28, 4, 5, 5), {"padding": 2}),  # dw from winners, dx composed
]


@pytest.mark.parametrize(("size", "options"), FUSED, ids=["x".join(map(str, size)) for size, _ in FUSED])
def test_fused_convolution(rng: np.random.Generator, size: tuple[int, ...], options: dict[str, Any]) -> None:
    n, c, h, w, k, r, s = size
    # Whole numbers: sums are exact, and every method finds the same winners.
    x, weight, bias = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((n, c, h, w), (k, c, r, s), (k,)))
    out, winner = K.conv2d_relu_max_pool2d(x, weight, bias, **options)
    expected, codes = reference(K.conv2d_relu_max_pool2d, wide(x), wide(weight), wide(bias), **options)
    np.testing.assert_array_equal(np.asarray(out), np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(winner), np.asarray(codes))
    dout = rng.integers(-4, 5, np.asarray(out).shape).astype(np.float32)
    gradients = K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight, **options)
    wanted = reference(
        K.conv2d_relu_max_pool2d_backward, wide(dout), np.asarray(codes), wide(x), wide(weight), **options
    )
    for found, want in zip(gradients, wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(want))
    only = K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight, **options, need_x=False, need_weight=False)
    np.testing.assert_array_equal(np.asarray(only[2]), np.asarray(wanted[2]))


def test_the_same_bits_in_every_run(rng: np.random.Generator) -> None:
    x, weight = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 6, 14, 14), (16, 6, 5, 5)))
    out, winner = K.conv2d_relu_max_pool2d(x, weight)
    first = [np.asarray(a).tobytes() for a in K.conv2d_relu_max_pool2d_backward(out, winner, x, weight)]
    again = [np.asarray(a).tobytes() for a in K.conv2d_relu_max_pool2d_backward(out, winner, x, weight)]
    assert first == again


def test_an_index_beyond_the_images_is_not_read(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (3, 1, 4, 4), dtype=np.uint8)
    scale, shift = np.ones(1, np.float32), np.zeros(1, np.float32)
    theta = np.tile(np.eye(2, 3), (2, 1, 1))
    for bad in (-1, 3, 1 << 40):
        index = np.array([1, bad])
        with pytest.raises(IndexError, match=f"index {bad} is out of range for 3 images"):
            K.gather_images(images, index, scale, shift)
        with pytest.raises(IndexError, match=f"index {bad} is out of range for 3 images"):
            K.warp_images(images, index, theta, (4, 4), scale, shift, 0.0)


def test_a_place_outside_of_its_plane_gets_nothing() -> None:
    index = np.array([[[[0, 4], [3, -1]], [[2, 4], [5, 1 << 30]]]], np.int32)  # of planes of 2 x 2
    dx = K.max_pool2d_backward(np.ones((1, 2, 2, 2), np.float32), index, (1, 2, 2, 2))
    np.testing.assert_array_equal(np.asarray(dx), [[[[1, 0], [0, 1]], [[0, 0], [1, 0]]]])


@pytest.mark.parametrize("size", [(2, 1, 12, 12, 6, 5, 5), (1, 3, 8, 8, 4, 3, 3), (2, 33, 12, 12, 24, 5, 5)], ids=str)
def test_fused_convolution_of_no_numbers(rng: np.random.Generator, size: tuple[int, ...]) -> None:
    """The first place of the first window is NaN, and so are its code and what its gradient reaches."""
    n, c, h, w, k, r, s = size
    x, weight, bias = (rng.integers(1, 4, shape).astype(np.float32) for shape in ((n, c, h, w), (k, c, r, s), (k,)))
    x[0, 0, 0, 0] = np.nan
    out, winner = K.conv2d_relu_max_pool2d(x, weight, bias)
    expected, codes = reference(K.conv2d_relu_max_pool2d, wide(x), wide(weight), wide(bias))
    np.testing.assert_array_equal(np.asarray(out), np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(winner), np.asarray(codes))
    dout = np.ones(np.asarray(out).shape, np.float32)
    gradients = K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight)
    wanted = reference(K.conv2d_relu_max_pool2d_backward, wide(dout), np.asarray(codes), wide(x), wide(weight))
    for found, want in zip(gradients, wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(want))
