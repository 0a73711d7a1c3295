"""Pooling against its naive kernels in double precision, its adjoint, and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import assert_close, reference, threads

SHAPES = [
    (0, 3, 8, 8),
    (2, 0, 5, 5),
    (1, 1, 2, 2),
    (3, 7, 9),
    (2, 3, 10, 10),
    (3, 2, 28, 28),
    (2, 3, 11, 37),
    (1, 2, 67, 131),
]
WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": (2, 1), "stride": 1},
    {"kernel_size": 2, "stride": 1, "padding": 1},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    {"kernel_size": 2, "stride": (2, 1), "padding": (1, 0), "ceil_mode": True},
]
# These need an image of at least 5 x 5.
LARGE_WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (5, 3), "stride": (1, 2), "padding": (2, 1)},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
]
MAX_WINDOWS = [*WINDOWS, {"kernel_size": 2, "stride": 1, "dilation": (1, 1), "padding": 1}]
LARGE_MAX_WINDOWS = [*LARGE_WINDOWS, {"kernel_size": 3, "stride": 1, "dilation": 2, "padding": 1}]


def cases(small: list[dict[str, Any]], large: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(s, w) for s in SHAPES for w in (small + large if min(s[-2:]) >= 5 else small)]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


def wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["max_pool2d", "min_pool2d"])
def test_max_and_min(every_isa: str, rng: np.random.Generator, name: str, dtype: str) -> None:
    for shape, window in cases(MAX_WINDOWS, LARGE_MAX_WINDOWS):
        x = np.round(draw(rng, shape, dtype) * 3)  # ties: the first one counts
        function = getattr(K, name)
        out, index = function(x, **window)
        expected, expected_index = reference(function, wide(x), **window)
        assert_close(out, expected, dtype=dtype)
        assert_close(index, expected_index)
        dout = draw(rng, out.shape, dtype)
        dx = K.max_pool2d_backward(dout, index, x.shape)
        wanted = reference(K.max_pool2d_backward, wide(dout), index, x.shape)
        assert_close(dx, wanted, dtype=dtype, terms=9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"count_include_pad": False}, {"divisor_override": 3}], ids=["", "inside", "override"]
)
def test_avg(every_isa: str, rng: np.random.Generator, options: dict[str, Any], dtype: str) -> None:
    for shape, window in cases(WINDOWS, LARGE_WINDOWS):
        x = draw(rng, shape, dtype)
        out = K.avg_pool2d(x, **window, **options)
        assert_close(out, reference(K.avg_pool2d, wide(x), **window, **options), dtype=dtype, terms=15)
        dout = draw(rng, out.shape, dtype)
        dx = K.avg_pool2d_backward(dout, x.shape, **window, **options)
        wanted = reference(K.avg_pool2d_backward, wide(dout), x.shape, **window, **options)
        assert_close(dx, wanted, dtype=dtype, terms=15)
        assert np.isclose(np.vdot(wide(out), wide(dout)), np.vdot(wide(x), wide(dx)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [1, 2, 3.5])
def test_lp(every_isa: str, rng: np.random.Generator, norm: float, dtype: str) -> None:
    for shape in SHAPES:
        for window in ({"kernel_size": 2}, {"kernel_size": 2, "stride": 1}, WINDOWS[3]):
            x = draw(rng, shape, dtype)
            out = K.lp_pool2d(x, norm, **window)
            assert_close(out, reference(K.lp_pool2d, wide(x), norm, **window), dtype=dtype, terms=9)
            dout = draw(rng, out.shape, dtype)
            dx = K.lp_pool2d_backward(dout, x, out, norm, **window)
            wanted = reference(K.lp_pool2d_backward, wide(dout), wide(x), wide(out), norm, **window)
            assert_close(dx, wanted, dtype=dtype, terms=16)


@pytest.mark.parametrize("name", ["max_pool2d", "min_pool2d"])
def test_nan_and_infinity_in_windows_of_three(every_isa: str, rng: np.random.Generator, name: str) -> None:
    for shape in ((2, 2, 5, 2), (1, 2, 6, 5), (2, 1, 9, 17), (1, 1, 7, 40), (1, 1, 150, 33)):
        x = np.round(rng.normal(size=shape) * 2).astype(np.float32)
        x[rng.uniform(size=shape) < 0.1] = np.nan
        x[rng.uniform(size=shape) < 0.5] = -np.inf if name == "max_pool2d" else np.inf
        x[..., :2, :2] = -np.inf if name == "max_pool2d" else np.inf  # a corner of nothing else
        for stride in (1, 2):
            out, index = getattr(K, name)(x, 3, stride, 1)
            expected, expected_index = reference(getattr(K, name), wide(x), 3, stride, 1)
            assert_close(out, expected, dtype="float32")
            assert_close(index, expected_index)


def test_planes_that_pass_the_cache(every_isa: str) -> None:
    """64 times the same image: 64 MB and more, read ahead and stored past the cache; the image alone isn't."""
    image, dimage = draw(np.random.default_rng(0), (1, 64, 56, 56)), draw(np.random.default_rng(1), (1, 64, 28, 28))
    x, dout = (np.tile(array, (64, 1, 1, 1)) for array in (image, dimage))
    out, index = K.max_pool2d(x, 2)
    one, one_index = K.max_pool2d(image, 2)
    pairs = [
        (out, one),
        (index, one_index),
        (K.max_pool2d_backward(dout, index, x.shape), K.max_pool2d_backward(dimage, one_index, image.shape)),
        (K.avg_pool2d(x, 2), K.avg_pool2d(image, 2)),
        (K.avg_pool2d_backward(dout, x.shape, 2), K.avg_pool2d_backward(dimage, image.shape, 2)),
    ]
    for many, alone in pairs:
        assert (np.asarray(many) == np.asarray(alone)).all()


