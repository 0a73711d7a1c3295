"""What a data set is: arrays of inputs and labels, and how inputs are normalized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import weft.kernels as K
from weft.tensor import Tensor

Array = np.ndarray[Any, Any]


class Dataset:
    """Inputs and labels in memory.

    inputs: uint8 images (n, C, H, W), or float features (n, ...). labels: (n,), int64 for classes. mean, std: for each
    channel of images on the 0..1 scale; batches are (image / 255 - mean) / std. classes: their names.
    """

    def __init__(
        self,
        inputs: Array,
        labels: Array,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        if len(inputs) != len(labels):
            raise ValueError(f"{type(self).__name__}: {len(inputs)} inputs {inputs.shape} but {len(labels)} labels")
        self.inputs, self.labels = np.ascontiguousarray(inputs), np.ascontiguousarray(labels)
        self.is_images = inputs.dtype == np.uint8 and inputs.ndim == 4
        channels = inputs.shape[1] if self.is_images else 0
        if not self.is_images and (mean is not None or std is not None):
            raise ValueError(
                f"{type(self).__name__}: mean and std are for uint8 images (n, C, H, W), not {inputs.shape}"
            )
        self.mean = np.full(channels, 0.0) if mean is None else np.asarray(mean, np.float64)
        self.std = np.full(channels, 1.0) if std is None else np.asarray(std, np.float64)
        if self.is_images and (self.mean.shape != (channels,) or self.std.shape != (channels,)):
            raise ValueError(
                f"{type(self).__name__}: mean and std need {channels} numbers, one a channel (images {inputs.shape}), "
                f"got {self.mean.shape} and {self.std.shape}"
            )
        if not (self.std > 0).all():
            raise ValueError(f"{type(self).__name__}: std must be positive, got {self.std.tolist()}")
        self.classes = list(classes) if classes is not None else None

    @property
    def images(self) -> Array:
        """The inputs as they are stored."""
        return self.inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """One sample: the normalized input (without a batch axis) and its label."""
        at = index + len(self) if index < 0 else index
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
    that hold no numbers.
    """

    def __init__(
        self,
        inputs: Any,
        labels: Any,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        x, y = np.asarray(inputs), np.asarray(labels)
        for name, array in (("inputs", x), ("labels", y)):
            if array.dtype.kind not in "fiub":
                raise TypeError(f"ArrayDataset: {name} must be numbers, got {array.dtype}")
        if x.ndim == 0 or y.ndim == 0:
            raise ValueError(f"ArrayDataset: inputs {x.shape} and labels {y.shape} need a first axis of samples")
        if x.dtype == np.uint8 and x.ndim == 3:
            x = x[:, None]
        elif x.dtype not in (np.float32, np.float64) and not (x.dtype == np.uint8 and x.ndim == 4):
            x = x.astype(np.float32)
        if y.dtype.kind in "iub":
            y = y.astype(np.int64)
        super().__init__(x, y, mean, std, classes)


class Subset(Dataset):
    """Some samples of a data set, by index; they stay where they are."""

    def __init__(self, dataset: Dataset, indices: Any) -> None:
        index = np.asarray(indices, np.int64).reshape(-1)
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
    total = len(dataset)
    if all(isinstance(n, float) for n in lengths) and abs(sum(lengths) - 1) < 1e-9:
        sizes = [int(total * part) for part in lengths]
        for i in range(total - sum(sizes)):  # what rounding left over, one by one
            sizes[i % len(sizes)] += 1
    else:
        sizes = [int(n) for n in lengths]
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise ValueError(f"random_split: lengths {list(lengths)} do not add up to the {total} samples")
    order = np.asarray(K.randperm(total, K.Generator(seed)))
    ends = np.cumsum(sizes)
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
