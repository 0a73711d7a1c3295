"""Matrix products of bfloat16 against double precision on the same rounded numbers, on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weft
import weft.kernels as K
from helpers import isa, on_cpu, threads
from weft import nn

ISAS = K.available_isas()
LAYOUTS = ["nn", "nt", "tn", "tt"]
# The policy of csrc/cpu/gemm/bfloat16.cpp: sizes M, N, K that reach its methods and their edges.
SIZES = [
    (1, 1, 1), (1, 7, 5), (7, 1, 5), (2, 3, 513), (24, 70, 259), (1, 70, 3001),  # few rows
    (25, 31, 3), (12, 32, 8), (13, 33, 9), (64, 120, 400), (100, 70, 257),  # panels, whole and cut
    (37, 97, 1031), (45, 47, 2111), (26, 50, 2112),  # slices of K
    (1311, 45, 1031),  # all of A packed before, in slices
]  # fmt: skip


@pytest.fixture(params=[name for name in ISAS if name != "reference"])
def dot_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set, that of the dot product too, which differs from AVX-512 here alone."""
    with isa(request.param):
        yield request.param


def rounded(rng: np.random.Generator, *shape: int) -> K.Array:
    return K.cast(rng.standard_normal(shape).astype(np.float32), "bfloat16")


def wide(x: Any) -> np.ndarray:
    return K.cast(x.array if isinstance(x, weft.Tensor) else x, "float64").numpy()


def bits(x: K.Array) -> list[Any]:
    return K.bfloat16_bits(x).tolist()


def operands(rng: np.random.Generator, layout: str, size: tuple[int, int, int]) -> tuple[K.Array, K.Array]:
    """A and B as views; "t": transposed in memory."""
    m, n, k = size
    a = rounded(rng, k, m).transpose(0, 1) if layout[0] == "t" else rounded(rng, m, k)
    b = rounded(rng, n, k).transpose(0, 1) if layout[1] == "t" else rounded(rng, k, n)
    return a, b


def assert_summed_in_float(out: K.Array, a: np.ndarray, b: np.ndarray, expected: np.ndarray | None = None) -> None:
    """The error of K additions in float32, with the signs at random: eps sqrt(K) times the sum of sizes.

    The dot instruction rounds after each of a pair's products, or once for both, by its own rules; that is within it.
    """
    exact = a @ b if expected is None else expected
    allowed = 2.0**-23 * np.sqrt(a.shape[-1] + 4) * (np.abs(a) @ np.abs(b) + np.abs(exact) + 1)
    assert (out.dtype, out.shape) == (K.DType.float32, exact.shape)
    assert (np.abs(out.numpy() - exact) <= allowed).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_products(dot_isa: str, rng: np.random.Generator, size: tuple[int, int, int], layout: str) -> None:
    a, b = operands(rng, layout, size)
    out = K.gemm(a, b, out_dtype="float32")
    assert_summed_in_float(out, wide(a), wide(b))
    # The result in bfloat16 is that, rounded once.
    expected = bits(K.cast(out, "bfloat16"))
    assert bits(K.matmul(a, b)) == expected
    if layout[1] == "t":
        assert bits(K.linear(a, b.transpose(0, 1))) == expected


@given(m=st.integers(0, 40), n=st.integers(0, 70), k=st.integers(0, 90), layout=st.sampled_from(LAYOUTS))
def test_any_size(m: int, n: int, k: int, layout: str) -> None:
    a, b = operands(np.random.default_rng(m), layout, (m, n, k))
    for name in ISAS:
        with isa(name):
            assert_summed_in_float(K.gemm(a, b, out_dtype="float32"), wide(a), wide(b))


@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid", "gelu"])
@pytest.mark.parametrize("size", [(3, 5, 7), (1, 40, 50), (40, 1, 50), (33, 65, 300), (26, 47, 1500)], ids=str)
def test_ends(dot_isa: str, rng: np.random.Generator, size: tuple[int, int, int], activation: str) -> None:
    """alpha, beta, bias and activation in float32, rounded once."""
    m, n, k = size
    a, b, c, bias = rounded(rng, m, k), rounded(rng, k, n), rounded(rng, m, n), rounded(rng, n)
    product = 0.5 * (wide(a) @ wide(b)) - 1.5 * wide(c) + wide(bias)
    expected = product if activation == "none" else getattr(K, activation)(product).numpy()
    options: dict[str, Any] = {"alpha": 0.5, "beta": -1.5, "bias": bias, "activation": activation}
    out = K.gemm(a, b, K.cast(c, "float32"), **options, out_dtype="float32")
    assert_summed_in_float(out, wide(a), wide(b), expected)
    assert bits(K.gemm(a, b, c, **options)) == bits(K.cast(out, "bfloat16"))


