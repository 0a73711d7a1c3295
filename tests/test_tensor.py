"""Tensor: what it is, views, indexing, updates in place, creation, errors."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import weft


def test_what_it_is() -> None:
    x = weft.tensor([[1.0, 2], [3, 4]])
    assert (x.shape, x.ndim, x.dtype, x.device) == ((2, 2), 2, weft.float32, "cpu")
    assert (x.numel(), len(x), x.size(0), x.is_leaf, x.grad_fn) == (4, 2, 2, True, None)
    assert x.T.tolist() == [[1, 3], [2, 4]]
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert repr(weft.tensor([1, 2])) == "tensor([1, 2])"
    assert float(weft.tensor(2.5)) == 2.5
    with pytest.raises(ValueError, match=r"truth of a tensor of shape \(2, 2\) is ambiguous"):
        bool(x)
    with pytest.raises(ValueError, match="item: expected one element"):
        x.item()


def test_views_and_detach_share_memory_and_version() -> None:
    x = weft.zeros(2, 3)
    views = [x.detach(), x.reshape(6), x.T, x[1:], x.data]
    for view in views:
        assert view.array.shares_memory(x.array)
    before = x.array.version
    views[1].fill_(7)
    assert views[2].tolist() == [[7, 7]] * 3
    assert all(view.array.version == x.array.version == before + 1 for view in views)


def test_numpy_shares_memory() -> None:
    a = np.zeros(3, np.float32)
    x = weft.from_numpy(a)
    x[1] = 5
    assert a[1] == 5
    x.numpy()[2] = 6
    assert a[2] == 6
    assert weft.tensor(a)[0].item() == 0
    with pytest.raises(RuntimeError, match="numpy: the tensor requires a gradient"):
        weft.ones(2, requires_grad=True).numpy()


@pytest.mark.parametrize(
    "op",
    [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge, operator.add, operator.mod],
)
def test_operators_as_numpy(op: operator.itemgetter) -> None:
    a, b = np.array([1.0, -2, 3], np.float32), np.array([1.0, 2, -3], np.float32)
    np.testing.assert_array_equal(np.asarray(op(weft.tensor(a), weft.tensor(b))), op(a, b))
    np.testing.assert_array_equal(np.asarray(op(weft.tensor(a), 2)), op(a, np.float32(2)))


def test_numbers_take_the_dtype_of_the_tensor() -> None:
    for dtype in ("float32", "float64", "int64"):
        assert (weft.ones(2, dtype=dtype) + 1).dtype == weft.zeros(1, dtype=dtype).dtype
    assert (weft.tensor([1]) * 0.5).dtype == weft.float32
    assert (1 - weft.tensor([1.0])).tolist() == [0]
    assert (np.ones(2, np.float32) + weft.ones(2)).tolist() == [2, 2]
    with pytest.raises(TypeError, match="float32.*float64|float64.*float32"):
        weft.ones(2) + weft.ones(2, dtype="float64")
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        weft.ones(2) + weft.ones(3)


def test_in_place() -> None:
    x = weft.tensor([1.0, 2])
    same = x
    x += 1
    x *= 2
    x -= 1
    x /= 3
    assert x is same
    assert x.tolist() == [1, np.float32(5) / 3]
    assert x.copy_(np.ones(2)).add_(weft.ones(2), alpha=2).tolist() == [3, 3]
    assert x.zero_().tolist() == [0, 0]


def test_index_and_assignment_as_numpy() -> None:
    a = np.arange(24).reshape(2, 3, 4)
    x = weft.tensor(a)
    for index in (1, -1, (0, slice(None, None, 2)), (..., 1), (None, 1), [1, 0, 1], a[:, 0, 0] > 3, a > 9):
        np.testing.assert_array_equal(np.asarray(x[index]), a[index])
    x[:, 1] = -1
    a[:, 1] = -1
    x[x > 20] = 0
    a[a > 20] = 0
    np.testing.assert_array_equal(np.asarray(x), a)
    with pytest.raises(IndexError, match=r"mask \(3,\) does not match the shape \(2, 3, 4\)"):
        x[np.ones(3, bool)]
    with pytest.raises(IndexError):
        x[5]


def test_creation() -> None:
    assert weft.arange(2, 8, 3).tolist() == [2, 5]
    assert weft.eye(2).tolist() == [[1, 0], [0, 1]]
    assert weft.full((2,), 3, dtype="int32").tolist() == [3, 3]
    assert weft.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
    assert weft.zeros_like(weft.ones(2, 3, dtype="float64")).dtype == weft.float64
    assert weft.ones(2, 3).shape == weft.ones((2, 3)).shape == (2, 3)
    assert weft.tensor([1.0]).dtype == weft.float32
    assert weft.tensor([True]).dtype == weft.bool


def test_config() -> None:
    found = weft.config()
    assert found["version"] == weft.__version__
    assert found["isa"] in found["available_isas"]
    assert isinstance(found["cuda_built"], bool)


@pytest.mark.parametrize(("name", "args"), [("squeeze", (5,)), ("unsqueeze", (3,)), ("transpose", (0, -3))])
def test_axes_out_of_range(name: str, args: tuple[int, ...]) -> None:
    with pytest.raises(IndexError, match=rf"^{name}: dim {args[-1]} is out of range for shape \(2, 3\)"):
        getattr(weft.zeros(2, 3), name)(*args)
