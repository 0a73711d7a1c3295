"""The examples reach what they say."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft.data
from helpers import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def examples_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def run(name: str, *arguments: str) -> Any:
    return importlib.import_module(name).main(list(arguments))


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_xor(seed: str) -> None:
    result = run("xor", "--seed", seed)
    assert result["two_layers"] == 4
    assert result["one_layer"] < 4
    assert result["loss"] < 0.05


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_perceptron(seed: str) -> None:
    result = run("perceptron", "--seed", seed)
    assert result["accuracy"] == 1
    assert 0 < result["mistakes"] <= result["bound"]


def test_polynomial_fit() -> None:
    result = run("polynomial_fit")
    assert result["difference"] < 1e-5
    assert abs(result["loss"] - result["floor"]) < 1e-8


@pytest.mark.parametrize("seed", ["0", "1"])
def test_tc_problem(seed: str) -> None:
    result = run("tc_problem", "--seed", seed)
    assert result["seen"] == result["unseen"] == 1


# --- LeNet ---

lenet = pytest.mark.needs("sklearn", "safetensors")
DIGITS = ["--dataset", "digits", "--epochs", "8", "--no-pictures"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 on the 8x8 digits, with its pictures."""
    pytest.importorskip("matplotlib")
    sys.path.insert(0, str(EXAMPLES))
    output = tmp_path_factory.mktemp("lenet")
    result = run("train_lenet", "--dataset", "digits", "--output", str(output))
    assert result["test_accuracy"] > 0.96
    assert result["parameters"] == 61_706
    assert np.sum(result["confusion"]) == len(weft.data.Digits(train=False))
    return output


