"""Differentiable reductions: sum, mean, product, variance, largest and smallest.

Each operation is a KernelFunction whose backward stands right below its forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import weft.kernels as K
from weft._checks import integer, shown
from weft.autograd.function import KernelFunction, Outputs

Dim = int | Sequence[int] | None


def _axes(dim: Dim, ndim: int) -> tuple[int, ...]:
    """The reduced axes, non-negative and sorted."""
    if dim is None:
        return tuple(range(ndim))
    try:
        given = (dim,) if isinstance(dim, int) else tuple(dim)
        return tuple(sorted(d + ndim if d < 0 else d for d in given))
    except TypeError:
        raise TypeError(f"reduction: dim must be an int or several, got {shown(dim)}") from None


def _with_reduced(x: K.Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> K.Array:
    """A reduction's result (with or without keepdim) as a view that broadcasts against `shape`."""
    return x.reshape(tuple(1 if i in axes else n for i, n in enumerate(shape)))


class Sum(KernelFunction):
    """The sum; every element gets dout."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: Dim, keepdim: bool) -> K.Array:
        ctx.shape, ctx.axes = x.shape, _axes(dim, x.ndim)
        return K.sum(x, dim, keepdim)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return _with_reduced(dout, ctx.shape, ctx.axes).expand(ctx.shape)


class Mean(KernelFunction):
    """The mean of n elements; every one gets dout / n."""

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
        filled = K.where(zero, K.ones((), x.dtype, x.device), x)
        product = K.prod(filled, ctx.axes, True)
        zeros = K.sum(zero, ctx.axes, True)
        others = K.div(product, filled)
        nothing = K.zeros((), x.dtype, x.device)
        slope = K.where(K.eq(zeros, 0), others, K.where(K.logical_and(K.eq(zeros, 1), zero), others, nothing))
        return K.mul(_with_reduced(dout, x.shape, ctx.axes), slope)


class Var(KernelFunction):
    """Sum of (x - mean)^2 by n - correction; dx = dout 2 (x - mean) / (n - correction)."""

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


class SelectAlong(Outputs):
    """x.max(dim), x.min(dim): the values at the indices of argmax or argmin, which get the gradient."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: int, keepdim: bool, largest: bool) -> Any:
        integer("reduction", "dim", dim)
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
        dx = K.zeros(ctx.shape, dout.dtype, dout.device)
        K.scatter_add(dx, ctx.axis, index, dout.reshape(index.shape))
        return dx
