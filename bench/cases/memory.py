"""Operations that memory bounds, beside those in ops.py: normalization, losses, reductions, optimizers, copies."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import weft.kernels as K
from bench.cases import shapes
from bench.cases.convolutions import normal
from bench.measure import Case, Contestant, Row, Run, in_turn, sets
from bench.peers import chosen, torch_peer

Ours = Callable[..., object]
Theirs = Callable[..., Callable[..., Any]]  # given torch, the function of the same arrays


def text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def simple(function: Callable[..., object], mode: str, *inputs: np.ndarray, copies: int = 1) -> Run | None:
    """A PyTorch function of arrays in one mode, each run on the next of `copies` copies of its inputs."""
    theirs = [[torch_peer.in_format(mode, array.copy()) for array in inputs] for _ in range(copies)]
    if mode == "channels_last" and inputs[0].ndim != 4:
        return None
    chosen = torch_peer.compiled(function, *theirs[0]) if mode == "compile" else function
    if chosen is None:
        return None
    return in_turn([partial(chosen, *each) for each in theirs])


def row(name: str, arrays: Callable[[], list[np.ndarray]], ours: Ours, theirs: Theirs, shape: tuple[int, ...],
        moved: float, figure: float | None = None) -> Case:  # fmt: skip
    """A function of `arrays`, the first of which has `shape`; `moved` bytes for each of its elements."""
    elements = math.prod(shape)

    def contestants(modes: list[str]) -> list[Contestant]:
        copies = sets(moved * elements)
        given = arrays()
        runs = [partial(ours, *[K.asarray(array.copy()) for array in given]) for _ in range(copies)]

        def make(mode: str) -> Run | None:
            return simple(theirs(chosen.torch), mode, *given, copies=copies)

        return [Contestant("weft", in_turn(runs)), *chosen.torch_runs(modes, make)]

    return Case(Row("ops", name, text(shape), flop=elements, bytes=moved * elements, figure=figure), contestants)


def batch_norm(shape: tuple[int, ...]) -> Iterator[Case]:
    channels = shape[1]

    def forward(x: Any) -> object:
        return K.batch_norm(x, one, zero, training=True)

    def backward(dout: Any, x: Any) -> object:
        return K.batch_norm_backward(dout, x, zero, one, one, zero)

    one, zero = K.asarray(np.ones(channels, np.float32)), K.asarray(np.zeros(channels, np.float32))

    def torch_forward(torch: Any) -> Callable[..., Any]:
        w, b = torch.ones(channels), torch.zeros(channels)
        return lambda x: torch.ops.aten.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)

    def torch_backward(torch: Any) -> Callable[..., Any]:
        w, b = torch.ones(channels), torch.zeros(channels)
        function = torch.ops.aten.native_batch_norm_backward
        return lambda dout, x: function(dout, x, w, None, None, b, w, True, 1e-5, [True, True, True])

    yield row("batch_norm, training", lambda: [normal(*shape)], forward, torch_forward, shape, 8.0)
    yield row("batch_norm, backward", lambda: [normal(*shape)] * 2, backward, torch_backward, shape, 12.0)


def layer_norm(shape: tuple[int, ...]) -> Iterator[Case]:
    width = shape[-1]
    one, zero = K.asarray(np.ones(width, np.float32)), K.asarray(np.zeros(width, np.float32))
    rows = math.prod(shape[:-1])
    means, scales = K.asarray(np.zeros(rows, np.float32)), K.asarray(np.ones(rows, np.float32))

    def backward(dout: Any, x: Any) -> object:
        return K.layer_norm_backward(dout, x, width, means, scales, one)

    def torch_forward(torch: Any) -> Callable[..., Any]:
        w, b = torch.ones(width), torch.zeros(width)
        return lambda x: torch.ops.aten.native_layer_norm(x, [width], w, b, 1e-5)

    def torch_backward(torch: Any) -> Callable[..., Any]:
        w, b = torch.ones(width), torch.zeros(width)
        mean, scale = torch.zeros(*shape[:-1], 1), torch.ones(*shape[:-1], 1)
        function = torch.ops.aten.native_layer_norm_backward
        return lambda dout, x: function(dout, x, [width], mean, scale, w, b, [True, True, True])

    yield row("layer_norm", lambda: [normal(*shape)], lambda x: K.layer_norm(x, width, one, zero), torch_forward,
              shape, 8.0)  # fmt: skip
    yield row("layer_norm, backward", lambda: [normal(*shape)] * 2, backward, torch_backward, shape, 12.0)


def group_norm(groups: int, shape: tuple[int, ...]) -> Iterator[Case]:
    n, c, *_ = shape
    one, zero = K.asarray(np.ones(c, np.float32)), K.asarray(np.zeros(c, np.float32))
    means, scales = K.asarray(np.zeros(n * groups, np.float32)), K.asarray(np.ones(n * groups, np.float32))

    def torch_forward(torch: Any) -> Callable[..., Any]:
        w, b = torch.ones(c), torch.zeros(c)
        return lambda x: torch.nn.functional.group_norm(x, groups, w, b)

    def torch_backward(torch: Any) -> Callable[..., Any]:
        w, mean, scale = torch.ones(c), torch.zeros(n, groups), torch.ones(n, groups)
        function, places = torch.ops.aten.native_group_norm_backward, math.prod(shape[2:])
        return lambda dout, x: function(dout, x, mean, scale, w, n, c, places, groups, [True, True, True])

    def backward(dout: Any, x: Any) -> object:
        return K.group_norm_backward(dout, x, groups, means, scales, one)

    yield row(f"group_norm of {groups}", lambda: [normal(*shape)], lambda x: K.group_norm(x, groups, one, zero),
              torch_forward, shape, 8.0)  # fmt: skip
    yield row(f"group_norm of {groups}, backward", lambda: [normal(*shape)] * 2, backward, torch_backward, shape, 12.0)


def norms(quick: bool) -> Iterator[Case]:
    for shape in shapes.BATCH_NORMS[: 1 if quick else None]:
        yield from batch_norm(shape)
    for rows in shapes.LAYER_NORMS[: 1 if quick else None]:
        yield from layer_norm(rows)
    for groups, shape in shapes.GROUP_NORMS[: 1 if quick else None]:
        yield from group_norm(groups, shape)


def reductions(quick: bool) -> Iterator[Case]:
    kinds = ["sum", "mean", "max", "argmax", "var"]
    torch_names = {"max": "amax"}
    for axis, shape in shapes.REDUCTIONS[: 2 if quick else None]:
        for kind in kinds:

            def ours(x: Any, kind: str = kind, axis: int = axis) -> object:
                return getattr(K, kind)(x, axis)

            def theirs(torch: Any, kind: str = kind, axis: int = axis) -> Callable[..., Any]:
                return partial(getattr(torch, torch_names.get(kind, kind)), dim=axis)

            yield row(f"{kind} over axis {axis}", partial(lambda s: [normal(*s)], shape), ours, theirs, shape, 4.0)


def losses() -> Iterator[Case]:
    shape = (1024, 1000)
    for name in ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy"):

        def theirs(torch: Any, name: str = name) -> Callable[..., Any]:
            return getattr(torch.nn.functional, name)  # type: ignore[no-any-return]

        def inputs() -> list[np.ndarray]:
            return [np.random.default_rng(i).uniform(0.01, 0.99, shape).astype(np.float32) for i in range(2)]

        yield row(name, inputs, getattr(K, name), theirs, shape, 8.0)


def copies(quick: bool) -> Iterator[Case]:
    shape = shapes.QUICK_IMAGES if quick else shapes.LARGE_IMAGES
    channels = (1, shape[1], 1, 1)

    def one() -> list[np.ndarray]:
        return [normal(*shape)]

    def mask() -> list[np.ndarray]:
        return [normal(*shape) > 0, normal(*shape), normal(*shape)]

    yield row("copy", one, K.copy, lambda torch: torch.clone, shape, 8.0)
    yield row("cast to float64", one, lambda x: K.cast(x, "float64"), lambda torch: lambda x: x.double(), shape, 12.0)
    yield row("cast from uint8", lambda: [normal(*shape).astype(np.uint8)], lambda x: K.cast(x, "float32"),
              lambda torch: lambda x: x.float(), shape, 5.0)  # fmt: skip
    yield row("where", mask, K.where, lambda torch: torch.where, shape, 13.0)
    yield row("add, a value a channel", lambda: [normal(*shape), normal(*channels)], K.add, lambda torch: torch.add,
              shape, 8.0)  # fmt: skip
    yield row("multiply, a value an element of a row", lambda: [normal(4096, 4096), normal(4096)], K.mul,
              lambda torch: torch.mul, (4096, 4096), 8.0)  # fmt: skip
    yield row("concatenation of channels", lambda: [normal(*shape)] * 2, lambda a, b: K.cat([a, b], 1),
              lambda torch: lambda a, b: torch.cat([a, b], 1), shape, 16.0)  # fmt: skip
    yield row("transpose", lambda: [normal(2048, 4096)], lambda x: K.copy(x.permute([1, 0])),
              lambda torch: lambda x: x.t().contiguous(), (2048, 4096), 8.0)  # fmt: skip


OPTIMIZERS: dict[str, tuple[float, int, Any, dict[str, Any]]] = {  # bytes an element, state buffers, options
    "SGD": (12.0, 0, K.sgd_step, {}),
    "SGD with momentum": (20.0, 1, K.sgd_step, {"momentum": 0.9}),
    "Adam": (28.0, 2, K.adam_step, {}),
    "AdamW": (28.0, 2, K.adam_step, {"weight_decay": 0.01, "decoupled": True}),
    "RMSprop": (20.0, 1, K.rmsprop_step, {}),
    "Adagrad": (20.0, 1, K.adagrad_step, {}),
}


def optimizer(name: str) -> Case:
    """One step over ResNet-18's parameters in one buffer; PyTorch fused where it has that, else foreach."""
    n = shapes.RESNET18_PARAMETERS
    moved, buffers, kernel, options = OPTIMIZERS[name]

    def contestants(modes: list[str]) -> list[Contestant]:
        w, g = normal(n), normal(n)
        param, grad = K.asarray(w.copy()), K.asarray(g)
        state = [K.asarray(np.zeros_like(w)) for _ in range(buffers)]
        lr, step = K.asarray(np.float64(1e-6)), K.asarray(np.int64(2))
        # SGD's state is optional and stands last; RMSprop counts no steps.
        arguments = [param, grad, lr, step, *state] if kernel is K.sgd_step else [param, grad, *state, lr, step]
        if kernel is K.rmsprop_step:
            arguments.pop()

        def ours() -> object:
            return kernel(*arguments, **options)

        def make(mode: str) -> Run | None:
            if mode != "eager":
                return None
            p = chosen.torch.nn.Parameter(chosen.torch.from_numpy(w.copy()))
            p.grad = chosen.torch.from_numpy(g)
            given = {k: v for k, v in options.items() if k != "decoupled"}
            how: dict[str, Any] = {"foreach": True} if name == "RMSprop" else {"fused": True}
            theirs = getattr(chosen.torch.optim, name.split()[0])([p], lr=1e-6, **given, **how)
            return theirs.step  # type: ignore[no-any-return]

        return [Contestant("weft", ours), *chosen.torch_runs(modes, make)]

    return Case(Row("ops", f"{name}, one step", f"{n}", flop=n * moved / 4, bytes=n * moved), contestants)


