"""Rows of products of matrices and of convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import weft.kernels as K
from bench.cases import shapes
from bench.device import peer
from bench.device.arrays import normal
from bench.device.case import Case, Entry
from bench.measure import Row, Run

LAST = K.MemoryFormat.channels_last


def pair(ours: Callable[..., object], theirs: Callable[[Any], Callable[..., object]], *inputs: Any) -> list[Entry]:
    """Our function, and the one that `theirs` picks from torch, on the same arrays."""
    return [
        Entry("weft", lambda: partial(ours, *inputs)),
        Entry("torch eager", lambda: partial(theirs(peer.torch), *(peer.view(x) for x in inputs))),
    ]


# --- products ---


def sgemm(n: int) -> Case:
    row = Row("gemm", "sgemm", f"{n}x{n}x{n}", flop=2.0 * n**3, bytes=12.0 * n * n, figure=0.9)
    return Case(row, lambda: pair(K.matmul, lambda t: t.mm, normal(n, n), normal(n, n, seed=1)), tolerance=1e-4)


def bfloat16(n: int) -> Case:
    """A linear layer's: both operands have neighbours along K. The limit of the tensor cores isn't measured."""
    row = Row("products", "linear, bfloat16", f"{n}x{n}x{n}", flop=2.0 * n**3, bytes=6.0 * n * n, peak=0.0)

    def entries() -> list[Entry]:
        a, b = (K.cast(normal(n, n, seed=i), "bfloat16") for i in range(2))
        return pair(K.linear, lambda t: t.nn.functional.linear, a, b)

    return Case(row, entries, tolerance=1e-2)


def float64(n: int) -> Case:
    row = Row("products", "gemm, float64", f"{n}x{n}x{n}", flop=2.0 * n**3, bytes=24.0 * n * n, peak=0.0)

    def entries() -> list[Entry]:
        a, b = (K.cast(normal(n, n, seed=i), "float64") for i in range(2))
        return pair(K.matmul, lambda t: t.mm, a, b)

    return Case(row, entries, tolerance=1e-10)


def thin(n: int, transposed: bool) -> Case:
    name = "linear, one row" if transposed else "gemm, one row"
    row = Row("products", name, f"1x{n}x{n}", flop=2.0 * n**2, bytes=4.0 * n * n)

    def entries() -> list[Entry]:
        ours, x, w = K.linear if transposed else K.matmul, normal(1, n), normal(n, n, seed=1)
        return pair(ours, lambda t: t.nn.functional.linear if transposed else t.mm, x, w)

    return Case(row, entries, tolerance=1e-4, copied=True)


def linear_backward(batch: int, wide: int, narrow: int) -> Case:
    """dx, dw and db of a layer with ReLU."""
    flop, moved = 4.0 * batch * wide * narrow, 4.0 * (2 * wide * narrow + 2 * batch * (wide + narrow))
    row = Row("small", f"linear {wide}->{narrow} + ReLU, backward", f"batch {batch}", flop=flop, bytes=moved)

    def theirs(t: Any) -> Callable[..., object]:
        def run(dout: Any, x: Any, w: Any, y: Any) -> object:
            g = t.ops.aten.threshold_backward(dout, y, 0)
            return g.mm(w), g.t().mm(x), g.sum(0)

        return run

    def entries() -> list[Entry]:
        x, w, dout = normal(batch, wide), normal(narrow, wide, seed=1), normal(batch, narrow, seed=2)
        y = K.linear(x, w, None, "relu")
        return pair(lambda *given: K.linear_backward(*given, "relu"), theirs, dout, x, w, y)

    return Case(row, entries, tolerance=1e-4)


# --- convolutions ---

# ResNet-50's at batch 32 (He, Zhang, Ren, Sun 2016, table 1), one of each kind; most of its time is in the first ones.
RESNET_50 = [
    shapes.Conv("ResNet-50", 32, 64, 64, 56, 3, padding=1),
    shapes.Conv("ResNet-50", 32, 128, 128, 28, 3, padding=1),
    shapes.Conv("ResNet-50", 32, 256, 256, 14, 3, padding=1),
    shapes.Conv("ResNet-50", 32, 512, 512, 7, 3, padding=1),
    shapes.Conv("ResNet-50", 32, 256, 256, 28, 3, stride=2, padding=1),
    shapes.Conv("ResNet-50", 32, 64, 256, 56, 1),
    shapes.Conv("ResNet-50", 32, 256, 64, 56, 1),
    shapes.Conv("ResNet-50", 32, 256, 512, 56, 1, stride=2),
    shapes.Conv("ResNet-50", 32, 512, 2048, 7, 1),
    shapes.Conv("ResNet-50", 32, 3, 64, 224, 7, stride=2, padding=3),
]
OTHERS = [
    shapes.Conv("LeNet", 64, 1, 6, 28, 5, padding=2),
    shapes.Conv("LeNet", 64, 6, 16, 14, 5),
    shapes.Conv("MobileNet", 32, 128, 128, 56, 3, padding=1, groups=128),
]
WAYS = ("forward", "dx", "dw")


def our_convolution(layer: shapes.Conv, way: str, x: K.Array, w: K.Array, dout: K.Array) -> Run:
    options: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    runs: dict[str, Run] = {
        "forward": lambda: K.conv2d(x, w, None, **options),
        "dx": lambda: K.conv2d_backward_input(dout, w, x.shape, **options),
        "dw": lambda: K.conv2d_backward_weight(dout, x, w.shape, **options, bias=False),
    }
    return runs[way]


def their_convolution(layer: shapes.Conv, way: str, last: bool, *given: K.Array) -> Run:
    torch = peer.torch
    x, w, dout = (peer.view(array) for array in given)
    if last:
        x, w, dout = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, w, dout))
    stride, padding, groups = [layer.stride] * 2, [layer.padding] * 2, layer.groups

    def backward(wanted: list[bool]) -> Run:
        return lambda: torch.ops.aten.convolution_backward(
            dout, x, w, None, stride, padding, [1, 1], False, [0, 0], groups, wanted
        )[wanted.index(True)]

    runs: dict[str, Run] = {
        "forward": lambda: torch.conv2d(x, w, None, stride, padding, 1, groups),
        "dx": backward([True, False, False]),
        "dw": backward([False, True, False]),
    }
    return runs[way]


def convolution(layer: shapes.Conv, way: str, figure: float | None) -> Case:
    """Both libraries in both orders of memory; of each, the better one counts."""

    def entries() -> list[Entry]:
        x, w = normal(layer.batch, layer.c, layer.size, layer.size), normal(
            layer.k, layer.c // layer.groups, layer.kernel, layer.kernel, seed=1
        )  # fmt: skip
        dout = normal(layer.batch, layer.k, layer.out, layer.out, seed=2)

        def ours(last: bool) -> Run:
            return our_convolution(
                layer, way, *((x.contiguous(LAST), w, dout.contiguous(LAST)) if last else (x, w, dout))
            )

        orders = (("contiguous", False), ("channels_last", True))
        return [
            *(Entry(f"weft {name}", partial(ours, last)) for name, last in orders),
            *(Entry(f"torch cuDNN {name}", partial(their_convolution, layer, way, last, x, w, dout))
              for name, last in orders),
        ]  # fmt: skip

    weights = layer.k * layer.c // layer.groups * layer.kernel**2
    images = layer.batch * (layer.c * layer.size**2 + layer.k * layer.out**2)
    row = Row(
        "conv2d", f"{layer.net} {layer.kernel}x{layer.kernel} s{layer.stride} {layer.c}->{layer.k}, {way}",
        f"{layer.batch}x{layer.size}x{layer.size}", flop=2.0 * weights * layer.batch * layer.out**2,
        bytes=4.0 * (images + weights), figure=figure,
    )  # fmt: skip
    return Case(row, entries, tolerance=1e-3)


def smaller(layer: shapes.Conv) -> shapes.Conv:
    return layer._replace(
        batch=1, size=max(layer.kernel, layer.size // 14), c=min(layer.c, 8), k=min(layer.k, 8),
        groups=min(layer.groups, 8),
    )  # fmt: skip


def convolutions(layers: Sequence[shapes.Conv], quick: bool, figure: float | None) -> Iterator[Case]:
    """Every layer's forward before any gradient."""
    for way in WAYS:
        for layer in layers:
            yield convolution(smaller(layer) if quick else layer, way, figure)


