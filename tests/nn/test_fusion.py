"""Fusion: what nn.Sequential joins, what it leaves alone, and that results stay."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import assert_close
from weft import nn
from weft.nn import functional as F
from weft.nn import fusion
from weft.tensor import Tensor

FUSED = ("conv2d_relu_max_pool2d", "conv2d_activation", "linear_activation")


@pytest.fixture(autouse=True)
def fusion_on() -> Iterator[None]:
    weft.set_fusion(True)
    yield
    weft.set_fusion(True)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fused functions in the order in which they are called."""
    names: list[str] = []
    for name in FUSED:
        function = getattr(F, name)

        def counted(*args: Any, name: str = name, function: Any = function, **kwargs: Any) -> Any:
            names.append(name)
            return function(*args, **kwargs)

        monkeypatch.setattr(F, name, counted)
    return names


def image(*shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(K.copy(np.random.default_rng(0).normal(size=shape).astype(dtype)), requires_grad=True)


def outcome(model: nn.Module, x: Tensor) -> list[np.ndarray]:
    """The output and all gradients, for a random gradient of the output."""
    model.zero_grad()
    x.grad = None
    out = model(x)
    out.backward(Tensor(K.copy(np.random.default_rng(1).normal(size=tuple(out.shape)).astype(str(out.dtype)))))
    found = [out, x.grad, *(p.grad for p in model.parameters())]
    return [np.array(t.detach().numpy()) for t in found if t is not None]


MODELS: dict[str, tuple[Any, tuple[int, ...], list[str]]] = {
    "lenet": (
        weft.models.LeNet5,
        (5, 1, 28, 28),
        ["conv2d_relu_max_pool2d"] * 2 + ["linear_activation"] * 2,
    ),
    "conv and relu": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), (2, 2, 7, 6), ["conv2d_activation"]),
    "another window": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(3)),
        (2, 2, 8, 9),
        ["conv2d_activation"],
    ),
    "overlapping windows": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2, 1)),
        (2, 2, 8, 9),
        ["conv2d_activation"],
    ),
    "linear": (
        lambda: nn.Sequential(
            nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5, bias=False), nn.Sigmoid(), nn.Linear(5, 2), nn.GELU()
        ),
        (7, 3),
        ["linear_activation"] * 2,
    ),
    "nothing to join": (lambda: nn.Sequential(nn.ReLU(), nn.Linear(3, 3), nn.Dropout(0.0)), (2, 3), []),
    "nested": (
        lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Sequential(nn.Linear(3, 3)), nn.ReLU()),
        (2, 3),
        ["linear_activation"],
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_results_stay(called: list[str], name: str, dtype: str, training: bool) -> None:
    make, shape, expected = MODELS[name]
    weft.manual_seed(0)
    model = make().to(dtype).train(training)
    x = image(*shape, dtype=dtype)
    fused = outcome(model, x)
    assert called == expected
    weft.set_fusion(False)
    plain = outcome(model, x)
    assert called == expected
    assert len(fused) == len(plain) == 2 + len(list(model.parameters()))
    for a, b in zip(fused, plain, strict=True):
        assert_close(a, b, terms=400)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.ReLU())


def test_switch(called: list[str]) -> None:
    assert fusion.is_fusion_enabled()
    weft.set_fusion(False)
    assert not fusion.is_fusion_enabled()
    small()(image(1, 1, 6, 6))
    assert not called


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_see_their_module(called: list[str], register: str, place: int) -> None:
    model, x, seen = small(), image(2, 1, 6, 6), []
    plain = outcome(model, x)
    called.clear()
    with getattr(model[place], register)(lambda module, *values: seen.append(type(module).__name__)):
        watched = outcome(model, x)
    assert seen == [type(model[place]).__name__]
    assert called == (["linear_activation"] if place < 2 else ["conv2d_activation", "linear_activation"])
    for a, b in zip(plain, watched, strict=True):
        assert_close(a, b, terms=18)
    called.clear()
    model(x)
    assert called == ["conv2d_relu_max_pool2d", "linear_activation"]


def test_a_changed_container_is_planned_again(called: list[str]) -> None:
    model, x = small(), image(2, 1, 6, 6)
    model(x)
    called.clear()
    model[1] = nn.Tanh()
    model(x)
    assert called == ["linear_activation"]
    called.clear()
    model.insert(1, nn.ReLU())
    model(x)
    assert called == ["conv2d_activation", "linear_activation"]
    called.clear()
    del model[2]
    model(x)
    assert called == ["conv2d_relu_max_pool2d", "linear_activation"]
    called.clear()
    model[:2](x)
    assert called == ["conv2d_activation"]


def test_changed_options_and_forward(called: list[str]) -> None:
    model, x = small(), image(2, 1, 6, 6)
    model(x)
    called.clear()
    model[2].return_indices = True
    out = model[:3](x)
    assert len(out) == 2
    assert called == ["conv2d_activation"]
    called.clear()
    model[2].return_indices = False
    model[1].forward = lambda input: input * 2.0
    model(x)
    assert called == ["linear_activation"]


def test_subclasses_are_left_alone(called: list[str]) -> None:
    class Doubled(nn.ReLU):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * 2.0

    model = nn.Sequential(nn.Linear(2, 2), Doubled())
    x = image(3, 2)
    assert_close(model(x), np.maximum(model[0](x).detach().numpy(), 0) * 2)
    assert not called


def test_state_and_copies_stay() -> None:
    model, x = small(), image(2, 1, 6, 6)
    keys = list(model.state_dict())
    before = model(x).detach().numpy()
    assert list(model.state_dict()) == keys == ["0.weight", "0.bias", "4.weight", "4.bias"]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_close(twin(x), before)
        twin[0].weight.array = K.zeros((2, 1, 3, 3))
        assert_close(model(x), before)


def test_summary_lists_every_layer() -> None:
    table = weft.summary(weft.models.LeNet5(), (1, 1, 28, 28))
    assert [row.kind for row in table.layers][:3] == ["Conv2d", "ReLU", "MaxPool2d"]
    assert len(table.layers) == 12


def test_a_pattern_of_ones_own(called: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = fusion.Pattern((nn.ReLU, nn.Tanh), lambda relu, tanh: True, lambda relu, tanh, x: x * 3.0)
    monkeypatch.setattr(fusion, "PATTERNS", [pattern])
    x = image(2, 2)
    assert_close(nn.Sequential(nn.ReLU(), nn.Tanh())(x), 3 * x.detach().numpy())


@pytest.mark.parametrize("function", [F.linear_activation, F.conv2d_activation], ids=lambda f: f.__name__)
def test_an_activation_that_needs_its_input_is_an_error(function: Any) -> None:
    with pytest.raises(ValueError, match=f"{function.__name__}: activation must be one of relu, sigmoid, tanh"):
        function(image(1, 1, 4, 4), image(1, 1, 4, 4), activation="gelu")
