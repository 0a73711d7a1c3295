"""Checks that the objects of csrc/cpu share nothing that the linker could merge.

Each source there is compiled once per instruction set. A weak symbol outside of that copy's own namespace
(an inline function, a template of the standard library) exists once in the finished module, and the linker is
free to keep the AVX-512 copy of it, which then crashes an old processor. So there must be none.

Usage: python scripts/check/check_isa_symbols.py [build folder]
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OBJECT = re.compile(r"weft_cpu_(\w+)\.dir")
# Symbols that the compiler itself makes and that hold no code of ours.
HARMLESS = re.compile(r"^(DW\.ref\.__gxx_personality_v0|__clang_call_terminate)$")


def weak_symbols(path: Path) -> list[str]:
    listing = subprocess.run(
        ["nm", "--demangle", "--defined-only", str(path)], check=True, capture_output=True, text=True
    ).stdout
    found = []
    for line in listing.splitlines():
        _, kind, name = line.split(maxsplit=2)
        if kind in "WVu":
            found.append(name)
    return found


def main() -> int:
    build = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build"
    # Not those of the sanitizers, which bring symbols of their own.
    objects = [o for o in build.rglob("*.o") if OBJECT.search(str(o)) and "sanitize" not in str(o.relative_to(build))]
    if not objects:
        print(f"check_isa_symbols: no objects of csrc/cpu under {build}; build first")
        return 1
    faults = 0
    for path in sorted(objects):
        match = OBJECT.search(str(path))
        assert match
        own = f"weft::cpu::{match[1]}::"
        for name in weak_symbols(path):
            if own not in name and not HARMLESS.match(name):
                print(f"{path.name} ({match[1]}): {name}")
                faults += 1
    print(f"check_isa_symbols: {len(objects)} objects, {faults} symbols that could be merged")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
