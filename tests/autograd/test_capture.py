"""weft.capture: the same bits as without, what goes on changing between replays, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
import weft.nn.functional as F
from helpers import threads
from weft import _uses, nn
from weft.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from weft.optim.lr_scheduler import OneCycleLR

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 6, 4)).astype("float32")
Y = RNG.integers(0, 3, size=(12, 6))


def network(dropout: float = 0.25) -> nn.Sequential:
    weft.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def training(model: nn.Module, optimizer: Optimizer, clip: float | None = 0.7) -> Callable[..., Any]:
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return loss

    return step


def weights(model: nn.Module) -> list[Any]:
    return [p.tolist() for p in model.parameters()]


def history(captured: bool, make: Callable[..., Optimizer], schedule: bool = False) -> tuple[list[float], list[Any]]:
    model = network()
    optimizer = make(model.parameters())
    scheduler = OneCycleLR(optimizer, 0.2, len(X)) if schedule else None
    step = training(model, optimizer)
    run = weft.capture(step) if captured else step
    losses = []
    for x, y in zip(X, Y, strict=True):
        losses.append(run(weft.tensor(x), weft.tensor(y)).item())
        if scheduler is not None:
            scheduler.step()
    return losses, weights(model)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, 0.1),
        lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=1e-2, nesterov=True),
        lambda p: Adagrad(p, 0.1),
        lambda p: RMSprop(p, 0.01, momentum=0.5, centered=True),
        lambda p: Adam(p, 0.05),
        lambda p: AdamW(p, 0.05),
    ],
    ids=["sgd", "nesterov", "adagrad", "rmsprop", "adam", "adamw"],
)
@pytest.mark.parametrize("schedule", [False, True], ids=["fixed", "one-cycle"])
def test_training_has_the_same_bits(make: Callable[..., Optimizer], schedule: bool) -> None:
    assert history(True, make, schedule) == history(False, make, schedule)


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 7])
def test_lenet_has_the_same_bits_for_any_number_of_threads(threads: int) -> None:
    images, labels = RNG.normal(size=(5, 8, 1, 28, 28)).astype("float32"), RNG.integers(0, 10, size=(5, 8))

    def trained(captured: bool) -> list[Any]:
        weft.manual_seed(2)
        model = weft.models.LeNet5()
        step = training(model, SGD(model.parameters(), 0.05, momentum=0.9), clip=None)
        run = weft.capture(step) if captured else step
        batches = zip(map(weft.tensor, images), map(weft.tensor, labels), strict=True)
        return [[run(x, y).item() for x, y in batches], weights(model)]

    before = weft.get_num_threads()
    try:
        weft.set_num_threads(1)
        expected = trained(False)
        weft.set_num_threads(threads)
        assert trained(True) == expected
    finally:
        weft.set_num_threads(before)


def test_inference_without_a_tape() -> None:
    model = network().eval()
    run = weft.capture(model)
    with weft.no_grad():
        for x in X:
            np.testing.assert_array_equal(run(x).numpy(), model(weft.tensor(x)).numpy())


def test_a_change_of_mode_is_recorded_anew() -> None:
    model = network(0.5)
    run = weft.capture(model)
    with weft.no_grad():
        for mode in (True, False, True, False):
            model.train(mode)
            for x in X[:4]:
                weft.manual_seed(3)
                expected = model(weft.tensor(x)).numpy()
                weft.manual_seed(3)
                np.testing.assert_array_equal(run(x).numpy(), expected)


def test_each_signature_has_a_recording() -> None:
    calls = []

    @weft.capture
    def f(x: Any, scale: float, *, offset: Any = None) -> Any:
        calls.append(x.shape)
        y = x * scale
        return y if offset is None else y + offset

    for _ in range(4):
        assert f(weft.ones(2), 3.0).tolist() == [3, 3]
        assert f(weft.ones(3), 3.0).tolist() == [3, 3, 3]
        assert f(weft.ones(2), 4.0).tolist() == [4, 4]
        assert f(weft.ones(2, dtype="float64"), 3.0).dtype == weft.float64
        assert f(weft.ones(2), 3.0, offset=np.array([1, 2], "float32")).tolist() == [4, 5]
    assert len(calls) == 2 * 5
    assert len(f.report()) == 5
    f.reset()
    assert f.report() == []
    assert f(weft.ones(2), 5.0).tolist() == [5, 5]


def test_nested_arguments_and_results() -> None:
    @weft.capture
    def f(batch: dict[str, Any], pair: list[Any]) -> Any:
        return {"sum": batch["x"] + pair[0], "rest": (pair[1], None, "text", [batch["x"].array])}

    for i in range(4):
        result = f({"x": weft.full((2,), i)}, [weft.ones(2), 7])
        assert result["sum"].tolist() == [i + 1, i + 1]
        seven, none, text, (array,) = result["rest"]
        assert (seven, none, text) == (7, None, "text")
        assert isinstance(array, K.Array)
        assert array.tolist() == [i, i]


def test_results_are_copies_unless_asked() -> None:
    safe, shared = weft.capture(lambda x: x * 2), weft.capture(lambda x: x * 2, copy_outputs=False)
    kept = [safe(weft.full((2,), i)) for i in range(4)]
    assert [k.tolist() for k in kept] == [[0, 0], [2, 2], [4, 4], [6, 6]]
    last = [shared(weft.full((2,), i)) for i in range(4)]
    assert [k.tolist() for k in last[1:]] == [[6, 6]] * 3


def test_arguments_are_not_changed() -> None:
    f = weft.capture(lambda x: x.add_(1.0) * 1.0)
    x = weft.zeros(2)
    for _ in range(4):
        assert f(x).tolist() == [1, 1]
    assert x.tolist() == [0, 0]


@pytest.mark.parametrize("zero_outside", [False, True])
def test_gradients_are_there_after_each_call(zero_outside: bool) -> None:
    def gradients(captured: bool) -> list[Any]:
        model = network(0.0)

        def work(x: Any) -> Any:
            if not zero_outside:
                model.zero_grad()
            loss = (model(x) * 0.5).sum()
            loss.backward()
            return loss

        run = weft.capture(work) if captured else work
        found = []
        for x in X[:6]:
            if zero_outside:
                model.zero_grad()
            run(weft.tensor(x))
            found.append([p.grad.tolist() for p in model.parameters() if p.grad is not None])
        return found

    assert gradients(True) == gradients(False)


def test_gradients_add_up_over_calls() -> None:
    def summed(captured: bool) -> list[Any]:
        model = network(0.0)
        optimizer = SGD(model.parameters(), 0.1)

        def work(x: Any) -> None:
            model(x).sum().backward()

        run, update = (weft.capture(work), weft.capture(optimizer.step)) if captured else (work, optimizer.step)
        for i, x in enumerate(X):
            run(weft.tensor(x))
            if i % 3 == 2:
                update()
                optimizer.zero_grad()
        return weights(model)

    assert summed(True) == summed(False)


def test_changes_of_an_optimizer_are_seen() -> None:
    def trained(captured: bool) -> list[Any]:
        model = network()
        optimizer = SGD(model.parameters(), 0.1)
        step = training(model, optimizer)
        run = weft.capture(step) if captured else step
        for i, (x, y) in enumerate(zip(X, Y, strict=True)):
            if i == 3:
                optimizer.param_groups[0]["weight_decay"] = 0.3
            if i == 5:
                optimizer.param_groups[0]["momentum"] = 0.8
            if i == 7:
                optimizer.load_state_dict(optimizer.state_dict())
            if i == 9:
                next(iter(model.parameters())).requires_grad_(False)
            if i == 10:
                optimizer.param_groups[0]["lr"] = 0.01
            run(weft.tensor(x), weft.tensor(y))
        return weights(model)

    assert trained(True) == trained(False)


def test_fusion_switched_off_is_seen() -> None:
    model = network(0.0)
    run = weft.capture(lambda x: model(x))
    for _ in range(3):
        run(X[0])
    assert run.report()[0].fusions == ["Linear+ReLU"]
    weft.set_fusion(False)
    try:
        run(X[0])
        assert run.report()[0].fusions == []
    finally:
        weft.set_fusion(True)


@pytest.mark.parametrize("read", [float, bool, lambda t: t.item(), lambda t: t.numpy(), repr, lambda t: t.tolist()])
def test_reading_on_the_host_is_an_error_that_says_so(read: Callable[[Any], Any]) -> None:
    f = weft.capture(lambda x: read(x.sum()))
    with pytest.raises(
        RuntimeError, match=r"elements are read on the host inside of a capture.*read it after the call"
    ):
        f(weft.ones(2))
    assert not K.in_capture()


def test_without_strict_a_function_that_reads_runs_as_it_is() -> None:
    @weft.capture(strict=False)
    def f(x: Any) -> Any:
        return x * 2 if x.sum() > 3 else x

    assert [f(weft.full((2,), i)).tolist() for i in range(4)] == [[0, 0], [1, 1], [4, 4], [6, 6]]
    assert f.reason is not None
    assert f.reason.startswith("item: elements are read on the host")
    assert "not captured: item" in str(f.report()[0])


def test_arguments_that_require_a_gradient_are_refused() -> None:
    f = weft.capture(lambda x: x * 2)
    with pytest.raises(RuntimeError, match=r"an argument of shape \(2,\) requires a gradient"):
        f(weft.ones(2, requires_grad=True))
    with pytest.raises(RuntimeError, match="requires a gradient"):
        f([weft.ones(2, requires_grad=True)])
    assert not f(weft.ones(2)).requires_grad


def test_arguments_and_results_must_have_a_place_in_the_signature() -> None:
    with pytest.raises(TypeError, match="an argument of type set is neither array nor hashable"):
        weft.capture(lambda x: x)(set())
    with pytest.raises(TypeError, match="a result of type set is neither array nor hashable"):
        weft.capture(lambda x: {1, 2})(weft.ones(1))


def test_bad_labels_and_shapes_are_errors_in_a_replay() -> None:
    model = network()
    step = training(model, SGD(model.parameters(), 0.1))
    run = weft.capture(step)
    for x, y in zip(X[:3], Y[:3], strict=True):
        run(x, y)
    before = weights(model)
    with pytest.raises(IndexError, match="cross_entropy: target 3 at position 0 is not a class: expected 0 to 2"):
        run(X[0], np.full(6, 3)).item()
    if K.default_device() == "cpu":  # a device says so when the host waits for it, and has gone on
        assert weights(model) == before
    with pytest.raises(ValueError, match=r"linear|matmul|gemm"):
        run(np.zeros((6, 5), "float32"), Y[0])
    assert run(X[0], Y[0]).item() > 0


def test_an_error_inside_leaves_nothing_behind() -> None:
    fails = [False, True, False, False]

    @weft.capture
    def f(x: Any) -> Any:
        y = x + 1
        if fails.pop(0):
            raise KeyError("mine")
        return y

    assert f(weft.zeros(1)).item() == 1
    with pytest.raises(KeyError, match="mine"):
        f(weft.zeros(1))
    assert not K.in_capture()
    assert [f(weft.zeros(1)).item() for _ in range(4)] == [1, 1, 1, 1]


def test_a_capture_inside_of_another_becomes_part_of_it() -> None:
    inner = weft.capture(lambda x: x + 1)
    outer = weft.capture(lambda x: inner(x) * 2)
    assert [outer(weft.full((1,), i)).item() for i in range(4)] == [2, 4, 6, 8]
    assert inner.report() == []


def test_report() -> None:
    model = network()
    run = weft.capture(training(model, SGD(model.parameters(), 0.1)))
    run(X[0], Y[0])
    assert "not recorded yet" in str(run.report()[0])
    run(X[0], Y[0])
    (report,) = run.report()
    assert report.inputs == [((6, 4), "float32"), ((6,), "int64")]
    assert report.outputs == [((), "float32")]
    names = [name for name, _ in report.kernels]
    assert names.index("cross_entropy") < names.index("sgd_step")
    assert "cross_entropy_backward" not in names  # its gradient is what the loss left, times 1
    assert all(size > 0 for _, size in report.kernels)
    assert report.fusions == ["Linear+ReLU"]
    assert 0 < report.memory["peak"] <= report.memory["reserved"]
    text = str(report)
    assert "sgd_step" in text
    assert "float32 (6, 4), int64 (6,) -> float32 ()" in text
    assert "fusions: Linear+ReLU" in text
    run(X[0], Y[0])  # a replay, which on a device is a graph
    (report,) = run.report()
    on_device = weft.get_default_device() != "cpu"
    assert (report.graph_nodes > 0) == on_device
    assert (f"{len(names)} kernels, a CUDA graph of {report.graph_nodes} nodes" in str(report)) == on_device


def test_several_threads_may_call_one_after_the_other() -> None:
    f = weft.capture(lambda x: (x * 2).sum())
    wrong = []

    def work(value: int) -> None:
        for _ in range(200):
            found = f(weft.full((50,), value)).item()
            if found != 100 * value:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_names_and_docstrings_stay() -> None:
    @weft.capture
    def documented(x: Any) -> Any:
        """What it does."""
        return x

    assert (documented.__name__, documented.__doc__) == ("documented", "What it does.")


FORK = """
import os, signal
import numpy as np, weft
weft.set_num_threads(2)
w = weft.tensor(np.ones((512, 512), np.float32))
run = weft.capture(lambda x: (x @ w).sum())
x = np.ones((512, 512), np.float32)
for _ in range(3):
    run(x)
