"""Checkpoints: a resumed training has the bits of one that never stopped; what does not fit changes nothing."""

from __future__ import annotations

import copy
import csv
import errno
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import weft
import weft.kernels as K
from weft import nn, optim
from weft.data import ArrayDataset, Compose, DataLoader, RandomRotation, RandomShift
from weft.optim import lr_scheduler
from weft.train import Checkpoint, CSVLogger, EarlyStopping, ProgressBar, Trainer, accuracy, save_checkpoint
from weft.train.checkpoint import model_state, read_checkpoint

pytestmark = pytest.mark.needs("safetensors")

IMAGES = np.random.default_rng(1).integers(0, 256, (45, 1, 6, 6)).astype(np.uint8)
LABELS = IMAGES[:, 0, 0, 0].astype(np.int64) % 3
EPOCHS, BATCHES = 5, 4


def data(**options: Any) -> DataLoader:
    return DataLoader(ArrayDataset(IMAGES, LABELS), 12, shuffle=True, **options)


def network(hidden: int = 9) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32, hidden), nn.Tanh(),
        nn.Dropout(0.5), nn.Linear(hidden, 3),
    )  # fmt: skip


def momentum(params: Any) -> Any:
    return optim.SGD(params, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)


def groups(params: Any) -> Any:
    p = list(params)
    return optim.SGD([{"params": p[:2], "momentum": 0.5}, {"params": p[2:], "lr": 0.02}], 0.1)


def sequence(optimizer: Any) -> Any:
    parts = [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2), lr_scheduler.CosineAnnealingLR(optimizer, 4)]
    return lr_scheduler.SequentialLR(optimizer, parts, [2])


def cycle(optimizer: Any) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=EPOCHS * BATCHES)


def plateau(optimizer: Any) -> Any:
    return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.05)


KINDS: dict[str, tuple[Any, Any, str]] = {
    "momentum, one cycle": (momentum, cycle, "step"),
    "adam, one cycle": (optim.Adam, cycle, "step"),
    "adamw, plateau": (optim.AdamW, plateau, "epoch"),
    "rmsprop, sequence": (lambda p: optim.RMSprop(p, 1e-3, centered=True, momentum=0.5), sequence, "epoch"),
    "adagrad, steps": (optim.Adagrad, lambda o: lr_scheduler.StepLR(o, 2), "epoch"),
    "groups, no schedule": (groups, None, "epoch"),
}


def make(kind: str, folder: Path, hidden: int = 9, callbacks: Any = None) -> Trainer:
    make_optimizer, make_schedule, interval = KINDS[kind]
    model = network(hidden)
    optimizer = make_optimizer(model.parameters())
    if callbacks is None:  # a checkpoint that is listed before others still holds what they know of the epoch
        checkpoint = Checkpoint(folder / "checkpoint.safetensors")
        callbacks = [checkpoint, CSVLogger(folder / "log.csv"), EarlyStopping("val_loss", patience=100)]
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        scheduler=None if make_schedule is None else make_schedule(optimizer),
        scheduler_interval=interval,
        metrics={"accuracy": accuracy},
        clip_norm=1.0,
        callbacks=callbacks,
    )


def everything(trainer: Trainer) -> dict[str, Any]:
    """All numbers of a trainer except those of the clock, exactly."""
    state = trainer.optimizer.state_dict()
    return {
        "weights": {k: np.asarray(v.detach()).tobytes() for k, v in trainer.model.state_dict().items()},
        "optimizer": {
            n: {k: v if k == "step" else np.asarray(v).tobytes() for k, v in entry.items()}
            for n, entry in state["state"].items()
        },
        "groups": state["param_groups"],
        "schedule": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
        "random": K.default_generator().get_state(),
        "counters": (trainer.epoch, trainer.step),
        "history": [untimed(row) for row in trainer.history],
        "callbacks": [
            {k: v.tolist() if isinstance(v, weft.Tensor) else v for k, v in c.state_dict().items()}
            for c in trainer.callbacks
        ],
    }


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}


def log(folder: Path) -> list[dict[str, Any]]:
    with (folder / "log.csv").open(newline="") as file:
        return [untimed(row) for row in csv.DictReader(file)]


