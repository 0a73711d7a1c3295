"""Where data sets lie, how they get there, and how their files are read."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weft._optional import require

TIMEOUT = 10  # seconds without an answer


class DatasetNotFoundError(FileNotFoundError):
    """A data set is not there and cannot be downloaded; the message lists the addresses and where to put the files."""


@dataclass
class Source:
    """A file of a data set: its name, its md5 sum, and the addresses of its mirrors, best first."""

    name: str
    md5: str
    urls: tuple[str, ...]


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """The folder of all data sets: `root`, else WEFT_DATA_DIR, else a folder of the user's cache."""
    if root is not None:
        return Path(root)
    if os.environ.get("WEFT_DATA_DIR"):
        return Path(os.environ["WEFT_DATA_DIR"])
    try:
        import pooch
    except ImportError:  # only downloads need it; the folder is the one that it names on Linux
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft"
    return Path(pooch.os_cache("weft"))


def find(folder: Path, sources: Sequence[Source], what: str, download: bool) -> list[Path]:
    """The paths of all files, each as named or unpacked (without .gz); missing ones are downloaded.

    DatasetNotFoundError where one is missing and cannot be had; ImportError where pooch would be needed for it and is
    not installed. Nothing half-downloaded stays.
    """
    missing = [s for s in sources if _present(folder, s) is None]
    errors: list[str] = []
    for source in missing if download else ():
        try:
            pooch = require("pooch", f"{what}: the download")
        except ImportError as error:
            raise ImportError(f"{error}\n{_help(folder, missing, what, [])}") from error
        reason = _fetch(pooch, folder, source)
        if reason is not None:
            errors.append(reason)
            break  # without a network the others would only wait as long again
    missing = [s for s in sources if _present(folder, s) is None]
    if missing:
        raise DatasetNotFoundError(_help(folder, missing, what, errors))
    return [path for s in sources if (path := _present(folder, s)) is not None]


def _present(folder: Path, source: Source) -> Path | None:
    for name in (source.name, source.name.removesuffix(".gz")):
        if (folder / name).is_file():
            return folder / name
    return None


def _fetch(pooch: Any, folder: Path, source: Source) -> str | None:
    """Downloads one file; what went wrong, or None."""
    folder.mkdir(parents=True, exist_ok=True)
    for url in source.urls:
        try:
            pooch.retrieve(
                url,
                known_hash=f"md5:{source.md5}",
                fname=source.name,
                path=folder,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT),
            )
            return None
        except Exception as error:  # a mirror may fail in any way: the next one is asked
            reason = f"{url}: {type(error).__name__}: {str(error)[:200]}"
    return reason


def _help(folder: Path, missing: Sequence[Source], what: str, errors: Sequence[str]) -> str:
    lines = [f"{what} is not in {folder}" + (" and could not be downloaded." if errors else ".")]
    lines += errors
    lines.append("Get these files and put them there:")
    lines += [f"  {folder / s.name}\n    from {' or '.join(s.urls)}" for s in missing]
    lines.append("WEFT_DATA_DIR, or the argument root, names another folder for all data sets.")
    return "\n".join(lines)


# --- idx: the format of MNIST ---

IDX_DTYPES = {0x08: np.uint8, 0x09: np.int8, 0x0B: np.int16, 0x0C: np.int32, 0x0D: np.float32, 0x0E: np.float64}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """An array from an idx file, plain or .gz: two zero bytes, a type byte, the rank, each size as a big-endian uint32,
    then the elements (http://yann.lecun.com/exdb/mnist). ValueError for a file that is not whole or something else."""
    name = os.fspath(path)
    content = _content(Path(path))
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_DTYPES:
        raise ValueError(f"read_idx: {name} is no idx file: it begins with {content[:4].hex(' ') or 'nothing'}")
    dtype, rank = np.dtype(IDX_DTYPES[content[2]]).newbyteorder(">"), content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"read_idx: {name} is truncated: {len(content)} bytes, its header alone has {start}")
    shape = struct.unpack(f">{rank}I", content[4:start])
    expected = start + dtype.itemsize * math.prod(shape)
    if len(content) != expected:
        kind = "truncated" if len(content) < expected else "too long"
        raise ValueError(f"read_idx: {name} is {kind}: {len(content)} bytes, expected {expected} for shape {shape}")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"read_idx: {path} is truncated or corrupted: {error}") from error
