"""Initial values: their moments, their bounds, and that the seed decides them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from weft import nn
from weft.nn import init
from weft.tensor import Tensor

SHAPE = (64, 32, 3, 5)  # fan_in 480, fan_out 960
DRAWN = {
    "uniform_": 1 / math.sqrt(12),
    "normal_": 1.0,
    "xavier_uniform_": math.sqrt(2 / 1440),
    "xavier_normal_": math.sqrt(2 / 1440),
    "kaiming_uniform_": math.sqrt(2 / 480),
    "kaiming_normal_": math.sqrt(2 / 480),
    "lecun_uniform_": math.sqrt(1 / 480),
    "lecun_normal_": math.sqrt(1 / 480),
}


def drawn(function: Any, *args: Any, shape: tuple[int, ...] = SHAPE, seed: int = 3, **kwargs: Any) -> np.ndarray:
    K.manual_seed(seed)
    tensor = Tensor(K.empty(shape, "float64"))
    assert function(tensor, *args, **kwargs) is tensor
    return np.asarray(tensor.array).copy()


@pytest.mark.parametrize("name", DRAWN)
def test_moments_and_seed(name: str) -> None:
    function, std = getattr(init, name), DRAWN[name]
    x = drawn(function)
    mean = 0.5 if name == "uniform_" else 0.0
    assert abs(x.mean() - mean) < 5 * std / math.sqrt(x.size)
    assert abs(x.std() / std - 1) < 0.02
    if "uniform" in name:
        assert np.abs(x - mean).max() <= math.sqrt(3) * std * (1 + 1e-9)
    else:
        assert np.abs(x).max() > 3 * std
    assert (x == drawn(function)).all()
    assert (x != drawn(function, seed=4)).any()


def test_fan_out_and_slope() -> None:
    x = drawn(init.kaiming_normal_, a=1.0, mode="fan_out")
    assert abs(x.std() * math.sqrt(960) - 1) < 0.02


def test_constants() -> None:
    assert (drawn(init.constant_, 2.5) == 2.5).all()
    assert (drawn(init.zeros_) == 0).all()
    assert (drawn(init.ones_) == 1).all()


@pytest.mark.parametrize("shape", [(7, 7), (3, 11), (11, 3), (4, 2, 3, 3), (1, 5), (0, 3)], ids=str)
def test_orthogonal(shape: tuple[int, ...]) -> None:
    x = drawn(init.orthogonal_, 2.0, shape=shape).reshape(shape[0], math.prod(shape[1:]))
    product = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-13)


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gain_is_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize("layer", [lambda: nn.Linear(480, 100), lambda: nn.Conv2d(32, 100, (3, 5))])
def test_layers_start_as_in_torch(layer: Any) -> None:
    K.manual_seed(0)
    first, bound = layer(), 1 / math.sqrt(480)
    for parameter in first.parameters():
        x = np.asarray(parameter.array)
        assert bound * 0.9 < np.abs(x).max() <= bound * (1 + 1e-6)
    K.manual_seed(0)
    for a, b in zip(first.parameters(), layer().parameters(), strict=True):
        assert (np.asarray(a.array) == np.asarray(b.array)).all()


def test_errors() -> None:
    x = Tensor(K.empty((3,)))
    with pytest.raises(ValueError, match=r"lecun_normal_: fan_in .* at least two axes, got shape \(3,\)"):
        init.lecun_normal_(x)
    with pytest.raises(ValueError, match=r"orthogonal_: expected at least two axes, got shape \(3,\)"):
        init.orthogonal_(x)
    with pytest.raises(ValueError, match="uniform_: a must not exceed b, got a=1.0, b=0.0"):
        init.uniform_(x, 1.0, 0.0)
    with pytest.raises(ValueError, match="normal_: std must not be negative, got -1"):
        init.normal_(x, std=-1)
    with pytest.raises(ValueError, match="kaiming_normal_: mode must be 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_normal_(Tensor(K.empty((2, 2))), mode="fan")
    with pytest.raises(ValueError, match="calculate_gain: expected one of linear, .*; got 'swish'"):
        init.calculate_gain("swish")
