"""weft.capture: a function's kernels recorded once, and run again without Python."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, overload

import numpy as np

import weft.kernels as K
import weft.profiler  # noqa: F401 (recorded launches know their line of Python)
from weft import _forks, _uses, autograd
from weft.tensor import Tensor

__all__ = ["Capture", "Report", "capture"]

# What stands for an array in the structure of arguments and results.
_TENSOR, _ARRAY = "tensor", "array"


def _flatten(value: Any, arrays: list[K.Array], where: str) -> Hashable:
    """Puts the arrays of nested arguments or results into `arrays`; the structure, with all other values in it."""
    if isinstance(value, Tensor):
        arrays.append(value.array)
        return _TENSOR
    if isinstance(value, K.Array):
        arrays.append(value)
        return _ARRAY
    if isinstance(value, np.ndarray):
        arrays.append(K.asarray(value))
        return _TENSOR
    if isinstance(value, (list, tuple)):
        return (type(value), *(_flatten(v, arrays, where) for v in value))
    if isinstance(value, dict):
        return (dict, tuple(value), *(_flatten(v, arrays, where) for v in value.values()))
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"capture: {where} of type {type(value).__name__} is neither array nor hashable") from None
    return ("value", type(value), value)


def _rebuild(structure: Any, arrays: list[Any]) -> Any:
    """The inverse of _flatten; takes from the front of `arrays`."""
    if structure is _TENSOR:
        return Tensor(arrays.pop(0))
    if structure is _ARRAY:
        return arrays.pop(0)
    kind = structure[0]
    if kind == "value":
        return structure[2]
    if kind is dict:
        return {k: _rebuild(s, arrays) for k, s in zip(structure[1], structure[2:], strict=True)}
    parts = [_rebuild(s, arrays) for s in structure[1:]]
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def _device(arrays: list[K.Array], otherwise: str | None) -> str:
    """Where a function of these arrays is recorded: on the device of one that is not on the host."""
    return next((a.device for a in arrays if a.device != "cpu"), otherwise or K.default_device())


def _refuse_gradients(value: Any) -> None:
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise RuntimeError(
                f"capture: an argument of shape {value.shape} requires a gradient, but gradients do not leave "
                "a capture through its arguments; detach it, or let the function hold the tensor"
            )
    elif isinstance(value, (list, tuple)):
        for v in value:
            _refuse_gradients(v)
    elif isinstance(value, dict):
        _refuse_gradients(list(value.values()))


class Report(NamedTuple):
    """What one signature's capture holds. bytes: of the arrays that the kernels of one name read and write."""

    inputs: list[tuple[tuple[int, ...], str]]  # shapes and dtypes
    outputs: list[tuple[tuple[int, ...], str]]
    kernels: list[tuple[str, int]]  # every launch in order: name, bytes
    memory: dict[str, int]  # of the pool: reserved, peak and allocated bytes; blocks that serve so many arrays
    fusions: list[str]
    reason: str | None  # why it runs uncaptured
    graph_nodes: int = 0  # of its CUDA graph, once it was replayed; 0 on the cpu

    def __str__(self) -> str:
        def arrays(what: list[tuple[tuple[int, ...], str]]) -> str:
            return ", ".join(f"{dtype} {shape}" for shape, dtype in what) or "none"

        lines = [f"capture of {arrays(self.inputs)} -> {arrays(self.outputs)}"]
        if self.reason is not None:
            return f"{lines[0]}\n  not captured: {self.reason}"
        if not self.kernels:
            return f"{lines[0]}\n  not recorded yet: that is the second call's part"
        totals: dict[str, list[int]] = {}
        for name, size in self.kernels:
            total = totals.setdefault(name, [0, 0])
            total[0] += 1
            total[1] += size
        width = max(len(name) for name in totals)
        graph = f", a CUDA graph of {self.graph_nodes} nodes" if self.graph_nodes else ""
        lines.append(f"  {len(self.kernels)} kernels{graph}")
        lines += [f"    {name:<{width}}  {n:>4} x {size:>14,} bytes in all" for name, (n, size) in totals.items()]
        m = self.memory
        lines.append(
            f"  memory: {m['reserved']:,} bytes in {m['blocks']} blocks for {m['arrays']} arrays, "
            f"{m['peak']:,} in use at most"
        )
        lines.append(f"  fusions: {', '.join(self.fusions) or 'none'}")
        return "\n".join(lines)


