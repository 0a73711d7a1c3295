"""Each row is measured in a process of its own, in which nothing has run before.

What a row finds does not depend on the rows before it: neither the heap (whether an allocator gets used pages back or
fresh ones from the system makes a memory-bound row ten times faster or slower) nor the threads that a library has left
awake. The processes are forks of one server that has imported the peers and run none of them: libraries with threads
do not survive a fork once these have started.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

import weft.kernels as K
from bench import machine
from bench.cases import mnist, models, ops, overhead
from bench.measure import Case, Effort, Row, measure
from bench.peers import chosen
from weft.limits import Limits

SUITES: dict[str, Callable[[bool], Iterator[Case]]] = {
    "ops": ops.cases, "models": models.cases, "overhead": overhead.cases, "mnist": mnist.cases,
}  # fmt: skip


class Settings(NamedTuple):
    """What every row of a run has in common."""

    quick: bool  # the shorter list of cases
    effort: Effort
    limits: Limits
    threads: int  # for weft and its peers alike
    modes: list[str]  # PyTorch's
    vs: str | None = None  # this peer alone


def run(case: Case, settings: Settings) -> Row:
    """Measures one row. A compiler takes many seconds: PyTorch compiles only where there is a figure to reach."""
    row = case.row
    modes = [mode for mode in settings.modes if mode != "compile" or row.figure is not None]
    with machine.Others() as others:
        row.values = case.measure(modes) if case.measure else measure(case.contestants(modes), settings.effort)
    row.others = others.share
    if row.unit == "s" and row.flop and row.suite != "overhead":
        row.percent = 100 * settings.limits.seconds(row.flop / row.peak, row.bytes) / row.ours
    return row


def _child(answer: Connection, suite: str, position: int, settings: Settings) -> None:
    """Measures the suite's row at that position. Cases hold functions, which can't be sent: it makes them again."""
    K.set_num_threads(settings.threads)
    if settings.vs:
        chosen.choose(settings.vs)
    chosen.set_threads(settings.threads)
    answer.send(run(list(SUITES[suite](settings.quick))[position], settings))


def start_server(settings: Settings) -> None:
    """Says what the server imports when the first row starts it."""
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else PyTorch's compiler has processes of its own
    preloaded = ["bench.rows"]
    if "compile" in settings.modes and chosen.have("torch"):
        preloaded += ["torch._dynamo", "torch._inductor.compile_fx"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(preloaded)


def run_alone(suite: str, position: int, settings: Settings) -> Row:
    """The row of `run` for the suite's case at that position, from a process of its own."""
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(there, suite, position, settings))
    child.start()
    there.close()
    try:
        row: Row = here.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"row {position} of {suite} failed: exit status {child.exitcode}") from None
    child.join()
    return row