def whole_and_resumed(kind: str, tmp_path: Path, stops: list[int], **options: Any) -> tuple[Trainer, Trainer]:
    """Trained in one go, and stopped after each of `stops` epochs, each time with all objects made anew."""
    folders = [tmp_path / "whole", tmp_path / "resumed"]
    weft.manual_seed(7)
    whole = make(kind, folders[0])
    whole.fit(data(seed=3, **options), data(seed=5), EPOCHS)
    end = K.default_generator().get_state()
    weft.manual_seed(7)
    resumed = make(kind, folders[1])
    for i, stop in enumerate([*stops, EPOCHS]):
        if i:
            weft.manual_seed(1000 + i)
            resumed = make(kind, folders[1])
            resumed.resume(folders[1] / "checkpoint.safetensors")
        resumed.fit(data(seed=3, **options), data(seed=5), stop)
    assert K.default_generator().get_state() == end
    return whole, resumed


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits(kind: str, tmp_path: Path) -> None:
    whole, resumed = whole_and_resumed(kind, tmp_path, [2])
    assert everything(resumed) == everything(whole)
    assert log(tmp_path / "resumed") == log(tmp_path / "whole")
    assert [row["epoch"] for row in log(tmp_path / "resumed")] == ["1", "2", "3", "4", "5"]


def test_the_same_bits_after_many_stops_with_random_transforms(tmp_path: Path) -> None:
    transform = Compose([RandomRotation(10), RandomShift(1)])
    whole, resumed = whole_and_resumed("momentum, one cycle", tmp_path, [1, 2, 4], transform=transform)
    assert everything(resumed) == everything(whole)
    files = [(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "resumed")]
    (_, one), (_, other) = (read_checkpoint(file) for file in files)
    assert {k: v.tolist() for k, v in one.items()} == {k: v.tolist() for k, v in other.items()}


def test_a_run_that_died_in_an_epoch_loses_and_doubles_no_row(tmp_path: Path) -> None:
    class Dies(ProgressBar):
        def on_batch_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 2 * BATCHES + 2:
                raise KeyboardInterrupt

    weft.manual_seed(7)
    whole = make("momentum, one cycle", tmp_path / "whole")
    whole.fit(data(), data(seed=5), EPOCHS)
    weft.manual_seed(7)
    dying = make("momentum, one cycle", tmp_path / "died")
    dying.callbacks.append(Dies())
    with pytest.raises(KeyboardInterrupt):
        dying.fit(data(), data(seed=5), EPOCHS)
    again = make("momentum, one cycle", tmp_path / "died")
    again.resume(tmp_path / "died" / "checkpoint.safetensors")
    assert again.epoch == 2
    again.fit(data(), data(seed=5), EPOCHS)
    assert everything(again) == everything(whole)
    assert log(tmp_path / "died") == log(tmp_path / "whole")


def test_a_log_that_is_ahead_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "early.safetensors"
    trainer = make("groups, no schedule", tmp_path)
    trainer.fit(data(), data(), 2)
    save_checkpoint(path, trainer)
    trainer.fit(data(), data(), 4)
    again = make("groups, no schedule", tmp_path)
    again.resume(path)
    again.fit(data(), data(), 3)
    assert [row["epoch"] for row in log(tmp_path)] == ["1", "2", "3"]


def test_early_stopping_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"

    def stopping() -> list[Any]:
        return [Checkpoint(path), EarlyStopping("loss", mode="max", patience=2, min_delta=100.0)]

    first = make("groups, no schedule", tmp_path, callbacks=stopping())
    first.fit(data(), epochs=2)
    best = {k: v.tolist() for k, v in first.callbacks[1]._weights.items()}
    # A callback more before them does not take their state away.
    second = make("groups, no schedule", tmp_path, callbacks=[ProgressBar(), *stopping()])
    second.resume(path)
    second.fit(data(), epochs=9)
    assert second.epoch == 3
    assert {k: v.tolist() for k, v in second.model.state_dict().items()} == best
    third = make("groups, no schedule", tmp_path, callbacks=stopping())
    third.resume(path)
    third.fit(data(), epochs=9)
    assert third.epoch == 3  # a training that was stopped stays so
    assert {k: v.tolist() for k, v in third.model.state_dict().items()} == best


