"""The Trainer: what it computes, when it calls its callbacks, where it stops, and what it says about faults."""

from __future__ import annotations

import csv
import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft
from weft import nn
from weft.data import ArrayDataset, DataLoader
from weft.optim import SGD
from weft.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from weft.train import (
    Callback,
    CSVLogger,
    EarlyStopping,
    NonFiniteLossError,
    ProgressBar,
    Trainer,
    accuracy,
    confusion_matrix,
    top_k_accuracy,
)

X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def loader(batch: int = 16, x: np.ndarray = X, **options: Any) -> DataLoader:
    return DataLoader(ArrayDataset(x, Y[: len(x)]), batch, **options)


def network() -> nn.Sequential:
    weft.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def trainer(model: nn.Module | None = None, lr: float = 0.1, **options: Any) -> Trainer:
    model = network() if model is None else model
    return Trainer(model, nn.CrossEntropyLoss(), SGD(model.parameters(), lr), **options)


def weights(model: nn.Module) -> list[Any]:
    return [p.tolist() for p in model.parameters()]


class Script(Callback):
    """Gives the results of the epochs, and notes the weights after each."""

    def __init__(self, values: list[float], name: str = "val_loss") -> None:
        self.values, self.name, self.seen = values, name, list[Any]()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        row[self.name] = self.values[trainer.epoch - 1]
        self.seen.append(weights(trainer.model))


# --- the loop ---


def test_fit_is_the_usual_loop() -> None:
    mine = trainer(metrics={"accuracy": accuracy})
    history = mine.fit(loader(shuffle=True, seed=4), epochs=2)
    model, loss, data = network(), nn.CrossEntropyLoss(), loader(shuffle=True, seed=4)
    optimizer = SGD(model.parameters(), 0.1)
    for row in history:
        total, right = 0.0, 0
        for x, y in data:
            optimizer.zero_grad()
            out = model(x)
            value = loss(out, y)
            value.backward()
            optimizer.step()
            total += value.item() * len(y)
            right += int((np.asarray(out.detach()).argmax(1) == np.asarray(y)).sum())
        assert row["loss"] == pytest.approx(total / 50, rel=1e-12)
        assert row["accuracy"] == pytest.approx(right / 50, rel=1e-12)
        assert row["images_per_second"] == pytest.approx(50 / row["seconds"])
    assert weights(mine.model) == weights(model)
    assert (mine.epoch, mine.step, len(history)) == (2, 8, 2)
    assert history is mine.history
    assert list(history[0]) == ["epoch", "lr", "loss", "accuracy", "images_per_second", "seconds"]


def test_fit_learns_and_goes_on() -> None:
    mine = trainer(lr=0.5, metrics={"accuracy": accuracy})
    mine.fit(loader(), loader(50), 20)
    mine.fit(loader(), loader(50), 60)
    assert [row["epoch"] for row in mine.history] == list(range(1, 61))
    assert mine.history[-1]["val_accuracy"] > 0.9
    assert mine.fit(loader(), epochs=60) is mine.history


def test_evaluate_weighs_batches_by_size_and_leaves_no_trace() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    model[1].eval()
    mine = trainer(model, metrics={"accuracy": accuracy})
    state = weights(model)
    whole, parts = mine.evaluate(loader(50)), mine.evaluate(loader(16))
    assert parts == pytest.approx(whole, rel=1e-5)
    assert list(whole) == ["loss", "accuracy"]
    assert weights(model) == state
    assert [m.training for m in model] == [True, False, True]
    assert all(p.grad is None for p in model.parameters())


def test_predict() -> None:
    mine = trainer()
    whole = mine.predict(X)
    assert whole.shape == (50, 3)
    assert np.array_equal(whole, mine.predict(weft.tensor(X)))
    np.testing.assert_allclose(mine.predict(loader(16)), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mine.predict([X[:20], X[20:]]), whole, rtol=1e-5, atol=1e-6)


