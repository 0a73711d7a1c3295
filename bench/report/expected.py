"""What the kernels are expected to take on an H200, and why; docs/cuda.md has it as a table beside what was measured.

Expected before anything was measured, from counts: 4.3 TB/s for bytes that come from the memory (90% of 4.8),
60 TFLOP/s of float32 (132 SMs x 128 lanes x 2 x 1.8 GHz). A launch's own time, some two microseconds, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.measure import Row
from bench.report.printed import amount

BANDWIDTH = 4.3e12
ELEMENTS = 1 << 27  # of each array in the rows that memory bounds, where there is room: bench/device/arrays.py
TABLE = (131072, 1024)
IMAGES = (512, 64, 64, 64)


class Expected(NamedTuple):
    """One line. `row`: of what `python -m bench --device cuda` measures, with that size; empty where it has none."""

    what: str  # the file in csrc/cuda, and what of it
    row: str
    size: str
    seconds: float
    why: str


def text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def moved(what: str, row: str, size: Sequence[int], each: float, why: str) -> Expected:
    """A kernel that moves `each` bytes for an element."""
    return Expected(what, row, text(size), each * ELEMENTS / BANDWIDTH, f"{each:g} bytes an element: {why}")


def products() -> list[Expected]:
    tiles = "80% of the peak: 92% of a stage's instructions are multiply-adds, and some stalls"
    return [
        Expected("gemm_float32", "sgemm", "1024x1024x1024", 57e-6, "35 to 40 TFLOP/s: fewer tiles than SMs want"),
        Expected("gemm_float32", "sgemm", "4096x4096x4096", 2.9e-3, f"48 TFLOP/s: {tiles}"),
        Expected("gemm_mma", "linear, bfloat16", "4096x4096x4096", 0.3e-3,
                 "450 to 500 TFLOP/s: mma.sync has two thirds of wgmma's 990"),
        Expected("gemm_float64", "gemm, float64", "4096x4096x4096", 8.1e-3, "half of 34 TFLOP/s: loads twice as long"),
        Expected("gemm_thin, dots", "linear, one row", "1x4096x4096", 16e-6, "the matrix is read once"),
        Expected("gemm_thin, rows", "gemm, one row", "1x4096x4096", 16e-6, "the matrix is read once"),
        *(
            Expected("linear, small", f"linear {layer} + ReLU, backward", f"batch {batch}", seconds, why)
            for batch, layers, why in (
                (64, (("400->120", 1.5e-6), ("120->84", 1.5e-6), ("84->10", 1e-6)), "at most 4 stages a block"),
                (512, (("400->120", 4e-6), ("120->84", 4e-6), ("84->10", 4e-6)), "16 stages a block, 0.25 us each"),
            )
            for layer, seconds in layers
        ),
    ]  # fmt: skip


def convolutions() -> list[Expected]:
    stem, third = "ResNet-50 7x7 s2 3->64", "ResNet-50 3x3 s1 64->64"
    first, second = "LeNet 5x5 s1 1->6", "LeNet 5x5 s1 6->16"
    depthwise = "MobileNet 3x3 s1 128->128"
    found = [
        Expected("conv2d_implicit_gemm", f"{third}, {way}", "32x56x56", 0.17e-3,
                 "7.4 GFLOP at 44 TFLOP/s: 73 to 84% of the instructions are multiply-adds")
        for way in ("forward", "dx")
    ]  # fmt: skip
    found += [
        Expected("conv2d_implicit_gemm_weight", f"{third}, dw", "32x56x56", 0.18e-3,
                 "7.4 GFLOP at 45 TFLOP/s, and the launch that adds the parts"),
        Expected("conv2d_direct", f"{stem}, forward", "32x224x224", 0.16e-3, "236 MFLOP an image at 50 TFLOP/s"),
        Expected("conv2d_direct_weight", f"{stem}, dw", "32x224x224", 0.2e-3, "236 MFLOP an image at 36 TFLOP/s"),
    ]  # fmt: skip
    for layer, size in ((first, "64x28x28"), (second, "64x14x14")):
        found.append(Expected("conv2d_direct", f"{layer}, forward", size, 2e-6, "a launch and one thread's loop"))
        found.append(Expected("conv2d_direct_weight", f"{layer}, dw", size, 4e-6, "two launches"))
    found += [
        Expected("conv2d_depthwise", f"{depthwise}, {way}", "32x56x56", 24e-6, "103 MB: two arrays once")
        for way in ("forward", "dx", "dw")
    ]
    pooled = "5x5 {} + bias + ReLU + max-pool, {}"
    for layer, way, small, large, why in (
        ("1->6", "forward", 0.9e-6, 3.0e-6, "118k multiply-adds an image, 196 of 224 lanes in use"),
        ("6->16", "forward", 1.5e-6, 5.4e-6, "240k multiply-adds an image, 25 of 32 lanes in use"),
        ("1->6", "backward", 2.7e-6, 6e-6, "1176 (window, k) an image of 6 instructions, and a launch of 1 us"),
        ("6->16", "backward", 3.5e-6, 10e-6, "400 (window, k) an image of 15 to 25 instructions for dx and dw each, "
                                              "4500 for dx, and a launch of 1 us"),
    ):  # fmt: skip
        file = "tiled" if way == "forward" else "sparse"
        for batch, seconds in ((64, small), (512, large)):
            name = f"LeNet {pooled.format(layer, way)}"
            found.append(Expected(f"conv2d_relu_max_pool2d_{file}", name, f"batch {batch}", seconds, why))
    return found


def memory_bound() -> list[Expected]:
    once = "read once, written once"
    two = "two read, one written"
    return [
        moved("elementwise_binary", "add", TABLE, 12, two),
        moved("activation", "relu", TABLE, 8, once),
        moved("activation", "gelu", TABLE, 8, f"{once}; 40 instructions of the 53 there is time for"),
        moved("activation", "relu, backward", TABLE, 12, two),
        moved("copy", "copy", TABLE, 8, once),
        moved("copy", "transpose", TABLE, 8, once),
        moved("softmax", "softmax", TABLE, 8, once),
        moved("softmax", "softmax, backward", TABLE, 12, two),
        moved("cross_entropy", "cross_entropy, forward and backward", TABLE, 8, "logits read, gradient written"),
        moved("row_norm", "layer_norm", TABLE, 8, once),
        moved("row_norm", "layer_norm, backward", TABLE, 20, "12 for dx, both read once more for dgamma and dbeta"),
        moved("batch_norm", "batch_norm, training", IMAGES, 12, "read twice, written once"),
        moved("batch_norm", "batch_norm, backward", IMAGES, 20, "two read twice, one written"),
        moved("reduce", "sum", TABLE, 4, "read once"),
        moved("reduce", "sum, axis 0", TABLE, 4, "read once"),
        moved("reduce", "sum, axis 1", TABLE, 4, "read once"),
        moved("optimizer", "SGD, one step", (ELEMENTS,), 12, "parameter and gradient read, parameter written"),
        moved("optimizer", "SGD with momentum, one step", (ELEMENTS,), 20, "one state read and written besides"),
        moved("optimizer", "Adam, one step", (ELEMENTS,), 28, "two states"),
        moved("pool2d_fast, 2x2", "max_pool2d 2x2", IMAGES, 6, "a quarter of it written, and the index"),
        moved("pool2d_fast, 2x2", "max_pool2d 2x2, backward", IMAGES, 6, "the same the other way round"),
        moved("pool2d_fast, 2x2", "avg_pool2d 2x2", IMAGES, 5, "a quarter of it written"),
        moved("pool2d_fast, 2x2", "avg_pool2d 2x2, backward", IMAGES, 5, "the same the other way round"),
        moved("pool2d_fast, whole", "avg_pool2d, whole planes", IMAGES, 4, "read once"),
        moved("loss", "mse_loss, mean", TABLE, 8, "two read"),
        moved("loss", "mse_loss, none", TABLE, 12, two),
        moved("loss", "mse_loss, backward", TABLE, 12, two),
        Expected("random", "uniform", text(TABLE), ELEMENTS * 15 / (132 * 64 * 1.8e9), "15 integer instructions each, "
                 "132 SMs x 64 lanes x 1.8 GHz; 4 bytes an element take less"),
        moved("arange", "arange", (ELEMENTS,), 4, "written once"),
        moved("index", "index_select of rows", TABLE, 8, once),
    ]  # fmt: skip


def without_row() -> list[Expected]:
    """Those that no row measures: too small beside a launch, or no function of their own."""
    return [
        Expected("gemm_parts", "", "8 parts of 256x256", 1e-6, "out of the L2, where the first pass left them"),
        Expected("data, gather_images", "", "512 images of MNIST", 0.5e-6, "2 MB"),
        Expected("check", "", "1,000,000 labels", 2e-6, "8 MB, and two launches"),
        Expected("index_add, segments", "", "8192 rows of 256", 15e-6, "8 MB take 3 us; the sort has 6 launches"),
        Expected("sort", "", "1,000,000 keys of 24 bits", 14e-6, "60 MB, beside 9 launches"),
    ]


def all_expected() -> list[Expected]:
    return [*products(), *convolutions(), *memory_bound(), *without_row()]


HEAD = ["kernel", "row of the bench", "size", "expected", "measured", "why"]


def of_device(result: dict[str, Any] | None) -> list[list[str]]:
    """What the device does at most, and what a launch costs that has nothing to do."""
    limits, launches = (result["limits"], result.get("launches", {})) if result else ({}, {})

    def rate(name: str, digits: int) -> str:
        return f"{limits[name] / 1e12:.{digits}f}" if name in limits else "not measured"

    def launch(name: str, clock: str) -> str:
        return amount(launches[name][clock], "s") if name in launches else "not measured"

    return [
        ["limits", "multiply-adds in registers", "TFLOP/s", "60", rate("flops", 1), "132 SMs x 128 x 2 x 1.8 GHz"],
        ["copy", "copy of 1 GiB", "TB/s", "4.3", rate("bandwidth", 2), "90% of 4.8"],
        *(
            ["fill", f"launch with nothing to do, {name}", f"the {clock}'s time", least, launch(name, clock), why]
            for name, clock, least, why in (
                ("weft", "device", "2.00 us", "between two events"),
                ("weft", "host", "", "one of many"),
                ("weft captured", "device", "2.00 us", "a graph of one node"),
                ("torch", "device", "", "beside it"),
                ("torch", "host", "", "beside it"),
            )
        ),
    ]


def lines(rows: Sequence[Row], result: dict[str, Any] | None) -> list[list[str]]:
    """The cells of the table. result: what was measured on a device, None before."""
    found = of_device(result)
    measured = {(row.name, row.shape): row for row in rows}
    for line in all_expected():
        row = measured.get((line.row, line.size))
        value = "not measured" if row is None else "failed" if row.ours == float("inf") else amount(row.ours, "s")
        found.append([line.what, line.row, line.size, amount(line.seconds, "s"), value, line.why])
    return found
