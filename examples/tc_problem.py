"""The T-C problem: a letter is recognized wherever it stands and however it is turned.

A T and a C of five squares each, in any place and any of four turns on a grid. Counting squares, or pairs of them,
does not tell them apart. Rumelhart, Hinton and Williams ("Learning internal representations by error propagation",
1986) gave every hidden unit the same 3x3 weights, looking at another place: the convolution. What is learned at
some places then holds at all of them, which the script shows by training on half of the places only.

    T  X X X     C  X X .
       . X .        X . .
       . X .        X X .

    python examples/tc_problem.py
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import weft
from weft import nn

LETTERS = {
    "T": np.array([[1, 1, 1], [0, 1, 0], [0, 1, 0]]),
    "C": np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0]]),
}


def patterns(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All images (n,1,size,size), labels (n,1) with 1 for T, and whether the place is in the training half."""
    images, labels, training = [], [], []
    for label, letter in ((1.0, LETTERS["T"]), (0.0, LETTERS["C"])):
        for turn in range(4):
            for row in range(size - 2):
                for column in range(size - 2):
                    image = np.zeros((1, size, size), np.float32)
                    image[0, row : row + 3, column : column + 3] = np.rot90(letter, turn)
                    images.append(image)
                    labels.append([label])
                    training.append((row + column) % 2 == 0)
    return np.stack(images), np.array(labels, np.float32), np.array(training)


def network(filters: int) -> nn.Module:
    """Shared 3x3 detectors, the strongest answer of each over all places, and one decision."""
    return nn.Sequential(
        nn.Conv2d(1, filters, 3, padding=1),
        nn.Tanh(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(filters, 1),
    )


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    with weft.no_grad():
        decided = model(weft.tensor(images)).numpy() > 0
    return float((decided == (labels > 0.5)).mean())


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8, help="of the grid")
    parser.add_argument("--filters", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    weft.manual_seed(arguments.seed)

    images, labels, training = patterns(arguments.size)
    x, t = weft.tensor(images[training]), weft.tensor(labels[training])
    model = network(arguments.filters)
    optimizer = weft.optim.Adam(model.parameters(), lr=0.02)
    loss_function = nn.BCEWithLogitsLoss()
    for step in range(1, arguments.steps + 1):
        loss = loss_function(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:4d}: loss {loss.item():.4f}")
    seen = accuracy(model, images[training], labels[training])
    unseen = accuracy(model, images[~training], labels[~training])
    print(f"{training.sum()} patterns at places seen in training: {100 * seen:.1f}% right")
    print(f"{(~training).sum()} patterns at other places:           {100 * unseen:.1f}% right")
    return {"seen": seen, "unseen": unseen, "loss": loss.item()}


if __name__ == "__main__":
    main()
