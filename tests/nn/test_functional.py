"""Every function of weft.nn.functional: gradcheck in float64, and PyTorch's value and gradient."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weft
import weft.kernels as K
from helpers import assert_close
from weft.autograd import gradcheck
from weft.nn import functional as F
from weft.tensor import Tensor

# What has no gradient, and the tests of it further down.
NOT_DIFFERENTIABLE = {"one_hot"}


@dataclass
class Case:
    """One drawn problem: float64 inputs, and the same function of them in weft and in torch."""

    inputs: list[np.ndarray]
    ours: Callable[..., Tensor]
    torch: Callable[..., Any]  # its first argument is the module torch
    terms: int = 1  # how many products an element sums, for the tolerance


def leaf(x: np.ndarray) -> Tensor:
    return Tensor(K.copy(np.array(x, order="C")), requires_grad=True)


def constant(x: np.ndarray) -> Tensor:
    return Tensor(K.copy(np.array(x, order="C")))


seeds = st.integers(0, 2**31).map(np.random.default_rng)
sizes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
reductions = st.sampled_from(["none", "mean", "sum"])


def off_zero(rng: np.random.Generator, shape: tuple[int, ...], gap: float = 0.05) -> np.ndarray:
    """Normal values at least `gap` away from 0, where many functions have a corner."""
    x = rng.normal(size=shape)
    return np.sign(x) * (np.abs(x) + gap)


def distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values that differ by 0.1 at least, so that a maximum keeps its place under a small step."""
    return 0.1 * (rng.permutation(int(np.prod(shape))).reshape(shape) - np.prod(shape) / 2) + 0.03


# --- activations

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "step": lambda torch, x: (x > 0).to(x.dtype) + 0 * x,
    "sigmoid": lambda torch, x: torch.sigmoid(x),
    "tanh": lambda torch, x: torch.tanh(x),
    "relu": lambda torch, x: torch.relu(x),
    "silu": lambda torch, x: torch.nn.functional.silu(x),
}
PARAMETERS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "leaky_relu": ("negative_slope", st.sampled_from([0.01, 0.3])),
    "elu": ("alpha", st.sampled_from([1.0, 0.7])),
    "softplus": ("beta", st.sampled_from([1.0, 2.5])),
    "gelu": ("approximate", st.sampled_from(["none", "tanh"])),
    "softmax": ("dim", st.just(None)),
    "log_softmax": ("dim", st.just(None)),
}


@st.composite
def activation(draw: Any, name: str) -> Case:
    x = off_zero(draw(seeds), draw(sizes))
    function = getattr(F, name)
    if name in ACTIVATIONS:
        return Case([x], function, ACTIVATIONS[name])
    key, values = PARAMETERS[name]
    value = draw(st.integers(-x.ndim, x.ndim - 1)) if key == "dim" else draw(values)
    options = {key: value}
    return Case(
        [x],
        lambda x: function(x, **options),
        lambda torch, x: getattr(torch.nn.functional, name)(x, **options),
    )


@st.composite
def dropout(draw: Any) -> Case:
    x, p = off_zero(draw(seeds), draw(sizes)), draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))

    def ours(x: Tensor) -> Tensor:
        K.manual_seed(5)
        return F.dropout(x, p)

    mask = np.asarray(ours(constant(np.ones_like(x))).array) != 0
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return Case([x], ours, lambda torch, x: x * (torch.from_numpy(mask.copy()).to(x.dtype) * scale))


# --- linear functions


