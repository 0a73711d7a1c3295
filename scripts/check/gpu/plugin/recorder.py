"""A plugin of pytest's that keeps what happens to each test, at once, and lets no test hang: `-p recorder`.

WEFT_RECORD names a file of JSON lines, one for each start and each result; with xdist its controller writes them all.
WEFT_TEST_SECONDS is how long a test may take. Then its process prints where it is and ends, as it does where a test has
broken the device for all later ones; xdist puts another in its place. Why a process ended so stands in
<WEFT_RECORD>.<its id>, below the test's name.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import pytest

RECORD = Path(os.environ["WEFT_RECORD"])
SECONDS = float(os.environ.get("WEFT_TEST_SECONDS", "0"))
LONGEST = 4000  # characters of a failure's text, from its end
LOST = "The device was lost"


def pytest_configure(config: pytest.Config) -> None:
    worker = hasattr(config, "workerinput")
    if not worker:
        config.pluginmanager.register(Recorder(), "weft-recorder")
    if worker or not getattr(config.option, "numprocesses", None):
        config.pluginmanager.register(Guard(worker), "weft-guard")


class Recorder:
    """In the process that hears of all tests."""

    def __init__(self) -> None:
        self._told = False

    def _write(self, **entry: Any) -> None:
        with contextlib.suppress(OSError), RECORD.open("a") as file:  # a full disk fails no test
            file.write(json.dumps(entry) + "\n")

    def _collected(self, count: int) -> None:
        if not self._told:
            self._write(event="collected", count=count)
        self._told = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._collected(len(ids))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._collected(len(session.items))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(event="result", test=report.nodeid, outcome="error", text=report.longreprtext[-LONGEST:])
        elif report.skipped:
            self._write(event="result", test=report.nodeid, outcome="skipped", text=reason(report))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(event="start", test=nodeid, time=time.time())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when not in ("setup", "call", "teardown"):  # xdist's, of a worker that ended
            outcome, text = why(report)
        elif report.failed:
            outcome, text = "failed" if report.when == "call" else "error", report.longreprtext[-LONGEST:]
        elif report.skipped:
            outcome, text = ("xfailed", report.wasxfail) if hasattr(report, "wasxfail") else ("skipped", reason(report))
        elif report.when == "call":
            outcome, text = "passed", ""
        else:
            return
        self._write(event="result", test=report.nodeid, outcome=outcome, text=text, seconds=report.duration)


def reason(report: Any) -> str:
    """Why a test was skipped."""
    place = report.longrepr
    return str(place[2] if isinstance(place, tuple) else place).removeprefix("Skipped: ")


def why(report: pytest.TestReport) -> tuple[str, str]:
    """What the worker left that ended in a test: hanging, device lost; else it crashed."""
    for path in RECORD.parent.glob(f"{RECORD.name}.*"):
        with contextlib.suppress(OSError):
            test, _, text = path.read_text(errors="replace").partition("\n")
            if test == report.nodeid and text:
                path.unlink()
                return "device lost" if text.startswith(LOST) else "hanging", text[:LONGEST]
    return "crashed", report.longreprtext[-LONGEST:]


class Guard:
    """In each process that runs tests."""

    def __init__(self, replaceable: bool) -> None:
        self._replaceable = replaceable
        self._failed = False
        self._note: IO[str] | None = None
        with contextlib.suppress(OSError):
            self._note = Path(f"{RECORD}.{os.getpid()}").open("w")  # noqa: SIM115

    def _begin(self, test: str) -> None:
        if self._note is not None:
            with contextlib.suppress(OSError):
                self._note.seek(0)
                self._note.truncate()
                self._note.write(test + "\n")
                self._note.flush()
        if SECONDS:
            faulthandler.dump_traceback_later(SECONDS, exit=True, file=self._note or sys.__stderr__)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._failed = False
        self._begin(item.nodeid)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()
            lost = device_lost() if self._failed and self._replaceable else ""
            if lost:
                with contextlib.suppress(OSError):
                    if self._note is not None:
                        self._note.write(f"{LOST}: {lost}\n")
                        self._note.flush()
                os._exit(3)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        report: Any = yield
        self._failed = self._failed or report.failed
        return report

    def pytest_unconfigure(self) -> None:
        if self._note is not None:
            self._note.close()
            with contextlib.suppress(OSError):
                os.unlink(self._note.name)


def device_lost() -> str:
    """The error that each use of the device gives from now on; empty where it can still be used."""
    kernels = sys.modules.get("weft.kernels")
    if kernels is None or not kernels.default_device().startswith("cuda"):
        return ""
    text = ""
    for _ in range(2):  # what one operation left is told once
        try:
            kernels.cuda_synchronize()
        except Exception as error:
            text = str(error)
        else:
            return ""
    return text
