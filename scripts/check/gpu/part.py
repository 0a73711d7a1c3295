"""What each part is given: its time, the place of its results, and how it starts weft."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu import child
from gpu.results import Results

ROOT = child.ROOT
MARGIN = 2.0  # seconds of a part's time that stay for its own work after the last child

# A kernel that ran proves more than a device that was found: the module may be built for another one.
PROBE = """
import json, sys, weft
about = {"cuda": weft.config()["cuda"], "emulated": weft.kernels.cuda_emulated()}
if not weft.cuda.is_available():
    sys.exit(weft.cuda.unavailable_reason())
print(json.dumps({**about, "device": weft.cuda.get_device_properties()}), flush=True)
assert float((weft.ones(3, device="cuda") + 1).sum()) == 6
"""


class NotPossible(Exception):
    """A part cannot begin; the message says why in one line."""


class Part:
    """One part of the run. `found` is what is known of it so far and stands in the results."""

    def __init__(self, name: str, seconds: float, settings: argparse.Namespace, results: Results) -> None:
        self.name, self.settings, self.results = name, settings, results
        self._end = time.monotonic() + seconds
        self.found: dict[str, Any] = {"status": "running"}
        try:  # not on the results' disk, which may be full
            self.scratch = Path(tempfile.mkdtemp(prefix=f"weft-{name}-"))
        except OSError:
            self.scratch = Path(tempfile.mkdtemp(prefix=f"weft-{name}-", dir=results.folder))

    def left(self) -> float:
        """Seconds for the next child."""
        return max(self._end - MARGIN - time.monotonic(), 0.1)

    def report(self, **found: Any) -> None:
        """Puts into the results what is known by now."""
        self.found.update(found)
        self.results.data["parts"][self.name] = self.found
        self.results.save()

    def run(
        self,
        command: Sequence[str],
        log: str = "",
        seconds: float | None = None,
        environment: Mapping[str, str] | None = None,
        shown: Callable[[str], bool] = lambda line: False,
        tick: Callable[[], object] = lambda: None,
    ) -> child.Finished:
        """A child with what is left of the part's time, or less."""
        path = self.results.folder / f"{log or self.name}.log"
        most = min(self.left(), seconds) if seconds else self.left()
        return child.run(command, path, most, environment, shown, tick)

    def environment(self) -> dict[str, str]:
        """In which Python imports the built weft, and the folder of the benchmarks."""
        return {"PYTHONPATH": f"{self.settings.build / 'python'}:{ROOT}", "PYTHONUNBUFFERED": "1"}

    def need_device(self) -> None:
        """NotPossible where there is no module, no device, or no kernel runs; else the results know the device."""
        if not list((self.settings.build / "python" / "weft").glob("kernels*.so")):
            raise NotPossible(f"there is no module in {self.settings.build}: the part build has to run first")
        done = self.run([sys.executable, "-c", PROBE], seconds=60, environment=self.environment())
        about = next((json.loads(line) for line in done.tail if line.startswith('{"cuda"')), {})
        if about:
            device = self.results.data["device"]
            device.update(about["device"], cuda=about["cuda"], emulated=about["emulated"])
        if done.status != 0:
            raise NotPossible(done.last() if done.status is not None else "the device does not answer within a minute")


def jobs() -> int:
    """Processes that share the device."""
    return min(8, os.cpu_count() or 1)
