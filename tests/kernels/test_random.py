"""Random numbers: published answers, statistics, and the same bits everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import assert_close, reference, threads

SIZES = [0, 1, 2, 3, 4, 5, 7, 31, 256, 257, 1001, 70_003]


def generator(seed: int = 0) -> K.Generator:
    """On the device that is tested."""
    return K.Generator(seed, K.default_device())


def words(seed: int, offset: int, count: int) -> list[int]:
    """Philox's words, by way of whole uniforms in float64."""
    g = generator()
    g.set_state((seed, offset))
    u = np.asarray(K.uniform(count, dtype="float64", generator=g))
    return [int(v) for v in u * 2.0**32]


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    """Philox4x32-10 in plain integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


# Random123's kat_vectors for philox4x32-10: counter, key, result.
ONES = 0xFFFFFFFF
KNOWN = [
    ((0, 0, 0, 0), (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_the_oracle_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, int], answer: list[int]
) -> None:
    assert philox(counter, key) == answer


def test_published_answer(every_isa: str) -> None:
    assert words(0, 0, 4) == KNOWN[0][2]


@pytest.mark.parametrize("seed", [0, 1, 0x299F31D0A4093822, 2**64 - 1])
@pytest.mark.parametrize("offset", [0, 5, 2**32 - 3, 0x85A308D3243F6A88])
def test_words_of_any_seed_and_block(every_isa: str, seed: int, offset: int) -> None:
    """The library's counter has its high 64 bits at zero."""
    expected = []
    for block in range(offset, offset + 70):
        expected += philox((block & ONES, block >> 32, 0, 0), (seed & ONES, seed >> 32))
    assert words(seed, offset, 277) == expected[:277]


def draws(n: int) -> dict[str, Callable[[Any], Any]]:
    x = np.linspace(-3, 3, n, dtype=np.float32)
    return {
        "uniform": lambda g: K.uniform(n, -2.5, 7.1, generator=g),
        "uniform64": lambda g: K.uniform(n, -2.5, 7.1, dtype="float64", generator=g),
        "bernoulli": lambda g: K.bernoulli(n, 0.3, generator=g),
        "bernoulli_bool": lambda g: K.bernoulli(n, 0.3, dtype="bool", generator=g),
        "bernoulli64": lambda g: K.bernoulli(n, 0.3, dtype="float64", generator=g),
        "randint": lambda g: K.randint(n, -7, 12, generator=g),
        "randint32": lambda g: K.randint(n, -(2**31), 2**31, dtype="int32", generator=g),
        "randint8": lambda g: K.randint(n, 0, 256, dtype="uint8", generator=g),
        "randint_float": lambda g: K.randint(n, 3, 9, dtype="float32", generator=g),
        "dropout": lambda g: K.dropout(x, 0.3, g)[0],
        "dropout_mask": lambda g: K.dropout(x, 0.3, g)[1],
        "dropout64": lambda g: K.dropout(x.astype(np.float64), 0.3, g)[0],
    }


@pytest.mark.parametrize("n", SIZES)
def test_same_bits_as_the_naive_kernels(every_isa: str, n: int) -> None:
    for name, draw in draws(n).items():
        a, b = generator(123456789123), K.Generator(123456789123)
        got, wanted = draw(a), reference(draw, b)
        assert np.asarray(got).tobytes() == np.asarray(wanted).tobytes(), name
        assert a.get_state() == b.get_state()
        assert a.offset == (n + 3) // 4


@pytest.mark.parametrize("n", SIZES)
def test_permutations_by_fisher_and_yates(n: int) -> None:
    g = K.Generator(123456789123)
    drawn = iter(words(123456789123, 0, max(n - 1, 0)))
    expected = np.arange(n)
    for i in range(n - 1, 0, -1):
        j = next(drawn) * (i + 1) >> 32
        expected[[i, j]] = expected[[j, i]]
    assert (np.asarray(K.randperm(n, g)) == expected).all()
    assert g.offset == (max(n - 1, 0) + 3) // 4


