"""A child process with a time of its own: what it prints goes to a log, chosen lines to the terminal as well."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).resolve().parents[3]
TICK = 5.0  # seconds between two calls of `tick`
MARK = "WEFT_TEST_GPU_CHILD"


class Finished(NamedTuple):
    status: int | None  # None: the time was over and it was killed
    seconds: float
    tail: list[str]  # the last lines that it printed

    def last(self) -> str:
        """The last line that says anything."""
        return next((line.strip() for line in reversed(self.tail) if line.strip()), "it printed nothing")

    def how(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "the time was over"
        if self.status < 0:
            return f"killed by {signal.Signals(-self.status).name}"
        return f"exit status {self.status}"


def say(text: str) -> None:
    """Prints; a terminal that has gone away stops nothing."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def run(
    command: Sequence[str],
    log: Path,
    seconds: float,
    environment: Mapping[str, str] | None = None,
    shown: Callable[[str], bool] = lambda line: False,
    tick: Callable[[], object] = lambda: None,
) -> Finished:
    """Runs a command for so many seconds at most and appends to `log` what it prints.

    shown: whether a line goes to the terminal too. tick: called every few seconds and at the end. Whatever happens,
    an exception in this process too, nothing that the command started is left.
    """
    start = time.monotonic()
    grace = min(5.0, seconds / 10)  # between asking it to end and making it end: part of its time
    mark = f"{os.getpid()}-{secrets.token_hex(8)}"
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **(environment or {}), MARK: mark}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    tail: deque[str] = deque(maxlen=200)
    assert process.stdout is not None
    reader = threading.Thread(target=_read, args=(process.stdout, log, shown, tail), daemon=True)
    reader.start()
    try:
        ended = _wait(process, start + seconds - grace, tick)
        if not ended:
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        _end_members(mark)
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the driver: nothing can end it
            process.wait(10)
        reader.join(2)
    tick()
    return Finished(process.returncode if ended else None, time.monotonic() - start, list(tail))


def _wait(process: subprocess.Popen[str], deadline: float, tick: Callable[[], object]) -> bool:
    """Whether the process ended before the deadline."""
    ticked = time.monotonic()
    while (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(left, 0.2))
            return True
        if time.monotonic() - ticked > TICK:
            tick()
            ticked = time.monotonic()
    return process.poll() is not None


def _read(stream: IO[str], log: Path, shown: Callable[[str], bool], tail: deque[str]) -> None:
    """Until the stream ends. A log that cannot be written (a full disk) does not stop the child."""
    with contextlib.ExitStack() as stack:
        out: IO[str] | None = None
        try:
            out = stack.enter_context(log.open("a", buffering=1))
        except OSError as error:
            say(f"{log} is not written: {error}")
        for line in stream:
            tail.append(line.rstrip("\n"))
            if shown(tail[-1]):
                say(tail[-1])
            if out is not None:
                try:
                    out.write(line)
                except OSError as error:
                    say(f"{log} is not written any more: {error}")
                    with contextlib.suppress(OSError):
                        stack.close()
                    out = None


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _end_members(mark: str) -> None:
    """Ends them all, and waits until they have gone."""
    deadline = time.monotonic() + 5  # stuck in the driver: nothing can end it
    while (members := _members(mark)) and time.monotonic() < deadline:
        for member in members:
            with contextlib.suppress(OSError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.02)


def _members(mark: str) -> list[int]:
    """What began below a child, also in a process group of its own: each has the child's environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
    return found
