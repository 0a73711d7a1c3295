"""The tape: order, accumulation, hooks, versions, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import weft
from weft import autograd


def leaf(*values: float) -> weft.Tensor:
    return weft.tensor(list(values), dtype="float64", requires_grad=True)


def test_gradients_accumulate_and_a_shared_input_gets_every_part() -> None:
    x = leaf(1, 2)
    (x * x + 3 * x).sum().backward()
    assert x.grad.tolist() == [5, 7]
    (x * 2).sum().backward()
    assert x.grad.tolist() == [7, 9]


def test_a_chain_of_a_hundred_thousand_operations() -> None:
    x = leaf(1)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    del y  # freeing the chain does not recurse either


def test_second_backward() -> None:
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12
    with pytest.raises(RuntimeError, match="Mul: backward a second time.*retain_graph=True"):
        y.backward()


def test_hook_of_a_leaf_sees_the_whole_gradient_once() -> None:
    x = leaf(2)
    seen: list[float] = []

    def double(g: weft.Tensor) -> weft.Tensor:
        seen.append(g.item())
        return g * 2

    handle = x.register_hook(double)
    (x * x + x).sum().backward()
    assert seen == [5]
    assert x.grad.item() == 10
    handle.remove()
    (x * 1).sum().backward()
    assert x.grad.item() == 11
    assert len(seen) == 1


def test_hook_and_retained_gradient_of_a_result() -> None:
    x = leaf(2)
    y = x * 3
    y.register_hook(lambda g: g * 10)
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.item() == 120
    assert x.grad.item() == 360


def test_saved_value_changed_in_place() -> None:
    x, w = leaf(1, 2), weft.tensor([3.0, 4.0], dtype="float64")
    y = (x * w).sum()
    w[:1].add_(1)  # a view has the version of what it looks at
    with pytest.raises(RuntimeError, match=r"Mul: a value of shape \(2,\).*changed in place"):
        y.backward()


def test_updates_in_place_that_would_lose_history() -> None:
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="add_: a leaf that requires a gradient"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="mul_: a result that is on the tape"):
        (x * 2).mul_(2)
    plain = weft.zeros(2, dtype="float64")
    for update in (lambda: plain.add_(x), lambda: plain.copy_(x), lambda: plain.__setitem__(0, x[0])):
        with pytest.raises(RuntimeError, match="a value that requires a gradient cannot be written in place"):
            update()
    with weft.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 3]


def test_modes() -> None:
    x = leaf(1)
    with weft.no_grad():
        assert not (x * 2).requires_grad
        with weft.enable_grad():
            assert (x * 2).requires_grad
    assert weft.is_grad_enabled()
    with weft.set_grad_enabled(False):
        assert not weft.is_grad_enabled()
    assert not weft.no_grad()(lambda: x * 2)().requires_grad
    y = x.detach()
    y.add_(4)
    assert x.item() == 5
    assert not y.requires_grad


def test_grad_leaves_dot_grad_alone() -> None:
    x, other = leaf(1, 2), leaf(5)
    y = x * x
    dx, dy = autograd.grad((y * 3).sum(), [x, y], retain_graph=True)
    assert dx.tolist() == [6, 12]
    assert dy.tolist() == [3, 3]
    assert x.grad is None
    with pytest.raises(RuntimeError, match="grad: the outputs do not depend on input 0"):
        autograd.grad((x * 1).sum(), other)
    assert autograd.grad((x * 1).sum(), other, allow_unused=True) == (None,)


def test_errors_of_backward() -> None:
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match=r"only for a tensor with one element, got shape \(2,\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"gradient \(3,\) and tensor \(2,\) must have the same shape"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(TypeError, match="gradient is float32 but the tensor is float64"):
        (x * 2).backward(np.ones(2, np.float32))
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        weft.zeros(()).backward()
    with pytest.raises(RuntimeError, match="create_graph is not supported"):
        x.sum().backward(create_graph=True)
    with pytest.raises(TypeError, match="only floating tensors have gradients"):
        weft.tensor([1]).requires_grad_()


def test_gradient_buffer() -> None:
    x = leaf(1, 2)
    x._grad_buffer = weft.zeros(2, dtype="float64").array
    (x * 3).sum().backward()
    (x * 1).sum().backward()
    assert x.grad.array is x._grad_buffer
    assert x._grad_buffer.tolist() == [4, 4]


class Cube(weft.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: weft.Tensor) -> weft.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, dout: weft.Tensor) -> weft.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x * x * dout


class WrongCube(Cube):
    @staticmethod
    def backward(ctx: Any, dout: weft.Tensor) -> weft.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x * dout


def test_function_of_a_user_and_gradcheck() -> None:
    x = leaf(0.5, -2, 3)
    assert autograd.gradcheck(Cube.apply, [x])
    with pytest.raises(AssertionError, match=r"gradcheck: input 0, element \(2,\)"):
        autograd.gradcheck(WrongCube.apply, [x])
    with pytest.raises(TypeError, match="gradcheck: input 0 must be float64, got float32"):
        autograd.gradcheck(Cube.apply, [weft.ones(2, requires_grad=True)])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_pass_from_a_loss_makes_no_gradient_of_one(rng: np.random.Generator, reduction: str) -> None:
    """Its result is the same, whether the 1 is left out, given, or asked for by a hook, retain_grad or retain_graph."""
    given, y = rng.normal(size=(5, 3)).astype(np.float32), weft.tensor(rng.integers(0, 3, 5))

    def gradient(prepare: Callable[[Any], Any], **options: Any) -> np.ndarray[Any, Any]:
        x = weft.tensor(given, requires_grad=True)
        loss = weft.nn.functional.cross_entropy(x * 2, y, reduction=reduction)
        prepare(loss)
        weft.autograd.backward(loss, **options)
        assert x.grad is not None
        return x.grad.numpy()

    seen: list[Any] = []
    expected = gradient(lambda loss: None, gradients=weft.ones(()))
    for found in (
        gradient(lambda loss: None),
        gradient(lambda loss: loss.register_hook(lambda g: seen.append(g.item()))),
        gradient(lambda loss: loss.retain_grad()),
        gradient(lambda loss: None, retain_graph=True),
    ):
        assert found.tobytes() == expected.tobytes()
    assert seen == [1.0]
    doubled = gradient(lambda loss: loss.register_hook(lambda g: g * 2))
    assert doubled.tobytes() == (2 * expected).tobytes()


def test_a_second_pass_from_a_loss_needs_what_the_first_freed() -> None:
    x = weft.ones(2, 3).requires_grad_()
    loss = weft.nn.functional.cross_entropy(x, weft.tensor(np.array([0, 1])))
    loss.backward()
    with pytest.raises(RuntimeError, match="CrossEntropy: backward a second time"):
        loss.backward()
