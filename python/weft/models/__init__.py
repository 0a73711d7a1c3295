"""Ready-made networks."""

from __future__ import annotations

from weft.models.lenet import LeNet5, LeNet5_1998, ScaledTanh
from weft.models.mlp import MLP, Perceptron
from weft.models.resnet import BasicBlock, ResNet, ResNet18, ResNet34

__all__ = [
    "MLP",
    "BasicBlock",
    "LeNet5",
    "LeNet5_1998",
    "Perceptron",
    "ResNet",
    "ResNet18",
    "ResNet34",
    "ScaledTanh",
]
