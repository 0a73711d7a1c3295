"""Writes the tables of the README and of docs from bench/results, between markers; --check only compares.

cpu.json gives the CPU's; each other file there is of a GPU, and the latest counts.

A table stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from bench.host import ROOT
from bench.measure import Row
from bench.report import device_tables, expected, printed

RESULTS = ROOT / "bench" / "results" / "cpu.json"
README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
CUDA = ROOT / "docs" / "cuda.md"


def rows_of(result: dict[str, Any]) -> list[Row]:
    names = {field.name for field in fields(Row)}
    return [Row(**{key: value for key, value in row.items() if key in names}) for row in result["rows"]]


def cells(row: Row, peer_name: str = "") -> list[str]:
    """What, size, ours, the best peer's, its name, how many times better."""
    peer, ratio = row.best_peer(peer_name), row.ratio(peer_name)
    beside = [printed.amount(peer[1], row.unit), peer[0], f"{ratio:.2f}"] if peer else ["", "", ""]
    return [row.name, row.shape, printed.amount(row.ours, row.unit), *beside]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns of numbers, from the third on, are aligned right."""
    words = ("", "reached", "size", "why")
    rule = ["---" if i < 2 or name in words else "---:" for i, name in enumerate(head)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


HEAD = ["what", "size", "weft", "best peer", "", "times better"]
# The README's rows, by name and size: what a newcomer asks first, and with it what weft loses.
HEADLINES = (
    ("LeNet-5, training step", "batch 1"),
    ("LeNet-5, training step", "batch 64"),
    ("LeNet-5 on MNIST to 99.05%", "whole process"),
    ("ResNet-18 224x224, training step", "batch 8"),
    ("tiny MLP 8-16-4, training step, not captured", "batch 4"),
    ("gemm", "1024x1024x1024"),
    ("import", "new process"),
    ("installed size", "files"),
    ("conv2d 3x3 64->128 stride 2, forward", "32x32x32"),
    ("conv2d 11x11 3->64 stride 4, forward", "8x224x224"),
)


def figures_table(rows: Sequence[Row]) -> str:
    judged = [row for row in rows if row.reached() is not None]
    lines = [[*cells(row, "torch"), printed.target(row), printed.verdict(row)] for row in judged]
    return table([*HEAD, "figure", "reached"], lines)


def headlines_table(rows: Sequence[Row]) -> str:
    found = {(row.name, row.shape): row for row in rows}
    return table(HEAD, [cells(found[which], "torch") for which in HEADLINES if which in found])


def row_table(rows: Sequence[Row]) -> str:
    """Without the rows of the table of figures."""
    others = [row for row in rows if row.reached() is None]
    percent = [f"{row.percent:.0f}%" if row.percent is not None else "" for row in others]
    return table([*HEAD, "of the limit"], [[*cells(row), share] for row, share in zip(others, percent, strict=True)])


def machine_line(machine: dict[str, Any], limits: dict[str, float]) -> str:
    return (
        f"{machine['processor']}, {machine['threads']} threads, {machine['isa']}: {limits['flops'] / 1e9:,.0f} GFLOP/s "
        f"of multiply-adds in registers, {limits['bandwidth'] / 1e9:.0f} GB/s of memory. "
        f"PyTorch {machine['versions'].get('torch', 'none')}; {machine['date']}, commit {machine['commit']}."
    )


def mnist_line(about: dict[str, Any]) -> str:
    epochs = ", ".join(f"{name} after {n}" for name, n in about["epochs_to_accuracy"].items())
    return (
        f"LeNet-5 ({about['parameters']:,} parameters) reaches **{100 * about['test_accuracy']:.2f}%** "
        f"on MNIST's test set after {about['epochs']} epochs with seed {about['seed']}. Training takes "
        f"{about['train_seconds']:.1f} s ({about['images_per_second']:,.0f} images per second), "
        f"the whole process {about['process_seconds']:.1f} s. Epochs to 99.05%: {epochs}."
    )


def tables(result: dict[str, Any]) -> dict[str, str]:
    rows = rows_of(result)
    made = {
        "figures": figures_table(rows),
        "headlines": headlines_table(rows),
        "machine": machine_line(result["machine"], result["limits"]),
    }
    for suite in ("models", "ops"):
        made[suite] = row_table([row for row in rows if row.suite == suite])
    made.update(("mnist", mnist_line(row.about)) for row in rows if row.suite == "mnist")
    return made


def device_result() -> dict[str, Any] | None:
    """The latest one of a GPU; None where none was measured."""
    found = [json.loads(path.read_text()) for path in RESULTS.parent.glob("*.json") if path != RESULTS]
    return max(
        (result for result in found if "device" in result["machine"]), key=lambda r: r["machine"]["date"], default=None
    )


def device_tables_of(result: dict[str, Any] | None) -> dict[str, str]:
    rows = rows_of(result) if result else []
    made = {"device": table(["what", "figure", "measured", "reached"], device_tables.lines(rows))}
    made["gpu"] = device_tables.about(result) if result else "No GPU was measured yet."
    return made


def expected_table(result: dict[str, Any] | None) -> dict[str, str]:
    rows = rows_of(result) if result else []
    return {"expected": table(expected.HEAD, expected.lines(rows, result))}


def write(text: str, made: dict[str, str]) -> str:
    for name, content in made.items():
        pattern = re.compile(rf"(<!-- bench:{name} -->\n).*?(\n?<!-- /bench:{name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, content=content: f"{match[1]}{content}\n{match[2].lstrip()}", text)
    return text


def main() -> int:
    device = device_result()
    here = {**tables(json.loads(RESULTS.read_text())), **device_tables_of(device)}
    made = {README: here, PERFORMANCE: here, CUDA: expected_table(device)}
    old = {path: path.read_text() for path in made}
    new = {path: write(text, made[path]) for path, text in old.items()}
    changed = [path for path in made if old[path] != new[path]]
    if "--check" in sys.argv:
        for path in changed:
            print(f"{path.relative_to(ROOT)}'s tables are not those of bench/results: run `make tables`")
        return int(bool(changed))
    for path in changed:
        path.write_text(new[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
