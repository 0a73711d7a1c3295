"""What a model consists of: its layers, output shapes, parameters and operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import weft.kernels as K
from weft import nn
from weft._checks import instance, integer, sequence
from weft.autograd import no_grad
from weft.tensor import Tensor


@dataclass
class LayerSummary:
    """One row: a layer without sublayers. flops: multiplications and additions of its forward pass."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int


@dataclass
class Summary:
    """The rows of `summary` and their totals; str() is the table."""

    model: str
    input_shape: tuple[int, ...]
    layers: list[LayerSummary] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0

    @property
    def flops(self) -> int:
        return sum(layer.flops for layer in self.layers)

    def __str__(self) -> str:
        rows = [("layer", "output shape", "parameters", "FLOPs")]
        rows += [
            (f"{layer.name} ({layer.kind})" if layer.name else layer.kind, str(layer.output_shape),
             f"{layer.parameters:,}", f"{layer.flops:,}")
            for layer in self.layers
        ]  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}"
            for row in rows
        ]
        rule = "-" * len(lines[0])
        frozen = self.parameters - self.trainable
        total = f"{self.parameters:,} parameters" + (f" ({frozen:,} frozen)" if frozen else "")
        return "\n".join(
            [f"{self.model}, input {self.input_shape}", rule, lines[0], rule, *lines[1:], rule,
             f"{total}, {self.flops:,} FLOPs forward"]
        )  # fmt: skip


def _flops(module: nn.Module, x: Tensor, out: Tensor) -> int:
    """Multiplications and additions, counted apart. Copies and comparisons are not counted."""
    if isinstance(module, nn.Conv2d):
        per_output = 2 * math.prod(module.weight.shape[1:])
        return out.numel() * (per_output - (module.bias is None))
    if isinstance(module, nn.Linear):
        return out.numel() * (2 * module.weight.shape[1] - (module.bias is None))
    if isinstance(module, nn.AvgPool2d):
        size = module.kernel_size
        return out.numel() * (size * size if isinstance(size, int) else math.prod(size))
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return x.numel()
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):  # subtract, scale, shift
        return out.numel() * (3 if module.affine else 2)
    if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d)):  # mean 1, variance 3, the map 2 or 4
        return out.numel() * (6 if module.weight is None else 8)
    return 0


def summary(model: nn.Module, input_size: Sequence[int], dtype: Any = "float32") -> Summary:
    """A table of the layers of `model` for an input of shape `input_size` (with the batch axis).

    Runs the model once, on zeros, in evaluation mode and without a tape. Errors are those of the model: an input that
    does not fit names the layer's operation and both shapes.
    """
    instance("summary", "model", model, nn.Module)
    input_size = [integer("summary", "a size", n, 0) for n in sequence("summary", "input_size", input_size)]
    result = Summary(type(model).__name__, tuple(input_size))
    counted: set[int] = set()
    handles = []

    def count(module: nn.Module) -> int:
        fresh = [p for p in module.parameters(recurse=False) if id(p) not in counted]
        counted.update(id(p) for p in fresh)
        return sum(p.numel() for p in fresh)

    for name, module in model.named_modules():
        if next(module.children(), None) is not None:
            continue

        def note(layer: Any, args: Any, out: Any, name: str = name) -> None:
            row = LayerSummary(name, type(layer).__name__, out.shape, count(layer), _flops(layer, args[0], out))
            result.layers.append(row)

        handles.append(module.register_forward_hook(note))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            model(Tensor(K.zeros(tuple(input_size), dtype)))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    result.parameters = sum(p.numel() for p in model.parameters())
    result.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return result
