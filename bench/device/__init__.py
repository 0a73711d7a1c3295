"""Kernels and training steps on a CUDA device, beside PyTorch's on the same: `python -m bench --device cuda`.

A kernel's time is that of the device, between two events; before each sample the second-level cache is flushed, by
writing more than it holds, which also keeps the device busy while the next launch is on its way. A training step's is
the host's clock over many steps, because what the host does between launches is part of it. Float32 means float32:
PyTorch's TF32 is off. The limits are measured in the same process: a copy of 1 GiB, multiply-adds in registers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import weft
import weft.kernels as K
from bench import device_peer, mnist, shapes
from bench.convolutions import arrays, normal
from bench.measure import Case, Contestant, Row, Run
from bench.steps import data, weft_step
from weft.data.sources import data_root
from weft.limits import Limits

FLUSHED = 1 << 28  # bytes: more than any second-level cache


class Clock(NamedTuple):
    """How to time runs on a device's stream."""

    event: Callable[[], Any]  # makes an event and records it
    milliseconds: Callable[[Any, Any], float]
    flush: Callable[[], object]
    synchronize: Callable[[], object]


def weft_clock() -> Clock:
    trash = K.empty((FLUSHED,), "uint8", "cuda")

    def event() -> weft.cuda.Event:
        made = weft.cuda.Event()
        made.record()
        return made

    return Clock(event, lambda a, b: a.elapsed_time(b), lambda: K.fill(trash, 0), weft.cuda.synchronize)


def device_seconds(run: Run, clock: Clock, samples: int) -> float:
    """The median time of one run on the device, the cache flushed before each."""
    for _ in range(3):
        run()
    marks = []
    for _ in range(samples):
        clock.flush()
        begin = clock.event()
        run()
        marks.append((begin, clock.event()))
    clock.synchronize()
    return statistics.median(1e-3 * clock.milliseconds(*mark) for mark in marks)


def host_seconds(run: Run, clock: Clock, steps: int) -> float:
    """The time of one of many runs, one after the other; the best of three rounds."""
    for _ in range(5):
        run()
    rounds = []
    for _ in range(3):
        clock.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            run()
        clock.synchronize()
        rounds.append((time.perf_counter() - start) / steps)
    return min(rounds)


def limits(quick: bool) -> Limits:
    clock = weft_clock()
    size = 1 << (20 if quick else 28)
    x = K.zeros((size,), "float32", "cuda")
    y = K.empty_like(x)
    copied = device_seconds(partial(K.copy_into, y, x), clock, 5 if quick else 20)
    iterations = 100 if quick else 200_000
    flop = sum(K.fma_loop(iterations, "cuda").tolist())
    multiplied = device_seconds(lambda: K.fma_loop(iterations, "cuda"), clock, 3)
    return Limits(flop / multiplied, 8.0 * size / copied)


# --- cases: a row, and a function that makes the contestants ---


def there(*given: Any) -> list[K.Array]:
    return [K.asarray(array, device="cuda") for array in given]


def gemm(n: int) -> Case:
    def contestants(modes: list[str]) -> list[Contestant]:
        a, b = normal(n, n), normal(n, n)
        return [Contestant("weft", partial(K.matmul, *there(a, b))), *device_peer.gemm(a, b)]

    row = Row("gemm", "sgemm", f"{n}x{n}x{n}", flop=2.0 * n**3, bytes=12.0 * n * n, figure=0.9)
    return Case(row, contestants)


