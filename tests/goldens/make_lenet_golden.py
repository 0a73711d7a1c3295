"""Writes lenet.npz: what PyTorch makes of LeNet-5 in float64 on fixed numbers.

The loss and every gradient of the first step, the loss before each of ten steps of SGD with momentum and weight decay,
and all parameters after them. tests/nn/test_golden.py compares weft with it, without PyTorch.

    pip install torch==2.13.0 && python tests/goldens/make_lenet_golden.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

STEPS, LR, MOMENTUM, DECAY = 10, 0.05, 0.9, 5e-4
SHAPES = {
    "0.weight": (6, 1, 5, 5), "0.bias": (6,), "3.weight": (16, 6, 5, 5), "3.bias": (16,),
    "7.weight": (120, 400), "7.bias": (120,), "9.weight": (84, 120), "9.bias": (84,),
    "11.weight": (10, 84), "11.bias": (10,),
}  # fmt: skip


def inputs() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Images, labels and first parameters, from a seed."""
    rng = np.random.default_rng(1998)
    images = rng.normal(size=(8, 1, 28, 28))
    labels = rng.integers(0, 10, 8)
    parameters = {name: rng.uniform(-0.15, 0.15, shape) for name, shape in SHAPES.items()}
    return images, labels, parameters


def main() -> None:
    import torch
    from torch import nn

    images, labels, parameters = inputs()
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    ).double()  # fmt: skip
    model.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    losses, found = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if step == 0:
            found = {f"grad.{n}": p.grad.numpy().astype(np.float32) for n, p in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    # Single precision is enough to compare with, and half the size.
    found.update({f"after.{n}": p.detach().numpy().astype(np.float32) for n, p in model.named_parameters()})
    np.savez_compressed(Path(__file__).with_name("lenet.npz"), losses=np.array(losses), **found)


if __name__ == "__main__":
    main()
