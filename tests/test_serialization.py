"""Tensors in files: what comes back, what is no such file, and what stays when the disk is full."""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import weft
import weft.kernels as K
from weft import nn
from weft.serialization import read, write_atomically


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
