"""The data sets of a first course, in torchvision's folder layout."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weft._checks import integer, sequence, shown
from weft._files import write_atomically
from weft._optional import require
from weft.data.dataset import Dataset
from weft.data.sources import DatasetNotFoundError, Source, data_root, find, read_idx

Array = np.ndarray[Any, Any]


class _IdxDataset(Dataset):
    """Four idx files: images and labels, for training and test."""

    folder: str
    mirrors: tuple[str, ...]
    sums: tuple[str, str, str, str]
    normalization: tuple[float, float]
    names: tuple[str, ...]

    def __init__(self, root: str | os.PathLike[str] | None = None, train: bool = True, download: bool = True) -> None:
        kind = "train" if train else "t10k"
        files = [f"{kind}-images-idx3-ubyte.gz", f"{kind}-labels-idx1-ubyte.gz"]
        sums = self.sums[:2] if train else self.sums[2:]
        sources = [
            Source(name, md5, tuple(mirror + name for mirror in self.mirrors))
            for name, md5 in zip(files, sums, strict=True)
        ]
        what = type(self).__name__
        images_path, labels_path = find(data_root(root) / self.folder / "raw", sources, what, download)
        images, labels = read_idx(images_path), read_idx(labels_path)
        if images.ndim != 3 or images.dtype != np.uint8:
            raise ValueError(f"{what}: {images_path} holds {images.dtype} {images.shape}, expected uint8 (n, H, W)")
        if labels.shape != images.shape[:1]:
            raise ValueError(
                f"{what}: {images_path} holds {len(images)} images but {labels_path} {labels.shape} labels"
            )
        if labels.dtype.kind not in "iu":
            raise ValueError(f"{what}: {labels_path} holds {labels.dtype} labels, expected integers")
        _check_bytes(what, labels_path, labels, len(self.names))
        mean, std = self.normalization
        super().__init__(images[:, None], labels, [mean], [std], self.names)


def _check_bytes(what: str, path: Path, labels: Array, classes: int) -> None:
    """ValueError for a label in a file that is no class's number."""
    bad = labels[(labels < 0) | (labels >= classes)]
    if bad.size:
        raise ValueError(f"{what}: {path} holds the label {bad[0]}, expected 0..{classes - 1}")


class MNIST(_IdxDataset):
    """Handwritten digits, 28x28 (LeCun, Cortes, Burges): 60,000 for training, 10,000 for test.

    root: the folder of all data sets (else WEFT_DATA_DIR, else a cache folder); the files are in <root>/MNIST/raw. They
    are downloaded (12 MB) where they are missing. DatasetNotFoundError where they cannot be had; ValueError for damaged
    files.
    """

    folder = "MNIST"
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    sums = (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    )
    normalization = (0.1307, 0.3081)
    names = tuple("0123456789")


class FashionMNIST(_IdxDataset):
    """Photographs of clothes, 28x28 (Xiao, Rasul, Vollgraf 2017): 60,000 for training, 10,000 for test.

    Arguments, folders and errors as for MNIST; 30 MB in <root>/FashionMNIST/raw.
    """

    folder = "FashionMNIST"
    mirrors = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    )
    sums = (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    )
    normalization = (0.2860, 0.3530)
    names = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


class CIFAR10(Dataset):
    """Small colour photographs, 32x32 (Krizhevsky 2009): 50,000 for training, 10,000 for test.

    The binary version, which needs no pickle: <root>/cifar-10-batches-bin holds data_batch_1.bin to data_batch_5.bin
    and test_batch.bin, records of a label byte and 3072 pixel bytes. batches: which of the five to use for training.
    Downloaded (162 MB) where they are missing; errors as for MNIST.
    """

    folder = "cifar-10-batches-bin"
    archive = Source(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    )
    record = 1 + 3 * 32 * 32
    records = 10_000  # of each file
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        download: bool = True,
        batches: Sequence[int] = (1, 2, 3, 4, 5),
    ) -> None:
        batches = [integer("CIFAR10", "batches", b) for b in sequence("CIFAR10", "batches", batches)]
        if train and (not batches or not set(batches) <= {1, 2, 3, 4, 5}):
            raise ValueError(f"CIFAR10: batches must be some of 1 to 5, got {shown(batches)}")
        folder = data_root(root) / self.folder
        files = [f"data_batch_{i}.bin" for i in batches] if train else ["test_batch.bin"]
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            self._get(folder, missing, download)
        parts = [self._read(folder / name) for name in files]
        super().__init__(
            np.concatenate([images for images, _ in parts]),
            np.concatenate([labels for _, labels in parts]),
            (0.49139968, 0.48215841, 0.44653091),
            (0.24703223, 0.24348513, 0.26158784),
            self.names,
        )

    def _get(self, folder: Path, missing: Sequence[str], download: bool) -> None:
        try:
            (archive,) = find(folder.parent, [self.archive], "CIFAR10", download)
        except DatasetNotFoundError as error:
            wanted = ", ".join(str(folder / name) for name in missing)
            raise DatasetNotFoundError(f"{error}\nOr unpack it yourself; missing are {wanted}") from None
        names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(archive) as tar:
                for name in names:
                    member = tar.extractfile(f"{self.folder}/{name}")
                    if member is None:
                        raise KeyError(name)
                    write_atomically(folder / name, member.read())
        except (tarfile.TarError, EOFError, zlib.error, KeyError) as error:
            raise ValueError(f"CIFAR10: {archive} is truncated or corrupted: {error}") from error

    def _read(self, path: Path) -> tuple[Array, Array]:
        content = np.fromfile(path, np.uint8)
        expected = self.records * self.record
        if content.size != expected:
            raise ValueError(f"CIFAR10: {path} is truncated or corrupted: {content.size} bytes, expected {expected}")
        rows = content.reshape(-1, self.record)
        labels = rows[:, 0]
        _check_bytes("CIFAR10", path, labels, len(self.names))
        return rows[:, 1:].reshape(-1, 3, 32, 32), labels


class Digits(Dataset):
    """scikit-learn's 1,797 real handwritten digits, 8x8 with 17 grey levels (Alpaydin, Kaynak 1998); no network.

    size: side of the square that each image is enlarged to (by repeating pixels) and centred in; 8 leaves it as it is.
    Every fifth sample is test. ImportError without scikit-learn.
    """

    def __init__(self, train: bool = True, size: int = 8) -> None:
        load_digits = require("sklearn.datasets", "Digits", "scikit-learn").load_digits
        size = integer("Digits", "size", size, 8, 2**15)
        bunch = load_digits()
        chosen = (np.arange(len(bunch.target)) % 5 == 0) != train
        grey = np.round(bunch.images[chosen] * (255 / 16)).astype(np.uint8)
        images = _enlarged(grey, size)
        unit = images / 255
        super().__init__(
            images[:, None], bunch.target[chosen].astype(np.int64), [unit.mean()], [unit.std()], tuple("0123456789")
        )


def _enlarged(images: Array, size: int) -> Array:
    """Each pixel repeated as often as fits, zeros around."""
    factor = size // images.shape[1]
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    before = (size - large.shape[1]) // 2
    after = size - large.shape[1] - before
    return np.pad(large, ((0, 0), (before, after), (before, after)))
