"""Builds the CUDA backend as it is for real devices and looks at what came out; needs nvcc and no GPU.

- No warning, and no register spilled to memory, in any kernel, for any architecture.
- No kernel takes more registers than it may (below): more would leave fewer threads on a multiprocessor.
- The module is imported and computes on the CPU where there is no driver.

Prints what ptxas says of each kernel that is out of bounds. `--report FILE` writes it there of all.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import instrumented

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "cuda"
# Registers for each thread. 128 let 512 threads be on a multiprocessor (65,536 registers), which hides latency for
# what is bound by memory; tiled products hold their results in registers and hide it by instructions in flight.
MOST_REGISTERS = 128
# What holds whole rows in registers, to read memory once, does so too. By a part of the source's or kernel's name.
MORE_REGISTERS = {"gemm": 255, "conv2d": 255, "row_norm": 168, "cross_entropy": 176, "softmax": 144}


class Kernel(NamedTuple):
    source: str
    name: str
    architecture: str
    registers: int
    stack: int
    spilled: int
    shared: int


def build(architectures: str | None) -> str:
    """Everything that the build prints; for the architectures of CMake's list, else those of a usual build."""
    options = ["-DWEFT_CUDA=ON", "-DWEFT_ISAS=none", "-DWEFT_WERROR=ON", "-DCMAKE_CUDA_FLAGS=-Xptxas=-v"]
    options.append(f"-DCMAKE_CUDA_ARCHITECTURES={architectures}" if architectures else "-UCMAKE_CUDA_ARCHITECTURES")
    cmake = instrumented.configure(FOLDER, *options)
    # From nothing: a source that is up to date prints no report.
    subprocess.run([cmake, "--build", str(FOLDER), "--target", "clean"], check=True, stdout=subprocess.DEVNULL)
    command = [cmake, "--build", str(FOLDER), "--parallel", str(os.cpu_count())]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        print("\n".join(line for line in result.stdout.splitlines() if "ptxas info" not in line)[-8000:])
        sys.exit("check_cuda_build: the build failed")
    return result.stdout


def demangled(text: str) -> str:
    return subprocess.run(["c++filt"], input=text, check=True, capture_output=True, text=True).stdout


ENTRY = re.compile(
    r"Compiling entry function '([^\n]+?)' for 'sm_(\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
    r"(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)",
    re.DOTALL,
)


def kernels(report: str) -> list[Kernel]:
    found = []
    for name, architecture, stack, stores, loads, registers, rest in ENTRY.findall(report):
        shared = re.search(r"(\d+) bytes smem", rest)
        # nvcc puts the source's name into that of its anonymous namespace.
        source = re.search(r"_GLOBAL__N__[0-9a-f]+_\d+_(\w+?)_cu_", name)
        found.append(
            Kernel(
                source[1] if source else "", name, architecture, int(registers), int(stack), int(stores) + int(loads),
                int(shared[1]) if shared else 0,
            )
        )  # fmt: skip
    return found


def allowed(name: str) -> int:
    return max((most for part, most in MORE_REGISTERS.items() if part in name), default=MOST_REGISTERS)


def check_import() -> None:
    """Without a driver, in a process that knows nothing of this checkout's own package."""
    module = FOLDER / f"kernels{sysconfig.get_config_var('EXT_SUFFIX')}"
    package = instrumented.install(module)
    code = """
import weft
assert weft.kernels.cuda_built() and not weft.kernels.cuda_emulated()
print("imported:", weft.cuda.unavailable_reason() or f"{weft.cuda.device_count()} devices")
assert float((weft.ones(3) + 1).sum()) == 6
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(package)})
    print(f"the module has {module.stat().st_size / 1e6:.1f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path)
    parser.add_argument("--architectures", help="only these, as CMake lists them: 90, or 80-real;90")
    arguments = parser.parse_args()
    found = kernels(build(arguments.architectures))
    names = demangled("\n".join(k.name for k in found)).splitlines()
    lines, faults = [], 0
    for kernel, name in zip(found, names, strict=True):
        short = re.sub(r"weft::cuda::|\(anonymous namespace\)::|\(.*", "", name)
        line = (
            f"sm_{kernel.architecture} {kernel.registers:4d} registers {kernel.shared:6d} B shared "
            f"{kernel.stack:5d} B stack {kernel.spilled:5d} B spilled  {kernel.source}: {short}"
        )
        bad = kernel.spilled > 0 or kernel.registers > allowed(f"{kernel.source} {short}")
        faults += bad
        lines.append(line + ("   <-- too many" if bad else ""))
    lines.sort()
    if arguments.report:
        arguments.report.write_text("\n".join(lines) + "\n")
    print("\n".join(line for line in lines if "<--" in line))
    print(f"check_cuda_build: {len(found)} kernels, {faults} with spills or too many registers")
    check_import()
    return 1 if faults or not found else 0


if __name__ == "__main__":
    sys.exit(main())
