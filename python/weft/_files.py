"""Files that are replaced as a whole, and what a writer leaves that was killed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # no Unix: nothing is locked there, and nothing swept
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = re.compile(r"\..*\.weft-([0-9a-f]{8})-[0-9a-f]{8}\.tmp")
_DAY = 24 * 60 * 60  # seconds


def write_atomically(path: Path, content: bytes | Iterable[Any]) -> None:
    """Replaces a file as a whole: whatever happens, `path` holds the old content or the new one.

    content: bytes, or parts one after another. OSError, which names `path`, leaves the old file and no temporary one;
    what a writer left in the folder that was killed is removed.
    """
    if not path.name:
        raise IsADirectoryError(f"cannot write {os.fspath(path)!r}: it is a folder")
    parts: Iterable[Any] = [content] if isinstance(content, bytes) else content
    temporary: Path | None = None
    try:
        sweep(path.parent)
        temporary, file = _begin(path)
        with file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)  # while it is open: the lock says that its writer lives
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error  # of the kind that errno says
        raise


def _begin(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, open and locked."""
    while True:
        temporary = path.with_name(f".{path.name[:40]}.weft-{_host()}-{secrets.token_hex(4)}.tmp")
        file = temporary.open("xb")
        # A lock rather than the writer's number in the name: the kernel drops it when the writer dies, however that
        # may be, and holds it for each thread; a number may be another process's by now, and is one of many in
        # containers that have the same name but each its own numbers.
        if not _locked(file, wait=True) or _is_at(file, temporary):
            return temporary, file
        file.close()  # swept away between open and lock


def _locked(file: BinaryIO, wait: bool) -> bool:
    """Whether the lock was to be had. A file system without locks has none, and so nothing is swept on it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def sweep(folder: Path) -> None:
    """Removes the temporary files of writers that are dead: those whose lock is free.

    A network's file system may be mounted with locks that only their own host sees; another host's file must be a day
    old besides.
    """
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".tmp")]
    except OSError:  # what is wrong with the folder, writing will tell
        return
    for name in names:
        found = _TEMPORARY.fullmatch(name)
        if found is None:
            continue
        with contextlib.suppress(OSError), (folder / name).open("rb+") as file:
            ours = found[1] == _host() or time.time() - os.fstat(file.fileno()).st_mtime > _DAY
            if ours and _locked(file, wait=False) and _is_at(file, folder / name):
                (folder / name).unlink()
