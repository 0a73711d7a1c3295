"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from weft._checks import instance, integer, sequence
from weft.nn import fusion
from weft.nn.module import Module

S = TypeVar("S", bound="_Numbered")


class Identity(Module):
    """Returns its input. Takes and ignores any arguments, so that it can stand in for another layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class _Numbered(Module):
    """Modules named "0", "1", ... (or by the keys that Sequential was given)."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def _key(self, index: int) -> str:
        index = integer(type(self).__name__, "an index", index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(self)} modules")
        return list(self._modules)[index]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        """One module, or for a slice a container of the same modules (shared, not copied)."""
        if not isinstance(index, slice):
            return self._modules[self._key(index)]
        part: Any = Sequential() if isinstance(self, Sequential) else type(self)()  # a subclass makes its own layers
        kept = list(self._modules.items())[index]
        for i, (name, module) in enumerate(kept):
            part.add_module(name if isinstance(self, Sequential) else str(i), module)
        return part

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)[index] if isinstance(index, slice) else [self._key(index)]
        kept = [(name, module) for name, module in self._modules.items() if name not in names]
        numbered = all(name.isdigit() for name in self._modules)
        self._modules.clear()
        for i, (name, module) in enumerate(kept):
            self._modules[str(i) if numbered else name] = module

    def append(self: S, module: Module) -> S:
        """Adds a module at the end; returns the container."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: S, modules: Iterable[Module]) -> S:
        """Adds modules at the end; returns the container."""
        for module in sequence(type(self).__name__, "modules", modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Puts a module before `index`; those behind it move on by one number."""
        entries = list(self._modules.values())
        entries.insert(integer(type(self).__name__, "an index", index), module)
        self.append(module)  # checks it
        self._modules.clear()
        self._modules.update({str(i): entry for i, entry in enumerate(entries)})


class Sequential(_Numbered):
    """Applies modules one after the other: Sequential(a, b, ...), or Sequential({"first": a, ...}).

    Modules for which there is one operation together, as Conv2d, ReLU and MaxPool2d, run as that (weft.nn.fusion).
    model[1] is a module, model[:2] a Sequential of the same modules.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        named = len(modules) == 1 and isinstance(modules[0], Mapping)
        for name, module in modules[0].items() if named else enumerate(modules):
            self.add_module(str(name), module)

    def forward(self, input: Any) -> Any:
        modules = tuple(self._modules.values())
        if not fusion.is_fusion_enabled():
            for module in modules:
                input = module(input)  # type: ignore[misc]
            return input
        planned, plan = self.__dict__.get("_plan", (None, None))
        if planned != modules:
            plan = fusion.plan(modules)
            self.__dict__["_plan"] = modules, plan
        return fusion.run(modules, plan, input)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_plan"}


class ModuleList(_Numbered):
    """A list of modules whose parameters are found. It has no forward."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class ModuleDict(Module):
    """A dict of modules whose parameters are found. It has no forward."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """(name, module) pairs."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module]) -> None:
        """Adds or replaces modules by name."""
        for key, module in instance("ModuleDict", "modules", modules, Mapping, "dict").items():
            self.add_module(key, module)

    def pop(self, key: str) -> Any:
        """Removes a module and returns it. KeyError where there is none."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Removes all modules."""
        self._modules.clear()
