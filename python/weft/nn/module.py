"""Module: parameters, buffers and submodules by name, with torch's keys; Parameter; hooks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

import weft.kernels as K
from weft import _uses
from weft._checks import function, instance, shown
from weft.tensor import Tensor

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A tensor that a Module trains: assigned as an attribute, it appears in the module's parameters().

    data: a Tensor (whose memory it shares) or anything that makes an Array.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.array if isinstance(data, Tensor) else K.asarray(data), requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class IncompatibleKeys(NamedTuple):
    """What load_state_dict(strict=False) passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class RemovableHandle:
    """Removes a hook: handle.remove(), or at the end of a `with`."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._id = hooks, next(self._ids)
        hooks[self._id] = hook

    def remove(self) -> None:
        """Takes the hook away."""
        self._hooks.pop(self._id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def _moved(array: K.Array, dtype: Any, device: Any, memory_format: Any = None) -> K.Array:
    """The array on another device; where it is floating, of another dtype; where its rank is 4, in another memory
    order. Itself if nothing changes."""
    in_order = memory_format is None or array.ndim != 4
    if not in_order and not (array.is_contiguous(memory_format) and array.memory_format == memory_format):
        array = K.copy(array, memory_format)
    wanted = dtype if dtype is not None and array.dtype.is_floating_point else array.dtype
    if device is not None:
        array = K.to(array, str(device))
    return array if str(wanted) == str(array.dtype) else K.cast(array, wanted)


def _writable_from(target: K.Array, given: Any, places: set[int]) -> K.Array:
    """A value as an array on the target's device, from where it can be copied into the target. ValueError where that
    cannot be written. places: where the module's arrays lie; a value that is another one of them is copied first."""
    if not isinstance(given, (Tensor, K.Array, np.ndarray, np.generic)) and not hasattr(given, "__dlpack__"):
        given = np.asarray(instance("the state", "an entry", given, (list, tuple, int, float), "tensor"))
    value = given.array if isinstance(given, Tensor) else K.asarray(given)
    if value.device != target.device:
        value = K.to(value, target.device)
    if value.data_ptr != target.data_ptr and value.data_ptr in places:
        value = K.copy(value)
    K.copy_into(target, target)  # changes nothing, and finds out whether it can be written
    return value