def clipping() -> Case:
    """The norm of ResNet-18's gradients in one buffer, and the scaling: read, read and written."""
    n = shapes.RESNET18_PARAMETERS

    def contestants(modes: list[str]) -> list[Contestant]:
        g = normal(n)
        grad = K.asarray(g.copy())

        def make(mode: str) -> Run | None:
            if mode != "eager":
                return None
            p = chosen.torch.nn.Parameter(chosen.torch.zeros(n))
            p.grad = chosen.torch.from_numpy(g.copy())
            return lambda: chosen.torch.nn.utils.clip_grad_norm_([p], 0.0, foreach=True)

        # To a norm of 0, so that every run scales: gradients that were clipped once would be left alone by weft.
        return [Contestant("weft", lambda: K.clip_grad_norm([grad], 0.0)), *chosen.torch_runs(modes, make)]

    return Case(Row("ops", "clip_grad_norm", f"{n}", flop=3.0 * n, bytes=12.0 * n), contestants)


def vectors(quick: bool) -> Iterator[Case]:
    """Products of a matrix and a vector: either side, either one transposed."""
    size = 1024 if quick else 4096
    for name, left in (("row x matrix", True), ("matrix x column", False)):
        for turned in (False, True):

            def arrays(left: bool = left) -> list[np.ndarray]:
                return [normal(size, size), normal(1, size) if left else normal(size, 1)]

            def ours(m: Any, v: Any, left: bool = left, turned: bool = turned) -> object:
                m = m.permute([1, 0]) if turned else m
                return K.matmul(v, m) if left else K.matmul(m, v)

            def theirs(torch: Any, left: bool = left, turned: bool = turned) -> Callable[..., Any]:
                def run(m: Any, v: Any) -> Any:
                    m = m.t() if turned else m
                    return torch.mm(v, m) if left else torch.mm(m, v)

                return run

            yield row(f"gemm, {name}{' transposed' if turned else ''}", arrays, ours, theirs, (size, size), 4.0)


def cases(quick: bool) -> Iterator[Case]:
    yield from norms(quick)
    yield from reductions(quick)
    yield from losses()
    yield from copies(quick)
    yield from vectors(quick)
    for name in OPTIMIZERS:
        if not quick or name in ("SGD with momentum", "Adam"):
            yield optimizer(name)
    yield clipping()