def test_errors() -> None:
    with pytest.raises(ValueError, match="scheduler_interval must be 'epoch' or 'step', got 'batch'"):
        trainer(scheduler_interval="batch")
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="Trainer: clip_norm must be positive"):
            trainer(clip_norm=bad)
    with pytest.raises(ValueError, match="fit: epochs must not be negative, got -1"):
        trainer().fit(loader(), epochs=-1)
    for use in ("fit", "evaluate", "predict"):
        with pytest.raises(ValueError, match="the (training )?data has no batch"):
            getattr(trainer(), use)([])
    model = network()
    plateau = ReduceLROnPlateau(SGD(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="ReduceLROnPlateau looks at an epoch's loss"):
        trainer(model, scheduler=plateau, scheduler_interval="step")


def test_a_failed_evaluation_restores_the_mode() -> None:
    mine = trainer()
    with pytest.raises(ValueError, match="linear"):
        mine.evaluate([(weft.zeros(2, 5), weft.tensor([0, 1]))])
    assert mine.model.training
    assert weft.is_grad_enabled()


# --- clipping, schedules ---


def test_clipping_bounds_the_step() -> None:
    model = network()
    mine = Trainer(model, nn.CrossEntropyLoss(), SGD(model.parameters(), 1.0), clip_norm=1e-3)
    before = [np.array(p.detach()) for p in model.parameters()]
    mine.fit(loader(50), epochs=1)
    change = [np.asarray(p.detach()) - b for p, b in zip(model.parameters(), before, strict=True)]
    assert math.sqrt(sum(float((c**2).sum()) for c in change)) == pytest.approx(1e-3, rel=1e-2)


def test_a_wide_clip_changes_no_bit() -> None:
    one, other = trainer(), trainer(clip_norm=1e6)
    for mine in (one, other):
        mine.fit(loader(), epochs=2)
    assert weights(one.model) == weights(other.model)


def test_schedules_by_epoch_and_by_step() -> None:
    model = network()
    optimizer = SGD(model.parameters(), 0.8)
    mine = Trainer(model, nn.CrossEntropyLoss(), optimizer, scheduler=StepLR(optimizer, 1, gamma=0.5))
    mine.fit(loader(), epochs=3)
    assert [row["lr"] for row in mine.history] == [0.8, 0.4, 0.2]
    cycle = OneCycleLR(optimizer, 1.0, total_steps=8)
    mine = Trainer(model, nn.CrossEntropyLoss(), optimizer, scheduler=cycle, scheduler_interval="step")
    mine.fit(loader(), epochs=2)
    assert cycle.last_epoch == mine.step == 8


def test_plateau_gets_the_validation_loss() -> None:
    model = network()
    optimizer = SGD(model.parameters(), 0.0)
    plateau = ReduceLROnPlateau(optimizer, patience=0)
    mine = Trainer(model, nn.CrossEntropyLoss(), optimizer, scheduler=plateau)
    mine.fit(loader(), loader(20), 1)
    assert plateau.best == mine.history[0]["val_loss"] != mine.history[0]["loss"]


# --- callbacks ---


class Journal(Callback):
    def __init__(self) -> None:
        self.events: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *_: self.events.append(name.removeprefix("on_"))
        return super().__getattribute__(name)


def test_the_order_of_events() -> None:
    journal = Journal()
    trainer(callbacks=[journal]).fit(loader(25), epochs=1)
    batch = ["batch_begin", "batch_end"]
    assert journal.events == ["fit_begin", "epoch_begin", *batch, *batch, "epoch_end", "fit_end"]
    with pytest.raises(NonFiniteLossError):
        trainer(callbacks=[journal]).fit(loader(x=np.full_like(X, np.nan)), epochs=1)
    assert journal.events[-1] == "fit_end"


@pytest.mark.parametrize(("mode", "sign"), [("min", 1.0), ("max", -1.0)])
def test_early_stopping_restores_the_best_weights(mode: str, sign: float) -> None:
    script = Script([sign * v for v in (3.0, 1.0, 1.5, math.nan, 0.5)])
    stopping = EarlyStopping(patience=2, mode=mode)
    mine = trainer(callbacks=[script, stopping])
    mine.fit(loader(), epochs=10)
    assert (mine.epoch, stopping.best_epoch, stopping.best) == (4, 2, sign)
    assert weights(mine.model) == script.seen[1] != script.seen[3]
    assert mine.fit(loader(), epochs=10)[-1]["epoch"] == 4  # stays stopped


def test_early_stopping_options() -> None:
    script = Script([1.0, 0.95, 0.9, 0.85])
    stopping = EarlyStopping(patience=2, min_delta=0.12, restore_best=False)
    mine = trainer(callbacks=[script, stopping])
    mine.fit(loader(), epochs=4)
    assert (mine.epoch, stopping.best_epoch) == (4, 4) or (mine.epoch, stopping.best_epoch) == (3, 1)
    assert weights(mine.model) == script.seen[-1]
    for bad in ({"mode": "best"}, {"patience": 0}):
        with pytest.raises(ValueError, match=f"EarlyStopping: {next(iter(bad))} must be"):
            EarlyStopping(**bad)
    with pytest.raises(ValueError, match="EarlyStopping: no result 'val_loss'; there are epoch, lr, loss"):
        trainer(callbacks=[EarlyStopping()]).fit(loader(), epochs=1)


def test_early_stopping_restores_after_an_error_in_the_next_epoch() -> None:
    class Poison(Callback):
        def on_batch_end(self, trainer: Trainer, loss: float) -> None:
            if trainer.step == 6:
                trainer.model[0].bias.detach().fill_(math.nan)

    script = Script([1.0, 1.0])
    mine = trainer(callbacks=[script, EarlyStopping(), Poison()])
    with pytest.raises(NonFiniteLossError, match=r"epoch 2, step 7: .*: its bias is not finite"):
        mine.fit(loader(), epochs=2)
    assert weights(mine.model) == script.seen[0]


def test_csv_log(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    mine = trainer(callbacks=[CSVLogger(path)])
    mine.fit(loader(), epochs=1)
    mine.fit(loader(), loader(), 3)  # has more columns
    rows = list(csv.DictReader(path.open(newline="")))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in mine.history]
    assert [row["val_loss"] == "" for row in rows] == [True, False, False]
    trainer(callbacks=[CSVLogger(path)]).fit(loader(), epochs=1)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.needs("tqdm")
def test_progress_bar(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer(callbacks=[ProgressBar()]).fit(loader(), epochs=2)
    assert capfd.readouterr() == ("", "")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    trainer(callbacks=[ProgressBar()]).fit(loader(), epochs=2)
    assert "epoch 1/2" in screen.getvalue()
    assert "epoch 2/2" in screen.getvalue()


# --- faults ---


def test_a_nan_in_the_input() -> None:
    x = X.copy()
    x[20, 2] = math.nan  # in the second batch
    mine = trainer()
    with pytest.raises(NonFiniteLossError) as error:
        mine.fit(loader(x=x), epochs=3)
    assert str(error.value) == "epoch 1, step 2: the loss is nan; the input of 0 (Linear) is not finite"
    assert all(np.isfinite(p.detach()).all() for p in mine.model.parameters())
    assert not any(module._forward_hooks for module in mine.model.modules())


def test_a_nan_in_a_weight() -> None:
    mine = trainer()
    mine.fit(loader(), epochs=1)
    mine.model[2].weight.detach()[1, 1] = math.nan
    with pytest.raises(NonFiniteLossError) as error:
        mine.fit(loader(), epochs=2)
    assert str(error.value) == (
        "epoch 2, step 5: the loss is nan; the first bad layer is 2 (Linear): its weight is not finite"
    )


class Reciprocal(nn.Module):
    def forward(self, x: weft.Tensor) -> weft.Tensor:
        return 1 / (x * 0)


def test_a_layer_that_makes_infinities() -> None:
    mine = trainer(nn.Sequential(nn.Linear(4, 3), Reciprocal(), nn.Linear(3, 3)))
    with pytest.raises(NonFiniteLossError, match=r"the first bad layer is 1 \(Reciprocal\): its output is not finite$"):
        mine.fit(loader(), epochs=1)


def test_a_loss_function_that_makes_infinities() -> None:
    model = network()
    mine = Trainer(model, lambda out, _: out.sum() / weft.zeros(()), SGD(model.parameters(), 0.1))
    before = weights(model)
    with pytest.raises(NonFiniteLossError) as error:
        mine.fit(loader(), epochs=1)
    assert str(error.value) in {
        f"epoch 1, step 1: the loss is {sign}inf; all layers are finite: the loss function made it"
        for sign in ("", "-")
    }
    assert weights(model) == before


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_explodes(clip: float | None) -> None:
    # The outputs are about 1, but the first layer's gradient is 1e4 * 1e38.
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1))
    model[0].weight.detach().fill_(1e-38)
    model[1].weight.detach().fill_(1e38)
    mine = Trainer(model, lambda out, _: out.sum() * 1e4, SGD(model.parameters(), 0.1), clip_norm=clip)
    before = weights(model)
    with pytest.raises(NonFiniteLossError) as error:
        mine.fit([(weft.ones(2, 1), weft.zeros(2))], epochs=1)
    assert str(error.value) == "epoch 1, step 1: the gradient's norm is inf; the first bad gradient is that of 0.weight"
    assert weights(model) == before


