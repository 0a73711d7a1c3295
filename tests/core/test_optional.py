"""Packages that weft can do without: it is imported, and a function that needs one says which and how to get it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft
from weft import data, nn
from weft.data.sources import data_root
from weft.train import ProgressBar, Trainer

pytestmark = pytest.mark.cpu

PACKAGES = ["safetensors", "pooch", "tqdm", "matplotlib", "sklearn", "PIL"]


@pytest.fixture(autouse=True)
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them can be imported."""
    for name in [*sys.modules, *PACKAGES]:
        if name.partition(".")[0] in PACKAGES:
            monkeypatch.setitem(sys.modules, name, None)


def test_weft_is_imported_without_them() -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({PACKAGES}))
import weft, weft.data, weft.models, weft.nn, weft.optim, weft.profiler, weft.train
assert float((weft.ones(3) + 1).sum()) == 6
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_of_tensors(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="save: needs safetensors: pip install safetensors"):
        weft.save({"x": weft.ones(3)}, tmp_path / "x")
    assert not list(tmp_path.iterdir())
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(ImportError, match="load: needs safetensors: pip install safetensors"):
        weft.load(tmp_path / "x")


def test_a_download(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="MNIST: the download: needs pooch: pip install pooch") as error:
        data.MNIST(tmp_path)
    assert "train-images-idx3-ubyte.gz" in str(error.value)  # where the files can be put instead
    with pytest.raises(data.DatasetNotFoundError):
        data.MNIST(tmp_path, download=False)


def test_digits() -> None:
    with pytest.raises(ImportError, match="Digits: needs scikit-learn: pip install scikit-learn"):
        data.Digits()


def test_where_data_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEFT_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root(None) == tmp_path / "weft"
    monkeypatch.setenv("WEFT_DATA_DIR", str(tmp_path / "other"))
    assert data_root(None) == tmp_path / "other"


def test_training_without_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen: Any = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    model = nn.Linear(3, 2)
    x, y = np.ones((4, 3), np.float32), np.zeros(4, np.int64)
    loader = data.DataLoader(data.ArrayDataset(x, y), 2)
    trainer = Trainer(model, nn.CrossEntropyLoss(), weft.optim.SGD(model.parameters(), 0.1), callbacks=[ProgressBar()])
    assert len(trainer.fit(loader, epochs=1)) == 1
    assert screen.getvalue() == ""
