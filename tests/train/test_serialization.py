"""Tensors in files: what comes back, what is no such file, and what stays when the disk is full."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import weft
import weft.kernels as K
from weft import _files, nn
from weft._files import write_atomically
from weft.serialization import read


def full_disk(*_: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def handmade(path: Path, dtype: str) -> Path:
    """A valid file with one tensor "x" of two 16-bit numbers."""
    header = json.dumps({"x": {"dtype": dtype, "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return path


@pytest.mark.needs("safetensors")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 5)])
def test_round_trip(dtype: str, shape: tuple[int, ...], rng: np.random.Generator, tmp_path: Path) -> None:
    values = np.asarray(rng.integers(0, 2, shape) * 1.5).astype(dtype)
    weft.save({"a": weft.Tensor(K.copy(values)), "b.c": values}, tmp_path / "x.safetensors")
    back = weft.load(tmp_path / "x.safetensors")
    assert list(back) == ["a", "b.c"]
    for tensor in back.values():
        array = tensor.numpy()
        assert (array.dtype, array.shape, array.tobytes()) == (values.dtype, shape, values.tobytes())


@pytest.mark.needs("safetensors")
def test_every_bit_survives(tmp_path: Path) -> None:
    bits = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1], np.uint32)
    weft.save({"x": bits.view(np.float32)}, tmp_path / "x")
    assert weft.load(tmp_path / "x")["x"].numpy().view(np.uint32).tolist() == bits.tolist()


@pytest.mark.needs("safetensors")
def test_views_and_metadata(tmp_path: Path) -> None:
    x = weft.arange(12).reshape(3, 4)
    weft.save({"t": x.T, "row": x[1]}, str(tmp_path / "x"), {"note": "größer"})
    tensors, metadata = read(tmp_path / "x")
    assert metadata == {"note": "größer"}
    assert tensors["t"].tolist() == x.T.tolist()
    assert tensors["row"].tolist() == [4, 5, 6, 7]


@pytest.mark.needs("safetensors")
def test_other_programs_read_it(tmp_path: Path) -> None:
    torch_reader = pytest.importorskip("safetensors.torch")
    model = nn.Linear(3, 2)
    weft.save(model.state_dict(), tmp_path / "m.safetensors")
    theirs = torch_reader.load_file(tmp_path / "m.safetensors")
    assert theirs["weight"].tolist() == model.weight.tolist()
    torch_reader.save_file(theirs, tmp_path / "t.safetensors")
    other = nn.Linear(3, 2)
    other.load_state_dict(weft.load(tmp_path / "t.safetensors"))
    assert other.bias.tolist() == model.bias.tolist()


@pytest.mark.needs("safetensors")
def test_files_that_are_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    weft.save({"x": np.arange(100.0)}, path)
    whole = path.read_bytes()
    for size in (0, 1, 7, 8, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"x.safetensors \({size} bytes\) is no whole safetensors file"):
            weft.load(path)
    for other in (b"\x89PNG\r\n\x1a\n" + bytes(100), b"epoch,loss\n1,0.5\n", whole + b"more", b"\xff" * 64):
        path.write_bytes(other)
        with pytest.raises(ValueError, match=rf"\({len(other)} bytes\) is no whole safetensors file"):
            weft.load(path)
    with pytest.raises(FileNotFoundError, match="none"):
        weft.load(tmp_path / "none")


@pytest.mark.needs("safetensors")
def test_dtypes_that_weft_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x has dtype F16, which weft does not have"):
        weft.load(handmade(tmp_path / "F16", "F16"))
    for value in (np.float16(1), np.array("text")):
        with pytest.raises(TypeError, match="save: x has dtype"):
            weft.save({"x": value}, tmp_path / "y")
    assert not (tmp_path / "y").exists()


@pytest.mark.needs("safetensors")
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    weft.save({"x": np.arange(5)}, path)
    before = path.read_bytes()
    monkeypatch.setattr(os, where, full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        weft.save({"x": np.zeros(1000)}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_a_write_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", b"content")
    assert os.listdir(tmp_path) == []


def test_the_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_atomically(tmp_path / "x", b"content")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "x")]
    assert modes[0] == modes[1]


@pytest.mark.needs("safetensors")
def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        weft.save({"x": np.zeros(3)}, tmp_path / "none" / "x")


# --- damage ---


def written(path: Path) -> bytes:
    """The content of a small file of ours with every part that a file may have."""
    half = weft.tensor([1.0, -2.0, 3.0], dtype="bfloat16")
    weft.save({"w": np.arange(6.0).reshape(2, 3), "h": half, "on": np.array([True, False])}, path, {"note": "größer"})
    return path.read_bytes()


@pytest.mark.needs("safetensors")
def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    whole = bytearray(written(path))
    for place in range(len(whole)):
        for bit in range(8):
            whole[place] ^= 1 << bit
            path.write_bytes(whole)
            with pytest.raises(ValueError, match=r"load: .*x(:| ).*(is damaged|is no whole|which weft does not have)"):
                read(path)
            whole[place] ^= 1 << bit
    data = bytearray(whole)
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="x is damaged: its data or header is not that of its checksum"):
        weft.load(path)
    path.write_bytes(whole)
    assert weft.load(path)["h"].tolist() == [1, -2, 3]


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put(path: Path, header: Any, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.needs("safetensors")
def test_checksums_of_other_data_and_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    header, data = parts(written(path))
    entry = header["__metadata__"].pop("weft.checksum")
    put(path, header, data)  # as other programs write it, and weft did before
    tensors, notes = read(path)
    assert (tensors["w"].tolist(), notes) == ([[0, 1, 2], [3, 4, 5]], {"note": "größer"})
    for notes in ({"weft.checksum": ""}, {"weft.checksum": "weft-crc32:00000000"}, {"weft.chexksum": entry}):
        put(path, {**header, "__metadata__": {**header["__metadata__"], **notes}}, data)
        with pytest.raises(ValueError, match="is damaged"):
            weft.load(path)
    put(path, {**header, "__metadata__": {"note": "größer", "weft.checksum": entry}}, data)
    assert weft.load(path)["on"].tolist() == [True, False]
    put(path, {**header, "__metadata__": {"note": "kleiner", "weft.checksum": entry}}, data)
    with pytest.raises(ValueError, match="is damaged"):
        weft.load(path)
    with pytest.raises(ValueError, match="save: metadata 'weft.checksum': 'a' is what a checksum looks like"):
        weft.save({}, path, {"weft.checksum": "a"})


@pytest.mark.needs("safetensors")
def test_safetensors_reads_what_has_a_checksum_and_refuses_what_weft_refuses(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors")
    path = tmp_path / "x"
    header, data = parts(written(path))
    with theirs.safe_open(path, "numpy") as file:
        assert file.get_tensor("w").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert file.metadata()["note"] == "größer"
    del header["__metadata__"]["weft.checksum"]
    w = header["w"]
    for change in (
        {"w": {**w, "shape": [2, 4]}},
        {"w": {**w, "shape": [-2, -3]}},
        {"w": {**w, "shape": "23"}},
        {"w": {**w, "shape": [2, 3.0]}},
        {"w": {**w, "data_offsets": [8, 56]}},
        {"w": {**w, "data_offsets": [48, 0]}},
        {"w": {**w, "data_offsets": [0]}},
        {"w": {"dtype": "F64", "shape": [2, 3]}},
        {"w": {**w, "dtype": 64}},
        {"w": None},
        {"more": {"dtype": "U8", "shape": [2**40, 2**40], "data_offsets": [len(data), len(data)]}},
        {"__metadata__": {"note": 1}},
        {"__metadata__": ["note"]},
    ):
        put(path, {**header, **change}, data)
        with pytest.raises(ValueError, match="is no whole safetensors file"):
            read(path)
        with pytest.raises(theirs.SafetensorError):
            theirs.safe_open(path, "numpy")
    for text in (b"[]", b"{", b"\xff{}", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'"\\ud800"'):
        put(path, text, b"")
        with pytest.raises(ValueError, match="is no whole safetensors file"):
            read(path)
    deep = {"x": {"dtype": "U8", "shape": [1] * 40, "data_offsets": [0, 1]}}
    put(path, deep, b"1")
    with pytest.raises(ValueError, match=r"x of shape \(1, 1.*axes|x of shape \(1, 1.*dimension"):
        read(path)


@pytest.mark.needs("safetensors")
def test_what_save_refuses(tmp_path: Path) -> None:
    one: Any
    for one, match in (
        (({1: np.ones(2)},), "save: a tensor's name must be a str, got 1"),
        (([np.ones(2)],), r"save: tensors must be a dict, got \["),
        (({"x": np.ones(2)}, {"epoch": 1}), r"save: metadata must be str by str, got 'epoch' \(str\): 1"),
    ):
        with pytest.raises(TypeError, match=match):
            weft.save(one[0], tmp_path / "x", *one[1:])
    with pytest.raises(TypeError, match="load: path must be a str or a Path, got 5"):
        weft.load(5)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


# --- writers that die, and several ---

WRITER = """
import os, sys
from pathlib import Path
from weft._files import write_atomically