@pytest.mark.parametrize("n", SIZES)
def test_normal(every_isa: str, n: int) -> None:
    for dtype in ("float32", "float64"):
        a, b = generator(9), K.Generator(9)
        got = K.normal(n, 2.0, 3.0, dtype=dtype, generator=a)
        assert_close(got, reference(K.normal, n, 2.0, 3.0, dtype=dtype, generator=b), factor=4)
        assert a.offset == (n + 3) // 4


@pytest.mark.parametrize(("dtype", "digest"), [("float32", "fec6c25e30e8e68a"), ("float64", "53f24fb183f64d7c")])
def test_normal_has_the_same_bits_everywhere(every_isa: str, dtype: str, digest: str) -> None:
    """On every instruction set, device and compiler."""
    x = np.asarray(K.normal(4001, 1.5, 0.5, dtype=dtype, generator=generator(5)))
    assert hashlib.sha256(x.tobytes()).hexdigest()[:16] == digest


def test_normal_is_box_muller() -> None:
    w = np.array(words(5, 0, 1000), np.float64)
    u1, u2 = (np.floor(w[0::2] / 256) + 1) / 2**24, np.floor(w[1::2] / 256) / 2**24
    radius, angle = np.sqrt(-2 * np.log(u1)), 2 * np.pi * u2
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
    assert_close(K.normal(1000, generator=generator(5)), z, factor=4)


@pytest.mark.cpu
def test_any_thread_count(every_isa: str) -> None:
    runs = []
    for count in (1, 2, 3, 4, 7):
        g = K.Generator(3)
        with threads(count):
            results = [draw(g) for draw in draws(100_003).values()]
            results.append(K.randperm(100_003, g))
            results.append(K.normal(100_003, generator=g))
        runs.append(b"".join(np.asarray(r).tobytes() for r in results))
    assert len(set(runs)) == 1


def test_uniform_statistics() -> None:
    u = np.asarray(K.uniform(1_000_000, generator=generator(1))).astype(np.float64)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / 1e6)
    counts = np.histogram(u, 100, (0, 1))[0]
    assert ((counts - 1e4) ** 2 / 1e4).sum() < 160  # chi-squared, 99 degrees: 1e-4
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.005


def test_normal_statistics() -> None:
    z = np.asarray(K.normal(1_000_000, generator=generator(2))).astype(np.float64)
    assert abs(z.mean()) < 0.005
    assert abs(z.std() - 1) < 0.005
    assert abs((z**3).mean()) < 0.02
    assert abs((z**4).mean() - 3) < 0.05
    assert abs((np.abs(z) < 1.96).mean() - 0.95) < 0.001
    assert abs((z[0::2] * z[1::2]).mean()) < 0.006


def test_other_statistics() -> None:
    g, of_cpu = generator(4), K.Generator(4)
    assert abs(np.asarray(K.bernoulli(1_000_000, 0.2, generator=g)).mean() - 0.2) < 0.002
    counts = np.bincount(np.asarray(K.randint(1_000_000, 0, 10, generator=g)), minlength=10)
    assert ((counts - 1e5) ** 2 / 1e5).sum() < 34  # chi-squared, 9 degrees: 1e-4
    first = np.array([np.asarray(K.randperm(5, of_cpu))[0] for _ in range(5000)])
    assert ((np.bincount(first) - 1000) ** 2 / 1000).sum() < 24
    out, mask = K.dropout(np.ones(1_000_000, np.float32), 0.3, g)
    assert abs(np.asarray(mask).mean() - 0.7) < 0.002
    assert abs(np.asarray(out).mean() - 1) < 0.004


def test_edges() -> None:
    assert np.asarray(K.bernoulli(1000, 1)).all()
    assert not np.asarray(K.bernoulli(1000, 0)).any()
    assert (np.asarray(K.uniform(10, 3, 3)) == 3).all()
    assert (np.asarray(K.normal(10, 3, 0)) == 3).all()
    assert sorted(np.asarray(K.randperm(1000)).tolist()) == list(range(1000))
    # One step of float32 wide: rounding may not reach the upper end.
    u = np.asarray(K.uniform(10_000, 1, 1 + 2**-22))
    assert u.min() >= 1
    assert u.max() < np.float32(1 + 2**-22)


