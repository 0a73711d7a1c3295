"""Child processes in which inputs are tried, and what is told of those that break something."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Finding:
    """An input that broke something: how it is made again, what it is, what happened."""

    part: str
    seed: int
    index: int
    lines: str  # of Python, that run by themselves
    happened: str

    def __str__(self) -> str:
        indented = "\n".join("    " + line for line in self.lines.strip().splitlines())
        return f"{self.part}, seed {self.seed}, index {self.index}: {self.happened}\n{indented}"


@dataclass
class Report:
    """What a part did: how many inputs of which outcome, and the findings."""

    part: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def found(self, index: int, lines: str, happened: str) -> None:
        self.findings.append(Finding(self.part, self.seed, index, lines, happened))


def stream(seed: int, part: str, index: int) -> random.Random:
    """Random numbers for one input, whatever else is tried."""
    return random.Random(f"{seed} {part} {index}")


@dataclass
class Done:
    """How a child ended."""

    code: int  # negative: the signal that killed it; of a hang -SIGALRM
    out: str
    err: str

    @property
    def happened(self) -> str:
        """In a line: the last of its errors, or its death."""
        if self.code < 0:
            name = signal.Signals(-self.code).name
            return "hangs" if self.code == -signal.SIGALRM else f"dies of {name}: {self.err.strip()[-300:]}"
        return (self.err.strip().splitlines() or [f"exit code {self.code}"])[-1]


def environment() -> dict[str, str]:
    """Of a child: what this process has, its paths, and that a death says where."""
    path = os.pathsep.join([str(ROOT), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"}


def run(script: str, arguments: tuple[str, ...] = (), seconds: float = 60.0) -> Done:
    """Runs a script in a new Python, with this process's paths; ends it and all that it started when time is over."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env=environment(), cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = child.communicate(timeout=seconds)
        return Done(child.returncode, out, err)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        return Done(-signal.SIGALRM, out, err)
