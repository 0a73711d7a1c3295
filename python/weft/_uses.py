"""What the function inside of a capture uses of Python's world: a replay runs no Python, so a capture notes what it
must restore, or watch for changes. Operations report here while `running` is not 0."""

from __future__ import annotations

import random
import sys
import threading
from typing import Any

import numpy as np

import weft.kernels as K

running = 0  # captures that are being made, in all threads
_local = threading.local()
_lock = threading.Lock()


def _fusion_enabled() -> bool:
    fusion = sys.modules.get("weft.nn.fusion")  # without weft.nn nothing is fused
    return fusion is None or bool(fusion.is_fusion_enabled())


def plain(module: Any) -> dict[str, Any]:
    """A module's public attributes that are plain values, but for its mode."""
    kinds = (bool, int, float, str, tuple, type(None))
    return {k: v for k, v in vars(module).items() if isinstance(v, kinds) and k[0] != "_" and k != "training"}


def _random_state() -> Any:
    _, words, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 (whether somebody else used it)
    return random.getstate(), words.tolist(), rest  # type: ignore[union-attr]


class Leaf:
    """A tensor whose gradient the function touches, as it was before."""

    def __init__(self, tensor: Any) -> None:
        self.tensor, self.array, self.needs_grad = tensor, tensor.array, tensor.requires_grad
        self.entry = tensor.grad
        self.was_none = tensor.grad is None
        self.place: int | None = None  # where the gradient lay that the function read from before
        self.exit: Any = None

    def begins_with(self, grad: Any) -> bool:
        """Whether a replay would find the gradient that the recording found."""
        return (grad is None) is self.was_none and (self.place is None or grad.array.data_ptr == self.place)


class Uses:
    """What one run of a function used."""

    def __init__(self) -> None:
        self.leaves: dict[int, Leaf] = {}
        self.optimizers: dict[int, tuple[Any, Any]] = {}  # with a snapshot of what a recording fixes
        self.modules: dict[int, tuple[Any, bool, dict[str, Any]]] = {}  # with the mode and the plain attributes
        self._random = _random_state()
        self.fusions: list[str] = []
        self.fusion_enabled = _fusion_enabled()

    def leaf(self, tensor: Any) -> None:
        """Before the gradient of a leaf is changed."""
        if id(tensor) not in self.leaves:
            self.leaves[id(tensor)] = Leaf(tensor)

    def gradient(self, tensor: Any) -> None:
        """Before the gradient of a leaf, if any, is read or added to."""
        self.leaf(tensor)
        leaf = self.leaves[id(tensor)]
        if tensor.grad is not None and tensor.grad is leaf.entry:
            leaf.place = tensor.grad.array.data_ptr

    def optimizer(self, optimizer: Any) -> None:
        """Before a step."""
        if id(optimizer) not in self.optimizers:
            self.optimizers[id(optimizer)] = optimizer, optimizer._snapshot()

    def module(self, module: Any) -> None:
        """Before a module computes."""
        if id(module) not in self.modules:
            for m in module.modules():
                self.modules[id(m)] = m, m.training, plain(m)

    def finish(self) -> bool:
        """After the run. Whether a replay can stand for the next one: not while state is still being made."""
        self._leaves = list(self.leaves.values())
        self._optimizers = list(self.optimizers.values())
        for leaf in self._leaves:
            leaf.exit, leaf.entry = leaf.tensor.grad, None
        # Flat lists, because ready() is on the way of every replay.
        self._steady = all(leaf.begins_with(leaf.exit) for leaf in self._leaves)
        fixed: list[tuple[Any, str, Any]] = [(m, "training", training) for m, training, _ in self.modules.values()]
        for leaf in self._leaves:
            fixed += [(leaf.tensor, "array", leaf.array), (leaf.tensor, "requires_grad", leaf.needs_grad)]
        left = [(leaf.tensor, "grad", leaf.exit) for leaf in self._leaves]
        self._fixed: tuple[list[Any], ...] = tuple(map(list, zip(*fixed, strict=True))) or ([], [], [])
        self._left: tuple[list[Any], ...] = tuple(map(list, zip(*left, strict=True))) or ([], [], [])
        return all(o._snapshot() == before for o, before in self._optimizers)

    def python_state(self) -> str | None:
        """What Python changed in the run, as far as can be seen; a replay would leave it as it is."""
        if _random_state() != self._random:
            return "random numbers were drawn in Python"
        for module, _, before in self.modules.values():
            after = plain(module)
            if after != before:
                names = sorted(k for k in {*before, *after} if before.get(k) != after.get(k) or k not in after)
                return f"{type(module).__name__} changes its attribute {names[0]} in Python"
        return None

    def ready(self) -> bool:
        """Writes the present rates; whether all else is as it was when the recording began."""
        if self.fusion_enabled is not _fusion_enabled() or not K.attributes_are(*self._fixed):
            return False
        self._as_left = K.attributes_are(*self._left)
        if not ((self._as_left and self._steady) or all(leaf.begins_with(leaf.tensor.grad) for leaf in self._leaves)):
            return False
        return all(optimizer._ready(before) for optimizer, before in self._optimizers)

    def leave(self) -> None:
        """After a replay: what Python would have done."""
        if not self._as_left:
            for leaf in self._leaves:
                leaf.tensor.grad = leaf.exit


def current() -> Uses | None:
    """Of the capture that this thread makes."""
    return getattr(_local, "uses", None)


def after_fork() -> None:
    """In a forked child: captures that other threads were making are not made here."""
    global running, _lock
    running, _lock = getattr(_local, "depth", 0), threading.Lock()


class Noting:
    """Within this context the thread's uses are noted."""

    def __enter__(self) -> Uses:
        global running
        with _lock:
            running += 1
        _local.depth = getattr(_local, "depth", 0) + 1
        _local.uses = uses = Uses()
        return uses

    def __exit__(self, *exception: Any) -> None:
        global running
        _local.uses = None
        _local.depth -= 1
        with _lock:
            running -= 1
