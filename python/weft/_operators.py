"""Tensor's operators, elementwise methods and reductions; the operations are in _arithmetic and _reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import weft.kernels as K
from weft import _arithmetic, _base, _reductions
from weft._base import TensorBase
from weft.autograd import KernelFunction

if TYPE_CHECKING:
    from weft.tensor import Tensor

Dim = int | Sequence[int] | None


def _tensor(array: K.Array) -> Tensor:
    return _base.tensor_type(array)


def as_tensor(value: Any) -> Tensor:
    """`value` itself where it is a Tensor, else a Tensor over it (see weft.kernels.asarray).

    TypeError for what makes no array of numbers.
    """
    if isinstance(value, Operators):
        return value  # type: ignore[return-value]
    if value is None:
        raise TypeError("tensor: expected a tensor, an array or a number, got None")
    return _tensor(K.asarray(value))


def raw(value: Any) -> Any:
    """What a function of weft.kernels takes: a Tensor's Array, anything else as it is."""
    if value is None:
        raise TypeError("tensor: expected a tensor, an array or a number, got None")
    return value.array if isinstance(value, Operators) else value


def operand(value: Any) -> Any:
    """A number stays one (it takes the other operand's dtype); anything else becomes a Tensor."""
    return value if isinstance(value, (Operators, int, float)) else as_tensor(value)


def is_comparable(value: Any) -> bool:
    """Whether == compares elements. With anything else, such as None or a str, a tensor is just not equal."""
    kinds = (int, float, list, tuple, np.ndarray, np.generic, K.Array, Operators)
    return isinstance(value, kinds) or hasattr(value, "__dlpack__")


def _arithmetic_operator(
    kernel: Callable[..., K.Array], function: type[KernelFunction]
) -> Callable[[Any, Any], Tensor]:
    """self (op) other. Two tensors without a gradient go straight to the kernel: on a few numbers the tape's
    bookkeeping, even to find that there is nothing to record, takes longer than the sum."""

    def operator(self: Any, other: Any) -> Tensor:
        if isinstance(other, Operators) and not (self.requires_grad or other.requires_grad):
            return _base.tensor_type(kernel(self.array, other.array))
        return function.apply(self, operand(other))

    return operator


def _method(kernel: Callable[..., K.Array]) -> Callable[[Any], Tensor]:
    """self.kernel(), elementwise: on the tape where it has a slope."""
    function = _arithmetic.ELEMENTWISE.get(kernel.__name__)

    def method(self: Any) -> Tensor:
        return function.apply(self) if function else _tensor(kernel(self.array))

    method.__name__ = method.__qualname__ = kernel.__name__
    # The kernel's docstring: its signature, the formula, its arguments.
    formula = (kernel.__doc__ or "").split("\n\n")[1]
    method.__doc__ = formula if function else f"{formula} No gradient."
    return method


