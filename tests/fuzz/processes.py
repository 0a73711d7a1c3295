"""Forks, signals, threads and limits while kernels run.

Each input is a scene: a script with its numbers, in a process of its own. It prints nothing and exits with 0, or it
says what was wrong. A child of its own that hangs ends by SIGALRM.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from .children import Report, run, stream

PART = "processes"

# What the scenes share: work that others do meanwhile, and a check that the process still computes.
COMMON = '''
import os, random, resource, signal, sys, threading, time
import numpy as np
import weft, weft.kernels as k, weft.nn as nn
from weft.data import DataLoader, Dataset, RandomShift

rng = random.Random(SEED)
stop = False
images = Dataset(np.arange(64 * 3 * 8 * 8, dtype=np.uint32).astype(np.uint8).reshape(64, 3, 8, 8), np.arange(64) % 10)
shared_generator = k.Generator(1)

def kernels():
    x = k.ones((64, 64))
    while not stop:
        k.matmul(k.add(x, x), x)

def numbers():
    while not stop:
        k.uniform((500,), generator=shared_generator)
        k.normal((5,))

def batches():
    while not stop:
        for x, y in DataLoader(images, 8, shuffle=True, transform=RandomShift(2), prefetch=2):
            if stop:
                break

def replays():
    step = weft.capture(lambda x: (x * 2).sum())
    x = weft.ones((32, 32))
    while not stop:
        assert step(x).item() == 2048

def trains():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = weft.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    while not stop:
        optimizer.zero_grad()
        (model(weft.ones((4, 8))) ** 2).mean().backward()
        optimizer.step()

WORK = [kernels, numbers, batches, replays, trains]

def works():
    """Everything once more, with known results."""
    assert k.sum(k.add(k.ones((300, 300)), k.ones((300, 300)))).item() == 180000
    x = weft.tensor(np.ones((3, 3), np.float32), requires_grad=True)
    (x * x).sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 3
    assert sum(len(y) for _, y in DataLoader(images, 8, prefetch=2, transform=RandomShift(1))) == 64
    k.uniform((10,), generator=shared_generator)
    step = weft.capture(lambda x: x + 1)
    assert [step(weft.zeros(2)).tolist() for _ in range(4)] == [[1.0, 1.0]] * 4
    weft.manual_seed(3)
    assert weft.rand(2).tolist() == weft.kernels.uniform((2,), generator=k.Generator(3)).tolist()

def busy(count):
    threads = [threading.Thread(target=rng.choice(WORK), daemon=True) for _ in range(count)]
    for t in threads:
        t.start()
    return threads
'''

FORKS = """
threads = busy(THREADS)
ahead = iter(DataLoader(images, 4, prefetch=2, transform=RandomShift(1)))
next(ahead)
for i in range(COUNT):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            works()
            try:
                next(ahead)  # begun by the parent: the next batch, or a clear error
            except RuntimeError as error:
                assert "fork" in str(error), error
            if rng.random() < 0.3:
                k.set_num_threads(2)
                works()
        except BaseException as error:
            print(f"fork {i}: {type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if status:
        sys.exit(f"fork {i}: " + (f"signal {status & 127}" if status & 127 else "failed"))
    time.sleep(rng.random() * 0.002)
stop = True
for t in threads:
    t.join()
works()
"""

THREADS = """
failed = []
step, loader = weft.capture(lambda x: (x * 3).sum()), iter(DataLoader(images, 1, prefetch=3, transform=RandomShift(1)))
replay, seen = k.Replay(), []

def one(i):
    try:
        own = random.Random(i)
        for _ in range(ROUNDS):
            what = own.randrange(5)
            if what == 0:
                assert k.sum(k.ones((own.randrange(1, 400), 7))).item() % 7 == 0
            elif what == 1:
                assert step(weft.ones((4, 4))).item() == 48
            elif what == 2:
                assert k.uniform((9,), generator=shared_generator).shape == (9,)
            elif what == 3:
                for _, y in loader:
                    seen.append(y.item())
                    break
            else:
                try:
                    replay.begin()
                except RuntimeError as error:
                    assert "already recorded" in str(error), error
                else:
                    out = k.square(k.full((3,), 2.0))
                    replay.end()
                    replay.set_outputs([out])
    except BaseException as error:
        failed.append(f"{type(error).__name__}: {error}")

threading.stack_size(256 * 1024)
threads = [threading.Thread(target=one, args=(i,)) for i in range(COUNT)]
for t in threads:
    t.start()
for t in threads:
    t.join(60)
assert not any(t.is_alive() for t in threads), "a thread waits for ever"
assert not failed, failed[0]
assert len(seen) <= 64
works()
"""

SIGNALS = """
class Interrupt(Exception):
    pass

armed = False

def interrupt(*_):
    if armed:
        raise Interrupt

# Again and again, for one that comes while an object is deleted is lost.
signal.signal(signal.SIGALRM, interrupt)
caught = 0
for i in range(COUNT):
    signal.setitimer(signal.ITIMER_REAL, 0.0005 + rng.random() * 0.02, 0.02)
    try:
        try:
            armed = True
            rng.choice(WORK)()
        except Interrupt:
            armed = False
    except Interrupt:
        pass
    armed = False
    caught += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    weft.set_grad_enabled(True)  # a handler that raises as a `with` ends takes the place of what its end would do
works()
assert not k.in_capture()
"""

MEMORY = """
works()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
held, refused = [], 0
for i in range(COUNT):
    try:
        shape = (rng.randrange(1, 1 << 22), rng.randrange(1, 40))
        what = rng.randrange(4)
        if what == 0:
            held.append(k.ones(shape))
        elif what == 1:
            held.append(k.copy(k.ones((1, 1)).expand(shape)))
        elif what == 2:
            held.append(k.matmul(k.ones((1, 1)).expand((shape[0], 3)), k.ones((3, shape[1]))))
        else:
            x = weft.tensor(np.ones((64, 3, 32, 32), np.float32), requires_grad=True)
            nn.Conv2d(3, 64, 3)(x).sum().backward()
    except MemoryError as error:
        refused += 1
        text = str(error)
        # NumPy's and Python's own say what they like.
        assert not text or "bytes" in text or "allocate" in text or "memory" in text, repr(text)
        assert "bad_alloc" not in text, text
        held.clear()
        k.empty_cache()
assert refused, "the limit was never met"
held.clear()
assert k.sum(k.ones((300, 300))).item() == 90000
"""

LIMITED_THREADS = """
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
for count in (1, 2, COUNT, 1000, 1):
    k.set_num_threads(count)
    for _ in range(3):
        assert k.sum(k.ones((1 << 18,))).item() == 1 << 18
"""


def scenes(rng: random.Random) -> tuple[str, dict[str, int]]:
    """A scene and its numbers."""
    kind = rng.choice(["forks", "forks", "threads", "signals", "memory", "limited threads"])
    if kind == "forks":
        return FORKS, {"COUNT": 25, "THREADS": rng.randrange(1, 5)}
    if kind == "threads":
        return THREADS, {"COUNT": rng.choice([1, 2, 7, 40, 200, 1000]), "ROUNDS": 5}
    if kind == "signals":
        return SIGNALS, {"COUNT": 40}
    if kind == "memory":
        return MEMORY, {"COUNT": 60, "ROOM": rng.choice([150, 400, 1000]) << 20}
    return LIMITED_THREADS, {"COUNT": rng.randrange(3, 200), "ROOM": rng.choice([100, 500]) << 20}


def names() -> dict[str, str]:
    return {
        FORKS: "forks",
        THREADS: "threads",
        SIGNALS: "signals",
        MEMORY: "memory",
        LIMITED_THREADS: "limited threads",
    }


def script_of(seed: int, index: int) -> tuple[str, str, int]:
    """The name of a scene, its script, and how many things it tries."""
    rng = stream(seed, PART, index)
    scene, numbers = scenes(rng)
    text = COMMON + scene
    for name, value in {**numbers, "SEED": rng.randrange(1 << 30)}.items():
        text = text.replace(name, str(value))
    return names()[scene], text, numbers["COUNT"]


def inputs(seed: int, first: int = 0) -> Iterator[tuple[int, str, str, int]]:
    index = first
    while True:
        yield index, *script_of(seed, index)
        index += 1


def try_one(report: Report, index: int) -> None:
    name, script, count = script_of(report.seed, index)
    done = run(script, seconds=120)
    report.counts[name] += count
    if done.code:
        report.found(index, script, f"{name}: {done.happened}")
