"""What the numbers were measured on."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import weft.kernels as K
from bench.host import commit, processor


class Others:
    """A context that finds out how many processors other programs kept busy: then the numbers are not worth much."""

    share = 0.0

    def __enter__(self) -> Others:
        self._before = self._times()
        return self

    def __exit__(self, *_: object) -> None:
        wall, busy, own = (after - before for before, after in zip(self._before, self._times(), strict=True))
        self.share = max(0.0, (busy - own) / wall) if wall > 0 else 0.0

    @staticmethod
    def _times() -> tuple[float, float, float]:
        """Seconds: of the clock, of all processors together, of this process and its children."""
        own = os.times()
        try:
            user, nice, system, _, _, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
        except (OSError, ValueError):
            return own.elapsed, sum(own[:4]), sum(own[:4])
        ticks = sum(int(value) for value in (user, nice, system, irq, softirq, steal))
        return own.elapsed, ticks / os.sysconf("SC_CLK_TCK"), sum(own[:4])


CLOCKS = "name,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,power.draw,temperature.gpu"


def gpu_clocks() -> dict[str, str] | str:
    """What nvidia-smi says of the first device: clocks in MHz, power in W, degrees; why not where it says nothing."""
    try:
        command = ["nvidia-smi", f"--query-gpu={CLOCKS}", "--format=csv,noheader,nounits"]
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi: {error}"[:200]
    lines = answer.strip().splitlines()
    return dict(zip(CLOCKS.split(","), lines[0].split(", "), strict=False)) if lines else "nvidia-smi: no device"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("weft", "numpy", "torch", "jax"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": K.num_threads(),
        "isa": K.isa(),
        "versions": versions(),
    }
