"""Classifies a picture by a LeNet-5 that train_lenet.py has trained.

    python examples/predict.py digit.png
    python examples/predict.py digit.png --model runs/lenet/model.safetensors

The picture may have any size and be dark on light or light on dark: it is brought to what MNIST's digits look like,
light on dark, fitted into 20x20 pixels, with its centre of mass in the middle of 28x28.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import weft
from weft.models import LeNet5, LeNet5_1998
from weft.serialization import read


def prepare(image: Image.Image) -> np.ndarray:
    """A uint8 image (28, 28) as MNIST's were made: see http://yann.lecun.com/exdb/mnist."""
    if image.mode in ("RGBA", "LA", "P"):  # what is transparent counts as white paper
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    grey = np.asarray(image.convert("L"), np.float64)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(border) > 127:  # dark on light
        grey = 255 - grey
    grey = grey - np.median(np.minimum(grey, 255)[grey < 128]) if (grey < 128).any() else grey
    grey = np.clip(grey, 0, 255)
    ink = np.argwhere(grey > 0.2 * grey.max()) if grey.max() > 0 else np.empty((0, 2), int)
    if len(ink) == 0:
        raise ValueError("predict: the picture is empty: all pixels have the same brightness")
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
    digit = grey[top:bottom, left:right] * (255 / grey.max())
    scale = 20 / max(digit.shape)
    size = (max(1, round(digit.shape[1] * scale)), max(1, round(digit.shape[0] * scale)))
    small = np.asarray(Image.fromarray(digit.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS), np.float64)
    rows, columns = np.indices(small.shape)
    mass = max(small.sum(), 1.0)
    row = round(13.5 - (rows * small).sum() / mass)
    column = round(13.5 - (columns * small).sum() / mass)
    row = min(max(row, 0), 28 - small.shape[0])
    column = min(max(column, 0), 28 - small.shape[1])
    out = np.zeros((28, 28), np.uint8)
    out[row : row + small.shape[0], column : column + small.shape[1]] = small.round()
    return out


def load_model(path: Path) -> tuple[Any, list[str], float, float]:
    """The network, the names of its classes, and the normalization of its images."""
    tensors, about = read(path)
    if "lenet" not in about:
        raise ValueError(f"predict: {path} was not written by train_lenet.py (it wants model.safetensors)")
    settings = json.loads(about["lenet"])
    model = LeNet5() if settings["variant"] == "modern" else LeNet5_1998()
    model.load_state_dict(tensors)
    model.eval()
    return model, settings["classes"], settings["mean"], settings["std"]


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", type=Path, default=Path("runs/lenet/model.safetensors"))
    arguments = parser.parse_args(argv)
    model, classes, mean, std = load_model(arguments.model)
    with Image.open(arguments.picture) as image:
        pixels = prepare(image)
    x = weft.tensor(((pixels / 255 - mean) / std).astype(np.float32)[None, None])
    with weft.no_grad():
        probabilities = weft.nn.functional.softmax(model(x), dim=1)[0].tolist()
    found = dict(sorted(zip(classes, probabilities, strict=True), key=lambda item: -item[1]))
    for name, probability in list(found.items())[:3]:
        print(f"{name:>12}  {100 * probability:5.1f}%  {'#' * round(40 * probability)}")
    return found


if __name__ == "__main__":
    main()
