"""The import and the kernels on emulated processors of former years."""

from __future__ import annotations

import importlib.util

import pytest

from helpers import ROOT

SCRIPT = ROOT / "scripts" / "check" / "check_old_cpu.py"


def test_old_processors_import_and_compute(capsys: pytest.CaptureFixture[str]) -> None:
    """Says so and does nothing where there is no emulator."""
    spec = importlib.util.spec_from_file_location("check_old_cpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    assert check.main() == 0
    printed = capsys.readouterr().out
    assert "no qemu-x86_64" in printed or printed.count("computes like the naive kernels") == len(check.PROCESSORS)