def test_dropout_keeps_and_scales(every_isa: str, rng: np.random.Generator) -> None:
    x = rng.normal(size=(37, 11)).astype(np.float32)
    for p in (0.0, 0.25, 0.5, 1.0):
        out, mask = K.dropout(x, p, generator(1))
        kept = np.asarray(mask).astype(bool)
        scale = np.float32(1 / (1 - p)) if p < 1 else np.float32(0)
        assert_close(out, np.where(kept, x * scale, 0))
        assert_close(K.dropout_backward(x, mask, p), np.where(kept, x * scale, 0))
        assert kept.all() if p == 0 else kept.any() != (p == 1)


def test_fill_in_place() -> None:
    whole = weft.zeros(6, 8)
    K.fill_uniform(whole[:, ::2], 1.0, 2.0, generator(1))
    assert_close(whole[:, ::2], K.uniform((6, 4), 1.0, 2.0, generator=generator(1)))
    assert not np.asarray(whole[:, 1::2]).any()
    K.fill_normal(whole, 0.0, 1.0, generator(2))
    assert_close(whole, K.normal((6, 8), generator=generator(2)))
    K.fill_bernoulli(whole, 0.5, generator(3))
    assert_close(whole, K.bernoulli((6, 8), 0.5, generator=generator(3)))


def test_generators() -> None:
    g = generator(7)
    assert g.get_state() == (7, 0)
    a = np.asarray(K.uniform(10, generator=g))
    state = g.get_state()
    assert state == (7, 3)
    b = np.asarray(K.uniform(10, generator=g))
    assert (a != b).any()
    g.set_state(state)
    assert (np.asarray(K.uniform(10, generator=g)) == b).all()
    assert (np.asarray(K.uniform(10, generator=g.manual_seed(7))) == a).all()
    assert K.manual_seed(7).seed == 7
    assert (np.asarray(K.uniform(10)) == a).all()
    assert K.default_generator().offset == 3
    assert K.Generator(-1).seed == 2**64 - 1


def test_errors() -> None:
    with pytest.raises(TypeError, match="uniform: out must be float32 or float64, got int64"):
        K.uniform(3, dtype="int64")
    with pytest.raises(ValueError, match="uniform: low must be at most high, both finite, got 2 and 1"):
        K.uniform(3, 2, 1)
    with pytest.raises(ValueError, match="uniform: low must be at most high, both finite"):
        K.uniform(3, 0, float("inf"))
    with pytest.raises(ValueError, match="normal: mean must be finite and std finite and not negative"):
        K.normal(3, 0, -1)
    with pytest.raises(ValueError, match="bernoulli: p must be from 0 to 1, got 1.5"):
        K.bernoulli(3, 1.5)
    with pytest.raises(ValueError, match="bernoulli: p must be from 0 to 1, got nan"):
        K.bernoulli(3, float("nan"))
    with pytest.raises(ValueError, match="randint: low must be below high, got 3 and 3"):
        K.randint(3, 3, 3)
    with pytest.raises(ValueError, match="randint: uint8 does not hold all integers from 0 to 257"):
        K.randint(3, 0, 257, dtype="uint8")
    with pytest.raises(ValueError, match=r"randint: high - low must be at most 2\^32"):
        K.randint(3, 0, 2**40)
    with pytest.raises(ValueError, match="randperm: n must be from 0"):
        K.randperm(-1)
    with pytest.raises(ValueError, match="manual_seed: the seed must lie between"):
        K.Generator(2**64)
    with pytest.raises(ValueError, match="dropout: p must be from 0 to 1, got -0.1"):
        K.dropout(np.ones(3), -0.1)
    with pytest.raises(TypeError, match="dropout: input must be float32 or float64, got int64"):
        K.dropout(np.arange(3), 0.5)
    with pytest.raises(ValueError, match=r"dropout_backward: dout \(3,\) and mask \(2,\) must have the same"):
        K.dropout_backward(np.ones(3), np.ones(2, np.uint8), 0.5)
    with pytest.raises(TypeError, match="dropout_backward: mask must be uint8, got bool"):
        K.dropout_backward(np.ones(3), np.ones(3, bool), 0.5)


@pytest.mark.cpu
def test_read_only_memory() -> None:
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="uniform: the output array is read-only"):
        K.fill_uniform(frozen, 0.0, 1.0)
