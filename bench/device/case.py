"""A row of a device to be, and the contestants that its time is measured of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.measure import Row, Run


class Entry(NamedTuple):
    """A contestant to be. It is made when its turn comes, and gone before the next one's."""

    name: str
    make: Callable[[], Run]
    compiles: bool = False  # takes a compiler's seconds
    compared: bool = True  # whether the result of its first run is that of the others


@dataclass
class Case:
    """`entries` makes the contestants, ours first, then PyTorch's (where it takes part)."""

    row: Row
    entries: Callable[[], Sequence[Entry]] = lambda: ()
    tolerance: float | None = None  # of the results' largest difference, as a share of the largest element
    host: bool = False  # timed by the host's clock
    copied: bool = False  # the limit is that of a copy of as many bytes, measured beside
    measure: Callable[[], dict[str, float]] | None = None  # in place of contestants: the row's values