@st.composite
def conv2d(draw: Any) -> Case:
    rng, small = draw(seeds), st.integers(1, 3)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    kernel, dilation = (draw(small), draw(small)), (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    kind = draw(st.sampled_from(["number", "pair", "four", "same", "valid"]))
    pads = {
        "number": [draw(st.integers(0, 2))] * 4,
        "pair": [n for n in (draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in "ab"],
        "four": [draw(st.integers(0, 2)) for _ in range(4)],
    }.get(kind, [0] * 4)
    padding: Any = {"number": pads[0], "pair": (pads[0], pads[2]), "four": tuple(pads)}.get(kind, kind)
    stride = (1, 1) if kind == "same" else (draw(small), draw(small))
    image = [
        max(1, e - (0 if kind == "same" else a + b)) + draw(st.integers(0, 4))
        for e, a, b in zip(extent, pads[::2], pads[1::2], strict=True)
    ]
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    x = rng.normal(size=(*batch, channels, *image))
    weight = rng.normal(size=(filters, channels // groups, *kernel))
    inputs = [x, weight] + ([rng.normal(size=filters)] if draw(st.booleans()) else [])

    def of_torch(torch: Any, x: Any, *rest: Any) -> Any:
        pad = padding
        if kind == "four":
            top, bottom, left, right = pads
            x, pad = torch.nn.functional.pad(x, (left, right, top, bottom)), 0
        bias = rest[1] if len(rest) > 1 else None
        return torch.nn.functional.conv2d(x, rest[0], bias, stride, pad, dilation, groups)

    options = (stride, padding, dilation, groups)
    return Case(
        inputs,
        lambda x, w=None, b=None: options if x is None else F.conv2d(x, w, b, *options),
        of_torch,
        terms=max(weight[0].size, x.size, 50),
    )


@st.composite
def linear(draw: Any) -> Case:
    rng, n_in, n_out = draw(seeds), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    x = rng.normal(size=(*draw(st.lists(st.integers(1, 4), max_size=3)), n_in))
    inputs = [x, rng.normal(size=(n_out, n_in))] + ([rng.normal(size=n_out)] if draw(st.booleans()) else [])
    return Case(inputs, F.linear, lambda torch, *xs: torch.nn.functional.linear(*xs), terms=64)


OF_TORCH: dict[str, Callable[[Any], Any]] = {
    "relu": lambda y: y.relu(),
    "sigmoid": lambda y: y.sigmoid(),
    "tanh": lambda y: y.tanh(),
}


@st.composite
def with_activation(draw: Any, of: st.SearchStrategy[Case], fused: Callable[..., Tensor]) -> Case:
    case, activation = draw(of), draw(st.sampled_from(sorted(OF_TORCH)))
    options = () if case.ours is F.linear else case.ours(None)
    return Case(
        case.inputs,
        lambda x, w, b=None: fused(x, w, b, *options, activation=activation),
        lambda torch, *xs: OF_TORCH[activation](case.torch(torch, *xs)),
        case.terms,
    )


@st.composite
def conv2d_relu_max_pool2d(draw: Any) -> Case:
    case = draw(conv2d())
    options = case.ours(None)
    out = K.conv2d_output_size((1, *case.inputs[0].shape[-3:]), case.inputs[1].shape, *options)
    window = draw(st.sampled_from([(2, 2), (2, 2), (1, 3), (2, 1)]))
    window = (min(window[0], out[2]), min(window[1], out[3]))
    return Case(
        case.inputs,
        lambda x, w, b=None: F.conv2d_relu_max_pool2d(x, w, b, window, *options),
        lambda torch, *xs: torch.nn.functional.max_pool2d(case.torch(torch, *xs).relu(), window),
        case.terms,
    )


@st.composite
def pad(draw: Any) -> Case:
    shape = tuple(draw(st.lists(st.integers(2, 4), min_size=1, max_size=4)))
    widths = draw(st.lists(st.integers(-1, 2), max_size=2 * len(shape)).filter(lambda w: len(w) % 2 == 0))
    widths = [0 if w < 0 and shape[-1 - i // 2] < 3 else w for i, w in enumerate(widths)]
    x, value = draw(seeds).normal(size=shape), draw(st.sampled_from([0.0, 1.5]))
    return Case(
        [x],
        lambda x: F.pad(x, widths, value=value),
        lambda torch, x: torch.nn.functional.pad(x, widths, value=value),
    )


@st.composite
def normalize(draw: Any) -> Case:
    x = off_zero(draw(seeds), draw(sizes))
    options = {"p": draw(st.sampled_from([1.0, 2.0, 3.0])), "dim": draw(st.integers(-x.ndim, x.ndim - 1))}
    options["eps"] = draw(st.sampled_from([1e-12, 100.0]))
    return Case(
        [x],
        lambda x: F.normalize(x, **options),
        lambda torch, x: torch.nn.functional.normalize(x, **options),
        terms=16,
    )


# --- pooling


@st.composite
def pooling(draw: Any, name: str) -> Case:
    rng, two = draw(seeds), st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride = draw(two), draw(st.none() | two)
    padding, dilation = (0, 0), (1, 1)
    if name != "lp_pool2d":
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    if name in ("max_pool2d", "min_pool2d"):
        dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    image = [
        # A dilated window must not step over the image: torch's backward then writes out of bounds.
        max(1, d * (k - 1) + 1 - (2 * p if d == 1 else 0)) + draw(st.integers(0, 4))
        for d, k, p in zip(dilation, kernel, padding, strict=True)
    ]
    x = distinct(rng, (*draw(st.sampled_from([(), (1,), (2,)])), draw(st.integers(1, 3)), *image))
    ceil = draw(st.booleans())
    if name in ("max_pool2d", "min_pool2d"):
        options = (kernel, stride, padding, dilation, ceil)
        sign = 1 if name == "max_pool2d" else -1
        return Case(
            [x],
            lambda x: getattr(F, name)(x, *options),
            lambda torch, x: sign * torch.nn.functional.max_pool2d(sign * x, *options),
        )
    if name == "avg_pool2d":
        average = (kernel, stride, padding, ceil, draw(st.booleans()), draw(st.sampled_from([None, 1, 5])))
        return Case(
            [x],
            lambda x: F.avg_pool2d(x, *average),
            lambda torch, x: torch.nn.functional.avg_pool2d(x, *average),
            terms=9,
        )
    p = draw(st.sampled_from([1.0, 2.0, 3.0]))

    def norm(torch: Any, x: Any) -> Any:  # torch.nn.functional.lp_pool2d is no norm for odd p
        total = torch.nn.functional.avg_pool2d(x.abs() ** p, kernel, stride, 0, ceil, divisor_override=1)
        return total ** (1 / p)

    return Case([x], lambda x: F.lp_pool2d(x, p, kernel, stride, ceil), norm, terms=16)


@st.composite
def adaptive(draw: Any, name: str) -> Case:
    shape = (*draw(st.sampled_from([(), (2,)])), *(draw(st.integers(1, n)) for n in (3, 7, 7)))
    size = draw(st.integers(1, 5) | st.tuples(*[st.none() | st.integers(1, 5)] * 2))
    return Case(
        [distinct(draw(seeds), shape)],
        lambda x: getattr(F, name)(x, size),
        lambda torch, x: getattr(torch.nn.functional, name)(x, size),
        terms=9,
    )


# --- losses


@st.composite
def pointwise(draw: Any, name: str) -> Case:
    rng, shape, reduction = draw(seeds), draw(sizes), draw(reductions)
    x, options = off_zero(rng, shape), {"reduction": reduction}
    if name in ("mse_loss", "l1_loss", "huber_loss"):
        if name == "huber_loss":
            options["delta"] = draw(st.sampled_from([1.0, 0.4]))
        difference = off_zero(rng, shape)
        corner = options.get("delta", 0.0)
        difference[np.abs(np.abs(difference) - corner) < 0.02] *= 1.2
        inputs = [x, x + difference]
    elif name == "hinge_loss":
        target, margin = rng.choice([-1.0, 1.0], size=shape), draw(st.sampled_from([1.0, 0.5]))
        x[np.abs(margin - target * x) < 0.02] *= 1.2

        def hinge(torch: Any, x: Any, t: Any) -> Any:
            loss = torch.relu(margin - t * x)
            return {"none": loss, "sum": loss.sum(), "mean": loss.mean()}[reduction]

        return Case([x, target], lambda x, t: F.hinge_loss(x, t, margin, reduction), hinge, terms=64)
    else:
        inputs = [x, rng.uniform(0.05, 0.95, size=shape)]
        if name == "binary_cross_entropy":
            inputs[0] = rng.uniform(0.05, 0.95, size=shape)
        weight = rng.uniform(0.5, 2.0, size=shape) if draw(st.booleans()) else None

        def weighted(torch: Any, x: Any, t: Any) -> Any:
            w = None if weight is None else torch.from_numpy(weight).to(x.dtype)
            return getattr(torch.nn.functional, name)(x, t, w, reduction=reduction)

        def ours(x: Tensor, t: Tensor) -> Tensor:
            w = None if weight is None else Tensor(K.asarray(weight, dtype=str(x.dtype)))
            return getattr(F, name)(x, t, w, reduction=reduction)

        return Case(inputs, ours, weighted, terms=64)
    return Case(
        inputs,
        lambda x, t: getattr(F, name)(x, t, **options),
        lambda torch, x, t: getattr(torch.nn.functional, name)(x, t, **options),
        terms=64,
    )


@st.composite
def classification(draw: Any, name: str) -> Case:
    rng, classes = draw(seeds), draw(st.integers(1, 5))
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 3), (2, 2, 3)]))
    x = rng.normal(size=(*batch[:1], classes, *batch[1:]))
    options: dict[str, Any] = {"reduction": draw(reductions)}
    target = rng.integers(0, classes, size=batch)
    if name == "cross_entropy":
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1]))
        if draw(st.booleans()):
            target = rng.dirichlet(np.ones(classes), size=batch)
            target = np.ascontiguousarray(np.moveaxis(target, -1, min(1, len(batch))))
    if target.dtype.kind == "i" and target.size > 1 and draw(st.booleans()):
        options["ignore_index"] = draw(st.sampled_from([-100, 0]))
        target.flat[1:] = np.where(rng.random(target.size - 1) < 0.3, options["ignore_index"], target.flat[1:])
        target.flat[0] = classes - 1
        if classes == 1:
            options["ignore_index"] = -100
    weight = rng.uniform(0.5, 2.0, size=classes) if draw(st.booleans()) else None

    def ours(x: Tensor) -> Tensor:
        w = None if weight is None else Tensor(K.asarray(weight, dtype=str(x.dtype)))
        t = Tensor(K.asarray(target, dtype=None if target.dtype.kind == "i" else str(x.dtype)))
        return getattr(F, name)(x, t, w, **options)

    def of_torch(torch: Any, x: Any) -> Any:
        w = None if weight is None else torch.from_numpy(weight).to(x.dtype)
        t = torch.from_numpy(target.copy()) if batch else torch.tensor(target)
        t = t if target.dtype.kind == "i" else t.to(x.dtype)
        return getattr(torch.nn.functional, name)(x, t, w, **options)

    return Case([x], ours, of_torch, terms=64)


