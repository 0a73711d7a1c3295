"""What all optimizers share: parameter groups, flat buffers, state.

The parameters of a group become views of one flat buffer, their gradients land in another (`Tensor._grad_buffer`), and
so does each kind of state. A step is then one kernel call for the whole group instead of one for each parameter. A
parameter without a gradient is skipped, as in torch: the calls then cover the runs of parameters that have one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import weft.kernels as K
from weft import _uses
from weft._checks import Saved, as_data, flag, instance, integer, number, sequence, shown
from weft.autograd import no_grad
from weft.tensor import Tensor

ALIGNMENT = 16  # elements: every parameter begins at a whole cache line


class Run:
    """Neighbouring parameters of a group that made the same number of steps."""

    def __init__(self, first: int, last: int, step: K.Array) -> None:
        self.first, self.last = first, last  # parameters first .. last - 1
        self.step = step  # int64, shape (): read and counted up by the kernel


class FlatGroup:
    """The flat buffers of one parameter group."""

    def __init__(self, params: list[Tensor]) -> None:
        self.params = params
        self.starts: list[int] = []
        size = 0
        for p in params:
            self.starts.append(size)
            size += -(-p.numel() // ALIGNMENT) * ALIGNMENT
        self.starts.append(size)
        self.dtype = params[0].dtype if params else K.DType.float32
        self.device = params[0].device if params else K.default_device()
        self.values = K.zeros((size,), self.dtype, self.device)
        self.grads = K.zeros((size,), self.dtype, self.device)
        self.state: dict[str, K.Array] = {}
        # Learning rate and momentum (beta1), as the kernels read them.
        self.rates = K.zeros((2,), "float64", self.device)
        self.written: tuple[float, float] | None = None
        self.runs = [Run(0, len(params), K.zeros((), "int64", self.device))] if params else []
        self.grad_views = [self.view(self.grads, i) for i in range(len(params))]
        for i, p in enumerate(params):
            place = self.view(self.values, i)
            K.copy_into(place, p.array)
            p.array = place
            p._grad_buffer = self.grad_views[i]

    def view(self, buffer: K.Array, i: int) -> K.Array:
        """Parameter i's part of a flat buffer, in its shape and memory format."""
        p = self.params[i]
        part = buffer[self.starts[i] : self.starts[i] + p.numel()]
        if p.array.memory_format != K.MemoryFormat.channels_last:
            return part.reshape(p.shape)
        k, c, r, s = p.shape
        return part.reshape((k, r, s, c)).permute((0, 3, 1, 2))

    def span(self, buffer: K.Array, run: Run) -> K.Array:
        """A run's part of a flat buffer."""
        return buffer[self.starts[run.first] : self.starts[run.last]]

    def buffer(self, name: str) -> K.Array:
        """A flat buffer of state; zero at first."""
        if name not in self.state:
            self.state[name] = K.zeros((self.starts[-1],), self.dtype, self.device)
        return self.state[name]

    def collect(self) -> list[Run]:
        """Brings the gradients into the flat buffer; the runs of parameters that have one."""
        have = [self._collect_one(i) for i in range(len(self.params))]
        runs: list[Run] = []
        for run in self.runs:
            runs.extend(_split(run, have))
        self.runs = runs
        return [run for run in runs if have[run.first]]

    def _collect_one(self, i: int) -> bool:
        p, place = self.params[i], self.grad_views[i]
        if p.array.data_ptr != self.values.data_ptr + self.starts[i] * self.dtype.itemsize:
            raise RuntimeError(
                f"optimizer: the memory of a parameter of shape {p.shape} was replaced (by to()?); "
                "make the optimizer after moving the model"
            )
        if _uses.running and (uses := _uses.current()):
            uses.gradient(p)
        if p.grad is None:
            return False
        if p.grad.array.data_ptr != place.data_ptr:
            K.copy_into(place, p.grad.array)
        return True


