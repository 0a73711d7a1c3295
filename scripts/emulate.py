"""Runs the tests on CUDA devices that are emulated: csrc/cuda compiled for the host (tests/cuda_emulation/README.md).

    python scripts/emulate.py plain      the suite in the order of threads and blocks that a loop has; the kernels'
                                         tests backwards and in a random order too
    python scripts/emulate.py sanitize   the suite under the address and undefined-behaviour sanitizers
    python scripts/emulate.py checker    the kernels' tests with every access of the kernels checked: bounds, races,
                                         unwritten memory

Each finds other faults. Further arguments are passed on to pytest instead of the files that are named here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import instrumented

# What runs no kernel of its own: whole trainings, examples, pictures, the CPU's methods.
ABOVE_KERNELS = {
    *(
        "bench",
        "checkpoint",
        "cuda_emulation",
        "examples",
        "init",
        "lr_scheduler",
        "old_cpu",
        "serialization",
        "summary",
    ),
    *("threads", "train", "train_capture"),
}
NEVER = {"bench", "cuda_emulation", "examples", "old_cpu"}  # they start processes that choose their own device


def files(without: set[str]) -> list[str]:
    tests = sorted((instrumented.ROOT / "tests").glob("test_*.py"))
    return [
        str(path.relative_to(instrumented.ROOT)) for path in tests if path.stem.removeprefix("test_") not in without
    ]


def run(module: Path, tests: list[str], **environment: str) -> int:
    print(f"\n{len(tests)} files, {environment}", flush=True)
    return instrumented.run_tests(module, ["-n", "auto", *tests], {"WEFT_TEST_DEVICE": "cuda", **environment})


def plain(given: list[str]) -> int:
    module = instrumented.build("emulated", "-DWEFT_CUDA=EMULATED", "-DWEFT_ISAS=none", "-DCMAKE_CXX_FLAGS_RELEASE=-O2")
    every, kernels = given or files(NEVER), given or files(ABOVE_KERNELS)
    return (
        run(module, every)
        or run(module, kernels, WEFT_EMULATED_ORDER="reverse", WEFT_EMULATED_STRICT="1")
        or run(module, kernels, WEFT_EMULATED_ORDER="random:1")
    )


def sanitize(given: list[str]) -> int:
    module = instrumented.build("sanitize", "-DWEFT_SANITIZE=ON", "-DWEFT_CUDA=EMULATED")
    options = {**instrumented.sanitizer_environment(), "WEFT_EMULATED_ORDER": "random:2"}
    return run(module, ["--capture=sys", *(given or files(ABOVE_KERNELS))], **options)


def checker(given: list[str]) -> int:
    module = instrumented.build(
        "checker", "-DWEFT_CUDA=EMULATED", "-DWEFT_CUDA_CHECKER=ON", "-DWEFT_ISAS=none", "-DCMAKE_CXX_FLAGS_RELEASE=-O2"
    )
    return run(module, given or files(ABOVE_KERNELS), WEFT_CUDA_MEMCHECK="1")


def main() -> int:
    modes = {"plain": plain, "sanitize": sanitize, "checker": checker}
    if len(sys.argv) < 2 or sys.argv[1] not in modes:
        print(__doc__)
        return 2
    return modes[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
