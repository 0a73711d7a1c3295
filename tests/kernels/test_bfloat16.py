"""bfloat16 as a dtype: casts over every value, exchange with NumPy, PyTorch and files, and what works on it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import isa, threads
from weft import nn, optim

ALL = np.arange(65536, dtype=np.uint16)
VALUES = (ALL.astype(np.uint32) << 16).view(np.float32)  # by the definition: the upper half of a float
NAN = np.isnan(VALUES)


def bits(x: Any) -> np.ndarray:
    return K.bfloat16_bits(x.array if isinstance(x, weft.Tensor) else x)


def wide(x: Any) -> np.ndarray:
    """A bfloat16 array as float64, which is exact."""
    return K.cast(x.array if isinstance(x, weft.Tensor) else x, "float64").numpy()


def nearest(x: np.ndarray) -> np.ndarray:
    """The bits of the bfloat16 nearest to each float64 that is no NaN, ties to even: by comparing distances."""
    sizes = VALUES[:0x7F80].astype(np.float64)  # the finite ones from 0 upwards; their bits are their index
    sizes = np.append(sizes, 2.0**128)  # what the next power of two would be stands for infinity
    size = np.minimum(np.abs(x), 2.0**128)
    low = np.minimum(np.searchsorted(sizes, size, side="right") - 1, 0x7F7F)
    # Exact: both have a few bits, and halves of float64's denormals are not asked for.
    tie = (sizes[low] + sizes[low + 1]) / 2
    up = (size > tie) | ((size == tie) & (low % 2 == 1))
    return ((low + up) | np.where(np.signbit(x), 0x8000, 0)).astype(np.uint16)


# --- casts ---


def test_every_value_widens_exactly(every_isa: str) -> None:
    x = K.bfloat16_from_bits(ALL)
    assert K.cast(x, "float32").numpy()[~NAN].view(np.uint32).tolist() == VALUES[~NAN].view(np.uint32).tolist()
    assert np.isnan(K.cast(x, "float32").numpy()[NAN]).all()
    np.testing.assert_array_equal(K.cast(x, "float64").numpy()[~NAN], VALUES[~NAN].astype(np.float64))
    np.testing.assert_array_equal(K.cast(x, "bool").numpy(), VALUES != 0)
    small = np.abs(VALUES) < 2e9
    np.testing.assert_array_equal(K.cast(x, "int32").numpy()[small], VALUES[small].astype(np.int32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_value_comes_back(every_isa: str, dtype: str) -> None:
    back = bits(K.cast(K.cast(K.bfloat16_from_bits(ALL), dtype), "bfloat16"))
    np.testing.assert_array_equal(back[~NAN], ALL[~NAN])
    assert NAN[back[NAN]].all()


def edges(dtype: str) -> np.ndarray:
    """Every tie between two neighbours, and the numbers right beside it."""
    numbers = VALUES[:0x7F80].astype(np.float64)
    ties = (numbers + np.append(numbers[1:], 2.0**128)) / 2
    x = ties.astype(dtype)
    around = np.concatenate([x, np.nextafter(x, 0, dtype=dtype), np.nextafter(x, np.inf, dtype=dtype)])
    special = [0, np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal]
    x = np.concatenate([around, np.array(special, dtype)])
    return np.concatenate([x, -x])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", K.available_isas())
def test_rounds_to_the_nearest_ties_to_even(name: str, dtype: str, rng: np.random.Generator) -> None:
    x = edges(dtype)
    any_bits = rng.integers(0, 256, 400_000 * np.dtype(dtype).itemsize, dtype=np.uint8).view(dtype)
    usual = (rng.standard_normal(100_000) * 10.0 ** rng.integers(-42, 37, 100_000)).astype(dtype)
    x = np.concatenate([x, any_bits[~np.isnan(any_bits)], usual])
    with isa(name):
        np.testing.assert_array_equal(bits(K.cast(x, "bfloat16")), nearest(x.astype(np.float64)))
        nan = any_bits[np.isnan(any_bits)]
        assert np.isnan(wide(K.cast(nan, "bfloat16"))).all()


def test_rounds_once_from_float64(every_isa: str) -> None:
    # 1 + 2^-8 is a tie; a float cannot hold what lies above it, so rounding twice would go to 1.
    assert wide(K.cast(np.array([1 + 2**-8, 1 + 2**-8 + 2**-40]), "bfloat16")).tolist() == [1, 1 + 2**-7]


def test_integers(every_isa: str) -> None:
    x = np.array([0, 1, -1, 255, 256, 257, 258, 259, 2**24 + 2**16 + 1, -(2**31), 2**53])
    np.testing.assert_array_equal(bits(K.cast(x, "bfloat16")), nearest(x.astype(np.float64)))
    assert wide(K.cast(np.array([True, False]), "bfloat16")).tolist() == [1, 0]
    assert wide(K.cast(np.array([3, 255], np.uint8), "bfloat16")).tolist() == [3, 255]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (7, 5, 3), (2, 70_001)])
def test_strided_casts_and_copies(every_isa: str, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = np.asarray(rng.standard_normal(shape), np.float32)
    y = K.cast(x.T, "bfloat16")
    assert (y.dtype, y.shape) == (K.DType.bfloat16, x.T.shape)
    expected = nearest(x.T.astype(np.float64))
    np.testing.assert_array_equal(bits(y), expected)
    turned = y.permute(tuple(range(y.ndim))[::-1])
    np.testing.assert_array_equal(bits(K.copy(turned)), expected.T)
    np.testing.assert_array_equal(K.cast(turned, "float32").numpy(), VALUES[expected.T])


@pytest.mark.cpu
def test_threads_do_not_change_bits(rng: np.random.Generator) -> None:
    x = rng.standard_normal(300_007).astype(np.float32)
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            np.testing.assert_array_equal(bits(K.cast(x, "bfloat16")), nearest(x.astype(np.float64)))


# --- arrays ---


def test_arrays_of_it(every_isa: str) -> None:
    assert weft.bfloat16 == K.DType.bfloat16
    assert (K.DType.bfloat16.itemsize, K.DType.bfloat16.is_floating_point) == (2, True)
    x = K.zeros((2, 3), "bfloat16")
    assert (x.nbytes, x.strides) == (12, (3, 1))
    x[1] = 1.5
    x[0, ::2] = np.array([3, 4])
    assert x.tolist() == [[3, 0, 4], [1.5, 1.5, 1.5]]
    assert repr(x) == "Array([[3. , 0. , 4. ],\n       [1.5, 1.5, 1.5]], dtype=bfloat16)"
    assert (x[0, 0].item(), float(x[0, 2]), bool(x[0, 1])) == (3.0, 4.0, False)
    assert x.transpose(0, 1).reshape((6,)).tolist() == [3, 1.5, 0, 1.5, 4, 1.5]
    assert K.cat([x, x[:1]]).tolist() == [*x.tolist(), x[0].tolist()]
    assert K.stack([x[0], x[1]], 1).tolist() == [list(pair) for pair in zip(*x.tolist(), strict=True)]
    assert K.pad(x[0], (1,), (0,), 2.5).tolist() == [2.5, 3, 0, 4]
    assert K.index_select(x, 1, np.array([2, 0])).tolist() == [[4, 3], [1.5, 1.5]]
    assert K.gather(x, 0, np.array([[1, 0, 0]])).tolist() == [[1.5, 0, 4]]
    assert K.where(K.gt(x, 1), x, K.ones((), "bfloat16")).tolist() == [[3, 1, 4], [1.5, 1.5, 1.5]]
    assert K.asarray([1.0, 0.3], "bfloat16").tolist() == [1.0, 0.30078125]
    assert K.full((2,), 1 / 3, "bfloat16").tolist() == [0.333984375] * 2
    assert K.arange(0, 400, 99, "bfloat16").tolist() == [0, 99, 198, 296, 396]
    assert K.arange(0.0, 1.0, 0.3, "bfloat16").tolist() == [0, 0.30078125, 0.6015625, 0.8984375]


def test_numpy_has_none() -> None:
    x = K.ones((2, 3), "bfloat16")
    message = r"numpy: NumPy has no bfloat16; convert to float32 first \(shape \(2, 3\)\)"
    for convert in (x.numpy, weft.Tensor(x).numpy, lambda: np.asarray(x), lambda: np.asarray(weft.Tensor(x))):
        with pytest.raises(TypeError, match=message):
            convert()
    with pytest.raises(BufferError):
        memoryview(x)
    assert np.asarray(weft.Tensor(x).float()).tolist() == [[1, 1, 1]] * 2


@pytest.mark.cpu
@pytest.mark.cpu
def test_bits_share_the_memory() -> None:
    x = K.ones((2, 3), "bfloat16")
    seen = K.bfloat16_bits(x.transpose(0, 1))
    assert (seen.dtype, seen.shape, seen.strides) == (np.uint16, (3, 2), (2, 6))
    seen[2, 0] = 0x4040
    assert x.tolist() == [[1, 1, 3], [1, 1, 1]]
    again = K.bfloat16_from_bits(seen)
    again[0, 1] = -2.0
    assert x.tolist() == [[1, 1, 3], [-2, 1, 1]]
    with pytest.raises(TypeError, match="bfloat16_bits: expected bfloat16, got float32"):
        K.bfloat16_bits(K.ones((2,)))
    with pytest.raises(TypeError, match="bfloat16_from_bits: expected uint16, got int32"):
        K.bfloat16_from_bits(np.ones(2, np.int32))


def test_torch_shares_the_memory() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor([[1.0, 0.3], [-2.0, 5.0]]).bfloat16().T
    y = K.asarray(x)
    assert (y.dtype, y.data_ptr, y.strides) == (K.DType.bfloat16, x.data_ptr(), (1, 2))
    back = torch.from_dlpack(y)
    assert (back.dtype, back.data_ptr()) == (torch.bfloat16, x.data_ptr())
    assert torch.equal(back, x)


def test_torch_rounds_alike(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = rng.integers(0, 2**32, 1_000_000, dtype=np.uint32).view(np.float32)
    ours, theirs = bits(K.cast(x, "bfloat16")), torch.from_numpy(x).bfloat16().view(torch.int16).numpy()
    np.testing.assert_array_equal(ours[~np.isnan(x)], theirs.view(np.uint16)[~np.isnan(x)])


def test_copies_of_tensors() -> None:
    x = weft.tensor([1.0, 0.3, -5.0]).bfloat16().requires_grad_()
    assert repr(x) == "tensor([ 1.        ,  0.30078125, -5.        ], dtype=weft.bfloat16, requires_grad=True)"
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (other.dtype, other.requires_grad, other.tolist()) == (weft.bfloat16, True, x.tolist())
    assert x.float().dtype == weft.float32
    assert x.to("bfloat16") is x


@pytest.mark.needs("safetensors")
def test_files(tmp_path: Path) -> None:
    x = K.bfloat16_from_bits(ALL.reshape(256, 256))
    state = {"x": x.transpose(0, 1), "größer": weft.Tensor(x[:0]), "y": np.arange(5), "z": weft.tensor(1.5).bfloat16()}
    weft.save(state, tmp_path / "a", {"note": "größer"})
    back = weft.load(tmp_path / "a")
    assert {name: t.shape for name, t in back.items()} == {"x": (256, 256), "größer": (0, 256), "y": (5,), "z": ()}
    np.testing.assert_array_equal(bits(back["x"]), ALL.reshape(256, 256).T)
    assert back["z"].item() == 1.5
    assert weft.serialization.read(tmp_path / "a")[1] == {"note": "größer"}


def test_files_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")

    x = torch.randn(3, 5).bfloat16()
    files.save_file({"x": x, "y": torch.ones(2)}, tmp_path / "a")
    ours = weft.load(tmp_path / "a")["x"]
    assert torch.equal(torch.from_dlpack(ours), x)
    weft.save({"x": ours, "y": weft.ones(3)}, tmp_path / "b")
    assert torch.equal(files.load_file(tmp_path / "b")["x"], x)


# --- operations: computed in float, rounded once ---

UNARY = ("neg", "abs", "sign", "square", "sqrt", "exp", "log", "sin", "floor", "round", "reciprocal", "relu", "gelu",
         "sigmoid", "tanh")  # fmt: skip
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "pow", "remainder", "floor_divide", "lt", "ge", "eq")


def through_float32(function: Callable[..., Any], *operands: Any) -> np.ndarray:
    """The operation on floats, as it is on this instruction set, rounded."""
    out = function(*(K.cast(x, "float32") for x in operands))
    return out.numpy() if out.dtype == K.DType.bool else bits(K.cast(out, "bfloat16"))


@pytest.mark.parametrize("name", K.available_isas())
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 1001)])
def test_elementwise(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = K.cast(np.exp(rng.standard_normal(shape)), "bfloat16")
    y = K.cast(rng.standard_normal(shape), "bfloat16")
    with isa(name):
        for op in UNARY:
            np.testing.assert_array_equal(bits(getattr(K, op)(x)), through_float32(getattr(K, op), x), op)
        for op in BINARY:
            ours, expected = getattr(K, op)(x, y), through_float32(getattr(K, op), x, y)
            seen = ours.numpy() if ours.dtype == K.DType.bool else bits(ours)
            np.testing.assert_array_equal(seen, expected, op)
        np.testing.assert_array_equal(bits(K.add(x, 1)), bits(K.cast(wide(x) + 1, "bfloat16")))


@pytest.mark.parametrize("kind", ["relu", "gelu", "sigmoid", "silu"])
def test_activation_backward(every_isa: str, kind: str, rng: np.random.Generator) -> None:
    x, dout = (K.cast(rng.standard_normal((5, 701)), "bfloat16") for _ in range(2))

    def backward(d: Any, s: Any) -> Any:
        return K.activation_backward(kind, d, s)

    np.testing.assert_array_equal(bits(backward(dout, x)), through_float32(backward, dout, x))


def test_nan_goes_through(every_isa: str) -> None:
    x = K.asarray([1.0, np.nan, -1.0], "bfloat16")
    for out in (K.relu(x), K.add(x, x), K.maximum(x, K.zeros((3,), "bfloat16")), K.neg(x)):
        assert np.isnan(wide(out)).tolist() == [False, True, False]


def test_reductions_are_rounded_once(every_isa: str, rng: np.random.Generator) -> None:
    x = K.cast(rng.standard_normal((1000, 7)), "bfloat16")
    for op in ("sum", "mean", "max", "min", "prod", "sum_squares", "var"):
        for axis in (0, 1):
            out, exact = getattr(K, op)(x, axis), getattr(K, op)(K.cast(x, "float64"), axis)
            assert (out.dtype, out.shape) == (K.DType.bfloat16, (x.shape[1 - axis],))
            with isa("reference"):
                np.testing.assert_array_equal(bits(getattr(K, op)(x, axis)), nearest(exact.numpy()), op)
            np.testing.assert_array_equal(bits(out), nearest(exact.numpy()), op)
    assert K.argmax(x, 0).tolist() == wide(x).argmax(0).tolist()
    # 257 ones would stay at 256 if they were added up in bfloat16.
    assert K.sum(K.ones((1000,), "bfloat16")).item() == 1000


def test_gradients_of_arithmetic() -> None:
    x = weft.tensor([1.0, -2.0, 3.0]).bfloat16().requires_grad_()
    b = weft.tensor([0.5]).bfloat16().requires_grad_()
    (nn.functional.relu(x * 2 + b) * x).sum().backward()
    assert (x.grad.dtype, x.grad.tolist(), b.grad.tolist()) == (weft.bfloat16, [4.5, 0, 12.5], [4])
    y = weft.tensor([1.0, 2.0], requires_grad=True)
    (y.bfloat16() * 3).sum().backward()
    assert (y.grad.dtype, y.grad.tolist()) == (weft.float32, [3, 3])


# --- what has no kernel for it ---

X, INDEX, F = K.ones((2, 3, 8, 8), "bfloat16"), np.zeros((2,), np.int64), K.ones((2, 3, 8, 8))
M, S, ONE = K.ones((2, 3), "bfloat16"), K.zeros((2,), "float64"), K.ones((1,), "bfloat16")
MASK, POOLED = K.ones((2, 3, 8, 8), "uint8"), K.zeros((2, 3, 4, 4), "int32")
REFUSED: dict[str, Callable[[], Any]] = {
    "conv2d": lambda: K.conv2d(X, X),
    "conv2d_mixed": lambda: K.conv2d(F, X),
    "conv2d_backward_input": lambda: K.conv2d_backward_input(X, X, (2, 3, 15, 15)),
    "conv2d_backward_weight": lambda: K.conv2d_backward_weight(X, X, (3, 3, 1, 1)),
    "conv2d_relu_max_pool2d": lambda: K.conv2d_relu_max_pool2d(X, X),
    "max_pool2d": lambda: K.max_pool2d(X, 2),
    "max_pool2d_backward": lambda: K.max_pool2d_backward(X, POOLED, (2, 3, 8, 8)),
    "avg_pool2d": lambda: K.avg_pool2d(X, 2),
    "avg_pool2d_backward": lambda: K.avg_pool2d_backward(X, (2, 3, 16, 16), 2),
    "adaptive_avg_pool2d": lambda: K.adaptive_avg_pool2d(X, 2),
    "lp_pool2d": lambda: K.lp_pool2d(X, 2, 2),
    "batch_norm": lambda: K.batch_norm(X),
    "batch_norm_mixed": lambda: K.batch_norm(F, K.ones((3,), "bfloat16")),
    "layer_norm": lambda: K.layer_norm(X, (8,)),
    "group_norm": lambda: K.group_norm(X, 3),
    "softmax": lambda: K.softmax(X),
    "log_softmax": lambda: K.log_softmax(X),
    "softmax_backward": lambda: K.softmax_backward(X, X),
    "mse_loss": lambda: K.mse_loss(M, M),
    "mse_loss_mixed": lambda: K.mse_loss(K.ones((2, 3)), M),
    "binary_cross_entropy": lambda: K.binary_cross_entropy(M, M),
    "pointwise_loss_backward": lambda: K.pointwise_loss_backward("mse", ONE, M, M),
    "cross_entropy": lambda: K.cross_entropy(M, INDEX),
    "cross_entropy_by_probability": lambda: K.cross_entropy(M, M),
    "cross_entropy_mixed": lambda: K.cross_entropy(K.ones((2, 3)), M),
    "index_add": lambda: K.index_add(M, 0, INDEX, M),
    "scatter_add": lambda: K.scatter_add(M, 0, np.zeros((2, 3), np.int64), M),
    "one_hot": lambda: K.one_hot(INDEX, 3, "bfloat16"),
    "uniform": lambda: K.uniform((3,), dtype="bfloat16"),
    "normal": lambda: K.normal((3,), dtype="bfloat16"),
    "bernoulli": lambda: K.bernoulli((3,), 0.5, "bfloat16"),
    "randint": lambda: K.randint((3,), 0, 5, "bfloat16"),
    "dropout": lambda: K.dropout(M, 0.5),
    "dropout_backward": lambda: K.dropout_backward(X, MASK, 0.5),
    "sgd_step": lambda: K.sgd_step(M, M, S, S),
    "adam_step": lambda: K.adam_step(M, M, M, M, S, S),
    "clip_grad_norm": lambda: K.clip_grad_norm([M], 1.0),
    "gather_images": lambda: K.gather_images(X, INDEX, M, M),
    "index_by_it": lambda: K.index_select(M, 0, ONE),
    "condition": lambda: K.where(M, M, M),
    "add_mixed": lambda: K.add(M, K.ones((2, 3))),
    "optimizer": lambda: optim.SGD([weft.Tensor(M)], lr=0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", ["reference", K.available_isas()[-1]])
@pytest.mark.parametrize("what", REFUSED)
def test_no_kernel_is_a_type_error(name: str, what: str) -> None:
    with isa(name), pytest.raises(TypeError, match="bfloat16"):
        REFUSED[what]()
