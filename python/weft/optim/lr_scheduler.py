"""Learning-rate schedules. step() after each epoch (OneCycleLR: after each batch) sets every group's "lr"."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any

from weft.optim.optimizer import Optimizer


class LRScheduler:
    """The base: subclasses say in `_lr(base, epoch)` what a group with the first rate `base` has after `epoch` steps.

    last_epoch: how many steps were made, -1 before the first; -1 starts anew.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        if last_epoch == -1:
            for group in optimizer.param_groups:
                # A second schedule, as in SequentialLR, begins at the same rate as the first.
                group.setdefault("initial_lr", group["lr"])
        elif any("initial_lr" not in g for g in optimizer.param_groups):
            raise ValueError(f"{type(self).__name__}: last_epoch {last_epoch} needs groups with 'initial_lr'")
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def _lr(self, base: float, epoch: int) -> float:
        raise TypeError(f"{type(self).__name__}: a schedule needs a method _lr")

    def step(self) -> None:
        """Moves on by one and sets the rates."""
        self.last_epoch += 1
        self._set([self._lr(base, self.last_epoch) for base in self.base_lrs])

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """The rates in use."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Numbers only: what a checkpoint keeps."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs), "lr": self.get_last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_epoch = int(state["last_epoch"])
        self.base_lrs = [float(v) for v in state["base_lrs"]]
        self._set([float(v) for v in state["lr"]])


class LambdaLR(LRScheduler):
    """base * lr_lambda(epoch)."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float], last_epoch: int = -1) -> None:
        self.lr_lambda = lr_lambda
        super().__init__(optimizer, last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.lr_lambda(epoch)


class StepLR(LRScheduler):
    """Times gamma after every step_size epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be positive, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Times gamma at each of the given epochs."""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.gamma ** bisect.bisect_right(self.milestones, epoch)


class CosineAnnealingLR(LRScheduler):
    """From the base rate to eta_min along half a cosine over T_max epochs (Loshchilov, Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be positive, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
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
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: factors must lie in (0, 1], got {start_factor} and {end_factor}")
        if total_iters < 1:
            raise ValueError(f"LinearLR: total_iters must be positive, got {total_iters}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
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
        if total_steps is None:
            if not epochs or not steps_per_epoch:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1 or not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: total_steps {total_steps} must be positive, pct_start {pct_start} in [0, 1]")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps, self.max_lr, self.anneal_strategy = total_steps, max_lr, anneal_strategy
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.peak = pct_start * total_steps - 1
        self.momenta = (max_momentum, base_momentum) if cycle_momentum else None
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


class SequentialLR:
    """One schedule after another: schedulers[i + 1] begins at milestones[i]."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None:
        if len(schedulers) != len(milestones) + 1:
            raise ValueError(f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} milestones")
        self.optimizer, self.schedulers, self.milestones = optimizer, list(schedulers), list(milestones)
        self.last_epoch = 0
        # Each schedule set the rate when it was made; the first one counts.
        for scheduler in self.schedulers:
            scheduler.last_epoch = -1
        self.schedulers[0].step()

    def step(self) -> None:
        """Moves on by one and sets the rates."""
        self.last_epoch += 1
        scheduler = self.schedulers[bisect.bisect_right(self.milestones, self.last_epoch)]
        scheduler.step()

    def get_last_lr(self) -> list[float]:
        """The rates in use."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_epoch = int(state["last_epoch"])
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            rates = scheduler.get_last_lr()
            scheduler.load_state_dict(saved)
            scheduler._set(rates)
        active = self.schedulers[bisect.bisect_right(self.milestones, self.last_epoch)]
        active.load_state_dict(state["schedulers"][self.schedulers.index(active)])


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
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                "ReduceLROnPlateau: mode must be 'min' or 'max' and threshold_mode 'rel' or 'abs', "
                f"got {mode!r} and {threshold_mode!r}"
            )
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
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
        value = float(metrics)
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
        for name in ("best", "bad", "cooling", "last_epoch"):
            setattr(self, name, state[name])
        for group, rate in zip(self.optimizer.param_groups, state["lr"], strict=True):
            group["lr"] = rate
