"""How runs on a device are timed, ours and the peers' alike.

A kernel's time is that of the device, between two events on its stream. Before each sample the second-level cache is
emptied of the operands by reading another array, larger than the cache. Reading, because what a flush writes would lie
in the cache as changed lines, and the kernel that is timed would have to wait for their way to the memory. Both
libraries read the same array, each with its own sum.

The flush also keeps the device busy while the host is on its way to the end of the sample. Where that wasn't long
enough, the first event is over before the host has queued the last one, and host's time may be in the sample: then the
samples are taken again behind a longer flush. How many of them were late in the end is kept with the row.

A training step's time is the host's over many steps, because what the host does between launches is part of it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import weft
import weft.kernels as K
from bench.device import arrays
from bench.measure import Run
from weft.limits import Limits


class Clock(NamedTuple):
    """How to time runs on a library's stream."""

    event: Callable[[], Any]  # makes an event and records it
    reached: Callable[[Any], bool]
    milliseconds: Callable[[Any, Any], float]
    flush: Callable[[], object]
    synchronize: Callable[[], object]


class Effort(NamedTuple):
    """How long a contestant is measured."""

    warm: float  # seconds of running before: the clocks of a device that was idle are low
    device: float  # seconds of samples of a kernel
    fewest: int  # samples
    most: int
    rounds: int  # of a step
    host: float  # seconds of each round


FULL = Effort(warm=0.15, device=0.3, fewest=10, most=50, rounds=5, host=0.2)
QUICK = Effort(warm=0.0, device=0.0, fewest=2, most=2, rounds=2, host=0.0)


class Timing(NamedTuple):
    seconds: float  # the median
    spread: float  # between the quartiles, as a share of the median
    samples: int
    late: int = 0  # samples that may have the host's time in them


def flush_array(quick: bool) -> K.Array:
    """1 GiB, or less of a small device's memory, but several times what any second-level cache holds."""
    elements = 1 << 12 if quick else min(1 << 28, arrays.total_memory() // 64)
    return K.zeros((elements,), "float32", arrays.DEVICE)


def weft_clock(flushed: K.Array) -> Clock:
    def event() -> weft.cuda.Event:
        made = weft.cuda.Event()
        made.record()
        return made

    return Clock(
        event, lambda e: e.query(), lambda a, b: a.elapsed_time(b), partial(K.sum, flushed), weft.cuda.synchronize
    )


def warm_up(run: Run, clock: Clock, effort: Effort) -> float:
    """Runs for a while; the seconds of the last run with the wait for it."""
    begun = time.perf_counter()
    count = 0
    while True:
        start = time.perf_counter()
        run()
        clock.synchronize()
        count += 1
        now = time.perf_counter()
        if count >= 3 and now - begun >= effort.warm:
            return now - start


def timing(samples: list[float], late: int = 0) -> Timing:
    median = statistics.median(samples)
    quartiles = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [median] * 3
    return Timing(median, (quartiles[2] - quartiles[0]) / median if median else 0.0, len(samples), late)


MOST_FLUSHES = 16


def device_time(run: Run, clock: Clock, effort: Effort) -> Timing:
    """The median time of one run on the device, the cache flushed before each."""
    each = warm_up(run, clock, effort)
    count = max(effort.fewest, min(effort.most, int(effort.device / max(each, 1e-9))))
    flushes = 1
    while True:
        marks, late = [], 0
        for _ in range(count):
            for _ in range(flushes):
                clock.flush()
            begin = clock.event()
            run()
            end = clock.event()
            late += clock.reached(begin)
            marks.append((begin, end))
        clock.synchronize()
        if 10 * late <= count or flushes >= MOST_FLUSHES:
            return timing([1e-3 * clock.milliseconds(*mark) for mark in marks], late)
        flushes *= 4


def host_time(run: Run, clock: Clock, effort: Effort) -> Timing:
    """The time of one of many runs, one after the other; the median of several rounds."""
    each = warm_up(run, clock, effort)
    count = max(3, min(5000, math.ceil(effort.host / max(each, 1e-9))))
    rounds = []
    for _ in range(effort.rounds):
        clock.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            run()
        clock.synchronize()
        rounds.append((time.perf_counter() - start) / count)
    return timing(rounds)


def measure_limits(clock: Clock, quick: bool) -> Limits:
    """Multiply-adds in registers, and a copy of 1 GiB (of less on a small device)."""
    effort = QUICK if quick else FULL
    size = 1 << 12 if quick else min(1 << 28, arrays.free_memory() // 64)
    x = K.zeros((size,), "float32", arrays.DEVICE)
    y = K.empty_like(x)
    copied = device_time(partial(K.copy_into, y, x), clock, effort).seconds
    iterations = 100 if quick else 200_000
    flop = sum(K.fma_loop(iterations, arrays.DEVICE).tolist())
    multiplied = device_time(lambda: K.fma_loop(iterations, arrays.DEVICE), clock, effort).seconds
    return Limits(flop / multiplied, 8.0 * size / copied)


def launch_times(fill_one: Run, clock: Clock, quick: bool) -> dict[str, float]:
    """What a launch costs where there is nothing to do, a fill of one element: of the device's time between two
    events, as in the rows of kernels, and of the host's, when many follow one another."""
    effort = QUICK if quick else FULL
    return {
        "device": device_time(fill_one, clock, effort).seconds,
        "host": host_time(fill_one, clock, effort).seconds,
    }
