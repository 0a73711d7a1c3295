"""The loader's iterators: threads that prepare batches or take them, forks, the end of the interpreter; arguments."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from typing import Any

import numpy as np
import pytest

from weft import data
from weft.data.loader import _produce


@pytest.fixture
def images(rng: np.random.Generator) -> data.ArrayDataset:
    return data.ArrayDataset(rng.integers(0, 256, (23, 1, 9, 8), dtype=np.uint8), np.arange(23), [0.4], [0.3])


@pytest.mark.parametrize("prefetch", [1, 2, 7])
def test_prefetch_changes_nothing(images: data.ArrayDataset, prefetch: int) -> None:
    options = {"shuffle": True, "transform": data.RandomRotation(30)}
    plain = [x.numpy().tobytes() for x, _ in data.DataLoader(images, 4, prefetch=0, **options)]
    ahead = [x.numpy().tobytes() for x, _ in data.DataLoader(images, 4, prefetch=prefetch, **options)]
    assert plain == ahead


def prefetching() -> int:
    """How many threads make batches."""
    return sum(
        any(at.f_code is _produce.__code__ for at, _ in traceback.walk_stack(frame))
        for frame in sys._current_frames().values()
    )


def test_a_loop_left_early_ends_the_thread(images: data.ArrayDataset) -> None:
    for _ in data.DataLoader(images, 2, prefetch=2):
        break
    end = time.monotonic() + 5
    while prefetching() and time.monotonic() < end:
        time.sleep(0.01)
    assert prefetching() == 0


def test_errors_in_the_thread_come_out(images: data.ArrayDataset) -> None:
    class Broken(data.Compose):
        def matrices(self, *arguments: Any) -> Any:
            raise RuntimeError("drawn badly")

    with pytest.raises(RuntimeError, match="drawn badly"):
        list(data.DataLoader(images, 4, transform=Broken([])))
    assert prefetching() == 0


def shares(batches: Any, count: int) -> tuple[list[list[int]], list[BaseException]]:
    """What each of some threads gets of one iterator, and what they raise."""
    found: list[list[int]] = [[] for _ in range(count)]
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def take(mine: list[int]) -> None:
        start.wait()
        try:
            for _, y in batches:
                mine += y.tolist()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=take, args=(mine,), daemon=True) for mine in found]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    return found, errors


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_threads_share_an_iterator(prefetch: int) -> None:
    count = 2000
    numbers = data.ArrayDataset(np.zeros((count, 3), np.float32), np.arange(count))
    for _ in range(5):
        found, errors = shares(iter(data.DataLoader(numbers, 3, shuffle=True, prefetch=prefetch)), 6)
        assert not errors
        assert sorted(itertools.chain(*found)) == list(range(count))
    assert prefetching() == 0


@pytest.mark.parametrize("prefetch", [0, 2])
def test_threads_that_share_an_iterator_all_end_where_it_fails(images: data.ArrayDataset, prefetch: int) -> None:
    class Broken(data.RandomShift):
        def matrices(self, *arguments: Any) -> Any:
            raise RuntimeError("drawn badly")

    found, errors = shares(iter(data.DataLoader(images, 4, transform=Broken(1), prefetch=prefetch)), 5)
    assert not any(found)
    assert [str(error) for error in errors] == ["drawn badly"]
    batches = iter(data.DataLoader(images, 4, prefetch=prefetch))
    threading.Timer(0.05, batches.close).start()
    shares(batches, 5)


def in_child(function: Any) -> None:
    """Runs a function in a forked child, which has a minute for it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child waits for ever")


@pytest.mark.cpu
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_iterator_in_a_forked_child(images: data.ArrayDataset, prefetch: int) -> None:
    loader = data.DataLoader(images, 2, prefetch=prefetch)
    batches = iter(loader)
    next(batches)

    def child() -> None:
        nonlocal batches
        if prefetch:
            with pytest.raises(RuntimeError, match="DataLoader: this iterator was begun before the process was forked"):
                next(batches)
            batches.close()
        else:
            assert next(batches)[0].shape == (2, 1, 9, 8)
        del batches
        gc.collect()
        assert sum(len(y) for _, y in loader) == len(images)

    in_child(child)
    assert sum(len(y) for _, y in batches) == len(images) - 2


