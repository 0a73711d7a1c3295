"""The table of what was set out to be reached on a GPU, from what `python -m bench --device cuda` measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.measure import Row
from bench.report.printed import amount

FAILED = 0.0  # stands for a ratio or a percentage of a row that failed, and is worse than any


class Figure(NamedTuple):
    """One line of the table. `values`: what the rows give for it; the worst one counts."""

    what: str
    wanted: str  # empty: no figure was set out
    reached: Callable[[float], bool]
    values: Callable[[Sequence[Row]], list[float]]
    format: Callable[[float], str] = "{:.2f}".format

    def shown(self, value: float) -> str:
        return "failed" if value in (FAILED, float("inf")) else self.format(value)


def ratios(rows: Sequence[Row], suite: str, part: str = "", peer: str = "torch") -> list[float]:
    """How many times better than the peer, of the rows whose name and shape have `part`."""
    found = [row for row in rows if row.suite == suite and part in f"{row.name} {row.shape}"]
    values = [FAILED if row.error is not None else row.ratio(peer) for row in found]
    return [value for value in values if value is not None]


def convolutions(way: str) -> Callable[[Sequence[Row]], list[float]]:
    """Of ResNet-50's layers, which have a figure; of either library the better order of memory counts."""
    return lambda rows: ratios([row for row in rows if row.figure is not None], "conv2d", f", {way} ")


def memory(rows: Sequence[Row]) -> list[float]:
    found = [row for row in rows if row.suite == "memory"]
    values = [FAILED if row.error is not None else row.percent for row in found]
    return [value for value in values if value is not None]


def at_least(bound: float) -> Callable[[float], bool]:
    return lambda value: value >= bound


def steps() -> list[Figure]:
    made = []
    for batch in (64, 512):
        for peer, which, least in (("torch", "in its best mode", 2), ("torch eager", "eager", 10)):

            def values(rows: Sequence[Row], batch: int = batch, peer: str = peer) -> list[float]:
                return ratios(rows, "step", f"LeNet-5, training step batch {batch}", peer)

            name = f"LeNet-5, training step, batch {batch}, beside PyTorch {which}"
            made.append(Figure(name, f"{least}", at_least(least), values))
    return made


def without_figure(what: str, suite: str, part: str) -> Figure:
    return Figure(f"{what}, beside PyTorch in its best mode", "", bool, lambda rows: ratios(rows, suite, part))


def figures() -> list[Figure]:
    return [
        Figure("SGEMM, 1024 to 8192, beside cuBLAS", "0.9", at_least(0.9), lambda rows: ratios(rows, "gemm")),
        *(
            Figure(f"ResNet-50's convolutions, {way}, beside cuDNN", "0.8", at_least(0.8), convolutions(way))
            for way in ("forward", "dx", "dw")
        ),
        Figure("memory-bound kernels of 512 MB arrays, of a copy's bandwidth", "90%", at_least(90), memory,
               lambda value: f"{value:.0f}%"),
        *steps(),
        Figure(
            "LeNet-5 on MNIST to 99.05%, training, data on the device", "under 1 s", lambda value: value < 1,
            lambda rows: [row.ours for row in rows if row.suite == "mnist"], lambda value: amount(value, "s"),
        ),
        without_figure("bfloat16 products, 1024 to 8192", "products", "bfloat16"),
        without_figure("ResNet-18, training step, 32x32, batch 512", "step", "ResNet-18 32x32"),
        without_figure("ResNet-18, training step, 224x224, batch 64", "step", "ResNet-18 224x224"),
        without_figure("LeNet-5, inference, batch 1 to 4096", "inference", "LeNet-5"),
    ]  # fmt: skip


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """What, the figure, what was measured (the worst, and the best of several), whether the worst reaches it."""
    made = []
    for figure in figures():
        values = sorted(figure.values(rows))
        if not values:
            made.append([figure.what, figure.wanted, "not measured", ""])
            continue
        measured = " to ".join(dict.fromkeys(figure.shown(value) for value in (values[0], values[-1])))
        reached = all(figure.reached(value) for value in values)
        made.append([figure.what, figure.wanted, measured, ("yes" if reached else "no") if figure.wanted else ""])
    return made


def launch(launches: dict[str, dict[str, float]]) -> str:
    each = [
        f"{name} {amount(times['device'], 's')} of the device and {amount(times['host'], 's')} of the host"
        for name, times in launches.items()
    ]
    return f" A launch with nothing to do takes {'; '.join(each)}." if each else ""


def clocks(found: dict[str, Any]) -> str:
    """Of the processors, before and after."""
    each = [
        f"{name} {values['clocks.sm']} MHz, {values['power.draw']} of {values['power.limit']} W, "
        f"{values['temperature.gpu']} degrees"
        for name, values in found.items()
        if isinstance(values, dict)
    ]
    return f" Clocks: {'; '.join(each)}." if each else " nvidia-smi told no clocks."


def about(result: dict[str, Any]) -> str:
    machine, limits = result["machine"], result["limits"]
    left_out = result.get("left_out", 0)
    return (
        f"{machine['device']['name']}: {limits['flops'] / 1e12:.1f} TFLOP/s of multiply-adds in registers, "
        f"{limits['bandwidth'] / 1e12:.2f} TB/s copied. PyTorch {machine['versions'].get('torch', 'none')}; "
        f"{machine['date']}, commit {machine['commit']}."
        + (f" {result['without_peer']}." if result.get("without_peer") else "")
        + clocks(machine.get("clocks", {}))
        + launch(result.get("launches", {}))
        + (f" {left_out} rows were left out." if left_out else "")
    )
