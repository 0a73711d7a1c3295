"""Fusion: runs of modules for which there is one operation.

`nn.Sequential` makes a `plan` when its modules change, and `run`s it. A run of modules is fused where a `Pattern`
knows their types, and left alone where that could change what somebody sees: a module of a subclass, with
hooks, with a forward of its own, or with an option that the fused operation lacks. Names, parameters and state_dict
stay as they are, results too (but for rounding). `weft.set_fusion(False)` switches it off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from weft import _uses
from weft.nn import functional as F
from weft.nn import layers, norm
from weft.nn.module import Module

__all__ = ["PATTERNS", "Pattern", "batch_norm_relu", "is_fusion_enabled", "plan", "run", "set_fusion"]

_enabled = True


def set_fusion(enabled: bool) -> None:
    """Whether nn.Sequential runs modules that follow each other as one operation where there is one (it does)."""
    global _enabled
    _enabled = bool(enabled)


def is_fusion_enabled() -> bool:
    """Whether fusion is on."""
    return _enabled


@dataclass(frozen=True)
class Pattern:
    """Modules of `types` in a row, that run as `run(*modules, input)` where `accepts(*modules)` agrees.

    A module whose type is in `types` has no hooks and no forward of its own when `accepts` is asked.
    """

    types: tuple[type[Module], ...]
    accepts: Callable[..., bool]
    run: Callable[..., Any]


def _whole_windows(pool: Any) -> bool:
    """Windows side by side, without padding and indices."""
    return bool(
        layers._pair(pool.stride) == layers._pair(pool.kernel_size)
        and layers._pair(pool.padding) == (0, 0)
        and layers._pair(pool.dilation) == (1, 1)
        and not (pool.ceil_mode or pool.return_indices)
    )


def _accepts_pool(conv: Any, relu: Any, pool: Any) -> bool:
    return _whole_windows(pool) and layers._pair(pool.kernel_size) == (2, 2) and conv.stride == (1, 1)


def _run_pool(conv: Any, relu: Any, pool: Any, input: Any) -> Any:
    return F.conv2d_relu_max_pool2d(
        input, conv.weight, conv.bias, pool.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    )


def _run_conv(conv: Any, relu: Any, input: Any) -> Any:
    return F.conv2d_activation(input, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _linear(kind: type[Module], activation: str) -> Pattern:
    def run(linear: Any, _: Any, input: Any) -> Any:
        return F.linear_activation(input, linear.weight, linear.bias, activation)

    return Pattern((layers.Linear, kind), lambda *modules: True, run)


def _batch_norm(kind: type[Module]) -> Pattern:
    return Pattern((kind, layers.ReLU), lambda *modules: True, lambda bn, _, input: bn.forward_relu(input))


# The first that fits is taken: longer runs come first.
PATTERNS: list[Pattern] = [
    Pattern((layers.Conv2d, layers.ReLU, layers.MaxPool2d), _accepts_pool, _run_pool),
    Pattern((layers.Conv2d, layers.ReLU), lambda *modules: True, _run_conv),
    _linear(layers.ReLU, "relu"),
    _linear(layers.Sigmoid, "sigmoid"),
    _linear(layers.Tanh, "tanh"),
    _batch_norm(norm.BatchNorm1d),
    _batch_norm(norm.BatchNorm2d),
]

# For each place in a row of modules the patterns whose types begin there.
Plan = list[list[tuple[tuple[Any, ...], Pattern]]]


def plan(modules: Sequence[Any]) -> Plan:
    """What may be fused by type. Options and hooks can change at any time: `run` asks for them."""
    kinds = tuple(type(module) for module in modules)
    found: Plan = []
    for at in range(len(modules)):
        fitting = [p for p in PATTERNS if kinds[at : at + len(p.types)] == p.types]
        found.append([(tuple(modules[at : at + len(p.types)]), p) for p in fitting])
    return found


def _untouched(module: Any) -> bool:
    """Nobody watches the module's own input and output."""
    return not (module._forward_pre_hooks or module._forward_hooks or "forward" in module.__dict__)


def run(modules: Sequence[Any], plan: Plan, input: Any) -> Any:
    """Applies the modules one after the other, fused where the plan has a pattern that accepts them."""
    at = 0
    while at < len(modules):
        for group, pattern in plan[at]:
            if all(map(_untouched, group)) and pattern.accepts(*group):
                if _uses.running and (uses := _uses.current()):
                    uses.fusions.append("+".join(type(module).__name__ for module in group))
                input = pattern.run(*group, input)
                at += len(group)
                break
        else:
            input = modules[at](input)
            at += 1
    return input


def batch_norm_relu(bn: Any, relu: Any, input: Any, residual: Any = None) -> Any:
    """relu(bn(input) + residual) for modules of a residual block, as one operation under the same conditions."""
    plain = type(bn) in (norm.BatchNorm1d, norm.BatchNorm2d) and type(relu) is layers.ReLU
    if _enabled and plain and _untouched(bn) and _untouched(relu):
        if _uses.running and (uses := _uses.current()):
            uses.fusions.append(f"{type(bn).__name__}+{'' if residual is None else 'residual+'}ReLU")
        return bn.forward_relu(input, residual)
    out = bn(input)
    return relu(out if residual is None else out + residual)
