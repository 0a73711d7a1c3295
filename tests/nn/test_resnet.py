"""Residual networks: sizes, names, and the values and gradients of the same network in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft
from helpers import assert_close
from weft import models


def torch_resnet(torch: Any, layers: list[int], classes: int, stem: str) -> Any:
    """The network in PyTorch, with torchvision's names."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, c: int, k: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(c, k, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(k)
            self.conv2 = nn.Conv2d(k, k, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(k)
            self.downsample = None
            if stride != 1 or c != k:
                self.downsample = nn.Sequential(nn.Conv2d(c, k, 1, stride, bias=False), nn.BatchNorm2d(k))

        def forward(self, x: Any) -> Any:
            short = self.downsample(x) if self.downsample is not None else x
            return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + short)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            big = stem == "imagenet"
            self.conv1 = nn.Conv2d(3, 64, *((7, 2, 3) if big else (3, 1, 1)), bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.pool = nn.MaxPool2d(3, 2, 1) if big else nn.Identity()
            c = 64
            for i, count in enumerate(layers):
                k = 64 << i
                blocks = [Block(c if b == 0 else k, k, 2 if i and b == 0 else 1) for b in range(count)]
                setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
                c = k
            self.fc = nn.Linear(512, classes)

        def forward(self, x: Any) -> Any:
            x = self.pool(torch.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(x.mean((2, 3)))

    return Net()


@pytest.mark.parametrize(("stem", "size"), [("imagenet", 40), ("cifar", 16)])
def test_beside_torch(stem: str, size: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_resnet(torch, [1, 1, 1, 1], 5, stem).double()
    ours = models.ResNet([1, 1, 1, 1], classes=5, stem=stem).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(3, 3, size, size)), np.array([0, 3, 4])
    for fused in (True, False):
        weft.set_fusion(fused)
        try:
            ours.zero_grad()
            loss = weft.nn.CrossEntropyLoss()(ours(weft.tensor(images)), weft.tensor(labels))
            loss.backward()
        finally:
            weft.set_fusion(True)
        theirs.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(images)), torch.from_numpy(labels))
        expected.backward()
        assert_close(loss, expected, dtype="float64", terms=10_000)
        for a, e in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert_close(a.grad, e.grad, dtype="float64", terms=10_000)
    for key, value in theirs.state_dict().items():
        assert_close(ours.state_dict()[key], value, terms=10_000)
    ours.eval()
    theirs.eval()
    assert_close(ours(weft.tensor(images)), theirs(torch.from_numpy(images)), dtype="float64", terms=10_000)


def test_sizes_and_errors() -> None:
    assert sum(p.numel() for p in models.ResNet18().parameters()) == 11_689_512
    assert sum(p.numel() for p in models.ResNet34().parameters()) == 21_797_672
    assert models.ResNet18(classes=10, stem="cifar").eval()(weft.randn(1, 3, 32, 32)).shape == (1, 10)
    with pytest.raises(ValueError, match="ResNet: stem must be 'imagenet' or 'cifar', got 'mnist'"):
        models.ResNet18(stem="mnist")
    with pytest.raises(ValueError, match=r"ResNet: layers must name four stages, got \[1\]"):
        models.ResNet([1])
