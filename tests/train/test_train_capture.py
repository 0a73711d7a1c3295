"""A Trainer whose batches are replays: the same bits as without, and models that cannot be captured."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft
from helpers import default_device
from weft import nn
from weft.data import ArrayDataset, DataLoader
from weft.optim import SGD, Adam
from weft.optim.lr_scheduler import OneCycleLR
from weft.train import Callback, Checkpoint, NonFiniteLossError, Trainer, accuracy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4)).astype("float32")
Y = RNG.integers(0, 3, size=70)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = weft.get_num_threads()
    yield
    weft.set_num_threads(before)


def loader(x: np.ndarray = X, y: np.ndarray = Y) -> DataLoader:
    return DataLoader(ArrayDataset(x, y), 16, shuffle=True, seed=3)  # the last batch of an epoch is smaller


def network() -> nn.Sequential:
    weft.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def trainer(capture: bool, model: Any = None, **options: Any) -> Trainer:
    model = network() if model is None else model
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    options.setdefault("metrics", {"accuracy": accuracy})
    options.setdefault("scheduler", OneCycleLR(optimizer, 0.5, 100))
    return Trainer(
        model, nn.CrossEntropyLoss(), optimizer, scheduler_interval="step", capture=capture, **options
    )  # fmt: skip


def weights(model: nn.Module) -> list[Any]:
    return [p.tolist() for p in model.parameters()]


def results(t: Trainer) -> list[Any]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in t.history]


@pytest.mark.parametrize("clip_norm", [None, 0.3])
def test_an_epoch_has_the_same_bits(clip_norm: float | None) -> None:
    plain, captured = trainer(False, clip_norm=clip_norm), trainer(True, clip_norm=clip_norm)
    plain.fit(loader(), loader(), epochs=4)
    network()  # the seed again
    captured.fit(loader(), loader(), epochs=4)
    assert captured.uncaptured is None
    assert plain.uncaptured == "capture=False"
    assert results(captured) == results(plain)
    assert weights(captured.model) == weights(plain.model)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_lenet_has_the_same_bits(threads: int) -> None:
    images = RNG.normal(size=(70, 1, 28, 28)).astype("float32")

    def trained(capture: bool, count: int) -> list[Any]:
        weft.set_num_threads(count)
        weft.manual_seed(5)
        model = weft.models.LeNet5()
        t = Trainer(model, nn.CrossEntropyLoss(), Adam(model.parameters(), 1e-3), capture=capture)
        t.fit(loader(images), epochs=2)
        assert capture is (t.uncaptured is None)
        return [results(t), weights(model)]

    assert trained(True, threads) == trained(False, 1)


@pytest.mark.needs("safetensors")
def test_resuming_gives_the_same_bits(tmp_path: Path) -> None:
    whole = trainer(True)
    whole.fit(loader(), epochs=4)
    first = trainer(True, callbacks=[Checkpoint(tmp_path / "last")])
    first.fit(loader(), epochs=2)
    second = trainer(True, callbacks=[Checkpoint(tmp_path / "last")])
    second.fit(loader(), epochs=0)
    second.resume(tmp_path / "last")
    second.fit(loader(), epochs=4)
    assert weights(second.model) == weights(whole.model)


def test_a_bad_batch_stops_a_replay_before_the_update() -> None:
    model = network()
    t = trainer(True, model)
    bad = X.copy()
    t.fit(loader(), epochs=3)
    assert t.uncaptured is None
    bad[:, 0] = np.nan
    before = weights(model)
    with pytest.raises(NonFiniteLossError, match=r"epoch 4, step 16: the loss is nan; the input of 0 \(Linear\)"):
        t.fit(DataLoader(ArrayDataset(bad, Y), 16), epochs=4)
    assert weights(model) == before


def test_a_bad_gradient_stops_a_replay_before_the_update() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(weft.ones(1))
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.layer((x * self.scale).abs().sqrt())

    weft.manual_seed(2)
    model = Scaled()
    t = trainer(True, model, scheduler=None)
    t.fit(loader(), epochs=2)
    assert t.uncaptured is None
    before = weights(model)
    with pytest.raises(NonFiniteLossError, match="the gradient's norm is nan; the first bad gradient is that of scale"):
        t.fit(loader(np.zeros_like(X)), epochs=3)
    assert weights(model) == before


def test_labels_out_of_range_are_errors_in_a_replay() -> None:
    t = trainer(True)
    t.fit(loader(), epochs=2)
    with pytest.raises(IndexError, match="is not a class: expected 0 to 2"):
        t.fit(loader(y=np.full(70, 3)), epochs=3)


class Reads(nn.Module):
    """Models whose Python does what a replay would not."""

    def __init__(self, what: str) -> None:
        super().__init__()
        weft.manual_seed(1)
        self.layer, self.what, self.calls = nn.Linear(4, 3), what, 0

    def forward(self, x: Any) -> Any:
        if self.what == "reads" and float(x.sum()) > 0:
            x = x * 0.5
        elif self.what == "counts":
            self.calls += 1
            x = x * float(self.calls % 3)
        elif self.what.startswith("draws"):
            draw = random.random if self.what == "draws" else np.random.rand
            x = x * (0.5 if draw() < 0.5 else 1.0)
        return self.layer(x)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("reads", "item: elements are read on the host"),
        ("counts", "Reads changes its attribute calls in Python"),
        ("draws", "random numbers were drawn in Python"),
        ("draws from numpy", "random numbers were drawn in Python"),
    ],
)
def test_models_that_cannot_be_captured_run_as_they_are(what: str, reason: str) -> None:
    found = []
    for capture in (False, True):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        model = Reads(what)
        t = trainer(capture, model)
        t.fit(loader(), loader(), epochs=2)
        assert t.uncaptured is not None
        assert t.uncaptured.startswith(reason if capture else "capture=False")
        found.append([results(t), weights(model)])
    assert found[0] == found[1]


def test_hooks_are_called_for_every_batch() -> None:
    model = network()
    calls: list[int] = []
    t = trainer(True, model)
    t.fit(loader(), epochs=1)
    assert t.uncaptured is None
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    t.fit(loader(), epochs=2)
    assert t.uncaptured == "a module or parameter has hooks, which are Python"
    assert len(calls) == 5
    handle.remove()
    t.fit(loader(), epochs=3)
    assert t.uncaptured is None
    assert len(calls) == 5


class Changes(Callback):
    """Does something to the model in the middle of an epoch."""

    def on_batch_begin(self, trainer: Trainer) -> None:
        model: Any = trainer.model
        if trainer.step == 6:
            model[0].weight.requires_grad_(False)
        if trainer.step == 9:
            model[2].p = 0.9
        if trainer.step == 12:
            trainer.clip_norm = 0.01
            trainer.optimizer.param_groups[0]["weight_decay"] = 0.1


def test_changes_by_callbacks_are_seen() -> None:
    found = []
    for capture in (False, True):
        t = trainer(capture, callbacks=[Changes()])
        t.fit(loader(), epochs=4)
        found.append([results(t), weights(t.model)])
    assert found[0] == found[1]


def test_a_model_that_was_moved_to_a_device_is_captured_there(cuda_device: str) -> None:
    """The default device is another one, and the optimizer's step has no argument that tells."""
    trained = []
    for capture in (True, False):
        with default_device("cpu"):
            t = trainer(capture, network().to("cuda"))
            t.fit(DataLoader(ArrayDataset(X, Y), 16, seed=3, device="cuda"), epochs=2)
        assert (t.uncaptured is None) == capture
        trained.append(weights(t.model))
    assert trained[0] == trained[1]
