"""The README's table of what was set out to be reached on a GPU, from what `python -m bench --device cuda` measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.measure import Row
from bench.report import amount


class Figure(NamedTuple):
    """One line of the table. `values`: what the rows give for it; the worst one counts."""

    what: str
    wanted: str
    reached: Callable[[float], bool]
    values: Callable[[Sequence[Row]], list[float]]
    shown: Callable[[float], str] = "{:.2f}".format


def ratios(rows: Sequence[Row], suite: str, part: str = "", peer: str = "torch") -> list[float]:
    """How many times better than the peer, of the rows whose name or shape has `part`."""
    found = [row.ratio(peer) for row in rows if row.suite == suite and part in f"{row.name} {row.shape}"]
    return [ratio for ratio in found if ratio is not None]


def convolutions(way: str) -> Callable[[Sequence[Row]], list[float]]:
    """One ratio a layer: ours in the better memory order beside PyTorch's in the better one."""

    def values(rows: Sequence[Row]) -> list[float]:
        best: dict[str, float] = {}
        for row in rows:
            layer, order = row.name.removesuffix(", channels last"), row.ratio("torch")
            if row.suite == "conv2d" and row.figure is not None and layer.endswith(f", {way}") and order is not None:
                key = f"{layer} {row.shape}"
                best[key] = max(order, best.get(key, 0.0))
        return list(best.values())

    return values


def at_least(bound: float) -> Callable[[float], bool]:
    return lambda value: value >= bound


def figures() -> list[Figure]:
    made = [
        Figure("SGEMM, 1024 to 8192, beside cuBLAS", "0.9", at_least(0.9), lambda rows: ratios(rows, "gemm")),
        *(
            Figure(f"ResNet-50's convolutions, {way}, beside cuDNN", "0.8", at_least(0.8), convolutions(way))
            for way in ("forward", "dx", "dw")
        ),
        Figure(
            "memory-bound kernels of 64 MB and more, of a copy's bandwidth", "90%", at_least(90),
            lambda rows: [row.percent for row in rows if row.suite == "memory" and row.percent is not None],
            lambda value: f"{value:.0f}%",
        ),
    ]  # fmt: skip
    for batch in (64, 512):
        for peer, least in (("graph", 2), ("eager", 10)):

            def step(rows: Sequence[Row], batch: int = batch, peer: str = peer) -> list[float]:
                return ratios(rows, "step", f"batch {batch}", f"torch {peer}")

            name = {"graph": "as a CUDA graph", "eager": "eager"}[peer]
            made.append(
                Figure(
                    f"LeNet-5, training step, batch {batch}, beside PyTorch {name}", f"{least}", at_least(least), step
                )
            )
    made.append(
        Figure(
            "LeNet-5 on MNIST to 99.05%, training, data on the device", "under 1 s", lambda value: value < 1,
            lambda rows: [row.ours for row in rows if row.suite == "mnist"], lambda value: amount(value, "s"),
        )
    )  # fmt: skip
    return made


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
        made.append([figure.what, figure.wanted, measured, "yes" if reached else "no"])
    return made


def about(machine: dict[str, Any], limits: dict[str, float]) -> str:
    return (
        f"{machine['device']['name']}: {limits['flops'] / 1e12:.1f} TFLOP/s of multiply-adds in registers, "
        f"{limits['bandwidth'] / 1e12:.2f} TB/s copied. PyTorch {machine['versions'].get('torch', 'none')}; "
        f"{machine['date']}, commit {machine['commit']}."
    )
