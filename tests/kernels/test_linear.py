"""The gradients of the fully connected layer against the naive kernels in double precision, and against its parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import assert_close, linear_backward_in_double, linear_problem, to_numpy, values

# (rows, in, out): one element; LeNet's last layer; just under, on and over tiles of 32; more rows than one launch
# takes on a device, and more outputs.
SIZES = [(1, 1, 1), (4, 84, 10), (31, 33, 32), (32, 32, 32), (33, 65, 31), (100, 7, 97), (1030, 3, 5), (3, 5, 1030)]
ACTIVATIONS = ["none", "relu", "sigmoid", "tanh"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradients(every_isa: str, rng: np.random.Generator, size: tuple[int, int, int], activation: str) -> None:
    given = linear_problem(rng, size, activation)
    rows, _, out = size
    found = K.linear_backward(*given, activation)
    for gradient, expected, terms in zip(
        found, linear_backward_in_double(*given, activation), (out, rows, rows), strict=True
    ):
        assert_close(gradient, expected, dtype="float32", terms=terms, factor=2)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_they_are_those_of_the_parts(every_isa: str, rng: np.random.Generator, dtype: str, activation: str) -> None:
    """Of whole numbers, whose sums are exact in any order."""
    dout, x, weight, y = (
        K.cast(np.asarray(rng.integers(-2, 3, s), np.float64), dtype) for s in ((9, 7), (9, 5), (7, 5), (9, 7))
    )
    saved = None if activation == "none" else K.relu(y)
    g = dout if saved is None else K.activation_backward("relu", dout, saved)
    parts = (K.gemm(g, weight), K.gemm(g, x, transpose_a=True), K.sum(g, 0))
    for found, part in zip(K.linear_backward(dout, x, weight, saved, activation), parts, strict=True):
        assert found.dtype == part.dtype
        np.testing.assert_array_equal(values(found), values(part))


@pytest.mark.parametrize("wanted", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)], ids=str)
def test_only_what_is_asked_for(rng: np.random.Generator, wanted: tuple[int, int, int]) -> None:
    given = linear_problem(rng, (5, 4, 3), "tanh")
    all_three = K.linear_backward(*given, "tanh")
    some = K.linear_backward(*given, "tanh", *map(bool, wanted))
    for found, expected, is_wanted in zip(some, all_three, wanted, strict=True):
        assert (found is not None) == bool(is_wanted)
        if found is not None:
            assert_close(found, to_numpy(expected))


def test_operands_of_any_strides_and_leading_axes(every_isa: str, rng: np.random.Generator) -> None:
    dout, x, weight, y = linear_problem(rng, (6, 10, 8), "relu")
    expected = linear_backward_in_double(dout, x, weight, y, "relu")
    turned = [K.asarray(np.ascontiguousarray(a.T)).transpose(0, 1) for a in (dout, x, weight, y)]
    spread = [K.asarray(np.repeat(a, 2, 1))[:, ::2] for a in (dout, x, weight, y)]
    batched = [K.asarray(a.reshape(2, 3, -1)) for a in (dout, x)] + [weight, K.asarray(y.reshape(2, 3, -1))]
    for given in (turned, spread, batched):
        dx, dw, db = K.linear_backward(*given, "relu")
        assert dx.shape == tuple(given[1].shape)
        assert_close(dx.reshape((6, 10)), expected[0], dtype="float32", terms=8)
        assert_close(dw, expected[1], dtype="float32", terms=6)
        assert_close(db, expected[2], dtype="float32", terms=6)
    plain = linear_backward_in_double(dout, x, weight, None, "none")
    for gradient, wanted in zip(K.linear_backward(*turned[:3]), plain, strict=True):
        assert_close(gradient, wanted, dtype="float32", terms=8)


def test_no_rows() -> None:
    dx, dw, db = K.linear_backward(
        np.ones((0, 3), np.float32), np.ones((0, 2), np.float32), np.ones((3, 2), np.float32)
    )
    assert dx.shape == (0, 2)
    assert to_numpy(dw).tolist() == [[0, 0]] * 3
    assert to_numpy(db).tolist() == [0] * 3


def test_nan_stays_in_its_row(every_isa: str) -> None:
    dout, x, weight = (np.ones(s, np.float32) for s in ((3, 2), (3, 4), (2, 4)))
    y = np.array([[1, 1], [2, 1], [0, 0]], np.float32)
    dout[1, 0] = dout[2] = np.nan  # what ReLU cut off stays 0
    dx, dw, db = (to_numpy(a) for a in K.linear_backward(dout, x, weight, y, "relu"))
    assert np.isnan(dx).tolist() == [[False] * 4, [True] * 4, [False] * 4]
    assert np.isnan(dw).tolist() == [[True] * 4, [False] * 4]
    assert np.isnan(db).tolist() == [True, False]


def test_sums_of_biases_are_as_exact_as_pairwise_ones(rng: np.random.Generator) -> None:
    dout = rng.uniform(1, 2, (1000, 3)).astype(np.float32)
    db = K.linear_backward(dout, np.ones((1000, 2), np.float32), np.ones((3, 2), np.float32))[2]
    np.testing.assert_allclose(to_numpy(db), dout.astype(np.float64).sum(0), rtol=2e-7)


def test_a_training_step_has_one_launch_for_each_layer(rng: np.random.Generator) -> None:
    model = weft.nn.Sequential(weft.nn.Linear(6, 5), weft.nn.ReLU(), weft.nn.Linear(5, 3))
    x = weft.tensor(rng.normal(size=(4, 6)).astype(np.float32))
    with weft.profile() as p:
        model(x).sum().backward()
    assert [launch.name for launch in p.launches].count("linear_backward") == 2


def test_errors() -> None:
    def ones(*shape: int) -> np.ndarray[Any, Any]:
        return np.ones(shape, np.float32)

    with pytest.raises(ValueError, match=r"linear_backward: weight expects in=4 \(weight \(5, 4\)\) but input has"):
        K.linear_backward(ones(2, 5), ones(2, 3), ones(5, 4))
    with pytest.raises(ValueError, match=r"dout must have the shape of the output \(2, 5\), got \(2, 4\)"):
        K.linear_backward(ones(2, 4), ones(2, 3), ones(5, 3))
    with pytest.raises(ValueError, match="activation must be none, relu, sigmoid or tanh, got gelu"):
        K.linear_backward(ones(2, 5), ones(2, 3), ones(5, 3), ones(2, 5), "gelu")
    with pytest.raises(ValueError, match="an activation and its output y go together"):
        K.linear_backward(ones(2, 5), ones(2, 3), ones(5, 3), None, "relu")
    with pytest.raises(TypeError, match="dout and weight must have the same dtype, got float32 and float64"):
        K.linear_backward(ones(2, 5), ones(2, 3), np.ones((5, 3)))
