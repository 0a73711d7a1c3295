"""Random numbers of the CUDA backend: all ways of its kernels, and the same bits as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import reference

pytestmark = pytest.mark.usefixtures("cuda_device")


def generator(seed: int = 0) -> K.Generator:
    return K.Generator(seed, K.default_device())


def test_more_numbers_than_threads() -> None:
    """The grid goes around its loop; the last block of words is used in part."""
    n = 132 * 16 * 256 * 4 + 4099
    got, wanted = K.uniform(n, generator=generator(3)), reference(K.uniform, n, generator=K.Generator(3))
    assert np.asarray(got).tobytes() == np.asarray(wanted).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_memory_of_any_alignment(dtype: str, start: int) -> None:
    """Not aligned, an array is written element by element; nothing beside it is."""
    for n in (1, 4, 7, 1030):
        whole = weft.zeros(n + 5, dtype=dtype)
        K.fill_bernoulli(whole[start : start + n], 0.5, generator(n))
        expected = np.zeros(n + 5)
        expected[start : start + n] = np.asarray(reference(K.bernoulli, n, 0.5, generator=K.Generator(n)))
        assert (np.asarray(K.cast(whole, "float64")) == expected).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_of_any_alignment(dtype: str) -> None:
    x = weft.randn(1031, dtype=dtype)
    for part in (x, x[1:], x[3:9]):
        out, mask = K.dropout(part, 0.4, generator(2))
        wanted, wanted_mask = reference(K.dropout, K.copy(part), 0.4, K.Generator(2))
        assert np.asarray(out).tobytes() == np.asarray(wanted).tobytes()
        assert (np.asarray(mask) == np.asarray(wanted_mask)).all()
        dx = K.dropout_backward(part, mask, 0.4)
        assert np.asarray(dx).tobytes() == np.asarray(wanted).tobytes()


def test_the_state_lies_on_the_device() -> None:
    g = generator(9)
    K.uniform(10, generator=g)
    K.dropout(weft.zeros(5), 0.5, g)
    assert g.get_state() == (9, 5)
    g.set_state((2**63 + 1, 2**32 - 1))
    K.randint(9, 0, 5, generator=g)
    assert g.get_state() == (2**63 + 1, 2**32 + 2)


def test_a_generator_fills_arrays_of_its_device() -> None:
    with pytest.raises(RuntimeError, match="dropout: input is on cuda:0 but the generator is on cpu"):
        K.dropout(weft.zeros(5), 0.5, K.Generator(1))
