"""Writes the README's tables from bench/results/cpu.json, between markers; --check only compares.

A table stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "cpu.json"
README = ROOT / "README.md"


def milliseconds(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}"


def row_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| what | size | weft, ms | best peer, ms | | times faster |", "|---|---|---:|---:|---|---:|"]
    for row in rows:
        peers = {name: s for name, s in row['values'].items() if name != "weft"}
        name, seconds = min(peers.items(), key=lambda item: item[1]) if peers else ("", 0.0)
        beside = f"{milliseconds(seconds)} | {name} | {seconds / row['values']['weft']:.2f}" if peers else " | | "
        lines.append(f"| {row['name']} | {row['shape']} | {milliseconds(row['values']['weft'])} | {beside} |")
    return "\n".join(lines)


def machine_line(machine: dict[str, Any]) -> str:
    torch = machine["versions"].get("torch", "none")
    return (
        f"{machine['processor']}, {machine['threads']} threads, {machine['isa']}; PyTorch {torch}; "
        f"{machine['date']}, commit {machine['commit']}."
    )


def mnist_line(mnist: dict[str, Any]) -> str:
    return (
        f"LeNet-5 ({mnist['parameters']:,} parameters) reaches **{100 * mnist['test_accuracy']:.2f}%** "
        f"on MNIST's test set after {mnist['epochs']} epochs with seed {mnist['seed']}. Training takes "
        f"{mnist['train_seconds']:.0f} s ({mnist['images_per_second']:,.0f} images per second), "
        f"the whole process {mnist['process_seconds']:.0f} s."
    )


def tables(result: dict[str, Any]) -> dict[str, str]:
    suites = {suite: [r for r in result["rows"] if r["suite"] == suite] for suite in ("models", "ops")}
    made = {suite: row_table(rows) for suite, rows in suites.items() if rows}
    made["machine"] = machine_line(result["machine"])
    if "mnist" in result:
        made["mnist"] = mnist_line(result["mnist"])
    return made


def write(text: str, made: dict[str, str]) -> str:
    for name, table in made.items():
        pattern = re.compile(rf"(<!-- bench:{name} -->\n).*?(\n?<!-- /bench:{name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2].lstrip()}", text)
    return text


def main() -> int:
    before = README.read_text()
    after = write(before, tables(json.loads(RESULTS.read_text())))
    if "--check" in sys.argv:
        if before != after:
            print("README.md's tables are not those of bench/results/cpu.json: run `make tables`")
        return int(before != after)
    README.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
