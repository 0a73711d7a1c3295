"""What the host is, and which commit is measured; needs no weft, so that a build can be told of too."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit of the checkout, with a + where files were changed since; WEFT_COMMIT's where there is no .git."""
    given = os.environ.get("WEFT_COMMIT", "unknown")
    if not (ROOT / ".git").exists():  # git would look in the folders above
        return given
    try:
        name = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return given
    return name
