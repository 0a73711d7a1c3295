"""Builds the module with the address and undefined-behaviour sanitizers and runs the tests under them.

Arguments are passed on to pytest; without any, all tests run but those that start an emulated processor.
"""

from __future__ import annotations

import sys

import instrumented


def main() -> int:
    module = instrumented.build("sanitize", "-DWEFT_SANITIZE=ON")
    environment = {
        # libstdc++ first would be too late for the interception of exceptions.
        "LD_PRELOAD": ":".join(map(instrumented.compiler_library, ("libasan.so", "libstdc++.so"))),
        # Python itself leaks by design; a huge allocation is one of the tests.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "WEFT_SANITIZED": "1",
    }
    tests = sys.argv[1:] or ["tests", "--ignore=tests/test_old_cpu.py"]
    return instrumented.run_tests(module, ["--capture=sys", *tests], environment)


if __name__ == "__main__":
    sys.exit(main())
