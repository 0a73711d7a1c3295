"""Damaged files of every format that is read.

Right is what the file said before, or a ValueError that names the file; and nothing is changed by a file that is
refused: model, optimizer, schedule, random numbers, loader, history.
"""

from __future__ import annotations

import abc
import gzip
import io
import json
import random
import struct
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import weft
import weft.kernels as k
import weft.nn as nn
from weft.data import CIFAR10, MNIST, DataLoader, Dataset
from weft.data.sources import read_idx
from weft.optim.lr_scheduler import LinearLR, SequentialLR, StepLR
from weft.train import EarlyStopping, Trainer
from weft.train.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint

from .children import Report, stream

PART = "files"

# --- what is read ---


class Format(abc.ABC):
    """One that is read: a whole file, and how it is read. `state`: what a refused file must not change."""

    name: str
    content: bytes
    checked = True  # whether any change of its bytes must show

    @abc.abstractmethod
    def read(self, path: Path) -> Any:
        """What the file says."""

    def state(self) -> Any:
        return None


class Tensors(Format):
    name = "tensors"

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        tensors = {name: rng.normal(size=(3, 5)).astype(name) for name in ("float32", "float64", "int64", "uint8")}
        weft.save(tensors, folder / "t", {"about": "something"})
        self.content = (folder / "t").read_bytes()

    def read(self, path: Path) -> Any:
        return {name: (str(t.dtype), t.tolist()) for name, t in weft.load(path).items()}


class ForeignTensors(Tensors):
    """Of another program: without a checksum, so that changed data is other data."""

    name, checked = "foreign tensors", False

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import save

        self.content = save({"a": np.ones((3, 5), np.float32), "b": np.arange(7)})


class CheckpointFile(Format):
    name = "checkpoint"

    def __init__(self, folder: Path) -> None:
        self.loader = DataLoader(Dataset(np.ones((8, 6), np.float32), np.arange(8) % 2), 4, shuffle=True)
        made = self.trainer()
        made.fit(self.loader, epochs=3)
        save_checkpoint(folder / "c", made)
        self.content = (folder / "c").read_bytes()
        self.used = self.trainer()
        self.used.fit(self.loader, epochs=1)

    @staticmethod
    def trainer() -> Trainer:
        weft.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
        optimizer = weft.optim.Adam(
            [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[3].parameters()}], lr=0.01
        )
        parts = [LinearLR(optimizer, total_iters=2), StepLR(optimizer, 2)]
        callbacks = [EarlyStopping("loss", patience=9)]
        return Trainer(
            model, nn.CrossEntropyLoss(), optimizer, scheduler=SequentialLR(optimizer, parts, [2]), callbacks=callbacks
        )

    def read(self, path: Path) -> Any:
        read_checkpoint(path)
        load_checkpoint(path, self.used)
        return self.state()

    def state(self) -> Any:
        t = self.used
        optimizer = t.optimizer.state_dict()
        return repr([
            {name: x.tolist() for name, x in t.model.state_dict().items()},
            [(n, {m: x if m == "step" else x.tolist() for m, x in e.items()}) for n, e in optimizer["state"].items()],
            optimizer["param_groups"], t.scheduler.state_dict(), t.epoch, t.step, t.history,
            k.default_generator("cpu").get_state(), t._loader_states, [c.state_dict() for c in t.callbacks],
        ])  # fmt: skip


class Idx(Format):
    """The checksum that gzip keeps finds changed data."""

    name = "idx"

    def __init__(self, folder: Path) -> None:
        images = np.arange(5 * 28 * 28, dtype=np.uint32).astype(np.uint8)
        self.content = gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 5, 28, 28) + images.tobytes(), mtime=0)

    def read(self, path: Path) -> Any:
        return read_idx(path).tolist()


class PlainIdx(Idx):
    """The same with its content damaged, in a whole gzip file."""

    name, checked = "idx inside", False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.content = gzip.decompress(self.content)

    def read(self, path: Path) -> Any:
        path.write_bytes(gzip.compress(path.read_bytes()))
        return super().read(path)


class MnistLabels(Format):
    """Labels beside whole images."""

    name, checked = "labels", False

    def __init__(self, folder: Path) -> None:
        self.content = struct.pack(">4BI", 0, 0, 8, 1, 5) + bytes([0, 9, 3, 2, 1])

    def read(self, path: Path) -> Any:
        raw = path.parent / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        images = struct.pack(">4B3I", 0, 0, 8, 3, 5, 28, 28) + bytes(5 * 28 * 28)
        (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (raw / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(path.read_bytes()))
        labels = MNIST(path.parent, download=False).labels
        assert labels.min() >= 0
        assert labels.max() <= 9
        return labels.tolist()


class CifarArchive(Format):
    """Six files of ten thousand records are what it holds, so a small one is refused for its size at the latest."""

    name, checked = "CIFAR-10 archive", False

    def __init__(self, folder: Path) -> None:
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w:gz") as tar:
            for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
                info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                info.size = 3073
                tar.addfile(info, io.BytesIO(bytes(3073)))
        self.content = memory.getvalue()

    def read(self, path: Path) -> Any:
        (path.parent / "cifar-10-binary.tar.gz").write_bytes(path.read_bytes())
        return len(CIFAR10(path.parent, download=False))


FORMATS: tuple[type[Format], ...] = (
    Tensors, ForeignTensors, CheckpointFile, CheckpointFile, CheckpointFile, Idx, PlainIdx, MnistLabels, CifarArchive,
)  # fmt: skip

# --- damage ---

Damage = Callable[[random.Random, bytes], bytes]


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.choice([0, 1, 7, 8, 9, rng.randrange(len(content)), len(content) - 1])]


