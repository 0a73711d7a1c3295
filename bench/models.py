"""Whole training steps and inferences: forward, loss, backward and update, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import weft
from bench import peers
from bench.measure import Contestant, Row

# Multiplications and additions of one image; a training step takes three times as many, but for the first
# layer's input gradient, which nobody asks for.
LENET_FORWARD = 2 * (784 * 6 * 25 + 100 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10)
LENET_STEP = 3 * LENET_FORWARD - 2 * 784 * 6 * 25
MLP_FORWARD = 2 * (784 * 512 + 512 * 512 + 512 * 10)
MLP_STEP = 3 * MLP_FORWARD - 2 * 784 * 512


def weft_step(model: Any, images: np.ndarray, labels: np.ndarray) -> Callable[[], object]:
    x, y = weft.tensor(images), weft.tensor(labels)
    optimizer = weft.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_function = weft.nn.CrossEntropyLoss()

    def step() -> object:
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_step(model: Any, images: np.ndarray, labels: np.ndarray, mode: str) -> Callable[[], object]:
    torch = peers.torch
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    if mode == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss_function = torch.nn.CrossEntropyLoss()
    forward = torch.compile(model) if mode == "compile" else model

    def step() -> object:
        optimizer.zero_grad()
        loss = loss_function(forward(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def weft_inference(model: Any, images: np.ndarray) -> Callable[[], object]:
    x = weft.tensor(images)
    model.eval()

    def infer() -> object:
        with weft.no_grad():
            return model(x)

    return infer


def torch_inference(model: Any, images: np.ndarray) -> Callable[[], object]:
    torch = peers.torch
    x = torch.from_numpy(images)
    model.eval()

    def infer() -> object:
        with torch.inference_mode():
            return model(x)

    return infer


def data(batch: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *shape)).astype(np.float32)
    return images, rng.integers(0, 10, batch)


def rows(quick: bool, modes: list[str]) -> Iterator[tuple[Row, Callable[[], list[Contestant]]]]:
    """Each row, and what makes its contestants."""
    nets = [
        ("LeNet-5", weft.models.LeNet5, peers.torch_lenet, (1, 28, 28), LENET_STEP, LENET_FORWARD,
         [1, 64] if quick else [1, 16, 64, 256, 1024]),
        ("MLP 784-512-512-10", lambda: weft.models.MLP([784, 512, 512, 10]), peers.torch_mlp, (784,),
         MLP_STEP, MLP_FORWARD, [64] if quick else [1, 64, 512]),
    ]  # fmt: skip
    for name, ours, theirs, shape, step_flop, forward_flop, batches in nets:
        for batch in batches:
            images, labels = data(batch, *shape)

            def training(ours: Any = ours, theirs: Any = theirs, images: Any = images, labels: Any = labels) -> Any:
                contestants = [Contestant("weft", weft_step(ours(), images, labels))]
                if peers.have_torch():
                    usable = modes if images.ndim == 4 else [m for m in modes if m != "channels_last"]
                    contestants += [
                        Contestant(f"torch {mode}", torch_step(theirs(), images, labels, mode)) for mode in usable
                    ]
                return contestants

            def inference(ours: Any = ours, theirs: Any = theirs, images: Any = images) -> Any:
                contestants = [Contestant("weft", weft_inference(ours(), images))]
                if peers.have_torch():
                    contestants.append(Contestant("torch eager", torch_inference(theirs(), images)))
                return contestants

            yield Row("models", f"{name}, training step", f"batch {batch}", flop=step_flop * batch), training
            yield Row("models", f"{name}, inference", f"batch {batch}", flop=forward_flop * batch), inference
