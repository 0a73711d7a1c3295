"""What hooks and somebody else's operations return, looked at where it arrives. Weft's own operations are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import weft.kernels as K
from weft import _base
from weft._base import TensorBase, array_of
from weft.autograd.grad_mode import no_grad


class Like(NamedTuple):
    """What a gradient must have of what it belongs to, without its memory."""

    shape: tuple[int, ...]
    dtype: K.DType
    device: str


def like(arguments: Sequence[Any], edges: Sequence[Any]) -> list[Like | None]:
    """For each argument of an operation what its gradient must be like; None where none is wanted."""
    wanted = [a if edge is not None else None for a, edge in zip(arguments, edges, strict=True)]
    return [None if a is None else Like(a.shape, a.dtype, a.device) for a in wanted]


def forward(function: Any, ctx: Any, args: Sequence[Any]) -> Any:
    """What the forward of somebody's operation returns: a Tensor or a tuple of Tensors (or Arrays)."""
    if function._tensors:
        with no_grad():
            result = function.forward(ctx, *args)
    else:
        result = function.forward(ctx, *args)
    kinds = (TensorBase, K.Array)
    parts = result if type(result) is tuple else (result,)
    if not parts or not all(isinstance(part, kinds) for part in parts):
        got = ", ".join(type(part).__name__ for part in parts)
        got = f"a tuple of {got or 'nothing'}" if type(result) is tuple else got
        raise TypeError(f"{function.__name__}: forward must return a Tensor or a tuple of Tensors, got {got}")
    return result


def _check_gradient(who: str, what: str, given: Any, like: Any) -> K.Array:
    """A gradient from a hook or from somebody's operation: of the shape, dtype and device of what it belongs to."""
    if not isinstance(given, (TensorBase, K.Array)):
        raise TypeError(f"{who} must return a Tensor or None{what}, got {type(given).__name__}")
    array: K.Array = array_of(given)
    if array.shape != like.shape:
        raise ValueError(f"{who} must return a gradient of shape {like.shape}{what}, got shape {array.shape}")
    if array.dtype != like.dtype:
        raise TypeError(f"{who} must return a gradient of {like.dtype}{what}, got {array.dtype}")
    if array.device != like.device:
        raise RuntimeError(f"{who} must return a gradient on {like.device}{what}, got one on {array.device}")
    return array


def hooked(hooks: Sequence[Callable[[Any], Any]], gradient: K.Array) -> K.Array:
    """What hooks make of a gradient."""
    for hook in list(hooks):
        replaced = hook(_base.tensor_type(gradient))
        if replaced is not None:
            gradient = _check_gradient("backward: a hook", "", replaced, gradient)
    return gradient


def backward(node: Any, douts: Sequence[Any]) -> tuple[Any, ...]:
    """What the backward of somebody's operation returns."""
    function = node.function
    if function._tensors:
        with no_grad():
            result = function.backward(node, *(None if d is None else _base.tensor_type(d) for d in douts))
    else:
        result = function.backward(node, *douts)
    if type(result) is not tuple:
        result = (result,)
    gradients = list(result)
    for i, (edge, gradient) in enumerate(zip(node.edges, result, strict=False)):
        if edge is not None and gradient is not None:
            gradients[i] = _check_gradient(f"{node.name}: backward", f" for argument {i}", gradient, node.given[i])
    return tuple(gradients)
