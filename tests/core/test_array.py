"""Array: views, indexing, exchange with NumPy and DLPack without a copy, memory, errors."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K

DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


def counting(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)


# --- making ---


@pytest.mark.parametrize("dtype", DTYPES)
def test_make(dtype: str) -> None:
    assert np.asarray(K.zeros((2, 3), dtype)).tolist() == np.zeros((2, 3), dtype).tolist()
    assert np.asarray(K.ones((2, 3), dtype)).tolist() == np.ones((2, 3), dtype).tolist()
    empty = K.empty((2, 3), dtype)
    assert empty.shape == (2, 3)
    assert str(empty.dtype) == dtype
    assert empty.dtype.itemsize == np.dtype(dtype).itemsize
    assert empty.nbytes == 6 * np.dtype(dtype).itemsize
    assert empty.strides == (3, 1)
    assert empty.data_ptr % 64 == 0


def test_full_takes_any_number() -> None:
    assert K.full((), 2**62 + 1, "int64").item() == 2**62 + 1
    assert K.full(3, 2.5).tolist() == [2.5] * 3
    assert K.full((2,), True, bool).tolist() == [True, True]
    assert np.isnan(K.full((), float("nan")).item())
    with pytest.raises(ValueError, match="fill: 300 does not fit into uint8"):
        K.full(3, 300, "uint8")
    with pytest.raises(ValueError, match="cannot convert float NaN to integer"):
        K.full(3, float("nan"), "int64")
    with pytest.raises(TypeError, match="must be real number, not str"):
        K.fill(K.zeros(3), "1")


def test_asarray() -> None:
    assert K.asarray(2.5).dtype == K.DType.float32
    assert K.asarray(2).dtype == K.DType.int64
    assert K.asarray(True).dtype == K.DType.bool
    assert K.asarray([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert K.asarray([1.0, 2.0]).dtype == K.DType.float32
    assert K.asarray(np.float64(3)).item() == 3.0
    assert K.asarray([1, 2], "float64").dtype == K.DType.float64
    x = K.ones((2,))
    assert K.asarray(x).shares_memory(x)


@pytest.mark.parametrize("spelling", ["float64", np.float64, np.dtype("float64"), float, K.DType.float64])
def test_dtype_spellings(spelling: Any) -> None:
    assert K.zeros((), spelling).dtype == K.DType.float64


# --- views ---


def test_views_share_memory() -> None:
    x = K.asarray(counting((2, 3, 4)))
    views = [
        x.reshape((6, 4)),
        x.reshape(-1),
        x.permute((2, 0, 1)),
        x.transpose(0, -1),
        x.unsqueeze(1),
        x[:1].squeeze(0),
        x[1],
        x[:, ::-1],
        x[..., None, 0],
        x.unsqueeze(0).expand((5, -1, -1, -1)),
    ]
    for view in views:
        assert view.shares_memory(x)
    K.fill(x, 7)
    for view in views:
        assert (np.asarray(view) == 7).all()


@given(data=st.data())
def test_basic_indexing_is_numpys(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 6), max_size=4).map(tuple))
    x = counting(shape)
    index: list[Any] = []
    for n in shape[: data.draw(st.integers(0, len(shape)))]:
        kind = data.draw(st.sampled_from(["int", "slice", "none"] if n else ["slice", "none"]))
        if kind == "none":
            index.append(None)
        if kind == "int":
            index.append(data.draw(st.integers(-n, n - 1)))
        else:
            bound = st.none() | st.integers(-8, 8)
            step = data.draw(st.none() | st.sampled_from([1, 2, 3, -1, -2]))
            index.append(slice(data.draw(bound), data.draw(bound), step))
    if data.draw(st.booleans()):
        index.insert(data.draw(st.integers(0, len(index))), Ellipsis)
    if sum(i is None for i in index) + len(shape) > 8:
        return
    expected = x[tuple(index)]
    found = K.asarray(x)[tuple(index)]
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(np.asarray(K.copy(found)), expected)


@given(data=st.data())
def test_reshape_of_any_strides(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), max_size=4).map(tuple))
    order = data.draw(st.permutations(range(len(shape))))
    steps = tuple(slice(None, None, data.draw(st.sampled_from([1, -1, 2]))) for _ in shape)
    x = counting(tuple(shape)).transpose(order)[steps]
    flat = data.draw(st.permutations(list(x.shape)))
    target = tuple(flat) if data.draw(st.booleans()) else (-1,)
    if data.draw(st.booleans()) and len(flat) > 1:
        target = (flat[0], -1)
    view = K.asarray(counting(tuple(shape))).permute(order)[steps]
    np.testing.assert_array_equal(np.asarray(view.reshape(target)), x.reshape(target))
    assert view.is_contiguous() == x.flags.c_contiguous
    np.testing.assert_array_equal(np.asarray(view.contiguous()), x)


def test_reshape_keeps_views_where_strides_allow() -> None:
    x = K.asarray(counting((4, 6, 5)))
    assert x[:, ::2].reshape((2, 2, 3, 5)).shares_memory(x)
    assert x.transpose(0, 1).reshape((2, 3, 4, 5)).shares_memory(x)
    assert not x.transpose(0, 1).reshape((24, 5)).shares_memory(x)
    assert x[::-1].reshape((2, 2, 30)).shares_memory(x)


def test_setitem() -> None:
    x, y = counting((4, 5)), K.asarray(counting((4, 5)).copy())
    x[1:3, ::-2] = [[1], [2]]
    y[1:3, ::-2] = [[1], [2]]
    x[0] = 9
    y[0] = 9
    x[..., -1] = np.arange(4)
    y[..., -1] = np.arange(4)
    np.testing.assert_array_equal(np.asarray(y), x)


def test_view_errors() -> None:
    x = K.zeros((2, 3))
    with pytest.raises(ValueError, match=r"reshape: shape \(2, 3\) cannot be viewed as \(4, -1\)"):
        x.reshape((4, -1))
    with pytest.raises(ValueError, match=r"reshape: shape \(2, 3\) cannot be viewed as \(5,\)"):
        x.reshape(5)
    with pytest.raises(ValueError, match=r"reshape: shape \(-1, -1\) has a negative entry"):
        x.reshape((-1, -1))
    with pytest.raises(ValueError, match=r"reshape: shape \(1099511627776, 1099511627776\) has too many elements"):
        x.reshape((2**40, 2**40))
    with pytest.raises(ValueError, match=r"permute: axes \(0, 0\) repeat axis 0"):
        x.permute((0, 0))
    with pytest.raises(ValueError, match=r"permute: axes \(0,\) do not match shape \(2, 3\)"):
        x.permute((0,))
    with pytest.raises(IndexError, match="transpose: axis 2 is out of range for an array with 2 dimensions"):
        x.transpose(0, 2)
    with pytest.raises(ValueError, match=r"expand: shape \(2, 3\) cannot be expanded to \(4, 3\)"):
        x.expand((4, 3))
    with pytest.raises(ValueError, match=r"expand: shape \(2, 3\) has more dimensions than \(3,\)"):
        x.expand((3,))
    with pytest.raises(ValueError, match=r"squeeze: axis 0 of shape \(2, 3\) is not of size 1"):
        x.squeeze(0)


def test_index_errors() -> None:
    x = K.zeros((2, 3))
    with pytest.raises(IndexError, match=r"index 2 is out of range for axis 0 of shape \(2, 3\)"):
        x[2]
    with pytest.raises(IndexError, match=r"index: 3 indices for an array of shape \(2, 3\)"):
        x[0, 0, 0]
    with pytest.raises(IndexError, match="index: only one ... is allowed"):
        x[..., ...]
    with pytest.raises(TypeError, match="index: expected ints, slices, None or ..., got float"):
        x[1.5]
    with pytest.raises(TypeError, match="index: expected ints, slices, None or ..., got bool"):
        x[True]
    with pytest.raises(ValueError, match="step"):
        x[::0]
    with pytest.raises(ValueError, match="an array has at most 8 dimensions"):
        x[(None,) * 7]
    with pytest.raises(ValueError, match=r"empty: shape \(-1,\) has a negative entry"):
        K.empty(-1)
    with pytest.raises(ValueError, match="has too many elements"):
        K.empty((2**31, 2**31, 2**31))
    with pytest.raises(ValueError, match="an array has at most 8 dimensions"):
        K.empty((1,) * 9)
    with pytest.raises(MemoryError):
        K.empty(2**50)


# --- NumPy ---


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_shares_memory_both_ways(dtype: str) -> None:
    x = counting((3, 4), dtype)[:, ::-1].T
    array = K.asarray(x)
    assert array.data_ptr == x.__array_interface__["data"][0]
    assert array.strides == tuple(s // x.itemsize for s in x.strides)
    back = array.numpy()
    assert np.shares_memory(back, x)
    assert back.dtype == dtype
    back[0, 0] = 0  # 3 before, or True
    assert x[0, 0] == 0
    assert np.shares_memory(np.asarray(array), x)
    assert np.shares_memory(memoryview(array).obj.numpy(), x)


@pytest.mark.cpu
def test_array_protocol() -> None:
    x = K.asarray(counting((2, 3)))
    assert np.array(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x, copy=True), x.numpy())
    assert np.shares_memory(np.array(x, copy=False), x.numpy())
    with pytest.raises(ValueError, match="__array__: another dtype needs a copy"):
        x.__array__(np.float64, copy=False)
    assert memoryview(x).shape == (2, 3)
    assert memoryview(x).format == "f"
    assert bytes(memoryview(x)) == counting((2, 3)).tobytes()


@pytest.mark.cpu
def test_memory_lives_as_long_as_its_views() -> None:
    x = counting((100,))
    gone = weakref.ref(x)
    array = K.asarray(x)
    del x
    gc.collect()
    assert gone() is not None
    tail = array[50:]
    view = tail.numpy()
    del array, tail
    gc.collect()
    assert view[0] == 50
    assert gone() is not None
    del view
    gc.collect()
    assert gone() is None


@pytest.mark.cpu
def test_read_only_memory() -> None:
    x = counting((3, 4))
    x.flags.writeable = False
    array = K.asarray(x)
    assert not array.writable
    assert not array.numpy().flags.writeable
    assert not array[0].numpy().flags.writeable
    assert memoryview(array).readonly
    np.testing.assert_array_equal(np.asarray(K.add(array, 1)), x + 1)
    with pytest.raises(ValueError, match="copy: the output array is read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="array: read-only memory cannot be given out by DLPack"):
        np.from_dlpack(array)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i8", ">i4"])
def test_foreign_byte_order_is_copied(dtype: str) -> None:
    x = np.arange(6).reshape(2, 3).astype(dtype)
    array = K.asarray(x)
    assert str(array.dtype) == x.dtype.newbyteorder("=").name
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert K.asarray(x.T).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_unaligned_memory_is_copied() -> None:
    raw = np.zeros(4 * 5 + 1, np.uint8)
    x = raw[1:].view(np.float32)
    x[...] = np.arange(5)
    assert K.asarray(x).tolist() == [0, 1, 2, 3, 4]
    fields = np.zeros(3, np.dtype([("flag", "u1"), ("value", "f4")]))
    fields["value"] = [1, 2, 3]
    assert K.asarray(fields["value"]).tolist() == [1, 2, 3]


def test_empty_and_scalar_memory() -> None:
    for shape in [(0,), (3, 0), (0, 0, 2)]:
        array = K.asarray(np.zeros(shape, np.float32))
        assert array.shape == shape
        assert array.numpy().shape == shape
        assert K.zeros(shape).numpy().shape == shape
        assert np.from_dlpack(K.to(K.zeros(shape), "cpu")).shape == shape
    assert K.asarray(np.array(3.0)).item() == 3.0
    assert K.zeros(()).numpy().shape == ()


@pytest.mark.parametrize("dtype", ["float16", "complex64", "int8", "uint16", "U3", "object", "datetime64[s]"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    x = np.zeros(3, dtype)
    with pytest.raises(TypeError, match="is not one of float32, float64, int64, int32, uint8, bool"):
        K.asarray(x)
    with pytest.raises(TypeError, match="is not one of float32"):
        K.zeros(3, dtype)


def test_what_is_no_array() -> None:
    for source in ("text", object(), {1: 2}):
        with pytest.raises(TypeError, match="array: cannot make an array from"):
            K.asarray(source)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        K.asarray(None)
    with pytest.raises(ValueError, match="inhomogeneous"):
        K.asarray([[1, 2], [3]])
    with pytest.raises(ValueError, match="int: 1000000000000000000000 does not fit into int64"):
        K.asarray(10**21)
    with pytest.raises(TypeError, match="expected an int or a sequence of ints, got str"):
        K.zeros("ab")
    with pytest.raises(TypeError, match="expected a sequence of ints, got one with float"):
        K.zeros((1.5, 2))


# --- DLPack ---


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_out(dtype: str) -> None:
    x = K.asarray(counting((3, 4), dtype)).transpose(0, 1)
    assert x.__dlpack_device__() == (1, 0)
    other = np.from_dlpack(x)
    np.testing.assert_array_equal(other, counting((3, 4), dtype).T)
    assert np.shares_memory(other, x.numpy())
    capsule = x.__dlpack__(copy=True)
    assert "dltensor" in repr(capsule)
    del capsule


class Exporter:
    """An object that has nothing but __dlpack__."""

    def __init__(self, array: Any) -> None:
        self.array_ = array

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.array_.__dlpack__()


@pytest.mark.parametrize("dtype", DTYPES)
def test_dlpack_in(dtype: str) -> None:
    x = counting((3, 4), dtype)[::-1, ::2]
    array = K.asarray(Exporter(x))
    assert array.data_ptr == x.__array_interface__["data"][0]
    np.testing.assert_array_equal(np.asarray(array), x)
    held = weakref.ref(x.base)
    del x
    gc.collect()
    assert held() is not None
    del array
    gc.collect()
    assert held() is None


def test_dlpack_of_another_dtype() -> None:
    with pytest.raises(TypeError, match="array: dtype with DLPack code 2 and 16 bits is not one of"):
        K.asarray(Exporter(np.zeros(3, np.float16)))


@pytest.mark.cpu
def test_torch() -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(12.0).reshape(3, 4).T
    array = K.asarray(x)
    assert array.data_ptr == x.data_ptr()
    assert array.strides == tuple(x.stride())
    back = torch.from_dlpack(array)
    assert back.data_ptr() == x.data_ptr()
    back[0, 0] = 5
    assert array[0, 0].item() == 5
    assert torch.utils.dlpack.from_dlpack(K.ones((2, 3))).sum().item() == 6
    assert K.add(x, 1).shape == (4, 3)


# --- values ---


def test_scalars() -> None:
    x = K.asarray(np.array([[3]], np.int32))
    assert x.item() == 3
    assert float(x) == 3.0
    assert int(x) == 3
    assert bool(x)
    assert isinstance(K.ones((), bool).item(), bool)
    assert isinstance(K.ones((), "uint8").item(), int)
    with pytest.raises(ValueError, match=r"item: expected one element, got shape \(2,\)"):
        K.zeros(2).item()
    with pytest.raises(TypeError, match=r"len\(\) of an array of rank 0"):
        len(K.zeros(()))
    assert len(K.zeros((3, 2))) == 3


def test_text() -> None:
    assert repr(K.asarray([[1, 2], [3, 4]])) == "Array([[1, 2],\n       [3, 4]], dtype=int64)"
    assert repr(K.DType.float32) == "weft.float32"
    assert str(K.DType.bool) == "bool"


def test_version() -> None:
    x = K.zeros(4)
    view = x[1:]
    view.bump_version()
    assert x.version == view.version == 1


# --- memory ---


@pytest.mark.cpu
def test_allocator_keeps_blocks() -> None:
    K.empty_cache()
    before = K.memory_stats()
    x = K.empty((1000, 1000))
    held = K.memory_stats()
    assert held["allocated"] >= before["allocated"] + 4_000_000
    assert held["misses"] == before["misses"] + 1
    address = x.data_ptr
    del x
    assert K.memory_stats()["allocated"] == before["allocated"]
    assert K.memory_stats()["reserved"] == held["reserved"]
    y = K.empty((1000, 1000))
    assert y.data_ptr == address
    assert K.memory_stats()["hits"] == held["hits"] + 1
    del y
    K.empty_cache()
    assert K.memory_stats()["reserved"] == before["reserved"]
    K.reset_peak_memory()
    assert K.memory_stats()["peak"] == K.memory_stats()["allocated"]
    z = K.empty(10**6)
    del z
    assert K.memory_stats()["peak"] >= K.memory_stats()["allocated"] + 4_000_000


def test_poison() -> None:
    """What the other tests rely on: memory that nobody wrote is NaN."""
    assert np.isnan(K.empty(100).numpy()).all()
    assert (K.empty(100, "int64").numpy() == -1).all()
