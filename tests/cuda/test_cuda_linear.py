"""The gradients of linear layers and the inputs of replays on the device, at the edges of what a block takes."""

from __future__ import annotations

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import assert_close, reference, to_numpy

pytestmark = pytest.mark.usefixtures("cuda_device")


@pytest.mark.parametrize("activation", ["none", "tanh"])
@pytest.mark.parametrize("size", [(1, 40, 33), (33, 65, 31), (64, 32, 64), (70, 7, 97)], ids=str)
def test_gradients_of_whole_and_partial_tiles(
    rng: np.random.Generator, size: tuple[int, int, int], activation: str
) -> None:
    rows, width, out = size
    dout, x, weight, y = (
        rng.uniform(-1, 1, s).astype(np.float32) for s in ((rows, out), (rows, width), (out, width), (rows, out))
    )
    saved = None if activation == "none" else y
    wide = [None if a is None else a.astype(np.float64) for a in (dout, x, weight, saved)]
    expected = reference(K.linear_backward, *wide, activation)
    for _ in range(2):  # nothing of the first launch is left in the second
        found = K.linear_backward(dout, x, weight, saved, activation)
        for gradient, exact, terms in zip(found, expected, (out, rows, rows), strict=True):
            assert_close(gradient, exact, dtype="float32", terms=terms, factor=2)


def test_inputs_of_replays_of_any_size_and_address(rng: np.random.Generator) -> None:
    sizes = [1, 15, 16, 17, 4096, 5003]
    wide = [rng.integers(0, 200, size + 16).astype(np.uint8) for size in sizes]

    @weft.capture
    def add(*arrays: weft.Tensor) -> list[weft.Tensor]:
        return [array + 1 for array in arrays]

    for offset in (0, 1, 8):
        there = [K.asarray(w, device="cuda")[offset : offset + size] for w, size in zip(wide, sizes, strict=True)]
        found = add(*(weft.Tensor(array) for array in there))
        for w, size, result in zip(wide, sizes, found, strict=True):
            np.testing.assert_array_equal(to_numpy(result.array), w[offset : offset + size] + 1)
