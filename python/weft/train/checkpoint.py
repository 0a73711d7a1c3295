"""Checkpoints: everything that training consists of, in one safetensors file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import weft.kernels as K
from weft._checks import Saved, as_data, choice, integer, shown
from weft._loading import Loading, is_ours
from weft.data import DataLoader
from weft.serialization import read, save
from weft.tensor import Tensor
from weft.train._progress import Progress
from weft.train.callbacks import Callback, EarlyStopping, monitored

FORMAT = "weft checkpoint 1"


class Checkpoint(Callback):
    """Writes a checkpoint after every epoch, or only after those that are the best so far by `monitor`.

    The file is replaced as a whole: a full disk leaves the old checkpoint. mode: "min" or "max" is better. It is
    written after the other callbacks' turn, so that it holds what they know of the epoch.
    """

    runs_last = True

    def __init__(self, path: str | os.PathLike[str], monitor: str | None = None, mode: str = "min") -> None:
        self.path, self.monitor, self.mode = Path(path), monitor, choice("Checkpoint", "mode", mode, ("min", "max"))
        self.best = math.inf if mode == "min" else -math.inf

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        if self.monitor is not None:
            value = monitored("Checkpoint", row, self.monitor)
            if not (value < self.best if self.mode == "min" else value > self.best):
                return
            self.best = value
        save_checkpoint(self.path, trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._prepared(state)()

    def _prepared(self, state: Any) -> Callable[[], None]:
        best = Saved(type(self).__name__, state).number("best")
        return lambda: setattr(self, "best", best)


def _check_trainer(who: str, trainer: Any) -> None:
    if not hasattr(trainer, "loader_states"):
        raise TypeError(f"{who}: trainer must be a Trainer, got {shown(trainer)}")


def save_checkpoint(path: str | os.PathLike[str], trainer: Progress) -> None:
    """Weights, optimizer, schedule, random numbers, loader, callbacks, history and counters of a Trainer.

    OSError where the file cannot be written; what stood there before is still there then.
    """
    _check_trainer("save_checkpoint", trainer)
    tensors = {f"model.{name}": t for name, t in trainer.model.state_dict().items()}
    optimizer = trainer.optimizer.state_dict()
    for number, entry in optimizer["state"].items():
        tensors.update({f"optimizer.{number}.{k}": v for k, v in entry.items() if k != "step"})
    callbacks = []
    for i, callback in enumerate(trainer.callbacks):
        state = callback.state_dict()
        tensors.update({f"callback.{i}.{k}": v for k, v in state.items() if isinstance(v, Tensor)})
        plain = {k: v for k, v in state.items() if not isinstance(v, Tensor)}
        callbacks.append({"kind": type(callback).__name__, "state": plain})
    about = {
        "format": FORMAT,
        "model": type(trainer.model).__name__,
        "epoch": trainer.epoch,
        "step": trainer.step,
        "history": trainer.history,
        "random": list(K.default_generator(trainer.device).get_state()),
        "optimizer": {
            "kind": type(trainer.optimizer).__name__,
            "param_groups": optimizer["param_groups"],
            "steps": {str(number): entry["step"] for number, entry in optimizer["state"].items()},
        },
        "scheduler": None
        if trainer.scheduler is None
        else {"kind": type(trainer.scheduler).__name__, "state": trainer.scheduler.state_dict()},
        "loaders": trainer.loader_states(),
        "callbacks": callbacks,
    }
    try:
        text = json.dumps(about)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"save_checkpoint: states must be numbers, strings, lists, dicts and tensors: {error}"
        ) from error
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save(tensors, path, {"weft": text})


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint says and its tensors. ValueError for a damaged file or one that is no checkpoint."""
    tensors, metadata = read(path)
    try:
        about = json.loads(metadata.get("weft", ""))
        known = about["format"] == FORMAT
    except (ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        raise ValueError(f"load_checkpoint: {os.fspath(path)} is no checkpoint of weft ({FORMAT!r})")
    _check_about(f"load_checkpoint: {os.fspath(path)}", about)
    return about, tensors


def _check_about(who: str, about: dict[str, Any]) -> None:
    """ValueError where what a checkpoint says lacks a part or has one of another kind."""
    saved = Saved(who, about, "the checkpoint")
    saved.text("model")
    saved.integer("epoch", 0)
    saved.integer("step", 0)
    for i, row in enumerate(saved.items("history")):
        as_data(Saved, who, row, f"row {i} of the history").integer("epoch", 0)
    for word in saved.items("random", 2):
        as_data(integer, who, "a word of the random state", word, 0, 2**64 - 1)
    optimizer = saved.part("optimizer")
    optimizer.text("kind")
    optimizer.items("param_groups")
    optimizer.part("steps")
    parts = [] if saved.entry("scheduler") is None else [saved.part("scheduler")]
    parts += [as_data(Saved, who, c, f"callback {i}") for i, c in enumerate(saved.items("callbacks"))]
    for part in parts:
        part.text("kind")
        part.part("state")
    for i, state in enumerate(saved.items("loaders", 2)):
        if state is not None:
            as_data(Saved, who, state, f"the state of loader {i}")


def model_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights among a checkpoint's tensors, as Module.load_state_dict takes them."""
    return {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}


def load_checkpoint(path: str | os.PathLike[str], trainer: Progress) -> None:
    """Puts a Trainer into the state that save_checkpoint wrote; the next fit() goes on with the same bits.

    ValueError for a damaged file, another model (with the keys and shapes that differ), optimizer or schedule, or a
    state that does not fit. All is read and checked before anything is changed: an error leaves the trainer as it was,
    also one that a user's own load_state_dict raises.
    """
    _check_trainer("load_checkpoint", trainer)
    about, tensors = read_checkpoint(path)
    name = os.fspath(path)
    loading = Loading()
    try:
        _check_kinds(name, about, trainer)
    except RecursionError as error:
        raise ValueError(f"load_checkpoint: {name}: a state has too many lists in lists") from error
    try:
        loading.add(trainer.model, model_state(tensors))
    except (TypeError, ValueError) as error:
        raise ValueError(f"load_checkpoint: {name} is of another model ({about['model']}): {error}") from error
    try:
        loading.add(trainer.optimizer, _optimizer_state(about, tensors))
        if trainer.scheduler is not None:
            loading.add(trainer.scheduler, about["scheduler"]["state"])
        _add_callbacks(loading, trainer, about["callbacks"], tensors)
        _check_loaders(trainer, about["loaders"])
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"load_checkpoint: {name}: {error}") from error
    random = (about["random"][0], about["random"][1])
    K.Generator().set_state(random)  # raises here what it would raise below
    loading.finish()
    K.default_generator(trainer.device).set_state(random)
    trainer.epoch, trainer.step = about["epoch"], about["step"]
    trainer.history = list(about["history"])
    trainer._loader_states = about["loaders"]


