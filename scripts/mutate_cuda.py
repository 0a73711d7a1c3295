"""What do the tests of the CUDA backend catch? Breaks each kernel in many small ways, and runs its tests on each.

A mutant is csrc/cuda with one change in device code: a barrier, a wait or a commit removed, a wait weakened, a
comparison off by one, a guard removed, a loop one short. Its object alone is compiled, linked to the rest, and the
family's tests run on the emulated device in three builds: plain (in several orders of threads), with the checker, and
with the sanitizers, until one of them fails. What survives is either a gap in the tests or an equivalent program.

    python scripts/mutate_cuda.py --sample 100 -j 2         # of all files, a random sample; goes on where it stopped
    python scripts/mutate_cuda.py gemm_thin --all-builds    # every mutant of one file, in each build
    python scripts/mutate_cuda.py --report                  # the tables of what ran so far

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
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import emulate_cuda

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutate"
MODULE = f"kernels{sysconfig.get_config_var('EXT_SUFFIX')}"

BUILDS = {"plain": [], "checker": ["-DWEFT_CUDA_CHECKER=ON"], "sanitizers": ["-DWEFT_SANITIZE=ON"]}

# A file's tests, by the beginning of its name; those of the headers that many include stand last.
TESTS = [
    ("gemm", ["gemm"]),
    ("linear", ["linear"]),
    ("conv2d_relu_max_pool2d", ["conv2d_relu_max_pool2d"]),
    ("conv2d", ["conv2d"]),
    ("pool2d", ["pool2d"]),
    ("softmax", ["softmax"]),
    ("loss", ["loss"]),
    ("cross_entropy", ["loss"]),
    ("nll", ["loss"]),
    ("norm", ["norm"]),
    ("batch_norm", ["norm"]),
    ("layer_norm", ["norm"]),
    ("optimizer", ["optimizer_kernels", "optim"]),
    ("data", ["data_kernels"]),
    ("random", ["random"]),
    ("sort", ["random", "index"]),
    ("index", ["index"]),
    ("copy", ["array", "elementwise"]),
    ("arange", ["elementwise"]),
    ("elementwise", ["elementwise"]),
    ("activation", ["activation"]),
    ("reduce", ["reduce", "softmax"]),
    ("limits", ["runtime"]),
    ("check", ["index", "loss"]),
    ("", ["elementwise", "reduce", "gemm"]),
]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change: text[begin:end] of a file becomes `new`."""

    path: str
    line: int
    kind: str
    begin: int
    end: int
    new: str
    old: str
    digest: str  # of the whole file

    @property
    def key(self) -> str:
        return f"{self.path}:{self.begin}:{self.end}:{self.new}:{self.digest}"

    def source(self) -> str:
        text = (ROOT / self.path).read_text()
        return text[: self.begin] + self.new + text[self.end :]


# --- Where device code stands, and what can be broken in it ---


