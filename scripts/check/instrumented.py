"""Builds the module with instrumentation of the compiler's, in build/<name>, and runs tests on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SANITIZE = ("-DWEFT_SANITIZE=ON", "-DCMAKE_CXX_FLAGS_RELEASE=-O1")


def compiler_library(name: str) -> str:
    """The path of one of the compiler's own libraries."""
    compiler = os.environ.get("CXX", "g++")
    return subprocess.run(
        [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
    ).stdout.strip()


def sanitizer_environment() -> dict[str, str]:
    """What a process needs that loads a module built with the sanitizers."""
    return {
        # libstdc++ first would be too late for the interception of exceptions.
        "LD_PRELOAD": ":".join(map(compiler_library, ("libasan.so", "libstdc++.so"))),
        # Python itself leaks by design; a huge allocation is one of the tests. The emulator's fibers have stacks of
        # their own.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=6144:abort_on_error=0:"
        "detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "WEFT_SANITIZED": "1",
    }


def _tool(name: str) -> str | None:
    """Where a program is: beside this Python, else by PATH."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def configure_command(folder: Path, *options: str, source: Path = ROOT) -> list[str]:
    """The command that configures a build of `source` in `folder`. ImportError without pybind11, FileNotFoundError
    without CMake."""
    import pybind11

    cmake, ninja = _tool("cmake"), _tool("ninja")
    if cmake is None:
        raise FileNotFoundError("cmake is not installed")
    # Ninja keeps all cores busy, make waits at the end of each library; but a folder keeps what it began with.
    if ninja and not (folder / "Makefile").exists():
        options = ("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", *options)
    return [cmake, "-S", str(source), "-B", str(folder), *options,
            f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]  # fmt: skip


def configure(folder: Path, *options: str, source: Path = ROOT) -> str:
    """Configures a build of `source` in `folder`; returns where cmake is."""
    command = configure_command(folder, *options, source=source)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return command[0]


def build_command(folder: Path) -> list[str]:
    """Builds what is configured, on all processors; goes on after an error, so that one run shows all of them."""
    cmake = _tool("cmake")
    assert cmake is not None
    keep_going = ["-k", "0"] if (folder / "build.ninja").exists() else ["-k"]
    return [cmake, "--build", str(folder), "--parallel", str(os.cpu_count()), "--", *keep_going]


def is_error(line: str) -> bool:
    """Whether a line of a build's output says what went wrong."""
    return re.search(r"\b(error|fatal)\b|^FAILED|undefined reference|CMake Error", line, re.IGNORECASE) is not None


def module(folder: Path) -> Path:
    """What a build in `folder` makes."""
    return folder / f"kernels{sysconfig.get_config_var('EXT_SUFFIX')}"


def build(name: str, *options: str) -> Path:
    """Configures and builds in build/<name>, with all instruction sets unless the options say otherwise; returns the
    module."""
    folder = ROOT / "build" / name
    configure(folder, "-DWEFT_ISAS=all", *options)
    done = subprocess.run(build_command(folder), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:  # ninja prints the compiler's errors on its standard output
        print("\n".join(line for line in done.stdout.splitlines() if is_error(line))[-8000:])
        sys.exit(f"the build of {folder} failed")
    return module(folder)


def install(module: Path) -> Path:
    """Puts a copy of the package with the module in it beside the module; what PYTHONPATH must be."""
    package = module.parent / "python" / "weft"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "python" / "weft", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(module, package)
    return package.parent


def run_tests(module: Path, arguments: list[str], environment: dict[str, str]) -> int:
    """pytest's exit status, with `module` as weft.kernels."""
    package = install(module)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(package), **environment},
    ).returncode
