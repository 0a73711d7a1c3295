"""What this machine can do at most, measured on it: multiply-adds a second, and bytes a second to and from memory.

A kernel that does F operations on B bytes of memory takes at least max(F / flops, B / bandwidth) seconds (the
roofline model: Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", 2009).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

import weft.kernels as K

__all__ = ["Limits", "machine_limits"]

MOVED = 1 << 28  # bytes read and written by one pass: half of it in each array, more than the caches hold


class Limits(NamedTuple):
    """flops: float32 operations a second in registers; bandwidth: bytes a second, read and written ones alike."""

    flops: float
    bandwidth: float

    def seconds(self, flop: float, bytes: float) -> float:
        """The least time for so many operations on so many bytes."""
        return max(flop / self.flops, bytes / self.bandwidth)


def machine_limits() -> Limits:
    """The limits for the number of threads and the instruction set in use; measured once for each (about a second)."""
    return _measured(K.num_threads(), K.isa())


@functools.cache
def _measured(threads: int, isa: str) -> Limits:
    return Limits(_peak(), _bandwidth(threads))


def _best(run: Callable[[], object], rounds: int) -> float:
    """The fewest seconds of `rounds` runs."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _peak() -> float:
    iterations = 4_000_000  # some milliseconds: starting threads takes microseconds
    flop = float(np.asarray(K.fma_loop(iterations, "cpu")).sum())
    return flop / _best(lambda: K.fma_loop(iterations, "cpu"), 40)


def _bandwidth(threads: int) -> float:
    """The better one of copying and of changing in place, each thread its own part; NumPy lets other threads run."""
    source = np.ones(MOVED // 8, np.float32)
    target = np.ones_like(source)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))

    def copy(part: tuple[np.ndarray, np.ndarray]) -> None:
        np.copyto(part[1], part[0])

    def negate(part: tuple[np.ndarray, np.ndarray]) -> None:
        np.negative(part[1], out=part[1])

    with ThreadPoolExecutor(threads) as pool:
        copied = _best(lambda: list(pool.map(copy, parts)), 12)
        negated = _best(lambda: list(pool.map(negate, parts)), 12)
    return MOVED / min(copied, negated)
