"""Every public function, with one argument after another of a wrong kind: what comes out says so, or it works."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
import weft.nn.functional as F
from weft import _checks, autograd, data, models, nn, optim, train
from weft.nn import init, utils
from weft.optim import lr_scheduler

pytestmark = [pytest.mark.cpu, pytest.mark.once]

BAD: tuple[Any, ...] = (
    None, "5", math.nan, 10**30, -(10**30), math.inf, [], -1, 0, True, 1.5, {}, object(), [None], ["a"], (1,),
    (1, 2, 3, 4, 5), 1j,
)  # fmt: skip
ALLOWED = (ValueError, TypeError, IndexError, RuntimeError, OSError)
# These change the process, write files, or look for a network.
LEFT_OUT = {"set_default_device", "save", "load", "profile", "limits", "MNIST", "FashionMNIST", "CIFAR10", "Digits"}
LEFT_OUT |= {"CSVLogger", "Checkpoint", "ResNet18", "ResNet34"}
MODULES: dict[str, ModuleType] = {
    "weft": weft, "nn": nn, "functional": F, "init": init, "utils": utils, "optim": optim, "data": data,
    "lr_scheduler": lr_scheduler, "train": train, "autograd": autograd, "models": models,
}  # fmt: skip


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(K.zeros((2, 2)))]


GIVEN: dict[str, Callable[[], Any]] = {
    "params": parameters,
    "parameters": parameters,
    "optimizer": lambda: optim.SGD(parameters(), 0.1),
    "dataset": lambda: data.ArrayDataset(np.zeros((4, 1, 5, 5), np.uint8), np.zeros(4, int)),
    "target": lambda: weft.zeros(2, dtype="int64"),
    **dict.fromkeys(("in_features", "out_features", "in_channels", "out_channels", "num_features", "T_max"), lambda: 2),
    **dict.fromkeys(("step_size", "total_steps", "kernel_size", "output_size", "size", "channels"), lambda: 2),
}


def value(parameter: inspect.Parameter) -> Any:
    """A right argument, as far as the name tells."""
    if parameter.name in GIVEN:
        return GIVEN[parameter.name]()
    return weft.ones(2, 3) if parameter.default is inspect.Parameter.empty else parameter.default


def calls(function: Any, first: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any, list[Any], dict[str, Any]]]:
    """For each parameter and each wrong value: the arguments of a call."""
    try:
        known = list(inspect.signature(function).parameters.values())[len(first) :]
    except (TypeError, ValueError):
        return
    for parameter in known:
        for bad in BAD:
            positional, named = [*first], {}
            for other in known:
                if other.kind is other.VAR_KEYWORD or (other.kind is other.VAR_POSITIONAL and other is not parameter):
                    continue
                given = bad if other is parameter else value(other)
                if other.kind is other.KEYWORD_ONLY:
                    named[other.name] = given
                else:
                    positional.append(given)
            yield parameter.name, bad, positional, named


def walk(functions: dict[str, Any], first: Callable[[], tuple[Any, ...]] = tuple) -> None:
    wrong = []
    for name, function in functions.items():
        for parameter, bad, positional, named in calls(function, first()):
            try:
                function(*positional, **named)
            except ALLOWED as error:
                if isinstance(error, (RecursionError, NotImplementedError)) or not str(error):
                    wrong.append(f"{name}({parameter}={bad!r}): {error!r}")
            except Exception as error:
                wrong.append(f"{name}({parameter}={bad!r}): {error!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("where", MODULES)
def test_arguments_of_a_wrong_kind(where: str) -> None:
    module = MODULES[where]
    names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    functions = {
        f"{where}.{name}": entry
        for name in names
        if name not in LEFT_OUT and callable(entry := getattr(module, name))
        if getattr(entry, "__module__", "").startswith("weft.") and entry.__module__ != _checks.__name__
        and not (isinstance(entry, type) and issubclass(entry, BaseException))
    }  # fmt: skip
    assert functions
    walk(functions)


@pytest.mark.filterwarnings("ignore")
def test_arguments_of_methods_of_a_wrong_kind() -> None:
    names = [name for name in dir(weft.Tensor) if not name.startswith("_") and callable(getattr(weft.Tensor, name))]
    walk({f"Tensor.{name}": getattr(weft.Tensor, name) for name in names}, lambda: (weft.ones(2, 3),))


def test_what_the_checks_say() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise KeyError("no text")

    for call, text in (
        (lambda: _checks.integer("f", "n", "5"), "f: n must be an int, got '5' (str)"),
        (lambda: _checks.integer("f", "n", True), "f: n must be an int, got True"),
        (lambda: _checks.integer("f", "n", 2.0), "f: n must be an int, got 2.0"),
        (lambda: _checks.integer("f", "n", 0, 1), "f: n must be positive, got 0"),
        (lambda: _checks.integer("f", "n", -1, 0), "f: n must not be negative, got -1"),
        (lambda: _checks.integer("f", "n", 3, 8), "f: n must be 8 at least, got 3"),
        (lambda: _checks.integer("f", "n", 10**5000), "f: n must be 9223372036854775807 at most, got a int"),
        (lambda: _checks.number("f", "x", Odd()), "f: x must be a number, got a Odd"),
        (lambda: _checks.number("f", "x", math.nan), "f: x must be a number, got nan"),
        (lambda: _checks.number("f", "x", 10**400), "f: x must be a number that a float holds, got 1"),
        (lambda: _checks.number("f", "x", weft.ones(2)), "f: x must be one number, got tensor([1., 1.]) (Tensor)"),
        (lambda: _checks.within("f", "p", 2, 0, 1), "f: p must lie in [0, 1], got 2"),
        (lambda: _checks.sequence("f", "xs", "ab"), "f: xs must be a sequence, got 'ab' (str)"),
        (lambda: _checks.choice("f", "m", "c", ("a", "b")), "f: m must be 'a' or 'b', got 'c'"),
        (lambda: _checks.flag("f", "on", "no"), "f: on must be True or False, got 'no' (str)"),
    ):
        with pytest.raises((TypeError, ValueError)) as error:
            call()
        assert str(error.value).startswith(text)
    assert _checks.integer("f", "n", np.int32(3)) == 3
    assert _checks.number("f", "x", np.float32(0.5)) == _checks.number("f", "x", weft.tensor(0.5)) == 0.5