def test_looking_for_the_fault_draws_the_same_dropout() -> None:
    seen = []

    class Look(nn.Module):
        def forward(self, x: weft.Tensor) -> weft.Tensor:
            seen.append(x.tolist())
            return x

    model = nn.Sequential(nn.Dropout(0.5), Look(), nn.Linear(4, 3))
    model[2].weight.detach()[0, 0] = math.inf
    with pytest.raises(NonFiniteLossError, match=r"2 \(Linear\): its weight is not finite"):
        trainer(model).fit(loader(), epochs=1)
    assert len(seen) == 2
    assert seen[0] == seen[1]


# --- metrics ---


def test_accuracy_and_top_k(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(200, 7)), rng.integers(0, 7, 200)
    order = np.argsort(-logits, axis=1)
    assert accuracy(logits, target) == (order[:, 0] == target).mean()
    for k in range(1, 8):
        assert top_k_accuracy(weft.tensor(logits), weft.tensor(target), k) == pytest.approx(
            (order[:, :k] == target[:, None]).any(axis=1).mean()
        )
    assert top_k_accuracy([[1.0, 1.0, 0.0]], [1], 1) == 1  # equal ones count for the target
    assert top_k_accuracy([[1.0, math.nan, 0.0]], [1], 2) == 0
    assert math.isnan(accuracy(np.zeros((0, 3)), np.zeros(0, np.int64)))
    assert math.isnan(top_k_accuracy(np.zeros((0, 3)), np.zeros(0, np.int64), 1))


