"""Checks of arguments that all of the Python layer shares. Each returns the value as it is used from there on, or
raises TypeError for another kind of value and ValueError for one out of range; the text says who, what is allowed, and
what was given."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

LARGEST = 2**63 - 1  # of the integers that arrays and kernels take


def shown(value: Any) -> str:
    """A value in a message: short, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a stranger's __repr__, or an int of too many digits
        return f"a {type(value).__name__}"
    if len(text) > 80:
        text = f"{text[:77]}..."
    return text if isinstance(value, (bool, int, float, type(None))) else f"{text} ({type(value).__name__})"


def integer(who: str, name: str, value: Any, least: int | None = None, most: int = LARGEST) -> int:
    """An int, also NumPy's; no bool, and no float, not even a whole one."""
    if isinstance(value, bool):
        raise TypeError(f"{who}: {name} must be an int, got {value}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{who}: {name} must be an int, got {shown(value)}") from None
    if least is not None and number < least:
        rule = "positive" if least == 1 else "not negative" if least == 0 else f"{least} at least"
        rule = "must not be negative" if least == 0 else f"must be {rule}"
        raise ValueError(f"{who}: {name} {rule}, got {shown(number)}")
    if number > most or number < -LARGEST - 1:
        raise ValueError(f"{who}: {name} must be {most} at most, got {shown(number)}")
    return number


def number(
    who: str, name: str, value: Any, least: float | None = None, finite: bool = False, nan: bool = False
) -> float:
    """A number as a float, also NumPy's or a tensor of one element; no bool, no text, no NaN but where that is said."""
    kind = type(value)
    if issubclass(kind, (bool, str, bytes, bytearray)) or not (
        hasattr(kind, "__float__") or hasattr(kind, "__index__")
    ):
        raise TypeError(f"{who}: {name} must be a number, got {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        raise ValueError(f"{who}: {name} must be a number that a float holds, got {shown(value)}") from None
    except (TypeError, ValueError):  # not RuntimeError: within a capture it says that nothing may be read
        raise TypeError(f"{who}: {name} must be one number, got {shown(value)}") from None
    if least is not None and not found >= least:
        rule = "not be negative" if least == 0 else f"be {least} at least"
        raise ValueError(f"{who}: {name} must {rule}, got {shown(value)}")
    if (math.isnan(found) and not nan) or (finite and math.isinf(found)):
        raise ValueError(f"{who}: {name} must be {'finite' if finite else 'a number'}, got {shown(value)}")
    return found


def within(who: str, name: str, value: Any, low: float, high: float) -> Any:
    """A number between two others, or one of them."""
    if not low <= number(who, name, value, nan=True) <= high:
        raise ValueError(f"{who}: {name} must lie in [{low}, {high}], got {shown(value)}")
    return value


def positive(who: str, name: str, value: Any) -> Any:
    """A number above 0."""
    if not number(who, name, value, nan=True) > 0:
        raise ValueError(f"{who}: {name} must be positive, got {shown(value)}")
    return value


def shape_of(who: str, name: str, value: Any) -> tuple[int, ...]:
    """The shape of a tensor or an array."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple):
        raise TypeError(f"{who}: {name} must be a tensor, got {shown(value)}")
    return shape


def flag(who: str, name: str, value: Any) -> bool:
    """True or False, also as 1 or 0."""
    if isinstance(value, (bool, int)) and value in (0, 1):
        return bool(value)
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    raise TypeError(f"{who}: {name} must be True or False, got {shown(value)}")


def choice(who: str, name: str, value: Any, allowed: Sequence[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in allowed:
        words = ", ".join(map(repr, allowed[:-1])) + f" or {allowed[-1]!r}"
        raise ValueError(f"{who}: {name} must be {words}, got {shown(value)}")
    return value


def instance(who: str, name: str, value: Any, kind: type | tuple[type, ...], called: str = "") -> Any:
    """A value of some kind."""
    if not isinstance(value, kind):
        called = called or (kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind))
        raise TypeError(f"{who}: {name} must be a {called}, got {shown(value)}")
    return value


def function(who: str, name: str, value: Any) -> Any:
    """What can be called."""
    if not callable(value):
        raise TypeError(f"{who}: {name} must be callable, got {shown(value)}")
    return value


def sequence(who: str, name: str, value: Any) -> list[Any]:
    """The values of anything that can be gone through, but for text."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{who}: {name} must be a sequence, got {shown(value)}")
    try:
        return list(value)
    except TypeError:
        raise TypeError(f"{who}: {name} must be a sequence, got {shown(value)}") from None


# --- what was saved ---


class Saved:
    """A state that was saved, read entry by entry. What is wrong with it is a ValueError, of whatever kind: a state is
    data, which may be damaged."""

    def __init__(self, who: str, state: Any, what: str = "the state") -> None:
        if not isinstance(state, Mapping):
            raise TypeError(f"{who}: {what} must be a dict, got {shown(state)}")
        self.who, self.what, self.state = who, what, state

    def entry(self, name: Any) -> Any:
        if name not in self.state:
            raise ValueError(f"{self.who}: {self.what} has no {name!r}; there are {', '.join(map(str, self.state))}")
        return self.state[name]

    def integer(self, name: str, least: int | None = None, most: int = LARGEST) -> int:
        return as_data(integer, self.who, f"{self.what}'s {name}", self.entry(name), least, most)  # type: ignore[no-any-return]

    def number(self, name: str, least: float | None = None) -> float:
        return as_data(number, self.who, f"{self.what}'s {name}", self.entry(name), least)  # type: ignore[no-any-return]

    def text(self, name: str) -> str:
        return as_data(instance, self.who, f"{self.what}'s {name}", self.entry(name), str)  # type: ignore[no-any-return]

    def part(self, name: Any) -> Saved:
        value = self.entry(name)
        return as_data(Saved, self.who, value, f"{self.what}'s {name}")  # type: ignore[no-any-return]

    def items(self, name: str, length: int | None = None) -> list[Any]:
        value = self.entry(name)
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{self.who}: {self.what}'s {name} must be a list, got {shown(value)}")
        if length is not None and len(value) != length:
            raise ValueError(f"{self.who}: {self.what}'s {name} must have {length} entries, got {len(value)}")
        return [*value]

    def numbers(self, name: str, length: int) -> list[float]:
        values = self.items(name, length)
        return [as_data(number, self.who, f"{self.what}'s {name}[{i}]", v) for i, v in enumerate(values)]


def as_data(check: Any, *args: Any) -> Any:
    """A check's result; its TypeError as a ValueError."""
    try:
        return check(*args)
    except TypeError as error:
        raise ValueError(str(error)) from error
