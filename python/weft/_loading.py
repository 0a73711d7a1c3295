"""States that are put in place all together or not at all."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import weft.kernels as K
from weft.tensor import Tensor


class Loading:
    """Gives several things the states that were saved of them: `add` reads each state whole and changes nothing; then
    `finish` puts all in place.

    What is weft's has a method `_prepared(state)`, which makes everything new and returns a function that only puts it
    in place and cannot fail. A class with a load_state_dict of its own can fail in it: its turn is first, and if one
    does, all of them get back what they had.
    """

    def __init__(self) -> None:
        self._puts: list[Callable[[], None]] = []
        self._strangers: list[tuple[Any, Any]] = []

    def add(self, thing: Any, state: Any) -> None:
        """ValueError or TypeError for a state that does not fit."""
        if is_ours(thing):
            self._puts.append(thing._prepared(state))
        else:
            self._strangers.append((thing, state))

    def finish(self) -> None:
        before: list[tuple[Any, Any]] = []
        try:
            for thing, state in self._strangers:
                before.append((thing, copied(thing.state_dict())))
                thing.load_state_dict(state)
        except BaseException:
            for thing, state in reversed(before):
                thing.load_state_dict(state)
            raise
        for put in self._puts:
            put()


def is_ours(thing: Any) -> bool:
    """Whether its load_state_dict is weft's own, and that of the schedules in it."""
    if not hasattr(thing, "_prepared") or type(thing).load_state_dict.__module__.partition(".")[0] != "weft":
        return False
    return all(is_ours(part) for part in getattr(thing, "schedulers", ()))


def copied(state: Any) -> Any:
    """A state with memory of its own."""
    if isinstance(state, Tensor):
        return Tensor(K.copy(state.array))
    if type(state) is dict:
        return {key: copied(value) for key, value in state.items()}
    if type(state) in (list, tuple):
        return type(state)(copied(value) for value in state)
    return copy.deepcopy(state)