def blank(text: str) -> str:
    """The text with comments, strings and preprocessor lines as spaces, so that offsets stay."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*'
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S | re.M)


def closing(text: str, opening: int) -> int:
    """The offset of the bracket that closes the one at `opening`."""
    pairs, depth = {"(": ")", "{": "}", "[": "]"}, 0
    first, last = text[opening], pairs[text[opening]]
    for at in range(opening, len(text)):
        depth += (text[at] == first) - (text[at] == last)
        if depth == 0:
            return at
    return len(text)


def device_bodies(text: str) -> Iterator[tuple[int, int]]:
    """The bodies of functions that run on the device."""
    end = 0
    for found in re.finditer(r"\b(?:__global__|__device__|WEFT_HOST_DEVICE)\b", text):
        if found.start() < end:
            continue
        at = found.end()
        while at < len(text) and text[at] not in ";{":
            at = closing(text, at) + 1 if text[at] in "([" else at + 1
        if at < len(text) and text[at] == "{":
            end = closing(text, at)
            yield at, end


def term(text: str, at: int) -> tuple[int, int]:
    """The operands of the comparison at `at`: up to the next operator that binds less, or bracket around them."""
    begin, depth = at, 0
    while depth > 0 or not re.search(r"(?:&&|\|\||[^=!<>]=|\breturn|[,;?:{}([])\s*$", text[max(0, begin - 9) : begin]):
        begin -= 1
        depth += (text[begin] in ")]") - (text[begin] in "([")
    end, depth = at, 0
    while depth > 0 or not (text[end] in ",;?)]" or text[end : end + 2] in ("&&", "||")):
        depth += (text[end] in "([") - (text[end] in ")]")
        end += 1
    return begin, at + len(text[at:end].rstrip())


def without(text: str, begin: int, end: int) -> str:
    """What a condition without this term comes to: true, but false as one of several with || or before a `continue`."""
    before, behind = text[:begin].rstrip(), text[end:].lstrip()
    if before.endswith("||") or behind.startswith("||") or re.match(r"\)\s*\{?\s*(continue|return|break)\b", behind):
        return "false"
    return "true"


def in_loop_header(text: str, at: int) -> bool:
    depth = 0
    while at > 0 and depth <= 0:
        at -= 1
        depth += (text[at] == "(") - (text[at] == ")")
    return text[:at].endswith("for ")


def changes(text: str, low: int, high: int) -> Iterator[tuple[str, int, int, str]]:
    """(kind, begin, end, new) of all mutants of a function's body."""
    removed = {
        "barrier removed": r"__syncthreads\(\)",
        "warp barrier removed": r"__syncwarp\([^()]*\)",
        "wait removed": r"cp_async_wait<[^<>]*>\(\)",
        "commit removed": r"cp_async_commit\(\)",
        "fence removed": r"__threadfence\(\)",
    }
    for kind, pattern in removed.items():
        for found in re.compile(pattern).finditer(text, low, high):
            yield kind, found.start(), found.end(), "static_cast<void>(0)"
    for found in re.compile(r"cp_async_wait<([^<>]*)>").finditer(text, low, high):
        yield "wait weakened", found.start(1), found.end(1), f"({found[1]}) + 1"
    for found in re.compile(r"(?<= )(<=|>=|<|>)(?= )").finditer(text, low, high):
        statement = text[max(text.rfind(c, low, found.start()) for c in ";{}") + 1 : found.start()]
        if re.search(r"\b(static_assert|constexpr|template|operator)\b", statement):
            continue
        other = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}[found[1]]
        yield f"{found[1]} made {other}", found.start(), found.end(), other
        begin, end = term(text, found.start())
        if not in_loop_header(text, found.start()):
            yield "guard removed", begin, end, without(text, begin, end)
        elif found[1] == "<":
            yield "loop one short", end, end, " - 1"


def mutants_of(path: Path) -> list[Mutant]:
    text = path.read_text()
    code, digest = blank(text), hashlib.sha1(text.encode()).hexdigest()[:12]
    name = str(path.relative_to(ROOT))
    made = []
    for low, high in device_bodies(code):
        for kind, begin, end, new in changes(code, low, high):
            line = text.count("\n", 0, begin) + 1
            made.append(Mutant(name, line, kind, begin, end, new, text[begin:end], digest))
    return made


# --- Building one ---


