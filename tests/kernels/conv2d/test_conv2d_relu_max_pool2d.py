"""Convolution, ReLU and max-pooling in one operation, against the naive kernels one after the other in double."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import assert_close, reference, threads

# N, C, H, W, K, R, S and options; what each is there for.
CASES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((4, 1, 28, 28, 6, 5, 5), {"padding": 2}),  # LeNet's first layer
    ((4, 6, 14, 14, 16, 5, 5), {}),  # LeNet's second
    ((40, 2, 9, 8, 3, 3, 3), {"padding": 1}),  # more images than groups of the weight gradient
    ((3, 3, 12, 35, 10, 3, 3), {"padding": 1}),  # an odd width: the last column belongs to no window
    ((2, 3, 9, 40, 7, 7, 5), {"padding": (2, 3)}),
    ((2, 7, 13, 12, 33, 5, 5), {"padding": 2}),  # channels and outputs one beside a power of two
    ((1, 2, 9, 9, 4, 2, 2), {"padding": (0, 1, 1, 0)}),  # uneven padding
    ((2, 4, 10, 9, 6, 3, 3), {"padding": "same", "dilation": 2}),
    ((2, 16, 11, 18, 20, 3, 3), {"padding": 1}),
    ((2, 20, 8, 8, 16, 3, 3), {"padding": 1}),
    ((2, 1, 6, 70, 1, 1, 9), {}),  # a wide kernel of one row
    ((2, 5, 6, 7, 8, 1, 1), {}),
    ((2, 3, 17, 15, 5, 7, 7), {"stride": 2, "padding": 3}),
    ((2, 6, 8, 8, 9, 3, 3), {"groups": 3, "padding": 1}),
    ((2, 2, 11, 11, 4, 3, 3), {"kernel_size": 3}),
    ((2, 2, 11, 11, 4, 3, 3), {"kernel_size": (1, 4), "padding": 1}),
    ((1, 1, 3, 3, 1, 2, 2), {}),  # one output
    ((2, 1, 6, 6, 2, 3, 3), {}),  # all outputs of an image are fewer than a vector's lanes
    ((5, 3, 4, 6, 16, 3, 3), {}),
    ((1, 2, 1, 1, 2, 3, 3), {"padding": 3}),  # padding larger than the kernel's reach
    ((1, 300, 20, 20, 24, 5, 5), {}),  # too large for the cache
    ((1, 32, 8, 10, 33, 3, 3), {"padding": 1}),  # many channels: Winograd, then pooled
]
IDS = [f"{'x'.join(map(str, size))}-{'-'.join(f'{k}={v}' for k, v in options.items())}" for size, options in CASES]


def conv_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "kernel_size"}


def arrays(size: tuple[int, ...], options: dict[str, Any], dtype: str = "float32", seed: int = 0) -> Any:
    """x, weight, bias and dout. Whole numbers: sums are exact, so that every path finds the same winners."""
    n, c, h, w, k, r, s = size
    rng = np.random.default_rng(seed)
    x = rng.integers(-8, 9, size=(n, c, h, w)).astype(dtype)
    weight = rng.integers(-8, 9, size=(k, c // options.get("groups", 1), r, s)).astype(dtype)
    bias = rng.integers(-8, 9, size=k).astype(dtype)
    *_, p, q = K.conv2d_output_size(x.shape, weight.shape, **conv_options(options))
    window = np.broadcast_to(options.get("kernel_size", 2), 2)
    dout = rng.normal(size=(n, k, p // window[0], q // window[1])).astype(dtype)
    return x, weight, bias, dout


def unfused(x: Any, weight: Any, bias: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """The three operations one after the other, and the places that pooling kept."""
    y = K.relu(K.conv2d(x, weight, bias, **conv_options(options)))
    out, index = K.max_pool2d(y, options.get("kernel_size", 2))
    return np.asarray(out), np.asarray(index)


def unfused_gradients(dout: Any, x: Any, weight: Any, bias: Any, **options: Any) -> list[np.ndarray]:
    conv = conv_options(options)
    y = K.relu(K.conv2d(x, weight, bias, **conv))
    _, index = K.max_pool2d(y, options.get("kernel_size", 2))
    dy = K.activation_backward("relu", K.max_pool2d_backward(dout, index, y.shape), y)
    dx = K.conv2d_backward_input(dy, weight, x.shape, **conv)
    dw, db = K.conv2d_backward_weight(dy, x, weight.shape, **conv, bias=True)
    return [np.asarray(a) for a in (dx, dw, db)]


def wide(*given: np.ndarray) -> list[np.ndarray]:
    return [a.astype(np.float64) for a in given]


def check(size: tuple[int, ...], options: dict[str, Any], dtype: str = "float32", seed: int = 0) -> None:
    x, weight, bias, dout = arrays(size, options, dtype, seed)
    out, winner = K.conv2d_relu_max_pool2d(x, weight, bias, **options)
    expected, codes = reference(K.conv2d_relu_max_pool2d, *wide(x, weight, bias), **options)
    if weight.size < 9 * 32 * 32:
        np.testing.assert_array_equal(np.asarray(out), np.asarray(expected))
        np.testing.assert_array_equal(np.asarray(winner), np.asarray(codes))
    else:  # Winograd's sums of whole numbers are not exact: another of two equal values may win
        assert_close(out, expected, dtype=dtype, terms=weight[0].size)
        winner = np.asarray(codes)
    gradients = K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight, **options)
    wanted = reference(unfused_gradients, *wide(dout, x, weight, bias), **options)
    for found, want, terms in zip(
        gradients, wanted, (weight[:, 0].size, 64 * dout[:, 0].size, dout[:, 0].size), strict=True
    ):
        assert_close(found, want, dtype=dtype, terms=terms)
    # Whatever is asked for, each has the same bits.
    for asked in ((True, False, False), (False, True, False), (False, False, True), (False, True, True)):
        some = K.conv2d_relu_max_pool2d_backward(
            dout, winner, x, weight, **options, need_x=asked[0], need_weight=asked[1], need_bias=asked[2]
        )
        for one, whole, ask in zip(some, gradients, asked, strict=True):
            assert (one is not None) == ask
            assert one is None or np.asarray(one).tobytes() == np.asarray(whole).tobytes()


@pytest.mark.parametrize(("size", "options"), CASES, ids=IDS)
def test_against_reference(every_isa: str, size: tuple[int, ...], options: dict[str, Any]) -> None:
    check(size, options)


@pytest.mark.parametrize(("size", "options"), CASES[:-1], ids=IDS[:-1])
def test_double(size: tuple[int, ...], options: dict[str, Any]) -> None:
    check(size, options, "float64")


@pytest.mark.parametrize(("size", "options"), CASES[:-1], ids=IDS[:-1])
def test_reference_is_the_three_operations(size: tuple[int, ...], options: dict[str, Any]) -> None:
    x, weight, bias, dout = arrays(size, options, "float64")
    out, winner = reference(K.conv2d_relu_max_pool2d, x, weight, bias, **options)
    np.testing.assert_array_equal(np.asarray(out), reference(unfused, x, weight, bias, **options)[0])
    gradients = reference(K.conv2d_relu_max_pool2d_backward, dout, winner, x, weight, **options)
    for found, want in zip(gradients, reference(unfused_gradients, dout, x, weight, bias, **options), strict=True):
        np.testing.assert_array_equal(np.asarray(found), want)


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    integers = st.integers
    c, k = draw(integers(1, 9)), draw(integers(1, 18))
    n, h, w = draw(integers(1, 3)), draw(integers(1, 12)), draw(integers(1, 37))
    r, s = draw(integers(1, 7)), draw(integers(1, 7))
    options: dict[str, Any] = {"padding": draw(st.tuples(*[integers(0, 3)] * 4))}
    if draw(st.booleans()):
        options["dilation"] = draw(st.tuples(integers(1, 2), integers(1, 2)))
    dilation = options.get("dilation", (1, 1))
    top, bottom, left, right = options["padding"]
    assume(dilation[0] * (r - 1) + 1 < h + top + bottom)
    assume(dilation[1] * (s - 1) + 1 < w + left + right)
    return (n, c, h, w, k, r, s), options


@given(problem=problems(), seed=st.integers(0, 9))
def test_drawn_problems(every_isa: str, problem: Any, seed: int) -> None:
    check(*problem, seed=seed)


@pytest.mark.cpu
@pytest.mark.parametrize("case", [0, 1, 2, 3, 4, 5, 8, 9])
def test_same_bits_for_any_number_of_threads(case: int) -> None:
    size, options = CASES[case]
    x, weight, bias, dout = arrays((37, *size[1:]), options)
    results = []
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            out, winner = K.conv2d_relu_max_pool2d(x, weight, bias, **options)
            gradients = K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight, **options)
            results.append(b"".join(np.asarray(a).tobytes() for a in (out, winner, *gradients)))
    assert len(set(results)) == 1


@pytest.mark.parametrize("case", [0, 1, 3, 4])
def test_not_a_number(every_isa: str, case: int) -> None:
    """NaN and infinity in the image and in the gradient come out where the three operations have them."""
    size, options = CASES[case]
    x, weight, bias, dout = arrays((4, *size[1:]), options)
    x[1, 0, 4, 5] = np.nan
    dout[2, 1, 0, 0] = np.nan
    dout[3, 2, 1, 1] = np.inf
    out, winner = K.conv2d_relu_max_pool2d(x, weight, bias, **options)
    expected, index = reference(unfused, *wide(x, weight, bias), **options)
    np.testing.assert_array_equal(np.asarray(out), expected)
    q = index.shape[-1]
    width = K.conv2d_output_size(x.shape, weight.shape, **options)[-1]
    row, column = np.divmod(index, width)
    place = (row - 2 * np.arange(index.shape[2])[:, None]) * 2 + column - 2 * np.arange(q)
    np.testing.assert_array_equal(np.asarray(winner), np.where(expected == 0, 64, place))
    dout[2][expected[2] == 0] = np.inf  # where ReLU cut off nothing passes
    gradients = K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight, **options)
    wanted = reference(unfused_gradients, *wide(dout, x, weight, bias), **options)
    assert not np.isfinite(np.asarray(gradients[0])[2:]).all((1, 2, 3)).any()
    # In dw products of x's NaN with a gradient of 0 may be left out, and those of dout's with the padding made.
    dw, wanted_dw = np.array(gradients[1]), wanted[1]
    assert not np.isnan(dw[3:]).all()
    dw[np.isnan(wanted_dw)] = np.nan
    wanted_dw[1:3][np.isnan(dw[1:3])] = np.nan
    for one, want in zip((gradients[0], dw, gradients[2]), wanted, strict=True):
        assert_close(one, want, dtype="float32", terms=1000)


def test_the_first_of_equal_values_wins(every_isa: str) -> None:
    x = np.ones((2, 1, 8, 40), np.float32)
    for weight, code in ((np.ones((3, 1, 3, 3), np.float32), 0), (-np.ones((17, 1, 3, 3), np.float32), 64)):
        out, winner = K.conv2d_relu_max_pool2d(x, weight)
        assert (np.asarray(winner) == code).all()
        assert (np.asarray(out) == (0 if code else 9)).all()


def test_one_image_without_batch_axis(every_isa: str) -> None:
    x, weight, bias, dout = arrays(*CASES[1])
    out, winner = K.conv2d_relu_max_pool2d(x[0], weight, bias)
    all_out, all_winner = K.conv2d_relu_max_pool2d(x[:1], weight, bias)
    np.testing.assert_array_equal(np.asarray(out), np.asarray(all_out)[0])
    dx, _, _ = K.conv2d_relu_max_pool2d_backward(dout[0], winner, x[0], weight)
    whole, _, _ = K.conv2d_relu_max_pool2d_backward(dout[:1], all_winner, x[:1], weight)
    np.testing.assert_array_equal(np.asarray(dx), np.asarray(whole)[0])


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)], ids=str)
def test_empty(every_isa: str, shape: tuple[int, ...]) -> None:
    x, weight = np.ones(shape, np.float32), np.ones((4, shape[1], 3, 3), np.float32)
    out, winner = K.conv2d_relu_max_pool2d(x, weight, np.ones(4, np.float32))
    assert (np.asarray(out) == 1).all()
    assert (np.asarray(winner) == 0).all()
    dx, dw, db = K.conv2d_relu_max_pool2d_backward(out, winner, x, weight)
    assert np.asarray(dx).shape == shape
    assert np.asarray(dw).shape == weight.shape
    assert not np.asarray(dw).any()
    assert np.asarray(db).sum() == np.asarray(out).sum()


def test_a_winner_outside_of_its_window_adds_nothing(every_isa: str) -> None:
    x, weight, _, dout = arrays(*CASES[1])
    winner = np.full(dout.shape, 63, np.uint8)
    for gradient in K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight):
        assert not np.asarray(gradient).any()


F = np.float32


@pytest.mark.parametrize(
    ("x", "weight", "options", "message"),
    [
        ((8, 1, 28, 28), (16, 3, 5, 5), {}, r"conv2d_relu_max_pool2d: weight expects C=3 .* but input has C=1"),
        (
            (1, 1, 5, 6),
            (2, 1, 5, 5),
            {},
            r"the pooling window \(2, 2\) is larger than the convolution's output \(1, 2\)",
        ),
        ((1, 1, 8, 8), (2, 1, 3, 3), {"kernel_size": 0}, r"window must have 1 to 64 elements, got \(0, 0\)"),
        ((1, 1, 28, 28), (2, 1, 3, 3), {"kernel_size": 9}, r"window must have 1 to 64 elements, got \(9, 9\)"),
        ((1, 1, 8, 8), (2, 1, 3, 3), {"bias": np.ones(3, F)}, r"bias must have shape \(K,\) = \(2,\), got \(3,\)"),
        ((8, 8), (2, 1, 3, 3), {}, r"input must have rank 4 \(N, C, H, W\) or 3 \(C, H, W\), got \(8, 8\)"),
    ],
)
def test_value_errors(x: tuple, weight: tuple, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        K.conv2d_relu_max_pool2d(np.ones(x, F), np.ones(weight, F), **options)


def test_errors_of_backward() -> None:
    x, weight, _, dout = arrays(*CASES[1])
    winner = np.zeros(dout.shape, np.uint8)
    with pytest.raises(TypeError, match="winner must be uint8, got int64"):
        K.conv2d_relu_max_pool2d_backward(dout, winner.astype(np.int64), x, weight)
    with pytest.raises(ValueError, match=r"dout \(4, 16, 5, 4\) does not have the shape of the output \(4, 16, 5, 5\)"):
        K.conv2d_relu_max_pool2d_backward(dout[..., :4], winner, x, weight)
    with pytest.raises(ValueError, match=r"dout \(4, 16, 5, 5\) and winner \(4, 16, 5, 4\) must have the same shape"):
        K.conv2d_relu_max_pool2d_backward(dout, winner[..., :4], x, weight)
    with pytest.raises(TypeError, match="dout and weight must have the same dtype, got float32 and float64"):
        K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight.astype(np.float64))
