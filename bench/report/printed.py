"""Rows as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.measure import Row
from weft.limits import Limits


def amount(value: float, unit: str) -> str:
    """Three digits and a unit."""
    if unit == "s":
        value, unit = (value, "s") if value >= 1 else (value * 1e3, "ms") if value >= 1e-3 else (value * 1e6, "us")
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}"


def rate(row: Row) -> str:
    """GFLOP/s, or GB/s where an operation does less than two FLOPs for each byte."""
    if row.unit != "s" or not row.flop:
        return ""
    by_bytes = row.bytes and row.flop < 2 * row.bytes
    shown = f"{row.bytes / row.ours / 1e9:.1f} GB/s" if by_bytes else f"{row.flop / row.ours / 1e9:.1f} GFLOP/s"
    return shown if row.percent is None else f"{shown} {row.percent:4.0f}%"


def target(row: Row) -> str:
    if row.at_most is not None:
        return f"at most {amount(row.at_most, row.unit)}"
    return f"{row.figure:g}" if row.figure is not None else ""


def verdict(row: Row) -> str:
    reached = row.reached()
    return "" if reached is None else "yes" if reached else "no"


def first_line(error: str) -> str:
    return (error.splitlines() or [""])[0][:150]


def notes(row: Row) -> str:
    """The figure to reach, our other modes, epochs of training, and what disturbed the measurement."""
    found = [f"figure: {target(row)} {verdict(row)}"] if row.reached() is not None else []
    modes = [(name[5:], value) for name, value in row.values.items() if name.startswith("weft ")]
    found += [f"({', '.join(f'{name} {amount(value, row.unit)}' for name, value in modes)})"] if modes else []
    epochs = row.about.get("epochs_to_accuracy", {})
    found += [f"({', '.join(f'{name} {n}' for name, n in epochs.items())} epochs)"] if epochs else []
    found += [f"({name} failed: {first_line(why)})" for name, why in row.about.get("failed", {}).items()]
    again = row.about.get("again", {})
    moved = [name for name, value in again.items() if abs(value / row.values[name] - 1) > 0.05]
    found += [f"({name} again: {amount(again[name], row.unit)})" for name in moved]
    late = [
        name for name, timing in row.about.get("timing", {}).items() if 10 * timing.get("late", 0) > timing["samples"]
    ]
    found += [f"(with the host's time: {', '.join(late)})"] if late else []
    found += [f"(other programs kept {row.others:.1f} processors busy)"] if row.others > 0.2 else []
    return "  ".join(["", *found])


def line(row: Row) -> str:
    """One row; where it failed, why."""
    if row.error is not None:
        return f"{row.name:46} {row.shape:13} failed: {first_line(row.error)}"
    peer, ratio = row.best_peer(), row.ratio()
    beside = f"{amount(peer[1], row.unit):>10} {peer[0]:19} {ratio:6.2f}x" if peer else ""
    return f"{row.name:46} {row.shape:13} {amount(row.ours, row.unit):>10} {rate(row):>20} {beside}{notes(row)}"


def device_lines(limits: Limits, launches: Mapping[str, Mapping[str, float]], without_peer: str) -> list[str]:
    """What stands above the rows of a device."""
    lines = [f"limits: {limits.flops / 1e12:.1f} TFLOP/s in registers, {limits.bandwidth / 1e12:.2f} TB/s copied"]
    for name, times in launches.items():
        device, host = (amount(times[clock], "s") for clock in ("device", "host"))
        lines.append(f"a launch with nothing to do, {name}: {device} of the device, {host} of the host")
    return lines + ([f"{without_peer}: weft alone"] if without_peer else [])


def closing(rows: Sequence[Row]) -> str:
    """The rows that have a figure to reach: what was wanted, what was measured."""
    lines = [f"{'figures':60} {'to reach':>17} {'measured':>12}"]
    judged = [row for row in rows if row.reached() is not None]
    for row in judged:
        measured = amount(row.ours, row.unit) if row.at_most is not None else f"{row.ratio('torch'):.2f}"
        lines.append(f"{f'{row.name}, {row.shape}':60} {target(row):>17} {measured:>12}  {verdict(row)}")
    lines.append(f"{sum(bool(row.reached()) for row in judged)} of {len(judged)} reached")
    return "\n".join(lines)
