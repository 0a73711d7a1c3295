"""Module: what it finds, saves and moves; containers; hooks; the layers' own checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from weft import nn
from weft.nn.module import Module, Parameter
from weft.tensor import Tensor


def value(*shape: int, fill: float = 1.0) -> Tensor:
    return Tensor(K.full(shape, fill))


class Scale(Module):
    """x times a trained factor; counts its calls in a buffer that is not saved."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.factor = Parameter(value(size, fill=2.0))
        self.register_buffer("offset", value(size, fill=0.5))
        self.register_buffer("calls", Tensor(K.zeros((), "int64")), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.offset


class Block(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = Scale()
        self.rest = nn.Sequential(Scale(), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.first(x))


def test_names() -> None:
    model = Block()
    assert [n for n, _ in model.named_parameters()] == ["first.factor", "rest.0.factor"]
    assert [n for n, _ in model.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [n for n, _ in model.named_children()] == ["first", "rest"]
    assert list(model.state_dict()) == ["first.factor", "first.offset", "rest.0.factor", "rest.0.offset"]
    assert len(list(model.buffers())) == 4
    assert model.get_submodule("rest.0") is model.rest[0]
    assert model.get_parameter("rest.0.factor") is model.rest[0].factor


def test_a_shared_parameter_counts_once() -> None:
    model = Block()
    model.rest[0].factor = model.first.factor
    assert len(list(model.parameters())) == 1
    assert len(model.state_dict()) == 4


def test_assignment() -> None:
    model = Scale()
    model.factor = None
    assert list(model.parameters()) == []
    with pytest.raises(TypeError, match="Scale: 'offset' must be a Tensor or None, got int"):
        model.offset = 3
    model.offset = Parameter(value(1))  # replaces the buffer
    assert [n for n, _ in model.named_parameters()] == ["offset"]
    del model.offset
    with pytest.raises(AttributeError, match="'Scale' object has no attribute 'offset'"):
        _ = model.offset


def test_registration_errors() -> None:
    model = Scale()
    with pytest.raises(ValueError, match="Scale: a name must be a non-empty str without '.', got 'a.b'"):
        model.register_buffer("a.b", None)
    with pytest.raises(ValueError, match="Scale: attribute 'forward' already exists"):
        model.register_parameter("forward", None)
    with pytest.raises(TypeError, match="Scale: 'x' must be a Module or None, got int"):
        model.add_module("x", 3)  # type: ignore[arg-type]

    class Early(Module):
        def __init__(self) -> None:
            self.weight = Parameter(value(1))

    with pytest.raises(AttributeError, match=r"Early: call super\(\).__init__\(\) before assigning 'weight'"):
        Early()


def test_load_state_dict_copies_in_place() -> None:
    source, model = Block(), Block()
    K.fill(source.first.factor.array, 7.0)
    before = model.first.factor
    version = before.array.version
    assert model.load_state_dict(source.state_dict()) == ([], [])
    assert model.first.factor is before
    assert before.array.version > version
    assert np.asarray(before.array).tolist() == [7.0, 7.0]
    K.fill(source.first.factor.array, 9.0)
    assert np.asarray(before.array).tolist() == [7.0, 7.0]


def test_load_state_dict_writes_nothing_where_something_does_not_fit() -> None:
    model = Block()
    state: dict[str, Any] = {"first.factor": np.zeros(2), "first.offset": np.zeros((3, 2)), "extra": np.zeros(1)}
    with pytest.raises(ValueError, match="load_state_dict: Block:") as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    assert "missing keys: rest.0.factor, rest.0.offset" in text
    assert "unexpected keys: extra" in text
    assert "first.offset: the module has shape (2,), the state (3, 2)" in text
    assert np.asarray(model.first.factor.array).tolist() == [2.0, 2.0]
    del state["first.offset"]
    loose = model.load_state_dict(state, strict=False)
    assert loose.unexpected_keys == ["extra"]
    assert loose.missing_keys == ["first.offset", "rest.0.factor", "rest.0.offset"]
    assert np.asarray(model.first.factor.array).tolist() == [0.0, 0.0]


def test_modes_and_freezing() -> None:
    model = Block()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert all(m.training for m in model.train().modules())
    assert not any(p.requires_grad for p in model.requires_grad_(False).parameters())
    visited: list[Module] = []
    assert model.apply(visited.append) is model
    assert visited[-1] is model
    assert len(visited) == 5


def test_gradients_and_zero_grad() -> None:
    model = Block()
    model(value(3, 2)).backward(value(3, 2))
    assert np.asarray(model.first.factor.grad.array).tolist() == [6.0, 6.0]
    model.zero_grad(set_to_none=False)
    assert np.asarray(model.first.factor.grad.array).tolist() == [0.0, 0.0]
    model.zero_grad()
    assert model.first.factor.grad is None


def test_to() -> None:
    model = Scale()
    parameter = model.factor
    assert model.to("float64") is model
    assert model.factor is parameter
    assert (str(model.factor.dtype), str(model.offset.dtype), str(model.calls.dtype)) == (
        "float64",
        "float64",
        "int64",
    )
    assert str(model.float().factor.dtype) == "float32"
    assert str(model.to("cpu", K.DType.float64).factor.dtype) == "float64"
    with pytest.raises(TypeError, match="Scale.to: dtype must be float32, float64 or bfloat16, got int64"):
        model.to("int64")


def test_hooks() -> None:
    model, seen = Scale(), []
    before = model.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    after = model.register_forward_hook(lambda module, args, out: seen.append(out) or out * 10)
    assert np.asarray(model(value(2)).detach().array).tolist() == [45.0, 45.0]
    before.remove()
    with after:
        assert np.asarray(model(value(2)).detach().array).tolist() == [25.0, 25.0]
    assert np.asarray(model(value(2)).detach().array).tolist() == [2.5, 2.5]
    assert len(seen) == 2


def test_sequential() -> None:
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Identity()
    model = nn.Sequential(a, b, c)
    assert (len(model), model[0], model[-1], list(model)) == (3, a, c, [a, b, c])
    assert list(model[1:]) == [b, c]
    assert isinstance(model[1:], nn.Sequential)
    with pytest.raises(IndexError, match="Sequential: index 3 is out of range for 3 modules"):
        _ = model[3]
    model[1] = c
    del model[0]
    assert [n for n, _ in nn.Sequential({"x": a, "y": b}).named_children()] == ["x", "y"]
    assert list(model._modules) == ["0", "1"]
    model.insert(0, b)
    assert list(model) == [b, c, c]


def test_lists_and_dicts() -> None:
    layers = nn.ModuleList([Scale(), Scale()]).append(Scale())
    assert list(layers.state_dict())[-1] == "2.offset"
    assert isinstance(layers[:2], nn.ModuleList)
    with pytest.raises(TypeError, match=r"ModuleList: forward\(\) is not defined"):
        layers(1)
    named = nn.ModuleDict({"a": Scale()})
    named["b"] = nn.ReLU()
    assert (list(named), "a" in named, len(named)) == (["a", "b"], True, 2)
    assert isinstance(named.pop("b"), nn.ReLU)
    assert [n for n, _ in named.named_parameters()] == ["a.factor"]


def test_repr() -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.Sequential(nn.Linear(4, 2, bias=False)))
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))\n"
        "  (1): ReLU()\n"
        "  (2): Sequential(\n"
        "    (0): Linear(in_features=4, out_features=2, bias=False)\n"
        "  )\n"
        ")"
    )