class Build:
    """A configured and built folder, from which mutants are linked."""

    def __init__(self, name: str, jobs: int, options: list[str]) -> None:
        self.name, self.folder = name, WORK / name
        cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert cmake, "cmake is missing"
        import pybind11

        options = [
            *options,
            *("-G", "Ninja", "-DWEFT_ISAS=none", "-DWEFT_CUDA=EMULATED", *BUILDS[name]),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ]
        run = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([cmake, "-S", str(ROOT), "-B", str(self.folder), *options], **run)  # type: ignore[call-overload]
        subprocess.run([cmake, "--build", str(self.folder), "--parallel", str(jobs)], **run)  # type: ignore[call-overload]
        commands = json.loads((self.folder / "compile_commands.json").read_text())
        self.compile = {
            entry["file"]: shlex.split(entry["command"]) for entry in commands if entry["file"].endswith(".cu")
        }
        ninja = ["ninja", "-C", str(self.folder), "-t", "commands", MODULE]
        shown = subprocess.run(ninja, check=True, capture_output=True, text=True).stdout.splitlines()
        self.link = shlex.split(shown[-1].split("&&")[1])
        self.dependents = self._dependents()

    def _dependents(self) -> dict[str, list[str]]:
        """For each header the .cu files that include it."""
        ninja = ["ninja", "-C", str(self.folder), "-t", "deps"]
        users: dict[str, list[str]] = {}
        source = ""
        for line in subprocess.run(ninja, check=True, capture_output=True, text=True).stdout.splitlines():
            if line and not line.startswith(" "):
                source = ""
                continue
            file = (self.folder / line.strip()).resolve() if line.strip() else None
            if file is None:
                continue
            source = source or str(file)
            if source.endswith(".cu"):
                users.setdefault(str(file), []).append(source)
        return users

    def make(self, mutant: Mutant, place: Path) -> bool:
        """The module with the mutant in place/weft; False where it doesn't compile."""
        shutil.rmtree(place / "overlay", ignore_errors=True)
        changed = place / "overlay" / Path(mutant.path).relative_to("csrc")
        changed.parent.mkdir(parents=True)
        changed.write_text(mutant.source())
        original = str(ROOT / mutant.path)
        objects = []
        for source in self.dependents.get(original, []):
            target = place / f"{Path(source).stem}.o"
            command = list(self.compile[source])
            command[command.index("-o") + 1] = str(target)
            if source == original:
                command[command.index("-c") + 1] = str(changed)
            command.insert(command.index("-c"), f"-I{place / 'overlay'}")
            # A guard's removal may leave a variable unused.
            command = [part for part in command if part not in ("-MD", "-Werror")]
            if subprocess.run(command, cwd=self.folder, capture_output=True).returncode != 0:
                return False
            objects.append(str(target))
        link = list(self.link)
        link[link.index("-o") + 1] = str(place / "weft" / MODULE)
        archive = next(i for i, part in enumerate(link) if part.endswith("libweft_cuda.a"))
        link[archive:archive] = objects
        return subprocess.run(link, cwd=self.folder, capture_output=True).returncode == 0

    def environment(self, place: Path, order: str) -> dict[str, str]:
        added = emulate_cuda.environment(self.name, order)
        return {**os.environ, **added, "PYTHONPATH": f"{place}:{ROOT / 'tests'}"}


def tests_of(path: str) -> list[str]:
    name = Path(path).name
    families = next(families for begin, families in TESTS if name.startswith(begin))
    found: list[Path] = []
    for family in families:
        found += (ROOT / "tests").glob(f"test_cuda_{family}*.py")
        found += [ROOT / "tests" / f"test_{family}.py"]
    return [str(file) for file in dict.fromkeys(found) if file.exists()]


class Worker:
    """A folder with a package of its own, in which mutants are built and tested one after the other."""

    def __init__(self, number: int, builds: dict[str, Build], limits: dict[tuple[str, ...], float]) -> None:
        self.builds, self.limits = builds, limits
        self.place = WORK / f"worker{number}"
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(
            ROOT / "python" / "weft", self.place / "weft", ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )

    def passes(self, build: Build, tests: list[str], order: str, limit: float) -> bool:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=build.environment(self.place, order), capture_output=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def baseline(self, tests: list[str]) -> None:
        """The unbroken module must pass; its time sets the limit for the broken ones."""
        for build in self.builds.values():
            shutil.copy(build.folder / MODULE, self.place / "weft")
            for order in emulate_cuda.ORDERS[build.name]:
                start = time.monotonic()
                if not self.passes(build, tests, order, 3600):
                    sys.exit(f"without a mutant {' '.join(tests)} fails: build {build.name}, order {order}")
                key = (build.name, *tests)
                self.limits[key] = 60 + 5 * (time.monotonic() - start)

    def try_mutant(self, mutant: Mutant, every_build: bool) -> dict[str, str]:
        """For each build that ran: "caught", "survived", or "invalid"."""
        tests, outcome = tests_of(mutant.path), {}
        for build in self.builds.values():
            if not build.make(mutant, self.place):
                outcome[build.name] = "invalid"
                break
            key = (build.name, *tests)
            good = all(self.passes(build, tests, order, self.limits[key]) for order in emulate_cuda.ORDERS[build.name])
            outcome[build.name] = "survived" if good else "caught"
            if not good and not every_build:
                break
        return outcome


