"""Optimizer steps against their naive kernels in double precision, and against PyTorch's optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, default_device, isa, threads, to_numpy

SIZES = [0, 1, 7, 64, 1009, 70_001]
# function, number of state arrays by keyword, whether it takes the step, options
CASES: list[tuple[str, tuple[str, ...], bool, dict[str, Any]]] = [
    ("sgd_step", (), True, {}),
    ("sgd_step", (), True, {"weight_decay": 0.1, "maximize": True}),
    ("sgd_step", ("momentum_buffer",), True, {"momentum": 0.9}),
    ("sgd_step", ("momentum_buffer",), True, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("sgd_step", ("momentum_buffer",), True, {"momentum": 0.9, "nesterov": True, "maximize": True}),
    ("adagrad_step", ("square_sum",), True, {}),
    ("adagrad_step", ("square_sum",), True, {"lr_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("rmsprop_step", ("square_average",), False, {}),
    ("rmsprop_step", ("square_average", "momentum_buffer"), False, {"momentum": 0.9, "weight_decay": 0.1}),
    ("rmsprop_step", ("square_average", "grad_average"), False, {"alpha": 0.9, "maximize": True}),
    ("rmsprop_step", ("square_average", "grad_average", "momentum_buffer"), False, {"momentum": 0.5}),
    ("adam_step", ("first_moment", "second_moment"), True, {}),
    ("adam_step", ("first_moment", "second_moment"), True, {"weight_decay": 0.1, "maximize": True}),
    ("adam_step", ("first_moment", "second_moment"), True, {"weight_decay": 0.1, "decoupled": True}),
    ("adam_step", ("first_moment", "second_moment"), True, {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, _, _, options in CASES]


def train(case: tuple[Any, ...], n: int, dtype: str, steps: int = 4) -> list[np.ndarray]:
    """Parameters and state after some steps from a fixed start."""
    name, states, counts, options = case
    rng = np.random.default_rng(n)
    start = rng.normal(size=n).astype(np.float32)
    grads = rng.normal(size=(steps, n)).astype(np.float32)
    param = K.asarray(start.astype(dtype))
    state = {key: K.zeros((n,), dtype) for key in states}
    for step in range(steps):
        extra: dict[str, Any] = {"step": K.full((), step, "int64")} if counts else {}
        grad = grads[step].astype(dtype)
        getattr(K, name)(param, grad, lr=np.array(0.05), **state, **extra, **options)
        assert not counts or extra["step"].item() == step + 1
    return [to_numpy(x) for x in (param, *state.values())]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_steps(every_isa: str, case: tuple[Any, ...], dtype: str) -> None:
    for n in SIZES:
        got = train(case, n, dtype)
        with isa("reference"), default_device("cpu"):
            wanted = train(case, n, "float64")
        for a, b in zip(got, wanted, strict=True):
            assert_close(a, b, dtype=dtype, factor=8)  # four steps


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_torch(case: tuple[Any, ...]) -> None:
    torch = pytest.importorskip("torch")
    name, states, _, options = case
    rng = np.random.default_rng(101)
    param = torch.tensor(rng.normal(size=101).astype(np.float32), dtype=torch.float64, requires_grad=True)
    grads = torch.tensor(rng.normal(size=(4, 101)).astype(np.float32), dtype=torch.float64)
    options = dict(options)
    if name == "adam_step":
        kind = torch.optim.AdamW if options.pop("decoupled", False) else torch.optim.Adam
        options["betas"] = (options.pop("beta1", 0.9), options.pop("beta2", 0.999))
        options.setdefault("weight_decay", 0.0)
    else:
        kind = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "rmsprop": torch.optim.RMSprop}[
            name.removesuffix("_step")
        ]
        if "grad_average" in states:
            options["centered"] = True
    optimizer = kind([param], lr=0.05, **options)
    for grad in grads:
        param.grad = grad
        optimizer.step()
    assert_close(train(case, 101, "float64")[0], param, factor=8)


@pytest.mark.cpu
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_any_thread_count(case: tuple[Any, ...]) -> None:
    runs = []
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            runs.append(b"".join(x.tobytes() for x in train(case, 70_001, "float32", 2)))
    assert len(set(runs)) == 1


def test_constant_gradient_has_no_variance(every_isa: str) -> None:
    """The centered variance may not fall below zero by rounding."""
    w, s, a = (K.zeros((64,)) for _ in range(3))
    grad = K.full((64,), 0.1)
    for _ in range(200):
        K.rmsprop_step(w, grad, s, np.array(1e-12), grad_average=a, alpha=0.5)
    assert np.isfinite(to_numpy(w)).all()


def test_clip_grad_norm(every_implementation: str, rng: np.random.Generator) -> None:
    shapes = [(3, 5), (0,), (), (70_001,), (17,)]
    grads = [rng.normal(size=s).astype(np.float32) for s in shapes] + [rng.normal(size=(4, 4))]
    wide = [g.astype(np.float64) for g in grads]
    norm = np.sqrt(sum((g**2).sum() for g in wide))
    for most in (float("inf"), 2 * norm, norm / 3):
        mine = [K.asarray(g.copy()) for g in grads]
        assert_close(K.clip_grad_norm(mine, most), np.array(norm), factor=10)
        for a, b in zip(mine, wide, strict=True):
            assert_close(a, b * min(1.0, most / (norm + 1e-6)))
    start = np.zeros((4, 6), np.float32)
    start[:, ::2] = 1
    view = K.asarray(start)
    assert float(np.asarray(K.clip_grad_norm([view[:, ::2]], 1.0))) == pytest.approx(np.sqrt(12))
    assert_close(view[:, ::2], np.full((4, 3), 1 / np.sqrt(12), np.float32))
    assert not to_numpy(view)[:, 1::2].any()
    assert float(np.asarray(K.clip_grad_norm([], 1.0))) == 0


def test_norm_of_more_arrays_than_one_launch_takes(every_implementation: str, rng: np.random.Generator) -> None:
    """In both dtypes, changing in between; empty ones; off a multiple of 16 bytes."""
    grads = [K.asarray(rng.normal(size=3 + i % 5).astype(np.float32))[i % 3 :] for i in range(35)]
    grads += [K.zeros((0,))] + [K.asarray(rng.normal(size=20_001)) for _ in range(17)] + [K.ones((1,))]
    norm = np.sqrt(sum((to_numpy(g).astype(np.float64) ** 2).sum() for g in grads))
    assert_close(K.clip_grad_norm(grads, float("inf")), np.array(norm), factor=10)


def test_clip_grad_norm_does_not_overflow() -> None:
    grad = K.full((4,), 1e30)
    assert float(np.asarray(K.clip_grad_norm([grad], 1.0))) == pytest.approx(2e30)
    assert_close(grad, np.full(4, 0.5, np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_clip_grad_norm_not_finite(every_implementation: str, bad: float) -> None:
    torch = pytest.importorskip("torch")
    grad = np.ones(300, np.float32)
    grad[7] = bad
    parameter = torch.zeros(300, requires_grad=True)
    parameter.grad = torch.tensor(grad)
    expected = torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    grad = K.asarray(grad.copy())
    norm = float(np.asarray(K.clip_grad_norm([grad], 1.0)))
    assert np.array_equal(norm, float(expected), equal_nan=True)
    assert_close(grad, parameter.grad)


@pytest.mark.cpu
def test_clip_any_thread_count(rng: np.random.Generator) -> None:
    grad = rng.normal(size=200_003).astype(np.float32)
    runs = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            mine = grad.copy()
            norm = K.clip_grad_norm([mine, mine[:100]], 0.5)
            runs.add(np.asarray(norm).tobytes() + mine.tobytes())
    assert len(runs) == 1


def test_errors() -> None:
    w, g, lr, step = map(K.asarray, (np.ones(3), np.ones(3), np.array(0.1), np.array(1)))
    with pytest.raises(TypeError, match="sgd_step: param must be float32 or float64, got int64"):
        K.sgd_step(K.arange(3), K.arange(3), lr, step)
    with pytest.raises(TypeError, match="sgd_step: param and grad must have the same dtype"):
        K.sgd_step(w, K.cast(g, "float32"), lr, step)
    with pytest.raises(ValueError, match=r"sgd_step: param \(3,\) and grad \(2,\) must have the same shape"):
        K.sgd_step(w, g[:2], lr, step)
    with pytest.raises(TypeError, match="sgd_step: lr must be float64, got float32"):
        K.sgd_step(w, g, K.cast(lr, "float32"), step)
    with pytest.raises(ValueError, match=r"sgd_step: step must be one value of shape \(\), got shape \(1,\)"):
        K.sgd_step(w, g, lr, step[None])
    with pytest.raises(ValueError, match=r"sgd_step: param must be contiguous \(shape \(3,\), strides \(2,\)\)"):
        K.sgd_step(K.ones((6,), "float64")[::2], g, lr, step)
    with pytest.raises(ValueError, match="sgd_step: momentum 0.9 needs a momentum_buffer"):
        K.sgd_step(w, g, lr, step, momentum=0.9)
    with pytest.raises(ValueError, match="sgd_step: momentum must be finite and not negative, got -1"):
        K.sgd_step(w, g, lr, step, K.copy(w), momentum=-1)
    with pytest.raises(ValueError, match="sgd_step: nesterov needs a momentum above 0 and no dampening"):
        K.sgd_step(w, g, lr, step, nesterov=True)
    with pytest.raises(ValueError, match="adagrad_step: eps must be finite and not negative, got -1"):
        K.adagrad_step(w, g, K.copy(w), lr, step, eps=-1)
    with pytest.raises(ValueError, match="rmsprop_step: alpha must be finite and not negative, got nan"):
        K.rmsprop_step(w, g, K.copy(w), lr, alpha=float("nan"))
    with pytest.raises(ValueError, match="adam_step: beta2 must be from 0 to below 1, got 1"):
        K.adam_step(w, g, K.copy(w), K.copy(w), lr, step, beta2=1)
    with pytest.raises(ValueError, match=r"adam_step: param \(3,\) and first_moment \(4,\) must have the same"):
        K.adam_step(w, g, K.ones((4,), "float64"), K.copy(w), lr, step)
    with pytest.raises(ValueError, match="clip_grad_norm: max_norm must not be negative, got -1"):
        K.clip_grad_norm([g], -1)
    with pytest.raises(TypeError, match="clip_grad_norm: grads must be float32 or float64, got int64"):
        K.clip_grad_norm([K.arange(3)], 1)


@pytest.mark.cpu
def test_memory_that_may_not_be_written() -> None:
    g, lr, step = np.ones(3), np.array(0.1), np.array(1)
    frozen = np.ones(3)
    frozen.flags.writeable = False
    for call in (lambda: K.sgd_step(frozen, g, lr, step), lambda: K.clip_grad_norm([frozen], 1)):
        with pytest.raises(ValueError, match="the output array is read-only"):
            call()


@pytest.mark.parametrize("isa_name", K.available_isas())
def test_a_second_rate_stands_for_momentum(isa_name: str) -> None:
    with isa(isa_name):
        for dtype in ("float32", "float64"):
            grad = np.linspace(-1, 1, 37).astype(dtype)
            results = []
            for lr, momentum in ((K.full((), 0.1, "float64"), 0.7), (K.asarray(np.array([0.1, 0.7])), 0.3)):
                state = [K.full((37,), 0.5, dtype) for _ in range(7)]
                step = K.full((), 3, "int64")
                K.sgd_step(state[0], grad, lr, step, state[1], momentum)
                K.rmsprop_step(state[2], grad, state[3], lr, None, state[4], momentum=momentum)
                K.adam_step(state[5], grad, state[6], K.full((37,), 0.5, dtype), lr, step, beta1=momentum)
                results.append([s.tolist() for s in state])
            assert results[0] == results[1]


def test_rates_are_one_or_two_values_side_by_side() -> None:
    x = K.zeros((3,))
    with pytest.raises(ValueError, match=r"sgd_step: lr must be one value of shape \(\), got shape \(3,\)"):
        K.sgd_step(x, x, K.zeros((3,), "float64"), K.ones((), "int64"))
    with pytest.raises(ValueError, match="sgd_step: lr must be contiguous"):
        K.sgd_step(x, x, K.zeros((4,), "float64")[::2], K.ones((), "int64"))


def test_write_now() -> None:
    rates = K.zeros((2,), "float64")
    K.write_now(rates, [1.5, 2.5])
    assert rates.tolist() == [1.5, 2.5]
    with pytest.raises(TypeError, match="write_now: the array must be float64, got float32"):
        K.write_now(K.zeros((2,)), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"write_now: 1 values for an array of shape \(2,\)"):
        K.write_now(rates, [1.0])
