"""Batch, layer, group and instance normalization, each backward beside its forward.

Everywhere: float32 or float64; ValueError for shapes that do not fit and for bad options; TypeError for dtypes.
Contract: csrc/ops/norm.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import weft.kernels as K
from weft._checks import sequence, shape_of, shown
from weft.autograd import KernelFunction
from weft.tensor import Tensor


class BatchNorm(KernelFunction):
    """y = (x - mean) inv_std weight + bias (+ residual), then ReLU where asked for.

    With g = dout, or 0 where ReLU cut off: dresidual = g, dbias = sum g, dweight = sum g xhat,
    dx = weight inv_std (g - mean(g) - xhat mean(g xhat)); outside of training dx = weight inv_std g.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: K.Array,
        weight: K.Array | None,
        bias: K.Array | None,
        residual: K.Array | None,
        running: tuple[K.Array | None, K.Array | None, K.Array | None],  # mean, var, number of batches
        training: bool,
        momentum: float | None,
        eps: float,
        relu: bool,
    ) -> K.Array:
        out, mean, inv_std = K.batch_norm(x, weight, bias, *running, residual, training, momentum, eps, relu)
        if training:
            for state in running:
                if state is not None:
                    state.bump_version()
        # Where a residual was added only the output tells where ReLU cut off.
        ctx.save(x, mean, inv_std, weight, bias, out if relu and residual is not None else None)
        ctx.training, ctx.relu = training, relu
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, ...]:
        x, mean, inv_std, weight, bias, out = ctx.saved
        need_x, need_weight, need_bias, need_residual = ctx.needs_input_grad[:4]
        need = need_x, need_weight, need_bias, need_residual and ctx.relu
        gradients: tuple[K.Array | None, ...] = K.batch_norm_backward(
            dout, x, mean, inv_std, weight, bias, out, ctx.training, ctx.relu, *need
        )
        return gradients if ctx.relu or not need_residual else (*gradients[:3], dout)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    num_batches_tracked: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias for each channel of (N, C, ...), then + residual.

    training: mean and (biased) variance are those of the batch, and running_mean and running_var (C) move towards
    them in place by `momentum`, with the unbiased variance; num_batches_tracked (int64) counts up, and momentum None
    makes the running statistics the mean over all batches so far. Else the running statistics are used.
    residual: what is added to the result, of the input's shape. ValueError for one value a channel in training.
    Source: Ioffe, Szegedy 2015.
    """
    running = _arrays(running_mean, running_var, num_batches_tracked)
    return BatchNorm.apply(input, weight, bias, residual, running, training, momentum, eps, False)


def batch_norm_relu(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    num_batches_tracked: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """relu(batch_norm(...)), with the residual added before ReLU, in one pass over memory."""
    running = _arrays(running_mean, running_var, num_batches_tracked)
    return BatchNorm.apply(input, weight, bias, residual, running, training, momentum, eps, True)


def _arrays(*tensors: Tensor | None) -> tuple[K.Array | None, ...]:
    for t in tensors:
        if t is not None and not isinstance(t, Tensor):
            raise TypeError(f"batch_norm: running statistics must be tensors or None, got {shown(t)}")
    return tuple([None if t is None else t.array for t in tensors])


class LayerNorm(KernelFunction):
    """dx = inv_std (g - mean(g) - xhat mean(g xhat)) with g = dout weight; dweight and dbias sum over the rows."""

    @staticmethod
    def forward(
        ctx: Any, x: K.Array, weight: K.Array | None, bias: K.Array | None, shape: Sequence[int], eps: float
    ) -> K.Array:
        out, mean, inv_std = K.layer_norm(x, shape, weight, bias, eps)
        ctx.save(x, mean, inv_std, weight)
        ctx.shape = shape
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, ...]:
        x, mean, inv_std, weight = ctx.saved
        need = ctx.needs_input_grad[:3]
        gradients: tuple[K.Array | None, ...] = K.layer_norm_backward(dout, x, ctx.shape, mean, inv_std, weight, *need)
        return gradients


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias, with mean and variance over the last axes.

    normalized_shape: the sizes of those axes; weight and bias have it too. Source: Ba, Kiros, Hinton 2016.
    """
    given: Any = normalized_shape
    shape = (given,) if isinstance(given, int) else tuple(sequence("layer_norm", "normalized_shape", given))
    return LayerNorm.apply(input, weight, bias, shape, eps)


class GroupNorm(KernelFunction):
    """As LayerNorm over the channels of each group; weight and bias are one value a channel."""

    @staticmethod
    def forward(ctx: Any, x: K.Array, weight: K.Array | None, bias: K.Array | None, groups: int, eps: float) -> K.Array:
        out, mean, inv_std = K.group_norm(x, groups, weight, bias, eps)
        ctx.save(x, mean, inv_std, weight)
        ctx.groups = groups
        return out

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, ...]:
        x, mean, inv_std, weight = ctx.saved
        need = ctx.needs_input_grad[:3]
        gradients: tuple[K.Array | None, ...] = K.group_norm_backward(dout, x, ctx.groups, mean, inv_std, weight, *need)
        return gradients


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalizes (N, C, ...) over the C / num_groups channels of each group and all their places.

    weight and bias: (C). ValueError where num_groups does not divide C. Source: Wu, He 2018.
    """
    return GroupNorm.apply(input, weight, bias, num_groups, eps)


def instance_norm(
    input: Tensor, *, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalizes each channel of each example of (N, C, ...): group_norm with as many groups as channels.

    There are no running statistics. ValueError for one value a channel. Source: Ulyanov et al. 2016.
    """
    shape = shape_of("instance_norm", "input", input)
    if len(shape) < 3 or shape[2:].count(1) == len(shape) - 2:
        raise ValueError(f"instance_norm: expected more than one value for each channel (input {shape})")
    return group_norm(input, shape[1], weight, bias, eps)
