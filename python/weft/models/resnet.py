"""Residual networks (He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015).

Names of parameters and buffers are torchvision's, so that its state_dicts load.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft import nn
from weft._checks import choice, integer, sequence, shown
from weft.nn import fusion
from weft.tensor import Tensor


def _conv3x3(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1 x)))) + shortcut(x)), both convolutions 3x3.

    The shortcut is x itself, or a 1x1 convolution and a normalization where the shape changes.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = fusion.batch_norm_relu(self.bn1, self.relu, self.conv1(x))
        out: Tensor = fusion.batch_norm_relu(self.bn2, self.relu, self.conv2(x), shortcut)
        return out


class ResNet(nn.Module):
    """Four stages of `layers[i]` basic blocks with 64, 128, 256, 512 channels, each but the first halving the image.

    stem: "imagenet", a 7x7 convolution and a 3x3 max-pooling of stride 2 each, for images of about 224x224; or
    "cifar", a 3x3 convolution, for 32x32. Images (N, channels, H, W); logits (N, classes).
    """

    def __init__(self, layers: Sequence[int], classes: int = 1000, channels: int = 3, stem: str = "imagenet") -> None:
        super().__init__()
        layers = [integer("ResNet", "blocks of a stage", n, 1, 1000) for n in sequence("ResNet", "layers", layers)]
        if len(layers) != 4:
            raise ValueError(f"ResNet: layers must name four stages, got {shown(layers)}")
        large = choice("ResNet", "stem", stem, ("imagenet", "cifar")) == "imagenet"
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False) if large else _conv3x3(channels, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        widths = [64, 64, 128, 256, 512]
        for i, blocks in enumerate(layers):
            stage = nn.Sequential(BasicBlock(widths[i], widths[i + 1], 2 if i else 1))
            for _ in range(1, blocks):
                stage.append(BasicBlock(widths[i + 1], widths[i + 1]))
            self.add_module(f"layer{i + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Convolutions normal with variance 2 / fan_out, normalizations 1 and 0, the last layer as every Linear."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (nn.BatchNorm2d, nn.Linear)):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(fusion.batch_norm_relu(self.bn1, self.relu, self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out: Tensor = self.fc(self.avgpool(x).flatten(1))
        return out


class ResNet18(ResNet):
    """ResNet with 2, 2, 2, 2 blocks: 11,689,512 parameters for 1000 classes with the stem "imagenet"."""

    def __init__(self, classes: int = 1000, channels: int = 3, stem: str = "imagenet") -> None:
        super().__init__([2, 2, 2, 2], classes, channels, stem)


class ResNet34(ResNet):
    """ResNet with 3, 4, 6, 3 blocks: 21,797,672 parameters for 1000 classes with the stem "imagenet"."""

    def __init__(self, classes: int = 1000, channels: int = 3, stem: str = "imagenet") -> None:
        super().__init__([3, 4, 6, 3], classes, channels, stem)
