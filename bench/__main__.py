"""Runs the suites and prints a table; --json keeps the rows."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import weft
import weft.kernels as K
from bench import machine
from bench.measure import QUICK, Effort, Row
from bench.peers import chosen, torch_peer
from bench.report import printed
from bench.rows import SUITES, Settings, run_alone, start_server
from weft.limits import Limits, machine_limits


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; default: all but mnist")
    parser.add_argument("--quick", action="store_true", help="fewer shapes, shorter samples")
    parser.add_argument("--filter", default="", help="only rows whose name and shape match this regular expression")
    parser.add_argument("--figures", action="store_true", help="only rows that have a figure to reach")
    parser.add_argument("--threads", type=int, default=K.num_threads(), help="for weft and its peers alike")
    parser.add_argument("--vs", choices=["torch"], help="beside this peer alone, in all its modes, mnist too; "
                        "ends with the figures to reach")  # fmt: skip
    parser.add_argument("--modes", help=f"PyTorch's modes, of {', '.join(torch_peer.MODES)} "
                        "(default: the first two); the best one counts")  # fmt: skip
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: the rows of bench/device")
    parser.add_argument("--budget", type=float, metavar="SECONDS",
                        help="with --device cuda: begins no row after so many, the most important first")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the rows there, after each of them")
    parser.add_argument("--plot", type=Path, help="draw the operations under the machine's roofline there (PNG)")
    arguments = parser.parse_args(argv)
    if arguments.budget is not None and arguments.device != "cuda":
        parser.error("--budget is for --device cuda")
    default = list(SUITES) if arguments.vs else [suite for suite in SUITES if suite != "mnist"]
    arguments.suites = arguments.suites or default
    modes = torch_peer.MODES if arguments.vs else torch_peer.MODES[:2]
    arguments.modes = arguments.modes.split(",") if arguments.modes else modes
    for given, known in ((arguments.suites, list(SUITES)), (arguments.modes, torch_peer.MODES)):
        for name in given:
            if name not in known:
                parser.error(f"{name!r} is none of {', '.join(known)}")
    return arguments


def save(path: Path, about: dict[str, Any], limits: Limits, rows: list[Row], **more: Any) -> None:
    """The file is whole at every moment: it is written beside and then put in the place of the one before."""
    result: dict[str, Any] = {
        "machine": about,
        "limits": limits._asdict(),
        **more,
        "rows": [{**asdict(row), "ratio": row.ratio(), "reached": row.reached()} for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(json.dumps(result, indent=1) + "\n")
    beside.replace(path)


def run_suites(arguments: argparse.Namespace, about: dict[str, Any], settings: Settings) -> list[Row]:
    """All rows. The file is written after each: a run that is stopped leaves what it has."""
    rows = []
    start_server(settings)
    for suite in arguments.suites:
        for position, case in enumerate(SUITES[suite](arguments.quick)):
            row = case.row
            if arguments.figures and row.figure is None and row.at_most is None:
                continue
            if re.search(arguments.filter, f"{row.name} {row.shape}"):
                rows.append(run_alone(suite, position, settings))
                print(printed.line(rows[-1]), flush=True)
                if arguments.json:
                    save(arguments.json, about, settings.limits, rows)
    return rows


def run_on_device(arguments: argparse.Namespace) -> int:
    """The rows of bench/device, in this process: a device has no heap that earlier rows could leave behind. They come
    in the order of their importance, and each is kept at once: a run that ends early has what counts most."""
    from bench import device

    session = device.Session(arguments.quick, arguments.budget)
    about = {**machine.describe(), "device": weft.cuda.get_device_properties(), "cuda": weft.config()["cuda"]}
    about["clocks"] = {"before": machine.gpu_clocks()}
    launches = device.launches(session)
    print(f"{about['device']['name']}, commit {about['commit']}; {about['clocks']['before']}")
    print("\n".join(printed.device_lines(session.limits, launches, session.without_peer)))
    wanted = [
        case for case in device.cases(arguments.quick)
        if re.search(arguments.filter, f"{case.row.suite} {case.row.name} {case.row.shape}")
    ]  # fmt: skip
    rows: list[Row] = []

    def keep() -> None:
        if arguments.json:
            more = {"launches": launches, "without_peer": session.without_peer, "left_out": len(wanted) - len(rows)}
            save(arguments.json, about, session.limits, rows, **more)

    for case in wanted:
        if session.over() or session.lost():
            break
        rows.append(session.run(case))
        print(printed.line(rows[-1]), flush=True)
        keep()
    about["clocks"]["after"] = machine.gpu_clocks()
    keep()
    print(f"clocks after: {about['clocks']['after']}")
    if len(rows) < len(wanted):
        why = "the device takes no more work" if session.lost() else f"the budget of {arguments.budget:g} s is over"
        print(f"{why}: {len(wanted) - len(rows)} of {len(wanted)} rows left out")
    if arguments.vs:
        print("\n" + printed.closing(rows))
    return int(session.lost())


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    if arguments.device == "cuda":
        return run_on_device(arguments)
    K.set_num_threads(arguments.threads)
    if arguments.vs:
        chosen.choose(arguments.vs)
    about = machine.describe()
    limits = machine_limits()
    print(f"{about['processor']}, {about['threads']} threads, {about['isa']}, commit {about['commit']}")
    print(f"limits: {limits.flops / 1e9:.1f} GFLOP/s in registers, {limits.bandwidth / 1e9:.1f} GB/s of memory")
    print("%: of the limit, x: how many times better than the best peer\n")
    effort = QUICK if arguments.quick else Effort()
    settings = Settings(arguments.quick, effort, limits, arguments.threads, arguments.modes, arguments.vs)
    rows = run_suites(arguments, about, settings)
    if arguments.vs:
        print("\n" + printed.closing(rows))
    if arguments.plot:
        from bench.report import plot

        plot.draw(rows, limits, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
