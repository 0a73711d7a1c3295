"""What the rows compute with, made on the device: half a gigabyte takes longer from the host than all that is measured
with it. PyTorch gets the same memory (peer.py's view), so both compute with the same numbers at the same addresses."""

from __future__ import annotations

import weft
import weft.kernels as K
from bench.measure import Run

DEVICE = "cuda"


def normal(*shape: int, seed: int = 0) -> K.Array:
    """Numbers around 1/4, so that no sum of them is close to 0, where it would say little about its errors."""
    return K.normal(shape, 0.25, 1.0, generator=K.Generator(seed, DEVICE), device=DEVICE)


def labels(count: int, classes: int) -> K.Array:
    return K.randint((count,), 0, classes, generator=K.Generator(7, DEVICE), device=DEVICE)


def filled(value: float, *shape: int) -> K.Array:
    return K.full(shape, value, "float32", DEVICE)


def total_memory() -> int:
    return int(weft.cuda.get_device_properties()["total_memory"])


def free_memory() -> int:
    return int(weft.cuda.get_device_properties()["free_memory"])


MOST_ARRAYS = 8  # of one row: a peer's results and copies among them


def large(quick: bool) -> int:
    """Elements of a float32 array in the rows that memory bounds: 512 MiB, or so much that all arrays of a row lie in
    a quarter of the memory that is free."""
    if quick:
        return 1 << 14
    elements = 1 << 27
    while 4 * elements * MOST_ARRAYS > free_memory() // 4:
        elements //= 2
    return elements


class default_device:
    """A context in which new arrays lie on the rows' device."""

    def __enter__(self) -> None:
        self._before = K.default_device()
        K.set_default_device(DEVICE)

    def __exit__(self, *_: object) -> None:
        K.set_default_device(self._before)


def captured(run: Run) -> Run:
    """A run that takes no arguments, recorded. Without arguments a capture is of the default device, and from the third
    call on it is a replay."""
    made = weft.capture(run, copy_outputs=False)
    with default_device():
        for _ in range(2):
            made()
    return made
