"""XOR: what one layer of weights cannot do and two can.

No line separates {00, 11} from {01, 10}, so a single layer stays at three of four right at best (Minsky, Papert,
1969). A hidden layer bends the line; its weights are found by backpropagation (Rumelhart, Hinton, Williams, 1986).

    python examples/xor.py
"""

from __future__ import annotations

import argparse
from typing import Any

import weft
from weft import nn

INPUTS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
TARGETS = [[0.0], [1.0], [1.0], [0.0]]


def train(model: nn.Module, steps: int, lr: float) -> tuple[float, int]:
    """Full-batch training; returns the last loss and how many of the four are right."""
    x, t = weft.tensor(INPUTS), weft.tensor(TARGETS)
    optimizer = weft.optim.Adam(model.parameters(), lr=lr)
    loss_function = nn.BCEWithLogitsLoss()
    for _ in range(steps):
        loss = loss_function(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with weft.no_grad():
        right = ((model(x) > 0).numpy() == (t > 0.5).numpy()).sum()
    return loss.item(), int(right)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--hidden", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    weft.manual_seed(arguments.seed)

    one_layer = nn.Linear(2, 1)
    one_loss, one_right = train(one_layer, arguments.steps, lr=0.05)
    print(f"one layer:  loss {one_loss:.3f} (log 2 = 0.693), {one_right} of 4 right")

    two_layers = nn.Sequential(nn.Linear(2, arguments.hidden), nn.Tanh(), nn.Linear(arguments.hidden, 1))
    two_loss, two_right = train(two_layers, arguments.steps, lr=0.05)
    print(f"two layers: loss {two_loss:.3f}, {two_right} of 4 right")
    return {"one_layer": one_right, "two_layers": two_right, "loss": two_loss}


if __name__ == "__main__":
    main()
