"""Helpers for training loops, with torch's names."""

from __future__ import annotations

import math
from collections.abc import Iterable

import weft.kernels as K
from weft import _uses
from weft._checks import instance, number, sequence
from weft.tensor import Tensor


def _gradients(who: str, parameters: Tensor | Iterable[Tensor]) -> list[K.Array]:
    given = [parameters] if isinstance(parameters, Tensor) else sequence(who, "parameters", parameters)
    for p in given:
        instance(who, "a parameter", p, Tensor)
    if _uses.running and (uses := _uses.current()):
        for p in given:
            uses.gradient(p)
    return [p.grad.array for p in given if p.grad is not None]


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    """Scales all gradients so that their common L2 norm is max_norm at most; returns the norm before, float64.

    RuntimeError for a norm that is not finite, where asked for.
    """
    number("clip_grad_norm_", "max_norm", max_norm, 0)
    arrays = _gradients("clip_grad_norm_", parameters)
    if not arrays:
        return Tensor(K.zeros((), "float64"))
    if error_if_nonfinite:
        norm = K.clip_grad_norm(arrays, math.inf).item()
        if not math.isfinite(norm):
            raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    norm = Tensor(K.clip_grad_norm(arrays, float(max_norm)))
    for array in arrays:
        array.bump_version()
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clips every element of the gradients to [-clip_value, clip_value]."""
    number("clip_grad_value_", "clip_value", clip_value, 0)
    for array in _gradients("clip_grad_value_", parameters):
        K.clip(array, -float(clip_value), float(clip_value), array)
        array.bump_version()
