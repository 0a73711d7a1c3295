"""What CMake decides: whether the CUDA backend is built. Nothing is compiled but CMake's own trials."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT

pytestmark = [pytest.mark.cpu, pytest.mark.once, pytest.mark.needs("pybind11")]

# A driver that finds one GPU.
DRIVER = "int cuInit(unsigned flags) { return 0; } int cuDeviceGetCount(int* count) { *count = 1; return 0; }"


def configure(folder: Path, *options: str, **variables: str) -> str:
    """What CMake prints."""
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if cmake is None or shutil.which("c++") is None:
        pytest.skip("needs cmake and a compiler")
    command = [cmake, "-S", str(ROOT), "-B", str(folder), f"-DPython_EXECUTABLE={sys.executable}", *options]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    return " ".join(f"{done.stdout} {done.stderr}".split())


def test_auto_without_a_gpu_builds_no_cuda_backend_and_says_how_to_get_it(tmp_path: Path) -> None:
    printed = configure(tmp_path / "build", CUDA_VISIBLE_DEVICES="")
    assert (
        "weft: CUDA backend OFF: no GPU answers here. To build it nevertheless: -DWEFT_CUDA=ON, "
        "make <target> CUDA=ON, or pip install . -C cmake.define.WEFT_CUDA=ON"
    ) in printed
    assert "Build files have been written to" in printed


def test_auto_with_a_gpu_asks_for_a_toolkit(tmp_path: Path) -> None:
    source = tmp_path / "driver.c"
    source.write_text(DRIVER)
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(tmp_path / "libcuda.so.1"), str(source)], check=True)
    printed = configure(tmp_path / "build", CUDACXX=str(tmp_path / "no nvcc"), LD_LIBRARY_PATH=str(tmp_path))
    assert "weft: CUDA backend OFF: a GPU answers, but no CUDA toolkit of 12.8 or later was found." in printed


def test_without_pybind11_the_python_and_the_remedy_are_named(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    printed = configure(tmp_path / "build", f"-DPython_EXECUTABLE={python}", PYTHONPATH="")
    if "weft: CUDA backend" in printed:
        pytest.skip("the system has a pybind11 of its own")
    assert f"weft needs pybind11 2.13 or later, and {python} has none: `{python} -m pip install pybind11`" in printed
