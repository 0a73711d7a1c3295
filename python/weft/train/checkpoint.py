"""Checkpoints: everything that training consists of, in one safetensors file."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import weft.kernels as K
from weft.serialization import read, save
from weft.tensor import Tensor
from weft.train.callbacks import Callback, monitored

if TYPE_CHECKING:
    from weft.train.trainer import Trainer

FORMAT = "weft checkpoint 1"


class Checkpoint(Callback):
    """Writes a checkpoint after every epoch, or only after those that are the best so far by `monitor`.

    The file is replaced as a whole: a full disk leaves the old checkpoint. mode: "min" or "max" is better. It is
    written after the other callbacks' turn, so that it holds what they know of the epoch.
    """

    runs_last = True

    def __init__(self, path: str | os.PathLike[str], monitor: str | None = None, mode: str = "min") -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"Checkpoint: mode must be 'min' or 'max', got {mode!r}")
        self.path, self.monitor, self.mode = Path(path), monitor, mode
        self.best = math.inf if mode == "min" else -math.inf

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        if self.monitor is not None:
            value = monitored("Checkpoint", row, self.monitor)
            if not (value < self.best if self.mode == "min" else value > self.best):
                return
            self.best = value
        save_checkpoint(self.path, trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = float(state["best"])


def save_checkpoint(path: str | os.PathLike[str], trainer: Trainer) -> None:
    """Weights, optimizer, schedule, random numbers, loader, callbacks, history and counters of a Trainer.

    OSError where the file cannot be written; what stood there before is still there then.
    """
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
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save(tensors, path, {"weft": json.dumps(about)})


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint says and its tensors. ValueError for a damaged file or one that is no checkpoint."""
    tensors, metadata = read(path)
    try:
        about = json.loads(metadata.get("weft", ""))
        known = about["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ValueError(f"load_checkpoint: {os.fspath(path)} is no checkpoint of weft ({FORMAT!r})")
    return about, tensors


def model_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights among a checkpoint's tensors, as Module.load_state_dict takes them."""
    return {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}


def load_checkpoint(path: str | os.PathLike[str], trainer: Trainer) -> None:
    """Puts a Trainer into the state that save_checkpoint wrote; the next fit() goes on with the same bits.

    ValueError for a damaged file, another model (with the keys and shapes that differ), optimizer or schedule; nothing
    is changed then.
    """
    about, tensors = read_checkpoint(path)
    _check_kinds(os.fspath(path), about, trainer)
    optimizer = _optimizer_state(about, tensors)
    before = {name: Tensor(K.copy(t.array)) for name, t in trainer.model.state_dict().items()}
    try:
        trainer.model.load_state_dict(model_state(tensors), strict=True)
    except ValueError as error:
        raise ValueError(
            f"load_checkpoint: {os.fspath(path)} is of another model ({about['model']}): {error}"
        ) from error
    try:
        trainer.optimizer.load_state_dict(optimizer)
    except ValueError:
        trainer.model.load_state_dict(before)
        raise
    if trainer.scheduler is not None:
        trainer.scheduler.load_state_dict(about["scheduler"]["state"])
    _load_callbacks(trainer, about["callbacks"], tensors)
    K.default_generator(trainer.device).set_state(tuple(about["random"]))
    trainer.epoch, trainer.step = about["epoch"], about["step"]
    trainer.history = list(about["history"])
    trainer._loader_states = about["loaders"]


def _check_kinds(path: str, about: dict[str, Any], trainer: Trainer) -> None:
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
    state: dict[int, dict[str, Any]] = {int(n): {"step": s} for n, s in about["optimizer"]["steps"].items()}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state[int(number)][key] = tensor
    groups = about["optimizer"]["param_groups"]
    for group in groups:
        if "betas" in group:
            group["betas"] = tuple(group["betas"])
    return {"state": state, "param_groups": groups}


def _load_callbacks(trainer: Trainer, saved: list[dict[str, Any]], tensors: dict[str, Tensor]) -> None:
    """Gives each callback the state of the next one of its kind."""
    waiting = list(trainer.callbacks)
    for i, entry in enumerate(saved):
        callback = next((c for c in waiting if type(c).__name__ == entry["kind"]), None)
        if callback is None:
            continue
        waiting.remove(callback)
        prefix = f"callback.{i}."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        state = {**entry["state"], **own}
        if state:
            callback.load_state_dict(state)
