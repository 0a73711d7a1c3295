"""The libraries that weft is measured against; those that are not installed are left out."""

from __future__ import annotations

from typing import Any

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment,unused-ignore]


def set_threads(count: int) -> None:
    """Gives every peer as many threads as weft has."""
    if torch is not None:
        torch.set_num_threads(count)


def have_torch() -> bool:
    return torch is not None


def torch_lenet() -> Any:
    """LeNet-5 as weft.models.LeNet5 has it."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def torch_mlp() -> Any:
    nn = torch.nn
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
