"""Data sets that lie in memory, and a loader that gathers whole batches by a kernel."""

from __future__ import annotations

from weft.data.dataset import ArrayDataset, Dataset, Subset, random_split
from weft.data.datasets import CIFAR10, MNIST, Digits, FashionMNIST
from weft.data.loader import DataLoader
from weft.data.sources import DatasetNotFoundError
from weft.data.transforms import Compose, RandomCrop, RandomHorizontalFlip, RandomRotation, RandomShift

__all__ = [
    "CIFAR10",
    "MNIST",
    "ArrayDataset",
    "Compose",
    "DataLoader",
    "Dataset",
    "DatasetNotFoundError",
    "Digits",
    "FashionMNIST",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomShift",
    "Subset",
    "random_split",
]