# ResNet-50's convolutions at batch 32 (He, Zhang, Ren, Sun 2016, table 1): one of each kind.
RESNET_50 = [
    shapes.Conv("ResNet-50", 32, 3, 64, 224, 7, stride=2, padding=3),
    shapes.Conv("ResNet-50", 32, 64, 64, 56, 3, padding=1),
    shapes.Conv("ResNet-50", 32, 64, 256, 56, 1),
    shapes.Conv("ResNet-50", 32, 256, 64, 56, 1),
    shapes.Conv("ResNet-50", 32, 128, 128, 28, 3, padding=1),
    shapes.Conv("ResNet-50", 32, 256, 512, 56, 1, stride=2),
    shapes.Conv("ResNet-50", 32, 256, 256, 14, 3, padding=1),
    shapes.Conv("ResNet-50", 32, 256, 256, 28, 3, stride=2, padding=1),
    shapes.Conv("ResNet-50", 32, 512, 512, 7, 3, padding=1),
    shapes.Conv("ResNet-50", 32, 512, 2048, 7, 1),
]
OTHERS = [
    shapes.Conv("LeNet", 64, 1, 6, 28, 5, padding=2),
    shapes.Conv("LeNet", 64, 6, 16, 14, 5),
    shapes.Conv("MobileNet", 32, 128, 128, 56, 3, padding=1, groups=128),
]


def convolution(layer: shapes.Conv, way: str, channels_last: bool, figure: float | None) -> Case:
    def contestants(modes: list[str]) -> list[Contestant]:
        x, w, _, dout = there(*arrays(layer))
        if channels_last:
            x, dout = (a.contiguous(K.MemoryFormat.channels_last) for a in (x, dout))
        options: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
        ours = {
            "forward": lambda: K.conv2d(x, w, None, **options),
            "dx": lambda: K.conv2d_backward_input(dout, w, x.shape, **options),
            "dw": lambda: K.conv2d_backward_weight(dout, x, w.shape, **options, bias=False),
        }[way]
        name = f"weft {'channels_last' if channels_last else 'contiguous'}"
        return [Contestant(name, ours), *device_peer.convolution(layer, way)]

    multiplied = layer.batch * layer.k * layer.out**2 * layer.c // layer.groups * layer.kernel**2
    images = layer.batch * (layer.c * layer.size**2 + layer.k * layer.out**2)
    order = ", channels last" if channels_last else ""
    row = Row(
        "conv2d", f"{layer.net} {layer.kernel}x{layer.kernel} s{layer.stride} {layer.c}->{layer.k}, {way}{order}",
        f"{layer.batch}x{layer.size}x{layer.size}", flop=2.0 * multiplied, bytes=4.0 * images, figure=figure,
    )  # fmt: skip
    return Case(row, contestants)


def memory_bound(quick: bool) -> Iterator[Case]:
    """Rows of 64 MB and more in each array; moved: bytes for each element."""
    rows, columns = (64, 256) if quick else (16384, 1024)
    images = (2, 4, 16, 16) if quick else (64, 64, 64, 64)
    x, y = (normal(rows, columns) for _ in range(2))
    planes = normal(*images)
    one = normal(columns)
    simple: list[tuple[str, Callable[..., object], tuple[Any, ...], float]] = [
        ("add", K.add, (x, y), 12.0),
        ("add a row", K.add, (x, one), 8.0),
        ("relu", K.relu, (x,), 8.0),
        ("gelu", K.gelu, (x,), 8.0),
        ("softmax", K.softmax, (x,), 8.0),
        ("layer_norm", lambda a, w: K.layer_norm(a, (columns,), w, w), (x, one), 8.0),
        ("sum", K.sum, (x,), 4.0),
        ("sum, axis 0", lambda a: K.sum(a, 0), (x,), 4.0),
        ("sum, axis 1", lambda a: K.sum(a, 1), (x,), 4.0),
        ("transpose", lambda a: K.copy(a.transpose(0, 1), K.MemoryFormat.contiguous_format), (x,), 8.0),
        ("max_pool2d 2x2", lambda a: K.max_pool2d(a, 2), (planes,), 6.0),
        ("avg_pool2d 2x2", lambda a: K.avg_pool2d(a, 2), (planes,), 5.0),
    ]
    for name, function, given, moved in simple:
        elements = float(given[0].size)
        shape = "x".join(map(str, given[0].shape))
        row = Row("memory", name, shape, flop=elements, bytes=moved * elements, figure=None)

        def contestants(
            modes: list[str], name: str = name, function: Callable[..., object] = function, given: Any = given
        ) -> list[Contestant]:
            return [Contestant("weft", partial(function, *there(*given))), *device_peer.memory(name, given)]

        yield Case(row, contestants)


