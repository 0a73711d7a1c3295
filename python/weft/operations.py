"""Differentiable arithmetic, reductions, shapes and indexing: what Tensor's methods and operators call.

Each operation is a KernelFunction whose backward stands right below its forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import weft.kernels as K
from weft.autograd import KernelFunction
from weft.tensor import Tensor, as_tensor

Dim = int | Sequence[int] | None


def sum_to(gradient: K.Array, shape: tuple[int, ...]) -> K.Array:
    """Undoes broadcasting: sums over the axes along which an operand of `shape` was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    axes = list(range(extra))
    axes += [i + extra for i, n in enumerate(shape) if n == 1 and gradient.shape[i + extra] != 1]
    return K.sum(gradient, tuple(axes)).reshape(shape) if axes else gradient.reshape(shape)


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, K.Array) else ()


# --- arithmetic; an operand may be a Python number ---


class Add(KernelFunction):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> K.Array:
        ctx.shapes = _shape(a), _shape(b)
        return K.add(a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        return (
            sum_to(dout, ctx.shapes[0]) if need_a else None,
            sum_to(dout, ctx.shapes[1]) if need_b else None,
        )


class Sub(KernelFunction):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> K.Array:
        ctx.shapes = _shape(a), _shape(b)
        return K.sub(a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        return (
            sum_to(dout, ctx.shapes[0]) if need_a else None,
            K.neg(sum_to(dout, ctx.shapes[1])) if need_b else None,
        )


def _save_operands(ctx: Any, a: Any, b: Any) -> None:
    """Arrays are saved with their version; numbers are kept as they are."""
    ctx.shapes = _shape(a), _shape(b)
    ctx.numbers = (None if isinstance(a, K.Array) else a, None if isinstance(b, K.Array) else b)
    ctx.save(a if isinstance(a, K.Array) else None, b if isinstance(b, K.Array) else None)


def _operands(ctx: Any) -> tuple[Any, Any]:
    a, b = ctx.saved
    return (ctx.numbers[0] if a is None else a), (ctx.numbers[1] if b is None else b)


class Mul(KernelFunction):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> K.Array:
        _save_operands(ctx, a, b)
        return K.mul(a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        a, b = _operands(ctx)
        need_a, need_b = ctx.needs_input_grad
        return (
            sum_to(K.mul(dout, b), ctx.shapes[0]) if need_a else None,
            sum_to(K.mul(dout, a), ctx.shapes[1]) if need_b else None,
        )


class Div(KernelFunction):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> K.Array:
        _save_operands(ctx, a, b)
        return K.div(a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        a, b = _operands(ctx)
        need_a, need_b = ctx.needs_input_grad
        da = K.div(dout, b)
        return (
            sum_to(da, ctx.shapes[0]) if need_a else None,
            sum_to(K.neg(K.div(K.mul(da, a), b)), ctx.shapes[1]) if need_b else None,
        )


class Pow(KernelFunction):
    """a ** b; db = out log a, 0 where a is 0 and b at least 0."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> K.Array:
        _save_operands(ctx, a, b)
        return K.pow(a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        a, b = _operands(ctx)
        need_a, need_b = ctx.needs_input_grad
        da = db = None
        if need_a:
            if isinstance(b, K.Array):
                slope = K.mul(b, K.pow(a, K.sub(b, 1)))
                slope = K.where(K.eq(b, 0), K.zeros((), dout.dtype), slope)
                da = sum_to(K.mul(dout, slope), ctx.shapes[0])
            elif b == 0:
                da = K.zeros(ctx.shapes[0], dout.dtype)
            elif b == 2:
                da = K.mul(dout, K.mul(a, 2))
            else:
                da = K.mul(dout, K.mul(K.pow(a, b - 1), b))
        if need_b:
            base = a if isinstance(a, K.Array) else K.full((), a, dout.dtype)
            slope = K.mul(K.pow(base, b), K.log(base))
            nothing = K.logical_and(K.eq(base, 0), K.ge(b, 0))
            slope = K.where(nothing, K.zeros((), dout.dtype), slope)
            db = sum_to(K.mul(dout, slope), ctx.shapes[1])
        return da, db


class Extremum(KernelFunction):
    """maximum and minimum of two; where they are equal each gets half, as in torch."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any, larger: bool) -> K.Array:
        _save_operands(ctx, a, b)
        ctx.larger = larger
        return K.maximum(a, b) if larger else K.minimum(a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        a, b = _operands(ctx)
        wins = K.gt(a, b) if ctx.larger else K.lt(a, b)
        share = K.add(K.cast(wins, dout.dtype), K.mul(K.cast(K.eq(a, b), dout.dtype), 0.5))
        need_a, need_b, _ = ctx.needs_input_grad
        to_a = K.mul(dout, share)
        return (
            sum_to(to_a, ctx.shapes[0]) if need_a else None,
            sum_to(K.sub(dout, to_a), ctx.shapes[1]) if need_b else None,
        )


class Where(KernelFunction):
    @staticmethod
    def forward(ctx: Any, condition: K.Array, a: Any, b: Any) -> K.Array:
        ctx.save(condition)
        ctx.shapes = _shape(a), _shape(b)
        return K.where(condition, a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        (condition,) = ctx.saved
        zero = K.zeros((), dout.dtype)
        _, need_a, need_b = ctx.needs_input_grad
        return (
            None,
            sum_to(K.where(condition, dout, zero), ctx.shapes[0]) if need_a else None,
            sum_to(K.where(condition, zero, dout), ctx.shapes[1]) if need_b else None,
        )


# --- functions of one operand ---


class Neg(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        return K.neg(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.neg(dout)


class Abs(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        ctx.save(x)
        return K.abs(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.mul(dout, K.sign(ctx.saved[0]))


class Square(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        ctx.save(x)
        return K.square(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.mul(dout, K.mul(ctx.saved[0], 2))


class Sqrt(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        y = K.sqrt(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.div(dout, K.mul(ctx.saved[0], 2))


class Rsqrt(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        y = K.rsqrt(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        (y,) = ctx.saved
        return K.mul(K.mul(dout, -0.5), K.mul(y, K.square(y)))


class Reciprocal(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        y = K.reciprocal(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.neg(K.mul(dout, K.square(ctx.saved[0])))


class Exp(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        y = K.exp(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.mul(dout, ctx.saved[0])


class Expm1(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        y = K.expm1(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.mul(dout, K.add(ctx.saved[0], 1))


class Log(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        ctx.save(x)
        return K.log(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.div(dout, ctx.saved[0])


class Log1p(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        ctx.save(x)
        return K.log1p(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.div(dout, K.add(ctx.saved[0], 1))


class Sin(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        ctx.save(x)
        return K.sin(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.mul(dout, K.cos(ctx.saved[0]))


class Cos(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        ctx.save(x)
        return K.cos(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.neg(K.mul(dout, K.sin(ctx.saved[0])))


class Erf(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        ctx.save(x)
        return K.erf(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        slope = K.mul(K.exp(K.neg(K.square(ctx.saved[0]))), 2 / math.sqrt(math.pi))
        return K.mul(dout, slope)


class Clip(KernelFunction):
    """The gradient passes where low <= x <= high, as in torch."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, low: float | None, high: float | None) -> K.Array:
        ctx.save(x)
        ctx.bounds = low, high
        return K.clip(x, low, high)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        (x,) = ctx.saved
        low, high = ctx.bounds
        inside = K.eq(x, K.clip(x, low, high))
        return K.mul(dout, K.cast(inside, dout.dtype))


class Cast(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, dtype: Any) -> K.Array:
        ctx.dtype = x.dtype
        return K.cast(x, dtype)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.cast(dout, ctx.dtype)


class Copy(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        return K.copy(x)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return dout


# --- reductions ---


def _axes(dim: Dim, ndim: int) -> tuple[int, ...]:
    """The reduced axes, non-negative and sorted."""
    if dim is None:
        return tuple(range(ndim))
    given = (dim,) if isinstance(dim, int) else tuple(dim)
    return tuple(sorted(d + ndim if d < 0 else d for d in given))


def _with_reduced(x: K.Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> K.Array:
    """A reduction's result (with or without keepdim) as a view that broadcasts against `shape`."""
    return x.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape)))


class Sum(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: Dim, keepdim: bool) -> K.Array:
        ctx.shape, ctx.axes = x.shape, _axes(dim, x.ndim)
        return K.sum(x, dim, keepdim)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return _with_reduced(dout, ctx.shape, ctx.axes).expand(ctx.shape)


class Mean(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: Dim, keepdim: bool) -> K.Array:
        ctx.shape, ctx.axes = x.shape, _axes(dim, x.ndim)
        return K.mean(x, dim, keepdim)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        count = math.prod(ctx.shape[i] for i in ctx.axes)
        share = K.div(dout, float(count)) if count else dout
        return _with_reduced(share, ctx.shape, ctx.axes).expand(ctx.shape)


class Prod(KernelFunction):
    """dx_i = the product of the others; with zeros among them counted apart, so that nothing is divided by zero."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: Dim, keepdim: bool) -> K.Array:
        ctx.axes = _axes(dim, x.ndim)
        ctx.save(x)
        return K.prod(x, dim, keepdim)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        (x,) = ctx.saved
        zero = K.eq(x, 0)
        filled = K.where(zero, K.ones((), x.dtype), x)
        product = K.prod(filled, ctx.axes, True)
        zeros = K.sum(zero, ctx.axes, True)
        others = K.div(product, filled)
        nothing = K.zeros((), x.dtype)
        slope = K.where(K.eq(zeros, 0), others, K.where(K.logical_and(K.eq(zeros, 1), zero), others, nothing))
        return K.mul(_with_reduced(dout, x.shape, ctx.axes), slope)


class Var(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: Dim, keepdim: bool, correction: float) -> K.Array:
        ctx.axes, ctx.correction = _axes(dim, x.ndim), correction
        ctx.save(x)
        return K.var(x, dim, keepdim, correction)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        (x,) = ctx.saved
        count = math.prod(x.shape[i] for i in ctx.axes)
        centred = K.sub(x, K.mean(x, ctx.axes, True))
        factor = 2.0 / (count - ctx.correction) if count > ctx.correction else math.nan
        return K.mul(K.mul(centred, factor), _with_reduced(dout, x.shape, ctx.axes))


class ExtremumOf(KernelFunction):
    """amax, amin: the gradient is shared evenly among equal elements, as in torch."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: Dim, keepdim: bool, largest: bool) -> K.Array:
        ctx.axes = _axes(dim, x.ndim)
        y = K.max(x, dim, keepdim) if largest else K.min(x, dim, keepdim)
        ctx.save(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        x, y = ctx.saved
        chosen = K.cast(K.eq(x, _with_reduced(y, x.shape, ctx.axes)), dout.dtype)
        count = K.sum(chosen, ctx.axes, True)
        return K.mul(K.div(chosen, count), _with_reduced(dout, x.shape, ctx.axes))


class SelectAlong(KernelFunction):
    """x.max(dim), x.min(dim): the values at the indices of argmax or argmin, which get the gradient."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: int, keepdim: bool, largest: bool) -> Any:
        axis = dim + x.ndim if dim < 0 else dim
        index = K.argmax(x, axis, True) if largest else K.argmin(x, axis, True)
        values = K.gather(x, axis, index)
        ctx.shape, ctx.axis = x.shape, axis
        ctx.save(index)
        if not keepdim:
            values, index = values.squeeze(axis), index.squeeze(axis)
        ctx.mark_non_differentiable(index)
        return values, index

    @staticmethod
    def backward(ctx: Any, dout: K.Array, dindex: K.Array | None) -> Any:
        (index,) = ctx.saved
        dx = K.zeros(ctx.shape, dout.dtype)
        K.scatter_add(dx, ctx.axis, index, dout.reshape(index.shape))
        return dx


# --- matrix product ---


class Matmul(KernelFunction):
    @staticmethod
    def forward(ctx: Any, a: K.Array, b: K.Array) -> K.Array:
        ctx.save(a, b)
        return K.matmul(a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        a, b = ctx.saved
        need_a, need_b = ctx.needs_input_grad
        # Vectors count as a row on the left and a column on the right.
        rows = a if a.ndim > 1 else a.unsqueeze(0)
        columns = b if b.ndim > 1 else b.unsqueeze(1)
        if a.ndim == 1:
            dout = dout.unsqueeze(-1 if b.ndim == 1 else dout.ndim - 1)
        if b.ndim == 1:
            dout = dout.unsqueeze(dout.ndim)
        da = db = None
        if need_a:
            da = sum_to(K.matmul(dout, columns.transpose(-1, -2)), rows.shape).reshape(a.shape)
        if need_b:
            db = sum_to(K.matmul(rows.transpose(-1, -2), dout), columns.shape).reshape(b.shape)
        return da, db


# --- shapes ---


class Reshape(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, shape: Sequence[int]) -> K.Array:
        ctx.shape = x.shape
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return dout.reshape(ctx.shape)


class Permute(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, dims: Sequence[int]) -> K.Array:
        dims = [d + x.ndim if d < 0 else d for d in dims]
        ctx.inverse = sorted(range(len(dims)), key=dims.__getitem__)
        return x.permute(dims)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return dout.permute(ctx.inverse)


class Expand(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, shape: Sequence[int]) -> K.Array:
        ctx.shape = x.shape
        return x.expand(shape)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return sum_to(dout, ctx.shape)


class Contiguous(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array) -> K.Array:
        return x.contiguous()

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return dout


class Index(KernelFunction):
    """x[ints, slices, None, ...]: a view."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, index: Any) -> K.Array:
        ctx.shape, ctx.index = x.shape, index
        return x[index]

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        dx = K.zeros(ctx.shape, dout.dtype)
        dx[ctx.index] = dout
        return dx


class IndexSelect(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: int, index: K.Array) -> K.Array:
        ctx.shape, ctx.dim = x.shape, dim
        ctx.save(index)
        return K.index_select(x, dim, index)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        dx = K.zeros(ctx.shape, dout.dtype)
        K.index_add(dx, ctx.dim, ctx.saved[0], dout)
        return dx


class Gather(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: int, index: K.Array) -> K.Array:
        ctx.shape, ctx.dim = x.shape, dim
        ctx.save(index)
        return K.gather(x, dim, index)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        dx = K.zeros(ctx.shape, dout.dtype)
        K.scatter_add(dx, ctx.dim, ctx.saved[0], dout)
        return dx


class Cat(KernelFunction):
    @staticmethod
    def forward(ctx: Any, dim: int, *arrays: K.Array) -> K.Array:
        ctx.axis = dim + arrays[0].ndim if dim < 0 else dim
        ctx.sizes = [a.shape[ctx.axis] if 0 <= ctx.axis < a.ndim else 0 for a in arrays]
        return K.cat(arrays, dim)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        parts: list[Any] = [None]
        start = 0
        for size, need in zip(ctx.sizes, ctx.needs_input_grad[1:], strict=True):
            index = (*[slice(None)] * ctx.axis, slice(start, start + size))
            parts.append(dout[index] if need else None)
            start += size
        return tuple(parts)


class Stack(KernelFunction):
    @staticmethod
    def forward(ctx: Any, dim: int, *arrays: K.Array) -> K.Array:
        ctx.axis = dim + arrays[0].ndim + 1 if dim < 0 else dim
        return K.stack(arrays, dim)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        before = [slice(None)] * ctx.axis
        needs = ctx.needs_input_grad[1:]
        return (None, *(dout[(*before, i)] if need else None for i, need in enumerate(needs)))


class Pad(KernelFunction):
    @staticmethod
    def forward(ctx: Any, x: K.Array, before: Sequence[int], after: Sequence[int], value: float) -> K.Array:
        ctx.widths = before, after
        return K.pad(x, before, after, value)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        before, after = ctx.widths
        return K.pad(dout, [-b for b in before], [-a for a in after], 0.0)


# --- free functions ---


def add(input: Any, other: Any) -> Tensor:
    """input + other, broadcast."""
    return Add.apply(input, other)  # type: ignore[no-any-return]


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
    return Extremum.apply(input, other, True)  # type: ignore[no-any-return]


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of two, elementwise; NaN wins. Where they are equal each gets half of the gradient."""
    return Extremum.apply(input, other, False)  # type: ignore[no-any-return]


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """input where condition (bool) else other, broadcast."""
    return Where.apply(as_tensor(condition), input, other)  # type: ignore[no-any-return]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors along an existing axis. ValueError where the other axes differ."""
    return Cat.apply(dim, *tensors)  # type: ignore[no-any-return]


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors of one shape along a new axis."""
    return Stack.apply(dim, *tensors)  # type: ignore[no-any-return]


def _give_to_tensor() -> None:
    """Tensor's methods call this module, which needs Tensor: the circle is closed here."""
    import sys

    from weft import tensor as tensor_module

    tensor_module._operations = sys.modules[__name__]


_give_to_tensor()
