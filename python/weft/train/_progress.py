"""What callbacks and checkpoints see of a Trainer; the loop itself comes later, in trainer.py."""

from __future__ import annotations

from typing import Any

import weft.kernels as K
from weft.nn import Module
from weft.optim import Optimizer


class Progress:
    """A training and how far it is; Trainer derives from it."""

    model: Module
    optimizer: Optimizer
    scheduler: Any
    callbacks: list[Any]

    def __init__(self) -> None:
        self.epoch = 0
        self.step = 0
        self.epochs = 0  # the goal of the present fit()
        self.should_stop = False
        self.history: list[dict[str, Any]] = []
        self.train_loader: Any = None
        self.validation_loader: Any = None
        self._loader_states: list[dict[str, Any] | None] | None = None  # from a checkpoint, for the next fit()

    def loader_states(self) -> list[dict[str, Any] | None]:
        """The states of the loaders for training and validation; None for one that has none."""
        if self._loader_states is not None:
            return self._loader_states
        loaders = (self.train_loader, self.validation_loader)
        return [loader.state_dict() if hasattr(loader, "state_dict") else None for loader in loaders]

    @property
    def device(self) -> str:
        """Where the model's parameters lie; batches are brought there."""
        return next((p.device for p in self.model.parameters()), K.default_device())