class Operators(TensorBase):
    """The part of Tensor that computes elementwise or reduces; Tensor is its only subclass."""

    __slots__ = ()

    __add__ = __radd__ = _arithmetic_operator(K.add, _arithmetic.Add)
    __sub__ = _arithmetic_operator(K.sub, _arithmetic.Sub)
    __mul__ = __rmul__ = _arithmetic_operator(K.mul, _arithmetic.Mul)
    __truediv__ = _arithmetic_operator(K.div, _arithmetic.Div)

    def __rsub__(self, other: Any) -> Tensor:
        return _arithmetic.Sub.apply(operand(other), self)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _arithmetic.Div.apply(operand(other), self)

    def __pow__(self, other: Any) -> Tensor:
        return _arithmetic.Pow.apply(self, operand(other))

    def __rpow__(self, other: Any) -> Tensor:
        return _arithmetic.Pow.apply(operand(other), self)

    def __matmul__(self, other: Any) -> Tensor:
        return _arithmetic.Matmul.apply(self, as_tensor(other))

    def __rmatmul__(self, other: Any) -> Tensor:
        return _arithmetic.Matmul.apply(as_tensor(other), self)

    __neg__ = _method(K.neg)
    __abs__ = _method(K.abs)

    def __floordiv__(self, other: Any) -> Tensor:
        return _tensor(K.floor_divide(self.array, raw(other)))

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _tensor(K.floor_divide(raw(other), self.array))

    def __rmod__(self, other: Any) -> Tensor:
        return _tensor(K.remainder(raw(other), self.array))

    def __mod__(self, other: Any) -> Tensor:
        return _tensor(K.remainder(self.array, raw(other)))

    def __invert__(self) -> Tensor:
        return _tensor(K.logical_not(self.array))

    def __and__(self, other: Any) -> Tensor:
        return _tensor(K.logical_and(self.array, raw(other)))

    def __or__(self, other: Any) -> Tensor:
        return _tensor(K.logical_or(self.array, raw(other)))

    def __xor__(self, other: Any) -> Tensor:
        return _tensor(K.logical_xor(self.array, raw(other)))

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return _tensor(K.eq(self.array, raw(other))) if is_comparable(other) else NotImplemented

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return _tensor(K.ne(self.array, raw(other))) if is_comparable(other) else NotImplemented

    def __lt__(self, other: Any) -> Tensor:
        return _tensor(K.lt(self.array, raw(other)))

    def __le__(self, other: Any) -> Tensor:
        return _tensor(K.le(self.array, raw(other)))

    def __gt__(self, other: Any) -> Tensor:
        return _tensor(K.gt(self.array, raw(other)))

    def __ge__(self, other: Any) -> Tensor:
        return _tensor(K.ge(self.array, raw(other)))

    def matmul(self, other: Any) -> Tensor:
        """The matrix product with other; see weft.matmul."""
        return _arithmetic.Matmul.apply(self, as_tensor(other))

    def add(self, other: Any) -> Tensor:
        """self + other, broadcast."""
        return _arithmetic.Add.apply(self, operand(other))

    def sub(self, other: Any) -> Tensor:
        """self - other, broadcast."""
        return _arithmetic.Sub.apply(self, operand(other))

    def mul(self, other: Any) -> Tensor:
        """self * other, broadcast."""
        return _arithmetic.Mul.apply(self, operand(other))

    def div(self, other: Any) -> Tensor:
        """self / other, broadcast."""
        return _arithmetic.Div.apply(self, operand(other))

    def pow(self, exponent: Any) -> Tensor:
        """self to the power of exponent, broadcast."""
        return _arithmetic.Pow.apply(self, operand(exponent))

    # Of one operand; a function without a slope in _arithmetic.ELEMENTWISE records nothing.
    neg = _method(K.neg)
    abs = _method(K.abs)
    square = _method(K.square)
    sqrt = _method(K.sqrt)
    rsqrt = _method(K.rsqrt)
    reciprocal = _method(K.reciprocal)
    exp = _method(K.exp)
    expm1 = _method(K.expm1)
    log = _method(K.log)
    log1p = _method(K.log1p)
    sin = _method(K.sin)
    cos = _method(K.cos)
    erf = _method(K.erf)
    erfc = _method(K.erfc)
    sign = _method(K.sign)
    floor = _method(K.floor)
    ceil = _method(K.ceil)
    round = _method(K.round)
    trunc = _method(K.trunc)
    isnan = _method(K.isnan)
    isfinite = _method(K.isfinite)

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        """Elements below min become min, those above max become max; there the gradient is 0."""
        return _arithmetic.Clip.apply(self, min, max)

    clamp = clip

    # --- reductions ---

    def sum(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The sum over `dim` (an int, several, or all axes where None)."""
        return _reductions.Sum.apply(self, dim, keepdim)

    def mean(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The mean over `dim` (an int, several, or all axes where None)."""
        return _reductions.Mean.apply(self, dim, keepdim)

    def prod(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The product over `dim` (an int, several, or all axes where None)."""
        return _reductions.Prod.apply(self, dim, keepdim)

    def var(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        """Sum of squared differences from the mean, by n - correction."""
        return _reductions.Var.apply(self, dim, keepdim, correction)

    def std(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        """The square root of var."""
        return self.var(dim, correction, keepdim).sqrt()

    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The largest; equal ones share the gradient."""
        return _reductions.ExtremumOf.apply(self, dim, keepdim, True)

    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The smallest; equal ones share the gradient."""
        return _reductions.ExtremumOf.apply(self, dim, keepdim, False)

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The largest of all, or with `dim` (values, indices): then the first of equal ones gets the gradient."""
        if dim is None:
            return self.amax()
        return _reductions.SelectAlong.apply(self, dim, keepdim, True)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest of all, or with `dim` (values, indices): then the first of equal ones gets the gradient."""
        if dim is None:
            return self.amin()
        return _reductions.SelectAlong.apply(self, dim, keepdim, False)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """The index of the largest along `dim`, or in the flattened tensor; the first of equal ones."""
        return _tensor(K.argmax(self.array, dim, keepdim))

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """The index of the smallest along `dim`, or in the flattened tensor; the first of equal ones."""
        return _tensor(K.argmin(self.array, dim, keepdim))

    def any(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Whether some element differs from 0."""
        return _tensor(K.any(self.array, dim, keepdim))

    def all(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """Whether every element differs from 0."""
        return _tensor(K.all(self.array, dim, keepdim))
