"""weft.profile: what it records, and what it says about it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import ROOT
from weft.limits import Limits
from weft.profiler import Launch

LIMITS = Limits(1e11, 1e10)


def launches_of(p: weft.profile, kernel: str) -> list[Launch]:
    return [launch for launch in p.launches if launch.kernel.endswith(f"::{kernel}")]


def test_a_launch_knows_its_work_and_its_origin(every_isa: str) -> None:
    a, b = np.ones((7, 5), np.float32), np.ones((5, 3), np.float32)
    with weft.profile() as p:
        K.matmul(a, b)
    (launch,) = p.launches
    space = "weft::reference" if every_isa == "reference" else f"weft::cpu::{every_isa}"
    if K.default_device() != "cpu":
        space = "weft::cuda"
    assert launch.kernel == f"{space}::gemm"
    assert launch.flop == 2 * 7 * 5 * 3
    assert launch.bytes == 4 * (35 + 15 + 21)
    assert launch.line.rpartition(":")[0] == __file__
    assert "K.matmul(a, b)" in Path(__file__).read_text().splitlines()[int(launch.line.rpartition(":")[2]) - 1]
    assert 0 <= launch.start < launch.start + launch.seconds <= p.seconds


def test_the_source_of_every_kernel_is_known() -> None:
    for name, cpu, reference, _ in K.kernel_sources():
        for place in (cpu, reference):
            file, _, line = place.rpartition(":")
            assert f"void {name}(Stream&" in (ROOT / file).read_text().splitlines()[int(line) - 1]
        assert cpu.startswith("csrc/cpu/")
        assert reference.startswith("csrc/reference/")


def test_a_training_step_with_its_python_functions() -> None:
    model = weft.nn.Sequential(weft.nn.Linear(6, 5), weft.nn.Tanh(), weft.nn.Linear(5, 3))
    optimizer = weft.optim.SGD(model.parameters(), lr=0.1)
    x, y = weft.randn(4, 6), weft.tensor(np.array([0, 1, 2, 0]))
    with weft.profile() as p:
        loss = weft.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert all(launch.line.startswith(__file__) for launch in p.launches)
    assert all(launch.operation for launch in p.launches)
    assert len(launches_of(p, "gemm")) == 2
    assert launches_of(p, "cross_entropy_forward")
    assert launches_of(p, "sgd_step")
    forward = launches_of(p, "gemm")[0]
    backward = launches_of(p, "linear_backward")[0]
    assert int(backward.line.rpartition(":")[2]) == int(forward.line.rpartition(":")[2]) + 1
    assert [launch.start for launch in p.launches] == sorted(launch.start for launch in p.launches)


def test_operations_of_a_table_have_their_names() -> None:
    x = weft.ones(3, requires_grad=True)
    with weft.profile() as p:
        x.exp().log().sum().backward()
    operations = [launch.operation for launch in p.launches]
    assert {"Exp.forward", "Log.forward", "Exp.backward", "Log.backward"} <= set(operations)


def test_costs_of_convolution_and_pooling() -> None:
    x, w = np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    with weft.profile() as p:
        out = K.conv2d(x, w)
        K.max_pool2d(out, 2)
        K.relu(out)
    conv, pool, relu = p.launches
    assert conv.flop == 2 * 2 * 4 * 6 * 6 * 3 * 9
    assert conv.bytes == 4 * (x.size + w.size + 2 * 4 * 36)
    assert pool.bytes == 4 * 2 * 4 * 36 + 8 * 2 * 4 * 9
    assert (relu.flop, relu.bytes) == (288, 2 * 4 * 288)


def test_nothing_is_recorded_outside_and_profiles_do_not_nest() -> None:
    with weft.profile() as p:
        pass
    K.relu(np.ones(3, np.float32))
    assert p.launches == []
    assert "0 launches" in p.table(LIMITS)
    with weft.profile(), pytest.raises(RuntimeError, match="profile: one is running already"), weft.profile():
        pass
    with pytest.raises(RuntimeError, match="profile: none is running"):
        K.stop_profile()


def test_an_error_inside_ends_the_profile() -> None:
    p = weft.profile()
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="matmul"), p:
        K.matmul(K.relu(x), x)
    assert len(p.launches) == 1
    with weft.profile() as again:
        pass
    assert again.launches == []


def test_threads_have_numbers_of_their_own() -> None:
    together = threading.Barrier(3)

    def work() -> None:
        together.wait()
        for _ in range(5):
            K.relu(np.ones(3, np.float32))
        together.wait()

    with weft.profile() as p:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(launch.thread for launch in p.launches) == [0] * 5 + [1] * 5 + [2] * 5


def test_a_replay_has_the_lines_of_its_recording() -> None:
    x = weft.kernels.asarray(np.ones((4, 5), np.float32))
    replay = K.Replay()
    replay.begin()
    out = K.tanh(K.add(x, x))
    replay.end()
    replay.set_inputs([x])
    replay.set_outputs([out])
    with weft.profile() as p:
        replay.call([x], copy_outputs=False)
        replay.call([x], copy_outputs=False)
    launches = [launch for launch in p.launches if "::" in launch.kernel]  # not the tests' poison
    names = [launch.kernel.rpartition("::")[2] for launch in launches]
    assert names == ["binary", "activation_forward"] * 2
    lines = Path(__file__).read_text().splitlines()
    for launch in launches:
        assert "K.tanh(K.add(x, x))" in lines[int(launch.line.rpartition(":")[2]) - 1]


def test_the_table_is_sorted_by_time_and_measures_against_the_limits() -> None:
    p = weft.profile()
    p.seconds = 1.0
    common = {"source": "csrc/cpu/x.cpp:1", "operation": "F.forward", "thread": 0, "start": 0.0}
    p.launches = [
        Launch("relu", "weft::cpu::avx2::relu", line="/home/me/train.py:3", seconds=1e-3, flop=0, bytes=5e6, **common),
        Launch("gemm", "weft::cpu::avx2::gemm", line="/home/me/train.py:4", seconds=2e-3, flop=1e8, bytes=8, **common),
        Launch("gemm", "weft::cpu::avx2::gemm", line="/home/me/train.py:4", seconds=2e-3, flop=1e8, bytes=8, **common),
    ]
    head, gemm, relu, end = p.table(LIMITS).splitlines()
    assert head.split()[:3] == ["kernel", "calls", "ms"]
    assert gemm.split() == ["cpu::avx2::gemm", "2", "4.000", "80.0%", "50.0", "0.0", "50%", "F.forward",
                            "me/train.py:4", "csrc/cpu/x.cpp:1"]  # fmt: skip
    assert relu.split()[1:7] == ["1", "1.000", "20.0%", "0.0", "5.0", "50%"]
    assert end == "3 launches, 5.000 ms in kernels of 1000.000 ms"


def test_str_measures_the_limits_itself() -> None:
    with weft.profile() as p:
        K.relu(np.ones(1000, np.float32))
    assert "activation_forward" in str(p)


def test_chrome_trace(tmp_path: Path) -> None:
    with weft.profile() as p:
        K.relu(np.ones(1000, np.float32))
        K.add(np.ones(10, np.float32), np.ones(10, np.float32))
    p.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    meta, first, second = trace["traceEvents"]
    assert meta == {"ph": "M", "name": "thread_name", "pid": 0, "tid": 0, "args": {"name": "thread 0"}}
    assert first["ph"] == second["ph"] == "X"
    assert first["ts"] + first["dur"] <= second["ts"]
    assert first["args"]["kernel"].endswith("activation_forward")
    assert set(first["args"]) == {"kernel", "source", "operation", "line", "flop", "bytes"}
