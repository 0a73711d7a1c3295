"""The test suite on the device: those of the CUDA kernels first, so that a suite that is cut short has them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import emulate_cuda

from gpu.part import NotPossible, Part, jobs

PLUGIN = Path(__file__).resolve().parent / "plugin"
MOST_FAILURES = 100  # a build that is wrong everywhere need not fail four thousand times
# What matters most last: a test that failed and then took its process with it counts as the latter.
ORDER = ("skipped", "xfailed", "passed", "failed", "error", "crashed", "device lost", "hanging")
GOOD = ("skipped", "xfailed", "passed")


def files() -> list[str]:
    """All tests that concern a device, those of CUDA first."""
    return sorted(emulate_cuda.files(), key=lambda name: (not name.startswith(f"{emulate_cuda.CUDA}/"), name))


def pytest_command(processes: int, tests: list[str]) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "recorder", "-p", "no:cacheprovider",
               f"--maxfail={MOST_FAILURES}"]  # fmt: skip
    if importlib.util.find_spec("xdist"):
        # Few at a time, so that they run in about this order.
        command += ["-n", str(processes), "--maxschedchunk=8", f"--max-worker-restart={MOST_FAILURES}"]
    return [*command, *tests]


def environment(part: Part, record: Path, seconds: float) -> dict[str, str]:
    given = part.environment()
    added = {"WEFT_TEST_DEVICE": "cuda", "WEFT_RECORD": str(record), "WEFT_TEST_SECONDS": str(seconds)}
    # The processes share the processors too.
    added["OMP_NUM_THREADS"] = str(max(2, (os.cpu_count() or 1) // jobs()))
    if part.settings.emulated:
        added["WEFT_EMULATED_ORDER"] = "forward"
    return {**given, **added, "PYTHONPATH": f"{given['PYTHONPATH']}:{PLUGIN}"}


def suite(part: Part) -> dict[str, Any]:
    if importlib.util.find_spec("pytest") is None:
        raise NotPossible("pytest is not installed: pip install pytest pytest-xdist hypothesis")
    part.need_device()
    record = part.scratch / "tests.jsonl"
    tests = shlex.split(part.settings.tests) or files()
    done = part.run(
        pytest_command(jobs(), tests),
        environment=environment(part, record, part.settings.test_seconds),
        shown=lambda line: bool(re.search(r"\d%\]$|^(FAILED|ERROR)|crashed while|^=* ?\d+ (passed|failed)", line)),
        tick=lambda: part.report(**summary(record)),
    )
    found = summary(record)
    bad = sum(found["counts"].get(outcome, 0) for outcome in ORDER if outcome not in GOOD)
    status = "out of time" if done.status is None else "passed" if done.status == 0 and not bad else "failed"
    reason = in_words(found)
    if any("stopping after" in line for line in done.tail):
        reason += f"; stopped after {MOST_FAILURES} failures"
    if done.status not in (0, 1, None):
        reason += f"; pytest: {done.how()}: {done.last()}"
    return {"status": status, "reason": reason, **found}


def entries(record: Path) -> list[dict[str, Any]]:
    """The whole lines of the plugin's file."""
    found = []
    try:
        lines = record.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def summary(record: Path) -> dict[str, Any]:
    """Counts, and the text of what failed; which tests were running when it ended."""
    collected, started = 0, set()
    outcome: dict[str, str] = {}
    text: dict[str, list[str]] = {}
    seconds: Counter[str] = Counter()
    for entry in entries(record):
        if entry["event"] == "collected":
            collected = entry["count"]
        elif entry["event"] == "start":
            started.add(entry["test"])
        else:
            test, now = entry["test"], entry["outcome"]
            outcome[test] = max(outcome.get(test, now), now, key=ORDER.index)
            text.setdefault(test, []).append(entry["text"])
            seconds[test] += entry.get("seconds", 0.0)
    notes = left_notes(record)
    for test in (started - set(outcome)) & set(notes):
        outcome[test], text[test] = "hanging", [notes[test]]
    failures = [
        {"test": test, "outcome": how, "text": "\n".join(filter(None, text[test]))[-8000:]}
        for test, how in outcome.items()
        if how not in GOOD
    ]
    skipped = Counter(text[test][-1] for test, how in outcome.items() if how == "skipped")
    return {
        "collected": collected,
        "counts": dict(Counter(outcome.values())),
        "unfinished": sorted(started - set(outcome)),
        "not_started": max(0, collected - len(started | set(outcome))),
        "failures": failures,
        "skipped_for": dict(skipped.most_common()),
        "slowest": dict(seconds.most_common(10)),
    }


def left_notes(record: Path) -> dict[str, str]:
    """Why a process of tests ended that nobody replaced, by the test it was in."""
    found = {}
    for path in record.parent.glob(f"{record.name}.*"):
        test, _, text = path.read_text(errors="replace").partition("\n")
        if text:
            found[test] = text
    return found


def in_words(found: dict[str, Any]) -> str:
    counts = found["counts"]
    parts = [f"{counts[name]} {name}" for name in ("passed", *reversed(ORDER[3:]), "skipped") if counts.get(name)]
    memory = sum(re.search("MemoryError|out of memory", failure["text"]) is not None for failure in found["failures"])
    if memory:
        parts.append(f"{memory} of them for want of memory")
    if found["unfinished"]:
        parts.append(f"{len(found['unfinished'])} unfinished")
    if found["not_started"]:
        parts.append(f"{found['not_started']} not started")
    hanging = [failure["test"] for failure in found["failures"] if failure["outcome"] == "hanging"]
    if hanging:
        parts.append(f"hanging: {', '.join(hanging[:3])}")
    return ", ".join(parts) or "no test ran"
