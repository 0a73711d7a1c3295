"""Every public callable with plausible and with hostile arguments, in child processes.

A child tries calls of consecutive indices and says before each which one it is at, so a death or a hang belongs to a
call. What it looks at: the kind of an exception and whether its text is of use, arguments that were changed though they
are no outputs, outputs that were not written, and results that the naive kernels or NumPy do not have.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from .arguments import Call, draw_call
from .children import ROOT, Report, environment, stream
from .targets import Target, all_targets

PART = "calls"
PATIENCE = 20.0 if "WEFT_SANITIZED" not in os.environ else 120.0  # seconds for one call
BLOCK = 8000  # calls of one child; each may import PyTorch, which takes as long as thousands of calls


@lru_cache
def targets() -> tuple[Target, ...]:
    return tuple(all_targets())


@lru_cache
def kernels() -> tuple[Target, ...]:
    return tuple(t for t in targets() if t.is_kernel)


def call_of(seed: int, index: int) -> tuple[Target, Call]:
    rng = stream(seed, PART, index)
    target = rng.choice(kernels() if rng.random() < 0.6 else targets())
    return target, draw_call(rng, target)


# --- the parent ---


def child(arguments: list[str]) -> tuple[subprocess.Popen[str], Path]:
    """Starts a child; the file in which it says where it is."""
    handle, name = tempfile.mkstemp()
    os.close(handle)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.attempt", name, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", cwd=ROOT,
        env=environment(), start_new_session=True,
    )  # fmt: skip
    return process, Path(name)


def _watch(process: subprocess.Popen[str], place: Path) -> tuple[str, str, bool]:
    """Output and errors of a child, and whether it hung and was ended."""
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(process.communicate)
        last, since = "", time.monotonic()
        while not ended.done():
            time.sleep(0.05)
            now = place.read_text()
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > PATIENCE + (40 if not now else 0):  # it takes a while to begin
                os.killpg(process.pid, signal.SIGKILL)
                return *ended.result(), True
        return *ended.result(), False


def attempt(report: Report, first: int, count: int, lines: list[str] | None = None) -> list[tuple[int, str]]:
    """Findings among calls of consecutive indices, or of one call given as lines: index and what happened."""
    found: list[tuple[int, str]] = []
    end = first + count
    while first < end:
        given = [str(report.seed), str(first), str(end - first)] + ([json.dumps(lines)] if lines else [])
        process, place = child(given)
        out, err, hung = _watch(process, place)
        at = place.read_text().strip()
        place.unlink()
        for line in out.splitlines():
            if line.startswith("{"):
                told = json.loads(line)
                if "counts" in told:
                    report.counts.update(told["counts"])
                else:
                    found.append((told["index"], told["happened"]))
        if process.returncode == 0 and not hung:
            break
        if not at:
            raise RuntimeError(f"a child does not begin: {err[-2000:]}")
        how = "hangs" if hung else f"dies ({process.returncode}): {_trace(err)}"
        found.append((int(at), how))
        report.counts["deaths and hangs"] += 1
        first = int(at) + 1
    return found


def _trace(err: str) -> str:
    """What a sanitizer, or the fault handler, said."""
    lines = err.strip().splitlines()
    for i, line in enumerate(lines):
        if "runtime error" in line or "ERROR: AddressSanitizer" in line:
            return " | ".join(lines[i : i + 6])
    return " | ".join(line for line in lines if "Fatal" in line or "terminate" in line or "what()" in line)[:300]


def key(target: str, happened: str) -> str:
    """Findings with the same key are one."""
    return f"{target}: {' '.join(happened.split()[:6])[:60]}"


def least(report: Report, index: int, target: Target, call: Call, happened: str) -> Call:
    """The call with what it does not need left out, or made simple."""
    required = {p.name for p in target.parameters if p.required}
    silent = Report(PART, report.seed)
    wanted = key(target.name, happened)

    def still(tried: Call) -> bool:
        told = attempt(silent, index, 1, tried.lines())
        return any(key(target.name, h) == wanted for _, h in told)

    at = 0
    while at < len(call.arguments):
        if call.arguments[at][0] not in required and still(call.without(at)):
            call = call.without(at)
        else:
            at += 1
    return call


def try_block(report: Report, first: int, count: int, known: set[str]) -> None:
    for index, happened in attempt(report, first, count):
        target, call = call_of(report.seed, index)
        if key(target.name, happened) in known:
            continue
        known.add(key(target.name, happened))
        if happened.startswith(("dies", "hangs")) and not attempt(Report(PART, report.seed), index, 1):
            happened += " (not alone: after those before it)"
        else:
            call = least(report, index, target, call, happened)
        report.found(index, "from tests.fuzz.values import *\n" + "\n".join(call.lines()), f"{target.name}: {happened}")


def never_accepted(counts: Counter[str]) -> list[str]:
    """The callables of which no call was accepted."""
    return sorted(t.name for t in targets() if counts[f"accepted {t.name}"] == 0)
