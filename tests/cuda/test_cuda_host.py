"""The host side of the CUDA backend beside other threads and other libraries: captures, freeing, the current device,
memory that others own, a device that is lost. The cases stand in tests/cuda_runtime; they run on the emulator and under
ThreadSanitizer, which tells every access of the host's memory that no lock orders."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import ROOT

pytestmark = [pytest.mark.cpu, pytest.mark.once]

EMULATOR = ROOT / "tests" / "cuda_emulation"
FLAGS = [
    "-std=gnu++20", "-O1", "-g1", "-fsanitize=thread", "-DWEFT_CUDA_EMULATED", "-ffunction-sections", "-Wall",
    "-Wextra", "-Werror", f"-I{ROOT / 'csrc'}", f"-I{EMULATOR}",
]  # fmt: skip
# What a case wants of the machine.
MACHINES = {
    "another_library_changes_the_device": {"WEFT_EMULATED_DEVICES": "2"},
    "a_capture_short_of_memory": {"WEFT_EMULATED_MEMORY": str(1 << 20)},
}
CASES = [
    "streams_made_by_several_threads",
    "one_array_on_streams_of_several_threads",
    "synchronize_during_a_capture",
    "a_profile_begins_during_a_capture",
    "free_during_a_capture",
    "a_graph_goes_during_a_capture",
    "a_capture_short_of_memory",
    "another_library_changes_the_device",
    "a_graph_that_goes_while_it_runs",
    "findings_on_another_stream",
    "destructors_on_a_lost_device",
    "foreign_memory_outlives_its_use",
    "a_pinned_source_outlives_its_copy",
    "exported_memory_is_kept_until_the_device_is_idle",
]


def sources() -> list[Path]:
    # The hooks of the emulator's checker have ThreadSanitizer's names; these programs need the real ones.
    emulator = [path for path in EMULATOR.glob("*.cpp") if path.name != "emulated_hooks.cpp"]
    folders = ("csrc/cuda", "csrc/core", "tests/cuda_runtime")
    # What plans tiles is no part of the runtime.
    host = [path for folder in folders for path in (ROOT / folder).glob("*.cpp") if path.name != "tile_plan.cpp"]
    return sorted([path for path in host if path.name != "table.cpp"] + emulator)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of all cases."""
    compiler = os.environ.get("CXX", "g++").split()
    if shutil.which(compiler[0]) is None:
        pytest.fail(f"these tests need a compiler: {compiler[0]}")
    if shutil.which("ccache"):
        compiler = ["ccache", *compiler]
    folder = tmp_path_factory.mktemp("cuda_host")

    def run(arguments: list[str]) -> None:
        done = subprocess.run(arguments, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def compiled(source: Path) -> str:
        target = folder / f"{source.parent.name}_{source.stem}.o"
        run([*compiler, *FLAGS, "-c", str(source), "-o", str(target)])
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sources()))
    made = folder / "cases"
    run([*compiler, "-fsanitize=thread", "-Wl,--gc-sections", *objects, "-o", str(made), "-ldl", "-lpthread"])
    return made


def run_case(program: Path, *names: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    # A fault of the emulated device is part of some cases: it is told on stderr, so that is no verdict.
    return subprocess.run(
        [str(program), *names], capture_output=True, text=True, timeout=120, env={**clean, **environment}
    )


def test_every_case_is_run(program: Path) -> None:
    assert run_case(program).stdout.split() == CASES


@pytest.mark.parametrize("memcheck", ["0", "1"])
@pytest.mark.parametrize("name", CASES)
def test_case(program: Path, name: str, memcheck: str) -> None:
    done = run_case(program, name, WEFT_CUDA_MEMCHECK=memcheck, **MACHINES.get(name, {}))
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    assert "ThreadSanitizer" not in done.stderr
