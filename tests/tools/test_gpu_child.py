"""What the parts of test_gpu.py stand on: children that keep their time, the JSON, what the machine is."""

from __future__ import annotations

import errno
import importlib
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from helpers import ROOT

pytestmark = [pytest.mark.cpu, pytest.mark.once]

SCRIPTS = ROOT / "scripts" / "check"
sys.path.append(str(SCRIPTS))
child, machine, results = (importlib.import_module(f"gpu.{name}") for name in ("child", "machine", "results"))
sys.path.remove(str(SCRIPTS))  # its files have the names of packages


def code(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def alive(pid: int) -> bool:
    """Whether a process goes on; a zombie does not, nor one that was killed and is about to go."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return False
        except OSError:
            return False
        time.sleep(0.05)
    return True


# --- a child ---

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(other.pid, flush=True)
time.sleep(600)
"""


def test_a_child_keeps_its_time_and_leaves_nothing(tmp_path: Path) -> None:
    done = child.run(code(STUBBORN), tmp_path / "log", 3.0)
    assert done.status is None
    assert done.seconds < 60
    assert done.how() == "the time was over"
    assert not alive(int(done.tail[0]))  # though it had made a session of its own
    assert (tmp_path / "log").read_text() == f"{done.tail[0]}\n"


def test_a_child_that_leaves_something_behind(tmp_path: Path) -> None:
    ends = STUBBORN.rpartition("time.sleep")[0]
    done = child.run(code(ends), tmp_path / "log", 60.0)
    assert done.status == 0
    assert not alive(int(done.tail[0]))


def test_how_a_child_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = child.run(code("import os; os.kill(os.getpid(), 9)"), tmp_path / "log", 60.0)
    assert killed.how() == "killed by SIGKILL"
    failed = child.run(code("print('one'); print('two'); exit(3)"), tmp_path / "log", 60.0, shown=lambda s: "w" in s)
    assert (failed.how(), failed.last()) == ("exit status 3", "two")
    assert capsys.readouterr().out == "two\n"


def test_a_log_on_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    done = child.run(code("for i in range(9): print(i)"), tmp_path / "log", 60.0)
    assert (done.status, done.tail) == (0, [str(i) for i in range(9)])
    assert capsys.readouterr().out.count("is not written") == 1


# --- the JSON ---


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    results.replace(tmp_path / "x", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        results.replace(tmp_path / "x", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir() if path.is_file()] == [("x", b"old")]


def test_rows_of_one_commit_are_merged(tmp_path: Path) -> None:
    def measured(commit: str, **values: float) -> dict[str, Any]:
        rows = [{"suite": "s", "name": name, "shape": "", "value": value} for name, value in values.items()]
        return {"machine": {"commit": commit}, "limits": {}, "rows": rows}

    def values() -> list[tuple[str, float]]:
        return [(row["name"], row["value"]) for row in kept.data["rows"]]

    kept = results.Results(tmp_path, "x")
    kept.add_rows(measured("a", one=1, two=2), False)
    kept.add_rows(measured("a", two=3), False)
    assert values() == [("two", 3), ("one", 1)]
    kept.add_rows(measured("a", two=4), True)
    assert values() == [("two", 4)]
    kept.add_rows(measured("b", one=5), True)
    assert values() == [("one", 5)]
    small = measured("b", one=5)
    small["rows"] *= 2  # quick rows of several shapes have the same name
    kept.add_rows(small, True)
    kept.add_rows(small, True)
    assert values() == [("one", 5), ("one", 5)]


# --- the machine ---


def test_only_the_present_devices_are_built_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 9.0, 580.65, 143771 MiB'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = machine.devices()
    assert (found[0]["name"], found[0]["driver_version"]) == ("NVIDIA H200", "580.65")
    assert machine.architectures(found) == "90-real"
    assert machine.slug(found[0]["name"]) == "nvidia-h200"
    assert machine.architectures([{"compute_cap": "12.0"}, {"compute_cap": "8.0"}]) == "80-real;120-real"
    assert machine.architectures([]) is None


def test_the_commit_of_a_copy_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import host
    from bench import machine as bench_machine

    assert machine.commit is bench_machine.commit is host.commit
    monkeypatch.delenv("WEFT_COMMIT", raising=False)
    assert host.commit() not in ("unknown", "0123456789")
    monkeypatch.setattr(host, "ROOT", tmp_path)
    assert host.commit() == "unknown"
    monkeypatch.setenv("WEFT_COMMIT", "0123456789")
    assert host.commit() == "0123456789"
