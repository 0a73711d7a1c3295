"""Loss functions, each backward beside its forward.

reduction: "mean" (the default) and "sum" give a scalar, "none" a value for each element or row.
ValueError for shapes that differ and for another reduction, TypeError for dtypes. Contract: csrc/ops/loss.h.
"""

from __future__ import annotations

from typing import Any

import weft.kernels as K
from weft._checks import shape_of, shown
from weft.autograd import KernelFunction
from weft.tensor import Tensor


class PointwiseLoss(KernelFunction):
    """A loss of each element. The kernel gives the gradients by input and target that are asked for."""

    @staticmethod
    def forward(
        ctx: Any,
        x: K.Array,
        target: K.Array,
        weight: K.Array | None,
        kind: str,
        reduction: str,
        param: float,
    ) -> K.Array:
        ctx.save(x, target) if weight is None else ctx.save(x, target, weight)
        ctx.kind, ctx.reduction, ctx.param = kind, reduction, param
        if kind == "mse":
            return K.mse_loss(x, target, reduction=reduction)
        if kind == "l1":
            return K.l1_loss(x, target, reduction=reduction)
        if kind == "huber":
            return K.huber_loss(x, target, delta=param, reduction=reduction)
        if kind == "hinge":
            return K.hinge_loss(x, target, margin=param, reduction=reduction)
        if kind == "bce":
            return K.binary_cross_entropy(x, target, weight=weight, reduction=reduction)
        return K.binary_cross_entropy_with_logits(x, target, weight=weight, reduction=reduction)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> tuple[K.Array | None, K.Array | None]:
        x, target, *weight = ctx.saved
        need_input, need_target = ctx.needs_input_grad[:2]
        gradients: tuple[K.Array | None, K.Array | None] = K.pointwise_loss_backward(
            ctx.kind,
            dout,
            x,
            target,
            weight=weight[0] if weight else None,
            reduction=ctx.reduction,
            param=ctx.param,
            need_input=need_input,
            need_target=need_target,
        )
        return gradients


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2. Both of one shape and dtype."""
    return PointwiseLoss.apply(input, target, None, "mse", reduction, 1.0)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|; the gradient is 0 where they are equal. Both of one shape and dtype."""
    return PointwiseLoss.apply(input, target, None, "l1", reduction, 1.0)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target.

    ValueError unless delta > 0. Source: Huber 1964.
    """
    return PointwiseLoss.apply(input, target, None, "huber", reduction, delta)


def hinge_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """max(0, margin - target * input), target -1 or 1. Both of one shape and dtype."""
    return PointwiseLoss.apply(input, target, None, "hinge", reduction, margin)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-weight (target log(input) + (1 - target) log(1 - input)), each logarithm at least -100.

    input: probabilities; input, target and weight of one shape and dtype. No gradient by weight.
    """
    return PointwiseLoss.apply(input, target, weight, "bce", reduction, 1.0)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """binary_cross_entropy(sigmoid(input), target), stable for large inputs. No gradient by weight."""
    return PointwiseLoss.apply(input, target, weight, "bce_with_logits", reduction, 1.0)


class CrossEntropy(KernelFunction):
    """Softmax and negative log-likelihood in one kernel, which makes dlogits = softmax - target, weighted, too.
    Backward multiplies it by dout, in place unless there will be another backward."""

    takes_one = True

    @staticmethod
    def forward(
        ctx: Any,
        logits: K.Array,
        target: K.Array,
        weight: K.Array | None,
        ignore_index: int,
        reduction: str,
        label_smoothing: float,
    ) -> K.Array:
        need_grad = ctx.needs_input_grad[0]
        loss, dlogits = K.cross_entropy(logits, target, weight, ignore_index, reduction, label_smoothing, need_grad)
        ctx.save(dlogits)
        ctx.reduction = reduction
        return loss

    @staticmethod
    def backward(ctx: Any, dout: K.Array | None) -> K.Array:
        if dout is None:
            return ctx.saved[0]  # type: ignore[no-any-return]
        return K.cross_entropy_backward(dout, ctx.saved[0], ctx.reduction, not ctx.retains_graph)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum over classes of target * weight * log softmax(input).

    input: logits (N, C), (N, C, d1, ...) or (C). target: class indices of input's shape without C (an integer
    dtype), or probabilities of input's shape and dtype; no gradient goes to the target. weight: (C) or None.
    ignore_index: rows of this class count nowhere. mean: divided by the sum of the rows' weights (indices) or
    by the number of rows (probabilities). IndexError for a class out of range; TypeError for float labels.
    """
    shape_of("cross_entropy", "target", target)
    if getattr(target, "requires_grad", False):
        raise RuntimeError("cross_entropy: there is no gradient by the target; detach it")
    return CrossEntropy.apply(input, target, weight, ignore_index, reduction, label_smoothing)


class NLL(KernelFunction):
    """loss = -w[t] x[t]; dx[t] = -w[t] dout (over the total weight for mean)."""

    @staticmethod
    def forward(
        ctx: Any, x: K.Array, target: K.Array, weight: K.Array | None, ignore_index: int, reduction: str
    ) -> K.Array:
        axis = min(1, x.ndim - 1)  # (C) or (N, C, ...)
        classes, counts = x.shape[axis], K.ne(target, ignore_index)
        hot = K.one_hot(K.where(counts, target, 0), classes, "bool")  # checks the classes' range
        axes = list(range(x.ndim - 1))
        axes.insert(axis, x.ndim - 1)  # the class axis back to its place
        hot = K.logical_and(hot.permute(axes), counts.unsqueeze(axis))
        scale = 1.0 if weight is None else weight.reshape([classes if i == axis else 1 for i in range(x.ndim)])
        q = K.mul(K.cast(hot, x.dtype), scale)
        # where, because 0 * -inf is NaN
        loss = K.neg(K.sum(K.mul(K.where(hot, x, 0.0), scale), axis))
        ctx.axis, ctx.reduction = axis, reduction
        ctx.save(q)
        if reduction == "none":
            return loss
        if reduction == "sum":
            return K.sum(loss)
        total = K.sum(q)
        ctx.save(q, total)
        return K.div(K.sum(loss), total)

    @staticmethod
    def backward(ctx: Any, dout: K.Array) -> K.Array:
        q, *total = ctx.saved
        dout = dout.unsqueeze(ctx.axis) if ctx.reduction == "none" else dout
        return K.neg(K.mul(q, K.div(dout, total[0]) if total else dout))


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-weight[target] * input[target], the loss of log-probabilities.

    input (N, C), (N, C, d1, ...) or (C); target: class indices of its shape without C; weight (C) or None.
    mean divides by the sum of the rows' weights. Errors as in cross_entropy.
    """
    shape, labels = shape_of("nll_loss", "input", input), shape_of("nll_loss", "target", target)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"nll_loss: reduction must be none, mean or sum, got {shown(reduction)}")
    if not shape or labels != shape[:1] * (len(shape) > 1) + shape[2:]:
        raise ValueError(
            f"nll_loss: target must have input's shape without its classes (target {labels}, input {shape})"
        )
    if weight is not None and shape_of("nll_loss", "weight", weight) != shape[:2][-1:]:
        raise ValueError(f"nll_loss: weight must have one value a class (weight {tuple(weight.shape)}, input {shape})")
    if str(target.dtype) not in ("int64", "int32", "uint8"):
        raise TypeError(f"nll_loss: target must be class indices of an integer dtype, got {target.dtype}")
    return NLL.apply(input, target, weight, ignore_index, reduction)
