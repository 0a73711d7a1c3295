"""Builds the module with the CUDA backend on the emulator and runs the tests on the emulated device.

    python scripts/check/emulate_cuda.py plain [arguments of pytest]       # the suite, and tests/cuda in other orders
    python scripts/check/emulate_cuda.py plain --quick                     # the suite, and one other order
    python scripts/check/emulate_cuda.py checker [arguments of pytest]     # bounds, races, unwritten memory
    python scripts/check/emulate_cuda.py sanitizers [arguments of pytest]  # of addresses and undefined behaviour

tests/cuda_emulation/README.md says what each of the three finds. Without arguments for pytest: in the order of threads
and blocks that a loop has, the whole suite; else tests/cuda, which takes every way through the kernels at small sizes.
"""

from __future__ import annotations

import sys

import instrumented

# With the flags of a usual build: a compiler cache then has all but the device's code.
PLAIN = ["-DWEFT_CUDA=EMULATED", "-DWEFT_ISAS=none"]
BUILDS = {
    "plain": ("cuda_plain", PLAIN),
    "checker": ("cuda_checker", [*PLAIN, "-DWEFT_CUDA_CHECKER=ON"]),
    "sanitizers": ("cuda_sanitizers", [*PLAIN, *instrumented.SANITIZE]),
}
ORDERS = {"plain": ["forward", "reverse", "random:1"], "checker": ["forward"], "sanitizers": ["random:2"]}
CUDA = "tests/cuda"
# These start processes that choose their own device.
NEVER = {"bench", "bench_device", "cuda_emulation", "examples", "old_cpu"}


def environment(kind: str, order: str) -> dict[str, str]:
    """What the tests of a build run with."""
    added = {"WEFT_TEST_DEVICE": "cuda", "WEFT_EMULATED_ORDER": order}
    if kind != "plain":
        added["WEFT_CUDA_MEMCHECK"] = "1"
    if kind == "sanitizers":
        added.update(instrumented.sanitizer_environment())
    return added


def files(folder: str = "tests") -> list[str]:
    """The files of tests in a folder: those of the CUDA kernels are in tests/cuda."""
    paths = sorted((instrumented.ROOT / folder).rglob("test_*.py"))
    return [str(p.relative_to(instrumented.ROOT)) for p in paths if p.stem.removeprefix("test_") not in NEVER]


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in BUILDS:
        print(__doc__)
        return 2
    kind, given = sys.argv[1], sys.argv[2:]
    orders = ORDERS[kind]
    if "--quick" in given:
        given.remove("--quick")
        orders = orders[:2]
    name, options = BUILDS[kind]
    module = instrumented.build(name, *options)
    capture = ["--capture=sys"] if kind == "sanitizers" else []
    for order in orders:
        every = kind == "plain" and order == "forward"
        tests = given or ["-n", "auto", *files("tests" if every else CUDA)]
        print(f"\n-- CUDA emulated, {kind}, {order}", flush=True)
        status = instrumented.run_tests(module, [*capture, *tests], environment(kind, order))
        if status != 0:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
