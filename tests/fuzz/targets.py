"""What can be called: the functions and methods of weft.kernels by their stub, those of Python by their signatures."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import weft
import weft.kernels as k

# What ends or changes the process by contract, or waits for something outside of it.
LEFT_OUT = {
    "weft.data.MNIST": "downloads where files are missing; part files reads what it reads",
    "weft.data.FashionMNIST": "as MNIST",
    "weft.data.CIFAR10": "as MNIST",
    "weft.models.ResNet18": "draws 11 million numbers at each call; BasicBlock and all layers are called",
    "weft.models.ResNet34": "as ResNet18",
    "weft.models.ResNet": "as ResNet18",
    "weft.models.ResNet.reset_parameters": "as ResNet18",
    "weft.models.ResNet.forward": "as ResNet18",
    "weft.data.Digits": "imports scikit-learn, and has one int for an argument",
    "optim.Optimizer": "a base: its subclasses are made",
    "optim.lr_scheduler.LRScheduler": "a base, too",
    "nn.Module.forward": "a base's, which only says so",
    "weft.set_default_device": "k.set_default_device is called",
    "weft.Tensor": "takes an Array unseen, for each operation makes one; its methods are called",
    "k.CudaStream.synchronize": "needs a device; so do the next ones",
    "k.CudaStream.query": "a device",
    "k.CudaStream.wait_stream": "a device",
    "k.CudaStream.device": "a device",
    "k.CudaStream.handle": "a device",
}
# Options that say how long to work: (target, parameter) to the largest number that may be asked for.
BOUNDED = {("k.fma_loop", "iterations"): 1000}

MODULES = (
    "weft", "weft.nn", "weft.nn.functional", "weft.nn.init", "weft.nn.utils", "weft.optim", "weft.optim.lr_scheduler",
    "weft.data", "weft.train", "weft.autograd", "weft.models",
)  # fmt: skip
_SHORT = {"weft.nn.functional": "F", "weft.nn": "nn", "weft.optim": "optim"}
_UNCALLED = {
    "__init__", "__new__", "__getattr__", "__setattr__", "__delattr__", "__init_subclass__", "__subclasshook__",
    "__class_getitem__", "__getstate__", "__setstate__", "__reduce__", "__del__", "__getattribute__", "__dir__",
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    name: str
    annotation: str
    required: bool
    kind: str  # "positional", "keyword" or "rest"


@dataclass(frozen=True)
class Target:
    """Something to call: its name, the parameters, and of which class it is a method."""

    name: str
    parameters: tuple[Parameter, ...]
    owner: str | None = None  # of a method: the class, as it is called
    makes: str | None = None  # of a constructor: the class

    @property
    def short(self) -> str:
        return self.name.rsplit(".", 1)[-1] if not self.name.endswith(".__get__") else self.name.split(".")[-2]

    @property
    def is_kernel(self) -> bool:
        return self.name.startswith("k.")


def stub() -> Path:
    return Path(weft.__file__).parent / "kernels.pyi"


def of_stub(text: str, module: str = "k") -> list[Target]:
    """All functions, constructors, methods and properties that a stub declares."""
    found: dict[str, Target] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            found[f"{module}.{node.name}"] = Target(f"{module}.{node.name}", _declared(node))
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            kind = f"{module}.{node.name}"
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    target = _of_class(kind, item)
                    if target is not None:
                        found.setdefault(target.name, target)
    return [t for name, t in found.items() if name not in LEFT_OUT]


def _of_class(kind: str, item: ast.FunctionDef) -> Target | None:
    if item.name == "__init__":
        return Target(kind, _declared(item)[1:], makes=kind)
    if item.name in _UNCALLED:
        return None
    decorators = [ast.unparse(d) for d in item.decorator_list]
    if "property" in decorators:
        return Target(f"{kind}.{item.name}.__get__", _declared(item), owner=kind)
    return Target(f"{kind}.{item.name}", _declared(item), owner=kind)


def _declared(node: ast.FunctionDef) -> tuple[Parameter, ...]:
    found = []
    positional = [*node.args.posonlyargs, *node.args.args]
    missing = len(positional) - len(node.args.defaults)
    for i, a in enumerate(positional):
        found.append(Parameter(a.arg, ast.unparse(a.annotation) if a.annotation else "", i < missing, "positional"))
    for a, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        annotation = ast.unparse(a.annotation) if a.annotation else ""
        found.append(Parameter(a.arg, annotation, default is None, "keyword"))
    return tuple(found)


@lru_cache
def of_python() -> tuple[Target, ...]:
    """All public callables of the Python modules; each function once, however many classes inherit it."""
    found: dict[str, Target] = {}
    seen: set[Any] = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        short = _SHORT.get(module_name, module_name.replace("weft.nn.", "nn.").replace("weft.optim.", "optim."))
        for name in getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]:
            value = getattr(module, name)
            if not callable(value) or not getattr(value, "__module__", "").startswith("weft"):
                continue
            if value.__module__ in ("weft.kernels", "weft._checks") or value in seen:
                continue
            seen.add(value)
            for target in _of_value(f"{short}.{name}", value, seen):
                found.setdefault(target.name, target)
    return tuple(t for name, t in found.items() if name not in LEFT_OUT and f"weft.{name}" not in LEFT_OUT)


def _long(name: str) -> str:
    module = name.rsplit(".", 1)[0]
    return next(
        (long for long, short in _SHORT.items() if short == module),
        module.replace("nn.", "weft.nn.").replace("optim.", "weft.optim."),
    )


def _of_value(name: str, value: Any, seen: set[Any]) -> Iterator[Target]:
    if not inspect.isclass(value):
        yield Target(name, _inspected(value))
        return
    if issubclass(value, BaseException):
        return
    yield Target(name, _inspected(value), makes=name)
    for kind in value.__mro__:
        if not kind.__module__.startswith("weft") or kind is weft.Array:
            continue
        # By the class that defines it, where that has a public name.
        public = getattr(importlib.import_module(_long(name)), kind.__name__, None) is kind
        name = f"{name.rsplit('.', 1)[0]}.{kind.__name__}" if public else name
        for key, member in vars(kind).items():
            operator = key.startswith("__") and key.endswith("__") and key not in _UNCALLED
            if key.startswith("_") and not operator:
                continue
            if isinstance(member, property):
                if member not in seen:
                    seen.add(member)
                    only_self = (Parameter("self", "", True, "positional"),)
                    yield Target(f"{name}.{key}.__get__", only_self, owner=name)
            elif inspect.isfunction(member) and member not in seen:
                seen.add(member)
                yield Target(f"{name}.{key}", _inspected(member), owner=name)


def _inspected(function: Any) -> tuple[Parameter, ...]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ()
    kinds = {inspect.Parameter.KEYWORD_ONLY: "keyword", inspect.Parameter.VAR_POSITIONAL: "rest"}
    return tuple(
        Parameter(
            p.name,
            p.annotation if isinstance(p.annotation, str) else getattr(p.annotation, "__name__", ""),
            p.default is inspect.Parameter.empty and p.kind != inspect.Parameter.VAR_POSITIONAL,
            kinds.get(p.kind, "positional"),
        )
        for p in signature.parameters.values()
        if p.kind != inspect.Parameter.VAR_KEYWORD
    )


def all_targets() -> list[Target]:
    return [*of_stub(stub().read_text()), *of_python()]


assert k.__name__ == "weft.kernels"  # `k` is what the names above begin with
