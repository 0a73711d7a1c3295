"""Differentiable arithmetic, reductions, shapes and indexing: every operation, and the free functions.

The operations stand in three modules: _arithmetic, _reductions and _shapes. Tensor's methods call them directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft._arithmetic import (
    Add,
    Cast,
    Clip,
    Copy,
    Div,
    Extremum,
    Matmul,
    Mul,
    Pow,
    Sub,
    Where,
    sum_to,
)
from weft._checks import integer, sequence
from weft._operators import operand
from weft._reductions import (
    ExtremumOf,
    Mean,
    Prod,
    SelectAlong,
    Sum,
    Var,
)
from weft._shapes import (
    Cat,
    Contiguous,
    Expand,
    Gather,
    Index,
    IndexSelect,
    Pad,
    Permute,
    Reshape,
    Stack,
)
from weft.tensor import Tensor, as_tensor

__all__ = [
    "Add",
    "Cast",
    "Cat",
    "Clip",
    "Contiguous",
    "Copy",
    "Div",
    "Expand",
    "Extremum",
    "ExtremumOf",
    "Gather",
    "Index",
    "IndexSelect",
    "Matmul",
    "Mean",
    "Mul",
    "Pad",
    "Permute",
    "Pow",
    "Prod",
    "Reshape",
    "SelectAlong",
    "Stack",
    "Sub",
    "Sum",
    "Var",
    "Where",
    "add",
    "cat",
    "exp",
    "log",
    "matmul",
    "maximum",
    "minimum",
    "sqrt",
    "stack",
    "sum_to",
    "where",
]


def add(input: Any, other: Any) -> Tensor:
    """input + other, broadcast. ValueError for shapes that do not; TypeError for different dtypes."""
    return Add.apply(operand(input), operand(other))


def matmul(input: Any, other: Any) -> Tensor:
    """Matrix product (..., M, K) x (..., K, N) -> (..., M, N), as numpy.matmul. ValueError for other shapes."""
    return Matmul.apply(as_tensor(input), as_tensor(other))


def exp(input: Any) -> Tensor:
    """e ** input."""
    return as_tensor(input).exp()


def log(input: Any) -> Tensor:
    """The natural logarithm."""
    return as_tensor(input).log()


def sqrt(input: Any) -> Tensor:
    """The square root."""
    return as_tensor(input).sqrt()


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of two, elementwise; NaN wins. Where they are equal each gets half of the gradient."""
    return Extremum.apply(operand(input), operand(other), True)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two, elementwise; NaN wins. Where they are equal each gets half of the gradient."""
    return Extremum.apply(operand(input), operand(other), False)


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """input where condition (bool) else other, broadcast."""
    return Where.apply(as_tensor(condition), operand(input), operand(other))


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors along an existing axis. ValueError where the other axes differ."""
    return Cat.apply(integer("cat", "dim", dim), *map(as_tensor, sequence("cat", "tensors", tensors)))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors of one shape along a new axis."""
    return Stack.apply(integer("stack", "dim", dim), *map(as_tensor, sequence("stack", "tensors", tensors)))
