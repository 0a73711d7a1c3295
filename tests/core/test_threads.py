"""Forks, several Python threads, and torch in the same process."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import helpers
import weft

pytestmark = pytest.mark.cpu  # threads, and the mode of their arithmetic

FORK = """
import os, signal
import numpy as np, weft
x = weft.tensor(np.ones(1 << 21, np.float32), requires_grad=True)
weft.set_num_threads(2)
(x * 2).sum().backward()
pid = os.fork()
if pid == 0:
    signal.alarm(60)  # a child that hangs ends, and fails
    y = weft.tensor(np.ones(1 << 21, np.float32), requires_grad=True)
    loss = (y * 3).sum()
    loss.backward()
    good = weft.get_num_threads() == 1 and loss.item() == 3 << 21 and y.grad[-1].item() == 3
    weft.set_num_threads(2)  # threads of its own
    good &= (y * 5).sum().item() == 5 << 21
    os._exit(0 if good else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert weft.get_num_threads() == 2 and (x * 2).sum().item() == 2 << 21
"""

FORKS_UNDER_LOAD = """
import os, signal, threading, time
import weft, weft.kernels as K

stop = False
generator = K.Generator(1)

def kernels():
    x = K.ones((64, 64))
    while not stop:
        K.add(x, x)

def numbers():
    while not stop:
        K.uniform((500,), generator=generator)
        K.normal((5,))

def replays(turn=[0]):
    while not stop:
        step = K.Replay()
        step.begin()
        try:
            out = K.matmul(K.ones((32, 32)), K.ones((32, 32)))
        finally:
            step.end()
        step.set_outputs([out])
        for _ in range(5):
            step.call([])

def child():
    signal.alarm(30)  # a child that hangs ends, and fails
    K.add(K.ones((300, 300)), K.ones((300, 300)))
    K.uniform((10,), generator=generator)
    K.uniform((10,))
    weft.manual_seed(3)
    step = K.Replay()
    step.begin()
    out = K.square(K.full((3,), 3.0))
    step.end()
    step.set_outputs([out])
    good = step.call([])[0].tolist() == [9.0, 9.0, 9.0]
    K.empty_cache()
    weft.set_num_threads(2)
    good &= K.sum(K.ones((1 << 18,))).item() == 1 << 18
    os._exit(0 if good else 1)

threads = [threading.Thread(target=f) for f in (kernels, numbers, replays)]
for t in threads:
    t.start()
failed = []
for i in range(FORKS):
    pid = os.fork()
    if pid == 0:
        child()
    status = os.waitpid(pid, 0)[1]
    if status:
        failed.append((i, os.waitstatus_to_exitcode(status)))
stop = True
for t in threads:
    t.join()
assert not failed, failed
"""

WITH_TORCH = """
import {0}, {1}
import torch, weft, numpy as np

a = np.random.default_rng(0).normal(size=(1 << 20,)).astype(np.float32)
for _ in range(2):
    ours, theirs = np.asarray(weft.tensor(a) * 2), (torch.tensor(a) * 2).numpy()
assert (ours == theirs).all()
"""


def run(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr


def test_a_forked_child_runs_on_one_thread() -> None:
    run(FORK)


def test_forks_while_other_threads_compute() -> None:
    run(FORKS_UNDER_LOAD.replace("FORKS", "200"))


@pytest.mark.parametrize("order", [("torch", "weft"), ("weft", "torch")])
def test_import_order_with_torch(order: tuple[str, str]) -> None:
    pytest.importorskip("torch")
    run(WITH_TORCH.format(*order))


def test_kernels_called_by_several_python_threads() -> None:
    """One of them has the helping threads, the others do their work themselves: the same bits."""
    a = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    with helpers.threads(3):
        alone = weft.kernels.matmul(a, a).numpy()
        with ThreadPoolExecutor(4) as pool:
            together = pool.map(lambda _: weft.kernels.matmul(a, a).numpy(), range(40))
            assert all(np.array_equal(alone, each) for each in together)


def test_several_python_threads_at_once() -> None:
    """Recording is switched by thread, and every thread gets its own right gradients."""

    def work(k: int) -> bool:
        good = True
        for _ in range(20):
            x = weft.tensor(np.full(1 << 15, k, np.float64), requires_grad=True)
            if k % 2:
                with weft.no_grad():
                    good &= not (x * x).requires_grad
            (x * x).sum().backward()
            good &= bool((x.grad.numpy() == 2 * k).all())
        return good

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_number_of_threads() -> None:
    before = weft.get_num_threads()
    weft.set_num_threads(3)
    assert weft.get_num_threads() == weft.config()["threads"] == 3
    weft.set_num_threads(before)
    for count in (0, -1, 1024, 10**9):
        with pytest.raises(ValueError, match="set_num_threads: expected 1 to 1023 threads, got"):
            weft.set_num_threads(count)
    assert weft.get_num_threads() == before


@pytest.mark.once
@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("2,5", 2), ("5000", 1023), ("0", None), ("many", None)])
def test_omp_num_threads(given: str, expected: int | None) -> None:
    """What is no number of threads the runtime says by itself, and goes on with the processors."""
    script = "import weft; print(weft.get_num_threads()); weft.kernels.sum(weft.kernels.ones((1 << 18,)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": given},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == (len(os.sched_getaffinity(0)) if expected is None else expected)
    assert ("OMP_NUM_THREADS" in done.stderr) == (expected is None)


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs /proc")
def test_the_runtime_that_is_named_is_the_one_in_use() -> None:
    runtime = weft.config()["threads_runtime"]
    with open("/proc/self/maps") as maps:
        loaded = maps.read()
    for name in ("libgomp", "libomp"):
        assert name not in runtime or name in loaded


LIMITED = """
import resource, threading
import weft.kernels as K
x = K.ones((1 << 22,))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
for count in (2, 1000, 3, 1000):
    K.set_num_threads(count)
    assert K.sum(x).item() == 1 << 22
there = threading.Thread(target=lambda: K.sum(x))
there.start()
there.join()
"""


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
def test_fewer_threads_where_the_system_gives_no_more() -> None:
    """OpenMP's runtime would end the process."""
    run(LIMITED)


def test_numbers_drawn_by_several_threads_are_drawn_once() -> None:
    generator = weft.kernels.Generator(3)
    alone = weft.kernels.uniform((8 * 50, 64), generator=weft.kernels.Generator(3)).numpy()
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: weft.kernels.uniform((64,), generator=generator).numpy(), range(8 * 50)))
    assert sorted(map(bytes, parts)) == sorted(map(bytes, alone))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_products_flush_denormals_and_leave_the_mode_alone(every_isa: str, threads: int) -> None:
    """A product below the smallest normal number is 0 in every thread; outside of the kernel it is not."""
    with helpers.threads(threads):
        a = np.full((192, 192), 1e-20, np.float32)
        x, w = np.full((16, 8, 16, 16), 1e-20, np.float32), np.full((8, 8, 3, 3), 1e-20, np.float32)
        assert not weft.kernels.matmul(a, a).numpy().any()
        assert not weft.kernels.conv2d(x, w, None, 1, 1).numpy().any()
        small = weft.kernels.full((1 << 16,), 1e-30)
        assert (weft.kernels.mul(small, 1e-10).numpy() == np.float32(1e-30) * np.float32(1e-10)).all()
        assert np.float32(1e-30) * np.float32(1e-10) > 0


@pytest.mark.once
@pytest.mark.parametrize("given", [None, "77"])
def test_helping_threads_do_not_spin_for_long(given: str | None) -> None:
    """The setting is libgomp's while it is loaded, and the environment is as it was; a user's own stays."""
    code = "import os, weft; print(os.environ.get('GOMP_SPINCOUNT'))"
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment["OMP_DISPLAY_ENV"] = "verbose"
    if given:
        environment["GOMP_SPINCOUNT"] = given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(given)
    if "libgomp" in weft.kernels.threads_runtime():
        assert f"GOMP_SPINCOUNT = '{given or 10000}'" in done.stderr