def test_confusion_matrix(rng: np.random.Generator) -> None:
    target, guess = rng.integers(0, 4, 100), rng.integers(0, 4, 100)
    counts = confusion_matrix(guess, target)
    assert counts.shape == (4, 4)
    assert all(counts[t, p] == ((target == t) & (guess == p)).sum() for t in range(4) for p in range(4))
    logits = np.eye(5)[guess]
    assert np.array_equal(confusion_matrix(weft.tensor(logits), weft.tensor(target))[:4, :4], counts)
    assert confusion_matrix([], [], 3).tolist() == np.zeros((3, 3)).tolist()


def test_errors_of_metrics() -> None:
    with pytest.raises(ValueError, match=r"accuracy: expected logits \(N, C\) and target \(N,\), got \(3,\)"):
        accuracy(np.zeros(3), np.zeros(3, np.int64))
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"top_k_accuracy: k must lie in 1..3, got {k}"):
            top_k_accuracy(np.zeros((2, 3)), [0, 1], k)
    for bad in (-1, 3):
        with pytest.raises(ValueError, match=r"top_k_accuracy: targets must lie in 0..2, got"):
            top_k_accuracy(np.zeros((2, 3)), [bad, 1], 1)
    with pytest.raises(ValueError, match=r"confusion_matrix: classes must lie in 0..2, got 0..3"):
        confusion_matrix([0, 1], [3, 0], 3)
    with pytest.raises(ValueError, match=r"confusion_matrix: expected \(N,\) twice, got \(2,\) and \(3,\)"):
        confusion_matrix([0, 1], [0, 1, 2])


def test_what_is_no_data() -> None:
    mine = trainer()
    for bad in (None, 5, "ab", {"x": 1}):
        for call in (mine.fit, mine.evaluate, mine.predict):
            with pytest.raises(TypeError, match=r"\w+: expected batches of \(inputs, targets\).*, got"):
                call(bad)
    for batch, kind in ((5, TypeError), ("ab", TypeError), ((1, 2, 3), ValueError), ((), ValueError)):
        for call in (mine.fit, mine.evaluate):
            with pytest.raises(kind, match=r"\w+: a batch must be"):
                call([batch])
    for epochs in ("1", 1.0, True, None):
        with pytest.raises(TypeError, match="fit: epochs must be an int, got"):
            mine.fit(loader(), epochs=epochs)
    assert (mine.epoch, mine.step, mine.history) == (0, 0, [])


def test_arguments_of_a_wrong_kind() -> None:
    for options, text in (
        ({"scheduler": 5}, "scheduler must have a method step, got int"),
        ({"scheduler_interval": 5}, "scheduler_interval must be 'epoch' or 'step', got 5"),
        ({"metrics": {"a": 5}}, "metric 'a' must be callable, got 5"),
        ({"metrics": [accuracy]}, "metrics must be a dict"),
        ({"clip_norm": "1"}, "clip_norm must be a number, got '1'"),
        ({"callbacks": 5}, "callbacks must be a sequence, got 5"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"Trainer: {text}"):
            trainer(**options)
