"""Ready-made networks."""

from __future__ import annotations

from weft.models.lenet import LeNet5, LeNet5_1998, ScaledTanh
from weft.models.mlp import MLP, Perceptron

__all__ = ["MLP", "LeNet5", "LeNet5_1998", "Perceptron", "ScaledTanh"]
