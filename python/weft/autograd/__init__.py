"""The tape: what was computed, and how gradients go back through it."""

from __future__ import annotations

from weft.autograd._gradcheck import gradcheck
from weft.autograd.engine import backward, grad
from weft.autograd.function import Function, KernelFunction
from weft.autograd.grad_mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "KernelFunction",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