def _check_kinds(path: str, about: dict[str, Any], trainer: Progress) -> None:
    """ValueError where the optimizer or the schedule is another one than the checkpoint's."""
    own, saved = trainer.scheduler, about["scheduler"]
    for before, now in (
        (about["optimizer"]["kind"], type(trainer.optimizer).__name__),
        (saved["kind"] if saved else "no schedule", type(own).__name__ if own is not None else "no schedule"),
    ):
        if before != now:
            raise ValueError(f"load_checkpoint: {path} was written with {before}, the trainer has {now}")
    if saved and _form(saved["state"]) != _form(own.state_dict()):
        raise ValueError(
            f"load_checkpoint: {path} was written with another {saved['kind']}: other parts or parameter groups"
        )


def _form(state: Any) -> Any:
    """The keys and lengths of nested dicts and lists, without their values."""
    if isinstance(state, dict):
        return {key: _form(value) for key, value in state.items()}
    return [_form(value) for value in state] if isinstance(state, (list, tuple)) else None


def _optimizer_state(about: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    state: dict[Any, dict[str, Any]] = {_number(n): {"step": s} for n, s in about["optimizer"]["steps"].items()}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = [*name.split(".", 2), ""][:3]
            if _number(number) not in state:
                raise ValueError(f"the checkpoint has {name}, but no count of that parameter's steps")
            state[_number(number)][key] = tensor
    return {"state": state, "param_groups": about["optimizer"]["param_groups"]}


def _number(text: str) -> Any:
    """A parameter's number as Optimizer.state_dict has it; what is none, as it is: no optimizer knows it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _add_callbacks(
    loading: Loading, trainer: Progress, saved: list[dict[str, Any]], tensors: dict[str, Tensor]
) -> None:
    """Each callback gets the state of the next one of its kind."""
    waiting = list(trainer.callbacks)
    for i, entry in enumerate(saved):
        callback = next((c for c in waiting if type(c).__name__ == entry["kind"]), None)
        if callback is None:
            continue
        waiting.remove(callback)
        prefix = f"callback.{i}."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        state = {**entry["state"], **own}
        if not state and not is_ours(callback):
            continue
        loading.add(callback, state)
        if isinstance(callback, EarlyStopping) and is_ours(callback):
            _check_weights(trainer, callback.weights_in(state))


def _check_weights(trainer: Progress, weights: dict[str, Any]) -> None:
    """ValueError for best weights that are those of another model."""
    if weights and is_ours(trainer.model):
        trainer.model._prepared(weights)


def _check_loaders(trainer: Progress, states: list[dict[str, Any] | None]) -> None:
    """ValueError for states that the loaders would refuse, which get them when the next fit() begins."""
    for loader, state in zip((trainer.train_loader, trainer.validation_loader), states, strict=True):
        if state is None:
            continue
        if isinstance(loader, DataLoader) and is_ours(loader):
            loader._prepared(state)
        elif not {"seed", "epoch"}.isdisjoint(state) and not hasattr(loader, "load_state_dict"):
            DataLoader.read_state(state)  # no loader is known yet; it looks like one of weft's
