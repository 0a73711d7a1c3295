"""Differentiable operations that move elements: views, indexing, joining, padding.

Each operation is a KernelFunction whose backward stands right below its forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import weft.kernels as K
from weft._arithmetic import sum_to
from weft._checks import integer
from weft.autograd import KernelFunction


class Reshape(KernelFunction):
    """The same elements in another shape; dout goes back to the old one."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, shape: Sequence[int]) -> K.Array:
        ctx.shape = x.shape
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return dout.reshape(ctx.shape)


class Permute(KernelFunction):
    """The axes in another order; dout in the inverse order."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dims: Sequence[int]) -> K.Array:
        dims = [d + x.ndim if integer("permute", "a dim", d) < 0 else d for d in dims]
        ctx.inverse = sorted(range(len(dims)), key=dims.__getitem__)
        return x.permute(dims)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return dout.permute(ctx.inverse)


class Expand(KernelFunction):
    """A view broadcast to a shape; dout summed over the repeated axes."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, shape: Sequence[int]) -> K.Array:
        ctx.shape = x.shape
        return x.expand(shape)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return sum_to(dout, ctx.shape)


class Contiguous(KernelFunction):
    """The same elements in memory of another order; dx = dout."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, memory_format: K.MemoryFormat) -> K.Array:
        return x.contiguous(memory_format)

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
        dx = K.zeros(ctx.shape, dout.dtype, dout.device)
        dx[ctx.index] = dout
        return dx


class IndexSelect(KernelFunction):
    """Slices along an axis; dout is added to the slices that were read."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: int, index: K.Array) -> K.Array:
        ctx.shape, ctx.dim = x.shape, dim
        ctx.save(index)
        return K.index_select(x, dim, index)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        dx = K.zeros(ctx.shape, dout.dtype, dout.device)
        K.index_add(dx, ctx.dim, ctx.saved[0], dout)
        return dx


class Gather(KernelFunction):
    """Elements along an axis; dout is added to the elements that were read."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dim: int, index: K.Array) -> K.Array:
        ctx.shape, ctx.dim = x.shape, dim
        ctx.save(index)
        return K.gather(x, dim, index)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        dx = K.zeros(ctx.shape, dout.dtype, dout.device)
        K.scatter_add(dx, ctx.dim, ctx.saved[0], dout)
        return dx


class Cat(KernelFunction):
    """Joined along an axis; each gets its piece of dout."""

    @staticmethod
    def forward(ctx: Any, dim: int, *arrays: K.Array) -> K.Array:
        out = K.cat(arrays, dim)
        ctx.axis = dim % out.ndim
        ctx.sizes = [a.shape[ctx.axis] for a in arrays]
        return out

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
    """Joined along a new axis; each gets its slice of dout."""

    @staticmethod
    def forward(ctx: Any, dim: int, *arrays: K.Array) -> K.Array:
        out = K.stack(arrays, dim)
        ctx.axis = dim % out.ndim
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        before = [slice(None)] * ctx.axis
        parts: list[Any] = [None]
        for i, need in enumerate(ctx.needs_input_grad[1:]):
            index = (*before, i)
            parts.append(dout[index] if need else None)
        return tuple(parts)


class Pad(KernelFunction):
    """`value` around x; dout without the border."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, before: Sequence[int], after: Sequence[int], value: float) -> K.Array:
        ctx.widths = before, after
        return K.pad(x, before, after, value)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        before, after = ctx.widths
        return K.pad(dout, [-b for b in before], [-a for a in after], 0.0)
