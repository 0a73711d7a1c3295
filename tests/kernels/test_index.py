"""Reading and adding by index, one-hot codes, joining and padding, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import assert_close, reference, threads

NUMBERS = ["float32", "float64", "int64", "int32", "uint8"]
DTYPES = [*NUMBERS, "bool"]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 2 if dtype == "bool" else 9, shape).astype(dtype)


def along(axis: int, ndim: int, index: np.ndarray) -> tuple[object, ...]:
    return tuple(index if i == axis else slice(None) for i in range(ndim))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (2, 11, 17), (300, 1000)], ids=str)
def test_index_select(every_implementation: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> None:
    x = draw(rng, shape, dtype)
    for axis in range(x.ndim):
        for count in (0, 1, 13):
            index = rng.integers(-shape[axis], shape[axis], count)
            expected = np.take(x, index, axis)
            np.testing.assert_array_equal(np.asarray(K.index_select(x, axis, index)), expected)
            np.testing.assert_array_equal(np.asarray(K.index_select(x, axis - x.ndim, index.astype("int32"))), expected)
        turned = x.swapaxes(0, -1)
        index = rng.integers(0, turned.shape[axis], 5)
        np.testing.assert_array_equal(np.asarray(K.index_select(turned, axis, index)), np.take(turned, index, axis))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (2, 11, 17), (30, 1000)], ids=str)
def test_index_add(every_implementation: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> None:
    for axis in range(len(shape)):
        for count in (0, 1, 29):
            out = draw(rng, shape, dtype)
            index = rng.integers(-shape[axis], shape[axis], count)
            x = draw(rng, (*shape[:axis], count, *shape[axis + 1 :]), dtype)
            expected = out.copy()
            np.add.at(expected, along(axis, out.ndim, index), x)
            array = K.asarray(out)
            K.index_add(array, axis, index, x)
            assert_close(array, expected, terms=count + 1)


@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (2, 11, 17), (30, 1000)], ids=str)
def test_gather_and_scatter_add(every_implementation: str, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    for dtype in DTYPES:
        for axis in range(len(shape)):
            for count in (0, 1, 19):
                index = rng.integers(-shape[axis], shape[axis], (*shape[:axis], count, *shape[axis + 1 :]))
                x = draw(rng, shape, dtype)
                positive = index % shape[axis]
                expected = np.take_along_axis(x, positive, axis)
                np.testing.assert_array_equal(np.asarray(K.gather(x, axis, index)), expected)
                if dtype == "bool":
                    continue
                added = draw(rng, index.shape, dtype)
                where = list(np.indices(index.shape))
                where[axis] = positive
                total = x.copy()
                np.add.at(total, tuple(where), added)
                array = K.asarray(x)
                K.scatter_add(array, axis, index, added)
                assert_close(array, total, terms=count + 1)


@given(data=st.data())
def test_reference_agrees(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple))
    axis = data.draw(st.integers(0, len(shape) - 1))
    count = data.draw(st.integers(0, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, index = rng.normal(size=shape), rng.integers(-shape[axis], shape[axis], count)
    np.testing.assert_array_equal(
        np.asarray(K.index_select(x, axis, index)), np.asarray(reference(K.index_select, x, axis, index))
    )
    added = rng.normal(size=(*shape[:axis], count, *shape[axis + 1 :]))
    ours, naive = K.asarray(x.copy()), x.copy()
    K.index_add(ours, axis, index, added)
    reference(K.index_add, naive, axis, index, added)
    np.testing.assert_array_equal(np.asarray(ours), naive)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_hot(every_implementation: str, rng: np.random.Generator, dtype: str) -> None:
    for shape in [(), (1,), (9,), (3, 4), (5000,)]:
        index = rng.integers(0, 10, shape)
        out = np.asarray(K.one_hot(index, 10, dtype))
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, np.eye(10, dtype=dtype)[index])
    assert K.one_hot(np.array([0, 4, 2])).shape == (3, 5)
    assert K.one_hot(np.zeros(0, np.int64), 3).shape == (0, 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cat_and_stack(every_implementation: str, rng: np.random.Generator, dtype: str) -> None:
    parts = [draw(rng, (3, n, 5), dtype) for n in (1, 0, 7, 64)]
    np.testing.assert_array_equal(np.asarray(K.cat(parts, 1)), np.concatenate(parts, 1))
    turned = [p.swapaxes(0, 1) for p in parts]
    np.testing.assert_array_equal(np.asarray(K.cat(turned)), np.concatenate(turned))
    np.testing.assert_array_equal(np.asarray(K.cat(parts, -2)), np.concatenate(parts, 1))
    same = [draw(rng, (3, 5), dtype) for _ in range(4)]
    for axis in (0, 1, 2, -1):
        np.testing.assert_array_equal(np.asarray(K.stack(same, axis)), np.stack(same, axis))
    np.testing.assert_array_equal(np.asarray(K.stack([np.float32(1), np.float32(2)])), [1, 2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_pad(every_implementation: str, rng: np.random.Generator, dtype: str) -> None:
    x = draw(rng, (3, 4, 5), dtype)
    out = np.asarray(K.pad(x, (1, 0, 2), (0, 3, 1), 1))
    np.testing.assert_array_equal(out, np.pad(x, [(1, 0), (0, 3), (2, 1)], constant_values=1))
    np.testing.assert_array_equal(
        np.asarray(K.pad(x, (-1, 0, -2), (0, -1, 1))), np.pad(x[1:, :3, 2:], [(0, 0), (0, 0), (0, 1)])
    )
    assert not np.asarray(K.pad(x, (0, 0, -5), (0, 0, 5))).any()
    assert K.pad(x, (0, -2, 0), (0, -2, 0)).shape == (3, 0, 5)
    np.testing.assert_array_equal(np.asarray(K.pad(x[:0], (1, 1, 1), (1, 1, 1))), np.zeros((2, 6, 7)))
    assert K.pad(np.float32(1), (), ()).item() == 1


@pytest.mark.cpu
def test_threads_do_not_change_bits(every_implementation: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(20_003, 37)).astype(np.float32)
    index = rng.integers(0, 101, 20_003)
    each = rng.integers(0, 101, (20_003, 37))

    def results() -> list[bytes]:
        rows = np.zeros((101, 37), np.float32)
        K.index_add(rows, 0, index, x)
        columns = np.zeros((37, 101), np.float32)
        K.index_add(columns, 1, index, x.T)
        scattered = np.zeros((101, 37), np.float32)
        K.scatter_add(scattered, 0, each, x)
        flat = np.zeros(101, np.float32)
        K.index_add(flat, 0, index, x[:, 0])
        made = [K.index_select(rows, 0, index), K.gather(rows, 0, each), rows, columns, scattered, flat]
        return [np.asarray(m).tobytes() for m in made]

    with threads(1):
        expected = results()
    for count in (2, 3, 4, 7):
        with threads(count):
            assert results() == expected


def test_adding_to_what_is_read(every_implementation: str) -> None:
    x = K.asarray(np.arange(6, dtype=np.float32).reshape(3, 2))
    K.index_add(x[:2], 0, np.array([0, 1]), x[1:])
    np.testing.assert_array_equal(np.asarray(x), [[2, 4], [6, 8], [4, 5]])


def test_index_errors() -> None:
    x = np.ones((3, 5), np.float32)
    with pytest.raises(
        IndexError, match=r"index_select: index 5 is out of range for size 5 \(index \(2,\), array \(3, 5\)\)"
    ):
        K.index_select(x, 1, np.array([0, 5]))
    with pytest.raises(IndexError, match="index_select: index -4 is out of range for size 3"):
        K.index_select(x, 0, np.array([-4]))
    with pytest.raises(TypeError, match="index_select: index must be int64 or int32, got float32"):
        K.index_select(x, 0, np.ones(2, np.float32))
    with pytest.raises(ValueError, match=r"index_select: index must have rank 1, got shape \(2, 2\)"):
        K.index_select(x, 0, np.zeros((2, 2), int))
    with pytest.raises(IndexError, match="gather: axis 2 is out of range"):
        K.gather(x, 2, np.zeros((3, 5), int))
    with pytest.raises(ValueError, match=r"gather: index \(2, 5\) and input \(3, 5\) must have the same shape but"):
        K.gather(x, 1, np.zeros((2, 5), int))
    with pytest.raises(IndexError, match="gather: index 3 is out of range for size 3"):
        K.gather(x, 0, np.full((1, 5), 3))
    with pytest.raises(IndexError, match=r"one_hot: index 10 is out of range for size 10"):
        K.one_hot(np.array([3, 10]), 10)
    with pytest.raises(IndexError, match="one_hot: index -1 is out of range"):
        K.one_hot(np.array([-1]), 10)
    with pytest.raises(TypeError, match="one_hot: index must be int64 or int32, got float64"):
        K.one_hot(np.ones(3), 10)
    with pytest.raises(ValueError, match="one_hot: num_classes must be given for an empty index"):
        K.one_hot(np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="one_hot: num_classes must be positive, or -1"):
        K.one_hot(np.zeros(1, np.int64), -2)


def test_errors_of_adding() -> None:
    out, index = K.ones((3, 5)), np.array([0, 1])
    with pytest.raises(ValueError, match=r"index_add: input \(3, 5\) must have the shape of out \(3, 5\) with 2"):
        K.index_add(out, 0, index, out)
    with pytest.raises(ValueError, match="index_add: out must be contiguous"):
        K.index_add(out.permute((1, 0)), 0, index, np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match="index_add: out and input must have the same dtype"):
        K.index_add(out, 0, index, np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"scatter_add: index \(1, 5\) and input \(2, 5\) must have the same shape"):
        K.scatter_add(out, 0, np.zeros((1, 5), int), np.ones((2, 5), np.float32))
    with pytest.raises(ValueError, match=r"scatter_add: input \(2, 4\) and out \(3, 5\)"):
        K.scatter_add(out, 0, np.zeros((2, 4), int), np.ones((2, 4), np.float32))
    with pytest.raises(TypeError, match="index_add: out must be a number, got bool"):
        K.index_add(K.ones((3,), "bool"), 0, index, np.ones(2, bool))


@pytest.mark.cpu
def test_adding_to_read_only_memory() -> None:
    out, index = np.ones((3, 5), np.float32), np.array([0, 1])
    out.flags.writeable = False
    with pytest.raises(ValueError, match="index_add: the output array is read-only"):
        K.index_add(out, 0, index, np.ones((2, 5), np.float32))


def test_errors_of_joining() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="cat: expected at least one array"):
        K.cat([])
    with pytest.raises(ValueError, match=r"cat: shapes \(2, 3\) and \(2, 4\) must be the same but for axis 0"):
        K.cat([x, np.ones((2, 4), np.float32)])
    with pytest.raises(TypeError, match="cat: the first array and another must have the same dtype"):
        K.cat([x, np.ones((2, 3))])
    with pytest.raises(IndexError, match="cat: axis 2 is out of range"):
        K.cat([x], 2)
    with pytest.raises(ValueError, match=r"stack: the first array \(2, 3\) and another \(3,\) must have the same"):
        K.stack([x, np.ones(3, np.float32)])
    with pytest.raises(ValueError, match=r"pad: widths before \(1,\) and after \(1, 1\) must have one number"):
        K.pad(x, (1,), (1, 1))
    with pytest.raises(ValueError, match=r"pad: widths before \(-2, 0\) and after \(-1, 0\) crop more than"):
        K.pad(x, (-2, 0), (-1, 0))