class _Entry:
    """One signature: its buffers and, from the second call on, its recording."""

    def __init__(self, buffers: list[K.Array], structure: Any) -> None:
        self.buffers, self.structure = buffers, structure
        self.replay: K.Replay | None = None
        self.uses: _uses.Uses | None = None
        self.results: Any = None  # the structure of what the function returned
        self.warm = False
        self.reason: str | None = None

    def run(self, arrays: list[Any], copy_outputs: bool) -> Any:
        """A replay, once uses.ready(). arrays: Arrays or Tensors."""
        assert self.replay is not None
        assert self.uses is not None
        outputs = self.replay.call(arrays, copy_outputs)
        self.uses.leave()
        return Tensor(outputs[0]) if self.results is _TENSOR else _rebuild(self.results, outputs)

    def report(self) -> Report:
        def describe(arrays: list[K.Array]) -> list[tuple[tuple[int, ...], str]]:
            return [(a.shape, str(a.dtype)) for a in arrays]

        if self.replay is None or self.uses is None:
            return Report(describe(self.buffers), [], [], {}, [], self.reason)
        outputs = describe(self.replay.outputs)
        kernels = self.replay.launches()
        memory, nodes = dict(self.replay.memory()), self.replay.graph_nodes
        return Report(describe(self.buffers), outputs, kernels, memory, self.uses.fusions, None, nodes)


