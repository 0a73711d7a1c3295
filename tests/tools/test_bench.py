"""The benchmarks' machinery on tiny rows, so that it cannot rot. No time is asserted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
from bench import __main__ as command
from bench import device, machine, rows
from bench.cases import mnist, overhead
from bench.device import arrays, session
from bench.measure import Contestant, Effort, Row, in_turn, measure
from bench.peers import chosen
from bench.report import device_tables, expected, printed, tables
from weft.limits import Limits, machine_limits

SMALL = "gemm 64x120|conv2d 5x5 1->6|(relu|_pool2d 2x2|gelu, backward) 64|entropy.* 64x10|batch 1$|batch 4"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of each contestant."""
    monkeypatch.setattr(command, "QUICK", Effort(rounds=1, least=0.0, budget=0.0))
    monkeypatch.setattr(command, "machine_limits", lambda: Limits(1e11, 1e10))


@pytest.mark.usefixtures("hasty")
def test_rows_json_and_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out, picture = tmp_path / "new" / "rows.json", tmp_path / "roofline.png"
    arguments = ["ops", "models", "overhead", "--quick", "--filter", SMALL, "--json", str(out), "--plot", str(picture)]
    assert command.main(arguments) == 0
    result = json.loads(out.read_text())
    assert len(result["rows"]) >= 10
    for row in result["rows"]:
        assert all(value > 0 for value in row["values"].values())
        assert any(name.startswith("weft") for name in row["values"])
    assert {row["suite"] for row in result["rows"]} == {"ops", "models", "overhead"}
    assert picture.read_bytes()[:4] == b"\x89PNG"
    made = tables.tables(result)
    assert "| gemm | 64x120x400 |" in made["figures"] + made["ops"]


@pytest.mark.usefixtures("hasty")
def test_closing_table_beside_torch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(chosen, "_wanted", set(chosen._wanted))
    command.main(["--vs", "torch", "--quick", "--modes", "eager", "--filter", "one eager add|gemm 64x|installed"])
    printed = capsys.readouterr().out
    assert "numpy" not in printed
    closing = printed[printed.index("figures") :].splitlines()
    assert [line.split("  ")[0] for line in closing[1:4]] == [
        "gemm, 64x120x400",
        "one eager add, 4",
        "installed size, files",
    ]
    assert closing[-1].endswith("of 3 reached")


def test_the_picture_numbers_few_rows_and_names_them() -> None:
    pytest.importorskip("matplotlib")
    from bench.report import plot

    rows = [case.row for case in command.SUITES["ops"](False)]
    assert set(plot.NAMED) <= {(row.name, row.shape) for row in rows}
    named, others = plot.split(rows)
    assert len(named) == len(plot.NAMED) == 20
    assert len(named) + len(others) == len(rows)
    lines = [text for text, _, _ in plot.key_lines(named, others)]
    assert len(lines) < 30
    assert lines[1] == "1  64x120x400: 0%"
    assert lines[-1] == f"small dots: {len(others)} other rows of the tables"
    assert plot.split(rows[:20]) == (rows[:20], [])
    short = [plot.short(row) for row in named if row.name in ("layer_norm", "relu")]
    assert short == ["relu 64x56²", "layer_norm 8x512x768"]


def test_each_row_of_every_suite_has_its_own_name() -> None:
    for quick in (True, False):
        names = [(case.row.name, case.row.shape) for suite in command.SUITES.values() for case in suite(quick)]
        assert len(names) == len(set(names))


def test_a_row_that_fails_says_so() -> None:
    settings = rows.Settings(True, Effort(rounds=1, least=0.0, budget=0.0), Limits(1e11, 1e10), 1, ["eager"])
    with pytest.raises(RuntimeError, match="row 999 of overhead failed: exit status 1"):
        rows.run_alone("overhead", 999, settings)


def test_arguments_that_are_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in ((["speed"], "'speed' is none of"), (["--modes", "fast"], "'fast' is none of")):
        with pytest.raises(SystemExit):
            command.parse(arguments)
        assert message in capsys.readouterr().err


def test_contestants_take_turns() -> None:
    calls: list[str] = []
    contestants = [Contestant(name, lambda name=name: calls.append(name)) for name in "ab"]
    values = measure(contestants, Effort(rounds=4, least=0.0, budget=1.0))
    assert set(values) == {"a", "b"}
    assert "".join(calls[-8:]) == "abbaabba"
    runs = in_turn([lambda: 1, lambda: 2])
    assert [runs() for _ in range(3)] == [1, 2, 1]


