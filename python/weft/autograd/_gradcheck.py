"""Gradients beside finite differences: weft.autograd.gradcheck."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import weft.kernels as K
from weft._base import TensorBase
from weft._checks import integer, number, positive, sequence
from weft.autograd.engine import grad
from weft.autograd.grad_mode import is_grad_enabled, no_grad


def gradcheck(
    function: Callable[..., Any],
    inputs: Iterable[Any],
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-4,
    seed: int = 0,
) -> bool:
    """Compares the gradients of `function` with finite differences; True, or AssertionError naming the worst element.

    inputs: arguments of function; float64 Tensors that require grad are checked, every element of them. The gradient
    that goes into backward is random: a plain sum would hide errors that cancel, as softmax's always do.
    Central differences: (f(x + eps) - f(x - eps)) / (2 eps), error of order eps^2 and 1e-16 / eps.
    """
    arguments = sequence("gradcheck", "inputs", inputs)
    rng = np.random.default_rng(integer("gradcheck", "seed", seed, 0))
    eps = positive("gradcheck", "eps", number("gradcheck", "eps", eps, finite=True))
    atol, rtol = (number("gradcheck", name, given, 0) for name, given in (("atol", atol), ("rtol", rtol)))
    checked: list[tuple[int, Any]] = [
        (i, t) for i, t in enumerate(arguments) if isinstance(t, TensorBase) and t.requires_grad
    ]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for i, tensor in checked:
        if tensor.dtype != K.DType.float64:
            raise TypeError(f"gradcheck: input {i} must be float64, got {tensor.dtype}")
    outputs = _outputs(function(*arguments))
    cotangents = [rng.normal(size=o.shape) for o in outputs]
    found = grad(outputs, [t for _, t in checked], [K.asarray(c) for c in cotangents], allow_unused=True)

    def value() -> float:
        with no_grad():
            return float(
                sum(
                    np.vdot(c, o.detach().numpy())
                    for c, o in zip(cotangents, _outputs(function(*arguments)), strict=True)
                )
            )

    for (i, tensor), gradient in zip(checked, found, strict=True):
        analytic = np.zeros(tensor.shape) if gradient is None else np.array(gradient.numpy())
        _compare(i, tensor.array, analytic, value, eps, atol, rtol)
    return True


def _outputs(result: Any) -> list[Any]:
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    return [o for o in outputs if o.requires_grad or (not is_grad_enabled() and o.dtype == K.DType.float64)]


def _compare(
    which: int, array: K.Array, analytic: Any, value: Callable[[], float], eps: float, atol: float, rtol: float
) -> None:
    """Moves each element of the tensor's array, wherever it lies, and compares the slope with `analytic`."""
    x = np.array(array.numpy())
    numeric = np.zeros(x.shape)

    def value_at(index: tuple[int, ...], element: float) -> float:
        x[index] = element
        K.copy_into(array, x)
        return value()

    for index in np.ndindex(*x.shape):
        before = x[index]
        above, below = value_at(index, before + eps), value_at(index, before - eps)
        x[index] = before
        numeric[index] = (above - below) / (2 * eps)
    K.copy_into(array, x)
    wrong = ~(np.abs(analytic - numeric) <= atol + rtol * np.abs(numeric))
    if wrong.any():
        excess = np.where(wrong, np.abs(analytic - numeric), 0)
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(np.nan_to_num(excess, nan=np.inf))), excess.shape))
        raise AssertionError(
            f"gradcheck: input {which}, element {at}: backward gives {analytic[at]!r}, "
            f"finite differences {numeric[at]!r} ({int(wrong.sum())} of {analytic.size} elements differ)"
        )
