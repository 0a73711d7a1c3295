"""Learning-rate schedules. step() after each epoch (OneCycleLR: after each batch) sets every group's "lr"."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any

from weft._checks import Saved, as_data, choice, function, instance, integer, number, sequence, shown
from weft._loading import Loading, is_ours
from weft.optim.optimizer import Optimizer


class LRScheduler:
    """The base: subclasses say in `_lr(base, epoch)` what a group with the first rate `base` has after `epoch` steps.

    last_epoch: how many steps were made, -1 before the first; -1 starts anew.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        self.optimizer = instance(name, "optimizer", optimizer, Optimizer)
        self.last_epoch = integer(name, "last_epoch", last_epoch, -1)
        if last_epoch == -1:
            for group in optimizer.param_groups:
                # A second schedule, as in SequentialLR, begins at the same rate as the first.
                group.setdefault("initial_lr", group["lr"])
        elif any("initial_lr" not in g for g in optimizer.param_groups):
            raise ValueError(f"{name}: last_epoch {last_epoch} needs groups with 'initial_lr'")
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.step()

    def _lr(self, base: float, epoch: int) -> float:
        raise TypeError(f"{type(self).__name__}: a schedule needs a method _lr")

    def step(self) -> None:
        """Moves on by one and sets the rates."""
        self.last_epoch += 1
        try:
            _set_rates(self, [self._lr(base, self.last_epoch) for base in self.base_lrs])
        except BaseException:
            self.last_epoch -= 1
            raise

    def get_last_lr(self) -> list[float]:
        """The rates in use."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Numbers only: what a checkpoint keeps."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs), "lr": self.get_last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what state_dict gave. ValueError where it does not fit; then nothing was changed."""
        self._prepared(state)()

    _most = 2**63 - 1  # epochs

    def _prepared(self, state: Any) -> Callable[[], None]:
        """Reads a state whole; what puts it in place."""
        saved = Saved(type(self).__name__, state)
        last_epoch = saved.integer("last_epoch", -1, self._most)
        base_lrs = saved.numbers("base_lrs", len(self.base_lrs))
        rates = saved.numbers("lr", len(self.optimizer.param_groups))

        def put() -> None:
            self.last_epoch, self.base_lrs = last_epoch, base_lrs
            _put_rates(self.optimizer, rates)

        return put

    def _rewind(self) -> None:
        """The next step is the first one."""
        self.last_epoch = -1


def _set_rates(schedule: Any, rates: Sequence[Any]) -> None:
    """Each group gets its rate, or none does: ValueError where there are more groups or fewer, or for NaN."""
    name, groups = type(schedule).__name__, schedule.optimizer.param_groups
    if len(rates) != len(groups):
        raise ValueError(f"{name}: made for {len(rates)} groups of parameters, the optimizer has {len(groups)}")
    _put_rates(schedule.optimizer, [number(name, "a rate", rate) for rate in rates])


