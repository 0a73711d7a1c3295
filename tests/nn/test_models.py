"""The ready-made networks: sizes, shapes, parts, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from weft import models, nn


@pytest.mark.parametrize("make", [models.LeNet5, models.LeNet5_1998])
def test_lenet(make: type[nn.Module]) -> None:
    model = make()
    assert sum(p.numel() for p in model.parameters()) == 61706
    assert model(weft.randn(3, 1, 28, 28)).shape == (3, 10)
    assert make(classes=7, channels=3)(weft.randn(2, 3, 28, 28)).shape == (2, 7)


@pytest.mark.parametrize("make", [models.LeNet5, models.LeNet5_1998])
def test_lenet_learns_a_batch(make: type[nn.Module]) -> None:
    weft.manual_seed(0)
    model, loss = make(), nn.CrossEntropyLoss()
    images, labels = weft.randn(8, 1, 28, 28), weft.tensor(np.arange(8))
    optimizer = weft.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(model(images), labels)
        value.backward()
        optimizer.step()
    assert value.item() < 0.1


def test_a_slice_of_a_model_is_its_layers() -> None:
    model = models.LeNet5()
    part = model[:3]
    assert [type(m).__name__ for m in part] == ["Conv2d", "ReLU", "MaxPool2d"]
    assert part[0] is model[0]
    assert part(weft.randn(2, 1, 28, 28)).shape == (2, 6, 14, 14)
    assert len(models.MLP([4, 3, 2])[1:]) == 2


def test_scaled_tanh_is_one_at_one() -> None:
    x = weft.tensor([-1.0, 0.0, 1.0])
    assert models.ScaledTanh()(x).tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-4)


def test_mlp_and_perceptron() -> None:
    model = models.MLP([5, 4, 3], activation=nn.Tanh)
    assert [type(m).__name__ for m in model] == ["Linear", "Tanh", "Linear"]
    assert model(weft.randn(2, 5)).shape == (2, 3)
    with pytest.raises(ValueError, match="MLP: sizes must name the input and the output"):
        models.MLP([5])
    assert set(np.unique(models.Perceptron(5)(weft.randn(50, 5)).detach().numpy())) <= {0.0, 1.0}
