"""Activations against their naive kernels in double precision."""

from __future__ import annotations

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, reference

KINDS = ["step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "gelu_tanh", "silu"]
SHAPES = [(), (0,), (1,), (7,), (3, 5, 2), (40_003,)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_forward(every_isa: str, rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> None:
    x = rng.normal(scale=3, size=shape)
    out = getattr(K, kind)(x.astype(np.float32))
    assert_close(out, reference(getattr(K, kind), x.astype(np.float32).astype(np.float64)), dtype="float32")


@pytest.mark.parametrize("kind", KINDS)
def test_nan_propagates(every_isa: str, kind: str) -> None:
    out = np.asarray(getattr(K, kind)(np.full(37, np.nan, np.float32)))
    assert np.isnan(out).all() != (kind == "step")


def test_errors() -> None:
    with pytest.raises(TypeError, match="relu: input must be float32 or float64, got int64"):
        K.relu(np.arange(3))
    with pytest.raises(ValueError, match="activation: expected one of none, step, .*; got 'swish'"):
        K.activation_backward("swish", np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"relu: dout \(2,\) and saved \(3,\) must have the same shape"):
        K.activation_backward("relu", np.ones(2), np.ones(3))
