"""compute-sanitizer's four tools over the kernels' tests, one after the other: memcheck, which finds most, first."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gpu import machine
from gpu.child import say
from gpu.part import PROBE, Part, jobs
from gpu.suite import environment, files, in_words, pytest_command, summary

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SLOWER = 5  # times that a test may take longer than in the suite
SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)")
# What it says where it cannot do its work; else nothing is known of the kernels.
CANNOT = re.compile(
    r"unable to attach|not supported|terminated before first instrumented|could not|cannot |failed to|"
    r"internal (sanitizer )?error|insufficient|no attachable process",
    re.IGNORECASE,
)
# Other lines of its own that are no finding.
PLAIN = re.compile(r"COMPUTE-SANITIZER|SUMMARY|Target application returned|Process (did not|stopped)|^=+ *$|"
                   r"No errors|LEAK SUMMARY|Sanitizer (version|shared)")  # fmt: skip


def sanitizer(part: Part) -> dict[str, Any]:
    if part.settings.emulated:
        return {"status": "not run", "reason": "the emulated device is no GPU; make emulated-checked has its own tools"}
    path = machine.tool("compute-sanitizer")
    if path is None:
        return {"status": "not run", "reason": "compute-sanitizer is not installed"}
    part.need_device()
    tests = shlex.split(part.settings.tests) or [name for name in files() if "test_cuda_" in name]
    tools: dict[str, Any] = {}
    for at, tool in enumerate(TOOLS):
        start, left = time.monotonic(), part.left()
        # memcheck may take half of the time, each other one its share of what is left.
        share = left / 2 if at == 0 else left / (len(TOOLS) - at)
        tools[tool] = {"status": "running"}
        part.report(tools=tools)
        tools[tool] = one_tool(part, path, tool, tests, share)
        tools[tool]["seconds"] = round(time.monotonic() - start, 1)
        say(f"-- {tool}: {tools[tool]['status']}: {tools[tool]['reason']}")
        part.report(tools=tools)
    states = [tool["status"] for tool in tools.values()]
    status = next((s for s in ("failed", "out of time", "passed") if s in states), "not run")
    words = "; ".join(f"{name} {tool['status']}: {tool['reason']}" for name, tool in tools.items())
    return {"status": status, "reason": words, "tools": tools}


def one_tool(part: Part, path: str, tool: str, tests: Sequence[str], seconds: float) -> dict[str, Any]:
    end = time.monotonic() + seconds
    command = [path, "--tool", tool, "--target-processes", "all", "--launch-timeout", "60", "--error-exitcode", "9"]
    if tool == "memcheck":  # weft itself looks at what calls of the runtime give; some tests let them fail
        command += ["--report-api-errors", "no"]
    log = part.results.log(tool)
    first = part.run([*command, sys.executable, "-c", PROBE], tool, min(60.0, seconds / 2), part.environment())
    if not any(SUMMARY.search(line) for line in first.tail):
        return {"status": "not run", "reason": why_not(first.tail) or f"{first.how()}: {first.last()}"}
    record = part.scratch / f"{tool}.jsonl"
    variables = environment(part, record, SLOWER * part.settings.test_seconds)
    lines: list[str] = []

    def own(line: str) -> bool:
        if line.startswith("========="):
            lines.append(line)
        return bool(SUMMARY.search(line))

    def report() -> None:
        part.report(running={"tool": tool, "findings": findings(lines), "tests": summary(record)["counts"]})

    done = part.run(
        [*command, *pytest_command(max(1, jobs() // 2), list(tests))], tool, max(end - time.monotonic(), 1.0),
        {**variables, "WEFT_CUDA_MEMCHECK": "1"}, own, report,
    )  # fmt: skip
    part.found.pop("running", None)
    found = summary(record)
    errors = sum(int(match[1]) for line in lines if (match := SUMMARY.search(line)))
    result = {"errors": errors, "findings": findings(lines), "tests": found["counts"], "failures": found["failures"],
              "log": str(log)}  # fmt: skip
    reason = f"{max(errors, sum(result['findings'].values()))} errors; tests: {in_words(found)}"
    if errors or result["findings"]:
        return {"status": "failed", "reason": reason, **result}
    if not found["counts"] and (cannot := why_not(done.tail)):
        return {"status": "not run", "reason": cannot, **result}
    if done.status is None:
        return {"status": "out of time", "reason": reason, **result}
    if done.status != 0 or found["failures"]:
        return {"status": "failed", "reason": f"{reason} ({done.how()})", **result}
    return {"status": "passed", "reason": reason, **result}


def why_not(lines: Sequence[str]) -> str:
    """The line in which the tool says that it cannot work; empty where none does."""
    own = [line.lstrip("= ").strip() for line in lines if line.startswith("=========")]
    return next((line for line in own if CANNOT.search(line)), "")


def findings(lines: Sequence[str]) -> dict[str, int]:
    """How often each was reported: what, and the line below, which says in which kernel.

    A finding begins at the first column behind the tool's mark, and goes on indented.
    """
    found: Counter[str] = Counter()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        text = line.removeprefix("=========")
        if PLAIN.search(line) or CANNOT.search(text) or re.match(r"\s{2,}|\s*$", text):
            continue
        below = following.removeprefix("=========")
        found[f"{text.strip()} {below.strip()}" if re.match(r"\s{2,}\S", below) else text.strip()] += 1
    return dict(found.most_common(50))
