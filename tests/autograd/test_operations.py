"""Every differentiable operation: finite differences with a random cotangent, and torch's value and gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft
from helpers import assert_close
from weft._arithmetic import ELEMENTWISE
from weft.autograd import gradcheck
from weft.operations import Pad


def domain(name: str) -> tuple[float, float]:
    """Between which arguments a function and its slope are finite, far from a pole."""
    at = getattr(weft.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]), name)()
    return (-2, 2) if np.isfinite(at.numpy()).all() else (0.5, 2)


# Name -> (function of tensors of weft or torch, smallest and largest value of its inputs).
UNARY: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    **{name: (operator.methodcaller(name), *domain(name)) for name in ELEMENTWISE},
    "clip": (lambda x: x.clamp(-0.7, 0.9), -2, 2),
    "pow": (lambda x: x**3, -2, 2),
    "power of": (lambda x: 2.0**x, -2, 2),
    "numbers": (lambda x: 3 - 2 / (x * 4 + 1), 0.5, 2),
    "clone": (lambda x: x.clone(), -2, 2),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
}
REDUCTIONS = ["sum", "mean", "prod", "var", "amax", "amin"]


def compare(function: Callable[..., Any], *arrays: np.ndarray, check: bool = True) -> None:
    """Gradcheck, and torch's value and gradients under the same random cotangent."""
    ours = [weft.tensor(a, requires_grad=True) for a in arrays]
    if check:
        assert gradcheck(function, ours)
    torch = pytest.importorskip("torch")
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, expected = function(*ours), function(*theirs)
    assert_close(y, expected)
    cotangent = np.random.default_rng(1).normal(size=y.shape)
    y.backward(cotangent)
    expected.backward(torch.tensor(cotangent))
    for t, e in zip(ours, theirs, strict=True):
        assert_close(t.grad, e.grad, factor=10)


def draw(seed: int, shape: tuple[int, ...], low: float = 0.5, high: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape)


SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@pytest.mark.parametrize("name", UNARY)
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_unary(name: str, shape: tuple[int, ...], seed: int) -> None:
    function, low, high = UNARY[name]
    compare(function, draw(seed, shape, low, high))


@pytest.mark.parametrize("name", BINARY)
@given(shape=SHAPES, data=st.data())
def test_binary_broadcast(name: str, shape: tuple[int, ...], data: st.DataObject) -> None:
    ones = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    small = tuple(1 if one else n for one, n in zip(ones, shape, strict=True))
    small = small[data.draw(st.integers(0, len(shape))) :]
    compare(BINARY[name], draw(0, shape), draw(1, small))
    compare(BINARY[name], draw(1, small), draw(0, shape), check=False)


@pytest.mark.parametrize("name", REDUCTIONS)
@given(shape=st.lists(st.integers(2, 4), min_size=1, max_size=3).map(tuple), data=st.data())
def test_reductions(name: str, shape: tuple[int, ...], data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    keepdim = data.draw(st.booleans())
    compare(lambda x: getattr(x, name)(dim=dim, keepdim=keepdim), draw(2, shape, -2, 2))


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "max", "min"])
def test_reductions_of_all(name: str) -> None:
    compare(lambda x: getattr(x, name)(), draw(3, (3, 4), -2, 2))


def test_sum_of_nothing() -> None:
    compare(lambda x: x.sum(), draw(0, (0, 3)))
    compare(lambda x: x.sum(dim=0), draw(0, (0, 3)))


def test_product_with_zeros() -> None:
    compare(lambda x: x.prod(dim=1), np.array([[2.0, 0, 3], [0, 0, 1], [1, 2, 3]]))


def test_ties() -> None:
    """Over all the gradient is shared among equals; along an axis it goes to the one selected."""
    compare(lambda x: x.max(), np.array([1.0, 3, 3]), check=False)
    compare(lambda x: x.amax(dim=0), np.array([1.0, 3, 3]), check=False)
    x = weft.tensor([1.0, 3, 3], requires_grad=True)
    values, index = x.max(dim=0)
    values.backward()
    assert x.grad.tolist() == [0, 1, 0]
    assert index.item() == 1
    assert not index.requires_grad


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_extremum_along(dim: int, keepdim: bool) -> None:
    compare(lambda x: x.max(dim, keepdim)[0], draw(4, (3, 4)))
    compare(lambda x: x.min(dim, keepdim)[0], draw(4, (3, 4)))


