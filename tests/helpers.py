"""What the tests share: one comparison, one table of tolerances, and the naive kernels as an oracle."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import weft.kernels as K

ROOT = Path(__file__).resolve().parent.parent  # of the checkout

# Relative and absolute tolerance by dtype, for one operation. A sum of k products is allowed sqrt(k) times as
# much: pass terms=k.
TOLERANCE = {
    "float32": (2e-6, 1e-6),
    "float64": (1e-12, 1e-13),
    "int64": (0.0, 0.0),
    "int32": (0.0, 0.0),
    "uint8": (0.0, 0.0),
    "bool": (0.0, 0.0),
}


def to_numpy(x: Any) -> np.ndarray:
    """An Array, Tensor, torch tensor or NumPy array as a NumPy array."""
    if hasattr(x, "detach"):
        x = x.detach()
    if hasattr(x, "numpy"):
        x = x.numpy()
    return np.asarray(x)


def assert_close(actual: Any, expected: Any, *, dtype: str | None = None, terms: int = 1, factor: float = 1.0) -> None:
    """Fails where |actual - expected| > atol * scale + rtol * |expected|, or where only one of them is NaN.

    dtype: whose tolerance counts; that of `actual` by default (`expected` may be of a higher precision).
    terms: how many products were summed. factor: widens the tolerance further, for a stated reason.
    """
    a, e = to_numpy(actual), to_numpy(expected)
    assert a.shape == e.shape, f"shape {a.shape}, expected {e.shape}"
    rtol, atol = TOLERANCE[dtype or a.dtype.name]
    wide = np.float64 if a.dtype.kind == "f" or e.dtype.kind == "f" else np.int64
    a, e = a.astype(wide), e.astype(wide)
    if a.size == 0:
        return
    finite = np.abs(e[np.isfinite(e)])
    # A sum's error scales with its terms, not with what is left after they cancel.
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    allowed = factor * np.sqrt(terms) * (atol * scale + rtol * np.abs(e))
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - e)
        # Written so that NaN fails; equal infinities and equal NaN pass.
        wrong = ~(difference <= allowed) & ~(a == e) & ~(np.isnan(a) & np.isnan(e))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{int(wrong.sum())} of {a.size} elements differ; first at {at}: {a[at]!r}, expected {e[at]!r}; "
            f"largest difference {np.nanmax(difference)!r}"
        )


@contextlib.contextmanager
def isa(name: str) -> Iterator[None]:
    """Runs the kernels of one instruction set; "reference" are the naive ones."""
    before = K.isa()
    K.set_isa(name)
    try:
        yield
    finally:
        K.set_isa(before)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = K.num_threads()
    K.set_num_threads(count)
    try:
        yield
    finally:
        K.set_num_threads(before)


@contextlib.contextmanager
def default_device(device: str) -> Iterator[None]:
    """New arrays come to lie there."""
    before = K.default_device()
    K.set_default_device(device)
    try:
        yield
    finally:
        K.set_default_device(before)


def on_cpu(value: Any) -> Any:
    """Arrays, also in tuples and lists, brought to the host."""
    if isinstance(value, K.Array):
        return K.to(value, "cpu")
    if isinstance(value, (list, tuple)):
        return type(value)(on_cpu(v) for v in value)
    return value


def reference(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a function of weft.kernels on the naive kernels, which are the CPU's."""
    with isa("reference"), default_device("cpu"):
        return function(*on_cpu(args), **{k: on_cpu(v) for k, v in kwargs.items()})


def small_numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> K.Array:
    """Whole numbers, or quarters for floats: bfloat16 has them too."""
    low = 0 if dtype in ("uint8", "bool") else -40
    whole = rng.integers(low, 2 if dtype == "bool" else 41, shape)
    given = whole / 4 if dtype in ("float32", "float64", "bfloat16") else whole
    return K.cast(np.asarray(given), dtype)


def values(x: Any) -> np.ndarray:
    """An array's elements as NumPy has them; bfloat16 as float32, which is exact."""
    x = on_cpu(x)
    return np.asarray(K.cast(x, "float32") if str(x.dtype) == "bfloat16" else x)


def check_naive(function: Any, *args: Any) -> None:
    """The result has the naive kernels' bits, NaN aside."""
    found, expected = function(*args), reference(function, *args)
    assert str(found.dtype) == str(expected.dtype)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(values(found), values(expected))


def check_largest(actual: Any, expected: Any, bound: float) -> None:
    """The largest error, measured by the largest value."""
    error = np.abs(np.asarray(actual) - np.asarray(expected)).max() / np.abs(np.asarray(expected)).max()
    assert error <= bound, f"error {error:.2e}"


def check_convolution(given: tuple[np.ndarray, ...], padding: tuple[int, ...], bound: float) -> None:
    """x, weight, bias and dout, convolved in all three directions, against the reference in double."""
    x, weight, bias, dout = given
    wide_x, wide_weight, wide_bias, wide_dout = (a.astype(np.float64) for a in given)
    expected = np.asarray(reference(K.conv2d, wide_x, wide_weight, wide_bias, padding=padding))
    check_largest(K.conv2d(x, weight, bias, padding=padding), expected, bound)
    relu = K.conv2d(x, weight, bias, padding=padding, activation="relu")
    check_largest(relu, np.maximum(expected, 0), bound)
    dx = reference(K.conv2d_backward_input, wide_dout, wide_weight, x.shape, padding=padding)
    check_largest(K.conv2d_backward_input(dout, weight, x.shape, padding=padding), dx, bound)
    expected_dw = reference(K.conv2d_backward_weight, wide_dout, wide_x, weight.shape, padding=padding, bias=True)
    found = K.conv2d_backward_weight(dout, x, weight.shape, padding=padding, bias=True)
    for actual, of_double in zip(found, expected_dw, strict=True):
        check_largest(actual, of_double, bound)


def conv2d_arrays(size: tuple[int, ...], options: dict[str, Any], dtype: str = "float32", seed: int = 0) -> Any:
    """x, weight, bias and dout of a convolution (N, C, H, W, K, R, S)."""
    n, c, h, w, k, r, s = size
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, c, h, w)).astype(dtype)
    weight = rng.normal(size=(k, c // options.get("groups", 1), r, s)).astype(dtype)
    bias = rng.normal(size=k).astype(dtype)
    dout = rng.normal(size=K.conv2d_output_size(x.shape, weight.shape, **options)).astype(dtype)
    return x, weight, bias, dout


def wide(*given: np.ndarray) -> list[np.ndarray]:
    """The same in double precision."""
    return [a.astype(np.float64) for a in given]


def linear_problem(rng: np.random.Generator, size: tuple[int, int, int], activation: str) -> list[Any]:
    """dout, x, weight and y."""
    rows, width, out = size
    dout, x, weight = (rng.normal(size=s).astype(np.float32) for s in ((rows, out), (rows, width), (out, width)))
    y = rng.normal(size=(rows, out)).astype(np.float32)
    return [dout, x, weight, None if activation == "none" else np.maximum(y, 0) if activation == "relu" else y]


def linear_backward_in_double(dout: Any, x: Any, weight: Any, y: Any, activation: str) -> Any:
    """The naive kernels' gradients of a linear_problem."""
    wide = [None if a is None else np.asarray(a, np.float64) for a in (dout, x, weight, y)]
    return reference(K.linear_backward, *wide, activation)
