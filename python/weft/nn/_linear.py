"""Convolution, the linear layer, padding and normalization, each backward beside its forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import weft.kernels as K
from weft._checks import instance, integer, number, sequence, shape_of, shown
from weft._shapes import Pad
from weft.autograd import KernelFunction
from weft.tensor import Tensor


class Conv2d(KernelFunction):
    """dx, dw and db (formulas in csrc/ops/conv2d.h), each only where it is asked for."""

    @staticmethod
    def forward(
        ctx: Any, x: K.Array, weight: K.Array, bias: K.Array | None, *options: Any
    ) -> K.Array:  # options: stride, padding, dilation, groups
        ctx.save(x, weight)
        ctx.options = options
        return K.conv2d(x, weight, bias, *options)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, K.Array | None, K.Array | None]:
        return Conv2d.gradients(ctx, dout, *ctx.saved)

    @staticmethod
    def gradients(
        ctx: Any, dout: K.Array, x: K.Array, weight: K.Array
    ) -> tuple[K.Array | None, K.Array | None, K.Array | None]:
        """(dx, dw, db) from the gradient of the sums."""
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        if x.memory_format == K.MemoryFormat.channels_last:
            dout = dout.contiguous(K.MemoryFormat.channels_last)
        dx: Any = None
        dw: Any = None
        db: Any = None
        if need_x:
            dx = K.conv2d_backward_input(dout, weight, x.shape, *ctx.options)
        if need_weight and need_bias:  # one pass over dout
            stride, padding, dilation, groups = ctx.options
            pair: Any = K.conv2d_backward_weight(dout, x, weight.shape, stride, padding, dilation, groups, True)
            dw, db = pair
        elif need_weight:
            dw = K.conv2d_backward_weight(dout, x, weight.shape, *ctx.options)
        elif need_bias:
            db = K.conv2d_backward_bias(dout)
        return dx, dw, db


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional cross-correlation.

    input (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S), bias (K) or None; float32 or float64.
    Returns (N, K, P, Q) with P = floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1, Q alike.
    padding: an int, (height, width), (top, bottom, left, right), "valid" (0) or "same" (P = H; stride 1).
    ValueError for shapes that do not fit and for bad options; TypeError for dtypes.
    Source: Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    return Conv2d.apply(input, weight, bias, stride, padding, dilation, groups)


class Linear(KernelFunction):
    """y = x W^T + b; dx = dout W, dW = dout^T x, db = the sum of dout's rows."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, weight: K.Array, bias: K.Array | None) -> K.Array:
        ctx.save(x, weight)
        return K.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, K.Array | None, K.Array | None]:
        x, weight = ctx.saved
        return K.linear_backward(dout, x, weight, None, "none", *ctx.needs_input_grad[:3])


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    input (..., in), weight (out, in), bias (out) or None; returns (..., out). float32, float64 or bfloat16.
    ValueError for shapes that do not fit; TypeError for dtypes.
    """
    return Linear.apply(input, weight, bias)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """`value` around the input.

    pad: widths before and after the last axis, then before and after the one before it, and so on:
    (left, right, top, bottom) for images. Negative widths crop. mode: "constant" is the only one.
    ValueError for another mode, an odd number of widths or more pairs than axes.
    """
    if mode != "constant":
        raise ValueError(f"pad: mode must be 'constant', got {shown(mode)}")
    shape = shape_of("pad", "input", input)
    widths = [integer("pad", "a width", n) for n in sequence("pad", "pad", pad)]
    if len(widths) % 2 or len(widths) > 2 * len(shape):
        raise ValueError(f"pad: expected up to {len(shape)} pairs of widths, got {widths} (input {shape})")
    unpadded = [0] * (len(shape) - len(widths) // 2)
    return Pad.apply(input, unpadded + widths[-2::-2], unpadded + widths[::-2], value)


class Normalize(KernelFunction):
    """y = x / n, n = max(norm, eps); dx = (dout - sum(dout y) dn/dx) / n.

    dn/dx = sign(x) (|x| / n)^(p - 1), and 0 where the norm is below eps.
    """

    @staticmethod
    def forward(ctx: Any, x: K.Array, p: float, axis: int, eps: float) -> K.Array:
        norm = K.pow(K.sum(K.pow(K.abs(x), p), axis, keepdim=True), 1.0 / p)
        divisor = K.clip(norm, eps, None)
        out = K.div(x, divisor)
        ctx.save(x, norm, divisor, out)
        ctx.p, ctx.axis, ctx.eps = p, axis, eps
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        x, norm, divisor, out = ctx.saved
        along = K.sum(K.mul(dout, out), ctx.axis, keepdim=True)
        along = K.where(K.gt(norm, ctx.eps), along, 0.0)
        slope = K.mul(K.sign(x), K.pow(K.abs(out), ctx.p - 1.0))
        return K.div(K.sub(dout, K.mul(along, slope)), divisor)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """input / max(norm, eps), with the p-norm along `dim`. ValueError unless p >= 1."""
    if not number("normalize", "p", p, nan=True) >= 1.0:
        raise ValueError(f"normalize: p must be at least 1, got {p}")
    return Normalize.apply(input, p, dim, eps)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 codes of shape (..., num_classes): 1 at the given class, else 0. Not differentiable.

    num_classes: -1 takes the largest class + 1. IndexError for a class out of range; TypeError for floats.
    """
    array = instance("one_hot", "tensor", tensor, Tensor).array
    return Tensor(K.one_hot(array, integer("one_hot", "num_classes", num_classes)))