def _put_rates(optimizer: Optimizer, rates: list[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


class LambdaLR(LRScheduler):
    """base * lr_lambda(epoch)."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float], last_epoch: int = -1) -> None:
        self.lr_lambda: Callable[[int], float] = function("LambdaLR", "lr_lambda", lr_lambda)
        super().__init__(optimizer, last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.lr_lambda(epoch)


class StepLR(LRScheduler):
    """Times gamma after every step_size epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = integer("StepLR", "step_size", step_size, 1)
        self.gamma = number("StepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Times gamma at each of the given epochs."""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(_milestones("MultiStepLR", milestones))
        self.gamma = number("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.gamma ** bisect.bisect_right(self.milestones, epoch)


class CosineAnnealingLR(LRScheduler):
    """From the base rate to eta_min along half a cosine over T_max epochs (Loshchilov, Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = integer("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_min = number("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class LinearLR(LRScheduler):
    """Warm-up: from start_factor to end_factor of the base rate over total_iters epochs, evenly."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = number("LinearLR", "start_factor", start_factor)
        self.end_factor = number("LinearLR", "end_factor", end_factor)
        if not 0 < self.start_factor <= 1 or not 0 <= self.end_factor <= 1:
            raise ValueError(f"LinearLR: factors must lie in (0, 1], got {start_factor} and {end_factor}")
        self.total_iters = integer("LinearLR", "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        part = min(epoch, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * part)


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr in the first pct_start of all steps, then down to almost nothing
    (max_lr / div_factor / final_div_factor), each along half a cosine (Smith, Topin 2018).

    One step() a batch, total_steps in all; ValueError for more. cycle_momentum: the momentum (or beta1) goes the other
    way, between max_momentum and base_momentum.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        last_epoch: int = -1,
    ) -> None:
        name = "OneCycleLR"
        if total_steps is None:
            if not epochs or not steps_per_epoch:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = integer(name, "epochs", epochs, 1) * integer(name, "steps_per_epoch", steps_per_epoch, 1)
        self.total_steps = self._most = integer(name, "total_steps", total_steps, 1)
        if not 0 <= number(name, "pct_start", pct_start) <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie in [0, 1], got {pct_start}")
        self.anneal_strategy = choice(name, "anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.max_lr = number(name, "max_lr", max_lr, 0)
        self.div_factor = number(name, "div_factor", div_factor)
        self.final_div_factor = number(name, "final_div_factor", final_div_factor)
        if not self.div_factor > 0 or not self.final_div_factor > 0:
            raise ValueError(f"OneCycleLR: factors must be positive, got {div_factor} and {final_div_factor}")
        self.peak = pct_start * total_steps - 1
        momenta = (number(name, "max_momentum", max_momentum, 0), number(name, "base_momentum", base_momentum, 0))
        self.momenta = momenta if cycle_momentum else None
        instance(name, "optimizer", optimizer, Optimizer)
        integer(name, "last_epoch", last_epoch, -1, self.total_steps)
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group["initial_lr"] = max_lr / div_factor
        super().__init__(optimizer, last_epoch)

    def _anneal(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * part
        return end + (start - end) * (1 + math.cos(math.pi * part)) / 2

    def _between(self, epoch: int, start: float, middle: float, end: float) -> float:
        if epoch <= self.peak:
            return self._anneal(start, middle, epoch / self.peak if self.peak else 1.0)
        rest = self.total_steps - 1 - self.peak
        return self._anneal(middle, end, (epoch - self.peak) / rest if rest else 1.0)

    def _lr(self, base: float, epoch: int) -> float:
        first = self.max_lr / self.div_factor
        return self._between(epoch, first, self.max_lr, first / self.final_div_factor)

    def step(self) -> None:
        if self.last_epoch >= self.total_steps:
            raise ValueError(f"OneCycleLR: step {self.last_epoch + 1} of {self.total_steps}")
        super().step()
        if self.momenta is None:
            return
        momentum = self._between(self.last_epoch, self.momenta[0], self.momenta[1], self.momenta[0])
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            elif group.get("momentum"):
                group["momentum"] = momentum


def _milestones(name: str, given: Any) -> list[int]:
    return [integer(name, "a milestone", m, 0) for m in sequence(name, "milestones", given)]


class SequentialLR:
    """One schedule after another: schedulers[i + 1] begins at milestones[i]."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Any], milestones: Sequence[int]) -> None:
        name = "SequentialLR"
        self.optimizer = instance(name, "optimizer", optimizer, Optimizer)
        self.schedulers, self.milestones = sequence(name, "schedulers", schedulers), _milestones(name, milestones)
        if len(self.schedulers) != len(self.milestones) + 1:
            raise ValueError(f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} milestones")
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"SequentialLR: milestones must not fall, got {shown(self.milestones)}")
        for scheduler in self.schedulers:
            instance(name, "a schedule", scheduler, (LRScheduler, SequentialLR))
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: {type(scheduler).__name__} is a schedule of another optimizer")
        # Each schedule set the rate when it was made; the first one counts.
        self._rewind()
        self.last_epoch = 0
        self.schedulers[0].step()

    def _rewind(self) -> None:
        """The next step is the first one."""
        self.last_epoch = -1
        for scheduler in self.schedulers:
            scheduler._rewind()

    def step(self) -> None:
        """Moves on by one and sets the rates."""
        self.schedulers[bisect.bisect_right(self.milestones, self.last_epoch + 1)].step()
        self.last_epoch += 1

    def get_last_lr(self) -> list[float]:
        """The rates in use."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what state_dict gave. ValueError where it does not fit; then nothing was changed."""
        self._prepared(state)()

    def _prepared(self, state: Any) -> Callable[[], None]:
        """Reads a state whole; what puts it in place."""
        saved = Saved("SequentialLR", state)
        last_epoch = saved.integer("last_epoch", -1)
        parts = saved.items("schedulers", len(self.schedulers))
        loading = Loading()
        # The active one last: each sets the rates.
        active = bisect.bisect_right(self.milestones, last_epoch)
        for i in sorted(range(len(parts)), key=lambda i: i == active):
            as_data(loading.add, self.schedulers[i], parts[i])

        def put() -> None:
            loading.finish()
            if not is_ours(self.schedulers[active]):  # its turn was first
                self.schedulers[active].load_state_dict(parts[active])
            self.last_epoch = last_epoch

        return put


class ReduceLROnPlateau:
    """Times `factor` when a metric has not become better for more than `patience` steps.

    step(metric). mode: "min" or "max" is better; threshold: by what part (threshold_mode "rel") or amount ("abs") it
    must be better; cooldown: steps after a reduction that don't count; min_lr: the floor.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        self.optimizer = instance(name, "optimizer", optimizer, Optimizer)
        self.factor = number(name, "factor", factor, 0)
        if self.factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        self.mode = choice(name, "mode", mode, ("min", "max"))
        self.threshold_mode = choice(name, "threshold_mode", threshold_mode, ("rel", "abs"))
        self.patience, self.cooldown = integer(name, "patience", patience, 0), integer(name, "cooldown", cooldown, 0)
        self.threshold, self.eps = number(name, "threshold", threshold), number(name, "eps", eps)
        self.min_lr = number(name, "min_lr", min_lr, 0)
        self.best = math.inf if mode == "min" else -math.inf
        self.bad, self.cooling, self.last_epoch = 0, 0, 0

    def _better(self, value: float) -> bool:
        if math.isinf(self.best):
            return value < self.best if self.mode == "min" else value > self.best
        # As in torch, "rel" is of the signed value: for a negative one the margin is negative, too.
        margin = self.best * self.threshold if self.threshold_mode == "rel" else self.threshold
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, metrics: Any) -> None:
        """Looks at the metric (a number or a tensor with one element) and sets the rates."""
        value = number("ReduceLROnPlateau", "metrics", metrics, nan=True)  # which is no better than anything
        self.last_epoch += 1
        if self._better(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad = 0
        if self.bad > self.patience:
            for group in self.optimizer.param_groups:
                lower = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooling, self.bad = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """The rates in use."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "bad", "cooling", "last_epoch")
        return {**{name: getattr(self, name) for name in names}, "lr": self.get_last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what state_dict gave. ValueError where it does not fit; then nothing was changed."""
        self._prepared(state)()

    def _prepared(self, state: Any) -> Callable[[], None]:
        """Reads a state whole; what puts it in place."""
        saved = Saved("ReduceLROnPlateau", state)
        best = saved.number("best")
        counts = {name: saved.integer(name, 0) for name in ("bad", "cooling", "last_epoch")}
        rates = saved.numbers("lr", len(self.optimizer.param_groups))

        def put() -> None:
            self.best = best
            self.__dict__.update(counts)
            _put_rates(self.optimizer, rates)

        return put
