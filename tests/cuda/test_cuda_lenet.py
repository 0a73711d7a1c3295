"""LeNet-5's training step as a CUDA graph: few nodes, because each costs more than its arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import weft
import weft.kernels as K

pytestmark = pytest.mark.usefixtures("cuda_device")


def training() -> tuple[weft.nn.Module, Callable[[weft.Tensor, weft.Tensor], weft.Tensor]]:
    weft.manual_seed(0)
    model = weft.models.LeNet5()
    optimizer = weft.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(images: weft.Tensor, labels: weft.Tensor) -> weft.Tensor:
        optimizer.zero_grad()
        loss = weft.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def batch(rng: np.random.Generator, size: int) -> tuple[weft.Tensor, weft.Tensor]:
    images = rng.normal(size=(size, 1, 28, 28)).astype(np.float32)
    return weft.tensor(images), weft.tensor(rng.integers(0, 10, size))


# Five layers each way and the loss, the sums of the blocks of two convolutions' weights, and the update; at 512 the
# sum of the blocks' losses.
@pytest.mark.parametrize(("size", "nodes"), [(64, 14), (512, 15)])
def test_nodes(rng: np.random.Generator, size: int, nodes: int) -> None:
    K.set_poison(False)  # the suite's own launches
    run = weft.capture(training()[1])
    images, labels = batch(rng, size)
    for _ in range(3):
        run(images, labels)
    (report,) = run.report()
    assert len(report.kernels) == 12
    assert report.graph_nodes == nodes


def test_a_captured_step_has_the_bits_of_the_plain_one(rng: np.random.Generator) -> None:
    (captured, step), (plain, same_step) = training(), training()
    run = weft.capture(step)
    for _ in range(5):
        images, labels = batch(rng, 9)
        assert run(images, labels).item() == same_step(images, labels).item()
    for a, b in zip(captured.parameters(), plain.parameters(), strict=True):
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()
