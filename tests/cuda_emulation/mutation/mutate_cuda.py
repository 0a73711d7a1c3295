"""What do the tests of the CUDA backend catch? Breaks each kernel in many small ways, and runs its tests on each.

mutants.py tells what is broken, and how all mutants come to stand in one binary. Here the binaries are built (plain,
with the checker, with the sanitizers), every test is run once to learn which mutants it can notice, and then each
mutant meets those tests, the quickest first, until one of them fails: in the order of threads that a loop has all of
them, in other orders and in the other builds those that emulate_cuda.py runs there. What survives is either a gap in
the tests or an equivalent program; README.md has the table.

    python mutate_cuda.py -j 2                      # every mutant; goes on where it stopped
    python mutate_cuda.py --sample 100              # some, drawn at random
    python mutate_cuda.py gemm_thin --all-builds    # those of one file, in each build
    python mutate_cuda.py --again                   # after changes of the tests: once more what survived
    python mutate_cuda.py --report                  # the tables of what ran so far

Results lie in build/mutate/results.jsonl; a mutant whose file changed since runs again.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mutants import ROOT, Mutant, all_mutants, write_sources

sys.path.append(str(ROOT / "scripts" / "check"))
import emulate_cuda
import instrumented

WORK = ROOT / "build" / "mutate"
TABLE = Path(__file__).with_name("README.md")
MODULE = f"kernels{sysconfig.get_config_var('EXT_SUFFIX')}"

# Tests of kernels; the others (models, training, the CPU's parts) reach the same ones at larger sizes.
TESTS = [
    *("activation", "array", "bfloat16", "conv2d", "conv2d_depthwise", "conv2d_relu_max_pool2d", "conv2d_stem"),
    *("data_kernels", "elementwise", "gemm", "gemm_bfloat16", "index", "linear", "loss", "norm"),
    *("operations", "optim", "optimizer_kernels", "pool2d", "random", "reduce", "softmax"),
]


@dataclasses.dataclass(frozen=True)
class Stage:
    """Tests of a mutant in one build and order: the quickest that take `budget` seconds in the plain build."""

    build: str
    order: str
    budget: float
    slower: float = 1.0  # than the plain build


STAGES = [
    Stage("plain", "forward", 0.3),
    Stage("plain", "reverse", 0.2),
    Stage("plain", "random:1", 0.2),
    Stage("checker", "forward", 0.15, 15),
    Stage("plain", "forward", 3),
    Stage("plain", "reverse", 1),
    Stage("plain", "random:1", 1),
    Stage("checker", "forward", 0.6, 15),
    Stage("sanitizers", "random:2", 1, 8),
]


def files() -> list[str]:
    of_kernels = {f"test_{name}.py" for name in TESTS}
    others = [file for file in emulate_cuda.files() if Path(file).name in of_kernels]
    return emulate_cuda.files(emulate_cuda.CUDA) + others


# --- Building ---


def build(name: str, jobs: int, record: bool, options: list[str]) -> Path:
    """A folder with the package `weft`, its kernels with all mutants; or, with `record`, with their notes."""
    tree = WORK / ("record" if record else "run")
    write_sources(tree, all_mutants(also_of_no_effect=True), record)
    folder = tree / name
    cmake = instrumented.configure(folder, *emulate_cuda.BUILDS[name][1], *options, source=tree)
    environment = {**os.environ, "CCACHE_BASEDIR": str(tree), "CCACHE_NOHASHDIR": "1"}
    command = [cmake, "--build", str(folder), "--parallel", str(jobs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return instrumented.install(folder / MODULE)


class Server:
    """pytest with mutant_tests.py: takes jobs, gives answers."""

    def __init__(self, name: str, package: Path, tests: list[str], record: bool = False) -> None:
        jobs_out, self_jobs = os.pipe()
        self_answers, answers_in = os.pipe()
        environment = {
            **os.environ,
            **emulate_cuda.environment(name, "forward"),
            "PYTHONPATH": f"{package}:{ROOT / 'tests'}:{Path(__file__).parent}",
            "WEFT_MUTANT_PIPES": f"{jobs_out},{answers_in}",
            "OMP_NUM_THREADS": "1",
        }
        if record:
            environment["WEFT_MUTANT_RECORD"] = "1"
        options = ["-q", "-s", "-p", "mutant_tests", "-p", "no:cacheprovider", "-p", "no:xdist"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=ROOT,
            env=environment,
            pass_fds=(jobs_out, answers_in),
            stdout=subprocess.DEVNULL,
        )
        os.close(jobs_out)
        os.close(answers_in)
        self.jobs, self.answers = os.fdopen(self_jobs, "w"), os.fdopen(self_answers)
        if not record:
            self.answers.readline()  # the tests are collected
        self.good: dict[tuple[str, str], bool] = {}  # whether a test passes without a mutant

    def run(self, mutant: int, order: str, tests: list[str], seconds: float) -> dict[str, Any]:
        job = {"mutant": mutant, "order": order, "tests": tests, "seconds": seconds}
        print(json.dumps(job), file=self.jobs, flush=True)
        answer: dict[str, Any] = json.loads(self.answers.readline())
        return answer

    def catches(self, mutant: int, order: str, tests: list[str], seconds: float) -> dict[str, Any] | None:
        """The answer of the test that fails on the mutant, and not without it."""
        while tests:
            answer = self.run(mutant, order, tests, seconds)
            if answer["how"] == "passed":
                return None
            test = answer["test"]
            if (test, order) not in self.good:
                self.good[test, order] = self.run(0, order, [test], 600)["how"] == "passed"
                if not self.good[test, order]:
                    print(f"without a mutant fails: {test}, order {order}", flush=True)
            if self.good[test, order]:
                return answer
            tests = [name for name in tests if name != test]
        return None


# --- Which test may notice which mutant ---


def digest(*paths: Path) -> str:
    return hashlib.sha1(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def record(jobs: int, options: list[str]) -> None:
    """Runs the tests that changed since they were recorded; all of them where a kernel did."""
    sources = digest(*sorted(file for file in (ROOT / "csrc" / "cuda").rglob("*") if file.is_file()))
    stamps = {file: f"{sources} {digest(ROOT / file)}" for file in files()}
    known = WORK / "recorded.jsonl"
    rows = [json.loads(line) for line in known.read_text().splitlines()] if known.exists() else []
    rows = [row for row in rows if stamps.get(row["test"].split("::")[0]) == row["stamp"]]
    missing = [file for file in files() if stamps[file] not in {row["stamp"] for row in rows}]
    known.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if not missing:
        return
    server = Server("plain", build("plain", jobs, True, options), missing, record=True)
    with known.open("a") as file:
        for line in server.answers:
            row = json.loads(line)
            if not row["good"]:
                sys.exit(f"fails without a mutant: {row['test']}")
            print(json.dumps({**row, "stamp": stamps[row["test"].split("::")[0]]}), file=file)
            print(f"{row['test']}: {row['seconds']:.2f} s, {len(row['mutants'])} mutants", flush=True)


def recorded() -> tuple[dict[int, list[str]], dict[str, float]]:
    """For each mutant the tests that may notice it, the quickest first; and the seconds of each test."""
    seconds: dict[str, float] = {}
    notice: dict[int, list[str]] = {}
    for row in map(json.loads, (WORK / "recorded.jsonl").read_text().splitlines()):
        seconds[row["test"]] = row["seconds"]
        for number in row["mutants"]:
            notice.setdefault(number, []).append(row["test"])
    for tests in notice.values():
        tests.sort(key=lambda test: seconds[test])
    return notice, seconds


# --- All of them ---


class Runner:
    def __init__(self, builds: dict[str, Path], every_build: bool, patience: float) -> None:
        self.every_build, self.patience = every_build, patience
        self.notice, self.seconds = recorded()
        self.servers = {name: Server(name, package, files()) for name, package in builds.items()}

    def tests(self, mutant: Mutant, stage: Stage, done: set[str]) -> tuple[list[str], float]:
        """The tests of a stage, and how long they take."""
        every = (stage.build, stage.order) == ("plain", "forward")
        chosen: list[str] = []
        total = 0.0
        for test in self.notice[mutant.number]:
            if test in done or not (every or test.startswith(f"{emulate_cuda.CUDA}/")):
                continue
            if chosen and total + self.seconds[test] > stage.budget * self.patience:
                break
            chosen.append(test)
            total += self.seconds[test]
        return chosen, total

    def outcome(self, mutant: Mutant) -> dict[str, str]:
        """For each build that ran: by what it was caught, or "survived"; "unnoticed" where no test can."""
        if mutant.number not in self.notice:
            return {"plain": "unnoticed"}
        outcome: dict[str, str] = {}
        done: dict[tuple[str, str], set[str]] = {}
        for stage in STAGES:
            if stage.build not in self.servers or outcome.get(stage.build, "survived") != "survived":
                continue
            outcome[stage.build] = "survived"
            before = done.setdefault((stage.build, stage.order), set())
            tests, seconds = self.tests(mutant, stage, before)
            before.update(tests)
            limit = 5 + 10 * seconds * stage.slower
            answer = self.servers[stage.build].catches(mutant.number, stage.order, tests, limit)
            if answer:
                outcome[stage.build] = f"{answer['how']}: {answer['test']}, {stage.order}"
                if not self.every_build:
                    break
        return outcome


def known_results() -> dict[str, dict[str, str]]:
    file = WORK / "results.jsonl"
    if not file.exists():
        return {}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row["key"]: row["outcome"] for row in rows}


def caught(outcome: dict[str, str]) -> bool:
    return any(result not in ("survived", "unnoticed") for result in outcome.values())


def run_all(chosen: list[Mutant], arguments: argparse.Namespace) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    known = known_results()
    waiting = [m for m in chosen if m.key not in known or (arguments.again and not caught(known[m.key]))]
    print(f"{len(chosen)} mutants, {len(chosen) - len(waiting)} known already", flush=True)
    if not waiting:
        return
    record(arguments.workers, arguments.cmake)
    builds = {name: build(name, arguments.workers, False, arguments.cmake) for name in arguments.builds}
    runners = [Runner(builds, arguments.all_builds, arguments.patience) for _ in range(arguments.workers)]
    lock = threading.Lock()

    def work(runner: Runner) -> None:
        while True:
            with lock:
                if not waiting:
                    return
                mutant = waiting.pop(0)
            outcome = runner.outcome(mutant)
            with lock, (WORK / "results.jsonl").open("a") as file:
                file.write(json.dumps({"key": mutant.key, "outcome": outcome}) + "\n")
                print(f"{mutant}: {outcome}", flush=True)

    with ThreadPoolExecutor(arguments.workers) as threads:
        for result in [threads.submit(work, runner) for runner in runners]:
            result.result()


def explained() -> set[tuple[str, str, str]]:
    """The survivors that the table in docs/ explains: file, function, and what becomes what."""
    found = set()
    for line in TABLE.read_text().splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) == 6 and "->" in cells[3]:
            changes = cells[3].replace("\\|", "|").split("<br>")
            found |= {(cells[1].strip(" `"), cells[2].strip(" `"), change.strip()) for change in changes}
    return found


def report(chosen: list[Mutant]) -> None:
    known, reasons = known_results(), explained()
    rows: dict[str, Counter[str]] = {}
    survivors = []
    for mutant in chosen:
        outcome = known.get(mutant.key)
        if outcome is None:
            continue
        row = rows.setdefault(mutant.path, Counter())
        row["mutants"] += 1
        row.update(name for name in outcome if caught({name: outcome[name]}))
        row["caught"] += caught(outcome)
        if caught(outcome):
            continue
        if (mutant.path.removeprefix("csrc/cuda/"), mutant.function, mutant.shown) in reasons:
            row["explained"] += 1
        else:
            survivors.append(f"{mutant}{' (unnoticed)' if 'unnoticed' in outcome.values() else ''}")
    total = sum(rows.values(), Counter())
    columns = ["mutants", *emulate_cuda.BUILDS, "caught", "explained"]
    print(f"\n| file | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in [*sorted(rows.items()), ("all", total)]:
        print(f"| {name.removeprefix('csrc/cuda/')} | {' | '.join(str(row[column]) for column in columns)} |")
    if total["mutants"]:
        others = total["mutants"] - total["explained"]
        print(f"\nCaught: {100 * total['caught'] / total['mutants']:.1f}% of all, ", end="")
        print(f"{100 * total['caught'] / others:.1f}% of those that {TABLE.name} doesn't explain. Other survivors:\n")
    for line in survivors:
        print(f"- {line}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="parts of the names of files; all of csrc/cuda by default")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("-j", type=int, default=1, dest="workers", help="mutants at a time")
    parser.add_argument("--builds", nargs="+", choices=list(emulate_cuda.BUILDS), default=["plain", "checker"])
    parser.add_argument("--all-builds", action="store_true", help="go on after the first build that catches it")
    parser.add_argument("--again", action="store_true", help="also those that survived before")
    parser.add_argument("--patience", type=float, default=1, help="times as many tests before a mutant has survived")
    parser.add_argument("--cmake", action="append", default=[], help="an option for CMake, like --cmake=-DX=ON")
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    parser.add_argument("--report", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    chosen = [m for m in all_mutants() if not arguments.files or any(part in m.path for part in arguments.files)]
    if arguments.sample is not None and arguments.sample < len(chosen):
        chosen = random.Random(arguments.seed).sample(chosen, arguments.sample)
    if arguments.list:
        print("\n".join(map(str, chosen)))
        return 0
    if not arguments.report:
        run_all(chosen, arguments)
    report(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
