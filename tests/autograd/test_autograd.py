"""The tape: order, accumulation, hooks, versions, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import weft
from weft import _uses, autograd


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


# --- what others give: hooks and Functions ---


def of(backward: Any, forward: Any = None) -> Any:
    """A user's Function of two arguments, whose sum it gives."""

    class Theirs(weft.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: weft.Tensor, y: weft.Tensor) -> Any:
            return x + y if forward is None else forward(x)

        @staticmethod
        def backward(ctx: Any, *douts: weft.Tensor) -> Any:
            return backward(douts[0])

    return Theirs


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda g: 5, TypeError, "must return a Tensor or None.*, got int"),
    (lambda g: g.numpy(), TypeError, "must return a Tensor or None.*, got ndarray"),
    (lambda g: [g], TypeError, "must return a Tensor or None.*, got list"),
    (lambda g: True, TypeError, "must return a Tensor or None.*, got bool"),
    (lambda g: g.to("float32"), TypeError, "must return a gradient of float64.*, got float32"),
    (lambda g: g.sum(), ValueError, r"must return a gradient of shape \(2,\).*, got shape \(\)"),
    (lambda g: g.reshape(1, 2), ValueError, r"must return a gradient of shape \(2,\).*, got shape \(1, 2\)"),
]


@pytest.mark.parametrize(("wrong", "kind", "text"), WRONG)
def test_gradients_of_a_wrong_kind(wrong: Any, kind: type[Exception], text: str) -> None:
    x = leaf(1, 2)
    handle = x.register_hook(wrong)
    with pytest.raises(kind, match=f"backward: a hook {text}"):
        (x * 2).sum().backward()
    handle.remove()
    y = x * 2
    y.register_hook(wrong)
    with pytest.raises(kind, match=f"backward: a hook {text}"):
        y.sum().backward()
    with pytest.raises(kind, match=f"Theirs: backward {text.replace('.*', ' for argument 1')}"):
        of(lambda g: (g, wrong(g))).apply(x * 1, leaf(3, 4)).sum().backward()
    assert x.grad is None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_what_a_function_may_return() -> None:
    x = leaf(1, 2)
    of(lambda g: (g, None)).apply(x, leaf(3, 4)).sum().backward()
    of(lambda g: g).apply(x, leaf(3, 4)).sum().backward()  # missing ones are None
    of(lambda g: (g.array, 5)).apply(x, weft.ones(2, dtype="float64")).sum().backward()  # nobody wants the second
    assert x.grad.tolist() == [3, 3]
    with pytest.raises(RuntimeError, match="Theirs: backward returned 3 gradients for 2 arguments"):
        of(lambda g: (g, g, g)).apply(x, x).sum().backward()
    for result, got in ((5, "int"), (None, "NoneType"), ([x], "list"), ((), "a tuple of nothing"), ((x, 5), "a tuple")):
        for given in (x, x.detach()):
            with pytest.raises(
                TypeError, match=f"Theirs: forward must return a Tensor or a tuple of Tensors, got {got}"
            ):
                of(lambda g: g, lambda x, result=result: result).apply(given, given)
    two = of(lambda g: (g, None), lambda x: (x * 1, x * 2)).apply(x, x)
    assert [t.tolist() for t in two] == [[1, 2], [2, 4]]