def test_ratios_and_verdicts() -> None:
    row = Row(
        "ops", "gemm", "1x1x1", figure=2.0, values={"weft eager": 2.0, "weft captured": 1.0, "torch": 1.9, "numpy": 1.1}
    )
    assert row.ours == 1.0
    assert row.best_peer() == ("numpy", 1.1)
    assert row.ratio("torch") == 1.9
    assert row.reached() is False
    assert Row("o", "import", "", at_most=0.15, values={"weft": 0.1}).reached() is True
    assert Row("o", "alone", "", figure=1.0, values={"weft": 0.1}).reached() is None
    assert [printed.amount(v, "s") for v in (2.0, 2e-3, 2e-6)] == ["2.00 s", "2.00 ms", "2.00 us"]


def test_seconds_to_accuracy_of_a_process() -> None:
    lines = "print('epoch 1/2: test accuracy 98.00%'); print('epoch 2/2: test accuracy 99.05%')"
    reached, whole, epochs = mnist.train(["-c", lines])
    assert 0 < reached <= whole
    assert epochs == 2
    assert mnist.train(["-c", "print('epoch 1/1: test accuracy 99.04%')"])[0] == float("inf")
    with pytest.raises(RuntimeError, match="failed"):
        mnist.train(["-c", "raise SystemExit(1)"])


def test_new_processes_measure_import_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "_wanted", {"numpy"})
    assert 0 < overhead.import_seconds("weft") < 60
    assert set(overhead.peak_memory([])) == {"weft"}
    assert overhead.installed("weft") > 0.5


def test_tables_are_written_between_their_markers() -> None:
    text = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n<!-- bench:y -->\nkept\n<!-- /bench:y -->\n"
    written = tables.write(text, {"x": "new | 1"})
    assert written == text.replace("old", "new | 1")
    assert tables.write(written, {"x": "new | 1"}) == written


def test_the_readme_and_docs_have_the_tables_of_the_committed_results() -> None:
    result = json.loads(tables.RESULTS.read_text())
    assert {(row["name"], row["shape"]) for row in result["rows"]}.issuperset(tables.HEADLINES)
    texts = [path.read_text() for path in (tables.README, tables.PERFORMANCE)]
    for made in (tables.tables(result), tables.device_tables_of(tables.device_result())):
        assert all(f"<!-- bench:{name} -->" in "".join(texts) for name in made)
        assert [tables.write(text, made) for text in texts] == texts
    text = tables.CUDA.read_text()
    assert "<!-- bench:expected -->" in text
    assert tables.write(text, tables.expected_table(tables.device_result())) == text


def row_of(suite: str, name: str, shape: str, figure: float | None = None, **values: float) -> Row:
    return Row(suite, name, shape, figure=figure, values={key.replace("_", " "): v for key, v in values.items()})


def test_the_table_of_a_device() -> None:
    slow = row_of("memory", "add", "4x4", weft=1.0)
    slow.percent = 89.0
    failed = row_of("conv2d", "b, dw", "1", 0.8)
    failed.error = "MemoryError: no room"
    found = [
        row_of("gemm", "sgemm", "1024", 0.9, weft=1.0, torch_cuBLAS=0.95),
        row_of("gemm", "sgemm", "2048", 0.9, weft=1.0, torch_cuBLAS=1.2),
        row_of("conv2d", "a, dx", "1", 0.8, weft_contiguous=2.0, weft_channels_last=1.0, torch_cuDNN=1.0),
        row_of("conv2d", "small, dx", "1", None, weft=9.0, torch_cuDNN=1.0),
        row_of("conv2d", "a, dw", "1", 0.8, weft=1.0, torch_cuDNN=1.0),
        failed,
        slow,
        row_of("step", "LeNet-5, training step", "batch 64", 2.0, weft_captured=1.0, torch_graph=1.9, torch_eager=11.0),
        row_of("step", "ResNet-18 224x224, training step", "batch 64", weft=1.0, torch_graph=0.5),
        row_of("mnist", "LeNet-5", "training alone", weft=0.5),
    ]
    lines = {line[0]: line[1:] for line in device_tables.lines(found)}
    assert lines["SGEMM, 1024 to 8192, beside cuBLAS"] == ["0.9", "0.95 to 1.20", "yes"]
    assert lines["ResNet-50's convolutions, forward, beside cuDNN"] == ["0.8", "not measured", ""]
    assert lines["ResNet-50's convolutions, dx, beside cuDNN"] == ["0.8", "1.00", "yes"]
    assert lines["ResNet-50's convolutions, dw, beside cuDNN"] == ["0.8", "failed to 1.00", "no"]
    assert lines["memory-bound kernels of 512 MB arrays, of a copy's bandwidth"] == ["90%", "89%", "no"]
    assert lines["LeNet-5, training step, batch 64, beside PyTorch in its best mode"] == ["2", "1.90", "no"]
    assert lines["LeNet-5, training step, batch 64, beside PyTorch eager"] == ["10", "11.00", "yes"]
    assert lines["LeNet-5, training step, batch 512, beside PyTorch eager"] == ["10", "not measured", ""]
    assert lines["ResNet-18, training step, 224x224, batch 64, beside PyTorch in its best mode"] == ["", "0.50", ""]
    assert lines["LeNet-5 on MNIST to 99.05%, training, data on the device"] == ["under 1 s", "500 ms", "yes"]


