"""Builds the module for this machine's device alone."""

from __future__ import annotations

import re
import shutil
import time
from typing import Any

import emulate_cuda
import instrumented

from gpu import machine
from gpu.part import NotPossible, Part

PROGRESS = re.compile(r"^\[\s*\d+[/%]")


class Output:
    """Which lines of a build are shown: errors, and where it is every ten seconds."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.progress = ""
        self._shown = 0.0
        self._inside = False  # what CMake has to say of an error follows indented

    def __call__(self, line: str) -> bool:
        self._inside = line.startswith("CMake Error") or (self._inside and line.startswith("  "))
        if self._inside or instrumented.is_error(line):
            self.errors.append(line)
            return len(self.errors) <= 60
        if PROGRESS.match(line):
            self.progress = line.strip()
            if time.monotonic() - self._shown > 10:
                self._shown = time.monotonic()
                return True
        return False

    def first(self) -> str:
        """The first error in one line; empty where none was recognized."""
        found = [line for line in self.errors if not line.startswith("FAILED")] or self.errors
        if found and found[0].startswith("CMake Error"):
            following = [line.strip() for line in found[1:4] if line.startswith("  ")]
            return " ".join([found[0], *following])
        return found[0] if found else ""


def options(part: Part) -> list[str]:
    if part.settings.emulated:
        return emulate_cuda.PLAIN
    nvcc = machine.tool("nvcc")
    if nvcc is None:
        raise NotPossible("nvcc is not installed: it is in neither PATH nor CUDA_HOME nor /usr/local/cuda")
    chosen = ["-DWEFT_CUDA=ON", "-DWEFT_ISAS=none", "-DCMAKE_CXX_FLAGS_RELEASE=-O2", f"-DCMAKE_CUDA_COMPILER={nvcc}"]
    architectures = machine.architectures(machine.devices())
    part.report(architectures=architectures or "the default ones: no device answers")
    return [*chosen, f"-DCMAKE_CUDA_ARCHITECTURES={architectures}"] if architectures else chosen


def build(part: Part) -> dict[str, Any]:
    folder, output = part.settings.build, Output()

    def report() -> None:
        part.report(errors=output.errors[-60:], progress=output.progress)

    try:
        configure = instrumented.configure_command(folder, *options(part))
    except (ImportError, FileNotFoundError) as error:
        raise NotPossible(f"{error}") from error
    shutil.rmtree(folder / "python", ignore_errors=True)  # so that no part takes a module of other sources
    for command in (lambda: configure, lambda: instrumented.build_command(folder)):
        done = part.run(command(), shown=output, tick=report)
        if done.status is None:
            return {"status": "out of time", "reason": f"at {output.progress or 'the configuration'}; "
                    "another run of this part goes on from there"}  # fmt: skip
        if done.status != 0:
            text = output.first() or done.last()
            return {"status": "failed", "reason": text, "errors": output.errors[-60:] or done.tail[-20:]}
    instrumented.install(instrumented.module(folder))
    return {"status": "passed", "reason": f"{folder / 'python'}"}
