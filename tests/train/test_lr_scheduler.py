"""Schedules beside torch's: every group's rate (and momentum) after each step, also after resuming."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import weft
import weft.kernels as K

torch = pytest.importorskip("torch")

Make = Callable[[Any, Any], Any]  # (the library's lr_scheduler module, optimizer) -> schedule
CASES: dict[str, Make] = {
    "step": lambda s, o: s.StepLR(o, 3, gamma=0.5),
    "multi-step": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], gamma=0.3),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 7, eta_min=0.01),
    "linear": lambda s, o: s.LinearLR(o, 0.1, 0.8, total_iters=4),
    "lambda": lambda s, o: s.LambdaLR(o, lambda epoch: 0.9**epoch),
    "one-cycle": lambda s, o: s.OneCycleLR(o, 0.8, total_steps=13),
    "one-cycle linear": lambda s, o: s.OneCycleLR(
        o, 0.8, epochs=13, steps_per_epoch=1, pct_start=0.4, anneal_strategy="linear", cycle_momentum=False
    ),
    "warm-up, cosine": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=3), s.CosineAnnealingLR(o, 8)], [3]
    ),
    "three in a row": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.5, total_iters=2), s.StepLR(o, 2), s.LambdaLR(o, lambda epoch: 1 / (epoch + 1))], [2, 7]
    ),
}
every_case = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())


def optimizer(lib: Any) -> Any:
    if lib is weft:
        p, q = (weft.nn.Parameter(K.zeros((2,))) for _ in range(2))
    else:
        p, q = (torch.zeros(2, requires_grad=True) for _ in range(2))
    return lib.optim.SGD([{"params": [p]}, {"params": [q], "lr": 0.3}], lr=1.0, momentum=0.9)


def settings(o: Any) -> list[float]:
    return [group[key] for group in o.param_groups for key in ("lr", "momentum")]


@every_case
def test_as_torch(make: Make) -> None:
    ours, theirs = optimizer(weft), optimizer(torch)
    a, b = make(weft.optim.lr_scheduler, ours), make(torch.optim.lr_scheduler, theirs)
    for _ in range(12):
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-12, abs=1e-15)
        assert a.get_last_lr() == [group["lr"] for group in ours.param_groups]
        theirs.step()
        a.step()
        b.step()
    assert settings(ours) == pytest.approx(settings(theirs), rel=1e-12, abs=1e-15)


@every_case
@pytest.mark.parametrize("stop", [1, 4, 8])
def test_resuming_gives_the_same_rates(make: Make, stop: int) -> None:
    whole, first = optimizer(weft), optimizer(weft)
    a, b = make(weft.optim.lr_scheduler, whole), make(weft.optim.lr_scheduler, first)
    for _ in range(stop):
        a.step()
        b.step()
    again = optimizer(weft)
    c = make(weft.optim.lr_scheduler, again)
    again.load_state_dict(first.state_dict())
    c.load_state_dict(b.state_dict())
    for _ in range(12 - stop):
        assert settings(again) == settings(whole)
        a.step()
        c.step()
    assert settings(again) == settings(whole)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau(mode: str, threshold_mode: str) -> None:
    ours, theirs = optimizer(weft), optimizer(torch)
    options = {"mode": mode, "threshold_mode": threshold_mode, "patience": 1, "cooldown": 1, "threshold": 0.01}
    a, b = (
        lib.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, min_lr=0.05, **options)
        for lib, o in ((weft, ours), (torch, theirs))
    )
    for value in (1.0, 0.995, 0.9, 0.9, math.nan, 1.2, 1.3, -1.0, -1.005, -1.02, -0.995, -1.02, 0.1, 0.1, 2.0):
        a.step(value)
        b.step(value)
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-12)


def test_errors() -> None:
    s, o = weft.optim.lr_scheduler, optimizer(weft)
    with pytest.raises(ValueError, match="StepLR: step_size must be positive, got 0"):
        s.StepLR(o, 0)
    with pytest.raises(ValueError, match="OneCycleLR: give total_steps, or epochs and steps_per_epoch"):
        s.OneCycleLR(o, 1.0)
    with pytest.raises(ValueError, match="SequentialLR: 1 schedules need 0 milestones"):
        s.SequentialLR(o, [s.StepLR(o, 1)], [3])
    with pytest.raises(ValueError, match="ReduceLROnPlateau: factor must be below 1"):
        s.ReduceLROnPlateau(o, factor=1.0)
    with pytest.raises(ValueError, match="LinearLR: total_iters must be positive, got 0"):
        s.LinearLR(o, total_iters=0)
    cycle = s.OneCycleLR(o, 1.0, total_steps=5)
    for _ in range(5):
        cycle.step()
    before = (cycle.state_dict(), settings(o))
    with pytest.raises(ValueError, match="OneCycleLR: step 6 of 5"):
        cycle.step()
    assert (cycle.state_dict(), settings(o)) == before


def test_one_cycle_turns_beta1_of_adam() -> None:
    p, q = weft.nn.Parameter(K.zeros((2,))), torch.zeros(2, requires_grad=True)
    ours, theirs = weft.optim.Adam([p]), torch.optim.Adam([q])
    a = weft.optim.lr_scheduler.OneCycleLR(ours, 0.1, total_steps=9)
    b = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.1, total_steps=9)
    for _ in range(9):
        assert ours.param_groups[0]["betas"] == pytest.approx(theirs.param_groups[0]["betas"], rel=1e-12)
        assert a.get_last_lr() == pytest.approx(b.get_last_lr(), rel=1e-12)
        theirs.step()
        a.step()
        b.step()


@pytest.mark.parametrize(("total", "part"), [(10, 0.1), (10, 0.0), (10, 1.0), (1, 0.3), (2, 0.5)])
def test_one_cycle_with_a_phase_of_no_steps(total: int, part: float) -> None:
    ours = optimizer(weft)
    cycle = weft.optim.lr_scheduler.OneCycleLR(ours, 1.0, total_steps=total, pct_start=part)
    rates = [cycle.get_last_lr()[0]]
    for _ in range(total):
        cycle.step()
        rates.append(cycle.get_last_lr()[0])
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates[:-1]) == 1 or total == 1 or part == 0


# --- states that do not fit, and wrong arguments, change nothing ---

SCHEDULES: dict[str, Any] = {
    "StepLR": lambda o: weft.optim.lr_scheduler.StepLR(o, 2),
    "MultiStepLR": lambda o: weft.optim.lr_scheduler.MultiStepLR(o, [2, 4]),
    "LambdaLR": lambda o: weft.optim.lr_scheduler.LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "CosineAnnealingLR": lambda o: weft.optim.lr_scheduler.CosineAnnealingLR(o, 9),
    "LinearLR": lambda o: weft.optim.lr_scheduler.LinearLR(o),
    "OneCycleLR": lambda o: weft.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=20),
    "ReduceLROnPlateau": lambda o: weft.optim.lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "SequentialLR": lambda o: nested(o),
}
BAD_VALUES = ("x", None, math.nan, -2, 10**400, True, [], {}, 1.5)


def nested(o: Any) -> Any:
    """A sequence in a sequence."""
    s = weft.optim.lr_scheduler
    inner = s.SequentialLR(o, [s.LinearLR(o, 0.5, total_iters=2), s.StepLR(o, 1)], [2])
    return s.SequentialLR(o, [inner, s.CosineAnnealingLR(o, 9)], [4])


def moved(kind: str, steps: int) -> tuple[Any, Any]:
    """A schedule after some steps, and its optimizer."""
    o = optimizer(weft)
    schedule = SCHEDULES[kind](o)
    for i in range(steps):
        schedule.step(*([1.0 + i] if kind == "ReduceLROnPlateau" else []))
    return schedule, o


def places(state: Any) -> Iterator[tuple[Any, Any]]:
    """Each dict or list in a state, with each key or index."""
    for key in list(state) if isinstance(state, dict) else range(len(state)):
        yield state, key
        if isinstance(state[key], (dict, list)):
            yield from places(state[key])


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("steps", [2, 5])
def test_a_state_that_does_not_fit_changes_nothing(kind: str, steps: int) -> None:
    count = len(list(places(moved(kind, steps)[0].state_dict())))
    for at in range(count):
        for bad in (*BAD_VALUES, "taken away"):
            schedule, o = moved(kind, 1)
            before = copy.deepcopy((schedule.state_dict(), settings(o)))
            state = copy.deepcopy(moved(kind, steps)[0].state_dict())
            where, key = list(places(state))[at]
            if bad == "taken away":
                del where[key]
            elif bad in (1.5, -2) and isinstance(where[key], float):
                continue  # may be right there
            else:
                where[key] = bad
            with pytest.raises(ValueError, match=r"\w+: the state"):
                schedule.load_state_dict(state)
            assert (schedule.state_dict(), settings(o)) == before, (key, bad)
    schedule, o = moved(kind, 1)
    with pytest.raises(TypeError, match=f"{kind}: the state must be a dict, got 5"):
        schedule.load_state_dict(5)
    schedule.load_state_dict(moved(kind, steps)[0].state_dict())
    assert schedule.state_dict() == moved(kind, steps)[0].state_dict()


def test_a_sequence_in_a_sequence_goes_through_both() -> None:
    s, o = weft.optim.lr_scheduler, optimizer(weft)
    schedule = nested(o)
    flat_optimizer = optimizer(weft)
    flat = s.SequentialLR(
        flat_optimizer,
        [s.LinearLR(flat_optimizer, 0.5, total_iters=2), s.StepLR(flat_optimizer, 1),
         s.CosineAnnealingLR(flat_optimizer, 9)],
        [2, 4],
    )  # fmt: skip
    for _ in range(8):
        assert settings(o) == settings(flat_optimizer)
        schedule.step()
        flat.step()


def test_a_step_that_fails_changes_nothing() -> None:
    o = optimizer(weft)
    schedule = weft.optim.lr_scheduler.LambdaLR(o, lambda epoch: [1.0, 0.5, math.nan, "x"][epoch])
    schedule.step()
    before = (schedule.state_dict(), settings(o))
    with pytest.raises(ValueError, match="LambdaLR: a rate must be a number, got nan"):
        schedule.step()
    assert (schedule.state_dict(), settings(o)) == before
    o.add_param_group({"params": [weft.nn.Parameter(K.zeros((2,)))]})
    schedule.lr_lambda = lambda epoch: 1.0
    with pytest.raises(ValueError, match="LambdaLR: made for 2 groups of parameters, the optimizer has 3"):
        schedule.step()
    assert schedule.last_epoch == 1


@pytest.mark.parametrize("bad", [None, "5", math.nan, [], 1j, 10**400])
def test_arguments_of_a_wrong_kind(bad: Any) -> None:
    s, o = weft.optim.lr_scheduler, optimizer(weft)
    before = settings(o)
    for make, match in (
        (lambda: s.StepLR(o, bad), "StepLR: step_size must "),
        (lambda: s.StepLR(o, 1, gamma=bad), "StepLR: gamma must "),
        (lambda: s.StepLR(bad, 1), "StepLR: optimizer must be a Optimizer"),
        (lambda: s.StepLR(o, 1, last_epoch=bad), "StepLR: last_epoch must "),
        (lambda: s.MultiStepLR(o, [bad]), "MultiStepLR: a milestone must "),
        (lambda: s.CosineAnnealingLR(o, bad), "CosineAnnealingLR: T_max must "),
        (lambda: s.LinearLR(o, bad), "LinearLR: start_factor must "),
        (lambda: s.LinearLR(o, total_iters=bad), "LinearLR: total_iters must "),
        (lambda: s.LambdaLR(o, bad), "LambdaLR: lr_lambda must be callable"),
        (lambda: s.OneCycleLR(o, bad, 5), "OneCycleLR: max_lr must "),
        (lambda: s.OneCycleLR(o, 1.0, 5, div_factor=bad), "OneCycleLR: div_factor must "),
        (lambda: s.OneCycleLR(o, 1.0, 5, anneal_strategy=bad), "OneCycleLR: anneal_strategy must be"),
        (lambda: s.SequentialLR(o, [bad], []), "SequentialLR: a schedule must be a LRScheduler or SequentialLR"),
        (lambda: s.ReduceLROnPlateau(o, patience=bad), "ReduceLROnPlateau: patience must "),
        (lambda: s.ReduceLROnPlateau(o, mode=bad), "ReduceLROnPlateau: mode must be 'min' or 'max'"),
        (lambda: s.ReduceLROnPlateau(o).step("5"), "ReduceLROnPlateau: metrics must be a number"),
    ):
        with pytest.raises((TypeError, ValueError), match=match):
            make()
    assert settings(o) == before
    other = s.StepLR(optimizer(weft), 1)
    with pytest.raises(ValueError, match="SequentialLR: StepLR is a schedule of another optimizer"):
        s.SequentialLR(o, [other], [])