def test_what_is_said_about_a_device() -> None:
    clocks = {"clocks.sm": "1980", "power.draw": "120", "power.limit": "700", "temperature.gpu": "35"}
    result: dict[str, Any] = {
        "machine": {
            "device": {"name": "H200"}, "versions": {"torch": "2.13"}, "date": "2030-01-01", "commit": "abc",
            "clocks": {"before": clocks, "after": "nvidia-smi: gone"},
        },
        "limits": {"flops": 6e13, "bandwidth": 4.3e12},
        "launches": {"weft": {"device": 2e-6, "host": 3e-6}},
        "left_out": 7,
    }  # fmt: skip
    assert device_tables.about(result) == (
        "H200: 60.0 TFLOP/s of multiply-adds in registers, 4.30 TB/s copied. PyTorch 2.13; 2030-01-01, commit abc. "
        "Clocks: before 1980 MHz, 120 of 700 W, 35 degrees. A launch with nothing to do takes weft 2.00 us of the "
        "device and 3.00 us of the host. 7 rows were left out."
    )


def test_the_table_of_what_is_expected() -> None:
    """Every expected time that names a row names one that there is, with the size that a large device gives it."""
    failed = row_of("products", "gemm, float64", "4096x4096x4096")
    failed.error = "RuntimeError: lost"
    found = [row_of("gemm", "sgemm", "4096x4096x4096", weft=3.1e-3, torch_eager=3e-3), failed]
    result = {"limits": {"flops": 5.9e13, "bandwidth": 4.1e12}, "launches": {"weft": {"device": 3e-6, "host": 4e-6}}}
    lines = {(line[1], line[2]): line[3:5] for line in expected.lines(found, result)}
    assert lines["sgemm", "4096x4096x4096"] == ["2.90 ms", "3.10 ms"]
    assert lines["sgemm", "1024x1024x1024"] == ["57.0 us", "not measured"]
    assert lines["gemm, float64", "4096x4096x4096"] == ["8.10 ms", "failed"]
    assert lines["multiply-adds in registers", "TFLOP/s"] == ["60", "59.0"]
    assert lines["copy of 1 GiB", "TB/s"] == ["4.3", "4.10"]
    assert lines["launch with nothing to do, weft", "the device's time"] == ["2.00 us", "3.00 us"]
    assert lines["launch with nothing to do, torch", "the host's time"] == ["", "not measured"]
    assert {line[4] for line in expected.lines([], None)} == {"not measured"}


def test_what_is_expected_has_rows_of_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "DEVICE", "cpu")
    monkeypatch.setattr(arrays, "free_memory", lambda: 139 << 30)
    there = {(case.row.name, case.row.shape) for case in device.cases(quick=False)}
    assert [line for line in expected.all_expected() if line.row and (line.row, line.size) not in there] == []


def test_the_rows_of_a_device_come_in_the_order_of_their_importance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "DEVICE", "cpu")
    monkeypatch.setattr(arrays, "free_memory", lambda: 139 << 30)
    rows = [case.row for case in device.cases(quick=False)]
    assert len({(row.suite, row.name, row.shape) for row in rows}) == len(rows)
    assert [f"{row.name}, {row.shape}" for row in rows[:2]] == [f"LeNet-5, training step, batch {n}" for n in (64, 512)]
    order = [next(i for i, row in enumerate(rows) if part in f"{row.suite} {row.name} {row.shape}") for part in (
        "LeNet-5, training step", "sgemm", "bfloat16", "ResNet-18 32", "ResNet-18 224", "LeNet-5, inference",
        "3x3 s1 64->64, forward", "7x7 s2 3->64, forward", "3x3 s1 64->64, dx", "3x3 s1 64->64, dw", "memory add",
        "small",
    )]  # fmt: skip
    assert order == sorted(order)
    # On a small device all arrays of a row lie in a quarter of the memory.
    assert arrays.large(quick=False) == 1 << 27
    monkeypatch.setattr(arrays, "free_memory", lambda: 8 << 30)
    assert arrays.large(quick=False) == 1 << 26


class Nothing:
    """A session of a device without one: its rows measure themselves."""

    without_peer = "PyTorch is not installed"
    limits = Limits(1e12, 1e11)
    run = session.Session.run
    over = session.Session.over
    breaks = False

    def __init__(self, quick: bool, budget: float | None) -> None:
        self.deadline = time.monotonic() + (budget if budget is not None else float("inf"))

    def lost(self) -> bool:
        return self.breaks

    def release(self, thorough: bool) -> None:
        pass