class Capture:
    """What weft.capture makes of a function; see there."""

    def __init__(self, function: Callable[..., Any], copy_outputs: bool = True, strict: bool = True) -> None:
        self.function, self.copy_outputs, self.strict = function, copy_outputs, strict
        self.most = 64  # signatures kept; the oldest goes first
        self.device: str | None = None  # where it is recorded if no argument tells; None: on the default device
        self.__doc__ = getattr(function, "__doc__", None)
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._entries: dict[Hashable, _Entry] = {}
        self._short: dict[
            Hashable, _Entry
        ] = {}  # those whose arguments are all Tensors, by a key that is quick to make
        self._lock = threading.RLock()
        _forks.register(self)

    def _after_fork(self) -> None:
        if _forks.left_behind(self._lock):  # in the middle of a call, whose arrays may be half-written
            self._lock = threading.RLock()
            self._entries, self._short = {}, {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors = None if kwargs else K.signature_of_tensors(args, Tensor)
        short = None if tensors is None else (tensors, autograd.is_grad_enabled())
        known = None if short is None else self._short.get(short)
        if known is not None and not K.in_capture():
            with self._lock:
                if known.uses is not None and known.uses.ready():
                    return known.run(list(args), self.copy_outputs)
        if K.in_capture():  # part of another one
            return self.function(*args, **kwargs)
        arrays: list[K.Array] = []
        structure = _flatten((args, kwargs) if kwargs else args, arrays, "an argument")
        key = (structure, bool(kwargs), K.signature(arrays), autograd.is_grad_enabled())
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                _refuse_gradients((args, kwargs))
                entry = _Entry([K.copy(a) for a in arrays], structure)
            if entry.uses is not None and entry.uses.ready():
                return entry.run(arrays, self.copy_outputs)
            for buffer, array in zip(entry.buffers, arrays, strict=True):
                K.copy_into(buffer, array)
            result = self._run(entry, bool(kwargs))
            self._entries[key] = entry
            if short is not None:
                self._short[short] = entry
            if len(self._entries) > self.most:
                oldest = self._entries.pop(next(iter(self._entries)))
                self._short = {k: e for k, e in self._short.items() if e is not oldest}
            return result

    def _run(self, entry: _Entry, has_kwargs: bool) -> Any:
        """Runs the function as it is: to make its lasting state the first time, then to record it."""
        record = entry.warm and entry.reason is None
        given = _rebuild(entry.structure, list(entry.buffers))
        args, kwargs = given if has_kwargs else (given, {})
        if entry.reason is not None:
            return self._results(entry, self.function(*args, **kwargs))[0]
        replay = K.Replay(self.strict, _device(entry.buffers, self.device))
        entry.replay = entry.uses = None
        with _uses.Noting() as uses:
            replay.begin() if record else replay.watch()
            try:
                result = self.function(*args, **kwargs)
            finally:
                replay.end()
        entry.warm, entry.reason = True, replay.reason
        if record and not self.strict and entry.reason is None:
            entry.reason = uses.python_state()
        result, outputs = self._results(entry, result)
        if uses.finish() and replay.complete and entry.reason is None:
            replay.set_inputs(entry.buffers)
            replay.set_outputs(outputs)
            entry.replay, entry.uses = replay, uses
        return result

    def _results(self, entry: _Entry, result: Any) -> tuple[Any, list[K.Array]]:
        """What to return, and the arrays in it."""
        outputs: list[K.Array] = []
        entry.results = _flatten(result, outputs, "a result")
        return _rebuild(entry.results, [K.copy(a) if self.copy_outputs else a for a in outputs]), outputs

    def report(self) -> list[Report]:
        """What was recorded, for each signature so far; a Report prints itself as a table."""
        return [entry.report() for entry in self._entries.values()]

    @property
    def reason(self) -> str | None:
        """Why some signature runs uncaptured (only where strict is off), or None."""
        return next((e.reason for e in self._entries.values() if e.reason is not None), None)

    def reset(self) -> None:
        """Forgets all recordings and their memory: after a change that a capture cannot see."""
        with self._lock:
            self._entries.clear()
            self._short.clear()


@overload
def capture(function: Callable[..., Any], *, copy_outputs: bool = True, strict: bool = True) -> Capture: ...
@overload
def capture(*, copy_outputs: bool = True, strict: bool = True) -> Callable[[Callable[..., Any]], Capture]: ...
def capture(
    function: Callable[..., Any] | None = None, *, copy_outputs: bool = True, strict: bool = True
) -> Capture | Callable[[Callable[..., Any]], Capture]:
    """Makes a function whose kernels are recorded, and from the third call on run again without Python.

        step = weft.capture(train_step)     # or @weft.capture
        loss = step(images, labels)

    It is recorded on the device of its arguments, of the one that is not the host where both occur, or else on the
    default device; there it becomes a CUDA graph, one launch for the whole of it. What runs on another device inside
    is a RuntimeError.

    Every call does the work of one call. The first runs the function, so that it makes what lasts (an optimizer's
    buffers); the second runs and records it; then arguments are copied into fixed buffers and the recording runs.
    Results are the same bits. Other shapes, dtypes, or values of arguments that are no arrays, make another recording
    beside the first. Arguments are Tensors, Arrays, NumPy arrays (which arrive as Tensors) and hashable values, also
    in lists, tuples and dicts.

    What lies in memory goes on changing: parameters, an optimizer's state and step count, learning rate and momentum as
    a schedule sets them, the random numbers of dropout. Gradients left in `.grad` are there after each call. All that
    Python does is done only when recording: a branch taken, a counter, print. Changes of an optimizer's other options,
    of `training`, of requires_grad and of set_fusion are seen, and recorded anew; for anything else call reset().

    copy_outputs: results are copies; else they are the recording's own memory, which the next call overwrites.
    strict: reading an element on the host inside (item(), float(), numpy(), if tensor) is a RuntimeError; else such a
    function runs as it is, and `reason` says why; so does one that draws random numbers in Python or counts in a
    module's attribute. RuntimeError for an argument that requires a gradient; results are
    detached. Each call holds a lock: a capture may be called from several threads, one after the other.
    """
    if function is None:
        return lambda f: Capture(f, copy_outputs, strict)
    return Capture(function, copy_outputs, strict)
