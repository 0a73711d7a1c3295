"""The CUDA kernels of reading and adding by index, and of the checks of indices: each way through their policies. They
have the bits of the CPU's naive kernels."""

from __future__ import annotations

import numpy as np
import pytest

import weft.kernels as K
from helpers import check_naive, small_numbers, values

pytestmark = pytest.mark.usefixtures("cuda_device")

DTYPES = ["float32", "float64", "bfloat16", "int64", "int32", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inner", [1, 2, 3, 4, 6, 8, 12, 16, 31])
def test_rows_of_all_lengths(rng: np.random.Generator, inner: int, dtype: str) -> None:
    x, index = small_numbers(rng, (2, 7, inner), dtype), rng.integers(-7, 7, 40)
    check_naive(lambda a: K.index_select(a, 1, index), x)
    flat = K.cat([small_numbers(rng, (1,), dtype), x.reshape((14 * inner,))])
    check_naive(lambda a: K.index_select(a[1:].reshape((14, inner)), 0, index), flat)  # begins anywhere


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "uint8"])
def test_reading_much(rng: np.random.Generator, dtype: str) -> None:
    x = small_numbers(rng, (5, 13, 3), dtype)
    index = rng.integers(-13, 13, 4001)
    check_naive(lambda a: K.index_select(a, 1, index), x)
    each = rng.integers(-13, 13, (5, 4001, 3))
    check_naive(lambda a: K.gather(a, 1, each), x)
    check_naive(lambda a: K.gather(a, 1, each[:, :50]), x)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 7, 10, 16, 33])
def test_one_hot(rng: np.random.Generator, classes: int, dtype: str) -> None:
    for count in (1, 5, 1000, 60_000 // classes):
        index = rng.integers(0, classes, count)
        check_naive(lambda i: K.one_hot(i, classes, dtype), index)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
@pytest.mark.parametrize(
    ("shape", "axis", "count"),
    [
        ((5,), 0, 33),  # sorted in one pass
        ((300, 3), 0, 700),  # two passes
        ((70_000,), 0, 2100),  # three, two tiles
        ((2, 9, 4), 1, 4100),
        ((3, 2, 5), 2, 2048),
        ((4, 6), 0, 32),  # a thread for each column
        ((4, 700), 0, 90),
        ((7, 3), 0, 50_100),
    ],
    ids=str,
)
def test_adding_in_order(rng: np.random.Generator, shape: tuple[int, ...], axis: int, count: int, dtype: str) -> None:
    def draw(*size: int) -> np.ndarray:
        if dtype in ("float32", "float64"):
            return rng.normal(size=size).astype(dtype)
        return rng.integers(0, 200, size).astype(dtype)

    n, total = shape[axis], (*shape[:axis], count, *shape[axis + 1 :])
    x, out = draw(*total), draw(*shape)

    def index_add(target: np.ndarray, index: np.ndarray, added: np.ndarray) -> K.Array:
        made = K.copy(target)
        K.index_add(made, axis, index, added)
        return made

    def scatter_add(target: np.ndarray, index: np.ndarray, added: np.ndarray) -> K.Array:
        made = K.copy(target)
        K.scatter_add(made, axis, index, added)
        return made

    check_naive(index_add, out, rng.integers(-n, n, count), x)
    check_naive(index_add, out, np.full(count, n - 1), x)
    check_naive(index_add, out, np.sort(rng.integers(0, n, count))[::-1].copy(), x)
    check_naive(scatter_add, out, rng.integers(-n, n, total), x)
    check_naive(scatter_add, out, np.zeros(total, int), x)


def test_bad_indices_are_passed_over(rng: np.random.Generator) -> None:
    """In a replay a check is looked at after the kernels that follow it, which must not read what isn't there."""
    table, many = K.asarray(np.ones((5, 4), np.float32)), K.asarray(np.ones((60, 4), np.float32))
    good = np.zeros(60, np.int64)

    def pass_all(index: K.Array) -> list[K.Array]:
        added, few, each = (K.zeros((5, 4)) for _ in range(3))
        K.index_add(added, 0, index, many)
        K.index_add(few, 0, index[:8], many[:8])
        K.scatter_add(each, 0, K.copy(index.reshape((60, 1)).expand((60, 4))), many)
        wide = K.gather(table, 0, K.copy(index.reshape((60, 1)).expand((60, 4))))
        return [K.index_select(table, 0, index), wide, K.one_hot(index, 5), added, few, each]

    replay = K.Replay(True)
    given = K.copy(good)
    replay.begin()
    try:
        outputs = pass_all(given)
    finally:
        replay.end()
    replay.set_inputs([given])
    replay.set_outputs(outputs)

    def run(index: np.ndarray) -> None:
        replay.call([index])
        K.cuda_synchronize()

    for bad in (5, -6, 1 << 40, -(1 << 62)):
        index = good.copy()
        index[7] = bad
        index[8:] = 1
        with pytest.raises(IndexError, match=rf"index_add: index {bad} is out of range for size 5"):
            run(index)
        added, few, each = (values(x)[:2, 0].tolist() for x in outputs[3:])
        assert (added, few, each) == ([7, 52], [7, 0], [7, 52])
        assert [values(x)[7].any() for x in outputs[:3]] == [False] * 3
    (selected, *_) = replay.call([good])
    assert (values(selected) == 1).all()


@pytest.mark.parametrize("count", [1, 511, 4096, 4097, 40_000, 1_100_000])
def test_the_first_bad_index_is_told(rng: np.random.Generator, count: int) -> None:
    """By one block and by many."""
    x, good = K.zeros((5,)), np.zeros(count, np.int64)
    for place in sorted({0, count // 3, count - 1}) if count < 100_000 else [count - 1]:
        index = good.copy()
        index[place:] = rng.integers(6, 9, count - place)
        index[place] = 5
        with pytest.raises(IndexError, match="index_select: index 5 is out of range for size 5"):
            K.index_select(x, 0, index)
    if count < 100_000:
        assert K.index_select(x, 0, good).shape == (count,)