pid = os.fork()
if pid == 0:
    signal.alarm(60)  # a child that hangs ends, and fails
    os._exit(0 if run(2 * x).item() == 2 * 512**3 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert run(x).item() == 512**3
"""


def test_a_child_process_replays_what_its_parent_captured() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr


def test_rates_changed_and_changed_back() -> None:
    """An eager step in between leaves its own rate where the kernels read it."""

    def weights(captured: bool) -> list[float]:
        model = weft.nn.Linear(3, 1)
        model.weight.array = K.asarray([[1.0, 2.0, 3.0]], "float32")
        optimizer = weft.optim.SGD(model.parameters(), 0.1, momentum=0.5)

        def step(x: weft.Tensor) -> None:
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()

        run = weft.capture(step) if captured else step
        x = weft.ones(2, 3)
        for _ in range(3):
            run(x)
        optimizer.param_groups[0]["lr"] = 0.7
        step(x)
        optimizer.param_groups[0]["lr"] = 0.1
        run(x)
        return model.weight.tolist()

    assert weights(True) == weights(False)


@pytest.mark.parametrize("size", [8, 256])  # on one thread, and on all: 33 MFLOP
def test_replays_have_the_same_bits_for_any_number_of_threads(size: int) -> None:
    x = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    multiply = weft.capture(lambda a: (a @ a).sum(0))
    results = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            for _ in range(3):
                results.add(multiply(x).numpy().tobytes())
            assert K.num_threads() == count
    assert len(results) == 1


@pytest.mark.cpu
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_another_thread_captures() -> None:
    inside, go_on = threading.Event(), threading.Event()

    @weft.capture
    def step(x: weft.Tensor) -> weft.Tensor:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            go_on.wait(60)
        return x * 2 + 1

    worker = threading.Thread(target=lambda: step(weft.ones(3)))
    worker.start()
    assert inside.wait(60)
    assert _uses.running == 1
    child = os.fork()
    if child == 0:  # the lock, and the capture that is being made, belong to a thread that is not here
        signal.alarm(60)
        os._exit(0 if _uses.running == 0 and [step(weft.ones(3)).tolist() for _ in range(4)] == [[3.0] * 3] * 4 else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    worker.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert [step(weft.ones(3)).tolist() for _ in range(4)] == [[3.0] * 3] * 4
