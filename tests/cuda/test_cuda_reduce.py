"""CUDA's reductions, softmax, losses, norms and optimizers: a case for each way in which a kernel cuts its problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, reference, to_numpy

pytestmark = pytest.mark.usefixtures("cuda_device")

REAL = ["float32", "float64"]
WHOLE = ["int64", "int32", "uint8", "bool"]
SUMS = ["sum", "mean", "sum_squares", "var"]
ANY = ["sum", "prod", "max", "min", "argmax", "argmin", "any", "all"]


def on_device(x: np.ndarray, offset: int) -> K.Array:
    """x behind `offset` elements of something else, so that it starts at an address that packs cannot."""
    wide = K.asarray(np.concatenate([np.zeros(offset, x.dtype), x.ravel()]))
    return wide[offset:].reshape(x.shape)


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype in REAL:
        return rng.normal(1, 0.5, shape).astype(dtype)
    return rng.integers(0, 2 if dtype == "bool" else 7, shape).astype(dtype)


def check_reduction(op: str, x: K.Array, axis: Any, terms: int) -> None:
    out = getattr(K, op)(x, axis)
    wide = to_numpy(x)
    expected = reference(getattr(K, op), wide.astype(np.float64) if wide.dtype.kind == "f" else wide, axis)
    assert_close(out, to_numpy(expected), dtype=to_numpy(out).dtype.name, terms=terms, factor=2)


# Rows: a thread each, 8, a warp, a block, several blocks. Columns: in packs and not, narrow, in pieces.
SHAPES = [
    ((40_000, 2), 1), ((9000, 9), 1), ((300, 70), 1), ((3, 1100), 1), ((3, 20_011), 1), ((41_000,), 0),
    ((5, 12), 0), ((1200, 12), 0), ((700, 13), 0), ((90, 300), 0), ((2, 300, 8), 1), ((3, 40, 5), (0, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
@pytest.mark.parametrize("offset", [0, 1])
def test_real_reductions(rng: np.random.Generator, shape: tuple[int, ...], axis: Any, offset: int) -> None:
    for dtype in REAL:
        x = on_device(draw(rng, shape, dtype), offset)
        terms = x.size // max(1, K.sum(x, axis).size)
        for op in [*SUMS, "max", "min", "any"]:
            check_reduction(op, x, axis, terms)
        if not isinstance(axis, tuple):
            check_reduction("argmax", x, axis, 1)
        check_reduction("prod", K.minimum(K.maximum(x, 0.99), 1.01), axis, terms)


@pytest.mark.parametrize(("shape", "axis"), [((700, 9), 1), ((2, 20_011), 1), ((700, 13), 0), ((3, 40, 5), 1)], ids=str)
@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_reductions(rng: np.random.Generator, shape: tuple[int, ...], axis: int, dtype: str) -> None:
    x = K.asarray(draw(rng, shape, dtype))
    for op in ANY:
        check_reduction(op, x, axis, 1)


def test_lowest_whole_numbers() -> None:
    for dtype in ("int32", "int64"):
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        x = np.array([[least, most, 0], [most, most, most], [least, least, least]], dtype)
        for op in ("max", "min", "argmax", "argmin"):
            np.testing.assert_array_equal(to_numpy(getattr(K, op)(x, 1)), getattr(np, op)(x, axis=1))
        wrapped = x.astype(np.int64).sum(axis=1)
        np.testing.assert_array_equal(to_numpy(K.sum(x, 1)), wrapped)


@pytest.mark.parametrize("op", ["sum", "var", "max", "argmin"])
def test_views(rng: np.random.Generator, op: str) -> None:
    """Strides that no neighbours share: every second element, axes turned, one repeated."""
    x = K.asarray(rng.normal(size=(7, 10, 9)).astype(np.float32))
    for view in (x[::2, :, ::2], x.permute([2, 0, 1]), x.permute([1, 2, 0])[::3], x[:, 1:8]):
        for axis in (0, 1, 2, None):
            check_reduction(op, view, axis, view.size)
    check_reduction(op, x[0].unsqueeze(0).expand((3, 10, 9)), 0, 3)


@pytest.mark.parametrize("shape", [(2, 20_011), (700, 40)], ids=str)
def test_nan_and_ties_across_pieces(shape: tuple[int, int]) -> None:
    axis = 1 if shape[0] == 2 else 0
    x = np.zeros(shape, np.float32)
    for value in (1.0, np.nan):
        for at in (18_000, 9000, 40) if axis == 1 else (650, 333, 3):
            x[(0, at) if axis == 1 else (at, 0)] = value  # one more, before the others
            for op in ("argmax", "max", "sum"):
                np.testing.assert_array_equal(to_numpy(getattr(K, op)(x, axis)), getattr(np, op)(x, axis=axis))
    assert to_numpy(K.argmin(x, axis))[0] == 40 if axis == 1 else 3


@pytest.mark.parametrize(("shape", "axis"), [((3, 20_011), 1), ((500, 12), 0), ((40, 9), 1)], ids=str)
def test_bfloat16_sums_are_rounded_once(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> None:
    x = K.cast(rng.normal(1, 0.5, size=shape).astype(np.float32), "bfloat16")
    for op in SUMS:
        expected = K.cast(reference(getattr(K, op), to_numpy(K.cast(x, "float64")), axis), "bfloat16")
        found = getattr(K, op)(x, axis)
        np.testing.assert_array_equal(to_numpy(K.bfloat16_bits(found)), to_numpy(K.bfloat16_bits(expected)))


# Registers of 8 threads, a warp (8 and 32 values each), a block (4 and 16); longer; columns.
SOFTMAX = [
    ((70, 10), 1), ((9, 32), 1), ((5, 200), 1), ((5, 201), 1), ((1030, 260), 1), ((3, 999), 1), ((3, 2052), 1),
    ((2, 5003), 1), ((3, 21, 40), 1), ((2, 5, 300), 1), ((2, 300, 3), 1), ((900, 2), 0),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis"), SOFTMAX, ids=str)
@pytest.mark.parametrize("log", [False, True])
def test_softmax(rng: np.random.Generator, shape: tuple[int, ...], axis: int, log: bool) -> None:
    kind = "log_softmax" if log else "softmax"
    for dtype, offset in (("float32", 0), ("float32", 1), ("float64", 0)):
        if shape[0] == 1030 and offset:
            continue
        wide, dout = rng.normal(scale=4, size=shape), rng.normal(size=shape)
        wide.flat[3] = -np.inf
        x = on_device(wide.astype(dtype), offset)
        out = getattr(K, kind)(x, axis)
        expected = reference(getattr(K, kind), to_numpy(x).astype(np.float64), axis)
        assert_close(out, expected, dtype=dtype, factor=4)
        y = on_device(to_numpy(expected).astype(dtype), offset)
        given = on_device(dout.astype(dtype), offset)
        exact = reference(
            f := getattr(K, f"{kind}_backward"), *(to_numpy(a).astype(np.float64) for a in (given, y)), axis
        )
        assert_close(f(given, y, axis), exact, dtype=dtype, terms=shape[axis], factor=4)


@pytest.mark.parametrize("shape", [(2, 10), (3, 6000), (2, 4, 3)], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_softmax_of_what_is_no_number(shape: tuple[int, ...], bad: float) -> None:
    x = np.zeros(shape, np.float32)
    x.reshape(shape[0], shape[1], -1)[1, shape[1] // 2, 0] = bad
    out = to_numpy(K.softmax(x, 1)).reshape(shape[0], shape[1], -1)
    assert np.isnan(out[1, :, 0]).all()
    assert np.isfinite(out[0]).all()
    assert np.isnan(to_numpy(K.log_softmax(np.full((2, 5001), -np.inf, np.float32), 1))).all()


@pytest.mark.parametrize("n", [10, 32, 200, 300])
def test_the_largest_may_stand_anywhere(n: int) -> None:
    """So large that the exponential of its distance to any other value overflows."""
    x = 1000 * np.eye(n, dtype=np.float32)
    np.testing.assert_array_equal(to_numpy(K.softmax(x, 1)), np.eye(n))
    loss, gradient = K.cross_entropy(x, np.arange(n), need_grad=True)
    assert loss.item() == 0
    assert not to_numpy(gradient).any()


@pytest.mark.parametrize("n", [5, 8192, 8195, 20_001])
@pytest.mark.parametrize("offset", [0, 1])
def test_pointwise_losses_in_pieces(rng: np.random.Generator, n: int, offset: int) -> None:
    x, t = (on_device(rng.uniform(0.1, 0.9, n).astype(np.float32), offset) for _ in range(2))
    wide = [to_numpy(a).astype(np.float64) for a in (x, t)]
    for name in ("mse_loss", "binary_cross_entropy"):
        for reduction in ("none", "mean", "sum"):
            expected = reference(getattr(K, name), *wide, reduction=reduction)
            assert_close(getattr(K, name)(x, t, reduction=reduction), expected, dtype="float32", factor=4)


# One block, several; targets counted by each block and by a kernel of their own; rows of each shape; columns.
ENTROPY = [
    (64, 10),
    (600, 10),
    (9001, 3),
    (5, 33),
    (5, 700),
    (3, 2000),
    (2, 5000),
    (2, 7, 50),
    (40, 70, 3),
    (1, 3, 9001),
]


@pytest.mark.parametrize("shape", ENTROPY, ids=str)
@pytest.mark.parametrize("by", ["class", "probability"])
@pytest.mark.parametrize("dtype", REAL)
def test_cross_entropy(rng: np.random.Generator, shape: tuple[int, ...], by: str, dtype: str) -> None:
    logits = rng.normal(scale=3, size=shape).astype(dtype)
    weight = rng.uniform(0.5, 2, shape[1]).astype(dtype)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    target.flat[1::5] = -100
    if by == "probability":
        target = rng.uniform(size=shape).astype(dtype)
    for options in ({}, {"label_smoothing": 0.1, "reduction": "none"}, {"reduction": "sum"}):
        w = None if "label_smoothing" in options else weight
        wide = [a if a is None or a.dtype.kind == "i" else a.astype(np.float64) for a in (logits, target, w)]
        expected = reference(K.cross_entropy, *wide, **options, need_grad=True)
        found = K.cross_entropy(logits, target, w, **options, need_grad=True)
        for a, e in zip(found, expected, strict=True):
            assert_close(a, e, dtype=dtype, factor=6)
        assert_close(K.cross_entropy(logits, target, w, **options)[0], found[0], factor=0)


def test_gradients_of_each_row_are_scaled(rng: np.random.Generator) -> None:
    for shape in [(5, 7), (3, 4, 9), (1023, 4)]:
        unit, dout = (
            rng.normal(size=shape).astype(np.float32),
            rng.normal(size=(shape[0], *shape[2:])).astype(np.float32),
        )
        out = K.cross_entropy_backward(dout, K.asarray(unit), "none")
        np.testing.assert_array_equal(to_numpy(out), unit * np.expand_dims(dout, 1))
        for offset in (0, 1):
            scaled = K.cross_entropy_backward(np.float32(3), on_device(unit, offset), "mean", True)
            np.testing.assert_array_equal(to_numpy(scaled), 3 * unit)


def norm_arrays(rng: np.random.Generator, shape: tuple[int, ...], count: int, dtype: str) -> dict[str, np.ndarray]:
    made = {"x": rng.normal(30, 2, size=shape), "dout": rng.normal(size=shape)}
    made |= {"weight": rng.normal(size=count), "bias": rng.normal(size=count)}
    return {name: a.astype(dtype) for name, a in made.items()}


# Planes and rows of channels, in pieces and not, in packs and not.
@pytest.mark.parametrize(
    "shape",
    [(3, 4, 5, 5), (2, 3, 8, 8), (2, 2, 96, 96), (1, 2, 9001), (70, 12), (900, 13), (5000, 4), (3, 300)],
    ids=str,
)
@pytest.mark.parametrize("dtype", REAL)
def test_batch_norm(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> None:
    arrays = norm_arrays(rng, shape, shape[1], dtype)

    def both(x: Any, dout: Any, weight: Any, bias: Any) -> list[np.ndarray]:
        out, mean, inv_std = K.batch_norm(x, weight, bias, training=True, relu=False)
        gradients = K.batch_norm_backward(dout, x, mean, inv_std, weight, bias, None, True, False)
        return [to_numpy(a) for a in (out, mean, inv_std, *gradients) if a is not None]

    exact = reference(both, *(a.astype(np.float64) for a in arrays.values()))
    for offset in (0, 1):
        given = [on_device(a, offset) for a in arrays.values()]
        for a, e in zip(both(*given), exact, strict=True):
            assert_close(a, e, dtype=dtype, terms=arrays["x"].size // shape[1], factor=8)


@pytest.mark.parametrize("training", [False, True])
def test_channels_last_is_the_same(rng: np.random.Generator, training: bool) -> None:
    arrays = norm_arrays(rng, (3, 8, 5, 6), 8, "float32")
    state = {"running_mean": arrays["weight"], "running_var": arrays["bias"] ** 2 + 1}
    results = []
    for last in (False, True):
        x = K.asarray(arrays["x"])
        x = x.contiguous(K.MemoryFormat.channels_last) if last else x
        kept = {name: K.asarray(a.copy()) for name, a in state.items()}
        out = K.batch_norm(x, arrays["weight"], arrays["bias"], **kept, training=training, relu=True)
        results.append([to_numpy(a) for a in (*out, *kept.values())])
    for a, e in zip(*results, strict=True):
        assert_close(a, e, terms=90)


def test_an_empty_batch_leaves_the_running_statistics() -> None:
    kept = [K.full((3,), 2.0), K.full((3,), 5.0)]
    K.batch_norm(np.zeros((0, 3), np.float32), None, None, *kept, training=True)
    assert [to_numpy(a).tolist() for a in kept] == [[2] * 3, [5] * 3]


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_relu_behind_batch_norm_passes_nothing_where_it_cut_off(rng: np.random.Generator, value: float) -> None:
    x, dout = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    out = np.array([[1, 0], [0, 2], [-0.0, 0], [3, 1], [0, 0], [1, np.nan]])
    args = (x, x.mean(0), 1 / x.std(0), None, None, out, True, True)
    wanted = reference(K.batch_norm_backward, dout, *args)[0]
    assert_close(K.batch_norm_backward(dout, *args)[0], wanted, factor=8)
    dout[out == 0] = value
    assert_close(K.batch_norm_backward(dout, *args)[0], wanted, factor=8)


def test_the_counter_moves_once(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 300, 3)).astype(np.float32)
    state = [K.zeros((300,)), K.ones((300,))]
    counter = K.asarray(np.array(4))
    K.batch_norm(x, None, None, *state, counter, training=True, momentum=None)
    assert counter.item() == 5
    assert_close(state[0], x.mean((0, 2)) / 5, dtype="float32", terms=12)


# Rows in registers of each shape, and longer ones, which are cut in pieces.
@pytest.mark.parametrize("shape", [(9, 20), (5, 64), (3, 201), (3, 1000), (2, 2048), (2, 5001), (1, 20_004)], ids=str)
@pytest.mark.parametrize("dtype", REAL)
def test_layer_norm(rng: np.random.Generator, shape: tuple[int, int], dtype: str) -> None:
    arrays = norm_arrays(rng, shape, shape[1], dtype)

    def both(x: Any, dout: Any, weight: Any, bias: Any) -> list[np.ndarray]:
        out, mean, inv_std = K.layer_norm(x, shape[1:], weight, bias)
        return [
            to_numpy(a) for a in (out, mean, inv_std, *K.layer_norm_backward(dout, x, shape[1:], mean, inv_std, weight))
        ]

    exact = reference(both, *(a.astype(np.float64) for a in arrays.values()))
    for offset in (0, 1):
        for a, e in zip(both(*(on_device(v, offset) for v in arrays.values())), exact, strict=True):
            assert_close(a, e, dtype=dtype, terms=shape[1], factor=8)


@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 5), 3), ((2, 4, 8, 8), 2), ((1, 2, 90, 91), 1)], ids=str)
def test_group_norm(rng: np.random.Generator, shape: tuple[int, ...], groups: int) -> None:
    arrays = norm_arrays(rng, shape, shape[1], "float32")

    def both(x: Any, dout: Any, weight: Any, bias: Any) -> list[np.ndarray]:
        out, mean, inv_std = K.group_norm(x, groups, weight, bias)
        return [to_numpy(a) for a in (out, *K.group_norm_backward(dout, x, groups, mean, inv_std, weight))]

    exact = reference(both, *(a.astype(np.float64) for a in arrays.values()))
    for a, e in zip(both(*arrays.values()), exact, strict=True):
        assert_close(a, e, dtype="float32", terms=arrays["x"].size, factor=4)


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("n", [1, 6, 1031])
def test_steps_at_any_address(rng: np.random.Generator, n: int, offset: int) -> None:
    start = [rng.uniform(0.1, 1, n).astype(np.float32) for _ in range(4)]
    lr, step = K.full((), 0.1, "float64"), K.full((), 2, "int64")

    def run(arrays: list[Any], rate: Any, at: Any) -> list[np.ndarray]:
        w, g, first, second = arrays
        K.adam_step(w, g, first, second, rate, at, weight_decay=0.1)
        K.sgd_step(w, g, rate, at, first, momentum=0.9)
        K.rmsprop_step(w, g, second, rate, momentum_buffer=first, momentum=0.5)
        K.adagrad_step(w, g, second, rate, at)
        K.clip_grad_norm([g], 0.1)
        return [to_numpy(a) for a in arrays]

    wide = [a.astype(np.float64) for a in start]
    expected = reference(run, wide, np.array(0.1), np.array(2))
    for a, e in zip(run([on_device(a, offset) for a in start], lr, step), expected, strict=True):
        assert_close(a, e, dtype="float32", factor=10)


@pytest.mark.parametrize("n", [16_384, 16_385, 50_001])
def test_norms_of_gradients_in_pieces(rng: np.random.Generator, n: int) -> None:
    for offset in (0, 1):
        x = rng.normal(size=n).astype(np.float32)
        norm = K.clip_grad_norm([on_device(x, offset), on_device(x[:5], offset)], float("inf"))
        wide = x.astype(np.float64)
        assert_close(norm, np.sqrt((wide**2).sum() + (wide[:5] ** 2).sum()), factor=10)