def test_beta_zero_does_not_read(dot_isa: str) -> None:
    for m in (5, 30):
        a, b = K.ones((m, 3), "bfloat16"), K.ones((3, 6), "bfloat16")
        assert (wide(K.gemm(a, b, K.full((m, 6), np.nan, "bfloat16"), beta=0.0)) == 3).all()


def test_empty(dot_isa: str) -> None:
    none = K.zeros((4, 0), "bfloat16")
    bias = K.asarray([1.0, -2.0, 3.0], "bfloat16")
    assert K.linear(none, K.zeros((3, 0), "bfloat16"), bias, "relu").tolist() == [[1, 0, 3]] * 4
    assert K.matmul(K.zeros((0, 5), "bfloat16"), K.zeros((5, 2), "bfloat16")).shape == (0, 2)
    assert K.matmul(none.transpose(0, 1), K.zeros((4, 3), "bfloat16")).shape == (0, 3)


def test_batches_and_vectors(dot_isa: str, rng: np.random.Generator) -> None:
    a, b = rounded(rng, 6, 9, 33), rounded(rng, 6, 33, 21)
    for x, y in ((a, b), (a, b[0]), (a[:1], b), (a[0, 0], b), (a, b[2, :, 1]), (a[:, ::2], b[:, :, ::-3])):
        got, expected = K.matmul(x, y), np.matmul(wide(x), wide(y))
        assert got.shape == expected.shape
        assert (np.abs(wide(got) - expected) <= 2.0**-8 * np.abs(expected) + 1e-5).all()


def test_rows_with_gaps(dot_isa: str, rng: np.random.Generator) -> None:
    a, b = rounded(rng, 60, 130), rounded(rng, 260, 150)
    for x, y in ((a[::2, 1:99:2], b[5:103:2, ::3]), (a[:, :129], b[1:130]), (a[:20, 1:], b[: 129 * 2 : 2])):
        assert_summed_in_float(K.gemm(x, y, out_dtype="float32"), wide(x), wide(y))


