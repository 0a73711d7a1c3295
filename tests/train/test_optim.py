"""Optimizers beside torch's, step by step: values, groups, skipped parameters, state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import assert_close
from weft import nn

torch = pytest.importorskip("torch")

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.01, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.2}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.95), "weight_decay": 0.01, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
]
SHAPES = [(3, 5), (7,), (), (2, 1, 3), (17,)]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else "")


def both(rng: np.random.Generator, dtype: str = "float64") -> tuple[list[Any], list[Any]]:
    values = [rng.normal(size=shape).astype(dtype) for shape in SHAPES]
    return (
        [nn.Parameter(K.asarray(np.array(v))) for v in values],
        [torch.tensor(v, requires_grad=True) for v in values],
    )


def give(rng: np.random.Generator, ours: list[Any], theirs: list[Any], skipped: tuple[int, ...] = ()) -> None:
    """The same new gradients to both; None to the skipped ones."""
    for i, (p, t) in enumerate(zip(ours, theirs, strict=True)):
        p.grad = t.grad = None
        if i not in skipped:
            g = np.asarray(rng.normal(size=p.shape), t.detach().numpy().dtype)
            p.grad, t.grad = weft.Tensor(K.asarray(np.array(g))), torch.tensor(g)


def agree(ours: list[Any], theirs: list[Any], steps: int) -> None:
    for p, t in zip(ours, theirs, strict=True):
        assert_close(p, t, factor=4 * steps)


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps(name: str, options: dict[str, Any], dtype: str, rng: np.random.Generator) -> None:
    ours, theirs = both(rng, dtype)
    a, b = getattr(weft.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(1, 11):
        give(rng, ours, theirs)
        a.step()
        b.step()
        agree(ours, theirs, step)


@every_case
def test_skipped_parameters_keep_their_own_count(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    ours, theirs = both(rng)
    a, b = getattr(weft.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step, skipped in enumerate([(1, 4), (), (0, 1), (2,), (0, 1, 2, 3, 4), (3,), ()], 1):
        give(rng, ours, theirs, skipped)
        a.step()
        b.step()
        agree(ours, theirs, step)


@every_case
def test_state_from_torch_and_back(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    ours, theirs = both(rng)
    a, b = getattr(weft.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for _ in range(2):
        give(rng, ours, theirs)
        a.step()
        b.step()
    again = [nn.Parameter(K.copy(p.array)) for p in ours]
    c = getattr(weft.optim, name)(again, **options)
    c.load_state_dict(a.state_dict())
    give(rng, ours, theirs)
    for p, q in zip(ours, again, strict=True):
        q.grad = weft.Tensor(K.copy(p.grad.array))
    for optimizer in (a, b, c):
        optimizer.step()
    agree(ours, theirs, 3)
    for p, q in zip(ours, again, strict=True):
        assert np.array_equal(p.detach().numpy(), q.detach().numpy())


@every_case
def test_takes_over_torchs_own_state(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    ours, theirs = both(rng)
    b = getattr(torch.optim, name)(theirs, **options)
    for _ in range(2):
        give(rng, ours, theirs)
        b.step()
    for p, t in zip(ours, theirs, strict=True):
        K.copy_into(p.array, t.detach().numpy())
    a = getattr(weft.optim, name)(ours, **options)
    a.load_state_dict(b.state_dict())
    for step in range(3, 6):
        give(rng, ours, theirs)
        a.step()
        b.step()
        agree(ours, theirs, step)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_torchs_defaults(name: str, rng: np.random.Generator) -> None:
    ours, theirs = both(rng)
    want = getattr(torch.optim, name)(theirs).param_groups[0]
    for key, value in getattr(weft.optim, name)(ours).param_groups[0].items():
        assert key == "params" or value == want[key], key


def test_groups_have_their_own_options(rng: np.random.Generator) -> None:
    ours, theirs = both(rng)

    def make(lib: Any, p: list[Any]) -> Any:
        optimizer = lib.optim.SGD([{"params": p[:2]}, {"params": p[2:4], "lr": 0.5, "momentum": 0.9}], lr=0.1)
        optimizer.add_param_group({"params": p[4], "weight_decay": 0.1})
        return optimizer

    a, b = make(weft, ours), make(torch, theirs)
    for step in range(1, 4):
        a.param_groups[0]["lr"] = b.param_groups[0]["lr"] = 0.1 / step
        give(rng, ours, theirs)
        a.step()
        b.step()
        agree(ours, theirs, step)


def test_the_state_of_before_the_first_step_starts_anew(rng: np.random.Generator) -> None:
    ours, theirs = both(rng)
    a, b = weft.optim.Adam(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    early, want = a.state_dict(), b.state_dict()
    for _ in range(3):
        give(rng, ours, theirs)
        a.step()
        b.step()
    a.load_state_dict(early)
    b.load_state_dict(want)
    give(rng, ours, theirs)
    a.step()
    b.step()
    agree(ours, theirs, 4)


def test_loading_the_own_state_changes_nothing(rng: np.random.Generator) -> None:
    ours, theirs = both(rng)
    a = weft.optim.Adam(ours)
    give(rng, ours, theirs)
    a.step()
    before = a.state_dict()["state"][0]["exp_avg"].tolist()
    a.load_state_dict(a.state_dict())
    assert a.state_dict()["state"][0]["exp_avg"].tolist() == before != np.zeros(SHAPES[0]).tolist()


def test_parameters_and_gradients_lie_in_one_buffer() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    optimizer = weft.optim.SGD(model.parameters(), lr=0.1)
    first, *rest = list(model.parameters())
    assert all(p.array.shares_memory(first.array) for p in rest)
    model(weft.randn(5, 4)).sum().backward()
    assert all(p.grad.array.shares_memory(first.grad.array) for p in rest)
    optimizer.zero_grad(set_to_none=False)
    assert all(not np.asarray(p.grad).any() for p in model.parameters())
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_closure() -> None:
    p = nn.Parameter(K.asarray([3.0]))
    optimizer = weft.optim.SGD([p], lr=0.25)

    def closure() -> weft.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert p.tolist() == [1.5]


def test_errors() -> None:
    p = nn.Parameter(K.zeros((2, 3)))
    with pytest.raises(ValueError, match="SGD: got no parameters"):
        weft.optim.SGD([])
    with pytest.raises(ValueError, match=r"SGD: a parameter of shape \(2, 3\) appears twice"):
        weft.optim.SGD([p, p])
    with pytest.raises(TypeError, match="Adam: parameters must be floating tensors"):
        weft.optim.Adam([weft.zeros(2).long()])
    with pytest.raises(ValueError, match=r"SGD: a parameter of shape \(2, 3\) is no leaf"):
        weft.optim.SGD([p * 2])
    for bad in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="Adam: lr must not be negative"):
            weft.optim.Adam([p], lr=bad)
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        weft.optim.SGD([p], nesterov=True)
    with pytest.raises(ValueError, match=r"betas must lie in \[0, 1\)"):
        weft.optim.AdamW([p], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="SGD: a group of parameters needs 'params', got lr"):
        weft.optim.SGD([{"lr": 0.1}])
    with pytest.raises(TypeError, match="SGD: a group must have one dtype, got float32 and float64"):
        weft.optim.SGD([p, nn.Parameter(K.zeros((2,), "float64"))])
    with pytest.raises(ValueError, match="Adagrad: initial_accumulator_value must not be negative"):
        weft.optim.Adagrad([p], initial_accumulator_value=-1)


def stepped(kind: Any, *shape: int, **options: Any) -> Any:
    p = nn.Parameter(K.zeros(shape))
    p.grad = weft.ones(*shape)
    optimizer = kind([p], **options)
    optimizer.step()
    return optimizer


def test_state_of_another_model_or_optimizer() -> None:
    a = stepped(weft.optim.Adam, 2, 3)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(3, 2\), the parameter \(2, 3\)"):
        a.load_state_dict(stepped(weft.optim.Adam, 3, 2).state_dict())
    with pytest.raises(ValueError, match="momentum_buffer of parameter 0 is the state of another optimizer"):
        a.load_state_dict(stepped(weft.optim.SGD, 2, 3, momentum=0.9).state_dict())
    with pytest.raises(ValueError, match=r"the state has groups of \[2\] parameters, the optimizer of \[1\]"):
        a.load_state_dict(weft.optim.Adam([nn.Parameter(K.zeros((2,))) for _ in range(2)]).state_dict())
    with pytest.raises(ValueError, match="group 0 of the state is of another optimizer: it has no betas, eps"):
        a.load_state_dict(stepped(weft.optim.SGD, 2, 3).state_dict())
    assert sorted(a.state_dict()["state"][0]) == ["exp_avg", "exp_avg_sq", "step"]


def test_gradients_are_written_where_the_optimizer_reads_them() -> None:
    """Square layers and a batch as large: an intermediate array, or another gradient, has the shape of the weight's."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 6)).astype(np.float32)

    def gradients(captured: bool) -> list[Any]:
        weft.manual_seed(0)
        shared = weft.nn.Linear(6, 6)
        last = weft.nn.Linear(6, 6, bias=False)
        params = [*shared.parameters(), *last.parameters()]
        optimizer = weft.optim.SGD(params, 0.1)
        inner = weft.tensor(x, requires_grad=True)

        def step() -> None:
            optimizer.zero_grad()
            inner.grad = None
            y = last(shared(weft.nn.functional.tanh(shared(inner))))
            (y * y + (shared.weight * last.weight) @ inner).sum().backward()
            optimizer.step()

        run = weft.capture(step) if captured else step
        for _ in range(4):
            run()
        return [p.grad.tolist() for p in (*params, inner) if p.grad is not None]

    assert gradients(True) == gradients(False)
    assert len(gradients(True)) == 4