def _split(run: Run, have: list[bool]) -> list[Run]:
    """Cuts a run where having a gradient changes; each part gets its own count of steps."""
    cuts = [run.first]
    cuts += [i for i in range(run.first + 1, run.last) if have[i] != have[i - 1]]
    if len(cuts) == 1:
        return [run]
    ends = [*cuts[1:], run.last]
    return [Run(first, last, K.copy(run.step)) for first, last in zip(cuts, ends, strict=True)]


class Optimizer:
    """The base of all optimizers: subclasses name their defaults and write `_update(group, flat, run)`.

    params: an iterable of parameters, or of dicts with "params" and options of their own.
    ValueError for no parameters, a parameter in two groups, or an option out of its range; TypeError for what is no
    floating tensor, or for two dtypes in one group; RuntimeError for two devices in one.
    """

    _state_names: tuple[str, ...] = ()  # by which torch, too, keeps what a parameter carries between steps
    _always: tuple[str, ...] = ()  # those of them that every step makes

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = instance(type(self).__name__, "defaults", defaults, dict)
        self.param_groups: list[dict[str, Any]] = []
        self._flat: list[FlatGroup] = []
        name = type(self).__name__
        if isinstance(params, (Tensor, dict)):
            raise TypeError(f"{name}: params must be several tensors or dicts, got one {type(params).__name__}")
        groups = sequence(name, "params", params)
        if not groups:
            raise ValueError(f"{name}: got no parameters")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Adds parameters with options of their own; missing options are the defaults."""
        name = type(self).__name__
        if "params" not in instance(name, "a group of parameters", group, dict):
            raise ValueError(f"{name}: a group of parameters needs 'params', got {', '.join(map(str, group))}")
        given = group["params"]
        params = [given] if isinstance(given, Tensor) else sequence(name, "a group's params", given)
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in params:
            if not isinstance(p, Tensor) or not p.is_floating_point():
                raise TypeError(f"{name}: parameters must be floating tensors, got {type(p).__name__}")
            if p.dtype == K.DType.bfloat16:
                raise TypeError(f"{name}: parameters must be float32 or float64, got bfloat16 of shape {p.shape}")
            if p._node is not None:
                raise ValueError(f"{name}: a parameter of shape {p.shape} is no leaf: it is the result of {p._node!r}")
            if p.dtype != params[0].dtype:
                raise TypeError(f"{name}: a group must have one dtype, got {params[0].dtype} and {p.dtype}")
            if p.device != params[0].device:
                raise RuntimeError(f"{name}: a group must lie on one device, got {params[0].device} and {p.device}")
            if id(p) in known:
                raise ValueError(f"{name}: a parameter of shape {p.shape} appears twice")
            known.add(id(p))
        full = {**self.defaults, **group, "params": params}
        self._check(full)
        flat = FlatGroup(params)
        self.param_groups.append(full)
        self._flat.append(flat)

    def _check(self, group: dict[str, Any]) -> None:
        """ValueError for options out of their range, TypeError for those of another kind."""
        name = type(self).__name__
        for option in ("lr", "weight_decay", "eps", "momentum", "lr_decay", "alpha"):
            if option in group:
                number(name, option, group[option], 0)
        for option in ("dampening", "initial_lr"):
            if option in group:
                number(name, option, group[option])
        for option in ("nesterov", "centered", "maximize"):
            if option in group:
                flag(name, option, group[option])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, or sets them to zero."""
        uses = _uses.current() if _uses.running else None
        for group in self.param_groups:
            for p in group["params"]:
                if uses:
                    uses.leaf(p)
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient. closure: computes the loss again, which is returned."""
        loss = closure() if closure is not None else None
        if _uses.running and (uses := _uses.current()):
            uses.optimizer(self)
        self._write_rates()
        with no_grad():
            for group, flat in zip(self.param_groups, self._flat, strict=True):
                for run in flat.collect():
                    self._update(group, flat, run)
                for p in group["params"]:
                    if p.grad is not None:
                        p.array.bump_version()
        return loss

    def _write_rates(self) -> None:
        """Brings the groups' rates to where the kernels read them; a replay of a capture reads them anew."""
        for group, flat in zip(self.param_groups, self._flat, strict=True):
            momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
            rates = (float(group.get("lr", 0.0)), float(momentum))
            if rates != flat.written:
                K.write_now(flat.rates, rates)
                flat.written = rates

    def _snapshot(self) -> list[list[Any]]:
        """All that a recorded step has fixed: for each group its options, its runs and the kinds of its state."""
        return [[dict(g), list(f.runs), list(f.state)] for g, f in zip(self.param_groups, self._flat, strict=True)]

    def _ready(self, snapshot: list[list[Any]]) -> bool:
        """Before a replay: whether nothing but rates changed since the snapshot; writes the rates. Behind the options
        the snapshot gets what was written for them, so that there is nothing to do where both are as they were."""
        if len(snapshot) != len(self._flat):
            return False
        for group, flat, kept in zip(self.param_groups, self._flat, snapshot):  # noqa: B905 (on every replay's way)
            if flat.runs != kept[1] or len(flat.state) != len(kept[2]):
                return False
            if group == kept[0] and kept[-1] is flat.written:
                continue
            if _fixed(group) != _fixed(kept[0]):
                return False
            self._write_rates()
            kept[0] = dict(group)
            kept[3:] = [flat.written]
        return True

    def _initial_value(self, name: str) -> float:
        """What a kind of state begins with."""
        return 0.0

    def _update(self, group: dict[str, Any], flat: FlatGroup, run: Run) -> None:
        raise TypeError(f"{type(self).__name__}: an Optimizer needs a method _update")

    # --- state ---

    def state_dict(self) -> dict[str, Any]:
        """As torch's: {"state": {number: {"step": int, name: Tensor}}, "param_groups": [options]}.

        Parameters are numbered in the order of the groups. The tensors share memory with the optimizer.
        """
        state: dict[int, dict[str, Any]] = {}
        groups = []
        number = 0
        for group, flat in zip(self.param_groups, self._flat, strict=True):
            numbers = list(range(number, number + len(flat.params)))
            number += len(flat.params)
            groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": numbers})
            for run in flat.runs:
                steps = run.step.item()
                for i in range(run.first, run.last) if steps else ():
                    state[numbers[i]] = {"step": steps}
                    for name, buffer in flat.state.items():
                        state[numbers[i]][name] = Tensor(flat.view(buffer, i))
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the options, steps and buffers of another optimizer of this kind, by copying.

        ValueError where the groups, the shapes or the values do not fit; then nothing was changed.
        """
        self._prepared(state_dict)()

    def _prepared(self, state_dict: Any) -> Callable[[], None]:
        """Reads a state whole; what puts it in place."""
        name = type(self).__name__
        saved = Saved(name, state_dict)
        groups = [
            as_data(Saved, name, group, f"group {i} of the state")
            for i, group in enumerate(saved.items("param_groups"))
        ]
        numbers = [group.items("params") for group in groups]
        ours, theirs = [len(f.params) for f in self._flat], [len(n) for n in numbers]
        if ours != theirs:
            raise ValueError(f"{name}: the state has groups of {theirs} parameters, the optimizer of {ours}")
        entries = self._entries(saved.part("state"), [number for group in numbers for number in group])
        options = [self._options(ours, group) for ours, group in zip(self.param_groups, groups, strict=True)]
        made = []
        for flat in self._flat:
            own, entries = entries[: len(flat.params)], entries[len(flat.params) :]
            for entry in own:
                lacking = [key for key in self._always if entry.get("step") and key not in entry]
                if lacking:
                    raise ValueError(f"{name}: the state of a parameter that made steps has no {', '.join(lacking)}")
            # torch's SGD keeps no count: a buffer says that there was a step.
            steps = [entry.pop("step", 1 if entry else 0) for entry in own]
            made.append((self._buffers(flat, own), _runs(steps, flat.device)))

        def put() -> None:
            for group, new, flat, (state, runs) in zip(self.param_groups, options, self._flat, made, strict=True):
                group.update(new)
                flat.state, flat.runs = state, runs

        return put

    def _options(self, group: dict[str, Any], saved: Saved) -> dict[str, Any]:
        """A group's options as the state has them, in range."""
        lacking = [key for key in self.defaults if key not in saved.state]
        if lacking:
            raise ValueError(f"{saved.who}: {saved.what} is of another optimizer: it has no {', '.join(lacking)}")
        full = {**group, **{key: value for key, value in saved.state.items() if key != "params"}}
        try:
            self._check(full)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{error} in {saved.what}") from error
        del full["params"]
        return full

    def _entries(self, saved: Saved, numbers: list[Any]) -> list[dict[str, Any]]:
        """What the state has for each parameter: arrays of its shape by name, and "step"."""
        name = saved.who
        if not all(type(number) is int for number in numbers) or len(set(numbers)) != len(numbers):
            raise ValueError(f"{name}: the state's parameters must be different numbers, got {shown(numbers)}")
        entries: list[dict[str, Any]] = [{} for _ in numbers]
        params = [p for flat in self._flat for p in flat.params]
        places = {saved_as: at for at, saved_as in enumerate(numbers)}
        for saved_as in saved.state:
            if type(saved_as) is not int or saved_as not in places:
                raise ValueError(f"{name}: {saved.what} has an entry {shown(saved_as)}, which is no parameter's number")
            at = places[saved_as]
            for key, value in saved.part(saved_as).state.items():
                what = f"{key} of parameter {saved_as}"
                if key == "step":
                    entries[at][key] = _steps(name, what, value)
                elif key not in self._state_names:
                    raise ValueError(
                        f"{name}: {what} is the state of another optimizer; expected {', '.join(self._state_names)}"
                    )
                elif value is not None:
                    entries[at][key] = _state_array(name, what, value, params[at])
        return entries

    def _buffers(self, flat: FlatGroup, entries: list[dict[str, Any]]) -> dict[str, K.Array]:
        """New flat buffers of state: what the entries have, the initial value elsewhere."""
        buffers: dict[str, K.Array] = {}
        for name in dict.fromkeys([*flat.state, *(key for entry in entries for key in entry)]):
            buffer = buffers[name] = K.full((flat.starts[-1],), self._initial_value(name), flat.dtype, flat.device)
            for i, entry in enumerate(entries):
                if name in entry:
                    K.copy_into(flat.view(buffer, i), entry[name])
        return buffers

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([*lines, ")"])


