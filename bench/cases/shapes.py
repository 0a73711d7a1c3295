"""Shapes that real networks have, and the figures to reach there: ratios to PyTorch in its best mode."""

from __future__ import annotations

from typing import NamedTuple


class Conv(NamedTuple):
    """A convolution layer: batch, channels in and out, size of the square image and kernel."""

    net: str
    batch: int
    c: int
    k: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    forward: float | None = None  # figures
    backward: float | None = None
    quick: bool = False

    @property
    def out(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1


CONVOLUTIONS = [
    Conv("LeNet", 64, 1, 6, 28, 5, padding=2, forward=2, backward=6, quick=True),
    Conv("LeNet", 64, 6, 16, 14, 5, forward=2, backward=6, quick=True),
    Conv("CIFAR ResNet", 32, 3, 64, 32, 3, padding=1),
    Conv("CIFAR ResNet", 32, 64, 64, 32, 3, padding=1, forward=2.8, backward=2.8, quick=True),
    Conv("CIFAR ResNet", 32, 64, 128, 32, 3, stride=2, padding=1),
    Conv("CIFAR ResNet", 32, 128, 128, 16, 3, padding=1, forward=2.8, backward=2.8),
    Conv("CIFAR ResNet", 32, 256, 256, 8, 3, padding=1, forward=2.8, backward=2.8),
    Conv("ResNet", 8, 3, 64, 224, 7, stride=2, padding=3, forward=1.8, backward=4),
    Conv("ResNet-50", 8, 64, 256, 56, 1, forward=1.1, backward=1.15, quick=True),
    Conv("ResNet-50", 8, 1024, 256, 14, 1),
    Conv("ResNet-50", 8, 256, 512, 56, 1, stride=2),
    Conv("ResNet", 8, 64, 64, 56, 3, padding=1),
    Conv("ResNet", 8, 512, 512, 7, 3, padding=1, forward=2.8, backward=2.8),
    Conv("AlexNet", 8, 3, 64, 224, 11, stride=4, padding=2),
    Conv("AlexNet", 8, 64, 192, 27, 5, padding=2),
    Conv("AlexNet", 8, 192, 384, 13, 3, padding=1),
    Conv("VGG", 2, 64, 64, 224, 3, padding=1),
    Conv("VGG", 2, 256, 256, 56, 3, padding=1),
    Conv("MobileNet", 8, 32, 32, 112, 3, padding=1, groups=32, forward=2, backward=2),
    Conv("MobileNet", 8, 64, 64, 112, 3, stride=2, padding=1, groups=64),
    Conv("MobileNet", 8, 128, 128, 56, 3, padding=1, groups=128, forward=2, backward=2, quick=True),
    Conv("MobileNet", 8, 512, 512, 14, 3, padding=1, groups=512, forward=2, backward=2),
]

# Convolution, bias, ReLU and 2x2 max-pooling as LeNet has them.
FUSED = [
    Conv("LeNet", 64, 1, 6, 28, 5, padding=2, forward=3, backward=8, quick=True),
    Conv("LeNet", 64, 6, 16, 14, 5, forward=3, backward=8, quick=True),
]


class Gemm(NamedTuple):
    """C[M,N] = A[M,K] B[K,N]"""

    m: int
    n: int
    k: int
    figure: float | None = None
    quick: bool = False


GEMMS = [
    Gemm(64, 120, 400, 1.2, True),  # LeNet's first linear layer
    Gemm(256, 256, 256, 1.08, True),
    Gemm(512, 512, 512, 1.08, True),
    Gemm(1024, 1024, 1024, 1.08),
    Gemm(2048, 2048, 2048, 1.08),
    Gemm(4096, 4096, 4096, 1.08),
    Gemm(1, 4096, 4096, 1.1, True),
    Gemm(64, 4096, 9216),  # AlexNet's and VGG's classifiers
    Gemm(256, 1000, 512),  # ResNet's
]

GEMMS_BFLOAT16 = [
    Gemm(256, 256, 256, 1.0, True),
    Gemm(1024, 1024, 1024, 1.0),
    Gemm(4096, 4096, 4096, 1.0),
    Gemm(64, 512, 784, None, True),  # an MLP's layers
    Gemm(512, 512, 784),
    Gemm(1, 4096, 4096),
]

# Activations and pooling: the size whose figure is set, and LeNet's.
LARGE_IMAGES = (64, 64, 56, 56)
LENET_IMAGES = (64, 6, 28, 28)
QUICK_IMAGES = (16, 16, 56, 56)
ACTIVATION_FIGURE = 8.0

LOGITS = [(1024, 1000, 2.0), (64, 10, None)]  # batch, classes, figure

BATCH_NORMS = [(8, 64, 56, 56), (32, 64, 32, 32), (32, 512, 4, 4), (8, 512, 7, 7), (256, 1024)]  # the last: BatchNorm1d
LAYER_NORMS = [(8, 512, 768), (8, 197, 192), (2, 1024, 4096)]  # transformers': batch, places, width
GROUP_NORMS = [(32, (8, 64, 56, 56)), (64, (8, 64, 56, 56))]  # groups, images; as many groups as channels: InstanceNorm
REDUCTIONS = [(-1, (4096, 1024)), (0, (4096, 1024)), (-1, (65536, 64)), (1, (64, 64, 3136))]  # axis, shape
RESNET18_PARAMETERS = 11_689_512

LENET_STEP_FIGURES = {1: 20.0, 16: 8.0, 64: 6.0, 256: 4.5, 1024: 4.0}
RESNET_STEP_FIGURE = 1.8
MNIST_FIGURE = 5.0  # LeNet-5 on MNIST, whole process from start to 99.05%
