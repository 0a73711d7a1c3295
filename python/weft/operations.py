"""Differentiable arithmetic, reductions, shapes and indexing: every operation, and the free functions.

The operations stand in three modules: _arithmetic, _reductions and _shapes. Tensor's methods call them directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft._arithmetic import (
    Abs,
    Add,
    Cast,
    Clip,
    Copy,
    Cos,
    Div,
    Erf,
    Exp,
    Expm1,
    Extremum,
    Log,
    Log1p,
    Matmul,
    Mul,
    Neg,
    Pow,
    Reciprocal,
    Rsqrt,
    Sin,
    Sqrt,
    Square,
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
    "Abs",
    "Add",
    "Cast",
    "Cat",
    "Clip",
    "Contiguous",
    "Copy",
    "Cos",
    "Div",
    "Erf",
    "Exp",
    "Expand",
    "Expm1",
    "Extremum",
    "ExtremumOf",
    "Gather",
    "Index",
    "IndexSelect",
    "Log",
    "Log1p",
    "Matmul",
    "Mean",
    "Mul",
    "Neg",
    "Pad",
    "Permute",
    "Pow",
    "Prod",
    "Reciprocal",
    "Reshape",
    "Rsqrt",
    "SelectAlong",
    "Sin",
    "Sqrt",
    "Square",
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
    return Add.apply(operand(input), operand(other))  # type: ignore[no-any-return]


def matmul(input: Any, other: Any) -> Tensor:
    """Matrix product (..., M, K) x (..., K, N) -> (..., M, N), as numpy.matmul. ValueError for other shapes."""
    return Matmul.apply(as_tensor(input), as_tensor(other))  # type: ignore[no-any-return]


def exp(input: Any) -> Tensor:
    """e ** input."""
    return Exp.apply(as_tensor(input))  # type: ignore[no-any-return]


def log(input: Any) -> Tensor:
    """The natural logarithm."""
    return Log.apply(as_tensor(input))  # type: ignore[no-any-return]


def sqrt(input: Any) -> Tensor:
    """The square root."""
    return Sqrt.apply(as_tensor(input))  # type: ignore[no-any-return]


def maximum(input: Any, other: Any) -> Tensor:
    """The larger of two, elementwise; NaN wins. Where they are equal each gets half of the gradient."""
    return Extremum.apply(operand(input), operand(other), True)  # type: ignore[no-any-return]


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two, elementwise; NaN wins. Where they are equal each gets half of the gradient."""
    return Extremum.apply(operand(input), operand(other), False)  # type: ignore[no-any-return]


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """input where condition (bool) else other, broadcast."""
    return Where.apply(as_tensor(condition), operand(input), operand(other))  # type: ignore[no-any-return]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors along an existing axis. ValueError where the other axes differ."""
    return Cat.apply(integer("cat", "dim", dim), *map(as_tensor, sequence("cat", "tensors", tensors)))  # type: ignore[no-any-return]


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors of one shape along a new axis."""
    return Stack.apply(integer("stack", "dim", dim), *map(as_tensor, sequence("stack", "tensors", tensors)))  # type: ignore[no-any-return]