@st.composite
def normalization(draw: Any, name: str) -> Case:
    rng = draw(seeds)
    shape = (draw(st.integers(2, 4)), 2 * draw(st.integers(1, 3)), 3, draw(st.integers(3, 5)))
    affine = shape[2:] if name == "layer_norm" else shape[1:2]
    inputs = [rng.normal(1, 2, size=shape), rng.normal(size=affine), rng.normal(size=affine)]
    fixed = {"layer_norm": (affine,), "group_norm": (2,)}.get(name, ())
    training = draw(st.booleans())
    mean, var = rng.normal(size=shape[1]), rng.uniform(0.5, 2, size=shape[1])

    def ours(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        if name.startswith("batch"):
            state = (Tensor(K.asarray(a, dtype=str(x.dtype))) for a in (mean.copy(), var.copy()))
            return getattr(F, name)(x, *state, w, b, training)
        return F.instance_norm(x, weight=w, bias=b) if name == "instance_norm" else getattr(F, name)(x, *fixed, w, b)

    def of_torch(torch: Any, x: Any, w: Any, b: Any) -> Any:
        functional = torch.nn.functional
        if name.startswith("batch"):
            state = (torch.from_numpy(a.copy()).to(x.dtype) for a in (mean, var))
            out = functional.batch_norm(x, *state, w, b, training)
            return torch.relu(out) if name == "batch_norm_relu" else out
        if name == "instance_norm":
            return functional.instance_norm(x, weight=w, bias=b)
        return getattr(functional, name)(x, *fixed, w, b)

    return Case(inputs, ours, of_torch, terms=100)


NORMS = ["batch_norm", "batch_norm_relu", "layer_norm", "group_norm", "instance_norm"]
CASES: dict[str, st.SearchStrategy[Case]] = {
    **{name: activation(name) for name in [*ACTIVATIONS, *PARAMETERS]},
    "dropout": dropout(),
    "conv2d": conv2d(),
    "conv2d_activation": with_activation(conv2d(), F.conv2d_activation),
    "conv2d_relu_max_pool2d": conv2d_relu_max_pool2d(),
    "linear": linear(),
    "linear_activation": with_activation(linear(), F.linear_activation),
    "pad": pad(),
    "normalize": normalize(),
    **{name: normalization(name) for name in NORMS},
    **{name: pooling(name) for name in ("max_pool2d", "min_pool2d", "avg_pool2d", "lp_pool2d")},
    **{name: adaptive(name) for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d")},
    **{
        name: pointwise(name)
        for name in (
            "mse_loss",
            "l1_loss",
            "huber_loss",
            "hinge_loss",
            "binary_cross_entropy",
            "binary_cross_entropy_with_logits",
        )
    },
    **{name: classification(name) for name in ("cross_entropy", "nll_loss")},
}


def test_every_public_function_has_a_case() -> None:
    public = {n for n, f in vars(F).items() if inspect.isfunction(f) and not n.startswith("_")}
    assert public == set(F.__all__)
    assert public - NOT_DIFFERENTIABLE == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=15)
@given(data=st.data())
def test_gradcheck(name: str, data: st.DataObject) -> None:
    case = data.draw(CASES[name])
    assert gradcheck(case.ours, [leaf(x) for x in case.inputs])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(CASES))
