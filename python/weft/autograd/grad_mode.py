"""Whether operations are recorded, in each thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any


class _State(threading.local):
    enabled = True


state = _State()


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return state.enabled


class set_grad_enabled:
    """Switches recording on or off in this thread: at once, or as a context for its block."""

    def __init__(self, mode: bool) -> None:
        self._before = state.enabled
        state.enabled = bool(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        state.enabled = self._before


class _GradMode:
    """A context, and a decorator, within which recording is on or off."""

    _mode: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(state.enabled)
        state.enabled = self._mode

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        state.enabled = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class no_grad(_GradMode):
    """Within this context (or a function decorated with it) nothing is recorded."""

    _mode = False


class enable_grad(_GradMode):
    """Within this context operations are recorded, inside of `no_grad` too."""

    _mode = True