def fake_device(monkeypatch: pytest.MonkeyPatch, made: list[device.Case]) -> None:
    """A device whose rows are these."""
    monkeypatch.setattr(weft.cuda, "get_device_properties", lambda: {"name": "a device"})
    monkeypatch.setattr(device, "Session", Nothing)
    monkeypatch.setattr(device, "launches", lambda session: {"weft": {"device": 2e-6, "host": 3e-6}})
    monkeypatch.setattr(device, "cases", lambda quick: iter(made))


def valued(value: Callable[[], float]) -> device.Case:
    return device.Case(Row("fake", f"row {value.__name__}", "1"), measure=lambda: {"weft": value()})


def test_a_run_on_a_device_ends_with_its_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.json"
    seen: list[dict[str, Any]] = []

    def quick() -> float:
        return 1.0

    def slow() -> float:
        seen.append(json.loads(out.read_text()))
        time.sleep(0.5)
        return 2.0

    fake_device(monkeypatch, [valued(quick), valued(slow), valued(quick), valued(quick)])
    assert command.main(["--device", "cuda", "--budget", "0.4", "--json", str(out)]) == 0
    # The row before was written already while the second one ran; after it the budget is over.
    assert [len(result["rows"]) for result in seen] == [1]
    assert seen[0]["left_out"] == 3
    result = json.loads(out.read_text())
    assert [row["values"]["weft"] for row in result["rows"]] == [1.0, 2.0]
    assert result["left_out"] == 2
    assert "the budget of 0.4 s is over: 2 of 4 rows left out" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]
    with pytest.raises(SystemExit):
        command.parse(["--budget", "1"])


def test_a_row_of_a_device_that_fails_says_so_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> float:
        raise MemoryError("no room for 1 TB")

    def sound() -> float:
        return 3.0

    fake_device(monkeypatch, [valued(broken), valued(sound)])
    monkeypatch.setattr(machine, "CLOCKS", "no such thing")
    out = tmp_path / "rows.json"
    assert command.main(["--device", "cuda", "--vs", "torch", "--json", str(out)]) == 0
    failed, fine = json.loads(out.read_text())["rows"]
    assert (failed["error"], failed["ratio"], failed["reached"]) == ("MemoryError: no room for 1 TB", None, None)
    assert (fine["error"], fine["values"]) == (None, {"weft": 3.0})
    printed = capsys.readouterr().out
    assert "failed: MemoryError: no room for 1 TB" in printed
    assert "PyTorch is not installed: weft alone" in printed
    assert "a launch with nothing to do, weft: 2.00 us of the device, 3.00 us of the host" in printed
    result = json.loads(out.read_text())
    assert result["launches"] == {"weft": {"device": 2e-6, "host": 3e-6}}
    assert set(result["machine"]["clocks"]) == {"before", "after"}


def test_a_run_ends_where_the_device_is_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def wild() -> float:
        monkeypatch.setattr(Nothing, "breaks", True)
        raise RuntimeError("an illegal memory access")

    fake_device(monkeypatch, [valued(wild), valued(wild)])
    out = tmp_path / "rows.json"
    assert command.main(["--device", "cuda", "--json", str(out)]) == 1
    result = json.loads(out.read_text())
    assert [row["error"] for row in result["rows"]] == ["RuntimeError: an illegal memory access"]
    assert result["left_out"] == 1


def test_the_file_of_rows_is_whole_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "rows.json"
    command.save(out, {}, Limits(1.0, 1.0), [Row("fake", "a", "1", values={"weft": 1.0})])
    before = out.read_text()

    def full(self: Path, text: str) -> int:
        with self.open("w") as file:
            file.write(text[: len(text) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        command.save(out, {}, Limits(1.0, 1.0), [Row("fake", "b", "1", values={"weft": 1.0})])
    assert out.read_text() == before


def test_limits_are_measured_and_kept(every_isa: str) -> None:
    limits = machine_limits()
    assert limits.flops > 0
    assert limits.bandwidth > 0
    assert machine_limits() is limits
    assert limits.seconds(2 * limits.flops, limits.bandwidth) == pytest.approx(2)
    assert limits.seconds(0, 3 * limits.bandwidth) == pytest.approx(3)


def test_fma_loop_counts_its_operations(every_implementation: str) -> None:
    flop = np.asarray(K.fma_loop(100))
    assert flop.shape == (K.num_threads(),)
    assert (flop >= 200).all()
    assert (np.asarray(K.fma_loop(200)) == 2 * flop).all()
    with pytest.raises(ValueError, match=r"fma_loop: iterations must not be negative, got -1"):
        K.fma_loop(-1)
