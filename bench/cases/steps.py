"""One training step and one inference, as a user writes them, in weft; torch_peer.py has PyTorch's."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import weft
from bench.measure import Run


def weft_step(model: Any, images: np.ndarray, labels: np.ndarray, captured: bool = False) -> Run:
    x, y = weft.tensor(images), weft.tensor(labels)
    optimizer = weft.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_function = weft.nn.CrossEntropyLoss()

    def step(x: weft.Tensor, y: weft.Tensor) -> object:
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return partial(weft.capture(step) if captured else step, x, y)


def weft_inference(model: Any, images: np.ndarray, captured: bool = False) -> Run:
    x = weft.tensor(images)
    model.eval()

    def infer(x: weft.Tensor) -> object:
        with weft.no_grad():
            return model(x)

    return partial(weft.capture(infer) if captured else infer, x)


def data(batch: int, *shape: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *shape)).astype(np.float32)
    return images, rng.integers(0, classes, batch)
