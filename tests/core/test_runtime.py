"""Instruction sets, threads, memory statistics: the settings of the process."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import weft.kernels as K
from helpers import isa, threads


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_reference_and_baseline_are_always_there() -> None:
    assert K.available_isas()[:2] == ["reference", "baseline"]
    assert K.isa() in K.available_isas()


def test_set_isa() -> None:
    with isa("reference"):
        assert K.isa() == "reference"
    with pytest.raises(ValueError, match="set_isa: this build and processor have reference, baseline.*; got 'mmx'"):
        K.set_isa("mmx")


@pytest.mark.parametrize("name", K.available_isas())
def test_isa_from_the_environment(name: str) -> None:
    done = run("import weft.kernels as K; print(K.isa())", WEFT_ISA=name)
    assert done.stdout.strip() == name, done.stderr


def test_threads() -> None:
    with threads(3):
        assert K.num_threads() == 3
    with pytest.raises(ValueError, match="set_num_threads: expected 1 to 1023 threads, got 0"):
        K.set_num_threads(0)


def test_omp_num_threads_is_the_default() -> None:
    done = run("import weft.kernels as K; print(K.num_threads())", OMP_NUM_THREADS="3")
    assert done.stdout.strip() == "3", done.stderr


@pytest.mark.cpu
def test_freed_memory_is_used_again() -> None:
    x = np.ones(100_003, np.float32)
    K.relu(x)
    before = K.memory_stats()
    K.relu(x)
    after = K.memory_stats()
    assert after["hits"] == before["hits"] + 1
    assert after["misses"] == before["misses"]
    assert after["allocated"] == before["allocated"]


@pytest.mark.cpu
def test_peak_and_empty_cache() -> None:
    K.empty_cache()
    K.reset_peak_memory()
    start = K.memory_stats()
    assert start["reserved"] == start["allocated"] == start["peak"]
    held = K.empty((1000, 1000))
    assert K.memory_stats()["peak"] >= start["allocated"] + held.nbytes
    del held
    assert K.memory_stats()["reserved"] > start["reserved"]
    K.empty_cache()
    assert K.memory_stats()["reserved"] == start["reserved"]


def test_no_cuda_here_is_an_error_that_says_so() -> None:
    if K.cuda_built():
        return
    assert K.cuda_device_count() == 0
    with pytest.raises(RuntimeError, match="cuda: this build of weft has no CUDA backend.*WEFT_CUDA=ON"):
        K.zeros((2,), device="cuda")
    with pytest.raises(ValueError, match="device: expected 'cpu', 'cuda' or 'cuda:<index>', got 'tpu'"):
        K.zeros((2,), device="tpu")