class Module:
    """The base of all layers and models: assign parameters and modules as attributes, write forward().

    Subclasses call super().__init__() first. `training` tells layers like Dropout which way to work.
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        set_plain = object.__setattr__
        set_plain(self, "training", True)
        for name in ("_parameters", "_buffers", "_modules", "_forward_pre_hooks", "_forward_hooks"):
            set_plain(self, name, {})
        set_plain(self, "_non_persistent", set())

    # --- calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes. Every module defines it."""
        raise TypeError(f"{type(self).__name__}: forward() is not defined")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _uses.running and (uses := _uses.current()):
            uses.module(self)
        if not (self._forward_pre_hooks or self._forward_hooks):
            return self.forward(*args, **kwargs)
        for hook in list(self._forward_pre_hooks.values()):
            changed = hook(self, args)
            if changed is not None:
                if args and not isinstance(changed, tuple):
                    self._check_hooked("a forward pre-hook", args[0], changed)
                args = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*args, **kwargs)
        for hook in list(self._forward_hooks.values()):
            changed = hook(self, args, output)
            if changed is not None:
                self._check_hooked("a forward hook", output, changed)
                output = changed
        return output

    def _check_hooked(self, what: str, before: Any, changed: Any) -> None:
        """TypeError where a hook replaces a Tensor by what is none and holds none."""
        if isinstance(before, Tensor) and not isinstance(changed, (Tensor, tuple, list, Mapping)):
            name = type(self).__name__
            raise TypeError(f"{name}: {what} must return a Tensor or None, got {type(changed).__name__}")

    def register_forward_pre_hook(self, hook: Callable[[Any, Any], Any]) -> RemovableHandle:
        """hook(module, args) runs before forward; a result other than None replaces args."""
        return RemovableHandle(self._forward_pre_hooks, function("register_forward_pre_hook", "hook", hook))

    def register_forward_hook(self, hook: Callable[[Any, Any, Any], Any]) -> RemovableHandle:
        """hook(module, args, output) runs after forward; a result other than None replaces the output."""
        return RemovableHandle(self._forward_hooks, function("register_forward_hook", "hook", hook))

    # --- attributes

    def __getattr__(self, name: str) -> Any:  # called only where there is no plain attribute
        for kind in ("_parameters", "_modules", "_buffers"):
            entries = self.__dict__.get(kind)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        own, owner = self.__dict__, type(self).__name__
        kinds = ("_parameters", "_modules", "_buffers")
        if isinstance(value, (Parameter, Module)):
            if "_modules" not in own:
                raise AttributeError(f"{owner}: call super().__init__() before assigning {name!r}")
            kind = "_parameters" if isinstance(value, Parameter) else "_modules"
            if name not in own[kind] and (name in own or any(name in own[k] for k in kinds)):
                delattr(self, name)  # an assignment replaces what had the name
            self._register(kind, name, value, type(value))
            return
        for kind, expected in zip(kinds, (Parameter, Module, Tensor), strict=True):
            if name in own.get(kind, ()):
                self._register(kind, name, value, expected)
                return
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in self.__dict__.get(kind, ()):
                del self.__dict__[kind][name]
                self._non_persistent.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _register(self, kind: str, name: str, value: Any, expected: type) -> None:
        owner = type(self).__name__
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{owner}: a name must be a non-empty str without '.', got {shown(name)}")
        if value is not None and not isinstance(value, expected):
            got = type(value).__name__
            raise TypeError(f"{owner}: {name!r} must be a {expected.__name__} or None, got {got}")
        if name not in self.__dict__[kind] and hasattr(self, name):
            raise ValueError(f"{owner}: attribute {name!r} already exists")
        self.__dict__[kind][name] = value

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter by name. None reserves the name (a layer without bias)."""
        self._register("_parameters", name, param, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is kept and moved with the module but not trained.

        persistent: whether it is part of state_dict().
        """
        self._register("_buffers", name, tensor, Tensor)
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule by name."""
        self._register("_modules", name, module, Module)

    register_module = add_module

    # --- walking the tree

    def named_modules(self, prefix: str = "", _seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, as ("block.0.conv", module)."""
        seen: set[int] = set() if _seen is None else _seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, each once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below, each once."""
        return (module for _, module in self.named_children())

    def _named_members(self, kind: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in module.__dict__[kind].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their names, each once though it be shared."""
        return self._named_members("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once though it be shared."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their names, each once."""
        return self._named_members("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a path like "block.0.conv"; "" is this one. AttributeError where there is none."""
        module: Any = self
        instance(type(self).__name__, "target", target, str)
        for name in target.split(".") if target else []:
            entry = module._modules.get(name)
            if entry is None:
                raise AttributeError(f"{type(self).__name__}: no submodule {name!r} on the path {target!r}")
            module = entry
        return module  # type: ignore[no-any-return]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path like "block.0.conv.weight". AttributeError where there is none."""
        path, _, name = instance(type(self).__name__, "target", target, str).rpartition(".")
        parameter = self.get_submodule(path)._parameters.get(name)
        if parameter is None:
            raise AttributeError(f"{type(self).__name__}: no parameter {target!r}")
        return parameter

    # --- state

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """All parameters and persistent buffers by path; they share memory with the module.

        keep_vars: the Parameters themselves instead of detached tensors.
        """
        state: dict[str, Tensor] = {}
        entries = itertools.chain(self._parameters.items(), self._buffers.items())
        for name, value in entries:
            if value is not None and name not in self._non_persistent:
                state[prefix + name] = value if keep_vars else value.detach()
        for name, module in self._modules.items():
            if module is not None:
                state.update(module.state_dict(prefix=f"{prefix}{name}.", keep_vars=keep_vars))
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copies values into the module's parameters and buffers, in place and cast to their dtype.

        state_dict: path to Tensor, Array or NumPy array. With strict, the keys must be the module's own.
        Nothing is written unless everything fits: ValueError lists the missing and unexpected keys and both
        whole shapes of what differs.
        """
        put, keys = self._fitting(state_dict, strict)
        put()
        return keys

    def _prepared(self, state_dict: Any) -> Callable[[], None]:
        """Reads a state whole; what puts it in place."""
        return self._fitting(state_dict, strict=True)[0]

    def _fitting(self, state_dict: Any, strict: bool) -> tuple[Callable[[], None], IncompatibleKeys]:
        who = f"load_state_dict: {type(self).__name__}"
        instance(who, "the state", state_dict, Mapping, "dict")
        own = self.state_dict(keep_vars=True)
        missing = [key for key in own if key not in state_dict]
        unexpected = [key for key in state_dict if key not in own]
        problems: list[str] = []
        if strict and missing:
            problems.append("missing keys: " + ", ".join(missing))
        if strict and unexpected:
            problems.append("unexpected keys: " + ", ".join(map(str, unexpected)))
        values: list[tuple[Tensor, K.Array]] = []
        places = {target.array.data_ptr for target in own.values()}
        for key, target in own.items():
            if key not in state_dict:
                continue
            try:
                value = _writable_from(target.array, state_dict[key], places)
            except (TypeError, ValueError) as error:
                problems.append(f"{key}: {error}")
                continue
            if tuple(value.shape) != tuple(target.array.shape):
                problems.append(
                    f"{key}: the module has shape {tuple(target.array.shape)}, the state {tuple(value.shape)}"
                )
            values.append((target, value))
        if problems:
            raise ValueError(f"{who}:\n  " + "\n  ".join(problems))

        def put() -> None:
            for target, value in values:
                K.copy_into(target.array, value)
                target.array.bump_version()

        return put, IncompatibleKeys(missing, unexpected)

    # --- settings of the whole tree

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Calls fn on every module below, then on this one; returns the module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Sets `training` in the whole tree; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """train(False)."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freezes (False) or frees all parameters; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or sets them to zero."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                K.fill(parameter.grad.array, 0.0)
                parameter.grad.array.bump_version()

    def to(self: M, *args: Any, device: Any = None, dtype: Any = None, memory_format: Any = None) -> M:
        """Moves all parameters and buffers, in place: to("cuda"), to("float64"), to(memory_format=weft.channels_last).

        A dtype applies to the floating ones (linear layers and activations work in bfloat16 too), a memory format to
        those of rank 4. Make the optimizer afterwards. RuntimeError for a device that is not there; TypeError for a
        dtype that is not floating, or for what is no memory format.
        """
        if memory_format is not None and not isinstance(memory_format, K.MemoryFormat):
            raise TypeError(f"{type(self).__name__}.to: expected a memory format, got {shown(memory_format)}")
        if memory_format == K.MemoryFormat.preserve_format:
            memory_format = None
        for value in args:
            if isinstance(value, K.DType) or value in K.DType.__members__:
                dtype = value
            else:
                device = value
        if dtype is not None and str(dtype) not in ("float32", "float64", "bfloat16"):
            raise TypeError(f"{type(self).__name__}.to: dtype must be float32, float64 or bfloat16, got {dtype}")
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            moved = _moved(tensor.array, dtype, device, memory_format)
            if moved is not tensor.array:
                tensor.array = moved
                tensor._grad_buffer = None
                if tensor.grad is not None:
                    tensor.grad = Tensor(_moved(tensor.grad.array, dtype, device, memory_format))
        return self

    def float(self: M) -> M:
        """to("float32")."""
        return self.to("float32")

    def double(self: M) -> M:
        """to("float64")."""
        return self.to("float64")

    def bfloat16(self: M) -> M:
        """to("bfloat16")."""
        return self.to("bfloat16")

    # --- text

    def extra_repr(self) -> str:
        """The settings between the parentheses of the repr."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        if not self._modules:
            return f"{type(self).__name__}({extra})"
        lines = [extra] if extra else []
        for name, module in self._modules.items():
            lines.append(f"({name}): " + repr(module).replace("\n", "\n  "))
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def as_parameter(shape: tuple[int, ...], dtype: Any = None) -> Parameter:
    """A parameter whose values are still to be drawn."""
    return Parameter(Tensor(K.empty(shape, "float32" if dtype is None else dtype)))