def test_a_captured_step_copies_no_gradients() -> None:
    model = weft.nn.Sequential(weft.nn.Linear(8, 6), weft.nn.ReLU(), weft.nn.Linear(6, 3))
    optimizer = weft.optim.SGD(model.parameters(), 0.1)

    def step(x: weft.Tensor) -> weft.Tensor:
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    run = weft.capture(step)
    x = weft.ones(5, 8)
    for _ in range(3):
        run(x)
    assert "copy" not in [name for name, _ in run.report()[0].kernels]


def test_a_gradient_that_is_read_again_is_not_overwritten_by_its_successor() -> None:
    """The gradient of the second pass comes from the first one's, which lies where the second one's belongs."""

    def gradients(captured: bool) -> list[Any]:
        weight = weft.nn.Parameter(weft.tensor(np.arange(16, dtype=np.float32).reshape(4, 4)))
        weft.optim.SGD([weight], 0.1)
        x = weft.tensor(np.eye(4, dtype=np.float32)[::-1].copy() + 1)

        def step() -> None:
            weight.grad = None
            (x @ weight).sum().backward()
            first, weight.grad = weight.grad, None
            (x @ weight).backward(first)

        run = weft.capture(step) if captured else step
        for _ in range(3):
            run()
        assert weight.grad is not None
        return weight.grad.tolist()

    assert gradients(True) == gradients(False)