# --- All of them ---


def known_results() -> dict[str, dict[str, str]]:
    file = WORK / "results.jsonl"
    if not file.exists():
        return {}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row["key"]: row["outcome"] for row in rows}


def run_all(chosen: list[Mutant], names: list[str], workers: int, every_build: bool, options: list[str]) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    known = known_results()
    waiting = [mutant for mutant in chosen if mutant.key not in known]
    print(f"{len(chosen)} mutants, {len(chosen) - len(waiting)} known already", flush=True)
    if not waiting:
        return
    builds = {name: Build(name, workers, options) for name in names}
    limits: dict[tuple[str, ...], float] = {}
    pool = [Worker(number, builds, limits) for number in range(workers)]
    for tests in dict.fromkeys(tuple(tests_of(mutant.path)) for mutant in waiting):
        pool[0].baseline(list(tests))
    lock = threading.Lock()

    def work(worker: Worker) -> None:
        while True:
            with lock:
                if not waiting:
                    return
                mutant = waiting.pop(0)
            outcome = worker.try_mutant(mutant, every_build)
            with lock, (WORK / "results.jsonl").open("a") as file:
                file.write(json.dumps({"key": mutant.key, "outcome": outcome}) + "\n")
                print(f"{mutant.path}:{mutant.line}: {mutant.kind}: {outcome}", flush=True)

    with ThreadPoolExecutor(workers) as threads:
        for result in [threads.submit(work, worker) for worker in pool]:
            result.result()


def report(chosen: list[Mutant]) -> None:
    known = known_results()
    rows: dict[str, Counter[str]] = {}
    survivors = []
    for mutant in chosen:
        outcome = known.get(mutant.key)
        if outcome is None or "invalid" in outcome.values():
            continue
        row = rows.setdefault(mutant.path, Counter())
        row["mutants"] += 1
        caught = [name for name, result in outcome.items() if result == "caught"]
        row.update(caught)
        row["caught"] += bool(caught)
        if not caught:
            survivors.append(mutant)
    total = sum(rows.values(), Counter())
    columns = ["mutants", *BUILDS, "caught"]
    print(f"\n| file | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in [*sorted(rows.items()), ("all", total)]:
        print(f"| {name} | {' | '.join(str(row[column]) for column in columns)} |")
    if total["mutants"]:
        print(f"\n{100 * total['caught'] / total['mutants']:.1f}% caught. Survivors:\n")
    for mutant in survivors:
        print(f"- {mutant.path}:{mutant.line}: {mutant.kind}: `{mutant.old}` -> `{mutant.new}`")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="parts of the names of files; all of csrc/cuda by default")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("-j", type=int, default=1, dest="workers", help="mutants at a time")
    parser.add_argument("--builds", nargs="+", choices=list(BUILDS), default=list(BUILDS))
    parser.add_argument("--all-builds", action="store_true", help="go on after the first build that catches it")
    parser.add_argument("--cmake", action="append", default=[], help="an option for CMake, like --cmake=-DX=ON")
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    parser.add_argument("--report", action="store_true", help="only print the tables")
    arguments = parser.parse_args()
    paths = sorted([*(ROOT / "csrc" / "cuda").rglob("*.cu"), *(ROOT / "csrc" / "cuda").rglob("*.h")])
    chosen = []
    for path in paths:
        name = str(path.relative_to(ROOT))
        if "unwritten" in name or name.endswith("device/device.h"):
            continue
        if not arguments.files or any(part in name for part in arguments.files):
            chosen += mutants_of(path)
    if arguments.sample is not None and arguments.sample < len(chosen):
        chosen = random.Random(arguments.seed).sample(chosen, arguments.sample)
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.path}:{mutant.line}: {mutant.kind}: `{mutant.old}` -> `{mutant.new}`")
        return 0
    if not arguments.report:
        run_all(chosen, arguments.builds, arguments.workers, arguments.all_builds, arguments.cmake)
    report(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