def _fixed(group: dict[str, Any]) -> dict[str, Any]:
    """A group's options but for the rates, which a replay reads anew; a momentum of 0 is another step."""
    fixed = {k: v for k, v in group.items() if k not in ("lr", "initial_lr", "momentum", "betas")}
    return {**fixed, "momentum": bool(group.get("momentum")), "beta2": group.get("betas", (0, 0))[1]}


def _steps(who: str, what: str, value: Any) -> int:
    """A count of steps: an int, or a whole number as torch has it, in a tensor of float32."""
    if isinstance(value, int):
        return as_data(integer, who, what, value, 0)  # type: ignore[no-any-return]
    count = as_data(number, who, what, value, 0)
    if not count.is_integer():
        raise ValueError(f"{who}: {what} must be a whole number, got {shown(value)}")
    return as_data(integer, who, what, int(count), 0)  # type: ignore[no-any-return]


def _state_array(who: str, what: str, value: Any, parameter: Tensor) -> K.Array:
    """A kind of a parameter's state, in its shape."""
    try:
        array = value.array if isinstance(value, Tensor) else K.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{who}: {what} must be a tensor, got {shown(value)}") from error
    if tuple(array.shape) != tuple(parameter.shape):
        raise ValueError(f"{who}: {what} has shape {tuple(array.shape)}, the parameter {tuple(parameter.shape)}")
    return array


def _runs(steps: list[int], device: str) -> list[Run]:
    runs: list[Run] = []
    for i, count in enumerate(steps):
        if runs and runs[-1].step.item() == count:
            runs[-1].last = i + 1
        else:
            runs.append(Run(i, i + 1, K.full((), count, "int64", device)))
    return runs
