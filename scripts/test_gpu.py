"""All checks that need a CUDA device, in one command: `make test-gpu`, or this with the Python that has PyTorch.

    build      the real backend for this machine's device (build/gpu)
    suite      the whole test suite on the device
    sanitizer  compute-sanitizer's four tools over the kernels' tests
    bench      python -m bench --device cuda --vs torch -> bench/results/<device>.json

Needs nvcc, CMake, pybind11, NumPy, pytest, hypothesis and, for the comparison, PyTorch, all installed already: nothing
is fetched. Ten minutes on 16 processors. `--only bench` does one part; each part runs even where one before failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import instrumented

ROOT = instrumented.ROOT
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
# One file for each family of kernels: what launches every kernel at small sizes.
SANITIZED = "tests/test_cuda_*.py"
JOBS = str(min(8, os.cpu_count() or 1))  # processes that share the device


def suite(module: Path) -> int:
    tests = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "tests").glob("test_*.py"))]
    left_out = ("test_old_cpu", "test_bench", "test_examples", "test_cuda_emulation")
    chosen = [t for t in tests if Path(t).stem not in left_out]
    arguments = ["-q", "--maxfail=50", *chosen]
    if _has("xdist"):
        arguments = ["-n", JOBS, *arguments]
    return instrumented.run_tests(module, arguments, {"WEFT_TEST_DEVICE": "cuda"})


def _has(package: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True).returncode == 0


def sanitizer(module: Path) -> int:
    tool_path = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(tool_path).exists():
        print("compute-sanitizer is not installed: left out")
        return 0
    tests = [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob(SANITIZED)) if "emulation" not in p.name]
    package = module.parent / "python"
    environment = {**os.environ, "PYTHONPATH": str(package), "WEFT_TEST_DEVICE": "cuda", "WEFT_CUDA_MEMCHECK": "1"}
    running = {}
    for tool in TOOLS:  # side by side
        log = module.parent / f"{tool}.log"
        command = [tool_path, "--tool", tool, "--error-exitcode", "9", "--target-processes", "all",
                   "--launch-timeout", "60", sys.executable, "-m", "pytest", "-q", *tests]  # fmt: skip
        with log.open("w") as out:
            running[tool] = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=environment)
    failed = 0
    for tool, process in running.items():
        failed |= process.wait()
        lines = (module.parent / f"{tool}.log").read_text().splitlines()
        print(f"-- {tool}: exit status {process.returncode}")
        print("\n".join([line for line in lines if "ERROR SUMMARY" in line or "Error:" in line][:10] + lines[-3:]))
    return failed


def bench(module: Path) -> int:
    package = module.parent / "python"
    environment = {**os.environ, "PYTHONPATH": f"{package}:{ROOT}"}
    query = [sys.executable, "-c", "import weft; print(weft.cuda.get_device_properties()['name'])"]
    name = subprocess.run(query, check=True, capture_output=True, text=True, env=environment).stdout.strip().lower()
    result = ROOT / "bench" / "results" / f"{re.sub('[^a-z0-9]+', '-', name)}.json"
    command = [sys.executable, "-m", "bench", "--device", "cuda", "--vs", "torch", "--json", str(result)]
    status = subprocess.run(command, cwd=ROOT, env=environment).returncode
    print(f"written to {result}")
    return status


def main() -> int:
    parts: dict[str, Callable[[Path], int]] = {"suite": suite, "sanitizer": sanitizer, "bench": bench}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(parts), action="append", help="this part; may be given several times")
    arguments = parser.parse_args()
    start = time.perf_counter()
    module = instrumented.build("gpu", "-DWEFT_CUDA=ON", "-DWEFT_ISAS=none", "-DCMAKE_CXX_FLAGS_RELEASE=-O2")
    instrumented.install(module)
    failed = []
    for name, part in parts.items():
        if arguments.only and name not in arguments.only:
            continue
        print(f"\n== {name} ({time.perf_counter() - start:.0f} s)", flush=True)
        if part(module) != 0:
            failed.append(name)
    print(f"\n== done ({time.perf_counter() - start:.0f} s); failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
