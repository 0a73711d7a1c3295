"""The perceptron and its convergence bound.

Rosenblatt's rule (1958): where a point x with label y = -1 or 1 is on the wrong side, w += y x. If some unit vector
separates all points with a margin of at least g, and no point is longer than R, the rule makes at most (R / g)^2
mistakes, in whatever order the points come (Novikoff, 1962).

    python examples/perceptron.py
"""

from __future__ import annotations

import argparse
from typing import Any

import weft


def separable_points(count: int, dimensions: int, margin: float) -> tuple[weft.Tensor, weft.Tensor, float]:
    """Points around the origin, their labels, and the margin with which a hidden direction separates them."""
    direction = weft.randn(dimensions)
    direction = direction / (direction * direction).sum().sqrt()
    points = weft.randn(count, dimensions)
    distance = points @ direction
    side = weft.where(distance > 0, weft.ones(count), -weft.ones(count))
    # Every point is moved away from the plane by the margin.
    points = points + (side * margin).reshape(-1, 1) * direction
    return points, side, float(((points @ direction) * side).min().item())


def train(points: weft.Tensor, labels: weft.Tensor, passes: int) -> tuple[weft.Tensor, int, int]:
    """Applies the rule until a whole pass has no mistake; returns weights, mistakes, passes."""
    weights = weft.zeros(points.shape[1])
    mistakes = 0
    for done in range(1, passes + 1):
        before = mistakes
        for x, y in zip(points, labels.tolist(), strict=True):
            if y * (weights @ x).item() <= 0:
                weights.add_(x * y)
                mistakes += 1
        if mistakes == before:
            return weights, mistakes, done
    return weights, mistakes, passes


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--dimensions", type=int, default=2)
    parser.add_argument("--margin", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    weft.manual_seed(arguments.seed)

    with weft.no_grad():
        points, labels, margin = separable_points(arguments.points, arguments.dimensions, arguments.margin)
        radius = float((points * points).sum(dim=1).max().sqrt().item())
        weights, mistakes, passes = train(points, labels, passes=1000)
        accuracy = float(((points @ weights) * labels > 0).float().mean().item())
    bound = (radius / margin) ** 2
    print(f"{arguments.points} points, radius {radius:.2f}, margin {margin:.3f}")
    print(f"{mistakes} mistakes in {passes} passes; Novikoff's bound is {bound:.0f}")
    print(f"accuracy {100 * accuracy:.1f}%, weights {[round(w, 3) for w in weights.tolist()]}")
    return {"accuracy": accuracy, "mistakes": mistakes, "bound": bound}


if __name__ == "__main__":
    main()
