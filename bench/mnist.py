"""LeNet-5 trained on MNIST by the example script, as a whole process: accuracy, seconds, images a second."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run(*extra: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "examples/train_lenet.py",
            "--dataset",
            "mnist",
            "--output",
            folder,
            *extra,
        ]
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True)
        seconds = time.perf_counter() - start
        result: dict[str, Any] = json.loads((Path(folder) / "result.json").read_text())
    result["process_seconds"] = seconds
    return result
