"""Single operations over the shapes that real networks have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import weft.kernels as K
from bench import peers
from bench.measure import Contestant, Row

Plan = tuple[Row, Callable[[], list[Contestant]]]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def pair(ours: Callable[[], object], theirs: Callable[[Any], Callable[[], object]] | None) -> list[Contestant]:
    """weft and, where it is installed, PyTorch; `theirs` gets the module torch."""
    contestants = [Contestant("weft", ours)]
    if peers.have_torch() and theirs is not None:
        contestants.append(Contestant("torch eager", theirs(peers.torch)))
    return contestants


def gemm(m: int, n: int, k: int) -> Plan:
    def contestants() -> list[Contestant]:
        a, b = normal(m, k), normal(k, n)
        x, y = K.asarray(a), K.asarray(b)

        def theirs(torch: Any) -> Callable[[], object]:
            p, q = torch.from_numpy(a), torch.from_numpy(b)
            return lambda: p @ q

        return [*pair(lambda: K.matmul(x, y), theirs), Contestant("numpy", lambda: a @ b)]

    return Row("ops", "gemm", f"{m}x{n}x{k}", flop=2 * m * n * k), contestants


def conv2d(batch: int, c: int, k: int, size: int, kernel: int, stride: int, padding: int, backward: bool) -> Plan:
    out = (size + 2 * padding - kernel) // stride + 1
    flop = 2 * batch * k * out * out * c * kernel * kernel * (2 if backward else 1)

    def contestants() -> list[Contestant]:
        x, w, b = normal(batch, c, size, size), normal(k, c, kernel, kernel), normal(k)
        dout = normal(batch, k, out, out)
        ax, aw, ab, ad = (K.asarray(v) for v in (x, w, b, dout))

        def forward() -> object:
            return K.conv2d(ax, aw, ab, stride, padding)

        def gradients() -> object:
            return (
                K.conv2d_backward_input(ad, aw, x.shape, stride, padding),
                K.conv2d_backward_weight(ad, ax, w.shape, stride, padding, bias=True),
            )

        def theirs(torch: Any) -> Callable[[], object]:
            p, q, r, d = (torch.from_numpy(v) for v in (x, w, b, dout))
            convolution = torch.ops.aten.convolution_backward
            if not backward:
                return lambda: torch.nn.functional.conv2d(p, q, r, stride, padding)
            pair_of = [stride] * 2, [padding] * 2, [1, 1]
            return lambda: convolution(d, p, q, [k], *pair_of, False, [0, 0], 1, [True, True, True])

        return pair(gradients if backward else forward, theirs)

    name = f"conv2d {kernel}x{kernel} {c}->{k}" + (f" stride {stride}" if stride > 1 else "")
    row = Row("ops", f"{name}, {'backward' if backward else 'forward'}", f"{batch}x{size}x{size}", flop=flop)
    return row, contestants


def pointwise(name: str, theirs_name: str, *shape: int) -> Plan:
    def contestants() -> list[Contestant]:
        x = normal(*shape)
        a = K.asarray(x)

        def theirs(torch: Any) -> Callable[[], object]:
            p = torch.from_numpy(x)
            function = getattr(torch.nn.functional, theirs_name, None) or getattr(torch, theirs_name)
            return lambda: function(p)

        return pair(lambda: getattr(K, name)(a), theirs)

    size = 8 * int(np.prod(shape))
    return Row("ops", name, "x".join(map(str, shape)), bytes=size), contestants


def pool(name: str, *shape: int) -> Plan:
    def contestants() -> list[Contestant]:
        x = normal(*shape)
        a = K.asarray(x)

        def theirs(torch: Any) -> Callable[[], object]:
            p = torch.from_numpy(x)
            return lambda: getattr(torch.nn.functional, name)(p, 2)

        return pair(lambda: getattr(K, name)(a, 2), theirs)

    size = 5 * int(np.prod(shape))
    return Row("ops", f"{name} 2x2", "x".join(map(str, shape)), bytes=size), contestants


def cross_entropy(batch: int, classes: int) -> Plan:
    def contestants() -> list[Contestant]:
        x, t = normal(batch, classes), np.arange(batch) % classes
        a, y, one = K.asarray(x), K.asarray(t), K.asarray(np.float32(1))

        def ours() -> object:
            _, lse, total = K.cross_entropy(a, y)
            return K.cross_entropy_backward(one, a, y, lse, total)

        def theirs(torch: Any) -> Callable[[], object]:
            p, q = torch.from_numpy(x).requires_grad_(), torch.from_numpy(t)
            return lambda: torch.autograd.grad(torch.nn.functional.cross_entropy(p, q), p)

        return pair(ours, theirs)

    return Row("ops", "cross_entropy, both ways", f"{batch}x{classes}", bytes=16 * batch * classes), contestants


def rows(quick: bool, modes: list[str]) -> Iterator[Plan]:
    sizes = [256, 512] if quick else [256, 512, 1024, 2048]
    yield gemm(64, 120, 400)
    for size in sizes:
        yield gemm(size, size, size)
    yield gemm(1, 4096, 4096)
    layers = [(64, 1, 6, 28, 5, 1, 2), (64, 6, 16, 14, 5, 1, 0)]
    if not quick:
        layers += [(32, 64, 64, 32, 3, 1, 1), (32, 256, 256, 8, 3, 1, 1), (8, 3, 64, 224, 7, 2, 3),
                   (8, 64, 256, 56, 1, 1, 0)]  # fmt: skip
    for layer in layers:
        for backward in (False, True):
            yield conv2d(*layer, backward=backward)
    shape = (16, 16, 56, 56) if quick else (64, 64, 56, 56)
    for name in ("relu", "gelu", "sigmoid", "tanh"):
        yield pointwise(name, name, *shape)
    for name in ("max_pool2d", "avg_pool2d"):
        yield pool(name, *shape)
    yield cross_entropy(1024, 1000)
