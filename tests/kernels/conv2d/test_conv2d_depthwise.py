"""Depthwise convolution with windows of 3x3: every width of vector, rows shorter and longer than one, bands."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, reference, threads

# 131 and 300 rows: several bands of a plane.
SIZES = [
    *itertools.product([1, 2, 7, 14], [2, 3, 4, 5, 7, 8, 9, 14, 15, 16, 17, 28, 31, 32, 33, 35]),
    (131, 40),
    (300, 65),
]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("each", [1, 2])
def test_against_reference(every_isa: str, rng: np.random.Generator, stride: int, each: int) -> None:
    for h, w in SIZES:
        c = 3
        options = {"stride": stride, "padding": 1, "groups": c}
        x = rng.normal(size=(2, c, h, w)).astype(np.float32)
        weight = rng.normal(size=(c * each, 1, 3, 3)).astype(np.float32)
        bias = rng.normal(size=c * each).astype(np.float32)
        wx, ww, wb = (a.astype(np.float64) for a in (x, weight, bias))
        out = K.conv2d(x, weight, bias, activation="relu", **options)
        assert_close(out, reference(K.conv2d, wx, ww, wb, activation="relu", **options), terms=9)
        dout = rng.normal(size=out.shape).astype(np.float32)
        wd = dout.astype(np.float64)
        dx = K.conv2d_backward_input(dout, weight, x.shape, **options)
        assert_close(dx, reference(K.conv2d_backward_input, wd, ww, x.shape, **options), terms=9 * each)
        dw, db = K.conv2d_backward_weight(dout, x, weight.shape, bias=True, **options)
        rdw, rdb = reference(K.conv2d_backward_weight, wd, wx, weight.shape, bias=True, **options)
        assert_close(dw, rdw, terms=dout[:, 0].size)
        assert_close(db, rdb, terms=dout[:, 0].size)


def test_nan_reaches_its_windows_and_no_others(every_isa: str) -> None:
    x = np.zeros((1, 2, 6, 20), np.float32)
    x[0, 0, 3, 19] = np.nan
    out = np.asarray(K.conv2d(x, np.ones((2, 1, 3, 3), np.float32), padding=1, groups=2, activation="relu"))
    expected = np.zeros((1, 2, 6, 20), bool)
    expected[0, 0, 2:5, 18:] = True
    assert (np.isnan(out) == expected).all()


@pytest.mark.cpu
@pytest.mark.parametrize("stride", [1, 2])
def test_same_bits_for_any_number_of_threads(rng: np.random.Generator, stride: int) -> None:
    x = rng.normal(size=(3, 11, 29, 30)).astype(np.float32)
    weight = rng.normal(size=(11, 1, 3, 3)).astype(np.float32)
    options = {"stride": stride, "padding": 1, "groups": 11}
    dout = rng.normal(size=K.conv2d_output_size(x.shape, weight.shape, **options)).astype(np.float32)
    seen = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            dw, db = K.conv2d_backward_weight(dout, x, weight.shape, bias=True, **options)
            dx = K.conv2d_backward_input(dout, weight, x.shape, **options)
            seen.add(b"".join(np.asarray(a).tobytes() for a in (K.conv2d(x, weight, **options), dx, dw, db)))
    assert len(seen) == 1
