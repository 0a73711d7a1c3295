"""Layers joined with what follows them, each backward beside its forward; `nn.fusion` puts them to work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import weft.kernels as K
from weft._checks import shown
from weft.autograd import KernelFunction
from weft.nn._linear import Conv2d
from weft.nn._pooling import Size
from weft.tensor import Tensor

# Activations whose derivative can be read from their output: the input need not be kept.
FROM_OUTPUT = ("relu", "sigmoid", "tanh")


def _check_activation(op: str, activation: str) -> None:
    if activation not in FROM_OUTPUT:
        raise ValueError(f"{op}: activation must be one of {', '.join(FROM_OUTPUT)}, got {shown(activation)}")


class Conv2dReluMaxPool2d(KernelFunction):
    """One kernel each way; backward makes only the products of gradients that passed the maximum and ReLU."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, weight: K.Array, bias: K.Array | None, *options: Any) -> K.Array:
        out, winner = K.conv2d_relu_max_pool2d(x, weight, bias, *options)
        ctx.save(x, weight, winner)
        ctx.options = options
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, K.Array | None, K.Array | None]:
        x, weight, winner = ctx.saved
        return K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight, *ctx.options, *ctx.needs_input_grad[:3])


def conv2d_relu_max_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    kernel_size: Size = 2,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """max_pool2d(relu(conv2d(input, weight, bias, ...)), kernel_size), the whole convolution never stored.

    kernel_size: the pooling window (an int or (height, width), at most 64 elements); its stride is the same.
    The other options, shapes and errors are conv2d's. Returns (N, K, P // height, Q // width). The result is that
    of the three functions one after the other, but that a gradient of 0 is not multiplied: it makes no NaN of an
    infinity in input or weight. ValueError also for a window larger than the convolution's output.
    """
    return Conv2dReluMaxPool2d.apply(input, weight, bias, kernel_size, stride, padding, dilation, groups)


class Conv2dActivation(KernelFunction):
    """y = f(conv2d(x)), f' read from y; the gradients are conv2d's of dout f'(y)."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, weight: K.Array, bias: K.Array | None, activation: str, *options: Any) -> K.Array:
        stride, padding, dilation, groups = options
        out = K.conv2d(x, weight, bias, stride, padding, dilation, groups, activation)
        ctx.save(x, weight, out)
        ctx.activation, ctx.options = activation, options
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, K.Array | None, K.Array | None]:
        x, weight, out = ctx.saved
        return Conv2d.gradients(ctx, K.activation_backward(ctx.activation, dout, out), x, weight)


def conv2d_activation(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    activation: str = "relu",
) -> Tensor:
    """f(conv2d(input, weight, bias, ...)) in one kernel. activation: "relu", "sigmoid" or "tanh".

    Shapes and errors are conv2d's; ValueError for another activation.
    """
    _check_activation("conv2d_activation", activation)
    return Conv2dActivation.apply(input, weight, bias, activation, stride, padding, dilation, groups)


class LinearActivation(KernelFunction):
    """y = f(x W^T + b), f' read from y; the gradients are linear's of dout f'(y)."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, weight: K.Array, bias: K.Array | None, activation: str) -> K.Array:
        out = K.linear(x, weight, bias, activation)
        ctx.save(x, weight, out)
        ctx.activation = activation
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, K.Array | None, K.Array | None]:
        x, weight, out = ctx.saved
        return K.linear_backward(dout, x, weight, out, ctx.activation, *ctx.needs_input_grad[:3])


def linear_activation(input: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "relu") -> Tensor:
    """f(input @ weight.T + bias) in one kernel. activation: "relu", "sigmoid" or "tanh".

    Shapes and errors are linear's; ValueError for another activation.
    """
    _check_activation("linear_activation", activation)
    return LinearActivation.apply(input, weight, bias, activation)
