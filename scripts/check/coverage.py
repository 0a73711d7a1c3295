"""Which lines of the CPU's kernels the tests never reach, on any instruction set.

Builds the module with the compiler's line counters, runs the tests (arguments go to pytest) and prints for each file of
csrc/cpu and csrc/reference the lines that never ran. A method that no test reaches, or a branch of a policy, is there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import instrumented


def report(folder: Path) -> dict[str, dict[int, int]]:
    """How often each line ran, by file; the same source's objects are added."""
    out = folder / "coverage.json"
    subprocess.run(
        [sys.executable, "-m", "gcovr", "--root", str(instrumented.ROOT), "--filter", "csrc/cpu/",
         "--filter", "csrc/reference/", "--exclude-directories", ".*CompilerIdCXX", "--gcov-ignore-parse-errors=all",
         "--merge-mode-functions=merge-use-line-min", "-j", "2", "--json", str(out), str(folder)],
        cwd=instrumented.ROOT, check=True,
    )  # fmt: skip
    counts: dict[str, dict[int, int]] = {}
    for file in json.loads(out.read_text())["files"]:
        lines = counts.setdefault(file["file"], {})
        for line in file["lines"]:
            if not line.get("gcovr/excluded"):
                number = line["line_number"]
                lines[number] = lines.get(number, 0) + line["count"]
    return counts


def ranges(numbers: list[int]) -> str:
    """[1, 2, 3, 7] as "1-3, 7"."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def main() -> int:
    module = instrumented.build("coverage", "-DCMAKE_CXX_FLAGS=--coverage", "-DCMAKE_CXX_FLAGS_RELEASE=-O1")
    for old in module.parent.rglob("*.gcda"):
        old.unlink()
    failed = instrumented.run_tests(module, sys.argv[1:] or ["tests", "--ignore=tests/tools/test_old_cpu.py"], {})
    ran = total = 0
    for file, lines in sorted(report(module.parent).items()):
        never = sorted(number for number, count in lines.items() if not count)
        ran, total = ran + len(lines) - len(never), total + len(lines)
        if never:
            print(f"{file}: {ranges(never)}")
    print(f"{ran} of {total} lines ran, {100 * ran / max(total, 1):.1f}%")
    return failed


if __name__ == "__main__":
    sys.exit(main())
