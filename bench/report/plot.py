"""The roofline picture: each operation by its operations for each byte, under what the machine can do at most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from bench.measure import Row
from weft.limits import Limits

FAMILIES = {  # by the first letters of a row's name
    "gemm": ("Matrix products", "#1b6ca8"),
    "linear": ("Matrix products of bfloat16", "#b8860b"),
    "conv2d": ("Convolutions", "#c8553d"),
    "depthwise": ("Depthwise convolutions", "#7a4fa3"),
    "": ("Memory-bound operations", "#3a7d44"),
}
# What networks spend their time in, and so has a number in the picture and a line below it. (name, shape)
NAMED = (
    ("gemm", "1x4096x4096"),
    ("gemm", "64x120x400"),
    ("gemm", "1024x1024x1024"),
    ("gemm", "4096x4096x4096"),
    ("linear, bfloat16", "4096x4096x4096"),
    ("conv2d 5x5 1->6, forward", "64x28x28"),
    ("conv2d 5x5 6->16, forward", "64x14x14"),
    ("conv2d 7x7 3->64 stride 2, forward", "8x224x224"),
    ("conv2d 11x11 3->64 stride 4, forward", "8x224x224"),
    ("conv2d 3x3 64->64, forward", "8x56x56"),
    ("conv2d 3x3 64->64, backward", "8x56x56"),
    ("conv2d 3x3 64->128 stride 2, forward", "32x32x32"),
    ("conv2d 1x1 64->256, forward", "8x56x56"),
    ("depthwise 3x3 32->32, forward", "8x112x112"),
    ("relu", "64x64x56x56"),
    ("batch_norm, training", "8x64x56x56"),
    ("layer_norm", "8x512x768"),
    ("softmax cross-entropy, forward and backward", "64x10"),
    ("softmax cross-entropy, forward and backward", "1024x1000"),
    ("Adam, one step", "11689512"),
)
SHORT = {
    "conv2d ": "", "depthwise ": "", "gemm": "", " + bias + ReLU + max-pool": "+pool", " stride ": "/", "->": "→",
    ", forward and backward": "", ", forward": " fwd", ", backward": " bwd", "softmax cross-entropy": "cross-entropy",
    "_pool2d 2x2": "-pool", ", one step": "", "with momentum": "momentum", "linear, bfloat16": "",
    "binary_cross_entropy": "bce", "concatenation of channels": "cat", " transposed": "ᵀ", ", training": "",
    "multiply, a value an element of a row": "mul by a row", "add, a value a channel": "add by channel",
}  # fmt: skip
WIDTH, PLOT, LINE = 12.0, 7.0, 0.165  # inches: the picture, the plot's height, a line of the list
COLUMNS = 4
APART = 13.5  # points between the middles of two numbers


def family(row: Row) -> str:
    return next(start for start in FAMILIES if row.name.startswith(start))


def short(row: Row) -> str:
    name = row.name
    for long, replacement in SHORT.items():
        name = name.replace(long, replacement)
    sizes = row.shape.split("x")
    if len(sizes) > 2 and name and sizes[-1] == sizes[-2]:  # images: the batch says little
        sizes = [*sizes[1:-2], f"{sizes[-1]}²"]
    size = "x".join(sizes)
    return f"{name.strip(' ,')} {size}".strip()


def draw_limits(axes: plt.Axes, limits: Limits, low: float, high: float) -> None:
    ridge = limits.flops / limits.bandwidth
    x = np.array([low, ridge, high])
    y = np.minimum(x * limits.bandwidth, limits.flops) / 1e9
    axes.plot(x, y, color="#333333", linewidth=1.5, zorder=1)
    axes.annotate(f"multiply-adds in registers: {limits.flops / 1e9:,.0f} GFLOP/s", (low, y[2]), (6, 4),
                  textcoords="offset points", fontsize=9)  # fmt: skip
    axes.axhline(y[2], color="#333333", linewidth=0.6, linestyle=":", zorder=0)
    (x0, y0), (x1, y1) = axes.transData.transform(list(zip(x[:2], y[:2], strict=True)))
    slope = math.degrees(math.atan2(y1 - y0, x1 - x0))
    axes.annotate(f"memory: {limits.bandwidth / 1e9:,.0f} GB/s", (x[1], y[1]), (-14, -2), textcoords="offset points",
                  fontsize=9, rotation=slope, rotation_mode="anchor", ha="right", va="bottom")  # fmt: skip


def spread(places: np.ndarray, apart: float) -> np.ndarray:
    """Pushes points that lie closer than `apart` away from each other, a little at a time."""
    moved = places.astype(float) + np.random.default_rng(0).normal(size=places.shape) * 1e-3
    for _ in range(300):
        difference = moved[:, None] - moved[None, :]
        distance = np.sqrt((difference**2).sum(-1)) + 1e-9
        push = np.maximum(0, apart - distance) * (1 - np.eye(len(moved)))
        moved += 0.25 * (difference / distance[..., None] * push[..., None]).sum(1) + 0.01 * (places - moved)
    return moved


def split(points: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows that are numbered and the others: all are numbered where they are few."""
    if len(points) <= len(NAMED):
        return list(points), []
    named = [row for row in points if (row.name, row.shape) in NAMED]
    return named, [row for row in points if row not in named]


