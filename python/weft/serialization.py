"""Tensors in files: safetensors, written so that a file is either the old one or the whole new one."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import weft.kernels as K
from weft._optional import require
from weft.tensor import Tensor


def save(tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named tensors (a state_dict, say) to a safetensors file.

    The file is written beside `path` under a temporary name, flushed to the disk and renamed: whatever happens, `path`
    holds the old content or the new one. OSError (a full disk) leaves the old file and no temporary one. TypeError for
    a dtype that weft does not have. ImportError without safetensors.
    """
    to_bytes = require("safetensors.numpy", "save").save
    arrays, halves = {}, []
    for name, value in tensors.items():
        array = value.array if isinstance(value, Tensor) else value
        if isinstance(array, K.Array) and array.dtype == K.DType.bfloat16:
            halves.append(name)
            array = K.bfloat16_bits(array)
        arrays[name] = np.asarray(array, order="C")
        if arrays[name].dtype.name not in K.DType.__members__ and name not in halves:
            raise TypeError(f"save: {name} has dtype {arrays[name].dtype}; expected {', '.join(K.DType.__members__)}")
    write_atomically(Path(path), _named_bfloat16(to_bytes(arrays, dict(metadata) if metadata else None), halves))


# A file is the length of the header in 8 bytes, the header in JSON, then the data, by offsets from its start.


def _named_bfloat16(content: bytes, names: list[str]) -> bytes:
    """The file with another dtype for some tensors: NumPy has no bfloat16, so their bits were written as uint16."""
    if not names:
        return content
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    for name in names:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _bfloat16(path: str | os.PathLike[str], name: str) -> K.Array:
    """A tensor of a file that is known to be whole."""
    with Path(path).open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + length + begin)
        bits = np.frombuffer(file.read(end - begin), np.uint16)
    return K.copy(K.bfloat16_from_bits(bits.reshape(entry["shape"])))


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file as a whole."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The named tensors of a safetensors file.

    ValueError for a file that is no whole safetensors file, or for tensors of a dtype that weft does not have;
    ImportError without safetensors.
    """
    return read(path)[0]


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The named tensors and the metadata; errors as for `load`."""
    safetensors = require("safetensors", "load")
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
            tensors = {name: _tensor(file, name, path) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        size = Path(path).stat().st_size
        raise ValueError(
            f"load: {os.fspath(path)} ({size} bytes) is no whole safetensors file; it may be truncated: {error}"
        ) from error


def _tensor(file: Any, name: str, path: str | os.PathLike[str]) -> Tensor:
    dtype = file.get_slice(name).get_dtype()
    if dtype == "BF16":
        return Tensor(_bfloat16(path, name))
    try:
        return Tensor(K.copy(file.get_tensor(name)))
    except TypeError as error:
        raise ValueError(f"load: {os.fspath(path)}: {name} has dtype {dtype}, which weft does not have") from error
