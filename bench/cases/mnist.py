"""LeNet-5 trained on MNIST as a whole process: seconds from its start until it has classified 99.05% of the test
images rightly. weft: examples/train_lenet.py; PyTorch: the same recipe in torch_lenet.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import weft.kernels as K
from bench.cases import shapes
from bench.host import ROOT
from bench.measure import Case, Row
from bench.peers import chosen
from weft.data.sources import data_root

WANTED = 99.05


def train(command: list[str]) -> tuple[float, float, int]:
    """Seconds until the process prints a line with the wanted accuracy (infinite where it never does), and until it
    ends; and how many epochs the first one took."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          env=environment) as process:  # fmt: skip
        assert process.stdout is not None
        reached, epochs = float("inf"), 0
        for line in process.stdout:
            found = re.search(r"epoch.*test accuracy ([\d.]+)%", line)
            if found and reached == float("inf"):
                epochs += 1
                if float(found[1]) >= WANTED:
                    reached = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed")
    return reached, time.perf_counter() - start, epochs


def train_weft(*options: str) -> tuple[float, dict[str, Any]]:
    """Seconds to the wanted accuracy, and what the example wrote about its training."""
    with tempfile.TemporaryDirectory() as folder:
        reached, whole, epochs = train(
            ["examples/train_lenet.py", "--dataset", "mnist", "--no-pictures", "--output", folder,
             "--threads", str(K.num_threads()), *options]
        )  # fmt: skip
        about: dict[str, Any] = json.loads((Path(folder) / "result.json").read_text())
    about.pop("confusion")
    return reached, {**about, "process_seconds": whole, "epochs_to_accuracy": {"weft": epochs}}


def measure(row: Row, modes: list[str]) -> dict[str, float]:
    values = {}
    values["weft"], row.about = train_weft()
    if chosen.have("torch"):
        folder = data_root(None) / "MNIST" / "raw"
        for mode in modes:
            command = ["-m", "bench.peers.torch_lenet", str(folder), mode, str(K.num_threads())]
            name = f"torch {mode}"
            values[name], _, row.about["epochs_to_accuracy"][name] = train(command)
    return values


def cases(quick: bool) -> Iterator[Case]:
    row = Row("mnist", f"LeNet-5 on MNIST to {WANTED}%", "whole process", figure=shapes.MNIST_FIGURE)
    yield Case(row, measure=lambda modes: measure(row, modes))
