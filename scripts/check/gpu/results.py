"""The one JSON of all results: whole at every moment, and written somewhere else where its disk is full."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu.child import say


class Results:
    """`machine`, `limits` and `rows` as `python -m bench --json` writes them, and `device`, `parts`.

    Parts that run later, in this process or another, come beside the earlier ones.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.data: dict[str, Any] = {"machine": {}, "device": {}, "limits": {}, "rows": [], "parts": {}}
        earlier = read(folder / f"{name}.json")
        if isinstance(earlier.get("rows"), list) and isinstance(earlier.get("machine"), dict):
            self.data.update(earlier)
        self.save()

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.json"

    def save(self) -> None:
        """Replaces the file as a whole; where that fails, the old one stays and another folder is taken from now on."""
        content = (json.dumps(self.data, indent=1) + "\n").encode()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace(self.path, content)
        except OSError as error:
            with contextlib.suppress(OSError):  # no place at all: what is printed has to do
                other = Path(tempfile.mkdtemp(prefix="weft-test-gpu-"))
                say(f"{self.path} cannot be written ({error}): the results go to {other}")
                self.folder = other
                replace(self.path, content)

    def log(self, name: str) -> Path:
        """Where a log begins anew."""
        path = self.folder / f"{name}.log"
        with contextlib.suppress(OSError):
            path.write_text("")
        return path

    def add_rows(self, measured: dict[str, Any], quick: bool) -> None:
        """What `python -m bench --json` wrote. Rows of the same commit that it does not have stay behind its own."""
        before, now = self.data["machine"], measured["machine"]
        same = before.get("commit") == now.get("commit") and bool(before.get("quick")) == quick
        new = {key(row) for row in measured["rows"]}
        kept = [row for row in self.data["rows"] if same and key(row) not in new]
        self.data["machine"] = {**before, **now, "quick": quick}
        self.data["machine"]["versions"] = {**before.get("versions", {}), **now.get("versions", {})}
        others = {name: value for name, value in measured.items() if name != "machine"}
        self.data.update({**others, "rows": [*measured["rows"], *kept]})


def key(row: dict[str, Any]) -> Sequence[Any]:
    return row["suite"], row["name"], row["shape"]


def read(path: Path) -> dict[str, Any]:
    """A file's JSON object; empty where there is none, or none that is whole."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def replace(path: Path, content: bytes) -> None:
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
