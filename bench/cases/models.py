"""Whole training steps and inferences: forward, loss, backward and update, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import weft
from bench.cases import shapes
from bench.cases.steps import data, weft_inference, weft_step
from bench.measure import Case, Contestant, Row, Run
from bench.peers import chosen, jax_peer, torch_peer


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
    jax_forward: Callable[..., Any] | None = None  # of parameters and input, the parameters in weft's order

    @property
    def step_flop(self) -> float:
        return 3 * self.forward_flop - self.first_layer_flop


def jax_runs(net: Net, make: Callable[..., Run]) -> list[Contestant]:
    forward = net.jax_forward
    if forward is None:
        return []
    return chosen.jax_runs(lambda: make(forward, [parameter.detach().numpy() for parameter in net.ours().parameters()]))


def training_case(net: Net, batch: int) -> Case:
    def contestants(modes: list[str]) -> list[Contestant]:
        images, labels = data(batch, *net.image)
        return [
            Contestant("weft eager", weft_step(net.ours(), images, labels)),
            Contestant("weft captured", weft_step(net.ours(), images, labels, captured=True)),
            *chosen.torch_runs(modes, lambda mode: torch_peer.training_step(net.theirs(), images, labels, mode)),
            *jax_runs(net, lambda forward, weights: jax_peer.training_step(forward, weights, images, labels)),
        ]

    row = Row(
        "models", f"{net.name}, training step", f"batch {batch}",
        flop=net.step_flop * batch, figure=net.figures.get(batch),
    )  # fmt: skip
    return Case(row, contestants)


def inference_case(net: Net, batch: int) -> Case:
    def contestants(modes: list[str]) -> list[Contestant]:
        images, _ = data(batch, *net.image)
        return [
            Contestant("weft eager", weft_inference(net.ours(), images)),
            Contestant("weft captured", weft_inference(net.ours(), images, captured=True)),
            *chosen.torch_runs(modes, lambda mode: torch_peer.inference(net.theirs(), images, mode)),
            *jax_runs(net, lambda forward, weights: jax_peer.inference(forward, weights, images)),
        ]

    row = Row("models", f"{net.name}, inference", f"batch {batch}", flop=net.forward_flop * batch)
    return Case(row, contestants)


RESNET_FLOP = {32: 2.0 * 555_422_720, 224: 2.0 * 1_814_073_344}  # forward, one image
RESNET_FIRST = {32: 2.0 * 32**2 * 64 * 27, 224: 2.0 * 112**2 * 64 * 147}


def resnet(size: int, batch: int, classes: int) -> Net:
    small = size == 32
    return Net(
        f"ResNet-18 {size}x{size}", lambda: weft.models.ResNet18(classes, stem="cifar" if small else "imagenet"),
        lambda: torch_peer.resnet18(classes, small), (3, size, size), RESNET_FLOP[size], RESNET_FIRST[size],
        [batch], {batch: shapes.RESNET_STEP_FIGURE},
    )  # fmt: skip


def nets(quick: bool) -> list[Net]:
    conv1 = 2.0 * 784 * 6 * 25
    lenet = conv1 + 2.0 * (100 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10)
    mlp = 2.0 * (784 * 512 + 512 * 512 + 512 * 10)
    return [
        Net("LeNet-5", weft.models.LeNet5, torch_peer.lenet, (1, 28, 28), lenet, conv1,
            [1, 64] if quick else [1, 16, 64, 256, 1024], shapes.LENET_STEP_FIGURES, jax_peer.lenet),
        Net("MLP 784-512-512-10", lambda: weft.models.MLP([784, 512, 512, 10]),
            lambda: torch_peer.mlp(784, 512, 512, 10), (784,), mlp, 2.0 * 784 * 512, [64] if quick else [1, 64, 512],
            {}, jax_peer.mlp),
        *([] if quick or not hasattr(weft.models, "ResNet18") else [resnet(32, 32, 10), resnet(224, 8, 1000)]),
    ]  # fmt: skip


def cases(quick: bool) -> Iterator[Case]:
    for net in nets(quick):
        for batch in net.batches:
            yield training_case(net, batch)
            yield inference_case(net, batch)
