"""Rows of whole networks: training steps and inferences, by the host's clock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import weft
from bench.cases import mnist, models
from bench.cases.steps import data, weft_inference, weft_step
from bench.device import peer
from bench.device.arrays import default_device
from bench.device.case import Case, Entry
from bench.measure import Row, Run
from bench.peers import torch_peer


def model(net: models.Net) -> Any:
    """With the same weights each time."""
    weft.manual_seed(0)
    return net.ours()


def weights(net: models.Net) -> list[np.ndarray]:
    with default_device():
        return [np.asarray(parameter.detach().array.numpy()) for parameter in model(net).parameters()]


def entries(
    net: models.Net, images: np.ndarray, ours: Callable[..., Run], theirs: Callable[..., Run], trained: bool
) -> list[Entry]:
    """`ours` of a model and whether it is captured; `theirs` of a model, the images, and what wraps its function."""

    def make(captured: bool) -> Run:
        with default_device():
            return ours(model(net), captured=captured)

    def make_theirs(wrap: Callable[[Any], Any], last: bool) -> Run:
        (x,) = peer.to_device(images)
        network, x = peer.laid_out(peer.load(net.theirs(), weights(net)), x, last)
        return theirs(network, x, wrap)

    found = [Entry("weft captured", partial(make, True)), Entry("weft eager", partial(make, False))]
    return [*found, *peer.modes(make_theirs, images=net.image[0] > 1, graphed_compiled=trained)]


def training(net: models.Net, batch: int, figure: float | None = None) -> Case:
    """Forward, loss, backward, SGD with momentum. The losses of the first step are compared."""

    def made() -> list[Entry]:
        images, labels = data(batch, *net.image)

        def theirs(network: Any, x: Any, wrap: Callable[[Any], Any]) -> Run:
            return peer.training_step(network, x, peer.to_device(labels)[0], wrap)

        return entries(net, images, partial(weft_step, images=images, labels=labels), theirs, trained=True)

    row = Row("step", f"{net.name}, training step", f"batch {batch}", flop=net.step_flop * batch, figure=figure)
    return Case(row, made, tolerance=1e-3, host=True)


def inference(net: models.Net, batch: int) -> Case:
    def made() -> list[Entry]:
        images, _ = data(batch, *net.image)
        return entries(net, images, partial(weft_inference, images=images), peer.inference, trained=False)

    row = Row("inference", f"{net.name}, inference", f"batch {batch}", flop=net.forward_flop * batch)
    return Case(row, made, tolerance=1e-3, host=True)


def lenet() -> models.Net:
    return models.nets(quick=True)[0]


def resnet(size: int, classes: int) -> models.Net:
    return models.resnet(size, 1, classes)._replace(theirs=lambda: torch_peer.resnet18(classes, size == 32))


def mnist_training() -> Case:
    """LeNet-5 on MNIST, the data on the device: the seconds of training until the wanted accuracy."""
    row = Row("mnist", f"LeNet-5 on MNIST to {mnist.WANTED}%", "training alone", at_most=1.0)

    def measure() -> dict[str, float]:
        reached, row.about = mnist.train_weft("--device", "cuda")
        each = row.about["train_seconds"] / row.about["epochs"]
        return {"weft": each * row.about["epochs_to_accuracy"]["weft"] if reached < float("inf") else reached}

    return Case(row, measure=measure)
