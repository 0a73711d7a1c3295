"""How the rows of a device are measured: clocks, contestants, budgets. The CPU stands in for the device."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
from bench import device, machine
from bench.device import arrays, case, clock, peer, session
from bench.measure import Row
from bench.report import printed


def ticking(reached: Callable[[Any], bool] = lambda event: False) -> clock.Clock:
    """The host's clock in a device's place."""
    return clock.Clock(time.perf_counter, reached, lambda a, b: 1e3 * (b - a) + 1e-6, lambda: None, lambda: None)


@pytest.fixture
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rows of a device computed by the CPU, weft's kernels and PyTorch's alike, nothing compiled or captured."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(arrays, "DEVICE", "cpu")
    monkeypatch.setattr(arrays, "free_memory", lambda: 8 << 30)
    monkeypatch.setattr(clock, "weft_clock", lambda flushed: ticking())
    monkeypatch.setattr(peer, "clock", lambda flushed: ticking())
    monkeypatch.setattr(peer, "unavailable_reason", lambda: "")
    monkeypatch.setattr(peer, "compiled", lambda function, mode="default": function)
    monkeypatch.setattr(peer, "graphed", lambda run: run)
    monkeypatch.setattr(peer, "marked", lambda run: run)
    monkeypatch.setattr(peer, "release", lambda thorough: None)  # looks for cycles, which takes a while
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so little; more of them wait for each other
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("on_the_host")
def test_the_contestants_of_every_row_compute_the_same() -> None:
    measured = [(made, device.Session(quick=True).run(made)) for made in device.cases(quick=True)]
    assert len(measured) > 80
    for made, row in measured:
        assert (row.error, row.about.get("failed"), row.about.get("left_out")) == (None, None, None), row
        assert row.ratio("torch") is not None
        wanted = {entry.name for entry in made.entries()}
        assert set(row.values) == wanted
        if made.tolerance is not None:
            assert any(name.startswith("torch") for name in row.about["discrepancy"]), row
        if row.suite == "memory":
            assert set(row.about["copy"]) == {"weft", "torch"}
            assert row.percent is not None
        json.dumps(row.about)


@pytest.mark.usefixtures("on_the_host")
def test_what_a_launch_costs_is_measured() -> None:
    found = device.launches(device.Session(quick=True))
    assert set(found) == {"weft", "weft captured", "torch", "torch graph"}
    assert all(times["device"] > 0 and times["host"] > 0 for times in found.values())


def contest(*entries: case.Entry, budget: float | None = None) -> Row:
    made = device.Case(Row("fake", "row", "1", flop=1.0), lambda: entries, tolerance=1e-3)
    return device.Session(quick=True, budget=budget).run(made)


def gives(*values: float) -> Callable[[], Callable[[], object]]:
    """What makes a run with this result."""
    return lambda: lambda: K.asarray(np.array(values, np.float32), device="cpu")


def fails() -> Callable[[], object]:
    raise RuntimeError("out of memory")


@pytest.mark.usefixtures("on_the_host")
def test_a_contestant_that_fails_is_noted_and_the_row_keeps_the_others() -> None:
    row = contest(case.Entry("weft", gives(1, 2)), case.Entry("torch a", fails), case.Entry("torch b", gives(1, 2.001)))
    assert row.error is None
    assert set(row.values) == {"weft", "torch b"}
    assert row.about["failed"] == {"torch a": "RuntimeError: out of memory"}
    assert row.about["discrepancy"]["torch b"] == pytest.approx(5e-4, rel=1e-2)
    assert "(torch a failed: RuntimeError: out of memory)" in printed.line(row)
    assert row.about["again"]["weft"] > 0
    row.values["weft"], row.about["again"] = 1e-3, {"weft": 1.1e-3}
    assert "(weft again: 1.10 ms)" in printed.line(row)
    row.about["again"] = {"weft": 1.04e-3}
    assert "again" not in printed.line(row)
    row = contest(case.Entry("weft", fails), case.Entry("torch", gives(1)))
    assert (row.error, set(row.values), row.ratio()) == ("RuntimeError: out of memory", {"torch"}, None)


@pytest.mark.usefixtures("on_the_host")
def test_a_limit_that_cannot_be_measured_costs_no_value() -> None:
    entries = [case.Entry("weft", gives(1)), case.Entry("torch", gives(1))]
    made = device.Case(Row("memory", "row", "1", bytes=8e18), lambda: entries, tolerance=1e-3, copied=True)
    row = device.Session(quick=True).run(made)
    assert (row.error, set(row.values), row.percent) == (None, {"weft", "torch"}, None)
    assert set(row.about["failed"]) == {"limit or repetition"}


@pytest.mark.usefixtures("on_the_host")
def test_no_time_is_kept_of_a_wrong_result() -> None:
    weft_entries = case.Entry("weft", gives(1, 2)), case.Entry("weft captured", gives(1, 2))
    row = contest(*weft_entries, case.Entry("torch", gives(1, 3)))
    assert row.error == row.about["failed"]["weft"]
    assert row.values == {}
    assert "of torch and of weft differ by 0.33" in row.about["failed"]["weft"]
    # A peer that agrees has shown that ours is right: then it is the other peer that is not.
    row = contest(*weft_entries, case.Entry("torch a", gives(1, 2)), case.Entry("torch b", gives(float("nan"), 2)))
    assert set(row.values) == {"weft", "weft captured", "torch a"}
    assert "differ by inf" in row.about["failed"]["torch b"]
    row = contest(weft_entries[0], case.Entry("weft captured", gives(1, 2, 3)), case.Entry("torch", gives(1, 2)))
    assert set(row.values) == {"weft", "torch"}


@pytest.mark.usefixtures("on_the_host")
def test_a_budget_leaves_out_compilers_first_and_then_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiling() -> Callable[[], object]:
        time.sleep(0.05)
        return gives(1)()

    entries = [case.Entry("weft", gives(1)), *(case.Entry(f"torch {i}", compiling, compiles=True) for i in range(2))]
    monkeypatch.setattr(session, "COMPILING", 1e-4)
    row = contest(*entries, case.Entry("torch", gives(1)), budget=100)
    assert set(row.values) == {"weft", "torch 0", "torch"}
    assert row.about["left_out"] == ["torch 1"]
    row = contest(*entries, case.Entry("torch", gives(1)), budget=0)
    assert set(row.values) == {"weft"}
    assert row.about["left_out"] == ["torch 0", "torch 1", "torch"]


def test_a_flush_reads_and_comes_before_each_sample() -> None:
    flushed = K.zeros((1 << 12,), "float32", "cpu")
    before = flushed.version
    clock.weft_clock(flushed).flush()
    assert flushed.version == before
    happened: list[str] = []

    def event() -> int:
        happened.append("event")
        return len(happened)

    fake = clock.Clock(
        event, lambda e: False, lambda a, b: float(b - a), lambda: happened.append("flush"), lambda: None
    )
    effort = clock.Effort(warm=0.0, device=0.0, fewest=3, most=3, rounds=2, host=0.0)
    timing = clock.device_time(lambda: happened.append("run"), fake, effort)
    assert happened == ["run"] * 3 + ["flush", "event", "run", "event"] * 3
    assert timing == clock.Timing(2e-3, 0.0, 3, 0)
    # Where the first event was over before the last was queued, the flush is made longer; what stays late is counted.
    happened.clear()
    timing = clock.device_time(lambda: happened.append("run"), fake._replace(reached=lambda e: True), effort)
    assert happened.count("flush") == 3 * (1 + 4 + 16)
    assert timing.late == 3


def test_the_array_of_a_flush_is_larger_than_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(K, "zeros", lambda shape, dtype, device: asked.append(shape))
    for total in (139 << 30, 8 << 30):
        monkeypatch.setattr(weft.cuda, "get_device_properties", lambda total=total: {"total_memory": total})
        clock.flush_array(quick=False)
    assert asked == [(1 << 28,), (1 << 27,)]


def test_where_pytorch_takes_no_part_one_line_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    unavailable = peer.unavailable_reason.__wrapped__
    no_device = SimpleNamespace(__version__="9.9", cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setattr(peer, "torch", no_device)
    assert unavailable() == "PyTorch 9.9 sees no device"
    monkeypatch.setattr(peer, "torch", None)
    assert unavailable() == "PyTorch is not installed"
    flags = SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace()), cudnn=SimpleNamespace())
    there = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True), backends=flags)
    monkeypatch.setattr(peer, "torch", there)
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    assert unavailable() == ""
    assert (flags.cuda.matmul.allow_tf32, flags.cudnn.allow_tf32, flags.cudnn.benchmark) == (False, False, True)


def test_a_graph_of_pytorch_is_captured_once_after_runs_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            happened.append(f"into {self.name}")

        def __exit__(self, *_: object) -> None:
            happened.append(f"out of {self.name}")

        def wait_stream(self, other: Named) -> None:
            happened.append(f"{self.name} waits for {other.name}")

        def replay(self) -> None:
            happened.append("replay")

    cuda = SimpleNamespace(
        Stream=lambda: Named("other"), current_stream=lambda: Named("current"), CUDAGraph=lambda: Named("graph"),
        stream=lambda stream: stream, graph=lambda graph: graph,
    )  # fmt: skip
    monkeypatch.setattr(peer, "torch", SimpleNamespace(cuda=cuda))

    def run() -> str:
        happened.append("run")
        return "result"

    replay = peer.graphed(run)
    warm = ["other waits for current", "into other", *["run"] * 5, "out of other", "current waits for other"]
    assert happened == [*warm, "into graph", "run", "out of graph"]
    happened.clear()
    assert [replay(), replay()] == ["result", "result"]
    assert happened == ["replay", "replay"]


def test_a_discrepancy_is_the_largest_and_no_nan_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(peer, "PIECE", 2)
    a = torch.tensor([1.0, 2.0, 3.0, 4.0])
    for place in range(4):
        b = a.clone()
        b[place] += 0.004
        assert peer.discrepancy([a], [b]) == pytest.approx(1e-3, rel=2e-3)
        assert peer.discrepancy([a, b], [a, a]) == pytest.approx(1e-3, rel=2e-3)
        b[place] = float("nan")
        assert peer.discrepancy([a], [b]) == peer.discrepancy([b], [a]) == float("inf")
    last = a.reshape(1, 4, 1, 1).contiguous(memory_format=torch.channels_last)
    assert peer.discrepancy([last], [a.reshape(1, 4, 1, 1)]) == 0
    assert peer.discrepancy([], [a]) == peer.discrepancy([a], [a[:3]]) == peer.discrepancy([a, a], [a]) == float("inf")


def test_clocks_of_a_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "nvidia-smi" in str(machine.gpu_clocks())
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'H200, 1980, 3201, 1980, 3201, 700.00, 120.5, 35'\n")
    program.chmod(0o755)
    found = machine.gpu_clocks()
    assert isinstance(found, dict)
    assert (found["clocks.sm"], found["power.limit"], found["temperature.gpu"]) == ("1980", "700.00", "35")
