"""Whole training steps and inferences: forward, loss, backward and update, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import weft
from bench import peers, shapes, torch_peer
from bench.measure import Case, Contestant, Row
from bench.steps import data, weft_inference, weft_step


class Net(NamedTuple):
    """A network of weft and the same one of PyTorch."""

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    image: tuple[int, ...]
    forward_flop: float  # multiplications and additions of one image
    first_layer_flop: float  # whose input gradient nobody asks for
    batches: list[int]
    figures: dict[int, float] = {}  # noqa: RUF012 (never changed)

    @property
    def step_flop(self) -> float:
        return 3 * self.forward_flop - self.first_layer_flop


def training_case(net: Net, batch: int, modes: list[str]) -> Case:
    def contestants() -> list[Contestant]:
        images, labels = data(batch, *net.image)
        return [
            Contestant("weft eager", weft_step(net.ours(), images, labels)),
            *peers.torch_runs(modes, lambda mode: torch_peer.training_step(net.theirs(), images, labels, mode)),
        ]

    row = Row(
        "models", f"{net.name}, training step", f"batch {batch}",
        flop=net.step_flop * batch, figure=net.figures.get(batch),
    )  # fmt: skip
    return Case(row, contestants)


def inference_case(net: Net, batch: int, modes: list[str]) -> Case:
    def contestants() -> list[Contestant]:
        images, _ = data(batch, *net.image)
        return [
            Contestant("weft eager", weft_inference(net.ours(), images)),
            *peers.torch_runs(modes, lambda mode: torch_peer.inference(net.theirs(), images, mode)),
        ]

    row = Row("models", f"{net.name}, inference", f"batch {batch}", flop=net.forward_flop * batch)
    return Case(row, contestants)


def nets(quick: bool) -> list[Net]:
    conv1 = 2.0 * 784 * 6 * 25
    lenet = conv1 + 2.0 * (100 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10)
    mlp = 2.0 * (784 * 512 + 512 * 512 + 512 * 10)
    return [
        Net("LeNet-5", weft.models.LeNet5, torch_peer.lenet, (1, 28, 28), lenet, conv1,
            [1, 64] if quick else [1, 16, 64, 256, 1024], shapes.LENET_STEP_FIGURES),
        Net("MLP 784-512-512-10", lambda: weft.models.MLP([784, 512, 512, 10]),
            lambda: torch_peer.mlp(784, 512, 512, 10), (784,), mlp, 2.0 * 784 * 512, [64] if quick else [1, 64, 512]),
    ]  # fmt: skip


def cases(quick: bool, modes: list[str]) -> Iterator[Case]:
    for net in nets(quick):
        for batch in net.batches:
            yield training_case(net, batch, modes)
            yield inference_case(net, batch, modes)
