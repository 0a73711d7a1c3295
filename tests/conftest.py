from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest

import weft.kernels as K
from helpers import isa

hypothesis.settings.register_profile(
    "weft",
    deadline=None,
    max_examples=40,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("weft")


@pytest.fixture(autouse=True)
def poison() -> Iterator[None]:
    """New arrays hold NaN, so that an element that no kernel wrote shows."""
    K.set_poison(True)
    yield
    K.set_poison(False)


@pytest.fixture(params=[name for name in K.available_isas() if name not in ("reference", "avx512bf16")])
def every_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test once for each instruction set that this machine has.

    But for the one with the dot product of bfloat16: its other kernels are those of AVX-512.
    """
    with isa(request.param):
        yield request.param


@pytest.fixture(params=[name for name in K.available_isas() if name != "avx512bf16"])
def every_implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same with the naive kernels, for tests against something else than these."""
    with isa(request.param):
        yield request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