def test_lp_gradient_of_zeros() -> None:
    x = np.zeros((1, 1, 2, 2))
    assert not np.asarray(K.lp_pool2d_backward(np.ones((1, 1, 1, 1)), x, K.lp_pool2d(x, 2, 2), 2, 2)).any()
    x[0, 0, 0, 0] = -2
    out = K.lp_pool2d(x, 0.5, 2)
    dx = np.asarray(K.lp_pool2d_backward(np.ones((1, 1, 1, 1)), x, out, 0.5, 2))
    assert_close(dx, np.array([[[[-1.0, 0], [0, 0]]]]), factor=4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 2, (3, 5), (7, 1), (13, 40)], ids=str)
def test_adaptive(every_isa: str, rng: np.random.Generator, size: Any, dtype: str) -> None:
    for shape in SHAPES:
        x = draw(rng, shape, dtype)
        out = K.adaptive_avg_pool2d(x, size)
        terms = shape[-1] * shape[-2]
        assert_close(out, reference(K.adaptive_avg_pool2d, wide(x), size), dtype=dtype, terms=terms)
        dout = draw(rng, out.shape, dtype)
        dx = K.adaptive_avg_pool2d_backward(dout, x.shape)
        wanted = reference(K.adaptive_avg_pool2d_backward, wide(dout), x.shape)
        assert_close(dx, wanted, dtype=dtype, terms=terms)
        top, index = K.adaptive_max_pool2d(x, size)
        expected, expected_index = reference(K.adaptive_max_pool2d, wide(x), size)
        assert_close(top, expected, dtype=dtype)
        assert_close(index, expected_index)


@pytest.mark.parametrize("name", ["max_pool2d", "min_pool2d"])
def test_nan_wins(every_isa: str, rng: np.random.Generator, name: str) -> None:
    for shape, window in cases(MAX_WINDOWS, LARGE_MAX_WINDOWS):
        x = draw(rng, shape)
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.1] = np.inf
        x[rng.random(shape) < 0.1] = -np.inf
        out, index = getattr(K, name)(x, **window)
        expected, expected_index = reference(getattr(K, name), wide(x), **window)
        assert_close(out, expected)
        assert_close(index, expected_index)


def test_window_in_the_padding() -> None:
    x = np.ones((1, 1, 3, 3))
    out, index = K.max_pool2d(x, 2, 1, padding=1, dilation=4)
    assert np.asarray(out).max() == -np.inf
    assert (np.asarray(index) == -1).all()
    assert not np.asarray(K.max_pool2d_backward(np.ones(out.shape), index, x.shape)).any()


