"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import weft.kernels as K
from weft._capture import Capture
from weft._checks import choice, function, instance, integer, number, sequence, shown
from weft._loading import Loading
from weft._uses import plain
from weft.autograd import no_grad
from weft.nn import Module
from weft.nn.utils import clip_grad_norm_
from weft.optim import Optimizer
from weft.optim.lr_scheduler import ReduceLROnPlateau
from weft.tensor import Tensor, as_tensor
from weft.train._progress import Progress
from weft.train.callbacks import Callback, ProgressBar
from weft.train.checkpoint import load_checkpoint

Metric = Callable[[Tensor, Tensor], float]


class NonFiniteLossError(RuntimeError):
    """The loss, or a gradient, became NaN or infinite; says when, and which layer was the first."""


class Trainer(Progress):
    """Trains a model on batches of (inputs, targets).

    loss: called as loss(model(inputs), targets), the mean over the batch. scheduler: stepped after each epoch, or with
    scheduler_interval="step" after each batch; a ReduceLROnPlateau gets the validation (else training) loss. metrics:
    by name, each called as metric(outputs, targets), averaged over samples. clip_norm: the largest L2 norm of all
    gradients together. callbacks: see weft.train.Callback. capture: whether batches after the first two of a shape are
    replays (see weft.capture), with the same bits: quicker, but Python inside of the model runs only when recording. A
    model whose Python decides anew for each batch needs capture=False; one that reads elements on the host, or has
    hooks, is noticed and runs as it is.

    epoch, step: how many epochs and batches were trained. history: one dict of results for each epoch.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Optimizer,
        *,
        scheduler: Any = None,
        scheduler_interval: str = "epoch",
        metrics: dict[str, Metric] | None = None,
        clip_norm: float | None = None,
        callbacks: Sequence[Any] = (),
        capture: bool = True,
    ) -> None:
        super().__init__()
        self.model = instance("Trainer", "model", model, Module)
        self.loss = function("Trainer", "loss", loss)
        self.optimizer = instance("Trainer", "optimizer", optimizer, Optimizer)
        self.scheduler = scheduler
        self.scheduler_interval = choice("Trainer", "scheduler_interval", scheduler_interval, ("epoch", "step"))
        if scheduler is not None and not hasattr(scheduler, "step"):
            raise TypeError(f"Trainer: scheduler must have a method step, got {type(scheduler).__name__}")
        if scheduler_interval == "step" and isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError("Trainer: ReduceLROnPlateau looks at an epoch's loss: scheduler_interval must be 'epoch'")
        if clip_norm is not None and not number("Trainer", "clip_norm", clip_norm, nan=True) > 0:
            raise ValueError(f"Trainer: clip_norm must be positive, got {clip_norm}")
        self.metrics = dict(instance("Trainer", "metrics", {} if metrics is None else metrics, dict))
        for name, metric in self.metrics.items():
            function("Trainer", f"metric {name!r}", metric)
        self.clip_norm = clip_norm
        self.callbacks = sequence("Trainer", "callbacks", callbacks)
        self.steps = _Steps(self, capture)

    # --- training ---

    def fit(self, train: Any, validation: Any = None, epochs: int = 1) -> list[dict[str, Any]]:
        """Trains until `epochs` epochs are done, those before a resumed checkpoint counted in; returns the history.

        Each row: epoch, lr, loss, the metrics, the same with val_ in front, images_per_second, seconds.
        NonFiniteLossError stops it before the update with a bad gradient is made.
        """
        epochs = integer("fit", "epochs", epochs, 0)
        _batches("fit", train)
        if validation is not None:
            _batches("fit", validation)
        loading = Loading()
        for loader, state in zip((train, validation), self._loader_states or (), strict=False):
            if state is not None and hasattr(loader, "load_state_dict"):
                loading.add(loader, state)
        loading.finish()
        self._loader_states = None
        self.train_loader, self.validation_loader, self.epochs, self.should_stop = train, validation, epochs, False
        self._call("on_fit_begin")
        try:
            while self.epoch < epochs and not self.should_stop:
                self._run_epoch(train, validation)
        finally:
            self._call("on_fit_end")
        return self.history

    def _run_epoch(self, train: Any, validation: Any) -> None:
        self._call("on_epoch_begin")
        lr = self.optimizer.param_groups[0]["lr"]
        start = time.perf_counter()
        self.model.train()
        self.steps.look()
        sums = _Averages()
        for batch in train:
            inputs, targets = self._placed(_pair("fit", batch))
            self._call("on_batch_begin")
            self.steps.look(between_batches=True)
            loss, outputs = self._train_step(inputs, targets)
            sums.add(len(targets), {"loss": loss, **self._measure(outputs, targets)})
            self.step += 1
            if self.scheduler is not None and self.scheduler_interval == "step":
                self.scheduler.step()
            self._call("on_batch_end", loss)
        seconds = time.perf_counter() - start
        if not sums.count:
            raise ValueError("fit: the training data has no batch")
        self.epoch += 1
        row = {"epoch": self.epoch, "lr": lr, **sums.means()}
        if validation is not None:
            row.update({f"val_{name}": value for name, value in self.evaluate(validation).items()})
        row.update(images_per_second=sums.count / seconds, seconds=seconds)
        self.history.append(row)
        if self.scheduler is not None and self.scheduler_interval == "epoch":
            self._step_scheduler(row)
        self._call("on_epoch_end", row)

    def _step_scheduler(self, row: dict[str, Any]) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(row.get("val_loss", row["loss"]))
        else:
            self.scheduler.step()

    @property
    def uncaptured(self) -> str | None:
        """Why batches are not replayed, or None where they are (or will be, from the third on)."""
        return self.steps.reason

    def _placed(self, batch: Any) -> list[Any]:
        device = self.device
        return [x.to(device) if isinstance(x, Tensor) and x.device != device else x for x in batch]

    def _train_step(self, inputs: Any, targets: Any) -> tuple[float, Any]:
        generator = K.default_generator(self.device)
        state = generator.get_state()  # to draw the same dropout again when looking for a fault
        loss, norm, outputs = self.steps.gradients(inputs, targets)
        value = float(loss.item())
        if not math.isfinite(value):
            self.optimizer.zero_grad()
            generator.set_state(state)
            raise NonFiniteLossError(self._fault(f"the loss is {value}", self._first_bad_output(inputs)))
        size = float(norm.item())
        if not math.isfinite(size):
            raise NonFiniteLossError(self._fault(f"the gradient's norm is {size}", self._first_bad_gradient()))
        self.steps.update(self.clip_norm if self.clip_norm is not None and size > self.clip_norm else None)
        return value, outputs

    # --- faults ---

    def _fault(self, what: str, where: str) -> str:
        return f"epoch {self.epoch + 1}, step {self.step + 1}: {what}; {where}"

    def _first_bad_output(self, inputs: Any) -> str:
        """Runs the model once more and names the first layer, in order of computation, that is to blame."""
        found: list[str] = []
        handles = []

        def look(name: str, layer: Module) -> Callable[..., None]:
            def hook(_: Any, args: Any, out: Any) -> None:
                if found:
                    return
                title = f"{name or 'the model'} ({type(layer).__name__})"
                for key, parameter in layer.named_parameters(recurse=False):
                    if not _finite(parameter):
                        found.append(f"the first bad layer is {title}: its {key} is not finite")
                        return
                if isinstance(out, Tensor) and not _finite(out):
                    inside = any(isinstance(a, Tensor) and not _finite(a) for a in args)
                    found.append(
                        f"the input of {title} is not finite"
                        if inside
                        else f"the first bad layer is {title}: its output is not finite"
                    )

            return hook

        for name, module in self.model.named_modules():
            if next(module.children(), None) is None:
                handles.append(module.register_forward_hook(look(name, module)))
        try:
            with no_grad():
                self.model(inputs)
        finally:
            for handle in handles:
                handle.remove()
        return found[0] if found else "all layers are finite: the loss function made it"

    def _first_bad_gradient(self) -> str:
        """The last layer in order of computation, which is the first that backward reaches."""
        bad = [name for name, p in self.model.named_parameters() if p.grad is not None and not _finite(p.grad)]
        return f"the first bad gradient is that of {bad[-1]}" if bad else "all gradients are finite"

    # --- using the model ---

    def _measure(self, outputs: Any, targets: Any) -> dict[str, float]:
        return {name: metric(outputs, targets) for name, metric in self.metrics.items()}

    def evaluate(self, data: Iterable[Any]) -> dict[str, float]:
        """Loss and metrics over all batches of `data`, weighted by their sizes; in evaluation mode, without a tape."""
        sums = _Averages()
        with _Evaluation(self.model):
            self.steps.look()
            for batch in _batches("evaluate", data):
                inputs, targets = self._placed(_pair("evaluate", batch))
                loss, outputs = self.steps.judge(inputs, targets)
                sums.add(len(targets), {"loss": float(loss.item()), **self._measure(outputs, targets)})
        if not sums.count:
            raise ValueError("evaluate: the data has no batch")
        return sums.means()

    def predict(self, data: Any) -> np.ndarray[Any, Any]:
        """The model's outputs for a tensor of inputs, or for all batches of a loader, in one array."""
        batches = [data] if isinstance(data, (Tensor, K.Array, np.ndarray)) else _batches("predict", data)
        outputs = []
        with _Evaluation(self.model):
            for batch in batches:
                (inputs,) = self._placed([batch[0] if isinstance(batch, (tuple, list)) else as_tensor(batch)])
                outputs.append(np.asarray(self.model(inputs).array))
        if not outputs:
            raise ValueError("predict: the data has no batch")
        return np.concatenate(outputs)

    # --- callbacks ---

    def _call(self, event: str, *args: Any) -> None:
        for callback in sorted(self.callbacks, key=lambda c: bool(getattr(c, "runs_last", False))):
            getattr(callback, event)(self, *args)

    def resume(self, path: Any) -> None:
        """Takes over a checkpoint: the next fit() goes on as if it had never stopped. See weft.train.Checkpoint."""
        load_checkpoint(path, self)


