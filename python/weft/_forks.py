"""What a forked child must put right. Only the thread that forked is there: a lock that another one held would never be
given back, and what it was in the middle of stays half-done."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

# Held while a part of the package is imported at its first use. A fork waits for it: an import that another thread is
# in the middle of would have no end in the child, which waits for that thread's lock of the module.
whole_import = threading.RLock()

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
    os.register_at_fork(
        before=whole_import.acquire, after_in_parent=whole_import.release, after_in_child=whole_import.release
    )
    os.register_at_fork(after_in_child=_after_fork)
