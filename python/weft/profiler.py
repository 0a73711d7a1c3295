"""Where the time goes: each kernel's launches with their time, work and origin.

with weft.profile() as p:
    train_step(images, labels)
print(p)                               # a table, the longest first
p.export_chrome_trace("trace.json")    # open it at https://ui.perfetto.dev
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import weft.kernels as K

if TYPE_CHECKING:
    from weft.limits import Limits

__all__ = ["Launch", "profile"]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

# Where launches came from, and the number of each: (line of the user's program, function of weft).
_sites: list[tuple[str, str]] = []
_numbers: dict[tuple[str, str], int] = {}


def _site() -> int:
    """The number of the place in the Python program that is launching a kernel now."""
    frame: Any = sys._getframe().f_back
    operation = ""
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        code = frame.f_code
        # The first function of weft above the kernel: Conv2d.forward, for example.
        operation = operation or str(getattr(code, "co_qualname", code.co_name)).replace(".<locals>", "")
        frame = frame.f_back
    line = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
    site = (line, operation)
    number = _numbers.get(site)
    if number is None:
        number = _numbers[site] = len(_sites)
        _sites.append(site)
    return number


K.set_site_hook(_site)


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel.

    name: the operation as it was submitted. kernel: the C++ function; source: its file and line. line: the line of
    Python outside of weft that led here; operation: the function of weft below it. A replay of a capture has those
    of the recording. start: seconds since the profile began; seconds: how long it ran. flop: floating-point
    operations by the formula; bytes: inputs read once, outputs written once.
    """

    name: str
    kernel: str
    source: str
    line: str
    operation: str
    thread: int
    start: float
    seconds: float
    flop: float
    bytes: float

    def percent(self, limits: Limits) -> float:
        """Of what the machine can do at most."""
        return 100 * limits.seconds(self.flop, self.bytes) / self.seconds if self.seconds > 0 else 0.0


class profile:
    """A context that records every launch of a kernel, in every thread, eager or replayed.

    Where none runs, a launch costs one branch more. Inside, a launch costs a few microseconds: what lies between
    kernels looks longer than it is, the kernels themselves do not. RuntimeError inside of another profile.
    """

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        self.seconds = 0.0  # between entering and leaving
        self._begun = 0.0

    def __enter__(self) -> profile:
        K.start_profile()
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun
        sources = K.kernel_sources()
        self.launches = [_launch(row, sources) for row in K.stop_profile()]

    def table(self, limits: Limits | None = None) -> str:
        """One line for each kernel at each place of the program, the longest total time first.

        limits: measured now (about a second) where None.
        """
        from weft.limits import machine_limits

        limits = limits or machine_limits()
        groups: dict[tuple[str, str, str, str], list[Launch]] = {}
        for launch in self.launches:
            key = (launch.kernel, launch.source, launch.operation, launch.line)
            groups.setdefault(key, []).append(launch)
        rows = [["kernel", "calls", "ms", "share", "GFLOP/s", "GB/s", "of limit", "operation", "line", "source"]]
        for key, launches in sorted(groups.items(), key=lambda item: -_total(item[1])):
            rows.append(_line(key, launches, _total(self.launches), limits))
        inside = 1e3 * _total(self.launches)
        end = f"{len(self.launches)} launches, {inside:.3f} ms in kernels of {1e3 * self.seconds:.3f} ms"
        return "\n".join([*_columns(rows), end])

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the launches in Chrome's trace format, which https://ui.perfetto.dev and chrome://tracing read."""
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "thread_name", "pid": 0, "tid": thread, "args": {"name": f"thread {thread}"}}
            for thread in sorted({launch.thread for launch in self.launches})
        ]
        for launch in self.launches:
            events.append(
                {
                    "ph": "X", "name": launch.name, "cat": "kernel", "pid": 0, "tid": launch.thread,
                    "ts": 1e6 * launch.start, "dur": 1e6 * launch.seconds,
                    "args": {
                        "kernel": launch.kernel, "source": launch.source, "operation": launch.operation,
                        "line": launch.line, "flop": launch.flop, "bytes": launch.bytes,
                    },
                }
            )  # fmt: skip
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}))


def _launch(row: tuple[Any, ...], sources: list[tuple[str, str, str, str]]) -> Launch:
    name, entry, isa, thread, site, begin, end, flop, bytes = row
    kernel, source = name, ""
    if entry >= 0:
        entry_name, in_cpu, in_reference, in_cuda = sources[entry]
        space, source = {"reference": ("reference", in_reference), "cuda": ("cuda", in_cuda)}.get(
            isa, (f"cpu::{isa}", in_cpu)
        )
        kernel = f"weft::{space}::{entry_name}"
    line, operation = _sites[site] if site >= 0 else ("", "")
    return Launch(name, kernel, source, line, operation, thread, begin * 1e-9, (end - begin) * 1e-9, flop, bytes)


def _total(launches: Iterable[Launch]) -> float:
    return sum(launch.seconds for launch in launches)


def _line(key: tuple[str, str, str, str], launches: list[Launch], whole: float, limits: Limits) -> list[str]:
    kernel, source, operation, line = key
    seconds = max(_total(launches), 1e-9)
    flop, moved = (sum(getattr(launch, what) for launch in launches) for what in ("flop", "bytes"))
    least = sum(limits.seconds(launch.flop, launch.bytes) for launch in launches)
    folder, _, file = line.rpartition(os.sep)
    return [
        kernel.removeprefix("weft::"), str(len(launches)), f"{1e3 * seconds:.3f}", f"{100 * seconds / whole:.1f}%",
        f"{flop / seconds / 1e9:.1f}", f"{moved / seconds / 1e9:.1f}", f"{100 * least / seconds:.0f}%",
        operation, os.path.join(os.path.basename(folder), file), source,
    ]  # fmt: skip


def _columns(rows: list[list[str]]) -> list[str]:
    """Numbers aligned right, the others left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        sized = enumerate(zip(row, widths, strict=True))
        cells = [cell.rjust(width) if 1 <= i <= 6 else cell.ljust(width) for i, (cell, width) in sized]
        lines.append("  ".join(cells).rstrip())
    return lines