def fused(layer: shapes.Conv, backward: bool) -> Case:
    """Convolution, bias, ReLU and 2x2 max-pooling in one kernel; PyTorch's are three or four. Nobody asks for the
    gradient of a network's images."""
    need_x = layer.c > 1

    def entries() -> list[Entry]:
        x, w = normal(layer.batch, layer.c, layer.size, layer.size), normal(
            layer.k, layer.c, layer.kernel, layer.kernel, seed=1
        )  # fmt: skip
        b = normal(layer.k, seed=2)
        options = (2, layer.stride, layer.padding)
        out, winner = K.conv2d_relu_max_pool2d(x, w, b, *options)
        dout = normal(*out.shape, seed=3)

        def theirs() -> Run:
            torch = peer.torch
            tensors = [peer.view(a).clone() for a in (x, w, b)]
            wanted = tensors[0 if need_x else 1 :]
            for tensor in wanted:
                tensor.requires_grad_(backward)

            def forward() -> Any:
                convolved = torch.conv2d(*tensors, layer.stride, layer.padding)
                return torch.nn.functional.max_pool2d(torch.relu(convolved), 2)

            if not backward:
                return forward
            made, gradient = forward(), peer.view(dout)
            return lambda: torch.autograd.grad(made, wanted, gradient, retain_graph=True)

        def ours() -> Run:
            if backward:
                return lambda: K.conv2d_relu_max_pool2d_backward(dout, winner, x, w, *options, need_x=need_x)
            return lambda: K.conv2d_relu_max_pool2d(x, w, b, *options)

        return [Entry("weft", ours), Entry("torch eager", theirs)]

    multiplied = layer.batch * layer.k * layer.out**2 * layer.c * layer.kernel**2
    images = layer.batch * (layer.c * layer.size**2 + layer.k * layer.out**2 // 4)
    name = f"{layer.net} {layer.kernel}x{layer.kernel} {layer.c}->{layer.k} + bias + ReLU + max-pool"
    row = Row("small", f"{name}, {'backward' if backward else 'forward'}", f"batch {layer.batch}",
              flop=2.0 * multiplied * (2 if backward else 1), bytes=4.0 * images * (2 if backward else 1))  # fmt: skip
    return Case(row, entries, tolerance=1e-3)