def test_index_from_elsewhere(every_isa: str) -> None:
    """An index outside of the image adds nothing; one of another window adds there."""
    index = np.full((1, 1, 8, 8), 2**31 - 1, np.int32)
    index[0, 0, 0, 0] = -5
    index[0, 0, 3, 3] = 0
    dx = np.asarray(K.max_pool2d_backward(np.ones((1, 1, 8, 8), np.float32), index, (1, 1, 16, 16)))
    assert dx[0, 0, 0, 0] == 1
    assert dx.sum() == 1


@pytest.mark.cpu
def test_any_thread_count(rng: np.random.Generator) -> None:
    x = draw(rng, (16, 6, 29, 31))
    runs = []
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            out, index = K.max_pool2d(x, 2)
            wide_out, wide_index = K.max_pool2d(x, 3, 2, 1)
            mean = K.avg_pool2d(x, 3, 2, 1)
            norm = K.lp_pool2d(x, 2, 2)
            results = [out, index, wide_out, wide_index, mean, norm, K.adaptive_avg_pool2d(x, 1)]
            results.append(K.max_pool2d_backward(out, index, x.shape))
            results.append(K.max_pool2d_backward(wide_out, wide_index, x.shape))
            results.append(K.avg_pool2d_backward(mean, x.shape, 3, 2, 1))
            results.append(K.lp_pool2d_backward(norm, x, norm, 2, 2))
            runs.append(b"".join(np.asarray(r).tobytes() for r in results))
    assert len(set(runs)) == 1


def test_views_are_read(rng: np.random.Generator) -> None:
    x = draw(rng, (6, 8, 3, 2)).transpose(3, 2, 1, 0)
    assert_close(K.avg_pool2d(x, 2), reference(K.avg_pool2d, np.ascontiguousarray(x), 2))