def hold(_):
    print("there", flush=True)
    sys.stdin.readline()

os.fsync = hold
write_atomically(Path(sys.argv[1]), b"new")
"""


def writer(path: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


@pytest.mark.cpu
@pytest.mark.once
def test_what_a_killed_writer_left_is_swept_and_nothing_of_a_living_one(tmp_path: Path) -> None:
    dead, living = writer(tmp_path / "a"), writer(tmp_path / "b")
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        others = [".x.tmp", ".a.0123abcd.tmp", "a.tmp"]
        for name in others:
            (tmp_path / name).write_bytes(b"of another program")
        assert len(os.listdir(tmp_path)) == 2 + len(others)
        write_atomically(tmp_path / "c", b"content")
        left = sorted(set(os.listdir(tmp_path)) - {"c", *others})
        assert [name.split(".")[1] for name in left] == ["b"]
        living.communicate("go on\n", timeout=60)
    finally:
        living.kill()
        living.wait()
    assert (tmp_path / "b").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == sorted(["b", "c", *others])


def test_another_hosts_file_is_swept_when_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    young, old = (tmp_path / f".x.weft-00c0ffee-0000000{i}.tmp" for i in range(2))
    for file in (young, old):
        file.write_bytes(b"half")
    os.utime(old, (0, time.time() - 2 * 24 * 60 * 60))
    write_atomically(tmp_path / "x", b"content")
    assert sorted(os.listdir(tmp_path)) == [young.name, "x"]
    # Without locks nothing is known, and nothing swept.
    mine = tmp_path / f".x.weft-{_files._host()}-00000000.tmp"
    mine.write_bytes(b"half")
    monkeypatch.setattr(_files, "_locked", lambda file, wait: False)
    write_atomically(tmp_path / "x", b"more")
    assert mine.exists()


def _writes(path: Path, mark: int) -> None:
    for _ in range(30):
        write_atomically(path, bytes([mark]) * 10_000)


@pytest.mark.cpu
@pytest.mark.once
def test_many_writers_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    _writes(path, 0)
    context = multiprocessing.get_context("spawn")
    workers: list[Any] = [threading.Thread(target=_writes, args=(path, mark)) for mark in (1, 2)]
    workers += [context.Process(target=_writes, args=(path, mark)) for mark in (3, 4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        content = path.read_bytes()
        assert len(content) == 10_000
        assert len(set(content)) == 1
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers[2:]] == [0, 0]
    assert os.listdir(tmp_path) == ["x"]


def test_errors_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ("x" * 250)
    write_atomically(path, b"content")  # the temporary name is no longer than the file's
    assert path.read_bytes() == b"content"
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="/folder'"):
        write_atomically(tmp_path / "folder", b"content")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        write_atomically(Path("/"), b"content")
    with pytest.raises(FileNotFoundError, match="/none/x'"):
        write_atomically(tmp_path / "none" / "x", b"content")
    with pytest.raises(NotADirectoryError, match="x/y'"):
        write_atomically(path / "y", b"content")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left on device: .*/y'"):
        write_atomically(tmp_path / "y", b"content")

    def vanishes(_: int) -> None:
        for name in os.listdir(tmp_path / "folder"):
            (tmp_path / "folder" / name).unlink()
        (tmp_path / "folder").rmdir()

    monkeypatch.setattr(os, "fsync", vanishes)
    with pytest.raises(FileNotFoundError, match="/folder/y'"):
        write_atomically(tmp_path / "folder" / "y", b"content")
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="/x'"):
        write_atomically(tmp_path / "x", b"content")
    tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == []
