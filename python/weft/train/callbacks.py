"""What a Trainer calls on its way."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import weft.kernels as K
from weft._checks import Saved, as_data, choice, instance, integer, number
from weft._files import write_atomically
from weft.tensor import Tensor


class Callback:
    """The base: override what you need. state_dict() and load_state_dict() put a callback into checkpoints: numbers,
    strings, lists and dicts of them, and Tensors. A callback with runs_last is called after all others. `trainer` is
    the weft.train.Trainer: here Any, because that knows callbacks and not the other way round."""

    runs_last = False

    def on_fit_begin(self, trainer: Any) -> None:
        """Before the first epoch; trainer.epoch > 0 when resumed."""

    def on_fit_end(self, trainer: Any) -> None:
        """After the last epoch, also when an error ended it."""

    def on_epoch_begin(self, trainer: Any) -> None: ...

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        """row: the epoch's results, as in Trainer.fit."""

    def on_batch_begin(self, trainer: Any) -> None: ...

    def on_batch_end(self, trainer: Any, loss: float) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def _prepared(self, state: Any) -> Callable[[], None]:  # for those that keep nothing
        return lambda: None


class ProgressBar(Callback):
    """A bar for each epoch on standard error by tqdm; nothing where that is no terminal or tqdm is not installed."""

    def __init__(self) -> None:
        self._bar: Any = None

    def on_epoch_begin(self, trainer: Any) -> None:
        if not sys.stderr.isatty():
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        total = len(trainer.train_loader) if hasattr(trainer.train_loader, "__len__") else None
        title = f"epoch {trainer.epoch + 1}/{trainer.epochs}"
        self._bar = tqdm(total=total, desc=title, unit="batch", leave=False, dynamic_ncols=True)

    def on_batch_end(self, trainer: Any, loss: float) -> None:
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            self._bar.update()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        self._close()

    def on_fit_end(self, trainer: Any) -> None:
        self._close()


class EarlyStopping(Callback):
    """Stops when `monitor` has not become better by min_delta for `patience` epochs, and restores the best weights.

    mode: "min" or "max" is better. A training that was stopped stays so, also when resumed from a checkpoint.
    ValueError where the results lack `monitor`.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        mode: str = "min",
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        name = "EarlyStopping"
        self.monitor, self.mode = monitor, choice(name, "mode", mode, ("min", "max"))
        self.patience, self.min_delta = integer(name, "patience", patience, 1), number(name, "min_delta", min_delta)
        self.restore_best = restore_best
        self.best = math.inf if mode == "min" else -math.inf
        self.best_epoch = 0
        self.best_step = 0
        self.bad_epochs = 0
        self._weights: dict[str, Tensor] = {}

    def on_fit_begin(self, trainer: Any) -> None:
        if self.bad_epochs >= self.patience:
            trainer.should_stop = True

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        value = monitored("EarlyStopping", row, self.monitor)
        gain = self.best - value if self.mode == "min" else value - self.best
        if gain > self.min_delta:
            self.best, self.best_epoch, self.best_step, self.bad_epochs = value, trainer.epoch, trainer.step, 0
            if self.restore_best:
                state = trainer.model.state_dict()
                self._weights = {name: Tensor(K.copy(t.array)) for name, t in state.items()}
            return
        self.bad_epochs += 1
        if self.bad_epochs >= self.patience:
            trainer.should_stop = True

    def on_fit_end(self, trainer: Any) -> None:
        if self._weights and self.best_step != trainer.step:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "best_epoch", "best_step", "bad_epochs")
        numbers = {name: getattr(self, name) for name in names}
        return {**numbers, **{f"weights.{name}": t for name, t in self._weights.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._prepared(state)()

    def _prepared(self, state: Any) -> Callable[[], None]:
        """Reads a state whole; what puts it in place."""
        saved = Saved(type(self).__name__, state)
        values: dict[str, Any] = {"best": saved.number("best")}
        values.update({name: saved.integer(name, 0) for name in ("best_epoch", "best_step", "bad_epochs")})
        values["_weights"] = self.weights_in(saved.state)
        for name, value in values["_weights"].items():
            as_data(instance, saved.who, f"the best weight {name}", value, Tensor)
        return lambda: self.__dict__.update(values)

    @staticmethod
    def weights_in(state: Mapping[str, Any]) -> dict[str, Any]:
        """The best weights in a state of this callback, as Module.load_state_dict takes them."""
        return {k.removeprefix("weights."): v for k, v in state.items() if k.startswith("weights.")}


class CSVLogger(Callback):
    """One row of results for each epoch in a CSV file, complete after every epoch.

    It holds the trainer's history: a new training begins the file anew, a resumed one goes on after the rows up to the
    checkpoint's epoch.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        names = list(dict.fromkeys(name for r in trainer.history for name in r))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(trainer.history)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, text.getvalue().encode())


def monitored(who: str, row: dict[str, Any], name: str) -> float:
    """A result by name. ValueError that lists what there is."""
    if name not in row:
        raise ValueError(f"{who}: no result {name!r}; there are {', '.join(row)}")
    return float(row[name])
