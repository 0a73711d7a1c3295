"""Activation functions, softmax and dropout, each backward beside its forward."""

from __future__ import annotations

from typing import Any

import weft.kernels as K
from weft._checks import shown, within
from weft.autograd import KernelFunction
from weft.tensor import Tensor


class Activation(KernelFunction):
    """y = f(x), dx = dout f'(x). Sigmoid's, tanh's and relu's f' is read from y, the others' from x."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, kind: str, *parameter: float) -> K.Array:
        out: K.Array = getattr(K, kind)(x, *parameter)
        ctx.save(out if kind in ("relu", "tanh", "sigmoid") else x)
        ctx.kind, ctx.parameter = kind, parameter
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        return K.activation_backward(ctx.kind, dout, ctx.saved[0], *ctx.parameter)


def step(input: Tensor) -> Tensor:
    """1 where input > 0, else 0; the gradient is 0 everywhere. Source: McCulloch, Pitts 1943."""
    return Activation.apply(input, "step")


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)), elementwise. TypeError unless float32, float64 or bfloat16, as for every activation."""
    return Activation.apply(input, "sigmoid")


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent, elementwise."""
    return Activation.apply(input, "tanh")


def relu(input: Tensor) -> Tensor:
    """max(input, 0), elementwise; the gradient at 0 is 0. Source: Nair, Hinton 2010."""
    return Activation.apply(input, "relu")


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """input where positive, else negative_slope * input. Source: Maas et al. 2013."""
    return Activation.apply(input, "leaky_relu", negative_slope)


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """input where positive, else alpha * (exp(input) - 1). Source: Clevert et al. 2015."""
    return Activation.apply(input, "elu", alpha)


def softplus(input: Tensor, beta: float = 1.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta; input itself where beta * input > 20."""
    return Activation.apply(input, "softplus", beta)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input) with the normal distribution Phi. Source: Hendrycks, Gimpel 2016.

    approximate: "none" computes Phi by erf, "tanh" by the paper's approximation. ValueError for another word.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {shown(approximate)}")
    return Activation.apply(input, "gelu" if approximate == "none" else "gelu_tanh")


def silu(input: Tensor) -> Tensor:
    """input * sigmoid(input), elementwise. Source: Elfwing et al. 2017."""
    return Activation.apply(input, "silu")


class Softmax(KernelFunction):
    """dx = y (dout - sum(dout y))."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, axis: int) -> K.Array:
        out = K.softmax(x, axis)
        ctx.save(out)
        ctx.axis = axis
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        return K.softmax_backward(dout, ctx.saved[0], ctx.axis)


class LogSoftmax(KernelFunction):
    """dx = dout - exp(y) sum(dout)."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, axis: int) -> K.Array:
        out = K.log_softmax(x, axis)
        ctx.save(out)
        ctx.axis = axis
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        return K.log_softmax_backward(dout, ctx.saved[0], ctx.axis)


def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """exp(input) / sum(exp(input)) along `dim`, any shape."""
    return Softmax.apply(input, dim)


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """input - log(sum(exp(input))) along `dim`, any shape."""
    return LogSoftmax.apply(input, dim)


class Dropout(KernelFunction):
    """out = x mask / (1 - p), dx = dout mask / (1 - p)."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, p: float) -> K.Array:
        out, mask = K.dropout(x, p)
        ctx.save(mask)
        ctx.p = p
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        return K.dropout_backward(dout, ctx.saved[0], ctx.p)


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Zeroes each element with probability p and scales the others by 1 / (1 - p).

    Draws from weft's default generator (`weft.manual_seed`). The input itself where `training` is false.
    ValueError unless 0 <= p <= 1. Source: Srivastava et al. 2014.
    """
    within("dropout", "p", p, 0, 1)
    if not training or p == 0.0:
        return input
    return Dropout.apply(input, p)
