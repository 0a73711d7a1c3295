"""LeNet-5 (LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998)."""

from __future__ import annotations

from weft import nn
from weft.tensor import Tensor


class LeNet5(nn.Sequential):
    """LeNet-5 as it is taught today: ReLU and max-pooling; 61,706 parameters for 10 classes.

    Images (N, channels, 28, 28), padded to the paper's 32x32 by the first layer; logits (N, classes).
    """

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )


class ScaledTanh(nn.Module):
    """1.7159 tanh(2 x / 3), the paper's squashing function: f(1) = 1, and the curvature is largest there."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.tanh(input * (2.0 / 3.0)) * 1.7159


class LeNet5_1998(nn.Sequential):
    """The paper's network: scaled tanh and average-pooling.

    What differs from the paper: its pooling has a trainable factor and bias a channel, its second convolution sees a
    chosen subset of the channels at each output, and its output layer measures distances to drawn letter shapes (RBF).
    Here pooling is plain, every output sees every channel, and the last layer is linear with softmax behind.
    """

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, 6, 5, padding=2),
            ScaledTanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            ScaledTanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(16, 120, 5),
            ScaledTanh(),
            nn.Flatten(),
            nn.Linear(120, 84),
            ScaledTanh(),
            nn.Linear(84, classes),
        )
