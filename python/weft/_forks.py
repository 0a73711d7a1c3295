"""What a forked child must put right. Only the thread that forked is there: a lock that another one held would never be
given back, and what it was in the middle of stays half-done."""

from __future__ import annotations

import os
import weakref
from typing import Any

_living: weakref.WeakSet[Any] = weakref.WeakSet()


def register(owner: Any) -> None:
    """owner._after_fork() is called in each forked child, as long as it lives."""
    _living.add(owner)


def left_behind(lock: Any) -> bool:
    """In a child: whether a re-entrant lock is held by a thread that is not there."""
    if not lock.acquire(blocking=False):  # neither free nor this thread's own
        return True
    lock.release()
    return False


def _after_fork() -> None:
    from weft import _uses

    _uses.after_fork()
    for owner in list(_living):
        owner._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