SHAPED: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: x.reshape(4, -1),
    "reshape of a transpose": lambda x: x.transpose(0, 2).reshape(-1),
    "flatten": lambda x: x.flatten(1),
    "permute": lambda x: x.permute(2, 0, -2),
    "transpose": lambda x: x.transpose(-1, 0),
    "expand": lambda x: x[:, :1].expand(2, 5, 4),
    "unsqueeze squeeze": lambda x: x.unsqueeze(-1).squeeze(-1),
    "int": lambda x: x[1],
    "slices": lambda x: x[:, 1:, ::2],
    "ellipsis": lambda x: x[..., None, -1],
    "to": lambda x: x.float().double(),
    "contiguous": lambda x: x.transpose(0, 1).contiguous(),
}


@pytest.mark.parametrize("name", SHAPED)
def test_shapes(name: str) -> None:
    compare(SHAPED[name], draw(5, (2, 3, 4)), check=name != "to")


def test_index_arrays_and_masks() -> None:
    x = draw(6, (3, 2))
    for index in ([2, 0, 2], [True, False, True]):
        compare(lambda t, i=index: t[i], x)
    index = np.array([[1, 0], [0, 0]])
    t = weft.tensor(x, requires_grad=True)
    assert gradcheck(lambda t: t.gather(0, index), [t])


def test_cat_stack_where_maximum() -> None:
    a, b = (weft.tensor(draw(s, (2, 3), -1, 1), requires_grad=True) for s in (7, 8))
    condition = weft.tensor([[True], [False]])
    for function in (
        lambda a, b: weft.cat([a, b, a], 1),
        lambda a, b: weft.cat([a, b], -2),
        lambda a, b: weft.stack([a, b], -1),
        lambda a, b: weft.where(condition, a, b),
        weft.maximum,
        weft.minimum,
    ):
        assert gradcheck(function, [a, b])


def library(x: Any) -> Any:
    """weft or torch, whichever x belongs to."""
    return weft if isinstance(x, weft.Tensor) else pytest.importorskip("torch")


TWO: dict[str, Callable[[Any, Any], Any]] = {
    "cat": lambda a, b: library(a).cat([a, b, a], 1),
    "cat from behind": lambda a, b: library(a).cat([a, b], -2),
    "stack": lambda a, b: library(a).stack([a, b, b], 1),
    "stack behind": lambda a, b: library(a).stack([a, b], -1),
    "where": lambda a, b: library(a).where(library(a).tensor([[True], [False]]), a, b),
    "where of a mask": lambda a, b: library(a).where(a.detach() > b.detach(), a * b, b),
    "maximum": lambda a, b: library(a).maximum(a, b),
    "minimum": lambda a, b: library(a).minimum(a, b),
    "matmul": lambda a, b: library(a).matmul(a, b.T),
    "add": lambda a, b: library(a).add(a, b[:1]),
    "functions": lambda a, b: library(a).exp(a) - library(a).log(b + 4) * library(a).sqrt(b + 4),
}


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two(name: str) -> None:
    compare(TWO[name], draw(9, (2, 3), -2, 2), draw(10, (2, 3), -2, 2))


@pytest.mark.parametrize("name", ["cat", "stack", "maximum", "minimum"])
def test_functions_of_two_without_elements(name: str) -> None:
    compare(TWO[name], np.zeros((2, 0)), np.zeros((2, 0)))


def test_equal_ones_share_the_gradient() -> None:
    a = np.array([1.0, 2, 3])
    compare(lambda a, b: library(a).maximum(a, b), a, np.array([1.0, 5, 3]), check=False)
    compare(lambda a, b: library(a).minimum(a, b), a, np.array([1.0, 5, 3]), check=False)


def test_maximum_and_where_with_numbers() -> None:
    x = weft.tensor([-1.0, 2], requires_grad=True)
    y = weft.maximum(x, 0) + weft.where(x > 0, x, 0.0)
    y.sum().backward()
    assert y.tolist() == [0, 4]
    assert x.grad.tolist() == [0, 2]


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather_beside_torch(dim: int) -> None:
    index = np.array([[1, 0, 1], [0, 0, 1]])
    compare(lambda x: x.gather(dim, library(x).tensor(index)), draw(11, (2, 3)))
    compare(lambda x: x.index_select(dim, library(x).tensor([1, 0, 1, 1])), draw(11, (2, 3)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((2, 3), (3, 4)),
        ((1, 1), (1, 1)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
        ((2, 2, 3), (3, 2)),
        ((2, 3), (4, 3, 2)),
        ((2, 1, 2, 3), (3, 3, 1)),
        ((1, 2, 3), (2, 3, 2)),
        ((2, 0), (0, 3)),
        ((0, 2), (2, 3)),
        ((0, 2, 3), (3, 2)),
    ],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    compare(lambda x, y: x @ y, draw(12, a, -2, 2), draw(13, b, -2, 2))


@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 3),
    batch=st.lists(st.integers(1, 3), max_size=2),
    ones=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=2),
    drop=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_matmul_broadcasts(sizes: Any, batch: list[int], ones: Any, drop: Any) -> None:
    m, k, n = sizes
    left = [1 if one[0] else size for one, size in zip(ones, batch, strict=False)][drop[0] :]
    right = [1 if one[1] else size for one, size in zip(ones, batch, strict=False)][drop[1] :]
    compare(lambda x, y: x.matmul(y), draw(14, (*left, m, k), -2, 2), draw(15, (*right, k, n), -2, 2))


