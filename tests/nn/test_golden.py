"""LeNet-5 as a whole against committed numbers of PyTorch in double precision (goldens/make_lenet_golden.py)."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import weft
from helpers import ROOT, assert_close
from weft import nn

sys.path.insert(0, str(ROOT / "tests" / "goldens"))
import make_lenet_golden as golden

EXPECTED = np.load(ROOT / "tests" / "goldens" / "lenet.npz")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lenet(every_isa: str, dtype: str) -> None:
    images, labels, parameters = golden.inputs()
    model = weft.models.LeNet5().to(dtype)
    model.load_state_dict({name: value.astype(dtype) for name, value in parameters.items()})
    optimizer = weft.optim.SGD(model.parameters(), lr=golden.LR, momentum=golden.MOMENTUM, weight_decay=golden.DECAY)
    x, y = weft.tensor(images.astype(dtype)), weft.tensor(labels)
    losses = []
    for step in range(golden.STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if step == 0:
            for name, parameter in model.named_parameters():
                assert_close(parameter.grad, EXPECTED[f"grad.{name}"], dtype="float32", factor=4)
        optimizer.step()
        losses.append(loss.item())
    exact = dtype == "float64"
    assert_close(np.array(losses), EXPECTED["losses"], dtype=dtype, factor=10 if exact else 40)
    for name, parameter in model.named_parameters():
        # In float32 ten steps multiply the rounding of the first one.
        assert_close(parameter, EXPECTED[f"after.{name}"], dtype="float32", factor=1 if exact else 40)
