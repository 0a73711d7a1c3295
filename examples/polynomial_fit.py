"""A polynomial fitted to the sine by gradient descent, beside the least-squares solution.

The loss is quadratic in the coefficients, so gradient descent has one minimum to find, and linear algebra tells
where it is. Legendre polynomials as features are orthogonal over the interval: the descent is quick in every
direction. Powers of x would make a narrow valley (try --basis power).

    python examples/polynomial_fit.py
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

import weft
from weft import nn


def features(x: np.ndarray, degree: int, basis: str) -> np.ndarray:
    """One column for each basis function, x scaled to [-1, 1]."""
    if basis == "legendre":
        return np.polynomial.legendre.legvander(x / math.pi, degree)
    return np.polynomial.polynomial.polyvander(x / math.pi, degree)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--degree", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--lr", type=float, default=0.3)
    parser.add_argument("--basis", choices=["legendre", "power"], default="legendre")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    weft.manual_seed(arguments.seed)

    x = np.linspace(-math.pi, math.pi, 400)
    design = features(x, arguments.degree, arguments.basis)
    inputs = weft.tensor(design.astype(np.float32))
    targets = weft.tensor(np.sin(x).astype(np.float32).reshape(-1, 1))

    model = nn.Linear(arguments.degree + 1, 1, bias=False)
    optimizer = weft.optim.SGD(model.parameters(), lr=arguments.lr, momentum=0.9)
    loss_function = nn.MSELoss()
    for step in range(1, arguments.steps + 1):
        loss = loss_function(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (1, 10, 100) or step == arguments.steps:
            print(f"step {step:4d}: mean squared error {loss.item():.3e}")

    found = model.weight.detach().numpy().ravel()
    best, *_ = np.linalg.lstsq(design, np.sin(x), rcond=None)
    floor = float(np.mean((design @ best - np.sin(x)) ** 2))
    difference = float(np.abs(found - best).max())
    print(f"least squares:   mean squared error {floor:.3e}")
    print(f"largest difference of a coefficient: {difference:.1e}")
    return {"loss": loss.item(), "floor": floor, "difference": difference}


if __name__ == "__main__":
    main()