class Shifted(weft.autograd.KernelFunction):
    """On Arrays, with a gradient of another shape."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return weft.kernels.add(x, x)

    @staticmethod
    def backward(ctx: Any, dout: Any) -> Any:
        return dout[:1]


def test_an_operation_on_arrays_of_a_user() -> None:
    x = leaf(1, 2)
    text = r"Shifted: backward must return a gradient of shape \(2,\) for argument 0, got shape \(1,\)"
    with pytest.raises(ValueError, match=text):
        Shifted.apply(x * 1).sum().backward()


def test_hooks_must_be_callable() -> None:
    for bad in (5, None, "hook", [print]):
        for register in (
            leaf(1).register_hook,
            (leaf(1) * 1).register_hook,
            weft.nn.ReLU().register_forward_hook,
            weft.nn.ReLU().register_forward_pre_hook,
        ):
            with pytest.raises(TypeError, match=r"register_\w*hook: hook must be callable, got"):
                register(bad)  # type: ignore[operator]


def test_hooks_of_modules() -> None:
    for bad in (5, "x", True, 1.5, np.ones(2), object()):
        layer = weft.nn.ReLU()
        handle = layer.register_forward_hook(lambda m, a, out, bad=bad: bad)
        with pytest.raises(TypeError, match=r"ReLU: a forward hook must return a Tensor or None, got \w+"):
            layer(weft.ones(2))
        handle.remove()
        handle = layer.register_forward_pre_hook(lambda m, a, bad=bad: bad)
        with pytest.raises(TypeError, match=r"ReLU: a forward pre-hook must return a Tensor or None, got \w+"):
            layer(weft.ones(2))
        handle.remove()
        assert layer(weft.ones(2)).tolist() == [1, 1]
    layer.register_forward_hook(lambda m, a, out: {"out": out})
    assert layer(weft.ones(2))["out"].tolist() == [1, 1]


@pytest.mark.parametrize("where", ["leaf", "result", "function", "loss"])
@pytest.mark.parametrize("captured", [False, True])
def test_an_error_in_the_middle_of_a_pass_leaves_nothing_behind(where: str, captured: bool) -> None:
    weft.manual_seed(0)
    model = weft.nn.Sequential(weft.nn.Linear(3, 4), weft.nn.Tanh(), weft.nn.Linear(4, 2))
    optimizer = weft.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    x = weft.randn(5, 3)
    failing = False

    def fail(g: Any) -> Any:
        if failing:
            raise KeyError("in the middle")
        return g

    def step(x: weft.Tensor) -> weft.Tensor:
        optimizer.zero_grad()
        hidden = model[1](model[0](x))
        if where == "result":
            hidden.register_hook(fail)
        if where == "function":
            hidden = of(lambda g: (fail(g), None)).apply(hidden, hidden.detach())
        loss = (model[2](hidden) ** 2).mean()
        if where == "loss":
            loss.register_hook(fail)
        loss.backward()
        return loss.detach()

    if where == "leaf":
        model[0].weight.register_hook(fail)
    expected = [p.grad.tolist() for p in model.parameters() if step(x) is not None]
    run = weft.capture(step) if captured else step
    failing = True
    for _ in range(3):
        with pytest.raises(KeyError, match="in the middle"):
            run(x)
        assert weft.is_grad_enabled()
        assert (_uses.running, _uses.current()) == (0, None)
        assert not weft.kernels.in_capture()
    failing = False
    for _ in range(4):
        run(x)
        assert [p.grad.tolist() for p in model.parameters()] == expected
    assert weft.kernels.zeros((4, 3)).tolist() == [[0] * 3] * 4  # no destination is left for it


def test_arguments_of_backward_and_grad() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    for bad in (5, None, "x", [None], [5], ["x"], np.ones(2)):
        with pytest.raises(TypeError, match="backward: "):
            autograd.backward(bad)
        with pytest.raises(TypeError, match="grad: "):
            autograd.grad(y, bad)
    for bad in ("x", {}, object(), [None], [["a"]]):
        with pytest.raises(TypeError, match="backward: "):
            (x * 2).backward(bad)
    with pytest.raises(ValueError, match="backward: 1 gradients for 2 tensors"):
        autograd.backward([y, y], [None])
    with pytest.raises(RuntimeError, match=r"grad: input 0 \(shape \(1,\)\) does not require a gradient"):
        autograd.grad(y, weft.ones(1))
    single = leaf(3)
    # A wrong second one is found before the first, a leaf, has its gradient.
    with pytest.raises(TypeError, match="backward: expected a Tensor, got 5"):
        autograd.backward([single, 5])
    assert single.grad is None