@pytest.mark.cpu
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_while_other_threads_take_batches(images: data.ArrayDataset) -> None:
    stop = threading.Event()
    kept: list[Any] = [None] * 2

    def work(at: int) -> None:
        loader = data.DataLoader(images, 2, transform=data.RandomShift(1), prefetch=2 * at)
        while not stop.is_set():
            kept[at] = iter(loader)
            for _ in kept[at]:
                pass

    def child() -> None:
        for batches in kept:
            try:
                list(batches or ())
                message = "begin a new one"
            except RuntimeError as error:
                message = str(error)
            assert message.endswith("begin a new one")
        kept.clear()
        gc.collect()
        for prefetch in (0, 2):
            assert len(list(data.DataLoader(images, 2, prefetch=prefetch))) == 12

    workers = [threading.Thread(target=work, args=(at,)) for at in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(40):
            in_child(child)
    finally:
        stop.set()
        for worker in workers:
            worker.join()


@pytest.mark.cpu
@pytest.mark.once
@pytest.mark.parametrize("how", ["", "sys.exit(0)", "del batches"])
def test_the_interpreter_ends_while_a_thread_prepares_batches(how: str) -> None:
    code = f"""
import sys
import numpy as np
from weft import data
images = data.ArrayDataset(np.zeros((64, 3, 64, 64), np.uint8), np.zeros(64, int))
batches = iter(data.DataLoader(images, 8, transform=data.RandomRotation(9), prefetch=2))
next(batches)
{how}
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_loader_arguments(images: data.ArrayDataset) -> None:
    for name, least in (("batch_size", 1), ("prefetch", 0)):
        for bad in ("5", 2.0, True, [], np.nan, 1j):
            with pytest.raises(TypeError, match=f"DataLoader: {name} must be an int, got"):
                data.DataLoader(images, **{name: bad})
        for bad in (least - 1, 10**30):
            with pytest.raises(ValueError, match=f"DataLoader: {name} must"):
                data.DataLoader(images, **{name: bad})
    for options, match in (
        ({"seed": 1.5}, "seed must be an int"),
        ({"seed": 2**64}, "seed must be 18446744073709551615 at most"),
        ({"transform": 5}, "transform must be a Transform, got 5"),
        ({"fill": "x"}, "fill must be a number"),
        ({"fill": np.nan}, "fill must be finite"),
        ({"device": 5}, "device must be a str"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"DataLoader: {match}"):
            data.DataLoader(images, **options)
    with pytest.raises(TypeError, match="DataLoader: dataset must be a Dataset, got "):
        data.DataLoader([1, 2])
    with pytest.raises(ValueError, match="DataLoader: epoch must not be negative, got -1"):
        data.DataLoader(images).set_epoch(-1)
    assert [len(y) for _, y in data.DataLoader(images, 2**62)] == [23]


INTERRUPTED = """
import random, signal
import numpy as np
from weft import data
class Interrupt(Exception):
    pass
armed = False
def interrupt(*_):
    if armed:
        raise Interrupt
signal.signal(signal.SIGALRM, interrupt)
images = data.ArrayDataset(np.zeros((64, 1, 8, 8), np.uint8), np.zeros(64, int))
for i in range(300):
    signal.setitimer(signal.ITIMER_REAL, 0.0002 + random.random() * 0.003, 0.003)
    try:
        try:
            armed = True
            while True:
                for _ in data.DataLoader(images, 8, prefetch=2):
                    pass
        except Interrupt:
            armed = False
    except Interrupt:
        pass
    armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
assert sum(len(y) for _, y in data.DataLoader(images, 8, prefetch=2)) == 64
"""


@pytest.mark.once
def test_a_signal_at_any_moment_is_all_that_is_raised() -> None:
    """threading.Condition loses its lock where a handler raises in the middle of it; then somebody waits for ever."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
