"""Activations and their gradients against the naive kernels in double precision."""

from __future__ import annotations

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, reference, threads, to_numpy

KINDS = ["step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "gelu_tanh", "silu"]
PARAM = {"leaky_relu": 0.2, "elu": 1.5, "softplus": 2.0}
SHAPES = [(), (0,), (1,), (7,), (3, 5, 2), (40_003,)]
BY_OUTPUT = ("sigmoid", "tanh", "relu")


def call(kind: str, x: np.ndarray) -> K.Array:
    return getattr(K, kind)(x, PARAM[kind]) if kind in PARAM else getattr(K, kind)(x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_both_ways(every_isa: str, rng: np.random.Generator, kind: str, shape: tuple[int, ...], dtype: str) -> None:
    x = rng.normal(scale=3, size=shape).astype(dtype)
    dout = rng.normal(size=shape).astype(dtype)
    out = call(kind, x)
    exact = np.asarray(reference(call, kind, x.astype(np.float64)))
    assert_close(out, exact, dtype=dtype)
    saved = exact.astype(dtype) if kind in BY_OUTPUT else x
    alpha = PARAM.get(kind, 0.0)
    dx = K.activation_backward(kind, dout, saved, alpha)
    expected = reference(K.activation_backward, kind, dout.astype(np.float64), saved.astype(np.float64), alpha)
    assert_close(dx, expected, dtype=dtype, factor=2)


# The largest error in units in the last place, as cpu/simd/math.h states it, and where. gelu is x normal_cdf(x),
# one more multiplication; softplus is log1p of exp.
ULP = {
    "exp": (lambda x: 2, -103.9, 88.7),
    "expm1": (lambda x: 4, -80.0, 88.0),
    "log": (lambda x: 2, 1e-44, 3e38),
    "log1p": (lambda x: 3, -0.99999, 3e38),
    "sigmoid": (lambda x: 3, -87.0, 87.0),
    "tanh": (lambda x: 3, -20.0, 20.0),
    "erf": (lambda x: 3, -5.0, 5.0),
    "gelu": (lambda x: 6 + x * x, -12.0, 0.0),
    "gelu_right": (lambda x: 3, 0.0, 12.0),
    "softplus": (lambda x: 6, -80.0, 19.0),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ULP))
def test_errors_of_elementary_functions(every_isa: str, name: str) -> None:
    bound, low, high = ULP[name]
    function = getattr(K, name.removesuffix("_right"))
    rng = np.random.default_rng(0)
    even = rng.uniform(low, high, 200_000)
    # As many again spread evenly over the exponents, denormal ones too.
    sizes = np.exp(rng.uniform(np.log(1e-44), np.log(max(abs(low), high)), 200_000))
    signs = 1 if low >= 0 else -1 if high <= 0 else np.where(rng.uniform(size=sizes.size) < 0.5, -1, 1)
    x = np.concatenate([even, np.clip(sizes * signs, low, high)]).astype(np.float32)
    x = x[(x >= low) & (x <= high)]
    ours = np.asarray(function(x)).astype(np.float64)
    exact = np.asarray(reference(function, x.astype(np.float64)))
    ulp = np.spacing(np.maximum(np.abs(exact), np.finfo(np.float32).tiny).astype(np.float32)).astype(np.float64)
    excess = np.abs(ours - exact) / ulp - np.array([bound(v) for v in x.astype(np.float64)])
    worst = int(np.argmax(excess))
    assert not excess[worst] > 0, f"{name}({x[worst]!r}) is {np.abs(ours - exact)[worst] / ulp[worst]:.1f} ulp off"


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "sigmoid", "tanh", "erf", "gelu"])
def test_whole_range_of_float(every_isa: str, name: str) -> None:
    """Every 4099th of all floats, all infinities, zeros and ends of the ranges; check_math.py takes all."""
    x = np.arange(0, 1 << 32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    ends = np.array([0, 1.1754944e-38, 1e-45, 87.3, 88.3, 88.72, 88.73, 104, 3.4028235e38, np.inf, np.nan], np.float32)
    x = np.concatenate([x, ends, -ends])
    function = getattr(K, name)
    with np.errstate(all="ignore"):
        ours = np.asarray(function(x)).astype(np.float64)
        exact = np.asarray(reference(function, x.astype(np.float64)))
        rounded = exact.astype(np.float32)
        ulp = np.spacing(np.maximum(np.abs(rounded), np.finfo(np.float32).tiny)).astype(np.float64)
        off = np.abs(ours - exact) / ulp
    finite = np.isfinite(rounded) & np.isfinite(ours)
    # The exponential's own overflow may come one float early or late.
    strange = ~finite & (ours != rounded) & ~(np.isnan(ours) & np.isnan(rounded)) & ~(np.abs(exact) > 3.4e38)
    assert not strange.any(), x[strange][:5]
    with np.errstate(invalid="ignore"):
        bound = ULP[name][0](0.0) + (x.astype(np.float64) ** 2 if name == "gelu" else 0)
        bound = np.where(np.abs(exact) < 1.2e-38, 2.0**23, bound)  # denormal results may be 0
        wrong = finite & ~(off <= bound)
    assert not wrong.any(), [(v, o) for v, o in zip(x[wrong][:5], off[wrong][:5], strict=True)]


def test_signs_of_zeros(every_isa: str) -> None:
    for name in ("tanh", "expm1", "log1p", "erf", "relu", "gelu", "silu"):
        assert np.signbit(np.asarray(getattr(K, name)(np.full(20, -0.0, np.float32)))).all() == (name != "relu"), name


@pytest.mark.parametrize("kind", KINDS)
def test_far_arguments(every_isa: str, kind: str) -> None:
    x = np.array([-np.inf, -3e38, -200, -90, -1e-40, -0.0, 0.0, 1e-40, 90, 200, 3e37, np.inf] * 3, np.float32)
    ours, exact = np.asarray(call(kind, x)), np.asarray(reference(call, kind, x))
    assert (np.isnan(ours) == np.isnan(exact)).all()
    good = ~np.isnan(exact)
    assert_close(np.arctan(ours[good].astype(np.float64)), np.arctan(exact[good].astype(np.float64)), dtype="float32")


@pytest.mark.parametrize("kind", KINDS)
def test_nan_propagates(every_isa: str, kind: str) -> None:
    out = np.asarray(call(kind, np.full(37, np.nan, np.float32)))
    assert np.isnan(out).all() != (kind == "step")


@pytest.mark.parametrize("kind", ["relu", "step"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_nothing_passes_where_the_function_is_flat(every_isa: str, kind: str, dtype: str) -> None:
    """Not even what is no number, which 0 times it would be; relu's gradient at NaN is as it came."""
    saved = np.array([0, -0.0, 2, np.nan] * 11)
    dout = np.array([np.inf, np.nan, -np.inf, 3] * 11)
    arrays = (K.cast(K.asarray(a), dtype) for a in (dout, saved))
    dx = to_numpy(K.cast(K.activation_backward(kind, *arrays), "float64"))
    np.testing.assert_array_equal(dx, ([0, 0, -np.inf, 3] if kind == "relu" else [0] * 4) * 11)


@pytest.mark.cpu
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_for_any_number_of_threads(rng: np.random.Generator, kind: str) -> None:
    x = rng.normal(size=100_003).astype(np.float32)
    results = []
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            results.append(np.asarray(call(kind, x)).tobytes())
    assert len(set(results)) == 1


@pytest.mark.cpu
def test_arrays_that_pass_the_cache(every_isa: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=8_000_003).astype(np.float32)  # 64 MB both ways
    out = np.asarray(K.gelu(x))
    for part in (slice(0, 20_000), slice(-20_000, None)):
        assert (out[part] == np.asarray(K.gelu(x[part].copy()))).all()
    assert not np.isnan(out).any()
    dx = np.asarray(K.activation_backward("relu", x, x))
    assert (dx == np.where(x > 0, x, 0)).all()


def test_errors() -> None:
    with pytest.raises(TypeError, match="relu: input must be float32, float64 or bfloat16, got int64"):
        K.relu(np.arange(3))
    with pytest.raises(ValueError, match="activation: expected one of none, step, .*; got 'swish'"):
        K.activation_backward("swish", np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"relu: dout \(2,\) and saved \(3,\) must have the same shape"):
        K.activation_backward("relu", np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="softplus: beta must be positive, got 0"):
        K.softplus(np.ones(3), 0.0)