def flip(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 8, 64])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: random.Random, content: bytes) -> bytes:
    at, size = rng.randrange(len(content)), rng.choice([1, 4, 8, 100])
    filling = rng.choice([b"\0", b"\xff", b"{", b"9", b'"', bytes([rng.randrange(256)])]) * size
    return content[:at] + filling[: len(content) - at] + content[at + size :]


def swap(rng: random.Random, content: bytes) -> bytes:
    size = rng.choice([1, 8, 64])
    i, j = sorted(rng.randrange(max(1, len(content) - size)) for _ in range(2))
    if j < i + size:
        return flip(rng, content)
    return content[:i] + content[j : j + size] + content[i + size : j] + content[i : i + size] + content[j + size :]


def lengthen(rng: random.Random, content: bytes) -> bytes:
    at = rng.choice([0, 8, len(content), rng.randrange(len(content))])
    return content[:at] + rng.randbytes(rng.choice([1, 8, 1000])) + content[at:]


def wrong_length(rng: random.Random, content: bytes) -> bytes:
    """Of the first field, as safetensors has it, or of some four bytes, as idx has."""
    value = rng.choice([0, 1, 2, len(content), 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1])
    if rng.random() < 0.5:
        return struct.pack("<Q", value) + content[8:]
    at = 4 * rng.randrange(min(4, len(content) // 4))
    return content[:at] + struct.pack(">I", value % 2**32) + content[at + 4 :]


VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, float("nan"), float("inf"), 0.5, "",
    "x", "nan", "\ud800", "F32", [], [1], [[]], {}, {"a": 1}, [0, 10**12], [-4, 8], [[[[[[1]]]]]],
)  # fmt: skip


def change_json(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """One place of a JSON value changed: another value, a key lost or renamed, an item more or fewer."""
    if isinstance(value, dict) and value and rng.random() < 0.92:
        key = rng.choice(list(value))
        what = rng.random()
        if what < 0.1:
            return {name: v for name, v in value.items() if name != key}
        if what < 0.2:
            return {(name + "x" if name == key else name): v for name, v in value.items()}
        return {name: change_json(rng, v, depth + 1) if name == key else v for name, v in value.items()}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        what = rng.random()
        if what < 0.15:
            return value[:at] + value[at + 1 :]
        if what < 0.3:
            return [*value, value[at]]
        return [change_json(rng, v, depth + 1) if i == at else v for i, v in enumerate(value)]
    if isinstance(value, str) and value.startswith("{") and rng.random() < 0.97:
        return json.dumps(change_json(rng, json.loads(value), depth + 1))
    return rng.choice(VALUES)


def change_header(rng: random.Random, content: bytes) -> bytes:
    """The JSON of a safetensors file changed in one place, and written as it should be, with its checksum left out in
    half of the cases: then nothing but the reader's own looking helps."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    notes = header.get("__metadata__", {})
    if rng.random() < 0.5:
        notes.pop("weft.checksum", None)
    if "weft" in notes and rng.random() < 0.8:
        notes["weft"] = json.dumps(change_json(rng, json.loads(notes["weft"])))
    else:
        header = change_json(rng, header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


DAMAGES: tuple[Damage, ...] = (cut, flip, flip, overwrite, swap, lengthen, wrong_length)

# --- trying them ---


def damaged(seed: int, index: int, made: list[Format]) -> tuple[Format, str, bytes]:
    """The format, the kind of damage and the file of an input."""
    rng = stream(seed, PART, index)
    form = made[rng.randrange(len(made))]
    has_header = isinstance(form, (Tensors, CheckpointFile))
    damage = change_header if has_header and rng.random() < 0.6 else rng.choice(DAMAGES)
    content = damage(rng, form.content)
    return form, damage.__name__, content


def make_formats(folder: Path) -> list[Format]:
    kinds: dict[type[Format], Format] = {}
    return [kinds.setdefault(kind, kind(folder)) for kind in FORMATS]


def try_all(report: Report, first: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_formats(folder)
        whole = {}
        for form in made:
            (folder / "whole").write_bytes(form.content)
            try:
                whole[form.name] = form.read(folder / "whole")
            except ValueError:
                whole[form.name] = None  # the archive
        for index in range(first, first + count):
            form, damage, content = damaged(report.seed, index, made)
            if content != form.content:
                _try_one(report, index, form, damage, content, whole[form.name], folder)


def _try_one(report: Report, index: int, form: Format, damage: str, content: bytes, whole: Any, folder: Path) -> None:
    path = folder / f"file{index}"
    path.write_bytes(content)
    before = form.state()
    lines = f"# {form.name}, {damage}: python -m tests.fuzz --only files --seed {report.seed} --first {index} --count 1"
    try:
        got = form.read(path)
    except ValueError as error:
        report.counts[f"{form.name}: refused"] += 1
        text = str(error)
        if str(folder) not in text and path.name not in text:
            report.found(index, lines, f"a text that does not name the file: {text[:200]}")
        if form.state() != before:
            report.found(index, lines, f"refused, but something was changed: {text[:200]}")
    except Exception as error:
        report.found(index, lines, f"{type(error).__name__}: {str(error)[:200]}")
    else:
        report.counts[f"{form.name}: read"] += 1
        if form.checked and damage in ("flip", "overwrite", "swap") and got != whole:
            report.found(index, lines, "damaged data is read without a word")
    finally:
        path.unlink(missing_ok=True)
