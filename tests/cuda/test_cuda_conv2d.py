"""The CUDA backend's methods of convolution, each path of them at the smallest shapes that take it.

The oracle are the CPU's kernels in double precision. Which tiles a shape takes follows from the estimate of
tile_plan.h for 132 multiprocessors, which the emulated device has as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, conv2d_arrays, default_device, on_cpu, reference, wide

pytestmark = pytest.mark.usefixtures("cuda_device")

CASES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    # Matrix products, forward and dx. Tiles of 128 x 128, 128 x 64, 64 x 64 and 128 x 32, the taps in parts.
    ((2, 130, 14, 14, 200, 3, 3), {"padding": 1}),
    ((2, 36, 46, 46, 33, 3, 3), {"padding": 1}),
    ((9, 100, 17, 17, 33, 3, 3), {"padding": 1}),
    ((5, 36, 17, 17, 5, 3, 3), {"padding": 1}),
    # One by one, pixels four by four: tiles of 128 x 128, 128 x 64, 64 x 64 in parts, 128 x 32; two not by fours.
    ((11, 12, 34, 34, 100, 1, 1), {}),
    ((20, 12, 36, 36, 33, 1, 1), {}),
    ((1, 200, 4, 4, 3, 1, 1), {}),
    ((9, 3, 32, 32, 3, 1, 1), {}),
    ((2, 12, 7, 7, 20, 1, 1), {}),
    ((2, 12, 8, 8, 20, 1, 1), {"padding": (1, 1, 0, 0)}),
    # dw: each tile with its pixels in parts, with channels by fours and without.
    ((9, 100, 15, 15, 68, 2, 2), {}),
    ((9, 101, 15, 15, 66, 2, 2), {}),
    ((1, 200, 18, 18, 68, 3, 3), {"padding": 1}),
    ((1, 200, 18, 18, 66, 3, 3), {"padding": 1}),
    ((9, 36, 24, 24, 36, 3, 3), {"padding": 1}),
    ((9, 36, 24, 24, 33, 3, 3), {"padding": 1}),
    ((9, 36, 13, 13, 4, 3, 3), {}),
    ((3, 8, 7, 7, 8, 3, 3), {}),
    # Phases of dx: strides with and without taps for each, dilation that shares a factor with the stride, a stride
    # larger than the image, more phases than one launch takes.
    ((2, 8, 9, 10, 12, 3, 3), {"stride": 2, "padding": 1}),
    ((2, 8, 9, 10, 12, 1, 1), {"stride": 2}),
    ((2, 4, 12, 11, 8, 3, 3), {"stride": (4, 2), "dilation": (2, 3), "padding": (0, 1, 2, 3)}),
    ((1, 4, 2, 9, 8, 2, 3), {"stride": (4, 3), "padding": 2}),
    ((1, 3, 17, 18, 4, 6, 6), {"stride": (3, 6)}),
    ((2, 8, 11, 13, 8, 4, 2), {"stride": 3, "padding": (3, 0, 1, 4)}),
    # Groups: with a tile each, with parts.
    ((3, 24, 9, 9, 36, 3, 3), {"groups": 3, "padding": 1}),
    ((2, 8, 6, 6, 8, 3, 3), {"groups": 2, "stride": 2}),
    # Depthwise: each size and stride; channels by fours and not; several pieces of dw; odd padding of both parities.
    *(
        ((3, channels, 13, 11, channels, size, size), {"groups": channels, "stride": stride, "padding": padding})
        for size, channels in ((3, 8), (3, 5), (5, 4), (7, 3))
        for stride, padding in ((1, size // 2), (2, size // 2), (2, (0, 1, 1, 2)))
    ),
    ((40, 4, 12, 16, 4, 3, 3), {"groups": 4, "padding": (4, 3, 2, 2)}),  # padding beyond the kernel
    ((1, 140, 2, 1, 140, 3, 3), {"groups": 140, "padding": 1}),
    ((1, 3, 2, 2, 3, 3, 3), {"groups": 3, "stride": 2, "padding": 2}),
    # Few channels: each width and stride, filters of 4 and 8 at a time, pieces of an image and several images at once,
    # more channels out than a block takes, dw of 8 and 16 channels at a time.
    *(
        ((3, c, 13, 11, k, r, s), {"stride": stride, "padding": s // 2})
        for c, k, r, s in ((1, 6, 5, 5), (3, 20, 2, 3), (4, 9, 7, 7), (7, 16, 5, 5))
        for stride in (1, 2, (2, 1), (1, 2), (3, 2), 3)
    ),
    ((2, 3, 70, 75, 27, 3, 3), {"padding": 1}),
    ((2, 3, 141, 139, 27, 5, 5), {"stride": 2, "padding": (1, 2, 3, 0)}),
    ((5, 2, 40, 90, 16, 7, 7), {"padding": 3}),
    ((67, 1, 6, 5, 6, 3, 3), {}),  # the batch's end within a block
    ((1, 1, 1, 300, 3, 1, 7), {}),
    ((66, 1, 1, 68, 9, 1, 3), {}),  # the last block has fewer filters to go through
    ((50, 1, 5, 5, 3, 3, 3), {}),  # threads behind a block's last image
    ((1, 4, 40, 40, 130, 3, 3), {"padding": 1}),
    ((2, 4, 9, 8, 4, 3, 3), {"groups": 4, "dilation": 2}),  # not depthwise's: dilation, two strides, two sizes
    ((2, 4, 9, 8, 4, 3, 3), {"groups": 4, "stride": (2, 1)}),
    ((2, 4, 9, 8, 4, 3, 1), {"groups": 4}),
]
IDS = [f"{'x'.join(map(str, size))}-{'-'.join(f'{k}={v}' for k, v in options.items())}" for size, options in CASES]


def oracle(function: Any, *args: Any, **kwargs: Any) -> Any:
    with default_device("cpu"):
        return function(*on_cpu(args), **kwargs)


def in_order(x: np.ndarray, channels_last: bool) -> Any:
    a = K.asarray(x)
    return K.copy(a, K.MemoryFormat.channels_last) if channels_last else a


@pytest.mark.parametrize("channels_last", [False, True], ids=["row-major", "channels-last"])
@pytest.mark.parametrize(("size", "options"), CASES, ids=IDS)
def test_paths(size: tuple[int, ...], options: dict[str, Any], channels_last: bool) -> None:
    x, weight, bias, dout = conv2d_arrays(size, options)
    wx, ww, wb, wd = wide(x, weight, bias, dout)
    given, cotangent = in_order(x, channels_last), in_order(dout, channels_last)
    terms = weight[0].size
    expected = np.asarray(oracle(K.conv2d, wx, ww, wb, **options))
    assert_close(K.conv2d(given, weight, bias, **options), expected, dtype="float32", terms=terms)
    relu = K.conv2d(given, weight, bias, activation="relu", **options)
    assert_close(relu, np.maximum(expected, 0), dtype="float32", terms=terms)
    dx = K.conv2d_backward_input(cotangent, weight, x.shape, **options)
    expected = oracle(K.conv2d_backward_input, wd, ww, x.shape, **options)
    assert_close(dx, expected, dtype="float32", terms=weight[:, 0].size)
    dw, db = K.conv2d_backward_weight(cotangent, given, weight.shape, bias=True, **options)
    expected_dw, expected_db = oracle(K.conv2d_backward_weight, wd, wx, weight.shape, bias=True, **options)
    assert_close(dw, expected_dw, dtype="float32", terms=dout[:, 0].size)
    assert_close(db, expected_db, dtype="float32", terms=dout[:, 0].size)


@pytest.mark.parametrize("channels_last", [False, True], ids=["row-major", "channels-last"])
def test_nan_and_infinity_stay_where_they_belong(channels_last: bool) -> None:
    """Padding and the parts of a tile that lie outside of the problem are zeros that nothing is multiplied with."""
    x, weight, _, dout = conv2d_arrays((2, 8, 9, 9, 12, 3, 3), {"padding": 1})
    x[1, 3, 4, 5], dout[0, 2, 0, 8] = np.nan, np.inf
    given, cotangent = in_order(x, channels_last), in_order(dout, channels_last)
    out = np.isnan(np.asarray(K.conv2d(given, weight, padding=1, activation="relu")))
    assert out[1, :, 3:6, 4:7].all()
    assert out.sum() == 12 * 9
    dx = ~np.isfinite(np.asarray(K.conv2d_backward_input(cotangent, weight, x.shape, padding=1)))
    assert dx[0, :, 0:2, 7:9].all()
    assert dx.sum() == 8 * 4


@pytest.mark.parametrize("channels_last", [False, True], ids=["row-major", "channels-last"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_depthwise_padding_is_not_multiplied(size: int, stride: int, channels_last: bool) -> None:
    """Infinite factors: the naive kernels leave out what lies in the padding."""
    options: dict[str, Any] = {"groups": 4, "stride": stride, "padding": (size // 2, 0, 1, size // 2)}
    x, weight, _, dout = conv2d_arrays((2, 4, 10, 9, 4, size, size), options)
    weight[1, 0, 0, 0], weight[2, 0, size - 1, size - 1] = np.inf, -np.inf
    given, cotangent = in_order(x, channels_last), in_order(dout, channels_last)
    wx, ww, wd = wide(x, weight, dout)
    out = reference(K.conv2d, wx, ww, **options)
    assert_close(K.conv2d(given, weight, **options), out, dtype="float32", terms=99)
    dx = reference(K.conv2d_backward_input, wd, ww, x.shape, **options)
    assert_close(K.conv2d_backward_input(cotangent, weight, x.shape, **options), dx, dtype="float32", terms=99)


@pytest.mark.parametrize("channels_last", [False, True], ids=["row-major", "channels-last"])
def test_double_precision_with_relu(channels_last: bool) -> None:
    """The simple kernels. Whole numbers, so that sums of zero occur; groups, and a batch of many pieces of db."""
    x, weight, bias, dout = (
        np.round(a).astype(np.float64) for a in conv2d_arrays((3, 4, 6, 5, 66, 3, 2), {"groups": 2})
    )
    given, cotangent = in_order(x, channels_last), in_order(dout, channels_last)
    out = K.conv2d(given, weight, bias, groups=2, activation="relu")
    assert_close(out, oracle(K.conv2d, x, weight, bias, groups=2, activation="relu"))
    dw, db = K.conv2d_backward_weight(cotangent, given, weight.shape, groups=2, bias=True)
    wanted = oracle(K.conv2d_backward_weight, dout, x, weight.shape, groups=2, bias=True)
    assert_close(dw, wanted[0], terms=60)
    assert_close(db, wanted[1], terms=60)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)], ids=str)
@pytest.mark.parametrize("channels_last", [False, True], ids=["row-major", "channels-last"])
def test_empty(shape: tuple[int, ...], channels_last: bool) -> None:
    x, weight = in_order(np.ones(shape, np.float32), channels_last), np.ones((4, shape[1], 3, 3), np.float32)
    out = K.conv2d(x, weight, np.ones(4, np.float32))
    assert (np.asarray(out) == 1).all()
    dw, db = K.conv2d_backward_weight(out, x, weight.shape, bias=True)
    assert not np.asarray(dw).any()
    assert np.asarray(db).sum() == np.asarray(out).sum()


def test_same_bits_each_time() -> None:
    x, weight, bias, dout = conv2d_arrays((9, 68, 9, 9, 12, 3, 3), {"padding": 1})

    def run() -> list[bytes]:
        return [
            np.asarray(K.conv2d(x, weight, bias, padding=1)).tobytes(),
            np.asarray(K.conv2d_backward_input(dout, weight, x.shape, padding=1)).tobytes(),
            np.asarray(K.conv2d_backward_weight(dout, x, weight.shape, padding=1)).tobytes(),
        ]

    assert run() == run()
