"""The fuzzer notices what it is for: it is shown one planted fault of each kind."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from fuzz import calls, children, files, kills, processes, programs

import weft

pytestmark = [pytest.mark.once, pytest.mark.cpu]


def index_of(name: str) -> int:
    """An input whose call is of this callable."""
    return next(i for i in range(100_000) if calls.call_of(0, i)[0].name == name)


def happened(name: str, *lines: str) -> str:
    """What is found in lines that stand for a call of a callable."""
    found = calls.attempt(children.Report(calls.PART, 0), index_of(name), 1, list(lines))
    return found[0][1] if found else ""


def test_deaths_and_hangs_belong_to_their_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "dies (-6)" in happened("k.add", "x = __import__('os')", "x.abort()")
    assert "dies (-11)" in happened("k.add", "x = __import__('ctypes')", "x.string_at(0)")
    monkeypatch.setattr(calls, "PATIENCE", 1.0)
    assert happened("k.add", "x = __import__('time')", "x.sleep(60)") == "hangs"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("std::bad_alloc", "useless text (std::)"),
        ("Unable to cast Python instance", "useless text (Unable to cast)"),
        ("", "ValueError without a text"),
        ("something went wrong", "a text that names no operation"),
        ("add: shapes (2,) and (3,) do not broadcast", ""),
    ],
)
def test_texts(text: str, finding: str) -> None:
    assert happened("k.add", f"(_ for _ in ()).throw(ValueError({text!r}))").startswith(finding)


def test_kinds_of_errors() -> None:
    assert happened("k.add", "{}['x']").startswith("KeyError")
    assert happened("k.add", "(1).shape").startswith("AttributeError")
    assert happened("k.add", "(_ for _ in ()).throw(RecursionError('add: too deep'))").startswith("RecursionError")
    assert happened("k.add", "'add: \\ud800'.encode()").startswith("UnicodeEncodeError")
    assert happened("k.add", "lying('float').__float__()") == ""  # its own error


def test_values() -> None:
    assert happened("k.add", "a = A((3,))", "a.fill(0)") == "changes its argument a"
    wrong = "k.ones((3,)) if k.isa() == 'reference' else k.zeros((3,))"
    assert happened("k.add", wrong).startswith("differs from the naive kernels")
    assert happened("k.exp", "x = A((3,))", "k.sin(x)").startswith("differs from NumPy")
    assert happened("k.exp", "x = A((3,))", "out = A((3,))", "k.exp(x)") == "the result is not in out"
    assert happened("k.exp", "x = A((3,))", "k.exp(x)") == ""


def test_pythons_own_functions_are_compared_too() -> None:
    wrong = "T(k.ones((3,)) if k.isa() == 'reference' else k.zeros((3,)))"
    assert happened("F.relu", "input = T(A((3,)))", wrong).startswith("differs from the naive kernels")
    assert happened("F.relu", "input = T(A((3,)))", "input.fill_(0)") == "changes its argument input"
    assert happened("F.relu", "input = T(A((3,)))", "F.relu(input)") == ""


def test_what_is_refused_changes_nothing() -> None:
    half = "[x.fill(0), (_ for _ in ()).throw(ValueError('exp: half'))][1].send(None)"
    assert happened("k.exp", "x = A((3,))", half) == "refused, but changes its argument x"


def test_the_calls_after_a_death_are_made() -> None:
    found = calls.attempt(children.Report(calls.PART, 0), 3, 3, ["x = __import__('os')", "x.abort()"])
    assert [index for index, _ in found] == [3, 4, 5]


def test_a_good_share_of_calls_is_accepted() -> None:
    report = children.Report(calls.PART, 0)
    calls.attempt(report, 0, 300)
    assert report.counts["accepted"] + report.counts["refused"] == 300
    assert report.counts["accepted"] > 100


def test_every_public_function_of_the_module_is_called() -> None:
    functions = {f"k.{n}" for n, f in vars(weft.kernels).items() if not n.startswith("_") and inspect.isroutine(f)}
    assert len(functions) > 150
    assert functions <= {t.name for t in calls.targets()}


def test_a_new_operation_needs_nothing_but_its_stub() -> None:
    from fuzz.targets import of_stub

    (target,) = of_stub("def later(x: ArrayLike, axis: int = -1, out: OutputLike | None = None) -> Array: ...")
    assert target.name == "k.later"
    assert [(p.name, p.required) for p in target.parameters] == [("x", True), ("axis", False), ("out", False)]
    for i in range(50):
        lines = calls.draw_call(children.stream(0, "calls", i), target).lines()
        assert lines[-1].startswith("k.later(")


def test_inputs_are_functions_of_seed_part_and_index() -> None:
    assert calls.call_of(3, 17) == calls.call_of(3, 17) != calls.call_of(4, 17)
    assert programs.program(3, 17) == programs.program(3, 17) != programs.program(3, 18)
    assert processes.script_of(3, 17) == processes.script_of(3, 17)


@pytest.mark.needs("torch")
def test_programs_beside_another_library() -> None:
    import torch

    lines = ["t0 = L.tensor(numbers(0, (2, 3)), dtype=L.float64, requires_grad=True)", "t1 = t0 * 2", "t2 = t1.exp()"]
    assert programs.compare(lines, torch) == ("same", "")

    class Wrong:
        float64 = torch.float64

        def tensor(self, *args: Any, **options: Any) -> Any:
            return torch.tensor(*args, **options) + 1e-3

    assert programs.compare(lines, Wrong())[1].startswith("`t0 = L.tensor")
    lines += ["t3 = t2.nothing()"]
    assert programs.compare(lines, torch)[0] == "same"  # both refuse
    wrong = [*lines[:2], "t0.sum().backward() if L.__name__ == 'weft' else None"]
    assert "the gradient of t0" in programs.compare(wrong, torch)[1]
    assert programs.shrunk(wrong, torch) == [wrong[0], wrong[2]]


def test_files_that_are_taken_and_loads_that_stop_halfway(monkeypatch: pytest.MonkeyPatch) -> None:
    report = children.Report(files.PART, 0)
    monkeypatch.setattr(files, "FORMATS", (files.Tensors,))
    monkeypatch.setattr(files.Tensors, "read", lambda self, path: path.read_bytes())
    files.try_all(report, 0, 40)
    assert any(f.happened == "damaged data is read without a word" for f in report.findings)

    def half(self: Any, path: Path) -> Any:
        self.used.epoch += 1
        raise ValueError(f"{path} is damaged")

    report = children.Report(files.PART, 0)
    monkeypatch.setattr(files, "FORMATS", (files.CheckpointFile,))
    monkeypatch.setattr(files.CheckpointFile, "read", half)
    files.try_all(report, 0, 3)
    assert all(f.happened.startswith("refused, but something was changed") for f in report.findings)
    assert report.findings


def test_scenes_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    assert children.run("import time; time.sleep(60)", seconds=1).happened == "hangs"
    assert children.run("import os; os.abort()").happened.startswith("dies of SIGABRT")
    assert children.run("raise ValueError('this')").happened == "ValueError: this"
    report = children.Report(processes.PART, 0)
    monkeypatch.setattr(processes, "COMMON", "raise SystemExit('planted')\n")
    processes.try_one(report, 0)
    assert report.findings[0].happened.endswith("planted")
    report = children.Report(kills.PART, 0)
    monkeypatch.setattr(kills, "SPOILED", "assert False, 'planted'")
    kills.try_one(report, 1)
    assert report.findings[0].happened.endswith("planted")


def test_a_training_that_ends_otherwise_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result hangs on whether something was there when it began."""
    kills.undisturbed.cache_clear()
    monkeypatch.setattr(
        kills, "WHOLE", "import os, sys; print(os.path.exists(sys.argv[1])); open(sys.argv[1], 'a').write('x')"
    )
    report = children.Report(kills.PART, 0)
    kills.killed(report, 0)
    kills.undisturbed.cache_clear()
    assert [f.happened for f in report.findings] == ["a killed training ends with other bits than an undisturbed one"]


def test_findings_are_told_and_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from fuzz import __main__ as whole

    def planted(part: str, seed: int, *_: Any) -> children.Report:
        report = children.Report(part, seed)
        if part == "calls":
            report.found(7, "k.add(1)", "dies")
        return report

    monkeypatch.setattr(whole, "run_part", planted)
    monkeypatch.setattr("sys.argv", ["fuzz", "--seed", "2"])
    assert whole.main() == 1
    assert "calls, seed 2, index 7: dies\n    k.add(1)" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["fuzz", "--only", "files"])
    assert whole.main() == 0
