"""Convolution and its gradients against the naive kernels in double precision, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import assert_close, conv2d_arrays, reference, threads, wide

# N, C, H, W, K, R, S and options; what each is there for.
CASES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((4, 1, 28, 28, 6, 5, 5), {"padding": 2}),  # LeNet's first layer: direct
    ((4, 6, 14, 14, 16, 5, 5), {}),  # LeNet's second
    ((40, 2, 9, 8, 3, 3, 3), {"padding": 1}),  # more images than groups of the weight gradient
    ((18, 3, 9, 12, 31, 7, 7), {"padding": (2, 3, 3, 1)}),  # lanes of output channels: odd rows, several tiles
    ((2, 3, 7, 13, 16, 5, 3), {"padding": 1}),
    ((2, 3, 7, 11, 10, 3, 3), {"padding": 1}),  # ten outputs: two blocks of five
    ((2, 3, 8, 13, 9, 7, 5), {"padding": (2, 3)}),
    *(((2, 2, 11, 9, 16, rows, 3), {"padding": 1}) for rows in (4, 6, 7)),  # as many rows of the weight at once
    ((1, 2, 9, 9, 4, 2, 2), {"padding": (0, 1, 1, 0)}),  # uneven padding
    ((2, 4, 10, 9, 6, 3, 3), {"padding": "same", "dilation": 2}),
    ((2, 4, 10, 9, 6, 4, 4), {"padding": "same"}),  # an even kernel: the extra row at the end
    ((2, 3, 17, 15, 5, 7, 7), {"stride": 2, "padding": 3}),  # a stem: im2col
    ((2, 5, 9, 10, 7, 3, 2), {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2)}),
    ((2, 5, 6, 7, 8, 1, 1), {}),  # 1x1: the image is the matrix
    ((2, 5, 6, 7, 8, 1, 1), {"stride": 2, "padding": 1}),
    ((2, 6, 8, 8, 9, 3, 3), {"groups": 3, "padding": 1}),
    ((2, 6, 8, 9, 6, 3, 3), {"groups": 6, "padding": 1}),  # depthwise
    ((2, 4, 9, 8, 12, 3, 3), {"groups": 4, "stride": 2, "padding": 1}),  # three filters a channel
    ((1, 1, 3, 3, 1, 3, 3), {}),  # one output
    ((1, 1, 1, 1, 2, 3, 3), {"padding": 3}),  # padding larger than the kernel's reach
    ((1, 130, 40, 41, 8, 3, 3), {"padding": 1}),  # too large for a padded copy in the cache
    ((1, 3, 100, 300, 4, 3, 3), {"stride": 2}),  # several pieces of columns
    ((3, 40, 9, 37, 30, 1, 1), {}),  # 1x1: several panels of columns and blocks of channels
    ((2, 70, 12, 41, 33, 3, 3), {"stride": 2, "padding": 1}),  # windows: rows of more than one vector
    ((9, 16, 7, 7, 16, 3, 3), {"stride": 2, "padding": 1}),  # windows: panels that lie in several images
    ((2, 17, 9, 21, 18, 5, 4), {"padding": 2}),  # windows with stride 1
    ((3, 16, 11, 14, 17, 3, 2), {"stride": (3, 2), "padding": (1, 0, 2, 1), "dilation": (2, 1)}),
    ((2, 16, 9, 9, 16, 2, 2), {"stride": 3}),  # pixels that no tap meets
    ((2, 20, 9, 8, 24, 1, 1), {"stride": 2, "padding": 1}),
    ((2, 130, 6, 7, 230, 3, 3), {"stride": 2, "padding": 1}),  # a weight too large for sums of groups of images
    ((5, 2, 4, 3, 16, 3, 3), {}),  # fewer positions than a vector has lanes
    ((3, 1, 6, 6, 4, 1, 6), {}),  # a row kernel whose width has no weight kernel of its own
]
IDS = [f"{'x'.join(map(str, size))}-{'-'.join(f'{k}={v}' for k, v in options.items())}" for size, options in CASES]


@pytest.mark.parametrize(("size", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_reference(every_isa: str, size: tuple[int, ...], options: dict[str, Any], dtype: str) -> None:
    x, weight, bias, dout = conv2d_arrays(size, options, dtype)
    wx, ww, wb, wd = wide(x, weight, bias, dout)
    terms = weight[0].size
    assert_close(
        K.conv2d(x, weight, bias, **options), reference(K.conv2d, wx, ww, wb, **options), dtype=dtype, terms=terms
    )
    dx = K.conv2d_backward_input(dout, weight, x.shape, **options)
    assert_close(
        dx, reference(K.conv2d_backward_input, wd, ww, x.shape, **options), dtype=dtype, terms=weight[:, 0].size
    )
    dw, db = K.conv2d_backward_weight(dout, x, weight.shape, **options, bias=True)
    rdw, rdb = reference(K.conv2d_backward_weight, wd, wx, weight.shape, **options, bias=True)
    assert_close(dw, rdw, dtype=dtype, terms=dout[:, 0].size)
    assert_close(db, rdb, dtype=dtype, terms=dout[:, 0].size)
    alone = K.conv2d_backward_weight(dout, x, weight.shape, **options)
    assert np.asarray(alone).tobytes() == np.asarray(dw).tobytes()
    assert_close(K.conv2d_backward_bias(dout), rdb, dtype=dtype, terms=dout[:, 0].size)


@pytest.mark.parametrize(("size", "options"), CASES, ids=IDS)
def test_gradients_are_adjoint(size: tuple[int, ...], options: dict[str, Any]) -> None:
    """<conv(x, w), d> = <x, dx> = <w, dw>: holds only if both gradients are the transposes of the forward map."""
    x, weight, _, dout = conv2d_arrays(size, options, "float64")
    product = np.vdot(np.asarray(K.conv2d(x, weight, **options)), dout)
    dx = np.asarray(K.conv2d_backward_input(dout, weight, x.shape, **options))
    dw = np.asarray(K.conv2d_backward_weight(dout, x, weight.shape, **options))
    assert np.isclose(np.vdot(x, dx), product, rtol=1e-10, atol=1e-10)
    assert np.isclose(np.vdot(weight, dw), product, rtol=1e-10, atol=1e-10)


# Few channels in, eight or more out: runs of S x C numbers of one, two or more vectors, tiles of 1 to 6 rows.
@pytest.mark.parametrize("channels", range(1, 17))
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 0), (5, 2), (7, (3, 3, 4, 0))], ids=str)
def test_input_gradient_of_few_channels(every_isa: str, channels: int, kernel: int, padding: Any) -> None:
    size = (2, channels, kernel + channels % 7, 9 + channels, 8 + channels % 3, kernel, kernel)
    _, weight, _, dout = conv2d_arrays(size, {"padding": padding})
    x_shape = size[:4]
    dx = K.conv2d_backward_input(dout, weight, x_shape, padding=padding)
    expected = reference(K.conv2d_backward_input, *wide(dout, weight), x_shape, padding=padding)
    assert_close(dx, expected, dtype="float32", terms=weight[:, 0].size)


def test_input_gradient_keeps_nan_and_infinity_where_they_belong(every_isa: str) -> None:
    _, weight, _, dout = conv2d_arrays((3, 6, 14, 14, 16, 5, 5), {})
    dout[0, 3, 4, 5], dout[1, 7, 9, 9], dout[2, 0, 0, 0] = np.nan, np.inf, -np.inf
    dx = np.asarray(K.conv2d_backward_input(dout, weight, (3, 6, 14, 14)))
    touched = np.zeros((3, 6, 14, 14), bool)
    touched[0, :, 4:9, 5:10] = touched[1, :, 9:14, 9:14] = touched[2, :, 0:5, 0:5] = True
    assert np.array_equal(~np.isfinite(dx), touched)
    assert np.array_equal(np.isnan(dx).any(axis=(1, 2, 3)), [True, False, False])


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    integers = st.integers
    groups = draw(integers(1, 3))
    c, k = groups * draw(integers(1, 3)), groups * draw(integers(1, 3))
    n, h, w = draw(integers(1, 3)), draw(integers(1, 9)), draw(integers(1, 9))
    r, s = draw(integers(1, 4)), draw(integers(1, 4))
    pair = st.tuples(integers(1, 3), integers(1, 3))
    options = {
        "stride": draw(pair),
        "dilation": draw(pair),
        "groups": groups,
        "padding": draw(st.tuples(*[integers(0, 3)] * 4)),
    }
    top, bottom, left, right = options["padding"]
    assume(options["dilation"][0] * (r - 1) < h + top + bottom)
    assume(options["dilation"][1] * (s - 1) < w + left + right)
    return (n, c, h, w, k, r, s), options


@given(problem=problems(), seed=st.integers(0, 9))
def test_drawn_problems(problem: Any, seed: int) -> None:
    size, options = problem
    x, weight, bias, dout = conv2d_arrays(size, options, seed=seed)
    wx, ww, wb, wd = wide(x, weight, bias, dout)
    assert_close(
        K.conv2d(x, weight, bias, **options), reference(K.conv2d, wx, ww, wb, **options), terms=36, dtype="float32"
    )
    dx = K.conv2d_backward_input(dout, weight, x.shape, **options)
    assert_close(dx, reference(K.conv2d_backward_input, wd, ww, x.shape, **options), terms=36, dtype="float32")
    dw = K.conv2d_backward_weight(dout, x, weight.shape, **options)
    assert_close(dw, reference(K.conv2d_backward_weight, wd, wx, weight.shape, **options), terms=99, dtype="float32")


@given(problem=problems(), seed=st.integers(0, 9))
def test_beside_torch(problem: Any, seed: int) -> None:
    torch = pytest.importorskip("torch")
    size, options = problem
    x, weight, bias, _ = conv2d_arrays(size, options, "float64", seed=seed)
    top, bottom, left, right = options["padding"]
    padded = torch.nn.functional.pad(torch.from_numpy(x), (left, right, top, bottom))
    theirs = torch.nn.functional.conv2d(
        padded, torch.from_numpy(weight), torch.from_numpy(bias), options["stride"], 0, options["dilation"],
        options["groups"],
    )  # fmt: skip
    assert_close(K.conv2d(x, weight, bias, **options), theirs, terms=36)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("case", [0, 8, 13])
def test_activation_at_the_end(every_isa: str, case: int, activation: str) -> None:
    size, options = CASES[case]
    x, weight, bias, _ = conv2d_arrays(size, options)
    expected = reference(K.conv2d, *wide(x, weight, bias), **options, activation=activation)
    assert_close(K.conv2d(x, weight, bias, **options, activation=activation), expected, dtype="float32", terms=200)


def test_one_image_without_batch_axis(every_isa: str) -> None:
    x, weight, bias, dout = conv2d_arrays(*CASES[1])
    assert_close(K.conv2d(x[0], weight, bias), np.asarray(K.conv2d(x[:1], weight, bias))[0])
    assert np.asarray(K.conv2d_backward_input(dout[0], weight, x[0].shape)).shape == x[0].shape


def test_strided_inputs(every_isa: str) -> None:
    x, weight, bias, _ = conv2d_arrays((2, 3, 8, 9, 4, 3, 3), {})
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert_close(K.conv2d(turned, weight, bias), np.asarray(K.conv2d(x, weight, bias)))


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)], ids=str)
def test_empty(every_isa: str, shape: tuple[int, ...]) -> None:
    x, weight = np.ones(shape, np.float32), np.ones((4, shape[1], 3, 3), np.float32)
    out = np.asarray(K.conv2d(x, weight, np.ones(4, np.float32)))
    assert out.shape == (shape[0], 4, 6, 6)
    assert (out == 1).all()
    dw, db = K.conv2d_backward_weight(out, x, weight.shape, bias=True)
    assert not np.asarray(dw).any()
    assert np.asarray(db).sum() == out.sum()
    assert np.asarray(K.conv2d_backward_input(out, weight, shape)).shape == shape


def test_nan_goes_through(every_isa: str) -> None:
    x = np.ones((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 4] = np.nan
    out = np.asarray(K.conv2d(x, np.ones((2, 1, 3, 3), np.float32), activation="relu"))
    assert np.isnan(out[0, :, 2:5, 2:5]).all()
    assert np.isnan(out).sum() == 18


@pytest.mark.cpu
@pytest.mark.parametrize("case", [0, 1, 2, 8, 10, 12, 14, 18])
def test_same_bits_for_any_number_of_threads(case: int) -> None:
    size, options = CASES[case]
    x, weight, bias, dout = conv2d_arrays((16, *size[1:]), options)
    results = []
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            results.append(
                np.asarray(K.conv2d(x, weight, bias, **options)).tobytes()
                + np.asarray(K.conv2d_backward_input(dout, weight, x.shape, **options)).tobytes()
                + np.asarray(K.conv2d_backward_weight(dout, x, weight.shape, **options)).tobytes()
            )
    assert len(set(results)) == 1


F = np.float32


@pytest.mark.parametrize(
    ("x", "weight", "options", "message"),
    [
        (
            (8, 1, 28, 28),
            (16, 3, 5, 5),
            {},
            r"conv2d: weight expects C=3 \(weight \(16, 3, 5, 5\)\) " r"but input has C=1 \(input \(8, 1, 28, 28\)\)",
        ),
        ((28, 28), (6, 1, 5, 5), {}, r"conv2d: input must have rank 4 \(N, C, H, W\) or 3 \(C, H, W\), got \(28, 28\)"),
        ((1, 1, 8, 8), (6, 5, 5), {}, r"conv2d: weight must have rank 4 \(K, C/groups, R, S\), got \(6, 5, 5\)"),
        (
            (1, 1, 4, 4),
            (6, 1, 5, 5),
            {},
            r"conv2d: the kernel reaches over H=5 but the padded input has only 4 "
            r"\(weight \(6, 1, 5, 5\), input \(1, 1, 4, 4\)\)",
        ),
        ((1, 1, 6, 4), (6, 1, 5, 5), {}, "conv2d: the kernel reaches over W=5 but the padded input has only 4"),
        ((1, 1, 8, 8), (6, 1, 3, 3), {"stride": 0}, r"conv2d: stride must be positive, got \(0, 0\)"),
        ((1, 1, 8, 8), (6, 1, 3, 3), {"stride": (1, -2)}, r"conv2d: stride must be positive, got \(1, -2\)"),
        ((1, 1, 8, 8), (6, 1, 3, 3), {"dilation": 0}, r"conv2d: dilation must be positive, got \(0, 0\)"),
        ((1, 1, 8, 8), (6, 1, 3, 3), {"padding": -1}, r"conv2d: padding must not be negative"),
        (
            (1, 1, 8, 8),
            (6, 1, 3, 3),
            {"padding": "full"},
            "conv2d: padding must be an int, 2 or 4 ints, 'same' or 'valid', got 'full'",
        ),
        ((1, 1, 8, 8), (6, 1, 3, 3), {"padding": "same", "stride": 2}, "conv2d: padding 'same' needs stride 1"),
        ((1, 4, 8, 8), (6, 2, 3, 3), {"groups": 4}, r"conv2d: groups=4 does not divide K=6 \(weight \(6, 2, 3, 3\)\)"),
        ((1, 4, 8, 8), (6, 2, 3, 3), {"groups": 3}, r"conv2d: groups=3 does not divide C=4 \(input \(1, 4, 8, 8\)\)"),
        (
            (1, 4, 8, 8),
            (6, 3, 3, 3),
            {"groups": 2},
            r"conv2d: weight expects C=6 \(weight \(6, 3, 3, 3\), groups 2\) but input has C=4",
        ),
        ((1, 4, 8, 8), (6, 4, 3, 3), {"groups": 0}, "conv2d: groups must be positive, got 0"),
        (
            (1, 1, 8, 8),
            (6, 1, 3, 3),
            {"bias": np.ones(5, F)},
            r"conv2d: bias must have shape \(K,\) = \(6,\), got \(5,\)",
        ),
        ((1, 1, 8, 8), (6, 1, 3, 3), {"activation": "swish"}, "activation: expected one of none, step"),
    ],
)
def test_value_errors(x: tuple, weight: tuple, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        K.conv2d(np.ones(x, F), np.ones(weight, F), **options)


def test_other_errors() -> None:
    x, w = np.ones((1, 1, 8, 8), F), np.ones((2, 1, 3, 3), F)
    with pytest.raises(TypeError, match="conv2d: input and weight must have the same dtype, got float32 and float64"):
        K.conv2d(x, w.astype(np.float64))
    with pytest.raises(TypeError, match="conv2d: input must be float32 or float64, got int64"):
        K.conv2d(x.astype(np.int64), w)
    with pytest.raises(ValueError, match=r"dout \(1, 2, 5, 6\) does not have the shape of the output \(1, 2, 6, 6\)"):
        K.conv2d_backward_input(np.ones((1, 2, 5, 6), F), w, x.shape)
    with pytest.raises(ValueError, match=r"conv2d_backward_weight: dout .* does not have the shape of the output"):
        K.conv2d_backward_weight(np.ones((1, 3, 6, 6), F), x, w.shape)


def test_pixelwise_of_large_images(every_isa: str) -> None:
    """Large results are stored past the cache; those of one image are not, and have the same bits."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 16, 160, 160)).astype(np.float32)
    weight, bias = rng.normal(size=(64, 16, 1, 1)).astype(np.float32), np.arange(64, dtype=np.float32)
    out = np.asarray(K.conv2d(x, weight, bias, activation="relu"))
    for i in range(4):
        assert np.array_equal(out[i], K.conv2d(x[i], weight, bias, activation="relu"))
