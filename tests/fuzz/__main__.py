"""Runs the parts; see the package.

python -m tests.fuzz [--seconds 600] [--seed 0] [--only calls,files] [--first 0 --count 1] [--calls 300000 ...]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from . import calls, kills, processes
from .children import Report, run

# By part: how much of the time it gets, and how many inputs are tried at once by one of two workers.
PARTS = {
    "calls": (0.5, calls.BLOCK),
    "programs": (0.17, 100),
    "files": (0.05, 200),
    "kills": (0.14, 1),
    "processes": (0.14, 1),
}
MOST = 20  # findings of a part, after which it stops


def in_a_child(part: str) -> Callable[[Report, int, int], None]:
    """Tries inputs in a child, which may die of one."""
    script = """
import json, sys
from tests.fuzz import files, programs
from tests.fuzz.children import Report
part, seed, first, count = sys.argv[1], *map(int, sys.argv[2:])
report = Report(part, seed)
if part == "files":
    files.try_all(report, first, count)
else:
    for index in range(first, first + count):
        print(index, file=sys.stderr)
        programs.try_one(report, index)
print(json.dumps([report.counts, [[f.index, f.lines, f.happened] for f in report.findings]]))
"""

    def try_block(report: Report, first: int, count: int) -> None:
        done = run(script, (part, str(report.seed), str(first), str(count)), 60 + count)
        if done.code:
            again = f"python -m tests.fuzz --only {part} --seed {report.seed} --first {first} --count {count}"
            return report.found(first, again, done.happened)
        counts, findings = json.loads(done.out.splitlines()[-1])
        report.counts.update(counts)
        for finding in findings:
            report.found(*finding)

    return try_block


def trier(part: str) -> Callable[[Report, int, int], None]:
    if part == "calls":
        known: set[str] = set()
        return lambda report, first, count: calls.try_block(report, first, count, known)
    if part in ("files", "programs"):
        return in_a_child(part)
    module = {"kills": kills, "processes": processes}[part]

    def one_by_one(report: Report, first: int, count: int) -> None:
        for index in range(first, first + count):
            module.try_one(report, index)

    return one_by_one


def run_part(part: str, seed: int, seconds: float, first: int, count: int | None) -> Report:
    """Tries inputs from `first` on, for some time or `count` of them, by two workers."""
    report, (_, block), attempt = Report(part, seed), PARTS[part], trier(part)
    end = time.monotonic() + seconds
    place = iter(range(first, first + (count if count is not None else 1 << 40), block))

    def work() -> None:
        for begin in place:  # an iterator over a range is taken from by one thread at a time
            if (count is None and time.monotonic() > end) or len(report.findings) >= MOST:
                return
            attempt(report, begin, block if count is None else min(block, first + count - begin))

    with ThreadPoolExecutor(2) as workers:
        for done in [workers.submit(work) for _ in range(2)]:
            done.result()
    return report


def summary(report: Report, seconds: float) -> str:
    shown = {name: n for name, n in sorted(report.counts.items()) if not name.startswith(("accepted ", "refused "))}
    text = ", ".join(f"{n} {name}" for name, n in shown.items())
    return (
        f"-- {report.part}, seed {report.seed}, {seconds:.0f} s: {text or 'nothing'}; {len(report.findings)} findings"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for all parts together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--first", type=int, default=0, help="the first input")
    parser.add_argument("--count", type=int, help="how many inputs, instead of the time")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := [p for p in parts if p not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    whole = sum(PARTS[p][0] for p in parts)
    found = 0
    for part in parts:
        begun = time.monotonic()
        report = run_part(part, given.seed, given.seconds * PARTS[part][0] / whole, given.first, given.count)
        for finding in report.findings:
            print(f"\n{finding}")
        print(summary(report, time.monotonic() - begun), flush=True)
        if (
            part == "calls"
            and sum(report.counts.values()) > 100_000
            and (missing := calls.never_accepted(report.counts))
        ):
            print(f"   never accepted: {', '.join(missing)}")
        found += len(report.findings)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
