"""Fixtures, and the device on which the suite runs: WEFT_TEST_DEVICE=cuda makes that the default device, so that the
arguments of all tests go there. Tests of the CPU's own implementation carry the mark `cpu` and are left out then; those
that use the fixture `cuda_device` run only there.

WEFT_ISA=avx2 makes that the CPU's instruction set; tests that take each in turn, and those that run no kernel, are then
left out; the latter under the sanitizers too.

WEFT_TEST_EXAMPLES=10 is how many examples hypothesis draws for each test that it draws for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest

import weft.kernels as K
from helpers import isa

DEVICE = os.environ.get("WEFT_TEST_DEVICE", "cpu")

hypothesis.settings.register_profile(
    "weft",
    deadline=None,
    max_examples=int(os.environ.get("WEFT_TEST_EXAMPLES", 40 if DEVICE == "cpu" else 10)),
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("weft")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cpu: concerns the CPU's implementation; left out on other devices")
    config.addinivalue_line("markers", "emulated: needs circumstances that only the emulator makes; left out on a GPU")
    config.addinivalue_line("markers", "once: runs no kernel of this process; left out with WEFT_ISA and sanitizers")
    config.addinivalue_line("markers", "needs(package, ...): skipped, with a reason that names it, without a package")
    K.set_default_device(DEVICE)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for package in marker.args:
            pytest.importorskip(package)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the tests of the device; on another one than the CPU, of those with several ISAs only one."""

    def wanted(item: pytest.Item) -> bool:
        if DEVICE == "cpu":
            in_turn = not {"every_isa", "every_implementation"}.isdisjoint(item.fixturenames)
            once = item.get_closest_marker("once") and not {"WEFT_ISA", "WEFT_SANITIZED"}.isdisjoint(os.environ)
            left_out = once or ("WEFT_ISA" in os.environ and in_turn)
            return "cuda_device" not in item.fixturenames and not left_out
        if item.get_closest_marker("emulated") and not K.cuda_emulated():
            return False
        return item.get_closest_marker("cpu") is None

    config.hook.pytest_deselected(items=[item for item in items if not wanted(item)])
    items[:] = [item for item in items if wanted(item)]


@pytest.fixture(autouse=True)
def poison() -> Iterator[None]:
    """New arrays hold NaN, so that an element that no kernel wrote shows."""
    K.set_poison(True)
    yield
    K.set_poison(False)
    if DEVICE != "cpu":  # what went wrong there belongs to this test
        K.cuda_synchronize()


@pytest.fixture
def cuda_device() -> str:
    """For tests of the CUDA backend alone."""
    return DEVICE


def isas(*others: str) -> list[str]:
    """The instruction sets to test on; one on another device than the CPU, where they change nothing."""
    names = [name for name in K.available_isas() if name not in others]
    return names if DEVICE == "cpu" else names[-1:]


@pytest.fixture(params=isas("reference", "avx512bf16"))
def every_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test once for each instruction set that this machine has.

    But for the one with the dot product of bfloat16: its other kernels are those of AVX-512.
    """
    with isa(request.param):
        yield request.param


@pytest.fixture(params=isas("avx512bf16"))
def every_implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same with the naive kernels, for tests against something else than these."""
    with isa(request.param):
        yield request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
