"""All checks that need a CUDA device, in one command: `make test-gpu`, or this with the Python that has PyTorch.

    build      the backend for this machine's device alone (build/gpu)
    suite      the test suite on the device, the tests of the CUDA kernels first
    bench      python -m bench --device cuda, beside PyTorch where there is one
    sanitizer  compute-sanitizer's four tools over the kernels' tests

`--only build` does one part; it may be given several times. Each part has 480 seconds (`--budget 300`,
`--budget suite=240`), keeps them, and says what it has by then; each runs even where one before failed. All results
stand in one JSON, OUT/<device>.json, which is whole at every moment and to which a later part adds; the logs lie beside
it. `make tables` reads it from bench/results.

Needs nvcc, CMake, ninja or make, pybind11, NumPy, pytest, pytest-xdist, hypothesis and, for the comparison, PyTorch,
all installed already: nothing is fetched. Where there is no .git, WEFT_COMMIT says which commit this is. `--emulated`
tries the same on a machine without a GPU, on the emulated device.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu import machine
from gpu.benchmark import benchmark
from gpu.build import build
from gpu.child import ROOT, say
from gpu.part import NotPossible, Part
from gpu.results import Results
from gpu.sanitizer import sanitizer
from gpu.suite import suite

PARTS: dict[str, Callable[[Part], dict[str, Any]]] = {
    "build": build,
    "suite": suite,
    "bench": benchmark,
    "sanitizer": sanitizer,
}
SECONDS = 480.0


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="test_gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(PARTS), action="append", help="this part; may be given several times")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu", help="folder of the results (runs/gpu)")
    parser.add_argument("--budget", action="append", default=[], metavar="[PART=]SECONDS",
                        help=f"of each part, or of one (default: {SECONDS:.0f})")  # fmt: skip
    parser.add_argument("--tests", default="", help="arguments of pytest in place of all test files")
    parser.add_argument("--test-seconds", type=float, help="what a single test may take (120; emulated 600)")
    parser.add_argument("--quick", action="store_true", help="the benchmarks' rows are small: only whether they run")
    parser.add_argument("--emulated", action="store_true", help="without a GPU: on the emulated device")
    settings = parser.parse_args(argv)
    settings.build = ROOT / "build" / ("gpu_emulated" if settings.emulated else "gpu")
    settings.test_seconds = settings.test_seconds or (600.0 if settings.emulated else 120.0)
    settings.seconds = dict.fromkeys(PARTS, SECONDS)
    for given in settings.budget:
        name, _, number = given.rpartition("=")
        if (name and name not in PARTS) or not number.replace(".", "", 1).isdigit():
            parser.error(f"--budget: expected SECONDS or PART=SECONDS, got {given!r}")
        settings.seconds.update(dict.fromkeys([name] if name else PARTS, float(number)))
    return settings


def begin(settings: argparse.Namespace) -> Results:
    """The results, with what is known of the machine."""
    about, devices = machine.describe(), [] if settings.emulated else machine.devices()
    name = "emulated" if settings.emulated else machine.slug(devices[0]["name"] if devices else "")
    results = Results(settings.out.resolve(), name)
    # The machine of rows that were measured earlier stays theirs.
    before = results.data["machine"] if results.data["rows"] else {}
    results.data["machine"] = {**about, **before, "versions": {**about["versions"], **before.get("versions", {})}}
    results.data["device"].update({"nvidia-smi": devices} if devices else {})
    results.save()
    named = devices[0]["name"] if devices else "the emulated device" if settings.emulated else "no device answers"
    say(f"{named}, commit {about['commit']} -> {results.path}")
    return results


def run_part(name: str, settings: argparse.Namespace, results: Results) -> str:
    """The part's status. Whatever happens in it, the results say so and are written."""
    start, seconds = time.monotonic(), settings.seconds[name]
    say(f"\n== {name} ({seconds:.0f} s at most)")
    part = Part(name, seconds, settings, results)
    results.log(name)
    part.report(commit=machine.commit())
    found: dict[str, Any] = {"status": "interrupted", "reason": "test_gpu.py was stopped"}
    try:
        found = PARTS[name](part)
    except NotPossible as error:
        found = {"status": "not run", "reason": str(error)}
    except Exception as error:
        found = {"status": "failed", "reason": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    finally:
        part.report(**found, seconds=round(time.monotonic() - start, 1))
        shutil.rmtree(part.scratch, ignore_errors=True)
        say(f"== {name}: {found['status']} in {part.found['seconds']:.0f} s: {found['reason']}")
    return str(found["status"])


def main(argv: list[str] | None = None) -> int:
    settings = parse(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that no child is left and the results are written
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, lambda *_: sys.exit("test_gpu.py was stopped"))
    start = time.monotonic()
    results = begin(settings)
    states = {name: run_part(name, settings, results) for name in PARTS if not settings.only or name in settings.only}
    # A sanitizer that cannot attach says nothing of weft.
    bad = [name for name, state in states.items() if state != "passed" and (name, state) != ("sanitizer", "not run")]
    say(f"\n== done in {time.monotonic() - start:.0f} s; not passed: {', '.join(bad) or 'none'}; {results.path}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
