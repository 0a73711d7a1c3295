"""The pictures that train_lenet.py draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen needed
import matplotlib.pyplot as plt
import numpy as np

import weft
from weft import nn
from weft.data import Dataset

BLUE, ORANGE, GREY = "#1f5a92", "#d9701e", "#888888"


def _image_axes(axes: Any, image: np.ndarray, title: str = "", **options: Any) -> None:
    """An image (H, W), dark where it is large, or (3, H, W) in colours."""
    pixels = image if image.ndim == 2 else image.transpose(1, 2, 0)
    axes.imshow(pixels, cmap="gray_r", interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color("#cccccc")
    if title:
        axes.set_title(title, fontsize=9)


def _image(data: Dataset, i: int) -> np.ndarray:
    return data.images[i] if data.images.shape[1] == 3 else data.images[i, 0]


def curves(path: Path, history: list[dict[str, Any]], title: str) -> None:
    """Loss and accuracy over the epochs, for training and test."""
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    left.plot(epochs, [row["loss"] for row in history], "o-", color=BLUE, label="training")
    left.plot(epochs, [row["val_loss"] for row in history], "o-", color=ORANGE, label="test")
    left.set_ylabel("cross-entropy loss")
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    low, high = left.get_ylim()
    left.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else "")  # where there may be no power of ten
    left.legend(frameon=False)
    right.plot(epochs, [100 * row["accuracy"] for row in history], "o-", color=BLUE, label="training")
    right.plot(epochs, [100 * row["val_accuracy"] for row in history], "o-", color=ORANGE, label="test")
    right.set_ylabel("accuracy, %")
    best = 100 * history[-1]["val_accuracy"]
    right.annotate(f"{best:.2f}%", (epochs[-1], best), textcoords="offset points", xytext=(-6, -16), ha="right",
                   color=ORANGE)  # fmt: skip
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(color="#eeeeee")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def first_convolution(model: nn.Module) -> nn.Conv2d:
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


def filters(path: Path, model: nn.Module) -> None:
    """The kernels of the first layer, a row for each channel of the images: red adds, blue takes away."""
    weights = first_convolution(model).weight.detach().numpy()
    most = float(np.abs(weights).max())
    columns, rows = weights.shape[:2]
    figure, grid = plt.subplots(
        rows, columns, figsize=(1.5 * columns, 1.5 * rows + 0.4), squeeze=False, constrained_layout=True
    )
    for channel in range(rows):
        for i, axes in enumerate(grid[channel]):
            _image_axes(axes, weights[i, channel], f"filter {i + 1}" if channel == 0 else "")
            axes.images[0].set(cmap="RdBu_r", clim=(-most, most))
    figure.suptitle("the first layer's filters (red adds, blue takes away)", fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def features(path: Path, model: nn.Module, test_set: Dataset) -> None:
    """What one digit becomes in the two convolutional layers, after activation and pooling."""
    x = test_set.gather(np.array([0]))
    stages: list[tuple[str, np.ndarray]] = []
    with weft.no_grad():
        convolutions = 0
        for module in model:
            x = module(x)
            if isinstance(module, nn.Conv2d):
                convolutions += 1
            if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
                stages.append((f"after convolution {convolutions} and pooling", x.numpy()[0].copy()))
    columns = 8
    rows = [-(-len(maps) // columns) for _, maps in stages]
    figure = plt.figure(figsize=(9, 1.15 * (sum(rows) + 1.4)), constrained_layout=True)
    parts = figure.subfigures(1 + len(stages), 1, height_ratios=[1.4, *rows])
    axes = parts[0].subplots(1, 1)
    label = test_set.classes[int(test_set.labels[0])] if test_set.classes else str(test_set.labels[0])
    _image_axes(axes, _image(test_set, 0), f"input: {label}")
    for part, (title, maps), height in zip(parts[1:], stages, rows, strict=True):
        part.suptitle(title, fontsize=9)
        grid = part.subplots(height, columns, squeeze=False).ravel()
        for i, cell in enumerate(grid):
            if i < len(maps):
                _image_axes(cell, maps[i])
            else:
                cell.axis("off")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def mistakes(path: Path, test_set: Dataset, scores: np.ndarray, most: int = 24) -> None:
    """The test images that the network got wrong with the greatest confidence."""
    labels = test_set.labels
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    guesses = scores.argmax(axis=1)
    wrong = np.flatnonzero(guesses != labels)
    wrong = wrong[np.argsort(-probabilities[wrong, guesses[wrong]], kind="stable")][:most]
    names = test_set.classes or [str(i) for i in range(scores.shape[1])]
    columns = 8
    rows = max(1, -(-len(wrong) // columns))
    size = min(7.5, 120 / max(len(f"not {name}") for name in names))  # 16 letters are as wide as an image
    figure, grid = plt.subplots(rows, columns, figsize=(9, 1.7 * rows + 0.4), squeeze=False, constrained_layout=True)
    for i, axes in enumerate(grid.ravel()):
        if i >= len(wrong):
            axes.axis("off")
            continue
        at = wrong[i]
        percent = round(100 * float(probabilities[at, guesses[at]]))
        _image_axes(axes, _image(test_set, at))
        axes.set_title(f"{names[labels[at]]}\nnot {names[guesses[at]]}", fontsize=size)
        axes.set_xlabel(f"{percent}%", fontsize=7.5, labelpad=2)
    total = int((guesses != labels).sum())
    about = f"the {len(wrong)} surest of {total} mistakes: true, not predicted; below, how sure the network was"
    figure.suptitle(about, fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_all(
    output: Path, title: str, model: nn.Module, history: list[dict[str, Any]], test_set: Dataset, scores: Any
) -> None:
    """All pictures of a finished training; `title` says of what on which data."""
    model.eval()
    curves(output / "curves.png", history, title)
    filters(output / "filters.png", model)
    features(output / "features.png", model, test_set)
    mistakes(output / "mistakes.png", test_set, scores)
