"""Tensors in files: safetensors, written so that a file is either the old one or the whole new one."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import weft.kernels as K
from weft.tensor import Tensor


def save(tensors: Mapping[str, Any], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named tensors (a state_dict, say) to a safetensors file.

    The file is written beside `path` under a temporary name, flushed to the disk and renamed: whatever happens, `path`
    holds the old content or the new one. OSError (a full disk) leaves the old file and no temporary one.
    """
    from safetensors.numpy import save as to_bytes

    arrays = {name: np.ascontiguousarray(_numpy(value)) for name, value in tensors.items()}
    write_atomically(Path(path), to_bytes(arrays, dict(metadata) if metadata else None))


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file as a whole."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The named tensors of a safetensors file. ValueError for a file that is no whole safetensors file."""
    return read(path)[0]


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The named tensors and the metadata. ValueError for a file that is no whole safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            tensors = {name: Tensor(K.copy(file.get_tensor(name))) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except FileNotFoundError:
        raise
    except (SafetensorError, struct.error, ValueError, OverflowError) as error:
        size = Path(path).stat().st_size
        raise ValueError(
            f"load: {os.fspath(path)} ({size} bytes) is no whole safetensors file; it may be truncated: {error}"
        ) from error


def _numpy(value: Any) -> Any:
    return np.asarray(value.array if isinstance(value, Tensor) else value)
