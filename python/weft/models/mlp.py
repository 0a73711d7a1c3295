"""Networks of fully connected layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from weft import nn
from weft._checks import sequence, shown


class MLP(nn.Sequential):
    """A multilayer perceptron: Linear layers of the given sizes with an activation between them.

    sizes: features of the input, each hidden layer, and the output, two at least.
    """

    def __init__(self, sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> None:
        sizes = sequence("MLP", "sizes", sizes)
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes must name the input and the output at least, got {shown(sizes)}")
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(itertools.pairwise(sizes)):
            layers += [activation()] if i else []
            layers.append(nn.Linear(before, after))
        super().__init__(*layers)


class Perceptron(nn.Sequential):
    """Rosenblatt's perceptron (1958): one linear unit and a step. Its step has no gradient: it learns by its own rule
    (examples/perceptron.py), not by backpropagation."""

    def __init__(self, inputs: int) -> None:
        super().__init__(nn.Linear(inputs, 1), nn.Step())
