"""Differentiable arithmetic: elementwise functions of one and two operands, and the matrix product.

Each operation is a KernelFunction whose backward stands right below its forward; functions of one operand are a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import weft.kernels as K
from weft.autograd import KernelFunction


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
    """a + b; da = db = dout, summed over the axes that were broadcast."""

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
    """a - b; da = dout, db = -dout."""

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
    """a b; da = dout b, db = dout a."""

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
    """a / b; da = dout / b, db = -dout a / b^2."""

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
                slope = K.where(K.eq(b, 0), K.zeros((), dout.dtype, dout.device), slope)
                da = sum_to(K.mul(dout, slope), ctx.shapes[0])
            elif b == 0:
                da = K.zeros(ctx.shapes[0], dout.dtype, dout.device)
            elif b == 2:
                da = K.mul(dout, K.mul(a, 2))
            else:
                da = K.mul(dout, K.mul(K.pow(a, b - 1), b))
        if need_b:
            base = a if isinstance(a, K.Array) else K.full((), a, dout.dtype, dout.device)
            slope = K.mul(K.pow(base, b), K.log(base))
            nothing = K.logical_and(K.eq(base, 0), K.ge(b, 0))
            slope = K.where(nothing, K.zeros((), dout.dtype, dout.device), slope)
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
        zero = K.zeros((), dout.dtype, dout.device)
        share = K.where(K.eq(a, b), K.mul(dout, 0.5), dout)
        need_a, need_b, _ = ctx.needs_input_grad
        loses, wins = (K.lt(a, b), K.gt(a, b)) if ctx.larger else (K.gt(a, b), K.lt(a, b))
        return (
            sum_to(K.where(loses, zero, share), ctx.shapes[0]) if need_a else None,
            sum_to(K.where(wins, zero, share), ctx.shapes[1]) if need_b else None,
        )


class Where(KernelFunction):
    """a where condition, else b; each gets dout where it was chosen."""

    @staticmethod
    def forward(ctx: Any, condition: K.Array, a: Any, b: Any) -> K.Array:
        ctx.save(condition)
        ctx.shapes = _shape(a), _shape(b)
        return K.where(condition, a, b)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        (condition,) = ctx.saved
        zero = K.zeros((), dout.dtype, dout.device)
        _, need_a, need_b = ctx.needs_input_grad
        return (
            None,
            sum_to(K.where(condition, dout, zero), ctx.shapes[0]) if need_a else None,
            sum_to(K.where(condition, zero, dout), ctx.shapes[1]) if need_b else None,
        )


# --- functions of one operand ---

X, Y = "x", "y"
# Name: what of y = f(x) its slope needs, and dx of dout and that.
_SLOPES: dict[str, tuple[str | None, Callable[[K.Array, Any], K.Array]]] = {
    "neg": (None, lambda dout, _: K.neg(dout)),
    "abs": (X, lambda dout, x: K.mul(dout, K.sign(x))),  # 0 at 0
    "square": (X, lambda dout, x: K.mul(dout, K.mul(x, 2))),
    "sqrt": (Y, lambda dout, y: K.div(dout, K.mul(y, 2))),
    "rsqrt": (Y, lambda dout, y: K.mul(K.mul(dout, -0.5), K.mul(y, K.square(y)))),
    "reciprocal": (Y, lambda dout, y: K.neg(K.mul(dout, K.square(y)))),
    "exp": (Y, lambda dout, y: K.mul(dout, y)),
    "expm1": (Y, lambda dout, y: K.mul(dout, K.add(y, 1))),
    "log": (X, lambda dout, x: K.div(dout, x)),
    "log1p": (X, lambda dout, x: K.div(dout, K.add(x, 1))),
    "sin": (X, lambda dout, x: K.mul(dout, K.cos(x))),
    "cos": (X, lambda dout, x: K.neg(K.mul(dout, K.sin(x)))),
    "erf": (X, lambda dout, x: K.mul(dout, K.mul(K.exp(K.neg(K.square(x))), 2 / math.sqrt(math.pi)))),
    "erfc": (X, lambda dout, x: K.mul(dout, K.mul(K.exp(K.neg(K.square(x))), -2 / math.sqrt(math.pi)))),
}


def _rename(function: Any, name: str) -> Any:
    """Gives a function the name that weft.profile shows."""
    names = {"co_qualname": name} if hasattr(function.__code__, "co_qualname") else {}  # Python 3.11
    function.__code__ = function.__code__.replace(co_name=name.rpartition(".")[2], **names)
    return function


def _elementwise(name: str, needs: str | None, slope: Callable[[K.Array, Any], K.Array]) -> type[KernelFunction]:
    """The operation of that name: its kernel with the slope."""
    kernel: Callable[[K.Array], K.Array] = getattr(K, name)

    def forward(ctx: Any, x: K.Array) -> K.Array:
        y = kernel(x)
        if needs:
            ctx.save(x if needs is X else y)
        return y

    def backward(ctx: Any, dout: K.Array) -> Any:
        return slope(dout, ctx.saved[0] if needs else None)

    title = name.capitalize()
    _rename(slope, f"{title}.backward")
    members = {
        "forward": staticmethod(_rename(forward, f"{title}.forward")),
        "backward": staticmethod(_rename(backward, f"{title}.backward")),
        "__doc__": kernel.__doc__,
    }
    return type(title, (KernelFunction,), {"__module__": __name__, **members})


ELEMENTWISE = {name: _elementwise(name, *slope) for name, slope in _SLOPES.items()}


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
        return K.where(inside, dout, K.zeros((), dout.dtype, dout.device))


class Cast(KernelFunction):
    """Another dtype; dx = dout in the old one."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, dtype: Any) -> K.Array:
        ctx.dtype = x.dtype
        return K.cast(x, dtype)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.cast(dout, ctx.dtype)


class To(KernelFunction):
    """On another device; dx = dout on the old one."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, device: str) -> K.Array:
        ctx.device = x.device
        return K.to(x, device)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return K.to(dout, ctx.device)


class Copy(KernelFunction):
    """A copy; dx = dout."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, memory_format: K.MemoryFormat) -> K.Array:
        return K.copy(x, memory_format)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> Any:
        return dout


# --- matrix product ---


class Matmul(KernelFunction):
    """a b over the last two axes; da = dout b^T, db = a^T dout, summed over the axes that were broadcast."""

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