class _Steps:
    """The parts of a batch between which the host looks at numbers, each replayed where that can be."""

    def __init__(self, trainer: Trainer, capture: bool) -> None:
        self._trainer = trainer
        self._why_not = None if capture else "capture=False"
        self._parts = [Capture(part, strict=False) for part in (self._gradients, self._update, self._judge)]
        for part in self._parts:
            part.most = 8  # shapes of batches whose recordings are kept
        self._watched: list[Any] = []
        self._hooked: str | None = None

    @property
    def reason(self) -> str | None:
        return self._why_not or self._hooked or next((p.reason for p in self._parts if p.reason), None)

    def gradients(self, inputs: Any, targets: Any) -> Any:
        """Loss, norm of all gradients, outputs (None where no metric wants them)."""
        return self._run(0, inputs, targets, bool(self._trainer.metrics))

    def update(self, clip_norm: float | None) -> None:
        """The optimizer's step; before it all gradients are scaled where clip_norm is given."""
        self._run(1, clip_norm)

    def judge(self, inputs: Any, targets: Any) -> Any:
        """Loss and outputs, for evaluation."""
        return self._run(2, inputs, targets)

    def _run(self, part: int, *args: Any) -> Any:
        capture = self._parts[part]
        if self._why_not is not None or self._hooked is not None:
            return capture.function(*args)
        return capture(*args)

    def look(self, between_batches: bool = False) -> None:
        """Looks for what a capture cannot see: forgets all recordings where the model's Python changed."""
        trainer = self._trainer
        if between_batches and not any(_acts_on_batches(c) for c in trainer.callbacks):
            return
        device = trainer.device  # of the parameters: the optimizer's step has no argument that tells
        for part in self._parts:
            part.device = device
        watched: list[Any] = [trainer.model, trainer.loss, trainer.optimizer, device]
        hooks = False
        for module in trainer.model.modules():
            watched += [module, plain(module)]
            hooks = hooks or bool(module._forward_hooks or module._forward_pre_hooks)
            for p in module.parameters(recurse=False):
                watched.append(p.requires_grad)
                hooks = hooks or bool(p._hooks)
        if watched != self._watched:
            self._watched = watched
            for part in self._parts:
                part.reset()
        self._hooked = "a module or parameter has hooks, which are Python" if hooks else None

    def _gradients(self, inputs: Any, targets: Any, want_outputs: bool) -> Any:
        trainer = self._trainer
        trainer.optimizer.zero_grad()
        outputs = trainer.model(inputs)
        loss = trainer.loss(outputs, targets)
        loss.backward()
        norm = clip_grad_norm_(trainer.model.parameters(), math.inf)  # inf: only measured
        return loss, norm, outputs if want_outputs else None

    def _update(self, clip_norm: float | None) -> None:
        trainer = self._trainer
        if clip_norm is not None:
            clip_grad_norm_(trainer.model.parameters(), clip_norm)
        trainer.optimizer.step()

    def _judge(self, inputs: Any, targets: Any) -> Any:
        outputs = self._trainer.model(inputs)
        return self._trainer.loss(outputs, targets), outputs


