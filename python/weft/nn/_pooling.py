"""Pooling over windows of the two last axes, each backward beside its forward.

Everywhere: input (N, C, H, W) or (C, H, W), float32 or float64; sizes are an int or (height, width); stride
None means kernel_size. P = floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1; ceil_mode rounds up.
ValueError for shapes that do not fit and for bad options. Contract: csrc/ops/pool2d.h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import weft.kernels as K
from weft._checks import sequence, shape_of, shown
from weft.autograd.function import KernelFunction, Outputs
from weft.tensor import Tensor

Size = int | Sequence[int]


class ExtremePool2d(Outputs):
    """max, min or adaptive max: the forward keeps each winner's place, the gradient goes there."""

    @staticmethod
    def forward(
        ctx: Any, x: K.Array, kernel: Callable[..., tuple[K.Array, K.Array]], *options: Any
    ) -> tuple[K.Array, K.Array]:
        out, index = kernel(x, *options)
        ctx.save(index)
        ctx.input_size = x.shape
        ctx.windows = () if kernel is K.adaptive_max_pool2d else options
        ctx.mark_non_differentiable(index)
        return out, index

    @staticmethod
    def backward(ctx: Any, dout: K.Array | None, dindex: None = None) -> K.Array | None:
        return None if dout is None else K.max_pool2d_backward(dout, ctx.saved[0], ctx.input_size, *ctx.windows)


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window; NaN wins, of equal values the first.

    padding counts as -inf and is at most half of the kernel. With return_indices also the winners' places
    h * W + w, int32.
    """
    out, index = ExtremePool2d.apply(input, K.max_pool2d, kernel_size, stride, padding, dilation, ceil_mode)
    return (out, index) if return_indices else out


def min_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The smallest value of each window; NaN wins, of equal values the first. Options as in max_pool2d."""
    out, index = ExtremePool2d.apply(input, K.min_pool2d, kernel_size, stride, padding, dilation, ceil_mode)
    return (out, index) if return_indices else out


class AvgPool2d(KernelFunction):
    """dx = dout / divisor, spread over each window."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, *options: Any) -> K.Array:
        out = K.avg_pool2d(x, *options)
        ctx.input_size, ctx.options = x.shape, options
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        return K.avg_pool2d_backward(dout, ctx.input_size, *ctx.options)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Divided by the window's size with its padding (count_include_pad), by its part inside of the image
    without, or by divisor_override.
    """
    return AvgPool2d.apply(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


class LPPool2d(KernelFunction):
    """dx = dout sign(x) |x|^(p-1) / out^(p-1), 0 where out is 0."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, *options: Any) -> K.Array:
        out = K.lp_pool2d(x, *options)
        ctx.save(x, out)
        ctx.options = options
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        x, out = ctx.saved
        return K.lp_pool2d_backward(dout, x, out, *ctx.options)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm (sum |x|^p)^(1/p) of each window.

    Differs from torch where that leaves the norm: torch drops the absolute value for odd p, and scales up
    windows that ceil_mode lets hang over the edge.
    """
    return LPPool2d.apply(input, norm_type, kernel_size, stride, ceil_mode)


class AdaptiveAvgPool2d(KernelFunction):
    """dx = dout / window size, spread over each window."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, output_size: Size) -> K.Array:
        out = K.adaptive_avg_pool2d(x, output_size)
        ctx.input_size = x.shape
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        return K.adaptive_avg_pool2d_backward(dout, ctx.input_size)


def _output_size(input: Tensor, size: int | Sequence[int | None] | None) -> Size:
    """None keeps the input's size along that axis."""
    if isinstance(size, int):
        return size
    shape = shape_of("adaptive pooling", "input", input)
    if len(shape) < 2:
        raise ValueError(f"adaptive pooling: input must have the axes (N, C, H, W), got shape {shape}")
    height, width = shape[-2:]
    wanted = [None, None] if size is None else sequence("adaptive pooling", "output_size", size)
    if len(wanted) != 2:
        raise ValueError(f"adaptive pooling: output_size must be an int or two, got {shown(size)}")
    return (height if wanted[0] is None else wanted[0], width if wanted[1] is None else wanted[1])


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The means of windows floor(i H / P) .. ceil((i + 1) H / P) that make an image of output_size (P, Q).

    An int means (P, P), None the input's size along that axis; 1 is the global average.
    """
    return AdaptiveAvgPool2d.apply(input, _output_size(input, output_size))


def adaptive_max_pool2d(
    input: Tensor, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> Any:
    """The largest values of the windows of adaptive_avg_pool2d; with return_indices also h * W + w, int32."""
    out, index = ExtremePool2d.apply(input, K.adaptive_max_pool2d, _output_size(input, output_size))
    return (out, index) if return_indices else out
