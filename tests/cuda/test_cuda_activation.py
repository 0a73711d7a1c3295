"""The CUDA kernels of activations beside the CPU's naive kernels: packs, what is left of them, and every dtype."""

from __future__ import annotations

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, reference, values

pytestmark = pytest.mark.usefixtures("cuda_device")


@pytest.mark.parametrize(
    "kind", ["none", "step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "silu"]
)
def test_activations(rng: np.random.Generator, kind: str) -> None:
    for n in (1, 5, 1027, 50_001):
        for dtype in ("float32", "float64", "bfloat16"):
            x = K.cast(rng.normal(scale=3, size=n), dtype)
            dout = K.cast(rng.normal(size=n), dtype)
            args = (x, 1.5) if kind in ("leaky_relu", "elu", "softplus") else (x,)
            pairs = [(lambda d, s: K.activation_backward(kind, d, s, 1.5), (dout, x))]
            if kind != "none":
                pairs.append((getattr(K, kind), args))
            for function, given in pairs:
                found, expected = function(*given), reference(function, *given)
                if dtype == "bfloat16":  # the last bit may differ where float32 does
                    np.testing.assert_allclose(values(found), values(expected), rtol=2**-7)
                else:
                    assert_close(found, expected, factor=4)


@pytest.mark.parametrize("kind", ["relu", "leaky_relu", "elu", "softplus", "gelu", "silu", "sigmoid", "tanh", "step"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_the_cases_meet(kind: str, dtype: str) -> None:
    corners = [np.nan, -np.inf, -21, -1e-9, 0, 1e-9, 0.5, 1, 20, 21, 40, np.inf]
    x = np.array(corners, dtype)
    function = getattr(K, {"step": "relu"}.get(kind, kind))
    assert_close(function(x), reference(function, x), factor=4)
    args = (kind, np.ones_like(x), x, 0.5)
    assert_close(K.activation_backward(*args), reference(K.activation_backward, *args), factor=4)
