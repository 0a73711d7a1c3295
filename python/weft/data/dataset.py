"""What a data set is: arrays of inputs and labels, and how inputs are normalized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import weft.kernels as K
from weft._checks import instance, integer, sequence, shown
from weft.tensor import Tensor

Array = np.ndarray[Any, Any]


class Dataset:
    """Inputs and labels in memory.

    inputs: uint8 images (n, C, H, W), or features (n, ...) of another dtype. mean, std: for each channel of images on
    the 0..1 scale; batches are (image / 255 - mean) / std.

    labels: (n,) or (n, ...). Integers, or any dtype where `classes` (their names) are given, are numbers of classes,
    which count from 0: ValueError for a negative one, one that is not below len(classes), and one that is not whole.
    Other floating labels are targets of a regression: ValueError only for NaN and infinities. Inputs are not looked
    through; a NaN in them is found where the loss becomes one (weft.train.NonFiniteLossError).
    """

    def __init__(
        self,
        inputs: Array,
        labels: Array,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        name = type(self).__name__
        inputs, labels = _numbers(name, "inputs", inputs), _numbers(name, "labels", labels)
        if len(inputs) != len(labels):
            raise ValueError(f"{name}: {len(inputs)} inputs {inputs.shape} but {len(labels)} labels {labels.shape}")
        self.classes = sequence(name, "classes", classes) if classes is not None else None
        self.inputs = np.ascontiguousarray(inputs)
        self.labels = np.ascontiguousarray(check_labels(name, labels, self.classes))
        self.is_images = inputs.dtype == np.uint8 and inputs.ndim == 4
        channels = inputs.shape[1] if self.is_images else 0
        if not self.is_images and (mean is not None or std is not None):
            raise ValueError(
                f"{name}: mean and std are for uint8 images (n, C, H, W), not {inputs.dtype} {inputs.shape}"
            )
        self.mean = np.full(channels, 0.0) if mean is None else _statistic(name, "mean", mean)
        self.std = np.full(channels, 1.0) if std is None else _statistic(name, "std", std)
        if self.is_images and (self.mean.shape != (channels,) or self.std.shape != (channels,)):
            raise ValueError(
                f"{name}: mean and std need {channels} numbers, one a channel (images {inputs.shape}), "
                f"got {self.mean.shape} and {self.std.shape}"
            )
        if not (self.std > 0).all():
            raise ValueError(f"{name}: std must be positive, got {shown(self.std.tolist())}")

    @property
    def images(self) -> Array:
        """The inputs as they are stored."""
        return self.inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """One sample: the normalized input (without a batch axis) and its label."""
        at = integer(type(self).__name__, "an index", index)
        at = at + len(self) if at < 0 else at
        if not 0 <= at < len(self):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(self)} samples")
        batch = self.gather(np.array([at]))
        return batch[0], self.labels[at].item()

    def scale_shift(self) -> tuple[K.Array, K.Array]:
        """Normalization as one multiplication and addition a channel."""
        scale, shift = 1 / (255 * self.std), -self.mean / self.std
        return K.asarray(scale.astype(np.float32)), K.asarray(shift.astype(np.float32))

    def gather(self, index: Array) -> Tensor:
        """The normalized inputs at `index`, in one pass."""
        if self.is_images:
            return Tensor(K.gather_images(self.inputs, index, *self.scale_shift()))
        return Tensor(K.index_select(self.inputs, 0, index))


class ArrayDataset(Dataset):
    """A data set from arrays: uint8 images (n, C, H, W), (n, H, W) as one channel, or features (n, ...).

    Features of other dtypes than float32 and float64 become float32; integer labels become int64. TypeError for arrays
    that hold no numbers; labels as for Dataset.
    """

    def __init__(
        self,
        inputs: Any,
        labels: Any,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        x, y = _numbers("ArrayDataset", "inputs", inputs), _numbers("ArrayDataset", "labels", labels)
        if x.dtype == np.uint8 and x.ndim == 3:
            x = x[:, None]
        elif x.dtype not in (np.float32, np.float64) and not (x.dtype == np.uint8 and x.ndim == 4):
            with np.errstate(over="ignore"):  # infinity then, as float32 has it
                x = x.astype(np.float32)
        super().__init__(x, y, mean, std, classes)


class Subset(Dataset):
    """Some samples of a data set, by index; they stay where they are."""

    def __init__(self, dataset: Dataset, indices: Any) -> None:
        instance("Subset", "dataset", dataset, Dataset)
        given = _array("Subset", "indices", indices)
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(f"Subset: indices must be integers, got {given.dtype}")
        index = given.astype(np.int64).reshape(-1)
        if index.size and (index.min() < 0 or index.max() >= len(dataset)):
            raise IndexError(f"Subset: indices must lie in 0..{len(dataset) - 1}, got {index.min()}..{index.max()}")
        self.dataset, self.indices = dataset, index
        self.mean, self.std, self.classes = dataset.mean, dataset.std, dataset.classes
        self.is_images = dataset.is_images

    @property
    def inputs(self) -> Array:  # type: ignore[override]
        return self.dataset.inputs[self.indices]

    @property
    def labels(self) -> Array:  # type: ignore[override]
        return self.dataset.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, index: Array) -> Tensor:
        return self.dataset.gather(self.indices[index])


def random_split(dataset: Dataset, lengths: Sequence[float], seed: int = 0) -> list[Subset]:
    """Cuts a data set into random parts: whole numbers of samples, or fractions that add up to 1.

    The same seed gives the same parts. ValueError where the lengths do not add up.
    """
    total = len(instance("random_split", "dataset", dataset, Dataset))
    given = sequence("random_split", "lengths", lengths)
    if given and all(isinstance(n, float) for n in given) and abs(sum(given) - 1) < 1e-9 and min(given) >= 0:
        sizes: list[Any] = [int(total * part) for part in given]
        for i in range(total - sum(sizes)):  # what rounding left over, one by one
            sizes[i % len(sizes)] += 1
    else:
        sizes = [n if isinstance(n, float) else integer("random_split", "a length", n, 0) for n in given]
    if sum(sizes) != total or not all(float(n).is_integer() for n in sizes):
        raise ValueError(f"random_split: lengths {given} do not add up to the {total} samples")
    order = np.asarray(K.randperm(total, K.Generator(integer("random_split", "seed", seed, most=2**64 - 1))))
    ends = np.cumsum([int(n) for n in sizes])
    return [Subset(dataset, order[end - int(size) : end]) for size, end in zip(sizes, ends, strict=True)]


# --- what arrays must be ---


def _array(who: str, name: str, given: Any) -> Array:
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{who}: {name} must be an array: {error}") from error


def _numbers(who: str, name: str, given: Any) -> Array:
    """An array of numbers with an axis of samples."""
    array = _array(who, name, given)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{who}: {name} must be numbers, got {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{who}: {name} need a first axis of samples, got the shape {array.shape}")
    return array


def _statistic(who: str, name: str, given: Any) -> Array:
    array = _array(who, name, given)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{who}: {name} must be numbers, got {shown(given)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{who}: {name} must be finite, got {shown(array.tolist())}")
    return array.astype(np.float64)


def check_labels(who: str, labels: Array, classes: Sequence[str] | None) -> Array:
    """Labels as a data set keeps them: numbers of classes as int64, others as they are."""

    def refuse(bad: Any, rule: str) -> None:
        if bad.any():
            at = [int(i) for i in np.argwhere(bad)[0]]
            place = at[0] if len(at) == 1 else tuple(at)
            raise ValueError(f"{who}: labels must be {rule}, got {labels[tuple(at)].item()} at index {place}")

    if labels.dtype.kind == "f":
        refuse(~np.isfinite(labels), "finite")
        if classes is None:
            held = labels.dtype in (np.float32, np.float64)
            return labels if held else labels.astype(np.float64 if labels.dtype.itemsize > 8 else np.float32)
        refuse(labels != np.floor(labels), "whole numbers of classes")
    refuse(labels < 0, "numbers of classes, which count from 0")
    if classes is not None:
        refuse(labels >= len(classes), f"below {len(classes)}, the number of classes")
    refuse(labels > np.iinfo(np.int64).max, "numbers that int64 holds")
    return labels.astype(np.int64)