def test_layer_errors() -> None:
    with pytest.raises(ValueError, match="Conv2d: groups 2 must divide in_channels 3"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="Conv2d: groups must be positive, got 0"):
        nn.Conv2d(3, 4, 3, groups=0)
    with pytest.raises(ValueError, match="Conv2d: padding must be numbers, 'same' or 'valid', got 'full'"):
        nn.Conv2d(3, 4, 3, padding="full")
    with pytest.raises(ValueError, match="Linear: in_features must be positive, got 0"):
        nn.Linear(0, 3)
    with pytest.raises(ValueError, match=r"Dropout: p must lie in \[0, 1\], got -1"):
        nn.Dropout(-1)
    with pytest.raises(ValueError, match="MSELoss: reduction must be none, mean or sum, got 'max'"):
        nn.MSELoss("max")
    with pytest.raises(ValueError, match="HuberLoss: delta must be positive, got 0"):
        nn.HuberLoss(delta=0)


def test_state_dict_keys_are_torchs() -> None:
    torch = pytest.importorskip("torch")

    def build(n: Any) -> Any:
        return n.Sequential(n.Conv2d(1, 2, 3), n.ReLU(), n.Flatten(), n.Linear(8, 3, bias=False))

    ours, theirs = build(nn).state_dict(), build(torch.nn).state_dict()
    assert list(ours) == list(theirs)
    assert [tuple(v.shape) for v in ours.values()] == [tuple(v.shape) for v in theirs.values()]


# --- states that do not fit change nothing ---


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = {k: t.tolist() for k, t in model.state_dict().items()}
    good = {k: t.numpy() + 1 for k, t in model.state_dict().items()}
    for key in good:
        for bad in (None, "x", [["a"]], [[1], [2, 3]], {}, object(), np.array(["a"]), np.array([1j]), np.ones(7)):
            with pytest.raises(ValueError, match=rf"load_state_dict: Sequential:\n  {key}: "):
                model.load_state_dict({**good, key: bad})
            assert {k: t.tolist() for k, t in model.state_dict().items()} == before
    model.load_state_dict(good)  # which has a number without axes, as NumPy makes it
    for bad in (5, None, [("0.weight", 1)], "state"):
        with pytest.raises(TypeError, match="load_state_dict: Sequential: the state must be a dict, got "):
            model.load_state_dict(bad)
    with pytest.raises(ValueError, match="unexpected keys: 5"):
        model.load_state_dict({**good, 5: 1})


@pytest.mark.cpu
def test_a_parameter_that_cannot_be_written_is_found_before_others_are() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    good = {k: t.numpy() + 1 for k, t in model.state_dict().items()}
    locked = np.ones(3, np.float32)
    locked.flags.writeable = False
    model[1].weight = Parameter(K.asarray(locked))  # in the middle: others come before and after it
    before = {k: t.tolist() for k, t in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"load_state_dict: Sequential:\n  1.weight: .*read-only"):
        model.load_state_dict(good)
    assert {k: t.tolist() for k, t in model.state_dict().items()} == before


def test_a_state_of_the_modules_own_tensors_in_other_places() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    first, second = (model.state_dict()[f"{i}.weight"].tolist() for i in range(2))
    state = model.state_dict()
    state["0.weight"], state["1.weight"] = state["1.weight"], state["0.weight"]
    model.load_state_dict(state)
    assert (model[0].weight.tolist(), model[1].weight.tolist()) == (second, first)
