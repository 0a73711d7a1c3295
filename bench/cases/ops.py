"""Single operations over the shapes of shapes.py, but for convolutions (convolutions.py) and what memory.py has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import weft.kernels as K
from bench.cases import convolutions, memory, shapes
from bench.cases.convolutions import normal
from bench.cases.memory import simple, text
from bench.measure import Case, Contestant, Row, Run, in_turn, sets
from bench.peers import chosen, jax_peer, torch_peer


def gemm(size: shapes.Gemm) -> Case:
    m, n, k = size.m, size.n, size.k

    def contestants(modes: list[str]) -> list[Contestant]:
        a, b = normal(m, k), normal(k, n)
        found = [Contestant("weft", partial(K.matmul, K.asarray(a), K.asarray(b)))]
        if chosen.have("torch"):
            p, q = chosen.torch.from_numpy(a), chosen.torch.from_numpy(b)
            found.append(Contestant("torch eager", partial(chosen.torch.mm, p, q)))
        if chosen.have("numpy"):
            found.append(Contestant("numpy", partial(np.matmul, a, b)))
        return found + chosen.jax_runs(lambda: jax_peer.waiting(chosen.jax.numpy.matmul, a, b))

    moved = 4.0 * (m * k + k * n + m * n)
    row = Row("ops", "gemm", f"{m}x{n}x{k}", flop=2.0 * m * n * k, bytes=moved, figure=size.figure)
    return Case(row, contestants)


def gemm_bfloat16(size: shapes.Gemm) -> Case:
    """The same with bfloat16 in and out, summed in float32. The dot product of pairs doubles the peak."""
    m, n, k = size.m, size.n, size.k

    def contestants(modes: list[str]) -> list[Contestant]:
        a, b = (K.cast(normal(*shape), "bfloat16") for shape in ((m, k), (n, k)))
        found = [Contestant("weft", partial(K.linear, a, b))]
        if chosen.have("torch"):
            p, q = chosen.torch.from_dlpack(a), chosen.torch.from_dlpack(b)
            found.append(Contestant("torch eager", partial(chosen.torch.nn.functional.linear, p, q)))
        return found

    peak = 2.0 if K.isa() == "avx512bf16" else 1.0
    moved = 2.0 * (m * k + k * n + m * n)
    name, shape = "linear, bfloat16", f"{m}x{n}x{k}"
    return Case(Row("ops", name, shape, flop=2.0 * m * n * k, bytes=moved, figure=size.figure, peak=peak), contestants)


def pointwise(
    name: str, function: Callable[..., object], theirs: Callable[[Any], Callable[..., Any]], shape: tuple[int, ...],
    inputs: int = 1, moved: float = 8.0, figure: float | None = None,
) -> Case:  # fmt: skip
    """`function` of weft, and what `theirs` picks from torch, on `inputs` arrays; `moved` bytes for each element."""

    def contestants(modes: list[str]) -> list[Contestant]:
        copies = sets(moved * math.prod(shape))
        arrays = [normal(*shape) for _ in range(inputs)]
        ours = [[K.asarray(array.copy()) for array in arrays] for _ in range(copies)]
        runs = in_turn([partial(function, *each) for each in ours])

        def make(mode: str) -> Run | None:
            return simple(theirs(chosen.torch), mode, *arrays, copies=copies)

        return [Contestant("weft", runs), *chosen.torch_runs(modes, make)]

    elements = math.prod(shape)
    row = Row("ops", name, text(shape), flop=elements, bytes=moved * elements, figure=figure)
    return Case(row, contestants)


def activation_backward(kind: str, shape: tuple[int, ...]) -> Case:
    def contestants(modes: list[str]) -> list[Contestant]:
        x, dout = normal(*shape), normal(*shape)
        saved = np.asarray(getattr(K, kind)(x)) if kind != "gelu" else x
        ours = partial(K.activation_backward, kind, K.asarray(dout), K.asarray(saved))

        def make(mode: str) -> Run | None:
            if mode == "compile":
                return None
            d, s = torch_peer.in_format(mode, dout), torch_peer.in_format(mode, saved)
            aten = chosen.torch.ops.aten
            if kind == "relu":
                return lambda: aten.threshold_backward(d, s, 0)
            function = {"gelu": aten.gelu_backward, "sigmoid": aten.sigmoid_backward, "tanh": aten.tanh_backward}[kind]
            return lambda: function(d, s)

        return [Contestant("weft", ours), *chosen.torch_runs(modes, make)]

    elements = math.prod(shape)
    return Case(Row("ops", f"{kind}, backward", text(shape), flop=elements, bytes=12.0 * elements), contestants)


def pool_backward(name: str, shape: tuple[int, ...]) -> Case:
    def contestants(modes: list[str]) -> list[Contestant]:
        x = K.asarray(normal(*shape))
        dout = normal(*shape[:2], shape[2] // 2, shape[3] // 2)
        ddout = K.asarray(dout)
        if name == "max_pool2d":
            _, index = K.max_pool2d(x, 2)
            ours = partial(K.max_pool2d_backward, ddout, index, shape)
        else:
            ours = partial(K.avg_pool2d_backward, ddout, shape, 2)

        def make(mode: str) -> Run | None:
            if mode == "compile":
                return None
            t, d = torch_peer.in_format(mode, np.asarray(x)).requires_grad_(), torch_peer.in_format(mode, dout)
            out = getattr(chosen.torch.nn.functional, name)(t, 2)
            return lambda: chosen.torch.autograd.grad(out, t, d, retain_graph=True)

        return [Contestant("weft", ours), *chosen.torch_runs(modes, make)]

    elements = math.prod(shape)
    moved = elements * (4 + (2 if name == "max_pool2d" else 1))  # dx, a quarter of dout and of the indices
    return Case(Row("ops", f"{name} 2x2, backward", text(shape), flop=elements / 4, bytes=moved), contestants)


def cross_entropy(batch: int, classes: int, figure: float | None) -> Case:
    def contestants(modes: list[str]) -> list[Contestant]:
        copies = sets(8.0 * batch * classes)
        logits, target = normal(batch, classes), np.arange(batch) % classes
        one, y = K.asarray(np.float32(1)), K.asarray(target)

        def ours(x: Any) -> object:
            loss, dlogits = K.cross_entropy(x, y, need_grad=True)
            return loss, K.cross_entropy_backward(one, dlogits, in_place=True)

        def make(mode: str) -> Run | None:
            torch = chosen.torch
            if mode == "channels_last":
                return None
            t = torch.from_numpy(target)
            inputs = [torch.from_numpy(logits.copy()).requires_grad_() for _ in range(copies)]

            def both(x: Any) -> Any:
                return torch.nn.functional.cross_entropy(x, t)

            function = torch_peer.compiled(both, inputs[0]) if mode == "compile" else both
            if function is None:
                return None
            return in_turn([lambda x=x: torch.autograd.grad(function(x), x) for x in inputs])

        ours_in_turn = in_turn([partial(ours, K.asarray(logits.copy())) for _ in range(copies)])
        return [Contestant("weft", ours_in_turn), *chosen.torch_runs(modes, make)]

    elements = float(batch * classes)
    name = "softmax cross-entropy, forward and backward"
    # Logits in, gradient out; exp, sums and differences are six operations for each logit.
    row = Row("ops", name, f"{batch}x{classes}", flop=6 * elements, bytes=8 * elements, figure=figure)
    return Case(row, contestants)


def memory_bound(quick: bool) -> Iterator[Case]:
    large = shapes.QUICK_IMAGES if quick else shapes.LARGE_IMAGES
    figure = None if quick else shapes.ACTIVATION_FIGURE
    pools = {  # bytes for each element: the maximum and its index, 4 each, for a quarter of the positions
        "max_pool2d": (6.0, K.max_pool2d, lambda torch: partial(torch.nn.functional.max_pool2d, kernel_size=2)),
        "avg_pool2d": (5.0, K.avg_pool2d, lambda torch: partial(torch.nn.functional.avg_pool2d, kernel_size=2)),
    }
    activations = {
        "relu": lambda torch: torch.relu,
        "gelu": lambda torch: torch.nn.functional.gelu,
        "sigmoid": lambda torch: torch.sigmoid,
        "tanh": lambda torch: torch.tanh,
    }
    for shape, wanted in ((large, figure), (shapes.LENET_IMAGES, None)):
        for kind, theirs in activations.items():
            yield pointwise(kind, getattr(K, kind), theirs, shape, figure=wanted)
        for kind, (moved, ours, theirs) in pools.items():
            run = partial(ours, kernel_size=2)
            yield pointwise(f"{kind} 2x2", run, theirs, shape, moved=moved, figure=wanted)
    for kind in ("relu", "gelu"):
        yield activation_backward(kind, large)
    for kind in pools:
        yield pool_backward(kind, large)
    yield pointwise("add", K.add, lambda torch: torch.add, large, inputs=2, moved=12.0)
    yield pointwise("sum", K.sum, lambda torch: torch.sum, large, moved=4.0)
    yield pointwise("softmax", K.softmax, lambda torch: partial(torch.softmax, dim=-1), (1024, 1000))


def cases(quick: bool) -> Iterator[Case]:
    for size in shapes.GEMMS:
        if size.quick or not quick:
            yield gemm(size)
    for size in shapes.GEMMS_BFLOAT16:
        if size.quick or not quick:
            yield gemm_bfloat16(size)
    yield from convolutions.cases(quick)
    yield from memory_bound(quick)
    for batch, classes, figure in shapes.LOGITS:
        yield cross_entropy(batch, classes, figure)
    yield from memory.cases(quick)