def step(batch: int) -> Case:
    """LeNet-5's training step: forward, loss, backward, SGD with momentum."""

    def contestants(modes: list[str]) -> list[Contestant]:
        images, labels = data(batch, 1, 28, 28)
        with device_default("cuda"):
            ours = [
                Contestant("weft eager", weft_step(weft.models.LeNet5(), images, labels)),
                Contestant("weft captured", weft_step(weft.models.LeNet5(), images, labels, captured=True)),
            ]
        return [*ours, *device_peer.lenet_step(images, labels)]

    return Case(Row("step", "LeNet-5, training step", f"batch {batch}", flop=2.26e6 * batch, figure=2.0), contestants)


def mnist_training() -> Case:
    """LeNet-5 on MNIST, the data on the device: the seconds of training until the wanted accuracy."""
    row = Row("mnist", f"LeNet-5 on MNIST to {mnist.WANTED}%", "training alone", at_most=1.0)

    def measure(modes: list[str]) -> dict[str, float]:
        reached, row.about = mnist.train_weft("--device", "cuda")
        each = row.about["train_seconds"] / row.about["epochs"]
        return {"weft": each * row.about["epochs_to_accuracy"]["weft"] if reached < float("inf") else reached}

    return Case(row, measure=measure)


class device_default:
    """A context in which new arrays lie on a device."""

    def __init__(self, device: str) -> None:
        self._device = device

    def __enter__(self) -> None:
        self._before = K.default_device()
        K.set_default_device(self._device)

    def __exit__(self, *_: object) -> None:
        K.set_default_device(self._before)


def cases(quick: bool) -> Iterator[Case]:
    """In the order of their importance: what a short run shall have measured comes first."""
    for batch in (64, 512):
        yield step(4 if quick else batch)
    for n in (64,) if quick else (1024, 2048, 4096, 8192):
        yield gemm(n)
    yield from convolutions(RESNET_50, quick, 0.8)
    yield from memory_bound(quick)
    yield from convolutions(OTHERS, quick, None)
    if not quick and (data_root(None) / "MNIST" / "raw").is_dir():
        yield mnist_training()


def convolutions(layers: list[shapes.Conv], quick: bool, figure: float | None) -> Iterator[Case]:
    """Every layer's forward before any gradient."""
    for way in ("forward", "dx", "dw"):
        for layer in layers:
            small = layer._replace(batch=1, size=max(layer.kernel, layer.size // 14), c=min(layer.c, 8),
                                   k=min(layer.k, 8), groups=min(layer.groups, 8))  # fmt: skip
            for channels_last in (False, True):
                yield convolution(small if quick else layer, way, channels_last, figure)


def run(case: Case, quick: bool, found: Limits) -> Row:
    """Measures one row. What it raises becomes the row's error, so that the others go on."""
    row = case.row
    try:
        measure(case, quick, found)
    except Exception as error:  # whatever a kernel or a peer may raise: too little memory, a shape that it refuses
        row.error = f"{type(error).__name__}: {error}"[:500]
    return row


def measure(case: Case, quick: bool, found: Limits) -> None:
    """Contestant by contestant: each has the device to itself. Where a peer's fails, the row keeps the others."""
    row = case.row
    if case.measure is not None:
        row.values = case.measure([])
        return
    clock = weft_clock()
    for contestant in case.contestants([]):
        ours = contestant.name.startswith("weft")
        try:
            own = clock if ours else device_peer.clock(FLUSHED)
            if row.suite == "step":
                row.values[contestant.name] = host_seconds(contestant.run, own, 3 if quick else 300)
            else:
                row.values[contestant.name] = device_seconds(contestant.run, own, 3 if quick else 30)
        except Exception as error:
            row.about.setdefault("failed", {})[contestant.name] = f"{type(error).__name__}: {error}"[:500]
            if ours and row.ours == float("inf"):
                raise
    if row.suite != "step":
        row.percent = 100 * found.seconds(row.flop, row.bytes) / row.ours
