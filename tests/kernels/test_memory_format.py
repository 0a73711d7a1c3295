"""Channels last as a memory order: what says so, who keeps it, and that results are those of row-major memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft
import weft.kernels as K
from helpers import assert_close, isa, reference, threads
from weft import nn
from weft.nn import functional as F

LAST, FIRST = weft.channels_last, weft.contiguous_format


def images(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def last(x: Any) -> K.Array:
    """The same elements with the channels last."""
    return K.copy(x, LAST)


def is_last(x: Any) -> bool:
    return bool(x.is_contiguous(memory_format=LAST) and not x.is_contiguous())


# --- what the strides say


def test_strides_and_views() -> None:
    x = weft.tensor(images(2, 3, 4, 5))
    y = x.to(memory_format=LAST)
    assert y.stride() == (60, 1, 15, 3)
    assert y.stride(2) == 15
    assert is_last(y)
    assert y.array.memory_format == LAST
    assert x.array.memory_format == FIRST
    assert y.to(memory_format=LAST) is y
    assert y.contiguous(memory_format=LAST) is y
    assert x.contiguous() is x
    assert y.contiguous().stride() == x.stride()
    assert np.array_equal(y.numpy(), x.numpy())
    assert y.clone().stride() == y.stride()
    assert y.clone(FIRST).is_contiguous()
    assert y.double().stride() == y.stride()
    assert y[:, 1:].array.memory_format == LAST
    assert not y[:, 1:].is_contiguous(LAST)
    assert weft.zeros_like(y).stride() == y.stride()
    assert weft.ones_like(y).stride() == y.stride()
    assert weft.tensor(y).is_contiguous()
    assert y.permute(0, 2, 3, 1).is_contiguous()
    assert y.to("float64", memory_format=FIRST).is_contiguous()


def test_sizes_of_one_can_be_both() -> None:
    x = weft.tensor(images(4, 1, 5, 5))
    assert x.is_contiguous()
    assert x.is_contiguous(LAST)
    assert x.array.memory_format == FIRST
    assert x.to(memory_format=LAST).array.memory_format == LAST
    assert x.contiguous(LAST) is x
    pixels = weft.tensor(images(4, 7, 1, 1))
    assert pixels.is_contiguous()
    assert pixels.is_contiguous(LAST)
    assert weft.zeros(0, 3, 2, 2).to(memory_format=LAST).shape == (0, 3, 2, 2)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"channels_last: an array must have rank 4, got shape \(2, 3\)"):
        weft.zeros(2, 3).contiguous(LAST)
    with pytest.raises(ValueError, match="memory_format must not be preserve"):
        weft.zeros(2, 3, 1, 1).is_contiguous(weft.preserve_format)
    with pytest.raises(TypeError, match="Linear.to: expected a memory format, got 'last'"):
        nn.Linear(2, 2).to(memory_format="last")


@pytest.mark.cpu
def test_numpy_and_dlpack_keep_strides() -> None:
    y = last(images(2, 3, 4, 5))
    assert np.asarray(y).strides == (240, 4, 60, 12)
    again = K.asarray(np.asarray(y))
    assert again.strides == y.strides
    assert again.memory_format == LAST
    assert np.from_dlpack(y).strides == (240, 4, 60, 12)
    assert K.asarray(images(2, 4, 5, 3).transpose(0, 3, 1, 2)).memory_format == LAST


def test_as_torch() -> None:
    torch = pytest.importorskip("torch")
    for shape in itertools.product([0, 1, 3], [1, 2], [1, 4], [1, 5]):
        for order in itertools.permutations(range(4)):
            x = torch.zeros([shape[i] for i in order]).permute([order.index(i) for i in range(4)])
            ours = K.empty(x.shape) if 0 in shape else K.asarray(x)
            if 0 not in shape:
                assert ours.is_contiguous(LAST) == x.is_contiguous(memory_format=torch.channels_last), x.stride()
                kept = torch.nn.functional.avg_pool2d(x, 1)  # its output has the order that torch reads in x
                expected = kept.is_contiguous(memory_format=torch.channels_last)
                assert K.avg_pool2d(ours, 1).is_contiguous(LAST) == expected, (shape, x.stride())
    x, y = torch.zeros(2, 3, 4, 5), weft.zeros(2, 3, 4, 5)
    module, ours_module = torch.nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    module.to(memory_format=torch.channels_last)
    ours_module.to(memory_format=LAST)
    assert ours_module.weight.stride() == module.weight.stride()
    assert ours_module.bias.stride() == (1,)
    assert ours_module(y).stride() == module(x).stride()  # the weight's order is enough


# --- who keeps it

IMAGES = (3, 5, 6, 7)


def pool(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda x: getattr(F, name)(x, *args, **options)


UNARY: dict[str, Callable[[Any], Any]] = {
    "exp": lambda x: x.exp(),
    "neg": lambda x: -x,
    "number": lambda x: x * 2 + 1,
    "isnan": lambda x: x.isnan(),
    "clip": lambda x: x.clip(-1, 1),
    "cast": lambda x: x.double(),
    "relu": F.relu,
    "gelu": F.gelu,
    "step": F.step,
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 2),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "group norm": lambda x: F.group_norm(x, 5),
    "instance norm": lambda x: F.instance_norm(x),
    "max": pool("max_pool2d", 2),
    "max 3x3": pool("max_pool2d", 3, 2, 1),
    "max ceil": pool("max_pool2d", 3, 2, 1, ceil_mode=True),
    "max dilated": pool("max_pool2d", 2, 1, 1, 2),
    "min": pool("min_pool2d", 2),
    "avg": pool("avg_pool2d", 3, 2, 1),
    "avg inside": pool("avg_pool2d", 3, 2, 1, count_include_pad=False),
    "avg divisor": pool("avg_pool2d", 2, divisor_override=3),
    "lp": pool("lp_pool2d", 2.0, 2),
    "adaptive avg": pool("adaptive_avg_pool2d", (2, 3)),
    "adaptive max": pool("adaptive_max_pool2d", (4, 3)),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1)),
    "cat": lambda x: weft.cat([x, x], 1),
    "where": lambda x: weft.where(x > 0, x, x * 0.5),
    "slice": lambda x: x[:, 1:4] * 2,
}


@pytest.mark.parametrize("name", UNARY)
def test_functions_keep_the_order(every_isa: str, name: str) -> None:
    function = UNARY[name]
    x = images(*IMAGES)
    a, b = weft.tensor(x), weft.Tensor(last(x))
    floating = name not in ("isnan",)
    if floating:
        a.requires_grad_(), b.requires_grad_()
    expected, out = function(a), function(b)
    assert out.array.memory_format == LAST
    assert expected.array.memory_format == FIRST
    assert_close(out, expected, terms=9)
    if not (floating and expected.requires_grad):
        return
    for order in (FIRST, LAST):  # a gradient may come in any order
        dout = K.cast(images(*out.shape, seed=1), out.dtype)
        (want,) = weft.autograd.grad(expected, a, dout, retain_graph=True)
        (got,) = weft.autograd.grad(out, b, K.copy(dout, order), retain_graph=True)
        assert_close(got, want, terms=9)
        if order == LAST and name not in ("slice",):
            assert got.array.memory_format == LAST, name


def test_two_operands(every_isa: str) -> None:
    x, y = images(*IMAGES), images(*IMAGES, seed=1)
    both = K.add(last(x), last(y))
    assert is_last(both)
    assert np.array_equal(np.asarray(both), x + y)
    assert is_last(K.add(last(x), y))
    assert K.add(x, last(y)).is_contiguous()
    assert np.array_equal(np.asarray(K.add(last(x), y)), x + y)
    channel = images(1, 5, 1, 1)
    assert is_last(K.mul(channel, last(x)))
    assert np.array_equal(np.asarray(K.mul(channel, last(x))), channel * x)
    assert is_last(K.lt(last(x), last(y)))
    total = last(x)
    K.add(total, y, total)  # in place: its own order
    assert is_last(total)
    assert np.array_equal(np.asarray(total), x + y)


def test_matrices_in_any_order_keep_it() -> None:
    x = images(4, 6)
    out = K.exp(K.asarray(x).transpose(0, 1))
    assert out.strides == (1, 6)
    assert_close(out, np.exp(x.T.astype(np.float64)))
    assert K.exp(K.asarray(x)[:, ::2]).is_contiguous()


def test_dropout_draws_the_same_numbers() -> None:
    x = weft.tensor(images(*IMAGES)) + 9
    weft.manual_seed(3)
    expected = F.dropout(x)
    weft.manual_seed(3)
    out = F.dropout(x.to(memory_format=LAST))
    assert is_last(out)
    assert np.array_equal(out.numpy(), expected.numpy())


# --- convolution

CASES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 5, 9, 8, 7, 3, 3), {"padding": 1}),
    ((2, 16, 9, 8, 32, 3, 3), {"padding": 1, "stride": 2}),
    ((2, 3, 9, 8, 7, 5, 3), {"padding": (0, 2, 1, 0), "dilation": (1, 2)}),
    ((2, 33, 5, 6, 17, 1, 1), {}),
    ((7, 64, 8, 8, 48, 1, 1), {}),
    ((2, 33, 5, 6, 17, 1, 1), {"stride": 2}),
    ((2, 6, 5, 6, 9, 3, 3), {"groups": 3, "padding": 1}),
    ((2, 4, 6, 5, 8, 3, 3), {"groups": 4, "padding": 1}),
    ((3, 1, 8, 8, 4, 3, 3), {}),
    ((2, 64, 12, 12, 64, 3, 3), {"padding": 1}),
]


def compare_convolution(size: tuple[int, ...], options: dict[str, Any], dtype: str = "float32") -> None:
    n, c, h, w, k, r, s = size
    x, bias = images(n, c, h, w, dtype=dtype), images(k, dtype=dtype, seed=1)
    weight = images(k, c // options.get("groups", 1), r, s, dtype=dtype, seed=2)
    wide = {"x": x.astype(np.float64), "w": weight.astype(np.float64), "b": bias.astype(np.float64)}
    out = K.conv2d(last(x), weight, bias, activation="relu", **options)
    expected = reference(K.conv2d, wide["x"], wide["w"], wide["b"], activation="relu", **options)
    assert out.is_contiguous(LAST)
    terms = weight[0].size
    assert_close(out, expected, terms=terms, factor=4)
    dout = images(*out.shape, dtype=dtype, seed=3)
    dx = K.conv2d_backward_input(last(dout), weight, x.shape, **options)
    assert dx.memory_format == last(dout).memory_format  # sizes of 1 can leave it open
    want = reference(K.conv2d_backward_input, dout.astype(np.float64), wide["w"], x.shape, **options)
    assert_close(dx, want, terms=k * r * s, factor=4)
    dw, db = K.conv2d_backward_weight(last(dout), last(x), weight.shape, bias=True, **options)
    rdw, rdb = reference(
        K.conv2d_backward_weight, dout.astype(np.float64), wide["x"], weight.shape, bias=True, **options
    )
    assert_close(dw, rdw, terms=dout[:, 0].size, factor=4)
    assert_close(db, rdb, terms=dout[:, 0].size, factor=4)


@pytest.mark.parametrize(("size", "options"), CASES, ids=[str(case[0]) for case in CASES])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution(every_isa: str, size: tuple[int, ...], options: dict[str, Any], dtype: str) -> None:
    compare_convolution(size, options, dtype)


# Tiles of 4, 2 and 1 rows and columns, at every border; channels that fill vectors, and do not.
DEPTHWISE = [
    *((2, c, h, w) for c in (3, 16, 35) for h, w in itertools.product([1, 2, 4, 5, 7, 8], [1, 2, 3, 4, 6, 9])),
    (1, 20, 11, 31),
    (2, 64, 23, 14),
    (1, 2, 300, 140),
]


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise(every_isa: str, stride: int) -> None:
    for n, c, h, w in DEPTHWISE:
        compare_convolution((n, c, h, w, c, 3, 3), {"stride": stride, "padding": 1, "groups": c})


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 2]))
def test_depthwise_of_any_shape(n: int, c: int, h: int, w: int, stride: int) -> None:
    compare_convolution((n, c, h, w, c, 3, 3), {"stride": stride, "padding": 1, "groups": c})


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_of_large_images(every_isa: str, stride: int) -> None:
    """Large results are stored past the cache; those of one image are not, and have the same bits."""
    x, weight = last(images(4, 16, 280, 460)), images(16, 1, 3, 3, seed=1)
    options: dict[str, Any] = {"stride": stride, "padding": 1, "groups": 16}
    out = K.conv2d(x, weight, **options)
    dx = K.conv2d_backward_input(out, weight, x.shape, **options)
    for i in range(4):
        one = K.conv2d(x[i : i + 1], weight, **options)
        assert np.array_equal(one, out[i : i + 1])
        assert np.array_equal(K.conv2d_backward_input(one, weight, (1, *x.shape[1:]), **options), dx[i : i + 1])


def test_depthwise_leaves_out_what_is_outside(every_isa: str) -> None:
    x = np.zeros((1, 17, 6, 7), np.float32)
    x[0, 3, 5, 6] = np.nan
    weight = np.ones((17, 1, 3, 3), np.float32)
    weight[5, 0, 0, 0] = np.inf
    out = np.asarray(K.conv2d(last(x), weight, padding=1, groups=17, activation="relu"))
    expected = np.zeros(x.shape, bool)
    expected[0, 3, 4:, 5:] = True
    expected[0, 5, 1:, 1:] = True  # 0 times infinity, but not where that tap meets padding
    assert (np.isnan(out) == expected).all()


@given(st.data())
def test_convolution_of_any_shape(data: Any) -> None:
    n, c, k = (data.draw(st.integers(1, most)) for most in (3, 9, 20))
    h, w = data.draw(st.integers(3, 9)), data.draw(st.integers(3, 9))
    r, s = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    options = {"stride": data.draw(st.integers(1, 2)), "padding": data.draw(st.integers(0, 1))}
    compare_convolution((n, c, h, w, k, r, s), options)


@pytest.mark.parametrize("activation", ["sigmoid", "silu"])
def test_other_activations_of_a_convolution(activation: str) -> None:
    x, weight = images(2, 3, 5, 6), images(4, 3, 3, 3)
    expected = K.conv2d(x, weight, activation=activation)
    assert_close(K.conv2d(last(x), weight, activation=activation), expected, terms=27)


def test_empty_images() -> None:
    x, weight = K.empty((0, 3, 5, 5)), images(4, 3, 3, 3)
    assert K.conv2d(K.copy(x, LAST), weight).shape == (0, 4, 3, 3)
    assert np.asarray(K.conv2d_backward_weight(K.zeros((0, 4, 3, 3)), K.copy(x, LAST), weight.shape)).sum() == 0


def test_fused_convolution_and_pooling() -> None:
    x, weight, bias = images(3, 2, 11, 9), images(5, 2, 3, 3), images(5)
    out, winner = K.conv2d_relu_max_pool2d(last(x), weight, bias)
    expected, expected_winner = K.conv2d_relu_max_pool2d(x, weight, bias)
    assert is_last(out)
    assert np.array_equal(np.asarray(winner), np.asarray(expected_winner))
    assert np.array_equal(np.asarray(out), np.asarray(expected))
    dout = images(*out.shape)
    ours = K.conv2d_relu_max_pool2d_backward(last(dout), winner, last(x), weight)
    theirs = K.conv2d_relu_max_pool2d_backward(dout, winner, x, weight)
    assert ours[0] is not None
    assert is_last(ours[0])
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))


# --- batch normalization of rows

ROWS = [(1, 5, 1, 2), (2, 3, 4, 5), (7, 16, 3, 3), (2, 70, 33, 31), (70, 33, 1, 1), (3, 600, 5, 5)]


@pytest.mark.parametrize("shape", ROWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("relu", "residual"), [(False, False), (True, False), (True, True), (False, True)])
def test_batch_norm(every_isa: str, shape: tuple[int, ...], dtype: str, relu: bool, residual: bool) -> None:
    c = shape[1]
    x = images(*shape, dtype=dtype) + np.asarray(20, dtype)  # a mean that is large beside the deviation
    add = images(*shape, dtype=dtype, seed=1) if residual else None
    gamma, beta, dout = (
        images(c, dtype=dtype, seed=2),
        images(c, dtype=dtype, seed=3),
        images(*shape, dtype=dtype, seed=4),
    )

    def run(order: Any, wide: bool) -> list[Any]:
        def given_as(a: Any) -> Any:
            a = None if a is None else a.astype("float64" if wide else dtype)
            return K.copy(a, order) if a is not None and a.ndim == 4 else a

        kind = "float64" if wide else dtype
        mean, var, count = K.zeros((c,), kind), K.ones((c,), kind), K.zeros((), "int64")
        out, m, s = K.batch_norm(
            given_as(x), given_as(gamma), given_as(beta), mean, var, count, given_as(add), training=True, relu=relu
        )
        gradients = K.batch_norm_backward(
            given_as(dout),
            given_as(x),
            m,
            s,
            given_as(gamma),
            given_as(beta),
            out if relu and residual else None,
            training=True,
            relu=relu,
            need_residual=residual,
        )
        return [out, m, mean, var, *[g for g in gradients if g is not None]]

    ours = run(LAST, False)
    with isa("reference"):
        expected = run(FIRST, True)
    factor = 40 if dtype == "float32" else 400  # x - mean loses the digits of the mean
    for a, b in zip(ours, expected, strict=True):
        if a.ndim == 4:
            assert a.is_contiguous(LAST)
        assert_close(a, b, dtype=dtype, terms=max(1, x[:, 0].size), factor=factor)


# --- the same bits


@pytest.mark.cpu
def test_same_bits_for_any_number_of_threads() -> None:
    x, dout = last(images(6, 40, 30, 29)), last(images(6, 40, 30, 29, seed=1))
    depthwise, pixels, full = images(40, 1, 3, 3), images(40, 40, 1, 1), images(40, 40, 3, 3)
    seen = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            results: list[Any] = []
            for weight, options in ((depthwise, {"padding": 1, "groups": 40}), (pixels, {}), (full, {"padding": 1})):
                results += [K.conv2d(x, weight, **options), K.conv2d_backward_input(dout, weight, x.shape, **options)]
                results += K.conv2d_backward_weight(dout, x, weight.shape, bias=True, **options)
            out, mean, inv_std = K.batch_norm(x, training=True)
            results += [
                out,
                *[g for g in K.batch_norm_backward(dout, x, mean, inv_std, training=True) if g is not None],
            ]
            pooled, index = K.max_pool2d(x, 3, 2, 1)
            results += [pooled, K.max_pool2d_backward(pooled, index, x.shape), K.avg_pool2d(x, 2)]
            seen.add(b"".join(np.asarray(a).tobytes() for a in results))
    assert len(seen) == 1


# --- whole networks


def small_resnet() -> nn.Module:
    weft.manual_seed(0)
    return weft.models.ResNet18(classes=10, stem="cifar")


def loss_and_gradients(model: nn.Module, x: Any, y: Any) -> tuple[float, list[np.ndarray]]:
    model.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return float(loss), [np.array(p.grad.numpy()) for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("fused", [True, False])
def test_resnet(fused: bool) -> None:
    x, y = weft.tensor(images(4, 3, 16, 16)), weft.tensor(np.arange(4))
    weft.set_fusion(fused)
    try:
        loss, gradients = loss_and_gradients(small_resnet(), x, y)
        model = small_resnet().to(memory_format=LAST)
        assert is_last(model.layer1[0].conv1.weight)
        loss_last, gradients_last = loss_and_gradients(model, x.to(memory_format=LAST), y)
        assert is_last(model.layer1[0].conv1.weight.grad)
    finally:
        weft.set_fusion(True)
    assert abs(loss - loss_last) <= 1e-4 * abs(loss)
    for a, b in zip(gradients_last, gradients, strict=True):
        assert np.abs(a - b).max() <= 2e-3 * max(1.0, np.abs(b).max())


def test_captured_training() -> None:
    def train(order: Any, captured: bool) -> list[float]:
        weft.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
        ).to(memory_format=order)  # fmt: skip
        optimizer = weft.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        assert model[0].weight.array.memory_format == order

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = weft.capture(step) if captured else step
        x, y = weft.Tensor(K.copy(images(6, 3, 8, 8), order)), weft.tensor(np.arange(6) % 4)
        return [float(run(x, y)) for _ in range(6)]

    first, plain, captured = train(FIRST, False), train(LAST, False), train(LAST, True)
    assert plain == captured
    assert np.allclose(first, plain, rtol=1e-4)


def test_capture_tells_the_orders_apart() -> None:
    double = weft.capture(lambda x: x * 2)
    x = weft.tensor(images(2, 3, 4, 5))
    for _ in range(3):
        assert double(x).is_contiguous()
        assert is_last(double(x.to(memory_format=LAST)))
    assert len(double.report()) == 2


@pytest.mark.needs("safetensors")
def test_state_goes_from_one_order_to_the_other(tmp_path: Any) -> None:
    a, b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3).to(memory_format=LAST)
    b.load_state_dict(a.state_dict())
    assert is_last(b.weight)
    assert np.array_equal(b.weight.detach().numpy(), a.weight.detach().numpy())
    weft.save(b.state_dict(), tmp_path / "b.npz")
    loaded = weft.load(tmp_path / "b.npz")
    assert np.array_equal(loaded["weight"].numpy(), a.weight.detach().numpy())