def test_only_the_best(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    trainer = make("groups, no schedule", tmp_path, callbacks=[Checkpoint(path, "accuracy", "max")])
    trainer.fit(data(), epochs=4)
    scores = [row["accuracy"] for row in trainer.history]
    assert read_checkpoint(path)[0]["epoch"] == scores.index(max(scores)) + 1
    with pytest.raises(ValueError, match="Checkpoint: no result 'f1'; there are epoch, lr, loss, accuracy"):
        make("groups, no schedule", tmp_path, callbacks=[Checkpoint(path, "f1")]).fit(data(), epochs=1)
    with pytest.raises(ValueError, match="Checkpoint: mode must be 'min' or 'max', got 'up'"):
        Checkpoint(path, mode="up")


def test_a_resumed_trainer_saved_at_once(tmp_path: Path) -> None:
    trainer = make("momentum, one cycle", tmp_path)
    trainer.fit(data(seed=3), data(), 2)
    again = make("momentum, one cycle", tmp_path)
    again.resume(tmp_path / "checkpoint.safetensors")
    save_checkpoint(tmp_path / "copy", again)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "checkpoint.safetensors").read_bytes()


def test_metrics_that_are_no_plain_floats(tmp_path: Path) -> None:
    trainer = make("momentum, one cycle", tmp_path)
    trainer.metrics = {"array": lambda out, y: np.float32(0.5), "tensor": lambda out, y: weft.tensor(0.25)}
    trainer.fit(data(), data(), 1)
    assert (trainer.history[0]["array"], trainer.history[0]["tensor"]) == (0.5, 0.25)
    assert read_checkpoint(tmp_path / "checkpoint.safetensors")[0]["history"] == trainer.history


def test_the_weights_alone(tmp_path: Path) -> None:
    trainer = make("momentum, one cycle", tmp_path)
    trainer.fit(data(), data(), 1)
    model = network()
    model.load_state_dict(model_state(read_checkpoint(tmp_path / "checkpoint.safetensors")[1]))
    x = weft.randn(2, 1, 6, 6)
    assert model.eval()(x).tolist() == trainer.model.eval()(x).tolist()


