"""The CUDA emulator's own tests: each kind of fault is found and told with its place, and right kernels raise no alarm.

They compile tests/cuda_emulation/cases with the host compiler, once plain and once for the checker.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import ROOT

pytestmark = [pytest.mark.cpu, pytest.mark.once]

EMULATOR = ROOT / "tests" / "cuda_emulation"
CASES = EMULATOR / "cases"
FLAGS = ["-std=gnu++20", "-O1", "-g1", "-Wall", "-Wextra", "-Werror", f"-I{EMULATOR}"]
ORDERS = ["forward", "reverse", "random:1", "random:2"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The program of all cases: "plain", and "checker"."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler.split()[0]) is None:
        pytest.fail(f"the tests of the emulator need a compiler: {compiler}")
    folder = tmp_path_factory.mktemp("emulator")

    def run(arguments: list[str]) -> None:
        done = subprocess.run(arguments, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def compiled(source: Path, kind: str, *flags: str) -> Path:
        target = folder / f"{source.stem}_{kind}.o"
        run([*compiler.split(), *FLAGS, *flags, "-x", "c++", "-c", str(source), "-o", str(target)])
        return target

    kinds = {"plain": [], "checker": ["-fsanitize=thread", "-Wno-attributes"]}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        emulator = [pool.submit(compiled, source, "emulator") for source in sorted(EMULATOR.glob("*.cpp"))]
        kernels = {
            kind: [pool.submit(compiled, source, kind, *flags) for source in sorted(CASES.glob("*.cu"))]
            for kind, flags in kinds.items()
        }
        made = {}
        for kind in kinds:
            made[kind] = folder / kind
            objects = [str(each.result()) for each in [*emulator, *kernels[kind]]]
            run([*compiler.split(), *objects, "-o", str(made[kind]), "-ldl", "-lpthread"])
    return made


def run_case(program: Path, *names: str, **environment: str) -> tuple[list[str], str]:
    """The lines that the cases print, and what the emulator reports."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    done = subprocess.run(
        [str(program), *names], capture_output=True, text=True, timeout=60, env={**clean, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def place(name: str, mark: str = "HERE") -> str:
    """ "faults.cu:<line>" of the line that carries the mark."""
    for number, line in enumerate((CASES / "faults.cu").read_text().splitlines(), 1):
        if line.endswith(f"// {mark} {name}"):
            return f"faults.cu:{number}"
    raise AssertionError(f"no line is marked {mark} {name}")


# What the checker says, in whatever order the threads run.
CHECKED = {
    "read_before_barrier": "nobody has written it|race: thread .* wrote it",
    "write_before_barrier": "race: thread",
    "missing_warp_barrier": "race: thread",
    "shared_write": "at byte 256 of tile .* which has 256: out of bounds",
    "dynamic_read": "at byte 256 of dynamic shared memory .*: out of bounds",
    "global_write": "writes 4 bytes at byte 256 of a block of device memory of 256: out of bounds",
    "global_read": "reads 4 bytes .*of device memory.*: out of bounds",
    "bytes_write": "writes 1 bytes at byte 62 of a block of device memory of 62: out of bounds",
    "host_memory": "writes 4 bytes of the host's memory",
    "wild_pointer": "the host's memory",
    "unwritten_shared": "at byte 28 of tile .*: nobody has written it",
    "unwritten_global": "nobody has written it",
    "race_in_block": "race: thread .* with no barrier in between",
    "race_of_blocks": "race: thread 0 of block .* nothing orders the two blocks",
    "read_of_other_block": "race: thread 0 of block",
    "missing_fence": "race: thread 0 of block",
    "plain_and_atomic": "race: thread",
    "copy_not_waited_for": "nobody has written it, or not yet",
    "copy_without_barrier": "nobody has written it, or not yet|race: thread",
    "misaligned": "misaligned",
    "divide_by_zero": "division of an integer by zero",
}

# What every build says.
ALWAYS = {
    "misaligned_copy": "isn't aligned to 16 bytes",
    "divergent_barrier": "threads of one block at different barriers",
    "deadlock": "deadlock: no thread of the block can go on",
    "mask_without_caller": "mask 0xffff0000 doesn't have the calling lane",
    "mask_beyond_block": "names lane 16, which the block doesn't have",
    "two_masks": "but another lane with 0x|deadlock",
    "divergent_warp": "lanes of one warp in different operations",
    "much_static_memory": "more than 48 KiB",
}


def check_report(name: str, lines: list[str], report: str, expected: str, mark: str = "HERE") -> None:
    assert lines[-1] == "cudaErrorLaunchFailure", report
    assert re.search(expected, report), report
    assert f"kernel (anonymous namespace)::{name}_kernel(" in report, report
    assert place(name, mark) in report, report


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1"])
@pytest.mark.parametrize("name", CHECKED)
def test_checker_finds(programs: dict[str, Path], name: str, order: str) -> None:
    lines, report = run_case(programs["checker"], name, WEFT_EMULATED_ORDER=order)
    if order != "forward" and name in ("write_before_barrier", "missing_warp_barrier"):
        # A race has two sides; which one comes second depends on the order.
        assert lines[-1] == "cudaErrorLaunchFailure", report
        assert place(name) in report, report
        return
    check_report(name, lines, report, CHECKED[name])


@pytest.mark.parametrize("kind", ["plain", "checker"])
@pytest.mark.parametrize("order", ORDERS[:3])
@pytest.mark.parametrize("name", ALWAYS)
def test_always_found(programs: dict[str, Path], name: str, order: str, kind: str) -> None:
    lines, report = run_case(programs[kind], name, WEFT_EMULATED_ORDER=order)
    marks = {"deadlock": ["AND"], "divergent_barrier": ["HERE", "AND"], "divergent_warp": ["HERE", "AND"]}
    for mark in marks.get(name, ["HERE"]):
        check_report(name, lines, report, ALWAYS[name], mark)


def test_barrier_after_exit_is_a_fault_when_strict(programs: dict[str, Path]) -> None:
    lines, report = run_case(programs["plain"], "barrier_after_exit")
    assert (lines, report) == (["cudaSuccess"], "")
    lines, report = run_case(
        programs["plain"], "barrier_after_exit", WEFT_EMULATED_STRICT="1", WEFT_EMULATED_ORDER="reverse"
    )
    check_report("barrier_after_exit", lines, report, "after a thread of the block has ended")


def test_plain_build_finds_writes_outside_and_wild_pointers(programs: dict[str, Path]) -> None:
    lines, report = run_case(programs["plain"], "shared_write")
    assert lines == ["cudaErrorLaunchFailure"]
    assert "wrote outside of shared memory, near tile" in report
    lines, report = run_case(programs["plain"], "global_write")
    assert lines == ["cudaErrorLaunchFailure"]
    assert "wrote behind a block of device memory of 256 bytes" in report
    lines, report = run_case(programs["plain"], "wild_pointer")
    check_report("wild_pointer", lines, report, "accesses memory that isn't there")
    lines, report = run_case(programs["plain"], "divide_by_zero")
    check_report("divide_by_zero", lines, report, "division of an integer by zero")


RIGHT = [
    "structs",
    "block_sum",
    "product",
    "tensor_core",
    "transposed",
    "last_block",
    "histogram",
    "bytes",
    "votes",
    "exits",
]


@pytest.mark.parametrize("kind", ["plain", "checker"])
@pytest.mark.parametrize("order", ORDERS)
def test_right_kernels(programs: dict[str, Path], order: str, kind: str) -> None:
    lines, report = run_case(programs[kind], *RIGHT, WEFT_EMULATED_ORDER=order)
    assert lines == ["cudaSuccess"] * len(RIGHT), report
    assert report == ""


RUNTIME = [
    "missing_stream_synchronize",
    "host_memory_changed_too_early",
    "streams_and_events",
    "default_stream",
    "refused_launches",
    "refused_copies",
    "out_of_memory",
    "graph",
    "refused_in_capture",
    "refused_in_relaxed_capture",
    "graph_on_two_streams",
    "default_handles",
    "host_function",
    "functions",
]


@pytest.mark.parametrize("name", RUNTIME)
def test_runtime(programs: dict[str, Path], name: str) -> None:
    lines, report = run_case(programs["plain"], name, WEFT_EMULATED_MEMORY=str(1 << 24))
    assert (lines, report) == (["cudaSuccess"], "")


def test_another_device(programs: dict[str, Path]) -> None:
    lines, report = run_case(programs["plain"], "another_device", WEFT_EMULATED_DEVICES="2")
    assert (lines, report) == (["cudaSuccess"], "")


@pytest.mark.parametrize("kind", ["plain", "checker"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("freed_pinned_memory", "pinned memory that was freed before the stream got there"),
        ("freed_pinned_memory_of_a_kernel", "accesses memory that isn't there|the host's memory"),
    ],
)
def test_freed_pinned_memory(programs: dict[str, Path], name: str, expected: str, kind: str) -> None:
    lines, report = run_case(programs[kind], name)
    assert lines == ["cudaErrorLaunchFailure"]
    assert re.search(expected, report), report


def test_sticky_fault(programs: dict[str, Path]) -> None:
    lines, report = run_case(programs["plain"], "sticky_fault")
    assert lines == ["cudaErrorLaunchFailure"]
    assert "__trap()" in report


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ("1", "cudaSuccess 1 13000"),
        ("3", "cudaSuccess 3 13000"),
        ("0", "cudaErrorNoDevice 0 13000"),
        ("nodriver", "cudaErrorInsufficientDriver 0 0"),
        ("olddriver", "cudaErrorInsufficientDriver 0 11000"),
    ],
)
def test_devices(programs: dict[str, Path], devices: str, expected: str) -> None:
    assert run_case(programs["plain"], "device_count", WEFT_EMULATED_DEVICES=devices)[0][0] == expected


def test_architecture_that_was_not_built(programs: dict[str, Path]) -> None:
    lines, _ = run_case(programs["plain"], "architecture", WEFT_EMULATED_ARCH="wrong")
    assert lines[0] == "cudaErrorNoKernelImageForDevice"
