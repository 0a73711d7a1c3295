"""Rows, contestants, and timing. Contestants take turns, so that what else happens on the machine hits all alike."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Run = Callable[[], object]

# Memory-bound rows go round several input sets of this size together: more than the caches hold.
BEYOND_CACHES = 96e6


@dataclass
class Contestant:
    """One way to do the work of a row. `run` does it once; it must end with the result computed."""

    name: str
    run: Run


@dataclass
class Row:
    """One line of a result. Smaller values are better; those that begin with "weft" are ours."""

    suite: str
    name: str
    shape: str
    flop: float = 0.0  # floating-point operations of one run, by the formula whatever the method
    bytes: float = 0.0  # bytes that one run must move at least: inputs once, outputs once
    figure: float | None = None  # the ratio to PyTorch's best mode to reach
    peak: float = 1.0  # operations a second that the machine has for this row, in units of float32's
    at_most: float | None = None  # or the value not to exceed
    unit: str = "s"  # of the values: s, MB
    values: dict[str, float] = field(default_factory=dict)
    percent: float | None = None  # of the machine's limit
    others: float = 0.0  # processors that other programs kept busy meanwhile
    about: dict[str, Any] = field(default_factory=dict)  # what else the measurement gave
    error: str | None = None  # why there is no value of ours

    @property
    def ours(self) -> float:
        """The best of our values; infinite where the row failed."""
        return min((value for name, value in self.values.items() if name.startswith("weft")), default=float("inf"))

    def best_peer(self, name: str = "") -> tuple[str, float] | None:
        """The best contestant that is not weft; with a name, of that peer's modes."""
        peers = [(key, value) for key, value in self.values.items() if key.startswith(name) and key[:4] != "weft"]
        return min(peers, key=lambda peer: peer[1]) if peers else None

    def ratio(self, name: str = "") -> float | None:
        """How many times better than the best peer."""
        peer = self.best_peer(name)
        return peer[1] / self.ours if peer and self.ours < float("inf") else None

    def reached(self) -> bool | None:
        """Whether the row's figure, a ratio to PyTorch, is reached; None where it has none or PyTorch did not run."""
        if self.at_most is not None and self.error is None:
            return self.ours <= self.at_most
        ratio = self.ratio("torch")
        return ratio >= self.figure if self.figure is not None and ratio is not None else None


@dataclass
class Case:
    """A row to be, and what makes its contestants. `measure` replaces the timing of runs where a row is another
    quantity: it gives the row's values."""

    row: Row
    contestants: Callable[[list[str]], list[Contestant]] = lambda modes: []  # given PyTorch's modes
    measure: Callable[[list[str]], dict[str, float]] | None = None


def sets(size: float) -> int:
    """How many input sets of `size` bytes a memory-bound row goes round."""
    return max(1, min(16, round(BEYOND_CACHES / size)))


def in_turn(runs: Sequence[Run]) -> Run:
    """Each call does the next of `runs`."""
    if len(runs) == 1:
        return runs[0]
    endless = itertools.cycle(runs)
    return lambda: next(endless)()


@dataclass
class Effort:
    """How long a row is measured: up to `rounds` turns of `least` seconds for each contestant, three turns at least,
    and no more of them after `budget` seconds."""

    rounds: int = 9
    least: float = 0.1
    budget: float = 6.0


QUICK = Effort(rounds=5, least=0.02, budget=2.0)


def repetitions(run: Run, least: float) -> int:
    """How many runs make one sample of at least `least` seconds. Also warms up."""
    run()
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            run()
        taken = time.perf_counter() - start
        if taken >= least:
            return count
        count = max(count + 1, int(count * min(10.0, 1.2 * least / max(taken, 1e-9))))


def measure(contestants: list[Contestant], effort: Effort) -> dict[str, float]:
    """Median seconds of one run for each contestant."""
    counts = {c.name: repetitions(c.run, effort.least) for c in contestants}
    samples: dict[str, list[float]] = {c.name: [] for c in contestants}
    begun = time.perf_counter()
    for turn in range(effort.rounds):
        if turn >= 3 and time.perf_counter() - begun > effort.budget:
            break
        # Each turn begins with another contestant: none always runs after the same one.
        first = turn % len(contestants)
        for contestant in contestants[first:] + contestants[:first]:
            count = counts[contestant.name]
            time.sleep(0.03)  # the threads of the one before it wait awake for a while
            if count > 1:
                contestant.run()  # brings its data and its threads back
            start = time.perf_counter()
            for _ in range(count):
                contestant.run()
            samples[contestant.name].append((time.perf_counter() - start) / count)
    return {name: statistics.median(values) for name, values in samples.items()}