def test_matmul_errors() -> None:
    with pytest.raises(ValueError, match=r"matmul.*\(2, 3\).*\(2, 3\)"):
        weft.ones(2, 3) @ weft.ones(2, 3)
    with pytest.raises(ValueError, match="matmul"):
        weft.ones(2, 3) @ weft.ones(())
    with pytest.raises(TypeError, match="matmul.*float32 and float64"):
        weft.ones(2, 3) @ weft.ones(3, 2, dtype="float64")


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "amax", "amin"])
@pytest.mark.parametrize("dim", [(0, 2), (-1, 0), (1,), (0, 1, 2)])
def test_reductions_over_several_axes(name: str, dim: tuple[int, ...]) -> None:
    for keepdim in (False, True):
        compare(lambda x, k=keepdim: getattr(x, name)(dim=dim, keepdim=k), draw(16, (2, 3, 4), -2, 2))


def test_product_over_several_axes() -> None:
    x = weft.tensor(draw(16, (2, 3, 4), -2, 2), requires_grad=True)
    assert gradcheck(lambda x: x.prod(dim=(0, 2)), [x])
    assert_close(x.prod(dim=(0, 2)), x.detach().numpy().prod((0, 2)))


@pytest.mark.parametrize("correction", [0, 1, 2])
def test_standard_deviation(correction: int) -> None:
    compare(lambda x: x.std(dim=1, correction=correction), draw(17, (3, 4), -2, 2))
    compare(lambda x: x.std(correction=correction), draw(17, (3, 4), -2, 2))


@pytest.mark.filterwarnings("ignore:var..:UserWarning")  # of torch
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var"])
def test_reductions_without_elements(name: str) -> None:
    """Over an empty axis: 0, NaN, 1 and NaN, as in torch; over another one nothing comes out."""
    compare(lambda x: getattr(x, name)(dim=0), np.zeros((0, 3)), check=False)
    compare(lambda x: getattr(x, name)(dim=1), np.zeros((0, 3)), check=False)
    compare(lambda x: getattr(x, name)(), np.zeros((0, 3)), check=False)


def test_extremum_without_elements() -> None:
    for name in ("amax", "amin", "argmax"):
        with pytest.raises(ValueError, match=r"\(0, 3\)"):
            getattr(weft.zeros(0, 3), name)(dim=0)
    assert weft.zeros(0, 3).amax(dim=1).shape == (0,)


@given(
    widths=st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), min_size=2, max_size=2),
    value=st.floats(-2, 2),
)
def test_pad(widths: list[tuple[int, int]], value: float) -> None:
    before, after = zip(*widths, strict=True)
    x = weft.tensor(draw(18, (2, 3)), requires_grad=True)
    assert gradcheck(lambda x: Pad.apply(x, before, after, value), [x])
    torch = pytest.importorskip("torch")
    flat = [n for width in reversed(widths) for n in width]
    expected = torch.nn.functional.pad(torch.tensor(draw(18, (2, 3))), flat, value=value)
    assert_close(Pad.apply(x, before, after, value), expected)


INDEXED: dict[str, Any] = {
    "two lists": ([0, 1, 0], [1, -1, 1]),
    "a list and an int": ([1, 0, 1], 0),
    "an int and a list": (1, [2, 0]),
    "columns": (slice(None), [2, 0, 2]),
    "columns behind": (..., [3, 0]),
    "broadcast": (slice(None), [[0], [2]], [1, 3]),
    "a matrix": np.array([[0, 1], [1, 1]]),
    "a mask and a slice": ([True, False], slice(1, None)),
    "nothing": [],
}


@pytest.mark.parametrize("name", INDEXED)
def test_index_tuples_beside_torch(name: str) -> None:
    compare(lambda x: x[INDEXED[name]], draw(19, (2, 3, 4)))
