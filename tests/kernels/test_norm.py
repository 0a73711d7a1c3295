"""Normalization: the kernels against the naive ones in double, the layers beside PyTorch, the errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft
import weft.kernels as K
from helpers import assert_close, reference, threads
from weft import nn
from weft.autograd import gradcheck
from weft.nn import functional as F
from weft.tensor import Tensor

# (N, C, ...): planes of less than a vector, of one and a bit, of several blocks; one and many channels.
SHAPES = [
    (5, 3), (64, 130), (2, 1, 1), (3, 7, 4), (4, 5, 3, 3), (9, 70, 4, 4), (2, 33, 7, 7), (3, 4, 17, 19), (2, 3, 70, 71),
    (1, 2, 33), (600, 2, 1, 3), (1, 1, 150, 151), (40, 17, 8, 8), (1025, 2, 2, 2),
]  # fmt: skip


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> dict[str, np.ndarray]:
    c = shape[1]
    values = {
        "x": rng.normal(2, 3, size=shape), "residual": rng.normal(size=shape), "dout": rng.normal(size=shape),
        "weight": rng.normal(size=c), "bias": rng.normal(size=c), "mean": rng.normal(size=c),
        "var": rng.uniform(0.5, 2, size=c),
    }  # fmt: skip
    return {name: value.astype(dtype) for name, value in values.items()}


def both_ways(v: dict[str, np.ndarray], training: bool, relu: bool, residual: bool, affine: bool = True) -> list[Any]:
    """Everything that forward and backward make, by name of its meaning."""
    v = {name: K.asarray(value.copy()) for name, value in v.items()}
    weight, bias = (v["weight"], v["bias"]) if affine else (None, None)
    add = v["residual"] if residual else None
    out, mean, inv_std = K.batch_norm(v["x"], weight, bias, v["mean"], v["var"], None, add, training, 0.3, 1e-5, relu)
    given_out = out if relu and residual else None
    gradients = K.batch_norm_backward(
        v["dout"], v["x"], mean, inv_std, weight, bias, given_out, training, relu, True, True, True, residual
    )
    return [np.asarray(a) for a in (out, mean, inv_std, v["mean"], v["var"], *gradients) if a is not None]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("training", "relu", "residual"), [(t, r, s) for t in (True, False) for r in (0, 1) for s in (0, 1)]
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm(
    every_isa: str,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    training: bool,
    relu: bool,
    residual: bool,
    dtype: str,
) -> None:
    v = draw(rng, shape, dtype)
    wide = {name: value.astype(np.float64) for name, value in v.items()}
    exact = reference(both_ways, wide, training, bool(relu), bool(residual), affine=shape[1] != 7)
    if relu:  # a value that rounding may move across 0 has no gradient to compare
        near = np.abs(reference(both_ways, wide, training, False, bool(residual), affine=shape[1] != 7)[0]) < 1e-4
        v["dout"][near] = wide["dout"][near] = 0
        exact = reference(both_ways, wide, training, True, bool(residual), affine=shape[1] != 7)
    ours = both_ways(v, training, bool(relu), bool(residual), affine=shape[1] != 7)
    count = v["x"].size // shape[1]
    assert len(ours) == len(exact) == (9 if residual else 8)
    for a, e in zip(ours, exact, strict=True):
        assert_close(a, e, dtype=dtype, terms=count, factor=4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [40, 8, 5])
def test_a_mean_far_from_zero(every_isa: str, rng: np.random.Generator, dtype: str, size: int) -> None:
    x = (rng.normal(size=(8, 3, size, size)) + np.array([1e3, -1e4, 0]).reshape(3, 1, 1)).astype(dtype)
    _, mean, inv_std = K.batch_norm(x, training=True, eps=0)
    wide = x.astype(np.float64)
    tolerance = 2e-6 if dtype == "float32" else 1e-12
    near_zero = 0 if size == 40 else tolerance / 10  # the few values of the last channel cancel
    np.testing.assert_allclose(np.asarray(mean), wide.mean((0, 2, 3)), rtol=tolerance, atol=near_zero)
    np.testing.assert_allclose(np.asarray(inv_std), 1 / wide.std((0, 2, 3)), rtol=tolerance)


ROWS = [(3, (5,)), (2, (1,)), (7, (64,)), (33, (129,)), (2, (3, 5, 7)), (130, (768,)), (1, (5000,)), (0, (4,))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "shape"), ROWS, ids=str)
def test_layer_norm(every_isa: str, rng: np.random.Generator, rows: int, shape: tuple[int, ...], dtype: str) -> None:
    x, dout = (rng.normal(1, 2, size=(rows, *shape)).astype(dtype) for _ in range(2))
    weight, bias = (rng.normal(size=shape).astype(dtype) for _ in range(2))

    def both(*arrays: np.ndarray) -> list[np.ndarray]:
        x, dout, weight, bias = arrays
        out, mean, inv_std = K.layer_norm(x, shape, weight, bias)
        return [np.asarray(a) for a in (out, *K.layer_norm_backward(dout, x, shape, mean, inv_std, weight))]

    given_arrays = (x, dout, weight, bias)
    exact = reference(both, *(a.astype(np.float64) for a in given_arrays))
    eps_scale = 400 if shape == (1,) else 4  # one value: 1 / sqrt(eps) times the rounding of 0
    for a, e in zip(both(*given_arrays), exact, strict=True):
        assert_close(a, e, dtype=dtype, terms=max(rows, int(np.prod(shape))), factor=eps_scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("size", [(), (3,), (5, 7), (33, 40)], ids=str)
def test_group_norm(every_isa: str, rng: np.random.Generator, groups: int, size: tuple[int, ...], dtype: str) -> None:
    if groups == 6 and not size:
        return  # one value a group: nothing but rounding
    x, dout = (rng.normal(1, 2, size=(3, 6, *size)).astype(dtype) for _ in range(2))
    weight, bias = (rng.normal(size=6).astype(dtype) for _ in range(2))

    def both(*arrays: np.ndarray) -> list[np.ndarray]:
        x, dout, weight, bias = arrays
        out, mean, inv_std = K.group_norm(x, groups, weight, bias)
        return [np.asarray(a) for a in (out, *K.group_norm_backward(dout, x, groups, mean, inv_std, weight))]

    given_arrays = (x, dout, weight, bias)
    exact = reference(both, *(a.astype(np.float64) for a in given_arrays))
    for a, e in zip(both(*given_arrays), exact, strict=True):
        assert_close(a, e, dtype=dtype, terms=18 * int(np.prod(size)), factor=4)


@pytest.mark.cpu
@pytest.mark.parametrize("shape", [(40, 17, 8, 8), (2, 3, 70, 71), (64, 130)], ids=str)
def test_same_bits_for_any_number_of_threads(every_isa: str, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    v = draw(rng, shape, "float32")
    results = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            bits = b"".join(a.tobytes() for a in both_ways(v, True, True, True))
            out, mean, inv_std = K.layer_norm(v["x"], shape[1:])
            rows = K.layer_norm_backward(v["dout"], v["x"], shape[1:], mean, inv_std)
            results.add(bits + b"".join(np.asarray(a).tobytes() for a in (out, *rows)))
    assert len(results) == 1


@pytest.mark.cpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 8])
def test_group_norm_has_the_same_bits_for_any_number_of_threads(
    every_isa: str, rng: np.random.Generator, groups: int, dtype: str
) -> None:
    x, dout = (rng.normal(100, 1, size=(9, 16, 31, 17)).astype(dtype) for _ in range(2))
    results = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            out, mean, inv_std = K.group_norm(x, groups)
            gradients = K.group_norm_backward(dout, x, groups, mean, inv_std)
            results.add(b"".join(np.asarray(a).tobytes() for a in (out, *gradients)))
    assert len(results) == 1
    rows = x.astype(np.float64).reshape(9, groups, -1)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(np.asarray(mean).reshape(9, groups), rows.mean(-1), rtol=tolerance)
    np.testing.assert_allclose(np.asarray(inv_std).reshape(9, groups), 1 / np.sqrt(rows.var(-1) + 1e-5), rtol=tolerance)


def test_nan_and_empty(every_isa: str) -> None:
    x = np.ones((2, 3, 4), np.float32)
    x[0, 1, 2] = np.nan
    out = np.asarray(K.batch_norm(x, training=True, relu=True)[0])
    assert np.isnan(out[:, 1]).all()
    assert not np.isnan(out[:, 0]).any()
    for shape in [(0, 3, 4), (2, 0, 4), (2, 3, 0)]:
        x = np.ones(shape, np.float32)
        state = K.ones((shape[1],))
        out, mean, inv_std = K.batch_norm(x, running_mean=state, running_var=K.copy(state), training=True)
        assert out.shape == shape
        dx, dweight, dbias, _ = K.batch_norm_backward(x, x, mean, inv_std)
        assert dx.shape == shape
        assert not np.asarray(dweight).any()
        assert not np.asarray(dbias).any()
        assert (np.asarray(state) == 1).all()


# --- functions and layers


@given(
    shape=st.sampled_from([(4, 3), (2, 3, 5), (3, 2, 2, 3)]),
    options=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    seed=st.integers(0, 2**31),
)
def test_gradients(shape: tuple[int, ...], options: tuple[bool, bool, bool], seed: int) -> None:
    training, relu, residual = options
    v = draw(np.random.default_rng(seed), shape, "float64")
    mean, var = Tensor(K.asarray(v["mean"])), Tensor(K.asarray(v["var"]))
    function = F.batch_norm_relu if relu else F.batch_norm
    leaves = [Tensor(K.copy(v[name]), requires_grad=True) for name in ("x", "weight", "bias", "residual")]
    leaves[2] = Tensor(K.copy(v["bias"] + 0.05), requires_grad=True)

    def f(x: Tensor, weight: Tensor, bias: Tensor, add: Tensor) -> Tensor:
        return function(x, mean, var, weight, bias, training, 0.0, residual=add if residual else None)

    near = np.abs(f(*leaves).detach().numpy())
    if relu and near[near > 0].min(initial=1.0) < 1e-3:
        return  # a finite difference would step across the corner
    gradcheck(f, leaves if residual else [*leaves[:3], Tensor(K.copy(v["residual"]))], atol=1e-5)


@given(
    shape=st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    momentum=st.sampled_from([0.1, 0.7, None]), affine=st.booleans(), tracked=st.booleans(), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_batch_norm_beside_torch(
    shape: tuple[int, ...], momentum: float | None, affine: bool, tracked: bool, seed: int
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    theirs = torch.nn.BatchNorm2d(shape[1], momentum=momentum, affine=affine, track_running_stats=tracked).double()
    ours = nn.BatchNorm2d(shape[1], momentum=momentum, affine=affine, track_running_stats=tracked, dtype="float64")
    if affine:
        for p in theirs.parameters():
            p.data = torch.from_numpy(rng.normal(size=p.shape))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        values, cotangent = rng.normal(1, 2, size=shape), rng.normal(size=shape)
        x = weft.tensor(values, requires_grad=True)
        y = torch.from_numpy(values).requires_grad_()
        out, expected = ours(x), theirs(y)
        out.backward(weft.tensor(cotangent))
        expected.backward(torch.from_numpy(cotangent))
        few = shape[0] * shape[2] * shape[3] < 5  # with a tiny variance errors grow
        for a, e in [(out, expected), (x.grad, y.grad)]:
            assert_close(a, e, terms=10_000 if few else 100)
        for a, e in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_close(a.grad, e.grad, terms=10_000 if few else 100)
        for key, value in theirs.state_dict().items():
            assert_close(ours.state_dict()[key], value, terms=10)


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        ("LayerNorm", (7,), (3, 5, 7)), ("LayerNorm", ((5, 7),), (3, 5, 7)), ("GroupNorm", (2, 6), (3, 6, 4, 5)),
        ("InstanceNorm2d", (6,), (3, 6, 4, 5)), ("BatchNorm1d", (5,), (3, 5)), ("BatchNorm1d", (5,), (3, 5, 7)),
    ],
)  # fmt: skip
def test_layers_beside_torch(name: str, args: Any, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(*args, dtype="float64"), getattr(torch.nn, name)(*args).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    values, cotangent = rng.normal(1, 2, size=shape), rng.normal(size=shape)
    x, y = weft.tensor(values, requires_grad=True), torch.from_numpy(values).requires_grad_()
    out, expected = ours(x), theirs(y)
    out.backward(weft.tensor(cotangent))
    expected.backward(torch.from_numpy(cotangent))
    assert_close(out, expected, terms=10)
    assert_close(x.grad, y.grad, terms=100)
    for a, e in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(a.grad, e.grad, terms=100)


def test_relu_and_residual_in_one() -> None:
    weft.manual_seed(0)
    layer = nn.BatchNorm2d(5, dtype="float64")
    x, y = (weft.randn(4, 5, 3, 3, dtype="float64", requires_grad=True) for _ in range(2))
    cotangent = weft.randn(4, 5, 3, 3, dtype="float64")
    results = []
    for fused in (False, True):
        out = layer.forward_relu(x, y) if fused else F.relu(layer(x) + y)
        results.append([out, *weft.autograd.grad(out, [x, y, layer.weight, layer.bias], cotangent)])
    for a, e in zip(*results, strict=True):
        assert_close(a, e, terms=10)


def test_summary_counts_norms() -> None:
    layers = weft.summary(nn.Sequential(nn.BatchNorm2d(3), nn.GroupNorm(1, 3)), (2, 3, 4, 4)).layers
    assert [(layer.parameters, layer.flops) for layer in layers] == [(6, 288), (6, 768)]


def test_errors() -> None:
    x, state = np.ones((2, 3, 4), np.float32), np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"batch_norm: training needs more than one value .* \(input \(1, 3\)\)"):
        K.batch_norm(x[:1, :, 0], training=True)
    with pytest.raises(
        ValueError, match=r"batch_norm: weight expects shape \(3,\).*\(weight \(2,\), input \(2, 3, 4\)\)"
    ):
        K.batch_norm(x, state[:2], training=True)
    with pytest.raises(ValueError, match=r"batch_norm: input must have rank 2 at least .* got shape \(3,\)"):
        K.batch_norm(state, training=True)
    with pytest.raises(ValueError, match=r"batch_norm: inference needs running_mean and running_var"):
        K.batch_norm(x)
    with pytest.raises(ValueError, match="running_mean and running_var must be given together"):
        K.batch_norm(x, running_mean=state, training=True)
    with pytest.raises(ValueError, match=r"input \(2, 3, 4\) and residual \(2, 3\) must have the same shape"):
        K.batch_norm(x, residual=x[:, :, 0], training=True)
    with pytest.raises(ValueError, match=r"batch_norm: momentum must lie in \[0, 1\], got 2"):
        K.batch_norm(x, training=True, momentum=2)
    with pytest.raises(ValueError, match="running statistics need num_batches_tracked"):
        K.batch_norm(x, running_mean=state, running_var=state, training=True, momentum=None)
    with pytest.raises(ValueError, match="batch_norm: eps must be finite and not negative, got -1"):
        K.batch_norm(x, training=True, eps=-1)
    with pytest.raises(TypeError, match="batch_norm: input must be float32 or float64, got int64"):
        K.batch_norm(np.ones((2, 3), np.int64), training=True)
    with pytest.raises(TypeError, match="input and weight must have the same dtype, got float32 and float64"):
        K.batch_norm(x, np.ones(3), training=True)
    with pytest.raises(TypeError, match="num_batches_tracked must be int64, got float32"):
        K.batch_norm(x, num_batches_tracked=np.array(0, np.float32), training=True)
    with pytest.raises(
        ValueError, match=r"layer_norm: the last axes must have the shape \(3,\) .* input \(2, 3, 4\)\)"
    ):
        K.layer_norm(x, 3)
    with pytest.raises(
        ValueError, match=r"layer_norm: weight expects shape \(4,\) \(weight \(3,\), input \(2, 3, 4\)\)"
    ):
        K.layer_norm(x, 4, state)
    with pytest.raises(ValueError, match=r"group_norm: num_groups 2 must divide the 3 channels \(input \(2, 3, 4\)\)"):
        K.group_norm(x, 2)
    with pytest.raises(ValueError, match=r"instance_norm: expected more than one value for each channel"):
        F.instance_norm(weft.tensor(x[:, :, :1]))
    with pytest.raises(ValueError, match=r"BatchNorm2d: input must have rank 4, got shape \(2, 3, 4\)"):
        nn.BatchNorm2d(3)(weft.tensor(x))
    with pytest.raises(ValueError, match="GroupNorm: num_groups 2 must divide num_channels 3"):
        nn.GroupNorm(2, 3)


def test_replayed_steps_keep_the_running_statistics() -> None:
    results = []
    for captured in (False, True):
        weft.manual_seed(0)
        model = nn.Sequential(nn.BatchNorm2d(3, momentum=None), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5))
        optimizer = weft.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

        def step(x: Tensor, model: nn.Module = model, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        run = weft.capture(step) if captured else step
        rng = np.random.default_rng(0)
        for _ in range(5):
            run(weft.tensor(rng.normal(size=(4, 3, 4, 4)).astype(np.float32)))
        assert model.state_dict()["0.num_batches_tracked"].item() == 5
        results.append([value.numpy().tobytes() for value in model.state_dict().values()])
    assert results[0] == results[1]
