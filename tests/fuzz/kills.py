"""SIGKILL while a training saves, full disks, vanishing and read-only folders, several writers of one file.

After a kill the checkpoint is whole, a training that goes on from it ends with the bits of one that was never
disturbed, and the next save sweeps what the dead writer left.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .children import ROOT, Report, environment, run, stream

PART = "kills"

TRAINING = '''
import hashlib, os, sys
import numpy as np
import weft, weft.kernels as k, weft.nn as nn
from weft.data import DataLoader, Dataset, RandomShift
from weft.optim.lr_scheduler import CosineAnnealingLR
from weft.train import Checkpoint, Trainer
from weft.train.checkpoint import save_checkpoint

pixels = (np.arange(96 * 64, dtype=np.uint32) * 7919 >> 3).astype(np.uint8)
images = Dataset(pixels.reshape(96, 1, 8, 8), np.arange(96) % 4)
path, epochs = sys.argv[1], int(sys.argv[2])

def trainer(*callbacks):
    weft.manual_seed(5)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(144, 4)]
    model = nn.Sequential(*layers)
    optimizer = weft.optim.AdamW(model.parameters(), lr=0.01)
    schedule = CosineAnnealingLR(optimizer, epochs)
    return Trainer(model, nn.CrossEntropyLoss(), optimizer, scheduler=schedule, callbacks=callbacks)

def hash_of(t):
    parts = [np.asarray(x.detach()).tobytes() for x in t.model.state_dict().values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()

def train():
    """To the last epoch, from the checkpoint where there is one."""
    t = trainer(Checkpoint(path))
    loader = DataLoader(images, 16, shuffle=True, transform=RandomShift(1))
    if os.path.exists(path):
        t.resume(path)
    if t.epoch < epochs:
        t.fit(loader, epochs=epochs)
    return t
'''
WHOLE = TRAINING + "print(hash_of(train()), flush=True)"


@functools.lru_cache
def undisturbed(epochs: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        done = run(WHOLE, (f"{folder}/c", str(epochs)), 120)
    if done.code:
        raise RuntimeError(f"the training fails undisturbed: {done.err}")
    return done.out.strip()


def _written(path: str) -> int:
    """When a file was written; 0 where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def killed(report: Report, index: int) -> None:
    """Kills a training at random moments until one comes to its end."""
    rng, epochs = stream(report.seed, PART, index), 40
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/c"
        for _ in range(5):
            child = subprocess.Popen(
                [sys.executable, "-c", WHOLE, path, str(epochs)], cwd=ROOT,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                env=environment(),
            )  # fmt: skip
            before, begun = _written(path), time.monotonic()
            while _written(path) == before and child.poll() is None and time.monotonic() - begun < 30:
                time.sleep(0.002)
            time.sleep(rng.random() * 0.15)
            child.send_signal(signal.SIGKILL)
            _, err = child.communicate()
            report.counts["killed"] += 1
            if child.returncode not in (0, -signal.SIGKILL):
                return report.found(index, WHOLE, f"a killed training does not resume: {err.strip()[-300:]}")
        done = run(WHOLE, (path, str(epochs)), 120)
        if done.code:
            return report.found(index, WHOLE, f"a killed training does not resume: {done.happened}")
        if done.out.strip() != undisturbed(epochs):
            return report.found(index, WHOLE, "a killed training ends with other bits than an undisturbed one")
        if os.listdir(folder) != ["c"]:
            return report.found(index, WHOLE, f"left behind: {sorted(os.listdir(folder))}")


SPOILED = (
    TRAINING
    + """
import resource, shutil, signal, stat, threading
kind = sys.argv[3]
folder = os.path.dirname(path)
t = train()
before, kept = open(path, "rb").read(), hash_of(t)
for p in t.model.parameters():
    p.data.add_(1.0)
message = None
if kind == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
elif kind == "vanished":
    shutil.rmtree(folder)
    open(folder, "w").close()  # so that it cannot be made again
elif kind == "a folder":
    os.remove(path)
    os.mkdir(path)
elif kind == "no name":
    path = folder + "/" + "x" * 300
elif kind == "writers":
    def write():
        for _ in range(20):
            save_checkpoint(path, t)
    threads = [threading.Thread(target=write) for _ in range(4)]
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            write()
            os._exit(0)
        children.append(pid)
    for w in threads:
        w.start()
    for w in threads:
        w.join()
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in children), "a writer failed"
    message = "none expected"
try:
    save_checkpoint(path, t)
except OSError as error:
    message = str(error)
assert message, "no error"
if kind == "full":
    assert open(path, "rb").read() == before, "the old checkpoint is gone"
if kind == "writers":
    other = trainer()
    other.resume(path)
    assert hash_of(other) == hash_of(t)
if kind in ("full", "writers"):
    assert os.listdir(folder) == ["c"], os.listdir(folder)
if kind in ("a folder", "no name"):
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")], os.listdir(folder)
"""
)


def spoiled(report: Report, index: int) -> None:
    """A save that cannot succeed: an OSError, the old file, nothing beside it. And one of several writers."""
    rng = stream(report.seed, PART, index)
    kind = rng.choice(["full", "full", "vanished", "a folder", "no name", "writers"])
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder, "inner")
        inner.mkdir()
        done = run(SPOILED, (str(inner / "c"), "2", kind, str(rng.randrange(1, 8000))), 60)
    report.counts[kind] += 1
    if done.code:
        report.found(index, SPOILED, f"{kind}: {done.happened}")


def try_one(report: Report, index: int) -> None:
    (killed if index % 2 == 0 else spoiled)(report, index)
