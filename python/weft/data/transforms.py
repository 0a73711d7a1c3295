"""Random changes of images. Each is a map from output pixels to source pixels; a chain of them is one affine map, so a
batch is gathered, changed and normalized in one pass (weft.kernels.warp_images).

Coordinates are in pixels from the image's centre, x to the right, y down: source = matrix (x, y, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import weft.kernels as K
from weft._checks import instance, integer, number, sequence, shown, within

Array = np.ndarray[Any, Any]
Size = tuple[int, int]


def _identity(count: int) -> Array:
    theta = np.zeros((integer("matrices", "count", count, 0), 2, 3))
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    return theta


def _uniform(generator: K.Generator, *shape: int) -> Array:
    counts = tuple(integer("matrices", "count", n, 0) for n in shape)
    return np.asarray(K.uniform(counts, 0.0, 1.0, "float64", generator))


class Transform:
    """The base: subclasses write matrices()."""

    def output_size(self, size: Size) -> Size:
        """The size (H, W) of what comes out for images of `size`."""
        return size

    def matrices(self, count: int, size: Size, generator: K.Generator) -> Array:
        """One (2, 3) matrix for each of `count` images of `size`, drawn from `generator`: (count, 2, 3)."""
        raise TypeError(f"{type(self).__name__}: a Transform needs a method matrices")


def _pair(who: str, name: str, given: Any, least: int) -> Size:
    """A number for both axes, or two."""
    values = sequence(who, name, given) if hasattr(given, "__len__") else [given, given]
    if len(values) != 2:
        raise ValueError(f"{who}: {name} must be one number or two, got {shown(values)}")
    first, second = (integer(who, name, value, least, 2**31 - 1) for value in values)
    return first, second


class RandomShift(Transform):
    """By whole pixels, up to `pixels` (or (down, right)) in each direction."""

    def __init__(self, pixels: int | Size) -> None:
        self.pixels = _pair("RandomShift", "pixels", pixels, 0)

    def matrices(self, count: int, size: Size, generator: K.Generator) -> Array:
        theta = _identity(count)
        drawn = _uniform(generator, count, 2)
        for axis, most in ((1, self.pixels[0]), (0, self.pixels[1])):
            theta[:, axis, 2] = np.floor(drawn[:, axis] * (2 * most + 1)) - most
        return theta


class RandomRotation(Transform):
    """About the centre, by up to `degrees` either way, or between two given angles (counter-clockwise)."""

    def __init__(self, degrees: float | tuple[float, float]) -> None:
        name = "RandomRotation"
        given = [-degrees, degrees] if isinstance(degrees, (int, float)) else sequence(name, "degrees", degrees)
        if len(given) != 2:
            raise ValueError(f"RandomRotation: degrees must be one number or two, got {shown(degrees)}")
        self.low, self.high = (number(name, "degrees", d, finite=True) for d in given)
        if self.low > self.high:
            raise ValueError(f"RandomRotation: expected (low, high), got ({self.low}, {self.high})")

    def matrices(self, count: int, size: Size, generator: K.Generator) -> Array:
        angle = np.radians(self.low + (self.high - self.low) * _uniform(generator, count))
        theta = np.zeros((count, 2, 3))
        # Rounded, so that a quarter turn moves whole pixels: sin and cos of 90 degrees are off by 1e-16.
        cosine, sine = np.cos(angle).round(12), np.sin(angle).round(12)
        theta[:, 0, 0] = theta[:, 1, 1] = cosine
        theta[:, 0, 1], theta[:, 1, 0] = -sine, sine
        return theta


class RandomHorizontalFlip(Transform):
    """Left for right, with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = within("RandomHorizontalFlip", "p", p, 0, 1)

    def matrices(self, count: int, size: Size, generator: K.Generator) -> Array:
        theta = _identity(count)
        theta[:, 0, 0] = np.where(_uniform(generator, count) < self.p, -1, 1)
        return theta


class RandomCrop(Transform):
    """A piece of `size` (side or (H, W)) anywhere in the image with `padding` around it."""

    def __init__(self, size: int | Size, padding: int = 0) -> None:
        self.size = _pair("RandomCrop", "size", size, 1)
        self.padding = integer("RandomCrop", "padding", padding, 0)

    def output_size(self, size: Size) -> Size:
        height, width = _pair("RandomCrop", "the image's size", size, 0)
        room = (height + 2 * self.padding, width + 2 * self.padding)
        if self.size[0] > room[0] or self.size[1] > room[1]:
            raise ValueError(f"RandomCrop: {self.size} is larger than the padded image {room}")
        return self.size

    def matrices(self, count: int, size: Size, generator: K.Generator) -> Array:
        theta = _identity(count)
        drawn = _uniform(generator, count, 2)
        size = _pair("RandomCrop", "the image's size", size, 0)
        for axis in (0, 1):  # x is along W, y along H
            source, wanted = size[1 - axis], self.size[1 - axis]
            offset = np.floor(drawn[:, axis] * (source + 2 * self.padding - wanted + 1)) - self.padding
            theta[:, axis, 2] = offset + (wanted - 1) / 2 - (source - 1) / 2
        return theta


class Compose(Transform):
    """One after another, in the given order."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = sequence("Compose", "transforms", transforms)
        for transform in self.transforms:
            instance("Compose", "a transform", transform, Transform)

    def output_size(self, size: Size) -> Size:
        for transform in self.transforms:
            size = transform.output_size(size)
        return size

    def matrices(self, count: int, size: Size, generator: K.Generator) -> Array:
        theta = _identity(count)
        for transform in self.transforms:
            step = transform.matrices(count, size, generator)
            # Output -> after the earlier ones -> source: the newest map is applied first.
            moved = theta[:, :, :2] @ step
            moved[:, :, 2] += theta[:, :, 2]
            theta = moved
            size = transform.output_size(size)
        return theta