@pytest.mark.needs("PIL", "sklearn", "safetensors")
def test_pictures(trained: Path) -> None:
    from PIL import Image

    for name in ("curves", "filters", "features", "mistakes"):
        with Image.open(trained / f"{name}.png") as image:
            pixels = np.asarray(image.convert("L"))
        assert min(pixels.shape) > 150, name
        assert pixels.std() > 5, f"{name}.png is blank"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that lenet_pictures draws, each as it is when it is closed."""
    pytest.importorskip("matplotlib")
    kept: list[Any] = []
    pictures = importlib.import_module("lenet_pictures")
    monkeypatch.setattr(pictures.plt, "close", kept.append)
    return kept


THINGS = ["airplane", "automobile", "ankle boot", "a very long name for a class", "T-shirt"]


@pytest.mark.cpu
@pytest.mark.parametrize(("classes", "channels"), [(THINGS, 1), (THINGS, 3), (["0", "1", "2", "3", "4"], 1)])
def test_titles_of_mistakes_do_not_overlap(
    tmp_path: Path, figures: list[Any], classes: list[str], channels: int
) -> None:
    labels = np.arange(20) % 5
    images = np.random.default_rng(0).integers(0, 256, (20, channels, 28, 28), np.uint8)
    scores = np.eye(5, dtype=np.float32)[(labels + 1 + np.arange(20) // 5) % 5] * 9
    scores[-5:] = np.eye(5)[labels[-5:]]  # right
    data = weft.data.Dataset(images, labels, classes=classes)
    importlib.import_module("lenet_pictures").mistakes(tmp_path / "mistakes.png", data, scores)
    (figure,) = figures
    figure.canvas.draw()
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 15
    texts = [text.get_window_extent() for axes in shown for text in (axes.title, axes.xaxis.label)]
    texts.append(figure._suptitle.get_window_extent())
    for i, box in enumerate(texts):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in texts[:i])
    assert [axes.images[0].get_array().shape for axes in shown] == [(28, 28) if channels == 1 else (28, 28, 3)] * 15


@pytest.mark.cpu
def test_curves_say_what_was_trained_on_which_data(tmp_path: Path, figures: list[Any]) -> None:
    history = [{"epoch": 1, "loss": 0.64, "val_loss": 0.35, "accuracy": 0.75, "val_accuracy": 0.87}]
    importlib.import_module("lenet_pictures").curves(tmp_path / "curves.png", history, "LeNet-5 on Fashion-MNIST")
    (figure,) = figures
    figure.canvas.draw()
    assert figure._suptitle.get_text() == "LeNet-5 on Fashion-MNIST"
    loss = figure.axes[0].yaxis
    assert {"0.4", "0.5", "0.6"} <= {label.get_text() for label in loss.get_minorticklabels()}


@lenet
def test_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    files = []
    for threads in ("1", "2"):
        before = weft.get_num_threads()
        run("train_lenet", *DIGITS, "--threads", threads, "--output", str(tmp_path / threads))
        weft.set_num_threads(before)
        files.append((tmp_path / threads / "model.safetensors").read_bytes())
    assert files[0] == files[1]


@lenet
def test_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("train_lenet", *DIGITS, "--output", str(tmp_path))
    whole = (tmp_path / "log.csv").read_text().splitlines()
    run("train_lenet", *DIGITS, "--output", str(tmp_path), "--resume")
    assert "resumed after epoch 8" in capsys.readouterr().out
    assert (tmp_path / "log.csv").read_text().splitlines() == whole


@lenet
@pytest.mark.parametrize("extra", [["--variant", "1998"], ["--augment"], ["--optimizer", "adam"]], ids=str)
def test_other_ways(tmp_path: Path, extra: list[str]) -> None:
    result = run("train_lenet", *DIGITS, "--output", str(tmp_path), *extra)
    assert result["test_accuracy"] > 0.8


@lenet
def test_digits_where_mnist_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pooch = pytest.importorskip("pooch")

    def unreachable(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    monkeypatch.setenv("WEFT_DATA_DIR", str(tmp_path / "nothing"))
    result = run("train_lenet", "--epochs", "1", "--no-pictures", "--output", str(tmp_path / "out"))
    assert result["dataset"] == "digits"
    out = capsys.readouterr().out
    assert "MNIST cannot be had: training on scikit-learn's 1,797 digits" in out
    assert "train-images-idx3-ubyte.gz" in out
    with pytest.raises(weft.data.DatasetNotFoundError):
        run("train_lenet", "--dataset", "mnist", "--output", str(tmp_path / "out"))


def picture(digit: np.ndarray, style: str) -> Any:
    """A test digit as somebody might have drawn it."""
    from PIL import Image

    large = Image.fromarray(digit).resize((140, 140), Image.Resampling.BICUBIC)
    if style == "light on dark":
        return large
    dark = Image.fromarray(255 - np.asarray(large))
    if style == "dark on light":
        return dark
    if style == "transparent":
        clear = Image.new("RGBA", large.size, (0, 0, 0, 0))
        clear.putalpha(large)
        return clear
    page = Image.new("L", (400, 300), 255)  # small, in a corner of a page
    page.paste(dark, (230, 20))
    return page


@pytest.mark.needs("PIL", "sklearn", "safetensors")
@pytest.mark.parametrize("style", ["light on dark", "dark on light", "transparent", "page"])
def test_predict(trained: Path, tmp_path: Path, style: str) -> None:
    test_set = weft.data.Digits(train=False, size=28)
    right = 0
    for at in range(40):
        path = tmp_path / f"{at}.png"
        picture(test_set.images[at, 0], style).save(path)
        found = run("predict", str(path), "--model", str(trained / "model.safetensors"))
        assert abs(sum(found.values()) - 1) < 1e-5
        right += next(iter(found)) == str(test_set.labels[at])
    # Chance is 4. The 8x8 digits fill their square otherwise than MNIST, for which the pictures are prepared.
    assert right >= 18


@pytest.mark.needs("PIL", "sklearn", "safetensors")
def test_predict_errors(trained: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (50, 50), 255).save(tmp_path / "empty.png")
    with pytest.raises(ValueError, match="predict: the picture is empty"):
        run("predict", str(tmp_path / "empty.png"), "--model", str(trained / "model.safetensors"))
    with pytest.raises(ValueError, match="was not written by train_lenet.py"):
        run("predict", str(tmp_path / "empty.png"), "--model", str(trained / "checkpoint.safetensors"))
