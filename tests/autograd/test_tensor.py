"""Tensor: what it is, views, indexing, updates in place, creation, errors."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import weft
from weft import kernels, nn


def test_what_it_is() -> None:
    x = weft.tensor([[1.0, 2], [3, 4]])
    assert (x.shape, x.ndim, x.dtype, x.device) == ((2, 2), 2, weft.float32, kernels.default_device())
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


@pytest.mark.cpu
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
    assert (found["cuda_unavailable"] == "") == (found["cuda_devices"] > 0)


@pytest.mark.parametrize(("name", "args"), [("squeeze", (5,)), ("unsqueeze", (3,)), ("transpose", (0, -3))])
def test_axes_out_of_range(name: str, args: tuple[int, ...]) -> None:
    with pytest.raises(IndexError, match=rf"^{name}: dim {args[-1]} is out of range for shape \(2, 3\)"):
        getattr(weft.zeros(2, 3), name)(*args)


def test_random_creation() -> None:
    weft.manual_seed(3)
    first = [weft.rand(1000), weft.randn(20, 50), weft.randint(0, 10, (1000,)), weft.randperm(1000)]
    weft.manual_seed(3)
    again = [weft.rand(1000), weft.randn(20, 50), weft.randint(0, 10, (1000,)), weft.randperm(1000)]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    uniform, normal, whole, order = (np.asarray(t) for t in first)
    assert 0 <= uniform.min() < 0.02 < 0.98 < uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.05
    assert normal.shape == (20, 50)
    assert abs(normal.mean()) < 0.15
    assert abs(normal.std() - 1) < 0.15
    assert sorted(set(whole.tolist())) == list(range(10))
    assert sorted(order.tolist()) == list(range(1000))


def test_random_creation_options() -> None:
    generators = [weft.kernels.Generator(5), weft.kernels.Generator(5)]
    a, b = (weft.rand(2, 3, dtype="float64", generator=g, requires_grad=True) for g in generators)
    assert (a.dtype, a.requires_grad, a.tolist()) == (weft.float64, True, b.tolist())
    assert weft.randn((2, 3)).shape == weft.randn(2, 3).shape == (2, 3)
    assert weft.rand(0).shape == (0,)
    with pytest.raises(ValueError, match="randint"):
        weft.randint(3, 3, (2,))
    with pytest.raises(TypeError, match="normal|randn"):
        weft.randn(2, dtype="int64")


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_copies_and_pickles(duplicate: Callable[[Any], Any], dtype: str) -> None:
    x = weft.tensor(np.arange(6).reshape(2, 3), dtype=dtype).T
    y = duplicate(x)
    assert (type(y), y.dtype, y.shape, y.tolist()) == (weft.Tensor, x.dtype, (3, 2), x.tolist())
    assert not y.array.shares_memory(x.array)
    y.fill_(1)
    assert x.tolist() != y.tolist()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_and_pickles_of_parameters(duplicate: Callable[[Any], Any]) -> None:
    p = nn.Parameter(weft.ones(2))
    q = duplicate(p)
    assert type(q) is nn.Parameter
    assert q.requires_grad
    (q * 2).sum().backward()
    assert q.grad.tolist() == [2, 2]
    assert p.grad is None
    assert not duplicate(nn.Parameter(weft.ones(2), requires_grad=False)).requires_grad
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    twin = duplicate(module)
    x = weft.ones(1, 2)
    assert twin(x).tolist() == module(x).tolist()
    assert twin[0].weight is not module[0].weight


def test_copies_keep_what_is_shared_and_the_gradient() -> None:
    x = weft.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    a, b = copy.deepcopy([x, x])
    assert a is b
    assert a.grad.tolist() == [3, 3]
    a.grad.zero_()
    assert x.grad.tolist() == [3, 3]


def test_results_on_the_tape_are_not_copied() -> None:
    y = weft.ones(2, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="^deepcopy: only leaves"):
        copy.deepcopy(y)
    with pytest.raises(RuntimeError, match="^pickle: only leaves"):
        pickle.dumps(y)
    assert copy.deepcopy(y.detach()).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("name", "update"),
    [
        ("copy_", lambda x: x.copy_(1)),
        ("fill_", lambda x: x.fill_(1)),
        ("zero_", lambda x: x.zero_()),
        ("add_", lambda x: x.add_(1)),
        ("sub_", lambda x: x.sub_(1)),
        ("mul_", lambda x: x.mul_(2)),
        ("div_", lambda x: x.div_(2)),
        ("assignment", lambda x: x.__setitem__(0, 1)),
    ],
)
def test_expanded_tensors_are_not_changed_in_place(name: str, update: Callable[[Any], Any]) -> None:
    x = weft.ones(1, 3)
    with (
        weft.no_grad(),
        pytest.raises(RuntimeError, match=rf"^{name}: elements of this tensor of shape \(2, 3\) share memory"),
    ):
        update(x.expand(2, 3))
    assert x.tolist() == [[1, 1, 1]]
    update(x.expand(1, 3))
    update(x.expand(2, 3).clone())


def test_comparison_with_what_is_no_array() -> None:
    x = weft.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert (x == "a") is False
    assert x not in [None, "a"]
    for function in (lambda: x + None, lambda: x < None, lambda: weft.cat([x, None]), lambda: weft.tensor(None)):
        with pytest.raises(TypeError, match="expected a tensor, an array or a number, got None"):
            function()


def test_index_tuples_with_arrays_as_numpy() -> None:
    a = np.arange(24).reshape(2, 3, 4)
    x = weft.tensor(a)
    rows, columns = np.array([1, 0]), np.array([2, -1])
    mask = a[:, :, 0] > 4
    for index in ((rows, columns), (rows, 0), (0, rows), (..., columns), (slice(None), rows, columns), (mask, 1)):
        np.testing.assert_array_equal(np.asarray(x[index]), a[index])
    x[weft.tensor(rows), 0] = -1
    a[rows, 0] = -1
    x[rows, columns, 1] = 7
    a[rows, columns, 1] = 7
    np.testing.assert_array_equal(np.asarray(x), a)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (([0], slice(None), [0]), TypeError, "integer arrays and ints must stand side by side"),
        (([0.5], 0), TypeError, "expected integers or bool, got float64"),
        (([0, 5], 0), IndexError, r"5 is out of range for an axis of size 2 \(shape \(2, 3, 4\)\)"),
        (([0, 1], [0, 1, 2]), IndexError, r"arrays of shapes \[\(2,\), \(3,\)\] do not broadcast"),
        (([0], 0, 0, 0), IndexError, r"4 indices for shape \(2, 3, 4\)"),
        (([0], ..., ...), IndexError, "only one"),
    ],
)
def test_index_errors(index: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^index: {message}"):
        weft.zeros(2, 3, 4)[index]


def test_division_of_numbers() -> None:
    x = weft.tensor([2.0, 3])
    assert (7 // x).tolist() == [3, 2]
    assert (7 % x).tolist() == [1, 1]
