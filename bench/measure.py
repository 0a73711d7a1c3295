"""Timing. Contestants take turns, so that what else happens on the machine hits all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Contestant:
    """One way to do the work of a row. `run` does it once; it must end with the result computed."""

    name: str
    run: Callable[[], object]


@dataclass
class Row:
    """One line of a result: times in seconds, the median over the rounds."""

    suite: str
    name: str
    shape: str
    seconds: dict[str, float] = field(default_factory=dict)
    flop: float = 0.0  # floating-point operations of one run, 0 where bytes say more
    bytes: float = 0.0  # bytes that one run must move at least

    @property
    def ours(self) -> float:
        return self.seconds["weft"]

    def best_peer(self) -> tuple[str, float] | None:
        """The fastest contestant that is not weft."""
        peers = [(name, s) for name, s in self.seconds.items() if name != "weft"]
        return min(peers, key=lambda peer: peer[1]) if peers else None

    def ratio(self) -> float | None:
        """How many times faster than the best peer."""
        peer = self.best_peer()
        return peer[1] / self.ours if peer else None


def repetitions(run: Callable[[], object], least: float) -> int:
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


def measure(contestants: list[Contestant], *, rounds: int, least: float) -> dict[str, float]:
    """Median seconds of one run for each contestant, over `rounds` turns of at least `least` seconds each."""
    counts = {c.name: repetitions(c.run, least) for c in contestants}
    samples: dict[str, list[float]] = {c.name: [] for c in contestants}
    for turn in range(rounds):
        # Each turn begins with another contestant: none always runs after the same one.
        order = contestants[turn % len(contestants) :] + contestants[: turn % len(contestants)]
        for contestant in order:
            contestant.run()  # brings its data and its threads back
            count = counts[contestant.name]
            start = time.perf_counter()
            for _ in range(count):
                contestant.run()
            samples[contestant.name].append((time.perf_counter() - start) / count)
    return {name: statistics.median(values) for name, values in samples.items()}
