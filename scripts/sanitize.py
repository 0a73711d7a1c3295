"""Builds the module with the address and undefined-behaviour sanitizers and runs the kernel tests under them.

Arguments are passed on to pytest; without any, all tests of the kernels run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "sanitize"
# The tests that call weft.kernels itself. The others run the same kernels through more Python.
KERNEL_TESTS = [
    "array", "activation", "elementwise", "reduce", "index", "gemm", "conv2d", "pool2d", "softmax", "loss",
    "random", "optimizer_kernels", "data_kernels",
]  # fmt: skip


def library(name: str) -> str:
    compiler = os.environ.get("CXX", "g++")
    return subprocess.run(
        [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
    ).stdout.strip()


def build() -> Path:
    import pybind11

    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert cmake, "cmake is missing"
    subprocess.run(
        [cmake, "-S", str(ROOT), "-B", str(BUILD), "-DWEFT_SANITIZE=ON", "-DWEFT_ISAS=all",
         "-DCMAKE_CXX_FLAGS_RELEASE=-O1",
         f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run([cmake, "--build", str(BUILD), "--parallel", str(os.cpu_count())], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return BUILD / f"kernels{sysconfig.get_config_var('EXT_SUFFIX')}"


def main() -> int:
    module = build()
    # A copy of the package with the instrumented module in it.
    package = BUILD / "python" / "weft"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "python" / "weft", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(module, package)
    environment = {
        **os.environ,
        "PYTHONPATH": str(package.parent),
        # libstdc++ first would be too late for the interception of exceptions.
        "LD_PRELOAD": f"{library('libasan.so')}:{library('libstdc++.so')}",
        # Python itself leaks by design; a huge allocation is one of the tests.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "WEFT_SANITIZED": "1",
    }
    tests = sys.argv[1:] or [f"tests/test_{name}.py" for name in KERNEL_TESTS]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--capture=sys", *tests], cwd=ROOT, env=environment
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
