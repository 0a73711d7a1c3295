"""Runs the parts; see the package.

python -m tests.fuzz [--seconds 600] [--seed 0] [--only calls,files] [--first 0 --count 1] [--most 5]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from . import calls, kills, processes
from .children import Report, run

# By part: its share of the time, how many inputs are tried at once by one of two workers, and the unit of --most.
PARTS = {
    "calls": (0.5, calls.BLOCK, 10_000),
    "programs": (0.17, 100, 100),
    "files": (0.05, 200, 400),
    "kills": (0.14, 1, 4),
    "processes": (0.14, 1, 4),
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


def run_part(part: str, seed: int, seconds: float, first: int, count: int) -> Report:
    """Tries inputs from `first` on, for some time but no more than `count` of them, by two workers."""
    report, (_, block, _), attempt = Report(part, seed), PARTS[part], trier(part)
    end = time.monotonic() + seconds
    place = iter(range(first, first + count, block))

    def work() -> None:
        for begin in place:  # an iterator over a range is taken from by one thread at a time
            if time.monotonic() > end or len(report.findings) >= MOST:
                return
            attempt(report, begin, min(block, first + count - begin))

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
    parser.add_argument("--count", type=int, help="how many inputs of each part, instead of the time")
    parser.add_argument("--most", type=int, help="within the time no more than so many times the unit of each part")
    given = parser.parse_args()
    parts = given.only.split(",")
    if unknown := [p for p in parts if p not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    whole = sum(PARTS[p][0] for p in parts)
    found = 0
    for part in parts:
        begun = time.monotonic()
        seconds = given.seconds * PARTS[part][0] / whole if given.count is None else math.inf
        most = 1 << 40 if given.most is None else given.most * PARTS[part][2]
        report = run_part(part, given.seed, seconds, given.first, most if given.count is None else given.count)
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
