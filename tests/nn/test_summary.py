"""The table of a model: shapes, parameters, operations; the model is left as it was."""

from __future__ import annotations

import pytest

import weft
from weft import nn
from weft.models import MLP, LeNet5


def test_lenet() -> None:
    table = weft.summary(LeNet5(), (2, 1, 28, 28))
    assert (table.parameters, table.trainable) == (61706, 61706)
    assert [layer.kind for layer in table.layers][:4] == ["Conv2d", "ReLU", "MaxPool2d", "Conv2d"]
    assert [layer.output_shape for layer in table.layers if layer.parameters] == [
        (2, 6, 28, 28), (2, 16, 10, 10), (2, 120), (2, 84), (2, 10),
    ]  # fmt: skip
    assert [layer.parameters for layer in table.layers if layer.parameters] == [156, 2416, 48120, 10164, 850]
    # Multiplications and additions with the bias: 2 (products) for each output.
    counts = [2 * 6 * 28 * 28 * 25, 2 * 16 * 10 * 10 * 150, 2 * 120 * 400, 2 * 84 * 120, 2 * 10 * 84]
    assert [layer.flops for layer in table.layers if layer.parameters] == [2 * n for n in counts]
    assert table.flops == 2 * sum(counts)


def test_the_text() -> None:
    model = MLP([3, 4, 2])
    model[0].weight.requires_grad_(False)
    lines = str(weft.summary(model, (5, 3))).splitlines()
    assert lines[0] == "MLP, input (5, 3)"
    assert lines[2].split() == ["layer", "output", "shape", "parameters", "FLOPs"]
    assert lines[4].split() == ["0", "(Linear)", "(5,", "4)", "16", "120"]
    assert lines[-1] == "26 parameters (12 frozen), 200 FLOPs forward"
    assert len({len(line) for line in lines[1:-1]}) == 1


def test_operations_of_pooling_and_layers_without_bias() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.AvgPool2d(3, stride=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5, bias=False),
    )  # fmt: skip
    flops = [layer.flops for layer in weft.summary(model, (1, 4, 8, 8)).layers]
    assert flops == [6 * 36 * (2 * 2 * 9 - 1), 6 * 16 * 9, 6 * 16, 0, 5 * 11]


class Shared(nn.Module):
    """One layer used twice, and a parameter of its own beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.scale = nn.Parameter(weft.ones(3))

    def forward(self, x: weft.Tensor) -> weft.Tensor:
        return self.layer(self.layer(x)) * self.scale


def test_a_layer_used_twice_is_counted_once() -> None:
    table = weft.summary(Shared(), (1, 3))
    assert [layer.parameters for layer in table.layers] == [12, 0]
    assert [layer.flops for layer in table.layers] == [18, 18]
    assert table.parameters == 15


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    model[1].eval()
    weft.manual_seed(3)
    expected = weft.randn(4).tolist()
    weft.manual_seed(3)
    weft.summary(model, (2, 3))
    assert weft.randn(4).tolist() == expected
    assert [m.training for m in model] == [True, False, True]
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        weft.summary(model, (2, 5))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_one_layer_alone() -> None:
    table = weft.summary(nn.Linear(3, 2), (4, 3), dtype="float32")
    assert [(layer.name, layer.kind, layer.output_shape) for layer in table.layers] == [("", "Linear", (4, 2))]
    assert "Linear  " in str(table)
