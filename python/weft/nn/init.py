"""Initial values, written in place and returned, all from weft's own generator (weft.manual_seed).

fan_in is the number of inputs that one output sums over, fan_out the number of outputs that one input
reaches: for a weight (out, in, R, S) they are in R S and out R S.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import weft.kernels as K
from weft._checks import choice, instance, number, shown
from weft.tensor import Tensor


def _array(op: str, tensor: Any) -> K.Array:
    array: K.Array = instance(op, "tensor", tensor, Tensor).array
    return array


def _fans(op: str, tensor: Tensor) -> tuple[int, int]:
    shape = tuple(_array(op, tensor).shape)
    if len(shape) < 2:
        raise ValueError(f"{op}: fan_in and fan_out need at least two axes, got shape {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through a nonlinearity.

    1 for linear, conv2d, sigmoid; 5/3 for tanh; sqrt(2) for relu; sqrt(2 / (1 + param^2)) for leaky_relu
    (param 0.01); 3/4 for selu. ValueError for another name.
    """
    if nonlinearity == "leaky_relu":
        slope = number("calculate_gain", "param", 0.01 if param is None else param, finite=True)
        return math.sqrt(2 / (1 + slope**2))
    gains = {
        "linear": 1.0,
        "conv2d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "selu": 0.75,
    }
    if not isinstance(nonlinearity, str) or nonlinearity not in gains:
        known = ", ".join([*gains, "leaky_relu"])
        raise ValueError(f"calculate_gain: expected one of {known}; got {shown(nonlinearity)}")
    return gains[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b). ValueError unless a <= b."""
    if not number("uniform_", "a", a, nan=True) <= number("uniform_", "b", b, nan=True):
        raise ValueError(f"uniform_: a must not exceed b, got a={a}, b={b}")
    K.fill_uniform(_array("uniform_", tensor), a, b, generator=generator)
    tensor.array.bump_version()
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with the given mean and standard deviation. ValueError unless std >= 0."""
    number("normal_", "mean", mean, nan=True)
    number("normal_", "std", std, 0)
    K.fill_normal(_array("normal_", tensor), mean, std, generator=generator)
    tensor.array.bump_version()
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element `val`."""
    K.fill(_array("constant_", tensor), number("constant_", "val", val, nan=True))
    tensor.array.bump_version()
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1."""
    return constant_(tensor, 1.0)


def _uniform_of_std(tensor: Tensor, std: float, generator: Any) -> Tensor:
    bound = math.sqrt(3.0) * std  # the variance of U(-b, b) is b^2 / 3
    return uniform_(tensor, -bound, bound, generator)


def _xavier_std(op: str, tensor: Tensor, gain: float) -> float:
    fan_in, fan_out = _fans(op, tensor)
    return number(op, "gain", gain) * math.sqrt(2.0 / max(1, fan_in + fan_out))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with variance gain^2 2 / (fan_in + fan_out). Source: Glorot, Bengio 2010."""
    return _uniform_of_std(tensor, _xavier_std("xavier_uniform_", tensor, gain), generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with variance gain^2 2 / (fan_in + fan_out). Source: Glorot, Bengio 2010."""
    return normal_(tensor, 0.0, _xavier_std("xavier_normal_", tensor, gain), generator)


def _kaiming_std(op: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    choice(op, "mode", mode, ("fan_in", "fan_out"))
    fan = _fans(op, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform with variance gain^2 / fan; a is leaky_relu's slope. Source: He et al. 2015."""
    std = _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return _uniform_of_std(tensor, std, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with variance gain^2 / fan; a is leaky_relu's slope. Source: He et al. 2015."""
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def lecun_uniform_(tensor: Tensor, generator: Any = None) -> Tensor:
    """Uniform with variance 1 / fan_in. Source: LeCun et al., "Efficient BackProp", 1998."""
    fan_in, _ = _fans("lecun_uniform_", tensor)
    return _uniform_of_std(tensor, 1 / math.sqrt(max(1, fan_in)), generator)


def lecun_normal_(tensor: Tensor, generator: Any = None) -> Tensor:
    """Normal with variance 1 / fan_in. Source: LeCun et al., "Efficient BackProp", 1998."""
    fan_in, _ = _fans("lecun_normal_", tensor)
    return normal_(tensor, 0.0, 1 / math.sqrt(max(1, fan_in)), generator)


def _orthonormal_rows(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Gram-Schmidt, each row projected twice, which keeps it accurate to the last bits.

    Sums by NumPy and not by a BLAS, whose bits depend on its threads. Source: Giraud et al. 2005.
    """
    for i, row in enumerate(rows):
        for _ in range(2):
            row -= (rows[:i] * (rows[:i] * row).sum(axis=1, keepdims=True)).sum(axis=0)
        row /= np.sqrt((row * row).sum())
    return rows


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """gain times a random orthogonal matrix, seen as (shape[0], the rest): its rows or its columns, whichever
    are fewer, are orthonormal. Source: Saxe et al. 2013.

    ValueError for fewer than two axes.
    """
    shape = tuple(_array("orthogonal_", tensor).shape)
    number("orthogonal_", "gain", gain)
    if len(shape) < 2:
        raise ValueError(f"orthogonal_: expected at least two axes, got shape {shape}")
    if 0 in shape:
        return tensor
    rows, columns = shape[0], math.prod(shape[1:])
    few, many = min(rows, columns), max(rows, columns)
    basis = _orthonormal_rows(K.normal((few, many), dtype="float64", generator=generator).numpy().copy())
    matrix = gain * (basis if rows <= columns else basis.T)
    K.copy_into(tensor.array, np.ascontiguousarray(matrix.reshape(shape)))
    tensor.array.bump_version()
    return tensor
