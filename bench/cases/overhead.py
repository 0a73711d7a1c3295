"""What is left where there is nothing to compute: calls, import, disk, memory."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import weft
from bench.cases.steps import data, weft_step
from bench.host import ROOT
from bench.measure import Case, Contestant, Row
from bench.peers import chosen, torch_peer

TINY = (8, 16, 4)  # features of the tiny perceptron
TINY_BATCH = 4


def one_add() -> Case:
    def contestants(modes: list[str]) -> list[Contestant]:
        values = np.ones(4, np.float32)
        a, b = weft.tensor(values), weft.tensor(values)

        def make(mode: str) -> Any:
            x, y = chosen.torch.from_numpy(values.copy()), chosen.torch.from_numpy(values.copy())
            return (lambda: x + y) if mode == "eager" else None

        return [Contestant("weft", lambda: a + b), *chosen.torch_runs(modes, make)]

    return Case(Row("overhead", "one eager add", "4", flop=4, bytes=48, figure=1), contestants)


def tiny_step(captured: bool, figure: float) -> Case:
    """Forward, loss, backward and update of a tiny perceptron."""

    def contestants(modes: list[str]) -> list[Contestant]:
        images, labels = data(TINY_BATCH, TINY[0], classes=TINY[-1])
        return [
            Contestant("weft", weft_step(weft.models.MLP(TINY), images, labels, captured)),
            *chosen.torch_runs(
                modes, lambda mode: torch_peer.training_step(torch_peer.mlp(*TINY), images, labels, mode)
            ),
        ]

    name = f"tiny MLP {'-'.join(map(str, TINY))}, training step, {'' if captured else 'not '}captured"
    return Case(Row("overhead", name, f"batch {TINY_BATCH}", figure=figure), contestants)


def in_new_process(code: str) -> float:
    """What a program prints last, as a number."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def import_seconds(package: str) -> float:
    return in_new_process(f"""
        import time
        start = time.perf_counter()
        import {package}
        print(time.perf_counter() - start)
    """)


def installed(package: str) -> float:
    """Megabytes of a package's files, caches of bytecode left out."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    files = (path for path in Path(found.origin).parent.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if "__pycache__" not in path.parts) / 1e6


# The high-water mark of a process is its own only in VmHWM: getrusage counts the parent's memory at the fork.
PEAK_MEMORY = """
    import numpy as np
    {imports}
    images = np.random.default_rng(0).normal(size=(1024, 1, 28, 28)).astype(np.float32)
    step = {step}
    for _ in range(5):
        step()
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
WEFT_MEMORY = PEAK_MEMORY.format(
    imports="import weft; from bench.cases.steps import weft_step",
    step="weft_step(weft.models.LeNet5(), images, np.arange(1024) % 10, captured=True)",
)
TORCH_MEMORY = PEAK_MEMORY.format(
    imports="from bench.peers import torch_peer",
    step="torch_peer.training_step(torch_peer.lenet(), images, np.arange(1024) % 10, 'eager')",
)


def medians(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    samples = [{name: run() for name, run in runs.items()} for _ in range(rounds)]
    return {name: statistics.median(sample[name] for sample in samples) for name in runs}


def packages() -> list[str]:
    return ["weft", "torch"] if chosen.have("torch") else ["weft"]


def peak_memory(modes: list[str]) -> dict[str, float]:
    """Megabytes that a process held at most, training LeNet-5 on batches of 1024."""
    programs = {"weft": WEFT_MEMORY, "torch": TORCH_MEMORY}
    return {name: in_new_process(programs[name]) / 1e3 for name in packages()}


def cases(quick: bool) -> Iterator[Case]:
    yield one_add()
    yield tiny_step(False, 1)
    yield tiny_step(True, 10)
    rounds = 1 if quick else 5
    yield Case(
        Row("overhead", "import", "new process", at_most=0.15),
        measure=lambda modes: medians({p: partial(import_seconds, p) for p in packages()}, rounds),
    )
    yield Case(
        Row("overhead", "installed size", "files", at_most=10, unit="MB"),
        measure=lambda modes: {package: installed(package) for package in packages()},
    )
    yield Case(
        Row("overhead", "LeNet-5 training, peak resident memory", "batch 1024", figure=1, unit="MB"),
        measure=peak_memory,
    )