def test_places_for_new_arrays() -> None:
    buffer = K.zeros((8,))
    place = buffer[2:6].reshape((2, 2))
    K.set_destinations([place])
    first, second = K.ones((2, 2)), K.ones((2, 2))
    K.set_destinations([])
    assert first.shares_memory(buffer)
    assert not second.shares_memory(buffer)
    assert not K.ones((2, 2)).shares_memory(buffer)
    assert buffer.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    with pytest.raises(ValueError, match="set_destinations: a place must be contiguous and writable"):
        K.set_destinations([K.zeros((4, 4)).transpose(0, 1)])


# --- states that do not fit change nothing ---

OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda p: weft.optim.SGD(p, 0.1, momentum=0.9),
    "Adam": weft.optim.Adam,
    "AdamW": weft.optim.AdamW,
    "RMSprop": lambda p: weft.optim.RMSprop(p, centered=True, momentum=0.5),
    "Adagrad": lambda p: weft.optim.Adagrad(p, initial_accumulator_value=0.5),
}


def trained(name: str, seed: int) -> tuple[Any, list[Any]]:
    """An optimizer of two groups after some steps, the second parameter having made fewer."""
    rng = np.random.default_rng(seed)
    params = [nn.Parameter(K.asarray(rng.normal(size=shape))) for shape in ((2, 3), (4,), (3, 1))]
    made = OPTIMIZERS[name]([{"params": params[:2]}, {"params": params[2:], "lr": 0.02}])
    for step in range(3):
        for i, p in enumerate(params):
            p.grad = None if step == 0 and i == 1 else weft.tensor(rng.normal(size=p.shape))
        made.step()
    return made, params


