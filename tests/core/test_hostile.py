"""What the fuzzer found, each as the least that shows it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K

AT_THE_END = """
import threading, time
import weft.kernels as k
def computes():
    x, y = k.ones((300, 300)), k.ones(8)
    while True:
        k.matmul(x, x)
        k.add(y, y)
for _ in range(24):
    threading.Thread(target=computes, daemon=True).start()
time.sleep(0.05)
"""


@pytest.mark.once
def test_the_interpreter_ends_while_daemon_threads_compute() -> None:
    """Python stops a thread where it takes the interpreter's lock back: not inside of what may not throw."""
    for _ in range(10):
        done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


IMPORTING = """
import os, signal, sys, threading, time
import weft
begun = threading.Event()

class Slow:
    # Finds nothing, slowly: the thread is in the middle of the import when the process forks.
    def find_spec(self, name, path=None, target=None):
        if name == "weft._capture":
            begun.set()
            time.sleep(0.5)

sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=lambda: weft.capture)
thread.start()
begun.wait()
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    weft.capture(lambda x: x + 1)(weft.zeros(2))
    os._exit(0)
thread.join()
sys.exit(os.waitpid(pid, 0)[1])
"""


@pytest.mark.once
def test_a_fork_while_a_thread_imports_a_part_of_the_package() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.once
@pytest.mark.parametrize("method", ["query", "synchronize"])
def test_events_methods_called_with_none(method: str) -> None:
    code = f"import weft.kernels as k\ntry: k.CudaEvent.{method}(None)\nexcept (TypeError, RuntimeError): pass"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.cpu
@pytest.mark.parametrize(
    "write",
    [
        lambda out, x: K.exp(x, out),
        lambda out, x: K.maximum(x, 0.5, out),
        lambda out, x: K.copy_into(out, x),
        lambda out, x: K.fill(out, 2.0),
    ],
)
def test_elements_of_an_output_lie_apart_whatever_its_strides(write: Callable[[Any, Any], Any]) -> None:
    """Rows that begin one element after the other share all but one of theirs."""
    memory = np.zeros(12, np.float32)
    shared = np.lib.stride_tricks.as_strided(memory, (4, 3), (4, 4))
    with pytest.raises(ValueError, match="several elements of the output may lie in one place"):
        write(shared, np.ones((4, 3), np.float32))
    np.testing.assert_array_equal(memory, 0)
    apart = np.lib.stride_tricks.as_strided(memory, (4, 3), (12, 4))
    write(apart, np.ones((4, 3), np.float32))
    assert (apart > 0).all()


def nested(depth: int) -> Any:
    value: Any = 1.0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "call",
    [
        lambda v: weft.train.Checkpoint("file", mode=v),
        lambda v: K.zeros(2, dtype=v),
        lambda v: weft.zeros(2).to(v),
    ],
)
def test_texts_show_what_is_nested_deep(call: Callable[[Any], Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        call(nested(5000))


FLAT: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "relu": (weft.nn.functional.relu, [0, 0, 1, np.inf, 3]),
    "clip": (lambda x: x.clip(-1, 1), [0, np.nan, 1, 0, 0]),
    "maximum": (lambda x: weft.maximum(x, weft.full((5,), 0.5)), [0, 0, 0.5, np.inf, 3]),
    "minimum": (lambda x: weft.minimum(x, weft.full((5,), 0.5)), [np.inf, np.nan, 0.5, 0, 3]),
    "linear": (
        lambda x: weft.nn.functional.linear_activation(x[:, None], weft.ones((1, 1)))[:, 0],
        [0, 0, 1, np.inf, 3],
    ),
}


@pytest.mark.parametrize("name", FLAT)
def test_no_gradient_passes_where_a_function_is_flat(name: str) -> None:
    """Not even infinity, which is NaN times 0. The figures are PyTorch's."""
    function, wanted = FLAT[name]
    x = weft.tensor([-2, 0, 0.5, 2, np.nan], dtype="float32", requires_grad=True)
    function(x).backward(weft.tensor([np.inf, np.nan, 1, np.inf, 3], dtype="float32"))
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), wanted)


@pytest.mark.parametrize("index", [1.0, None, "0", np.ones(2)], ids=str)
def test_a_container_names_an_index_that_is_none(index: Any) -> None:
    modules = weft.nn.ModuleList([weft.nn.ReLU()])
    with pytest.raises(TypeError, match="ModuleList: an index must be an int, got"):
        modules.insert(index, weft.nn.Tanh())
    assert len(modules) == 1
