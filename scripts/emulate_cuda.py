"""Builds the module with the CUDA backend on the emulator and runs the tests on the emulated device.

    python scripts/emulate_cuda.py plain [arguments of pytest]       # in three orders of threads
    python scripts/emulate_cuda.py checker [arguments of pytest]     # bounds, races, unwritten memory
    python scripts/emulate_cuda.py sanitizers [arguments of pytest]  # AddressSanitizer, UndefinedBehaviorSanitizer

tests/cuda_emulation/README.md says what each of the three finds.
"""

from __future__ import annotations

import sys

import instrumented

OPTIONS = {"plain": [], "checker": ["-DWEFT_CUDA_CHECKER=ON"], "sanitizers": ["-DWEFT_SANITIZE=ON"]}
ORDERS = {"plain": ["forward", "reverse", "random:1"], "checker": ["forward"], "sanitizers": ["forward"]}


def environment(kind: str, order: str) -> dict[str, str]:
    """What the tests of a build run with."""
    added = {"WEFT_TEST_DEVICE": "cuda", "WEFT_EMULATED_ORDER": order}
    if kind != "plain":
        added["WEFT_CUDA_MEMCHECK"] = "1"
    if kind == "sanitizers":
        # libstdc++ first would be too late for the interception of exceptions.
        added["LD_PRELOAD"] = ":".join(map(instrumented.compiler_library, ("libasan.so", "libstdc++.so")))
        added["ASAN_OPTIONS"] = "detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=0"
        added["UBSAN_OPTIONS"] = "print_stacktrace=1"
        added["WEFT_SANITIZED"] = "1"
    return added


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in OPTIONS:
        print(__doc__)
        return 2
    kind, tests = sys.argv[1], sys.argv[2:] or ["tests"]
    module = instrumented.build(f"cuda_{kind}", "-DWEFT_ISAS=none", "-DWEFT_CUDA=EMULATED", *OPTIONS[kind])
    capture = ["--capture=sys"] if kind == "sanitizers" else []
    return max(instrumented.run_tests(module, [*capture, *tests], environment(kind, order)) for order in ORDERS[kind])


if __name__ == "__main__":
    sys.exit(main())