def frozen(state: Any) -> Any:
    """A state's values, to compare."""
    if isinstance(state, dict):
        return {key: frozen(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return [frozen(value) for value in state]
    return (state.shape, state.detach().numpy().tobytes()) if isinstance(state, weft.Tensor) else state


def damaged(name: str) -> list[tuple[str, Any]]:
    """Changes of a state, each of which makes it wrong."""

    def entry(**values: Any) -> Any:
        return lambda s: s["state"][2].update(values)

    def group(**values: Any) -> Any:
        return lambda s: s["param_groups"][1].update(values)

    bad_steps: list[Any] = ["4", -1, 2.5, math.nan, math.inf, None, True, [1], weft.ones(2), 2**63, 10**400, 1e300]
    bad = [(f"step {str(v)[:20]}", entry(step=v)) for v in bad_steps]
    bad += [(f"lr {v!r}", group(lr=v)) for v in (-1, math.nan, "1", None, [1.0], True)]
    bad += [(f"params {v!r}", group(params=v)) for v in ([0], ["2"], [2, 3], [2.0], 2, None, [[2]], [True])]
    bad += [(f"maximize {v!r}", group(maximize=v)) for v in ("no", None, 2, math.nan)]
    kind = weft.optim.Adam if name.startswith("Adam") else None
    if kind:
        values = [("x", "y"), (0.9,), (0.9, 1.0), (math.nan, 0.9), 0.9, None, "ab", (0.9, 0.9, 0.9), [None, 0.5]]
        bad += [(f"betas {v!r}", group(betas=v)) for v in values]
    some = next(iter(trained(name, 0)[0]._state_names))
    bad += [(f"{some} {type(v).__name__}", entry(**{some: v})) for v in ("x", 5.0, weft.ones(1, 3), [["a"]] * 3, {})]
    bad += [
        ("a parameter out of range", lambda s: s["state"].update({7: s["state"][2]})),
        ("a parameter by name", lambda s: s["state"].update({"2": s["state"].pop(2)})),
        ("a negative parameter", lambda s: s["state"].update({-1: {}})),
        ("an entry that is no dict", lambda s: s["state"].update({2: [1]})),
        ("an unknown kind of state", entry(velocity=weft.ones(3, 1))),
        ("no state", lambda s: s.pop("state")),
        ("no groups", lambda s: s.pop("param_groups")),
        ("a state that is no dict", lambda s: s.update(state=[])),
        ("groups that are no list", lambda s: s.update(param_groups="ab")),
        ("a group that is no dict", lambda s: s["param_groups"].__setitem__(1, [2])),
        ("a group without parameters", lambda s: s["param_groups"][1].pop("params")),
        ("a group without a rate", lambda s: s["param_groups"][1].pop("lr")),
        ("a group less", lambda s: s["param_groups"].pop()),
    ]
    return bad


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_that_does_not_fit_changes_nothing(name: str) -> None:
    mine, params = trained(name, 1)
    before, values = frozen(mine.state_dict()), frozen(params)
    for what, damage in damaged(name):
        other = trained(name, 2)[0].state_dict()
        damage(other)
        try:
            mine.load_state_dict(other)
        except ValueError as error:
            message = str(error)
        else:
            message = "nothing was raised"
        assert message.startswith(f"{name}: "), what
        assert len(message) < 300, what
        assert frozen(mine.state_dict()) == before, what
    with pytest.raises(TypeError, match=f"{name}: the state must be a dict, got 5"):
        mine.load_state_dict(5)
    assert (frozen(mine.state_dict()), frozen(params)) == (before, values)
    mine.load_state_dict(trained(name, 2)[0].state_dict())
    assert frozen(mine.state_dict()) == frozen(trained(name, 2)[0].state_dict())


def test_parameters_are_found_by_the_numbers_of_their_groups() -> None:
    mine, theirs = trained("Adam", 1)[0], trained("Adam", 2)[0]
    state = theirs.state_dict()
    state["param_groups"][0]["params"], state["param_groups"][1]["params"] = [12, 10], [11]
    state["state"] = {12: state["state"][0], 10: state["state"][1], 11: state["state"][2]}
    mine.load_state_dict(state)
    assert frozen(mine.state_dict()) == frozen(theirs.state_dict())


@pytest.mark.parametrize("bad", [None, "5", math.nan, -1, [], True, 10**400, 1j])
def test_options_of_a_wrong_kind(bad: Any) -> None:
    p = [nn.Parameter(K.zeros((2,)))]
    for name, options in (
        ("SGD", ("lr", "momentum", "weight_decay")),
        ("Adam", ("lr", "eps", "betas", "weight_decay")),
        ("RMSprop", ("alpha", "eps", "momentum")),
        ("Adagrad", ("lr_decay", "initial_accumulator_value")),
    ):
        for option in options:
            with pytest.raises((TypeError, ValueError), match=f"{name}: {option} must "):
                getattr(weft.optim, name)(p, **{option: bad})
    for params in (None, 5, p[0], {"params": p}, "ab", [None], [{"params": None}], [{"lr": 1}], ["ab"], [p]):
        with pytest.raises((TypeError, ValueError), match="SGD: "):
            weft.optim.SGD(params)
