"""Rows that memory bounds: half a gigabyte in each array, so that neither a launch nor a cache has a share in the time.

The bytes of a row are those that it must move at least: its inputs read once and its outputs written once; but twice
what batch normalization must have seen as a whole before it can write the first result. The limit is a copy of as many
bytes, measured beside each row by both libraries; the quicker one counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import weft.kernels as K
from bench.device import arrays, peer
from bench.device.arrays import filled, normal
from bench.device.case import Case, Entry
from bench.measure import Row, Run


class Op(NamedTuple):
    """An operation on arrays, the first of which has `shape`."""

    name: str
    shape: tuple[int, ...]
    moved: float  # bytes for each of its elements
    inputs: Callable[[], Sequence[K.Array]]
    ours: Callable[..., object]
    theirs: Callable[[Any], Callable[..., object]]  # picks from torch
    compiles: bool = True
    captured: bool = False  # eager, the host would wait for a check: ours runs as a graph of one or two kernels
    gradient: bool = False  # PyTorch's is a loss: its gradient by the first array is wanted, too
    tolerance: float | None = 1e-4


def their_run(op: Op, wrap: Callable[[Any], Any], inputs: Sequence[K.Array]) -> Run:
    torch = peer.torch
    function, tensors = wrap(op.theirs(torch)), [peer.view(x) for x in inputs]
    if not op.gradient:
        return partial(function, *tensors)
    first = tensors[0].detach().requires_grad_()

    def both() -> object:
        loss = function(first, *tensors[1:])
        return loss.detach(), torch.autograd.grad(loss, first)[0]

    return both


def case(op: Op) -> Case:
    elements = float(math.prod(op.shape))
    row = Row("memory", op.name, "x".join(map(str, op.shape)), flop=elements, bytes=op.moved * elements)

    def entries() -> list[Entry]:
        inputs = op.inputs()

        def ours() -> Run:
            run = partial(op.ours, *inputs)
            return arrays.captured(run) if op.captured else run

        found = [Entry("weft", ours), Entry("torch eager", lambda: their_run(op, lambda f: f, inputs))]
        if op.compiles:
            found.append(Entry("torch compile", lambda: their_run(op, peer.compiled, inputs), compiles=True))
        return found

    return Case(row, entries, tolerance=op.tolerance, copied=True)


def elementwise(rows: int, columns: int) -> Iterator[Op]:
    shape = (rows, columns)

    def one() -> list[K.Array]:
        return [normal(*shape)]

    def two() -> list[K.Array]:
        return [normal(*shape), normal(*shape, seed=1)]

    yield Op("add", shape, 12, two, K.add, lambda t: t.add)
    yield Op("relu", shape, 8, one, K.relu, lambda t: t.relu)
    yield Op("gelu", shape, 8, one, K.gelu, lambda t: t.nn.functional.gelu)
    yield Op("relu, backward", shape, 12, two, partial(K.activation_backward, "relu"),
             lambda t: lambda dout, y: t.ops.aten.threshold_backward(dout, y, 0))  # fmt: skip
    yield Op("add a row", shape, 8, lambda: [normal(*shape), normal(columns, seed=1)], K.add, lambda t: t.add)
    yield Op("copy", shape, 8, one, K.copy, lambda t: t.clone, compiles=False)
    yield Op("transpose", shape, 8, one, lambda x: K.copy(x.transpose(0, 1), K.MemoryFormat.contiguous_format),
             lambda t: lambda x: x.t().contiguous())  # fmt: skip


def reductions(rows: int, columns: int) -> Iterator[Op]:
    shape = (rows, columns)
    for name, axis in (("sum", None), ("sum, axis 0", 0), ("sum, axis 1", 1)):
        yield Op(name, shape, 4, lambda: [normal(*shape)], partial(K.sum, axis=axis),
                 lambda t, axis=axis: partial(t.sum, dim=axis))  # fmt: skip


def softmaxes(rows: int, columns: int) -> Iterator[Op]:
    shape = (rows, columns)
    yield Op("softmax", shape, 8, lambda: [normal(*shape)], K.softmax, lambda t: partial(t.softmax, dim=-1))
    yield Op("softmax, backward", shape, 12, lambda: [normal(*shape, seed=1), K.softmax(normal(*shape))],
             K.softmax_backward,
             lambda t: lambda dout, y: t._softmax_backward_data(dout, y, -1, t.float32))  # fmt: skip

    def ours(logits: K.Array, target: K.Array) -> object:
        return K.cross_entropy(logits, target, need_grad=True)

    yield Op("cross_entropy, forward and backward", shape, 8, lambda: [normal(*shape), arrays.labels(rows, columns)],
             ours, lambda t: t.nn.functional.cross_entropy, captured=True, gradient=True)  # fmt: skip


def norms(rows: int, columns: int, images: tuple[int, ...]) -> Iterator[Op]:
    """Backward is the gradients by input, weight and bias, of the means and scales that forward gave."""
    shape, channels = (rows, columns), images[1]

    def layer() -> list[K.Array]:
        return [normal(*shape), filled(1.5, columns), filled(0.5, columns)]

    yield Op("layer_norm", shape, 8, layer, lambda x, w, b: K.layer_norm(x, columns, w, b),
             lambda t: lambda x, w, b: t.native_layer_norm(x, [columns], w, b, 1e-5))  # fmt: skip

    def layer_backward() -> list[K.Array]:
        x, w, b = layer()
        _, mean, scale = K.layer_norm(x, columns, w, b)
        return [normal(*shape, seed=1), x, mean.reshape((rows, 1)), scale.reshape((rows, 1)), w, b]

    yield Op(
        "layer_norm, backward", shape, 12, layer_backward,
        lambda dout, x, mean, scale, w, b: K.layer_norm_backward(
            dout, x, columns, mean.reshape((rows,)), scale.reshape((rows,)), w
        ),
        lambda t: lambda dout, x, mean, scale, w, b: t.ops.aten.native_layer_norm_backward(
            dout, x, [columns], mean, scale, w, b, [True, True, True]
        ),
        compiles=False,
    )  # fmt: skip

    def batch() -> list[K.Array]:
        return [normal(*images), filled(1.5, channels), filled(0.5, channels)]

    yield Op("batch_norm, training", images, 12, batch, lambda x, w, b: K.batch_norm(x, w, b, training=True),
             lambda t: lambda x, w, b: t.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5),
             compiles=False)  # fmt: skip

    def batch_backward() -> list[K.Array]:
        x, w, b = batch()
        _, mean, scale = K.batch_norm(x, w, b, training=True)
        return [normal(*images, seed=1), x, mean, scale, w]

    yield Op("batch_norm, backward", images, 20, batch_backward, K.batch_norm_backward,
             lambda t: lambda dout, x, mean, scale, w: t.ops.aten.native_batch_norm_backward(
                 dout, x, w, None, None, mean, scale, True, 1e-5, [True, True, True]),
             compiles=False)  # fmt: skip


def pools(images: tuple[int, ...]) -> Iterator[Op]:
    """Maxima come with their indices, as training needs them: ours of 4 bytes, PyTorch's of 8."""
    pooled = (*images[:2], images[2] // 2, images[3] // 2)
    yield Op("max_pool2d 2x2", images, 6, lambda: [normal(*images)], lambda x: K.max_pool2d(x, 2),
             lambda t: lambda x: t.nn.functional.max_pool2d(x, 2, return_indices=True))  # fmt: skip

    def max_backward() -> list[K.Array]:
        index = K.max_pool2d(normal(*images), 2)[1]
        return [normal(*pooled, seed=1), index, K.cast(index, "int64"), normal(*images)]

    yield Op("max_pool2d 2x2, backward", images, 6, max_backward,
             lambda dout, index, wide, x: K.max_pool2d_backward(dout, index, images, 2),
             lambda t: lambda dout, index, wide, x: t.ops.aten.max_pool2d_with_indices_backward(
                 dout, x, [2, 2], [2, 2], [0, 0], [1, 1], False, wide),
             compiles=False)  # fmt: skip
    yield Op("avg_pool2d 2x2", images, 5, lambda: [normal(*images)], lambda x: K.avg_pool2d(x, 2),
             lambda t: lambda x: t.nn.functional.avg_pool2d(x, 2))  # fmt: skip
    yield Op("avg_pool2d, whole planes", images, 4, lambda: [normal(*images)], lambda x: K.adaptive_avg_pool2d(x, 1),
             lambda t: lambda x: t.nn.functional.adaptive_avg_pool2d(x, 1))  # fmt: skip
    yield Op("avg_pool2d 2x2, backward", images, 5, lambda: [normal(*pooled, seed=1), normal(*images)],
             lambda dout, x: K.avg_pool2d_backward(dout, images, 2),
             lambda t: lambda dout, x: t.ops.aten.avg_pool2d_backward(
                 dout, x, [2, 2], [2, 2], [0, 0], False, True, None),
             compiles=False)  # fmt: skip


def losses(rows: int, columns: int) -> Iterator[Op]:
    shape = (rows, columns)

    def two() -> list[K.Array]:
        return [normal(*shape), normal(*shape, seed=1)]

    for reduction, moved in (("mean", 8), ("none", 12)):
        yield Op(f"mse_loss, {reduction}", shape, moved, two, partial(K.mse_loss, reduction=reduction),
                 lambda t, reduction=reduction: partial(t.nn.functional.mse_loss, reduction=reduction))  # fmt: skip
    yield Op("mse_loss, backward", shape, 12, lambda: [filled(1.0), *two()], partial(K.pointwise_loss_backward, "mse"),
             lambda t: lambda dout, x, y: t.ops.aten.mse_loss_backward(dout, x, y, 1), compiles=False)  # fmt: skip


def makers(rows: int, columns: int) -> Iterator[Op]:
    """Arrays that are made: by numbers at random, by counting, by index."""
    shape = (rows, columns)
    generator = K.Generator(0, arrays.DEVICE)

    def uniform(like: K.Array) -> object:
        return K.uniform(shape, generator=generator, device=arrays.DEVICE)

    yield Op("uniform", shape, 4, lambda: [filled(0.0)], uniform,
             lambda t: lambda like: t.rand(shape, device=like.device), compiles=False, tolerance=None)  # fmt: skip
    yield Op("arange", (rows * columns,), 4, lambda: [filled(0.0)],
             lambda like: K.arange(0, rows * columns, dtype="float32", device=arrays.DEVICE),
             lambda t: lambda like: t.arange(rows * columns, dtype=t.float32, device=like.device),
             compiles=False)  # fmt: skip
    yield Op("index_select of rows", shape, 8, lambda: [normal(*shape), arrays.labels(rows, rows)],
             lambda x, index: K.index_select(x, 0, index, check=False),
             lambda t: lambda x, index: t.index_select(x, 0, index), compiles=False)  # fmt: skip


# --- optimizers ---


class Optimizer(NamedTuple):
    name: str
    moved: float  # bytes a parameter
    states: int
    options: dict[str, float]


OPTIMIZERS = [
    Optimizer("SGD", 12, 0, {}),
    Optimizer("SGD with momentum", 20, 1, {"momentum": 0.9}),
    Optimizer("Adam", 28, 2, {}),
]
RATE = 1e-3


def optimizer(kind: Optimizer, count: int) -> Case:
    """One step over the parameters in one array; PyTorch's fused. The first step is the one whose results are compared;
    its momentum is the gradient itself in both libraries."""

    def ours(given: K.Array, grad: K.Array) -> Run:
        w = K.copy(given)
        state = [filled(0.0, count) for _ in range(kind.states)]
        rate = K.full((), RATE, "float64", arrays.DEVICE)
        step = K.full((), 0, "int64", arrays.DEVICE)

        def run() -> object:
            if kind.name == "Adam":
                K.adam_step(w, grad, *state, rate, step, **kind.options)
            else:
                K.sgd_step(w, grad, rate, step, *state, **kind.options)
            return w

        return run

    def theirs(given: K.Array, grad: K.Array) -> Run:
        torch = peer.torch
        w = torch.nn.Parameter(peer.view(given).clone())
        w.grad = peer.view(grad)
        made = getattr(torch.optim, kind.name.split()[0])([w], lr=RATE, fused=True, **kind.options)

        def run() -> object:
            made.step()
            return w

        return run

    def entries() -> list[Entry]:
        given, grad = normal(count), normal(count, seed=1)
        return [Entry("weft", partial(ours, given, grad)), Entry("torch fused", partial(theirs, given, grad))]

    row = Row("memory", f"{kind.name}, one step", f"{count}", flop=count * kind.moved / 4, bytes=count * kind.moved)
    return Case(row, entries, tolerance=1e-4, copied=True)


def cases(quick: bool) -> Iterator[Case]:
    elements = arrays.large(quick)
    columns = 64 if quick else 1024
    rows = elements // columns
    images = (elements // 1024, 4, 16, 16) if quick else (elements // (64 * 64 * 64), 64, 64, 64)
    groups = [
        elementwise(rows, columns), softmaxes(rows, columns), norms(rows, columns, images), reductions(rows, columns),
        pools(images), losses(rows, columns), makers(rows, columns),
    ]  # fmt: skip
    for group in groups[:4]:
        yield from map(case, group)
    for kind in OPTIMIZERS:
        yield optimizer(kind, elements)
    for group in groups[4:]:
        yield from map(case, group)
