"""Losses against the naive kernels in double precision, and beside PyTorch."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft.kernels as K
from helpers import assert_close, reference, threads

KINDS = ["mse", "l1", "huber", "bce", "bce_with_logits", "hinge"]
NAMES = {
    "mse": "mse_loss", "l1": "l1_loss", "huber": "huber_loss", "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits", "hinge": "hinge_loss",
}  # fmt: skip
PARAM = {"huber": {"delta": 0.7}, "hinge": {"margin": 1.3}}
REDUCTIONS = ["none", "mean", "sum"]


def operands(kind: str, shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    if kind == "bce":
        return 1 / (1 + np.exp(-x)), rng.uniform(size=shape)
    if kind == "bce_with_logits":
        return 3 * x, rng.uniform(size=shape)
    if kind == "hinge":
        return x, np.where(rng.uniform(size=shape) < 0.5, -1.0, 1.0)
    return x, rng.normal(size=shape)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (101, 103)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_pointwise(every_isa: str, kind: str, shape: tuple[int, ...], reduction: str) -> None:
    x, t = (v.astype(np.float32) for v in operands(kind, shape))
    rng = np.random.default_rng(1)
    options = {**PARAM.get(kind, {}), "reduction": reduction}
    weight = None
    if kind.startswith("bce"):
        weight = rng.uniform(size=shape).astype(np.float32)
        options["weight"] = weight
    wide = {k: v.astype(np.float64) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    loss = getattr(K, NAMES[kind])(x, t, **options)
    expected = reference(getattr(K, NAMES[kind]), x.astype(np.float64), t.astype(np.float64), **wide)
    assert_close(loss, expected, dtype="float32", factor=4)
    dout = rng.normal(size=np.asarray(loss).shape).astype(np.float32)
    param = next(iter(PARAM.get(kind, {"": 1.0}).values()))
    both = {"reduction": reduction, "param": param, "need_target": True}
    found = K.pointwise_loss_backward(kind, dout, x, t, weight, **both)
    wide_weight = None if weight is None else weight.astype(np.float64)
    exact = reference(
        K.pointwise_loss_backward, kind, dout.astype(np.float64), x.astype(np.float64), t.astype(np.float64),
        wide_weight, **both,
    )  # fmt: skip
    for ours, theirs in zip(found, exact, strict=True):
        assert_close(ours, theirs, dtype="float32", factor=8)


def test_gradients_only_where_asked() -> None:
    x = np.ones(3, np.float32)
    one = np.float32(1)
    assert K.pointwise_loss_backward("mse", one, x, x)[1] is None
    assert K.pointwise_loss_backward("mse", one, x, x, need_input=False, need_target=True)[0] is None


# --- cross-entropy ---


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    n, c = draw(st.integers(1, 20)), draw(st.integers(1, 40))
    extra = draw(st.sampled_from([(), (3,), (2, 2)]))
    shape = (n, c, *extra)
    logits = rng.normal(scale=3, size=shape)
    if draw(st.booleans()):
        target = rng.uniform(size=shape)
        target /= target.sum(axis=1, keepdims=True)
    else:
        target = rng.integers(0, c, (n, *extra))
        target[rng.uniform(size=target.shape) < 0.2] = -7
        target.flat[0] = 0
    return {
        "logits": logits,
        "target": target,
        "weight": rng.uniform(0.5, 2, size=c) if draw(st.booleans()) else None,
        "reduction": draw(st.sampled_from(REDUCTIONS)),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
        "ignore_index": -7,
    }


@given(problem=problems())
def test_cross_entropy_beside_torch(problem: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    tensors = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in problem.items()}
    logits, target = tensors.pop("logits").requires_grad_(), tensors.pop("target")
    theirs = torch.nn.functional.cross_entropy(logits, target, **tensors)
    loss, unit = K.cross_entropy(**problem, need_grad=True)
    assert_close(loss, theirs)
    dout = np.random.default_rng(0).normal(size=theirs.shape)
    (dlogits,) = torch.autograd.grad(theirs, logits, torch.from_numpy(dout))
    assert_close(K.cross_entropy_backward(dout, unit, problem["reduction"]), dlogits)


@given(problem=problems())
def test_cross_entropy_in_float32(problem: dict[str, Any]) -> None:
    narrow = {
        k: v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in problem.items()
    }
    wide = {
        k: v.astype(np.float64) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in narrow.items()
    }
    loss, unit = K.cross_entropy(**narrow, need_grad=True)
    assert np.asarray(loss).tobytes() == np.asarray(K.cross_entropy(**narrow)[0]).tobytes()
    exact, exact_unit = reference(K.cross_entropy, **wide, need_grad=True)
    assert_close(loss, exact, dtype="float32", factor=4)
    assert_close(unit, exact_unit, dtype="float32", factor=4)
    dout = np.random.default_rng(0).normal(size=np.asarray(loss).shape)
    theirs = reference(K.cross_entropy_backward, dout, exact_unit, narrow["reduction"])
    for in_place in (False, True):
        ours = K.cross_entropy_backward(dout.astype(np.float32), unit, narrow["reduction"], in_place)
        assert_close(ours, theirs, dtype="float32", factor=4)
    assert_close(unit, theirs, dtype="float32", factor=4)  # the last one wrote there


@pytest.mark.parametrize("shape", [(64, 10), (1024, 1000), (5, 1), (3, 10, 7), (2, 21, 13, 17)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("by", ["class", "probability"])
def test_cross_entropy(
    every_isa: str, rng: np.random.Generator, shape: tuple[int, ...], smoothing: float, weighted: bool, by: str
) -> None:
    logits = rng.normal(scale=3, size=shape).astype(np.float32)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    if by == "class":
        target[-1, ...] = 0
        target.flat[::5] = -100  # ignored
    else:
        target = rng.dirichlet(np.ones(shape[1]), (shape[0], *shape[2:]))
        target = np.moveaxis(target, -1, 1).astype(np.float32)
    weight = rng.uniform(0.5, 2, shape[1]).astype(np.float32) if weighted else None
    loss, unit = K.cross_entropy(logits, target, weight, label_smoothing=smoothing, need_grad=True)
    wide = [v if v is None or v.dtype.kind == "i" else v.astype(np.float64) for v in (logits, target, weight)]
    expected = reference(K.cross_entropy, *wide, label_smoothing=smoothing, need_grad=True)
    assert_close(loss, expected[0], dtype="float32", factor=4)
    assert_close(unit, expected[1], dtype="float32", factor=4)
    assert K.cross_entropy_backward(np.float32(1), unit, in_place=True).numpy().tobytes() == unit.numpy().tobytes()


def test_a_probability_of_zero_takes_out_an_infinite_logit(every_isa: str) -> None:
    for shape in ((1, 3), (1, 3, 1, 2)):
        logits = np.zeros(shape, np.float32)
        logits[:, 0] = -np.inf
        target = np.zeros(shape, np.float32)
        target[:, 1] = 1
        loss, dlogits = K.cross_entropy(logits, target, need_grad=True)
        assert np.isclose(loss.item(), np.log(2))
        assert np.isfinite(np.asarray(dlogits)).all()


def test_targets_of_other_integer_dtypes(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(6, 4)).astype(np.float32)
    losses = [K.cross_entropy(logits, np.arange(6, dtype=d) % 4)[0].item() for d in ("int64", "int32", "uint8")]
    assert len(set(losses)) == 1


def test_one_sample_without_batch_axis() -> None:
    logits = np.array([1.0, 2.0, 3.0])
    loss, dlogits = K.cross_entropy(logits, np.array(2), need_grad=True)
    assert loss.shape == ()
    assert dlogits.shape == (3,)
    assert np.isclose(loss.item(), np.log(np.exp(logits - 3).sum()))


def test_nothing_counts_is_nan_and_empty_batch(every_isa: str) -> None:
    loss, _ = K.cross_entropy(np.ones((3, 4), np.float32), np.full(3, -100))
    assert np.isnan(loss.item())
    loss, _ = K.cross_entropy(np.ones((0, 4), np.float32), np.zeros(0, int))
    assert np.isnan(loss.item())
    assert K.cross_entropy(np.ones((0, 4), np.float32), np.zeros(0, int), reduction="sum")[0].item() == 0
    assert np.isnan(K.mse_loss(np.ones(0, np.float32), np.ones(0, np.float32)).item())


def test_nan_goes_through(every_isa: str) -> None:
    logits = np.zeros((2, 20), np.float32)
    logits[1, 3] = np.nan
    loss, _ = K.cross_entropy(logits, np.zeros(2, int), reduction="none")
    assert np.isnan(np.asarray(loss)).tolist() == [False, True]
    for kind in KINDS:
        x = np.full(20, np.nan, np.float32)
        assert np.isnan(getattr(K, NAMES[kind])(x, np.ones(20, np.float32)).item()), kind


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wrong", [-1e-3, 1.001, np.inf, -np.inf])
def test_binary_cross_entropy_wants_probabilities(every_implementation: str, dtype: Any, wrong: float) -> None:
    x, t = np.linspace(0, 1, 11, dtype=dtype), np.zeros(11, dtype)
    x[7] = wrong
    got = re.escape(f"{wrong:g}")
    message = rf"binary_cross_entropy: input must lie in \[0, 1\], got {got} at position 7 \(shape \(11,\)\)"
    with pytest.raises(ValueError, match=message):
        K.binary_cross_entropy(x, t).numpy()
    with pytest.raises(ValueError, match=message):
        np.asarray(K.pointwise_loss_backward("bce", dtype(1), x, t)[0])
    x[7] = np.nan  # shows by itself
    assert np.isnan(K.binary_cross_entropy(x, t).item())


@pytest.mark.parametrize("kind", ["mse", "l1", "huber", "hinge"])
def test_only_binary_cross_entropies_have_a_weight(kind: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{NAMES[kind]}: only the binary cross-entropies have a weight \(weight \(4, 3\)\)"
    ):
        K.pointwise_loss_backward(kind, F(1), X, X, weight=X)


@pytest.mark.cpu
def test_same_bits_for_any_number_of_threads(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(3000, 33)).astype(np.float32)
    target = rng.integers(0, 33, 3000)
    results = []
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            loss, dx = K.cross_entropy(logits, target, label_smoothing=0.1, need_grad=True)
            planes = logits.reshape(30, 100, 33)
            more = K.cross_entropy(planes, target[:990].reshape(30, 33), need_grad=True)
            mse = K.mse_loss(logits, logits[::-1])
            results.append(b"".join(np.asarray(v).tobytes() for v in (loss, dx, *more, mse)))
    assert len(set(results)) == 1


F = np.float32
X = np.ones((4, 3), F)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (X, np.array([0, 1, 3, 0])),
            {},
            IndexError,
            r"cross_entropy: target 3 at position 2 is not a class: expected 0 to 2 \(logits \(4, 3\)\)",
        ),
        ((X, np.array([0, -1, 0, 0])), {}, IndexError, "cross_entropy: target -1 at position 1 is not a class"),
        (
            (X, np.zeros(4, F)),
            {},
            TypeError,
            r"cross_entropy: target must be class indices of an integer dtype, or probabilities "
            r"of the logits' shape \(4, 3\); got float32 \(4,\)",
        ),
        ((X, np.zeros(4, bool)), {}, TypeError, "cross_entropy: target must be class indices of an integer dtype"),
        (
            (X, np.zeros(5, int)),
            {},
            ValueError,
            r"cross_entropy: logits \(4, 3\) expect a target of shape \(4,\), got \(5,\)",
        ),
        ((X, np.zeros((4, 1), int)), {}, ValueError, r"expect a target of shape \(4,\), got \(4, 1\)"),
        ((X, np.zeros((4, 3))), {}, TypeError, "logits and target must have the same dtype, got float32 and float64"),
        (
            (X, np.zeros(4, int)),
            {"weight": np.ones(4, F)},
            ValueError,
            r"cross_entropy: weight must have shape \(C,\) = \(3,\), got \(4,\)",
        ),
        (
            (X, np.zeros(4, int)),
            {"reduction": "avg"},
            ValueError,
            "cross_entropy: reduction must be 'none', 'mean' or 'sum', got 'avg'",
        ),
        (
            (X, np.zeros(4, int)),
            {"label_smoothing": 1.5},
            ValueError,
            r"cross_entropy: label_smoothing must lie in \[0, 1\], got 1.5",
        ),
        ((np.ones((4, 0), F), np.zeros(4, int)), {}, ValueError, r"cross_entropy: logits \(4, 0\) have no classes"),
        (
            (np.ones((4, 3), int), np.zeros(4, int)),
            {},
            TypeError,
            "cross_entropy: logits must be float32 or float64, got int64",
        ),
    ],
)
def test_cross_entropy_errors(arguments: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        K.cross_entropy(*arguments, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(300, 5), (9000, 5), (40, 5, 30)], ids=str)
def test_the_first_bad_target_is_told(every_implementation: str, shape: tuple[int, ...], reduction: str) -> None:
    """Of few rows, of many, of rows side by side."""
    logits, target = np.ones(shape, F), np.zeros((shape[0], *shape[2:]), int)
    target.flat[[1, 5, 270]] = -100, 4, -100  # these are good
    K.cross_entropy(logits, target, reduction=reduction)
    target.flat[[290, 291, 299]] = 7, 8, -2
    with pytest.raises(IndexError, match="cross_entropy: target 7 at position 290 is not a class: expected 0 to 4"):
        K.cross_entropy(logits, target, reduction=reduction)


def test_cross_entropy_backward_errors() -> None:
    with pytest.raises(ValueError, match=r"cross_entropy: dout must have shape \(\), got \(4,\)"):
        K.cross_entropy_backward(np.ones(4, F), K.asarray(X))
    with pytest.raises(TypeError, match="cross_entropy: dout and dlogits must have the same dtype"):
        K.cross_entropy_backward(np.float64(1), K.asarray(X))
    with pytest.raises(ValueError, match="cross_entropy: dlogits must be contiguous"):
        K.cross_entropy_backward(F(1), K.asarray(X).permute([1, 0]))


def test_pointwise_errors() -> None:
    with pytest.raises(ValueError, match=r"mse_loss: input \(4, 3\) and target \(3, 4\) must have the same shape"):
        K.mse_loss(X, X.reshape(3, 4))
    with pytest.raises(TypeError, match="l1_loss: input and target must have the same dtype, got float32 and float64"):
        K.l1_loss(X, X.astype(np.float64))
    with pytest.raises(TypeError, match="huber_loss: input must be float32 or float64, got int64"):
        K.huber_loss(X.astype(int), X.astype(int))
    with pytest.raises(ValueError, match="huber_loss: delta must be positive, got 0"):
        K.huber_loss(X, X, delta=0)
    with pytest.raises(ValueError, match="hinge_loss: reduction must be 'none', 'mean' or 'sum', got 'avg'"):
        K.hinge_loss(X, X, reduction="avg")
    with pytest.raises(ValueError, match=r"binary_cross_entropy: weight \(5,\) does not broadcast|shapes"):
        K.binary_cross_entropy(X, X, weight=np.ones(5, F))
    with pytest.raises(ValueError, match="kind must be mse, l1, huber, bce, bce_with_logits or hinge, got 'mae'"):
        K.pointwise_loss_backward("mae", F(1), X, X)
    with pytest.raises(ValueError, match=r"mse_loss: dout must have shape \(\), got \(3,\)"):
        K.pointwise_loss_backward("mse", np.ones(3, F), X, X)
