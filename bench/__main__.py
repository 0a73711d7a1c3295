"""Runs the suites and prints a table; --json keeps the rows."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import weft.kernels as K
from bench import machine, mnist, models, ops, peers
from bench.measure import Row, measure

SUITES = {"ops": ops.rows, "models": models.rows}
TORCH_MODES = ["eager", "channels_last", "compile"]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="suite",
        help="ops, models (both by default); mnist: LeNet-5 trained whole",
    )
    parser.add_argument("--quick", action="store_true", help="fewer shapes, shorter samples")
    parser.add_argument("--filter", default="", help="only rows whose name and shape match this regular expression")
    parser.add_argument("--threads", type=int, default=K.num_threads(), help="for weft and its peers alike")
    parser.add_argument(
        "--modes", default="eager,channels_last",
        help=f"PyTorch's modes for whole models, of {', '.join(TORCH_MODES)}; the fastest one counts",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the rows there")
    arguments = parser.parse_args(argv)
    arguments.suites = arguments.suites or list(SUITES)
    arguments.modes = arguments.modes.split(",")
    for suite in arguments.suites:
        if suite not in SUITES and suite != "mnist":
            parser.error(f"unknown suite {suite!r}: expected ops, models or mnist")
    for mode in arguments.modes:
        if mode not in TORCH_MODES:
            parser.error(f"unknown mode {mode!r}: expected one of {', '.join(TORCH_MODES)}")
    return arguments


def rate(row: Row) -> str:
    if row.flop:
        return f"{row.flop / row.ours / 1e9:8.1f} GFLOP/s"
    return f"{row.bytes / row.ours / 1e9:8.1f} GB/s   "


def show(row: Row) -> None:
    peer, ratio = row.best_peer(), row.ratio()
    beside = f"{peer[1] * 1e3:10.3f} ms  {peer[0]:20s} {ratio:6.2f}x" if peer else ""
    print(f"{row.name:42s} {row.shape:14s} {row.ours * 1e3:10.3f} ms {rate(row)} {beside}", flush=True)


def run_suite(suite: str, arguments: argparse.Namespace) -> list[Row]:
    done = []
    rounds, least = (5, 0.02) if arguments.quick else (9, 0.1)
    for row, contestants in SUITES[suite](arguments.quick, arguments.modes):
        if re.search(arguments.filter, f"{row.name} {row.shape}"):
            row.seconds = measure(contestants(), rounds=rounds, least=least)
            show(row)
            done.append(row)
    return done


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    K.set_num_threads(arguments.threads)
    peers.set_threads(arguments.threads)
    about = machine.describe()
    print(f"{about['processor']}, {about['threads']} threads, {about['isa']}, commit {about['commit']}")
    print("ratio: how many times faster than the best peer\n")
    result: dict[str, Any] = {"machine": about, "rows": []}
    for suite in arguments.suites:
        if suite == "mnist":
            result["mnist"] = mnist.run()
            continue
        for row in run_suite(suite, arguments):
            result["rows"].append({**asdict(row), "ratio": row.ratio()})
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
