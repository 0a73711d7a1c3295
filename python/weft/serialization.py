"""Tensors in files: safetensors, written so that a file is the old one or the whole new one, and damage shows."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import weft.kernels as K
from weft._checks import instance, shown
from weft._files import write_atomically
from weft._optional import require
from weft.tensor import Tensor

__all__ = ["load", "read", "save"]

# A file is the length of the header in 8 bytes, the header in JSON, then the data, by offsets from its start.
_DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "u1", "BF16": "<u2"}

# The checksum of data and header is an entry of the metadata, where other programs pass it over. CRC-32, because it is
# against accidents, not against forgers: it finds any burst of up to 32 bits and all but one in four billion others,
# and zlib's takes 1.7 GB/s, SHA-256 1.1 or, where the processor has no instructions for it, a quarter of that.
_CHECKSUM = "weft.checksum"
_CHECKSUM_VALUE = re.compile(r"weft-crc32:[0-9a-f]{8}")


def save(tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named tensors (a state_dict, say) to a safetensors file, with a checksum that `load` looks at.

    The file is written beside `path` under a temporary name, flushed to the disk and renamed: whatever happens, `path`
    holds the old content or the new one. OSError (a full disk) leaves the old file and no temporary one. TypeError for
    a dtype that weft does not have, or for names and metadata that are no str. ImportError without safetensors.
    """
    to_bytes = require("safetensors.numpy", "save").save
    arrays, halves = {}, []
    for name, value in instance("save", "tensors", tensors, Mapping, "dict").items():
        array = value.array if isinstance(value, Tensor) else value
        if isinstance(array, K.Array) and array.dtype == K.DType.bfloat16:
            halves.append(name)
            array = K.bfloat16_bits(array)
        arrays[instance("save", "a tensor's name", name, str)] = np.asarray(array, order="C")
        if arrays[name].dtype.name not in K.DType.__members__ and name not in halves:
            raise TypeError(f"save: {name} has dtype {arrays[name].dtype}; expected {', '.join(K.DType.__members__)}")
    notes = dict(instance("save", "metadata", {} if metadata is None else metadata, Mapping, "dict"))
    for key, text in notes.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata must be str by str, got {shown(key)}: {shown(text)}")
        if key == _CHECKSUM or _CHECKSUM_VALUE.fullmatch(text):
            raise ValueError(f"save: metadata {key!r}: {text!r} is what a checksum looks like")
    if "__metadata__" in arrays:
        raise ValueError("save: '__metadata__' is no name for a tensor: the format uses it")
    content = to_bytes(arrays)
    write_atomically(Path(path), _with_checksum(content, notes, halves))


def _with_checksum(content: bytes, notes: dict[str, str], halves: list[str]) -> tuple[bytes, memoryview]:
    """The file in two parts, header and data, with metadata and checksum.

    halves: tensors of another dtype: NumPy has no bfloat16, so their bits were written as uint16.
    """
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    data = memoryview(content)[8 + length :]
    for name in halves:
        header[name]["dtype"] = "BF16"
    notes[_CHECKSUM] = _checksum(header, notes, zlib.crc32(data))
    text = json.dumps({"__metadata__": notes, **header}, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, data


def _checksum(header: dict[str, Any], notes: dict[str, str], data: int) -> str:
    """Of the CRC of the data, continued over what the header says, in whatever order."""
    others = {key: text for key, text in notes.items() if key != _CHECKSUM}
    said = json.dumps([header, others], sort_keys=True).encode()
    return f"weft-crc32:{zlib.crc32(said, data):08x}"


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The named tensors of a safetensors file.

    ValueError for a file that is no whole safetensors file, whose checksum says that it is damaged (a file that weft
    did not write has none), or for tensors of a dtype that weft does not have; ImportError without safetensors.
    """
    return read(path)[0]


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The named tensors and the metadata; errors as for `load`."""
    safetensors = require("safetensors", "load")
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"load: path must be a str or a Path, got {shown(path)}")
    # Read, not mapped: a file that shrinks under a mapping kills the process.
    content = Path(path).read_bytes()
    try:
        parts = dict(safetensors.deserialize(content))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"load: {os.fspath(path)} ({len(content)} bytes) is no whole safetensors file; it may be truncated: {error}"
        ) from error
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    notes = header.pop("__metadata__", None) or {}
    _compare(header, notes, zlib.crc32(memoryview(content)[8 + length :]), os.fspath(path))
    notes.pop(_CHECKSUM, None)
    # Each part's bytes go when its tensor is made.
    return {name: _tensor(name, parts.pop(name), os.fspath(path)) for name in sorted(parts)}, notes


def _tensor(name: str, part: dict[str, Any], path: str) -> Tensor:
    dtype, shape = part["dtype"], part["shape"]
    if dtype not in _DTYPES:
        raise ValueError(f"load: {path}: {name} has dtype {dtype}, which weft does not have")
    try:
        bits = np.frombuffer(part["data"], _DTYPES[dtype]).reshape(shape)
        array = K.bfloat16_from_bits(bits) if dtype == "BF16" else bits != 0 if dtype == "BOOL" else bits
        return Tensor(K.copy(array))
    except ValueError as error:  # more axes than an array may have
        raise ValueError(f"load: {path}: {name} of shape {tuple(shape)}: {error}") from error


def _compare(header: dict[str, Any], notes: dict[str, str], data: int, path: str) -> None:
    """ValueError where the file's checksum is not that of its content. A file of another program has none."""
    # By its look, too: the damage may be in the entry's name.
    given = [key for key, text in notes.items() if key == _CHECKSUM or _CHECKSUM_VALUE.fullmatch(text)]
    if given and (given != [_CHECKSUM] or notes[_CHECKSUM] != _checksum(header, notes, data)):
        raise ValueError(f"load: {path} is damaged: its data or header is not that of its checksum")
