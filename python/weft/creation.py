"""Making tensors, with torch's names, and the seed of the random ones."""

from __future__ import annotations

from typing import Any

import numpy as np

import weft.kernels as K
from weft._checks import instance, integer, number
from weft._operators import raw
from weft.tensor import Tensor


def _shape(given: tuple[Any, ...]) -> Any:
    return given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _make(array: K.Array, requires_grad: bool) -> Tensor:
    tensor = Tensor(array)
    return tensor.requires_grad_() if requires_grad else tensor


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """A tensor with its own copy of `data`: numbers, nested lists, NumPy arrays, tensors. Python floats become float32.

    device: "cpu", "cuda", "cuda:1"; by default that of set_default_device, where `data` comes from Python or NumPy.

    TypeError for what is no number or has another dtype than float32, float64, int64, int32, uint8,
    bool or bfloat16.
    """
    array = K.asarray(raw(data), dtype, device)
    return _make(K.copy(array, K.MemoryFormat.contiguous_format), requires_grad)


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor over the memory of a NumPy array."""
    return Tensor(K.asarray(array))


def empty(*shape: Any, dtype: Any = "float32", requires_grad: bool = False, device: Any = None) -> Tensor:
    """Elements that are not set."""
    return _make(K.empty(_shape(shape), dtype, device), requires_grad)


def zeros(*shape: Any, dtype: Any = "float32", requires_grad: bool = False, device: Any = None) -> Tensor:
    """Zeros of a shape, given as ints or a tuple."""
    return _make(K.zeros(_shape(shape), dtype, device), requires_grad)


def ones(*shape: Any, dtype: Any = "float32", requires_grad: bool = False, device: Any = None) -> Tensor:
    """Ones of a shape, given as ints or a tuple."""
    return _make(K.ones(_shape(shape), dtype, device), requires_grad)


def full(
    shape: Any, fill_value: Any, dtype: Any = "float32", requires_grad: bool = False, device: Any = None
) -> Tensor:
    """One number everywhere."""
    return _make(K.full(shape, fill_value, dtype, device), requires_grad)


def zeros_like(input: Tensor) -> Tensor:
    """Zeros of the shape, dtype and memory order of `input`."""
    return full_like(input, 0)


def ones_like(input: Tensor) -> Tensor:
    """Ones of the shape, dtype and memory order of `input`."""
    return full_like(input, 1)


def full_like(input: Tensor, fill_value: Any) -> Tensor:
    """One number everywhere, in the shape, dtype and memory order of `input`."""
    out = K.empty_like(instance("full_like", "input", input, Tensor).array)
    if not isinstance(fill_value, (int, float)):
        number("full_like", "fill_value", fill_value, nan=True)
    K.fill(out, fill_value)
    return Tensor(out)


def arange(start: Any, end: Any = None, step: Any = 1, dtype: Any = None, device: Any = None) -> Tensor:
    """start, start + step, ... up to but without end; with one argument from 0."""
    for name, value in (("start", start), ("end", 0 if end is None else end), ("step", step)):
        number("arange", name, value, nan=True)
    return Tensor(K.arange(start, end, step, dtype, device))


def eye(n: int, m: int | None = None, dtype: Any = "float32", device: Any = None) -> Tensor:
    """1 on the diagonal, 0 elsewhere; (n, m)."""
    rows = integer("eye", "n", n, 0)
    return Tensor(K.asarray(np.eye(rows, None if m is None else integer("eye", "m", m, 0)), dtype, device))


def linspace(start: float, end: float, steps: int, dtype: Any = "float32", device: Any = None) -> Tensor:
    """`steps` numbers evenly from start to end, both included."""
    ends = number("linspace", "start", start, nan=True), number("linspace", "end", end, nan=True)
    return Tensor(K.asarray(np.linspace(*ends, integer("linspace", "steps", steps, 0)), dtype, device))


def rand(
    *shape: Any, dtype: Any = "float32", generator: Any = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Uniform in [0, 1)."""
    return _make(K.uniform(_shape(shape), 0.0, 1.0, dtype, generator, device), requires_grad)


def randn(
    *shape: Any, dtype: Any = "float32", generator: Any = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    return _make(K.normal(_shape(shape), 0.0, 1.0, dtype, generator, device), requires_grad)


def randint(low: int, high: int, shape: Any, dtype: Any = "int64", generator: Any = None, device: Any = None) -> Tensor:
    """Whole numbers in [low, high)."""
    return Tensor(K.randint(shape, low, high, dtype, generator, device))


def randperm(n: int, generator: Any = None, device: Any = None) -> Tensor:
    """The numbers 0 .. n-1 in random order: drawn on the cpu, whatever the device."""
    return Tensor(K.to(K.randperm(n, generator), device or K.default_device()))


def set_default_device(device: str) -> None:
    """Where new tensors come to lie when nothing else is said, for the whole process: "cpu", "cuda", "cuda:1".

    Lists, numbers and NumPy arrays that a function is given go there too. RuntimeError where it cannot be used.
    """
    K.set_default_device(device)


def get_default_device() -> str:
    """The setting of set_default_device; "cpu" at first."""
    return K.default_device()


def manual_seed(seed: int) -> None:
    """Starts the default generators of all devices anew: the same seed gives the same numbers, on each device."""
    K.manual_seed(seed)