@pytest.mark.parametrize("size", [(5, 40, 70), (40, 50, 60), (40, 50, 1100)], ids=str)
def test_nan_goes_through(dot_isa: str, rng: np.random.Generator, size: tuple[int, int, int]) -> None:
    m, _, k = size
    for layout in LAYOUTS:
        a, b = operands(rng, layout, size)
        a[m // 2, k - 1] = np.nan
        out = np.isnan(wide(K.gemm(a, b, activation="relu")))
        assert out[m // 2].all()
        assert not np.delete(out, m // 2, axis=0).any()


def test_infinity_and_rounding_to_it(dot_isa: str) -> None:
    a = K.full((30, 40), 2.0**64, "bfloat16")
    assert np.isposinf(wide(K.matmul(a, a.transpose(0, 1)))).all()
    # 2^127 (1 + 255/256) is the middle between the largest bfloat16 and 2^128, a tie that goes to infinity.
    a, b = K.full((30, 2), 2.0**120, "bfloat16"), K.asarray([[255.0], [0.5]], "bfloat16")
    assert np.isposinf(wide(K.matmul(a, b))).all()
    assert K.gemm(a, b, out_dtype="float32")[0, 0].item() == 255.5 * 2.0**120


@pytest.mark.cpu
def test_denormals_count_as_zero(dot_isa: str) -> None:
    for m in (3, 30):
        a = K.full((m, 4), 2.0**-130, "bfloat16")
        b = K.full((4, 5), 2.0**100, "bfloat16")
        assert (wide(K.matmul(a, b)) == 0).all()
        with isa("reference"):
            assert (wide(K.matmul(a, b)) == 2.0**-28).all()


@pytest.mark.cpu
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_same_bits_for_any_number_of_threads(
    dot_isa: str, rng: np.random.Generator, size: tuple[int, int, int]
) -> None:
    for layout in ("nn", "nt"):
        a, b = operands(rng, layout, size)
        results = []
        for count in (1, 2, 3, 4, 7):
            with threads(count):
                results.append(K.gemm(a, b, out_dtype="float32").numpy().tobytes())
        assert len(set(results)) == 1


@pytest.mark.cpu
def test_slices_of_strips(rng: np.random.Generator) -> None:
    """Large, so on the instruction set in use only."""
    a, b = operands(rng, "nn", (1300, 6161, 1031))
    out = K.gemm(a, b, out_dtype="float32")
    assert_summed_in_float(out, wide(a), wide(b))
    with threads(3):
        assert K.gemm(a, b, out_dtype="float32").numpy().tobytes() == out.numpy().tobytes()


@pytest.mark.cpu
def test_the_rest_is_that_of_avx512(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 50, 50)).astype(np.float32)
    results = set()
    for name in ISAS:
        if name.startswith("avx512"):
            with isa(name):
                results.add(K.matmul(a, b).numpy().tobytes() + K.gelu(a).numpy().tobytes())
    assert len(results) <= 1


def test_errors() -> None:
    a, f = K.ones((2, 2), "bfloat16"), K.ones((2, 2))
    with pytest.raises(TypeError, match="matmul: the first operand and the second must have the same dtype, got bfl"):
        K.matmul(a, f)
    with pytest.raises(TypeError, match="linear: bias and input must have the same dtype, got float32 and bfloat16"):
        K.linear(a, a, K.ones((2,)))
    with pytest.raises(TypeError, match="gemm: the result and c must have the same dtype, got bfloat16 and float32"):
        K.gemm(a, a, f)
    with pytest.raises(TypeError, match="gemm: the result and c must have the same dtype, got float32 and bfloat16"):
        K.gemm(a, a, a, out_dtype="float32")
    for x, dtype in ((f, "bfloat16"), (f, "float64"), (a, "float64")):
        with pytest.raises(TypeError, match=f"gemm: a {x.dtype} product cannot be {dtype}"):
            K.gemm(x, x, out_dtype=dtype)


# --- layers ---


def mlp(seed: int = 0) -> nn.Module:
    weft.manual_seed(seed)
    return nn.Sequential(nn.Linear(40, 65), nn.ReLU(), nn.Linear(65, 33), nn.GELU(), nn.Linear(33, 10))


def gradients(model: nn.Module, x: np.ndarray, dout: np.ndarray, dtype: str) -> list[np.ndarray]:
    """The output, then the gradients of the input and of each parameter."""
    tensor = weft.tensor(x, dtype=dtype, requires_grad=True)
    out = model(tensor)
    out.backward(weft.tensor(dout, dtype=dtype))
    arrays = [out, tensor.grad, *(p.grad for p in model.parameters())]
    assert {str(t.dtype) for t in arrays} == {dtype}
    return [wide(t) for t in arrays]


@pytest.mark.parametrize("fused", [True, False])
def test_a_network_trains_in_it(dot_isa: str, rng: np.random.Generator, fused: bool) -> None:
    x, dout = (wide(rounded(rng, *shape)) for shape in ((50, 40), (50, 10)))
    model = mlp().bfloat16()
    exact = mlp()
    for p, q in zip(exact.double().parameters(), model.parameters(), strict=True):
        p.data.copy_(q.data.double())  # the rounded weights
    weft.set_fusion(fused)
    try:
        ours, expected = gradients(model, x, dout, "bfloat16"), gradients(exact, x, dout, "float64")
    finally:
        weft.set_fusion(True)
    for a, e in zip(ours, expected, strict=True):
        # Each activation between the layers is rounded to 8 bits; the largest number carries the scale.
        assert np.abs(a - e).max() <= 2.0**-6 * np.abs(e).max()


def test_gradients_beside_torch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x, w, b, dout = (rounded(rng, *shape) for shape in ((64, 100), (33, 100), (33,), (64, 33)))
    ours = [weft.Tensor(v, True) for v in (x, w, b)]
    theirs = [torch.from_dlpack(on_cpu(v)).clone().requires_grad_() for v in (x, w, b)]
    y = nn.functional.linear(*ours)
    y.backward(weft.Tensor(dout))
    z = torch.nn.functional.linear(*theirs)
    z.backward(torch.from_dlpack(on_cpu(dout)))
    for u, v in zip([y, *(t.grad for t in ours)], [z, *(t.grad for t in theirs)], strict=True):
        a, e = wide(u), v.detach().double().numpy()
        assert (np.abs(a - e) <= 2.0**-7 * np.abs(e) + 1e-4).all()  # each rounded once, so a step apart at most


def test_parameters_and_inputs_must_agree() -> None:
    model = nn.Linear(3, 2).bfloat16()
    with pytest.raises(TypeError, match="linear: input and weight must have the same dtype, got float32 and bfloat16"):
        model(weft.ones(4, 3))
    assert model(weft.ones(4, 3).bfloat16()).dtype == weft.bfloat16
    assert nn.Linear(3, 2).to(weft.bfloat16).float().weight.dtype == weft.float32
