"""A plugin of pytest that runs tests on mutants: it collects once, and forks a process for each mutant.

mutate_cuda.py starts it, with a pipe for jobs and one for answers (WEFT_MUTANT_PIPES), a line of JSON each:

    {"mutant": 17, "order": "reverse", "tests": ["tests/cuda/test_x.py::test_y"], "seconds": 10}    to run
    {"how": "failed", "test": "tests/cuda/test_x.py::test_y"}     or "passed", "crashed", "timeout"

With WEFT_MUTANT_RECORD=1 it runs every test instead, and answers with the numbers of the mutants that would have made a
difference in it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import time
from typing import Any

import hypothesis
import numpy as np
import pytest
from _pytest.runner import runtestprotocol

import weft.kernels as K


def pytest_collection() -> None:
    """An example that fails is enough; to make it smaller takes time."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", hypothesis.settings.get_profile("weft"), phases=phases)
    hypothesis.settings.load_profile("mutants")


def passes(item: pytest.Item, following: pytest.Item | None) -> bool:
    return all(report.passed or report.skipped for report in runtestprotocol(item, log=False, nextitem=following))


def record(items: list[pytest.Item], answers: Any) -> None:
    library = ctypes.CDLL(K.__file__)
    differs = np.ctypeslib.as_array((ctypes.c_ubyte * 200_000).in_dll(library, "weft_mutant_differs"))
    for index, item in enumerate(items):
        differs[:] = 0
        start = time.process_time()
        good = passes(item, items[index + 1] if index + 1 < len(items) else None)
        seconds = time.process_time() - start
        row = {"test": item.nodeid, "good": good, "seconds": seconds, "mutants": np.flatnonzero(differs).tolist()}
        print(json.dumps(row), file=answers, flush=True)


def run(job: dict[str, Any], items: dict[str, pytest.Item], told: int) -> None:
    """In a process of its own: the tests up to the first that fails, the name of which goes to `told` beforehand."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    limit = int(job["seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(4 * limit)  # for one that sleeps
    os.environ["WEFT_EMULATED_ORDER"] = job["order"]
    ctypes.c_int.in_dll(ctypes.CDLL(K.__file__), "weft_mutant").value = job["mutant"]
    chosen = [items[name] for name in job["tests"]]
    for index, item in enumerate(chosen):
        os.write(told, f"{index}\n".encode())
        if not passes(item, chosen[index + 1] if index + 1 < len(chosen) else None):
            os._exit(1)
    os._exit(0)


def serve(items: dict[str, pytest.Item], jobs: Any, answers: Any) -> None:
    for line in jobs:
        job = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(read)
                run(job, items, write)
            finally:
                os._exit(1)
        os.close(write)
        with os.fdopen(read) as pipe:
            started = pipe.read().split()
        status = os.waitpid(child, 0)[1]
        how = "passed"
        if os.WIFSIGNALED(status):
            how = "timeout" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL) else "crashed"
        elif os.WEXITSTATUS(status) != 0:
            how = "failed"
        last = job["tests"][int(started[-1])] if started and how != "passed" else None
        print(json.dumps({"how": how, "test": last}), file=answers, flush=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    jobs, answers = map(int, os.environ["WEFT_MUTANT_PIPES"].split(","))
    with os.fdopen(jobs) as incoming, os.fdopen(answers, "w") as outgoing:
        if "WEFT_MUTANT_RECORD" in os.environ:
            record(session.items, outgoing)
        else:
            print("ready", file=outgoing, flush=True)
            serve({item.nodeid: item for item in session.items}, incoming, outgoing)
    return True