@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(6, 20), st.integers(6, 20)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    half=st.booleans(),
    dilation=st.integers(1, 2),
    ceil_mode=st.booleans(),
    include=st.booleans(),
)
def test_torch(
    size: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    half: bool,
    dilation: int,
    ceil_mode: bool,
    include: bool,
) -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    rng = np.random.default_rng(sum(size) + sum(kernel))
    values = rng.normal(size=size)
    x = torch.tensor(values, requires_grad=True)
    pad = (kernel[0] // 2, kernel[1] // 2) if half else (0, 0)

    expected, indices = f.max_pool2d(x, kernel, stride, pad, dilation, ceil_mode, return_indices=True)
    out, index = K.max_pool2d(values, kernel, stride, pad, dilation, ceil_mode)
    assert_close(out, expected)
    inside = np.asarray(index) >= 0
    assert (np.asarray(index)[inside] == indices.numpy()[inside]).all()
    dout = rng.normal(size=out.shape) * inside
    (dx,) = torch.autograd.grad(expected, x, torch.tensor(dout))
    assert_close(K.max_pool2d_backward(dout, index, size), dx, terms=9)

    expected = f.avg_pool2d(x, kernel, stride, pad, ceil_mode, include)
    out = K.avg_pool2d(values, kernel, stride, pad, ceil_mode, include)
    assert_close(out, expected, terms=9)
    dout = rng.normal(size=out.shape)
    (dx,) = torch.autograd.grad(expected, x, torch.tensor(dout))
    assert_close(K.avg_pool2d_backward(dout, size, kernel, stride, pad, ceil_mode, include), dx, terms=16)

    expected = f.lp_pool2d(x, 2, kernel, stride)
    out = K.lp_pool2d(values, 2, kernel, stride)
    assert_close(out, expected, terms=16)
    (dx,) = torch.autograd.grad(expected, x, torch.full(out.shape, 1.5, dtype=torch.float64))
    assert_close(K.lp_pool2d_backward(np.full(out.shape, 1.5), values, out, 2, kernel, stride), dx, terms=16)

    expected = f.adaptive_avg_pool2d(x, kernel)
    assert_close(K.adaptive_avg_pool2d(values, kernel), expected, terms=100)
    expected, indices = f.adaptive_max_pool2d(x, kernel, return_indices=True)
    out, index = K.adaptive_max_pool2d(values, kernel)
    assert_close(out, expected)
    assert (np.asarray(index) == indices.numpy()).all()


BAD_WINDOWS = [
    ({"kernel_size": 0}, r"kernel_size must be at least 1 and at most 2147483647, got \(0, 0\)"),
    ({"kernel_size": 2, "stride": (1, 0)}, r"stride must be at least 1 and .*, got \(1, 0\)"),
    ({"kernel_size": 2, "stride": -1}, r"stride must be at least 1 and .*, got \(-1, -1\)"),
    ({"kernel_size": 2, "padding": -1}, r"padding must be at least 0 and .*, got \(-1, -1\)"),
    ({"kernel_size": 2, "padding": 2}, r"padding \(2, 2\) must be at most half of the kernel \(2, 2\)"),
    (
        {"kernel_size": 6},
        r"kernel \(6, 6\) is larger than the padded image \(4, 5\) \(input \(2, 3, 4, 5\)\)",
    ),
]


@pytest.mark.parametrize("name", ["max_pool2d", "min_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(("window", "text"), BAD_WINDOWS)
def test_bad_windows(name: str, window: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: {text}"):
        getattr(K, name)(np.ones((2, 3, 4, 5)), **window)


def test_bad_input() -> None:
    x = np.ones((2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"max_pool2d: input must have rank 3 or 4, got shape \(4, 5\)"):
        K.max_pool2d(x[0, 0], 2)
    with pytest.raises(ValueError, match=r"input \(2, 3, 0, 5\) must have a height and a width of at least 1"):
        K.adaptive_avg_pool2d(x[:, :, :0], 1)
    with pytest.raises(TypeError, match="avg_pool2d: input must be float32 or float64, got int64"):
        K.avg_pool2d(x.astype(np.int64), 2)
    with pytest.raises(ValueError, match=r"max_pool2d: dilation must be at least 1 and .*, got \(0, 0\)"):
        K.max_pool2d(x, 2, dilation=0)
    with pytest.raises(ValueError, match="avg_pool2d: divisor_override must be positive, got 0"):
        K.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(ValueError, match="lp_pool2d: norm_type must be positive and finite, got 0"):
        K.lp_pool2d(x, 0, 2)
    with pytest.raises(ValueError, match=r"adaptive_max_pool2d: output_size must be at least 1 .* \(0, 1\)"):
        K.adaptive_max_pool2d(x, (0, 1))


def test_bad_gradients() -> None:
    x = np.ones((2, 3, 4, 6))
    out, index = K.max_pool2d(x, 2)
    with pytest.raises(TypeError, match="max_pool2d_backward: index must be int32, got int64"):
        K.max_pool2d_backward(out, np.asarray(index).astype(np.int64), x.shape)
    with pytest.raises(ValueError, match=r"dout \(2, 3, 2, 2\) and index \(2, 3, 2, 3\) must have the same"):
        K.max_pool2d_backward(np.ones((2, 3, 2, 2)), index, x.shape)
    with pytest.raises(ValueError, match=r"dout \(2, 3, 2, 3\) must have the shape of the input \(2, 1, 4, 6\)"):
        K.max_pool2d_backward(out, index, (2, 1, 4, 6))
    text = r"dout \(1, 3, 2, 3\) must have the output's shape \(2, 3, 2, 3\) \(input \(2, 3, 4, 6\)\)"
    with pytest.raises(ValueError, match="avg_pool2d_backward: " + text):
        K.avg_pool2d_backward(np.ones((1, 3, 2, 3)), x.shape, 2)
    with pytest.raises(ValueError, match="lp_pool2d_backward: " + text):
        K.lp_pool2d_backward(np.ones((1, 3, 2, 3)), x, out, 2, 2)
    with pytest.raises(TypeError, match="lp_pool2d_backward: dout and input must have the same dtype"):
        K.lp_pool2d_backward(np.ones((2, 3, 2, 3), np.float32), x, out, 2, 2)
