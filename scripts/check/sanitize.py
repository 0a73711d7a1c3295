"""Builds the module with the address and undefined-behaviour sanitizers and runs the tests, or the fuzzer, under them.

The CPU's kernels; `emulate_cuda.py sanitizers` runs those of CUDA. Arguments are passed on to pytest; without
any, all tests run but those that start an emulated processor. With `fuzz` in front they go to the fuzzer.
"""

from __future__ import annotations

import os
import subprocess
import sys

import instrumented


def main() -> int:
    module = instrumented.build("sanitize", *instrumented.SANITIZE, "-DWEFT_CUDA=OFF")
    environment = instrumented.sanitizer_environment()
    if sys.argv[1:2] == ["fuzz"]:
        path = str(instrumented.install(module))
        return subprocess.run(
            [sys.executable, "-m", "tests.fuzz", *sys.argv[2:]],
            cwd=instrumented.ROOT,
            env={**os.environ, "PYTHONPATH": path, **environment},
        ).returncode
    tests = sys.argv[1:] or ["-n", "auto", "tests", "--ignore=tests/tools/test_old_cpu.py"]
    return instrumented.run_tests(module, ["--capture=sys", *tests], environment)


if __name__ == "__main__":
    sys.exit(main())