@given(data=st.data())
def test_agrees_with_torch(name: str, dtype: str, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    case = data.draw(CASES[name])
    arrays = [x.astype(dtype) for x in case.inputs]
    ours, theirs = [leaf(x) for x in arrays], [torch.from_numpy(x.copy()).requires_grad_() for x in arrays]
    out, expected = case.ours(*ours), case.torch(torch, *theirs)
    assert str(out.dtype) == dtype
    assert_close(out.array, expected, terms=case.terms, factor=4)  # both round
    cotangent = np.random.default_rng(1).normal(size=tuple(out.shape)).astype(dtype)
    out.backward(constant(cotangent))
    expected.backward(torch.from_numpy(cotangent))
    for x, y in zip(ours, theirs, strict=True):
        gradient = torch.zeros_like(y) if y.grad is None else y.grad
        assert_close(x.grad.array, gradient, terms=max(case.terms, out.array.size), factor=4)


# --- what no drawn case shows


def test_one_hot() -> None:
    out = F.one_hot(constant(np.array([[2, 0]])), 3)
    assert not out.requires_grad
    np.testing.assert_array_equal(np.asarray(out.array), [[[0, 0, 1], [1, 0, 0]]])


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_conv2d_skips_gradients_that_nobody_asks_for(monkeypatch: pytest.MonkeyPatch, wanted: tuple[bool, ...]) -> None:
    called = []
    kernels = ["conv2d_backward_input", "conv2d_backward_weight", "conv2d_backward_bias"]
    for name in kernels:
        kernel = getattr(K, name)

        def counted(*args: Any, name: str = name, kernel: Any = kernel, **kwargs: Any) -> Any:
            called.append(name)
            return kernel(*args, **kwargs)

        monkeypatch.setattr(K, name, counted)
    arrays = [np.ones((2, 3, 5, 5)), np.ones((4, 3, 3, 3)), np.ones(4)]
    inputs = [Tensor(K.copy(x), requires_grad=w) for x, w in zip(arrays, wanted, strict=True)]
    out = F.conv2d(*inputs)
    out.backward(constant(np.ones(tuple(out.shape))))
    assert called == [name for name, w in zip(kernels, wanted, strict=True) if w]
    assert [x.grad is not None for x in inputs] == list(wanted)


def test_return_indices() -> None:
    x = leaf(np.array([[[[1.0, 5.0], [7.0, 2.0]]]]))
    out, index = F.max_pool2d(x, 2, return_indices=True)
    assert (out.array.item(), index.array.item()) == (7.0, 2)
    assert out.requires_grad
    assert not index.requires_grad
    assert F.min_pool2d(x, 2, return_indices=True)[1].array.item() == 0
    assert F.adaptive_max_pool2d(x, 1, return_indices=True)[1].array.item() == 2


def test_dropout_in_evaluation_is_the_identity() -> None:
    x = leaf(np.ones(3))
    assert F.dropout(x, 0.5, training=False) is x


def test_dropout_repeats_with_the_seed() -> None:
    x, outs = constant(np.ones(1000)), []
    for seed in (1, 1, 2):
        K.manual_seed(seed)
        outs.append(np.asarray(F.dropout(x, 0.3).array).copy())
    assert (outs[0] == outs[1]).all()
    assert (outs[0] != outs[2]).any()
    assert abs((outs[0] == 0).mean() - 0.3) < 0.05


def test_nll_loss_of_minus_infinity_elsewhere() -> None:
    x = constant(np.array([[0.0, -np.inf]]))
    assert F.nll_loss(x, constant(np.array([0]))).array.item() == 0.0


def test_errors() -> None:
    x, labels = constant(np.ones((2, 3))), constant(np.array([0, 2]))
    with pytest.raises(ValueError, match="gelu: approximate must be 'none' or 'tanh', got 'fast'"):
        F.gelu(x, "fast")
    with pytest.raises(ValueError, match=r"dropout: p must lie in \[0, 1\], got 1.5"):
        F.dropout(x, 1.5)
    with pytest.raises(ValueError, match="dropout: p must lie in .*, got nan"):
        F.dropout(x, float("nan"))
    with pytest.raises(ValueError, match=r"pad: expected up to 2 pairs of widths, got \[1\] \(input \(2, 3\)\)"):
        F.pad(x, [1])
    with pytest.raises(ValueError, match="pad: mode must be 'constant', got 'reflect'"):
        F.pad(x, [1, 1], mode="reflect")
    with pytest.raises(ValueError, match="normalize: p must be at least 1, got 0"):
        F.normalize(x, p=0)
    with pytest.raises(ValueError, match=r"output_size must be an int or two, got \(1, 2, 3\)"):
        F.adaptive_avg_pool2d(constant(np.ones((1, 2, 2))), (1, 2, 3))
    with pytest.raises(ValueError, match=r"nll_loss: target .* \(target \(3,\), input \(2, 3\)\)"):
        F.nll_loss(x, constant(np.array([0, 1, 2])))
    with pytest.raises(ValueError, match="nll_loss: reduction must be none, mean or sum, got 'max'"):
        F.nll_loss(x, labels, reduction="max")
    with pytest.raises(ValueError, match=r"nll_loss: weight .* \(weight \(2,\), input \(2, 3\)\)"):
        F.nll_loss(x, labels, constant(np.ones(2)))
    with pytest.raises(TypeError, match="nll_loss: target must be class indices .*, got float64"):
        F.nll_loss(x, constant(np.ones(2)))
    with pytest.raises(IndexError, match="one_hot"):
        F.nll_loss(x, constant(np.array([0, -1])))
    with pytest.raises(RuntimeError, match="cross_entropy: there is no gradient by the target"):
        F.cross_entropy(x, leaf(np.ones((2, 3))))


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_cross_entropy_backward_twice(scale: float) -> None:
    logits = weft.tensor(np.random.default_rng(0).normal(size=(5, 4)), requires_grad=True)
    loss = F.cross_entropy(logits, weft.tensor(np.arange(5) % 4)) * scale
    first = weft.autograd.grad(loss, logits, retain_graph=True)[0].numpy().copy()
    second = weft.autograd.grad(loss, logits)[0].numpy()
    assert first.tobytes() == second.tobytes()
    softmax = np.exp(logits.detach().numpy()) / np.exp(logits.detach().numpy()).sum(1, keepdims=True)
    assert np.allclose(first, scale * (softmax - np.eye(4)[np.arange(5) % 4]) / 5)