def draw_dots(axes: plt.Axes, others: Sequence[Row]) -> None:
    for row in others:
        axes.plot(row.flop / row.bytes, row.flop / row.ours / 1e9, "o", color=FAMILIES[family(row)][1], markersize=4.5,
                  markeredgewidth=0, alpha=0.55, zorder=2)  # fmt: skip


def draw_numbers(axes: plt.Axes, points: Sequence[Row]) -> None:
    """A dot where an operation is, its number as near as there is room."""
    if not points:
        return
    true = np.array([(row.flop / row.bytes, row.flop / row.ours / 1e9) for row in points])
    pixels = axes.transData.transform(true)
    per_point = axes.figure.dpi / 72
    numbers = axes.transData.inverted().transform(spread(pixels, APART * per_point))
    for number, (row, (x, y), (u, v)) in enumerate(zip(points, true, numbers, strict=True), 1):
        color = FAMILIES[family(row)][1]
        axes.plot([x, u], [y, v], color=color, linewidth=0.7, zorder=2)
        axes.plot(x, y, ".", color=color, markersize=4, zorder=2)
        axes.plot(u, v, "o", color=color, markersize=12, markeredgewidth=0, zorder=3)
        axes.text(u, v, str(number), ha="center", va="center_baseline", color="white", fontsize=7.5, zorder=4)


def write_key(axes: plt.Axes, lines: Sequence[tuple[str, str, bool]], rows: int) -> None:
    """What the numbers mean, in columns of `rows` lines."""
    axes.axis("off")
    axes.set_xlim(0, COLUMNS)
    axes.set_ylim(rows, 0)
    for i, (text, color, title) in enumerate(lines):
        axes.text(i // rows, i % rows, text, color=color, fontsize=9, va="top", weight="bold" if title else "normal")


def key_lines(named: Sequence[Row], others: Sequence[Row]) -> list[tuple[str, str, bool]]:
    lines: list[tuple[str, str, bool]] = []
    for start, (title, color) in FAMILIES.items():
        members = [(n, row) for n, row in enumerate(named, 1) if family(row) == start]
        lines += [(title, color, True)] if members or any(family(row) == start for row in others) else []
        lines += [(f"{n}  {short(row)}: {row.percent or 0:.0f}%", color, False) for n, row in members]
    lines.append(("%: of the machine's limit", "#333333", False))
    return lines + ([(f"small dots: {len(others)} other rows of the tables", "#333333", False)] if others else [])


def draw(rows: Sequence[Row], limits: Limits, path: Path) -> None:
    """Every row of the operations that has FLOPs and bytes becomes a dot; the list below names the numbered ones."""
    points = [row for row in rows if row.suite == "ops" and row.flop and row.bytes]
    points.sort(key=lambda row: (list(FAMILIES).index(family(row)), row.flop / row.bytes))
    named, others = split(points)
    lines = key_lines(named, others)
    per_column = max(1, -(-len(lines) // COLUMNS))
    height = PLOT + LINE * per_column + 0.3
    figure = plt.figure(figsize=(WIDTH, height), dpi=120)
    axes = figure.add_axes((0.065, 1 - (PLOT - 0.4) / height, 0.92, (PLOT - 0.5) / height))
    intensity = [row.flop / row.bytes for row in points]
    speed = [row.flop / row.ours / 1e9 for row in points]
    low, high = min([*intensity, 0.05]) / 1.5, max([*intensity, 100.0]) * 1.5
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(min([*speed, 1]) / 1.5, max([*speed, 500]) * 2))
    axes.set_xlabel("floating-point operations for each byte that must move")
    axes.set_ylabel("GFLOP/s")
    axes.grid(which="major", color="#e4e4e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    draw_limits(axes, limits, low, high)
    draw_dots(axes, others)
    draw_numbers(axes, named)
    write_key(figure.add_axes((0.02, 0.0, 0.97, LINE * per_column / height)), lines, per_column)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
