"""Batches of images against NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, reference, threads

SHAPES = [(5, 1, 28, 28), (3, 3, 32, 32), (4, 2, 7, 5), (2, 1, 1, 1), (2, 0, 3, 3)]


def images_of(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def channels(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=count).astype(np.float32), rng.normal(size=count).astype(np.float32)


def maps(rng: np.random.Generator, count: int) -> np.ndarray:
    theta = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (count, 1, 1))
    return theta + rng.normal(scale=0.3, size=theta.shape) * np.array([1, 1, 5])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("count", [0, 1, 6, 300])
def test_gather(every_implementation: str, rng: np.random.Generator, shape: tuple[int, ...], count: int) -> None:
    images, (scale, shift) = images_of(rng, shape), channels(rng, shape[1])
    index = rng.integers(0, shape[0], count)
    wanted = images[index].astype(np.float64) * scale[:, None, None] + shift[:, None, None]
    assert_close(K.gather_images(images, index, scale, shift), wanted, dtype="float32")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [(28, 28), (5, 9), (1, 1)], ids=str)
def test_warp(
    every_implementation: str, rng: np.random.Generator, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    images, (scale, shift) = images_of(rng, shape), channels(rng, shape[1])
    index, theta = rng.integers(0, shape[0], 7), maps(rng, 7)
    out = K.warp_images(images, index, theta, size, scale, shift, 31.0)
    assert_close(out, reference(K.warp_images, images, index, theta, size, scale, shift, 31.0), factor=4)


def test_warp_by_identity_flip_and_shift(every_implementation: str, rng: np.random.Generator) -> None:
    images, one, zero = images_of(rng, (3, 2, 6, 7)), np.ones(2, np.float32), np.zeros(2, np.float32)
    index = np.arange(3)

    def warp(theta: list[list[float]]) -> np.ndarray:
        maps = np.tile(np.array(theta, np.float64), (3, 1, 1))
        return np.asarray(K.warp_images(images, index, maps, (6, 7), one, zero, 9.0))

    assert (warp([[1, 0, 0], [0, 1, 0]]) == images).all()
    assert (warp([[-1, 0, 0], [0, 1, 0]]) == images[..., ::-1]).all()
    moved = np.full_like(images, 9)
    moved[:, :, :-1, 2:] = images[:, :, 1:, :-2]
    assert (warp([[1, 0, -2], [0, 1, 1]]) == moved).all()
    assert (warp([[1, 0, 1e300], [0, 1, 0]]) == 9).all()


@pytest.mark.parametrize("size", [(12, 9), (7, 15)], ids=str)
def test_warp_torch(every_implementation: str, rng: np.random.Generator, size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    images, theta, fill = images_of(rng, (4, 2, 11, 10)), maps(rng, 4), 40.0
    y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
    points = theta @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    grid = points.transpose(0, 2, 1).reshape(4, *size, 2) / np.array([(10 - 1) / 2, (11 - 1) / 2])
    source = torch.tensor(images.astype(np.float64) - fill)
    wanted = torch.nn.functional.grid_sample(source, torch.tensor(grid), align_corners=True).numpy() + fill
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    out = K.warp_images(images, np.arange(4), theta, size, one, zero, fill)
    assert_close(out, wanted, dtype="float32", factor=4)


@pytest.mark.cpu
def test_any_thread_count(rng: np.random.Generator) -> None:
    images, (scale, shift) = images_of(rng, (50, 3, 28, 28)), channels(rng, 3)
    index, theta = rng.integers(0, 50, 64), maps(rng, 64)
    runs = set()
    for count in (1, 2, 3, 4, 7):
        with threads(count):
            a = K.gather_images(images, index, scale, shift)
            b = K.warp_images(images, index, theta, (28, 28), scale, shift)
            runs.add(np.asarray(a).tobytes() + np.asarray(b).tobytes())
    assert len(runs) == 1


def test_errors(rng: np.random.Generator) -> None:
    images, index, one = images_of(rng, (3, 2, 4, 4)), np.arange(3), np.ones(2, np.float32)
    with pytest.raises(TypeError, match="gather_images: images must be uint8, got float32"):
        K.gather_images(images.astype(np.float32), index, one, one)
    with pytest.raises(ValueError, match=r"gather_images: images must have rank 4, got shape \(2, 4, 4\)"):
        K.gather_images(images[0], index, one, one)
    with pytest.raises(TypeError, match="gather_images: index must be int64, got float64"):
        K.gather_images(images, index.astype(float), one, one)
    with pytest.raises(
        IndexError,
        match=r"gather_images: index 3 is out of range for 3 images \(index \(1,\), images \(3, 2, 4, 4\)\)",
    ):
        K.gather_images(images, np.array([3]), one, one)
    with pytest.raises(IndexError, match="warp_images: index -1 is out of range for 3 images"):
        K.warp_images(images, np.array([-1]), np.zeros((1, 2, 3)), 4, one, one)
    with pytest.raises(ValueError, match=r"scale expects C=2 values \(images \(3, 2, 4, 4\)\) but has shape \(3,\)"):
        K.gather_images(images, index, np.ones(3, np.float32), one)
    with pytest.raises(TypeError, match="gather_images: shift must be float32, got float64"):
        K.gather_images(images, index, one, one.astype(float))
    theta = np.zeros((3, 2, 3))
    with pytest.raises(ValueError, match=r"theta \(2, 2, 3\) must have shape \(3, 2, 3\) \(index \(3,\)\)"):
        K.warp_images(images, index, theta[:2], 4, one, one)
    theta[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="warp_images: theta must be finite, got nan for image 1"):
        K.warp_images(images, index, theta, 4, one, one)
    with pytest.raises(ValueError, match=r"warp_images: output_size must be positive, got \(0, 0\)"):
        K.warp_images(images, index, np.zeros((3, 2, 3)), 0, one, one)
    with pytest.raises(ValueError, match="warp_images: fill must be from 0 to 255, got 256"):
        K.warp_images(images, index, np.zeros((3, 2, 3)), 4, one, one, 256)