# --- what does not fit ---


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of SGD with one cycle after one epoch."""
    make("momentum, one cycle", tmp_path).fit(data(), data(), 1)
    return tmp_path / "checkpoint.safetensors"


def refused(trainer: Trainer, path: Path, match: str) -> None:
    trainer.fit(data(), data(), 1)
    before = everything(trainer)
    with pytest.raises(ValueError, match=match):
        trainer.resume(path)
    assert everything(trainer) == before


def test_another_model(path: Path, tmp_path: Path) -> None:
    trainer = make("momentum, one cycle", tmp_path / "other", hidden=8)
    refused(
        trainer, path, r"is of another model \(Sequential\): [^$]*4.weight: the module has shape \(8, 32\), "
        r"the state \(9, 32\)"
    )  # fmt: skip
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    other = Trainer(model, nn.CrossEntropyLoss(), momentum(model.parameters()))
    other.scheduler, other.scheduler_interval = cycle(other.optimizer), "step"
    refused(other, path, r"another model[^$]*missing keys: 1.weight, 1.bias\n *unexpected keys: 0.bias, 0.weight, 4")


def test_another_optimizer_or_schedule(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    refused(make("adam, one cycle", folder), path, "was written with SGD, the trainer has Adam")
    refused(make("groups, no schedule", folder), path, "was written with OneCycleLR, the trainer has no schedule")
    trainer = make("momentum, one cycle", folder)
    trainer.scheduler, trainer.scheduler_interval = lr_scheduler.StepLR(trainer.optimizer, 1), "epoch"
    refused(trainer, path, "was written with OneCycleLR, the trainer has StepLR")
    trainer = make("groups, no schedule", folder)
    trainer.scheduler, trainer.scheduler_interval = cycle(trainer.optimizer), "step"
    refused(trainer, path, "was written with another OneCycleLR: other parts or parameter groups")
    save_checkpoint(path, make("groups, no schedule", folder))
    model = network()
    trainer = Trainer(model, nn.CrossEntropyLoss(), momentum(model.parameters()))
    refused(trainer, path, r"SGD: the state has groups of \[2, 4\] parameters, the optimizer of \[6\]")


def test_damaged_checkpoints(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    broken = tmp_path / "broken.safetensors"
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        broken.write_bytes(whole[:size])
        refused(make("momentum, one cycle", tmp_path / "o"), broken, rf"\({size} bytes\) is no whole safetensors file")
    with pytest.raises(FileNotFoundError):
        make("momentum, one cycle", tmp_path / "o").resume(tmp_path / "none")


@pytest.mark.parametrize("metadata", [None, {"weft": "{"}, {"weft": "[]"}, {"weft": json.dumps({"format": "weft 9"})}])
def test_files_that_are_no_checkpoints(metadata: Any, tmp_path: Path) -> None:
    weft.save(network().state_dict(), tmp_path / "x", metadata)
    refused(make("groups, no schedule", tmp_path / "o"), tmp_path / "x", r"x is no checkpoint of weft \('weft check")


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    trainer = make("momentum, one cycle", tmp_path, callbacks=[Checkpoint(tmp_path / "c.safetensors")])
    trainer.fit(data(), epochs=2)
    before = (tmp_path / "c.safetensors").read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        trainer.fit(data(), epochs=3)
    assert (tmp_path / "c.safetensors").read_bytes() == before
    assert os.listdir(tmp_path) == ["c.safetensors"]
    again = make("momentum, one cycle", tmp_path)
    again.resume(tmp_path / "c.safetensors")
    assert again.epoch == 2


# --- damage that a checksum does not show ---

TAKEN = "taken away"
BAD: tuple[Any, ...] = ("x", None, math.nan, -1, 2.5, True, [], {}, 2**64, TAKEN)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each dict or list in a value, with each key or index."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


def damages(about: Any) -> Iterator[tuple[str, str, Any]]:
    """What a checkpoint says with one value changed or taken away."""
    for at in range(len(list(places(about)))):
        for bad in BAD:
            changed = copy.deepcopy(about)
            where, key = list(places(changed))[at]
            if bad == TAKEN:
                del where[key]
            elif type(bad) is type(where[key]) and not isinstance(bad, (dict, list)):
                continue  # may be right there
            else:
                where[key] = bad
            yield str(key), str(bad)[:20], changed


@pytest.mark.parametrize("kind", ["adamw, plateau", "rmsprop, sequence"])
def test_a_damaged_checkpoint_changes_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(kind, tmp_path).fit(data(seed=3), data(), 2)
    path = tmp_path / "checkpoint.safetensors"
    about, tensors = read_checkpoint(path)
    trainer = make(kind, tmp_path / "other")
    trainer.fit(data(), data(), 1)
    mine = read_checkpoint(tmp_path / "other" / "checkpoint.safetensors")
    before = everything(trainer)
    said: Any = None
    monkeypatch.setattr("weft.train.checkpoint.read", lambda _: (tensors, {"weft": json.dumps(said)}))
    accepted: dict[str, list[str]] = {}
    for key, bad, said in damages(about):  # noqa: B007 (the function above reads it)
        try:
            trainer.resume(path)
        except ValueError as error:
            message = str(error)
        else:
            accepted.setdefault(key, []).append(bad)
            with monkeypatch.context() as patch:
                patch.setattr("weft.train.checkpoint.read_checkpoint", lambda _: copy.deepcopy(mine))
                trainer.resume(path)
            message, trainer._loader_states = f"load_checkpoint: {path}", None
        assert message.startswith(f"load_checkpoint: {path}"), (key, bad)
        assert trainer._loader_states is None, (key, bad)
        assert everything(trainer) == before, (key, bad)
    # What may be anything (a row of results; a callback or kind of state that nobody asks for) and other numbers.
    rows = {"lr", "loss", "accuracy", "val_loss", "val_accuracy", "images_per_second", "seconds"}
    numbers = {"0", "1", "2", "best", "initial_lr", "momentum", "weight_decay", "eps", "alpha"}
    assert set(accepted) <= {*rows, *numbers, "history", "callbacks", "state"}
    assert accepted["history"] == accepted["callbacks"] == ["[]"]
    assert {bad for key in numbers & set(accepted) for bad in accepted[key]} <= {"{}", "None", "-1", str(2**64), TAKEN}


def test_a_damaged_tensor_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("adam, one cycle", tmp_path).fit(data(seed=3), data(), 2)
    path = tmp_path / "checkpoint.safetensors"
    about, tensors = read_checkpoint(path)
    assert any(name.startswith("callback.2.weights.") for name in tensors)
    trainer = make("adam, one cycle", tmp_path / "other")
    trainer.fit(data(), data(), 1)
    before = everything(trainer)
    for name, tensor in tensors.items():
        others = {k: v for k, v in tensors.items() if k != name}
        for changed in (others, {**others, f"{name}x": tensor}, {**others, name: weft.ones(7)}):
            given = (copy.deepcopy(about), changed)
            monkeypatch.setattr("weft.train.checkpoint.read_checkpoint", lambda _, given=given: given)
            with pytest.raises(ValueError, match="load_checkpoint: .*checkpoint.safetensors"):
                trainer.resume(path)
            assert everything(trainer) == before, name
    for name in ("optimizer.", "optimizer.x.exp_avg", "optimizer.77.exp_avg", "optimizer.-1.exp_avg", "optimizer.0.x"):
        given = (copy.deepcopy(about), {**tensors, name: weft.ones(7)})
        monkeypatch.setattr("weft.train.checkpoint.read_checkpoint", lambda _, given=given: given)
        with pytest.raises(ValueError, match="load_checkpoint: "):
            trainer.resume(path)
        assert everything(trainer) == before, name


def test_a_flipped_bit_of_a_checkpoint(path: Path, tmp_path: Path) -> None:
    whole = bytearray(path.read_bytes())
    trainer = make("momentum, one cycle", tmp_path / "o")
    trainer.fit(data(), data(), 1)
    before = everything(trainer)
    for place in range(0, len(whole), 97):
        whole[place] ^= 1 << place % 8
        (tmp_path / "flipped").write_bytes(whole)
        with pytest.raises(ValueError, match="load: .*flipped"):
            trainer.resume(tmp_path / "flipped")
        whole[place] ^= 1 << place % 8
    assert everything(trainer) == before
    assert path.read_bytes() == whole


def test_a_users_own_callback_that_fails_changes_nothing(path: Path, tmp_path: Path) -> None:
    class Counts(ProgressBar):
        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[str, Any] = {"epochs": 0, "tensor": weft.zeros(2)}

        def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
            self.seen["epochs"] += 1
            self.seen["tensor"].add_(1)

        def state_dict(self) -> dict[str, Any]:
            return self.seen

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.seen = state

    class Fails(Counts):
        bad = False

        def load_state_dict(self, state: dict[str, Any]) -> None:
            super().load_state_dict(state)
            if state["epochs"] == 2:
                raise RuntimeError("not this one")

    def trained(epochs: int) -> Trainer:
        callbacks = [Counts(), Checkpoint(tmp_path / f"{epochs}"), Fails(), EarlyStopping("loss", patience=100)]
        trainer = make("momentum, one cycle", tmp_path, callbacks=callbacks)
        trainer.fit(data(seed=epochs), epochs=epochs)
        return trainer

    trained(2)
    three = trained(3)
    trainer = trained(1)
    before = everything(trainer)
    with pytest.raises(RuntimeError, match="not this one"):
        trainer.resume(tmp_path / "2")
    assert everything(trainer) == before
    assert trainer._loader_states is None
    trainer.resume(tmp_path / "3")
    assert everything(trainer) == everything(three)


def test_loaders_get_their_states_both_or_none(tmp_path: Path) -> None:
    first = make("groups, no schedule", tmp_path)
    first.fit(data(seed=3), data(seed=5), 2)
    again = make("groups, no schedule", tmp_path)
    again.resume(tmp_path / "checkpoint.safetensors")
    again._loader_states[1]["epoch"] = -1
    loaders = (data(), data())
    before = [loader.state_dict() for loader in loaders]
    with pytest.raises(ValueError, match="DataLoader: the state's epoch must not be negative, got -1"):
        again.fit(*loaders, 3)
    assert [loader.state_dict() for loader in loaders] == before
    assert again.epoch == 2
    for bad in ({}, {"seed": "3", "epoch": 0}, {"seed": 3}, {"seed": 2**64, "epoch": 0}, {"seed": 1.0, "epoch": 0}):
        with pytest.raises(ValueError, match="DataLoader: the state"):
            loaders[0].load_state_dict(bad)
    assert [loader.state_dict() for loader in loaders] == before


def test_states_that_no_checkpoint_can_hold(path: Path, tmp_path: Path) -> None:
    trainer = make("groups, no schedule", tmp_path / "o")
    before = path.read_bytes()
    trainer.history = [{"epoch": 1, "what": object()}]
    with pytest.raises(TypeError, match="save_checkpoint: states must be numbers, strings, lists, dicts and tensors"):
        save_checkpoint(path, trainer)
    assert path.read_bytes() == before