def _batches(who: str, data: Any) -> Any:
    """What a loop over batches goes through."""
    if isinstance(data, (str, bytes, dict)) or not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        raise TypeError(f"{who}: expected batches of (inputs, targets), as a DataLoader gives, got {shown(data)}")
    return data


def _pair(who: str, batch: Any) -> list[Any]:
    pair = sequence(who, "a batch", batch)
    if len(pair) != 2:
        raise ValueError(f"{who}: a batch must be (inputs, targets), got {len(pair)} values: {shown(batch)}")
    return pair


def _acts_on_batches(callback: Any) -> bool:
    kind = type(callback)
    if kind is ProgressBar:
        return False
    events = ("on_batch_begin", "on_batch_end")
    return any(getattr(kind, event, None) is not getattr(Callback, event) for event in events)


class _Averages:
    """Means over samples."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}

    def add(self, count: int, values: dict[str, float]) -> None:
        self.count += count
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value) * count

    def means(self) -> dict[str, float]:
        return {name: value / self.count for name, value in self.sums.items()}


class _Evaluation:
    """Evaluation mode without a tape; afterwards every module is in the mode it had."""

    def __init__(self, model: Module) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._modes = [(module, module.training) for module in self._model.modules()]
        self._model.eval()
        self._no_grad = no_grad()
        self._no_grad.__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._no_grad.__exit__(None, None, None)
        for module, mode in self._modes:
            module.training = mode


def _finite(tensor: Tensor) -> bool:
    return bool(K.all(K.isfinite(tensor.array)).item())
