"""PyTorch's side: its modes, networks and steps. Imports neither weft nor another peer, so that a process that
measures PyTorch's memory can use it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment,unused-ignore]

MODES = ["eager", "channels_last", "compile"]


def compiled(function: Callable[..., Any], *inputs: Any) -> Callable[..., Any] | None:
    """torch.compile for this one shape; None, with a line that says why, where it does not work."""
    torch._dynamo.reset()
    try:
        made = torch.compile(function, dynamic=False)
        made(*inputs)
    except Exception as error:  # whatever a compiler chain may raise
        print(f"torch.compile failed: {str(error).splitlines()[0][:100]}", file=sys.stderr)
        return None
    return made  # type: ignore[no-any-return]


def in_format(mode: str, array: Any) -> Any:
    """A NumPy array as a tensor, images in the memory format of the mode."""
    tensor = torch.from_numpy(array)
    if mode == "channels_last" and tensor.ndim == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def lenet() -> Any:
    """LeNet-5 as weft.models.LeNet5 has it."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def mlp(*sizes: int) -> Any:
    layers: list[Any] = []
    for before, after in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def resnet18(classes: int, small_images: bool) -> Any:
    """He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2016; its first layer for 32x32 images is
    the paper's for CIFAR."""
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.path = nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
                nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
            )  # fmt: skip
            same = stride == 1 and before == after
            self.skip = nn.Identity() if same else nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return torch.relu(self.path(x) + self.skip(x))

    first = nn.Conv2d(3, 64, 3, 1, 1, bias=False) if small_images else nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    layers = [first, nn.BatchNorm2d(64), nn.ReLU(), *([] if small_images else [nn.MaxPool2d(3, 2, 1)])]
    for before, after in ((64, 64), (64, 128), (128, 256), (256, 512)):
        layers += [Block(before, after, 1 if before == after else 2), Block(after, after, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def training_step(model: Any, images: np.ndarray, labels: np.ndarray, mode: str) -> Callable[[], object] | None:
    """None where the mode has no meaning for the model or its compilation fails."""
    x, y = in_format(mode, images), torch.from_numpy(labels)
    if mode == "channels_last":
        if images.ndim != 4:
            return None
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_function = torch.nn.CrossEntropyLoss()

    def forward(x: Any, y: Any) -> Any:
        return loss_function(model(x), y)

    function = compiled(forward, x, y) if mode == "compile" else forward
    if function is None:
        return None

    def step() -> object:
        optimizer.zero_grad()
        loss = function(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def inference(model: Any, images: np.ndarray, mode: str) -> Callable[[], object] | None:
    x = in_format(mode, images)
    model.eval()
    if mode == "channels_last":
        if images.ndim != 4:
            return None
        model = model.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        function = compiled(model, x) if mode == "compile" else model
    if function is None:
        return None

    def infer() -> object:
        with torch.inference_mode():
            return function(x)

    return infer
