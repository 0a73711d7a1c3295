"""The update rules. Formulas and sources stand in csrc/ops/optimizer.h, beside the kernels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import weft.kernels as K
from weft._checks import number, sequence, shown
from weft.optim.optimizer import FlatGroup, Optimizer, Run


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's (as in Sutskever et al. 2013).

    b = momentum b + (1 - dampening) g (g in the first step);  w -= lr b, or with nesterov lr (g + momentum b);
    g = grad + weight_decay w. ValueError for nesterov without momentum or with dampening.
    """

    _state_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs a momentum and no dampening, "
                f"got momentum {group['momentum']} and dampening {group['dampening']}"
            )

    def _update(self, group: dict[str, Any], flat: FlatGroup, run: Run) -> None:
        momentum = group["momentum"]
        K.sgd_step(
            flat.span(flat.values, run),
            flat.span(flat.grads, run),
            flat.rates,
            run.step,
            flat.span(flat.buffer("momentum_buffer"), run) if momentum else None,
            momentum,
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
            group["maximize"],
        )


class Adagrad(Optimizer):
    """Steps scaled by the root of the sum of all squared gradients (Duchi, Hazan, Singer 2011)."""

    _state_names = _always = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        maximize: bool = False,
    ) -> None:
        self._initial = number("Adagrad", "initial_accumulator_value", initial_accumulator_value, 0)
        super().__init__(
            params,
            {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps, "maximize": maximize},
        )

    def add_param_group(self, group: dict[str, Any]) -> None:
        super().add_param_group(group)
        if self._initial:
            K.fill(self._flat[-1].buffer("sum"), self._initial)

    def _initial_value(self, name: str) -> float:
        return self._initial

    def _update(self, group: dict[str, Any], flat: FlatGroup, run: Run) -> None:
        K.adagrad_step(
            flat.span(flat.values, run),
            flat.span(flat.grads, run),
            flat.span(flat.buffer("sum"), run),
            flat.rates,
            run.step,
            group["lr_decay"],
            group["weight_decay"],
            group["eps"],
            group["maximize"],
        )


class RMSprop(Optimizer):
    """Steps scaled by the root of a moving average of squared gradients (Hinton, lecture 6e, 2012)."""

    _state_names = ("square_avg", "grad_avg", "momentum_buffer")
    _always = ("square_avg",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def _update(self, group: dict[str, Any], flat: FlatGroup, run: Run) -> None:
        K.rmsprop_step(
            flat.span(flat.values, run),
            flat.span(flat.grads, run),
            flat.span(flat.buffer("square_avg"), run),
            flat.rates,
            flat.span(flat.buffer("grad_avg"), run) if group["centered"] else None,
            flat.span(flat.buffer("momentum_buffer"), run) if group["momentum"] else None,
            group["alpha"],
            group["eps"],
            group["weight_decay"],
            group["momentum"],
            group["maximize"],
            run.step,
        )


class Adam(Optimizer):
    """Moving averages of the gradient and its square, corrected for their start at zero (Kingma, Ba 2015)."""

    _state_names = _always = ("exp_avg", "exp_avg_sq")
    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize},
        )

    def _check(self, group: dict[str, Any]) -> None:
        super()._check(group)
        name, betas = type(self).__name__, sequence(type(self).__name__, "betas", group["betas"])
        if len(betas) != 2 or not all(0 <= number(name, "betas", b) < 1 for b in betas):
            raise ValueError(f"{name}: betas must lie in [0, 1), two numbers, got {shown(group['betas'])}")
        group["betas"] = tuple(betas)  # a file has them as a list

    def _update(self, group: dict[str, Any], flat: FlatGroup, run: Run) -> None:
        beta1, beta2 = group["betas"]
        K.adam_step(
            flat.span(flat.values, run),
            flat.span(flat.grads, run),
            flat.span(flat.buffer("exp_avg"), run),
            flat.span(flat.buffer("exp_avg_sq"), run),
            flat.rates,
            run.step,
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            self._decoupled,
            group["maximize"],
        )


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights themselves (Loshchilov, Hutter 2019)."""

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize)
