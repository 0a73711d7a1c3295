"""CUDA's losses and batches of images where their cases meet, and at values that are no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from helpers import assert_close, on_cpu, reference

pytestmark = pytest.mark.usefixtures("cuda_device")

CORNERS = [np.nan, -2, -1, -0.5, -1e-9, 0, 1e-9, 0.5, 1, 2, 21]


@pytest.mark.parametrize("kind", ["mse", "l1", "huber", "bce", "bce_with_logits", "hinge"])
def test_where_the_cases_of_a_loss_meet(kind: str) -> None:
    x, t = (a.ravel() for a in np.meshgrid(CORNERS, [-1.0, 0.0, 1.0]))
    if kind == "bce":
        x = np.nan_to_num(x, nan=0.25).clip(0, 1)
    names = {"bce": "binary_cross_entropy", "bce_with_logits": "binary_cross_entropy_with_logits"}
    loss = getattr(K, names.get(kind, f"{kind}_loss"))
    assert_close(loss(x, t, reduction="none"), reference(loss, x, t, reduction="none"))
    options = {"reduction": "none", "need_target": True}
    found = K.pointwise_loss_backward(kind, np.ones_like(x), x, t, **options)
    expected = reference(K.pointwise_loss_backward, kind, np.ones_like(x), x, t, **options)
    for a, e in zip(found, expected, strict=True):
        assert_close(a, e)


def replayed(function: Any, *arrays: np.ndarray) -> tuple[K.Replay, list[K.Array]]:
    """A captured call and the arrays it writes; in its replay a bad index raises with the next synchronization."""
    replay = K.Replay(True)
    given = [K.asarray(a) for a in arrays]
    replay.begin()
    try:
        outputs = list(function(*given))
    finally:
        replay.end()
    replay.set_inputs(given)
    replay.set_outputs(outputs)
    return replay, outputs


@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 7), (9001, 3)], ids=str)
def test_targets_that_are_no_class_do_not_count(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    logits = rng.normal(size=shape).astype(np.float32)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    weight = rng.uniform(1, 2, shape[1]).astype(np.float32)
    replay, outputs = replayed(lambda x, t, w: K.cross_entropy(x, t, w, need_grad=True), logits, target, weight)
    for bad in (shape[1], -1, 1 << 40):
        broken, ignored = target.copy(), target.copy()
        broken.flat[1], ignored.flat[1] = bad, -100
        replay.call([logits, broken, weight])
        with pytest.raises(IndexError, match="target"):
            K.cuda_synchronize()
        expected = reference(K.cross_entropy, logits, ignored, weight, need_grad=True)
        for a, e in zip(outputs, expected, strict=True):
            assert_close(on_cpu(a), e, factor=8)


def test_images_that_do_not_exist(rng: np.random.Generator) -> None:
    """Without the check, and at every address: four pixels at a time and one."""
    for size in ((4, 4), (3, 3)):
        images = rng.integers(0, 256, (3, 2, *size), np.uint8)
        index = np.array([2, -1, 0, 3, 1 << 40, 1])
        scale, shift = np.full(2, 0.5, np.float32), np.zeros(2, np.float32)
        theta = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (6, 1, 1))
        expected = images[index.clip(0, 2)] * np.float32(0.5)
        expected[[1, 3, 4]] = np.nan
        assert_close(K.gather_images(images, index, scale, shift, check=False), expected)
        assert_close(K.warp_images(images, index, theta, size, scale, shift, check=False), expected)


def test_an_image_is_blended_with_what_lies_around_it() -> None:
    """Shifts by less and more than a pixel, over each of the four edges."""
    images, one, zero = np.full((1, 1, 3, 4), 200, np.uint8), np.ones(1, np.float32), np.zeros(1, np.float32)
    shifts = [-4, -3.5, -3, -1, -0.5, 0, 0.5, 1, 3, 3.5, 4]
    theta = np.array([[[1, 0, u], [0, 1, v]] for u in shifts for v in shifts], np.float64)
    index = np.zeros(len(theta), np.int64)
    out = K.warp_images(images, index, theta, (3, 4), one, zero, 40.0)
    assert_close(out, reference(K.warp_images, images, index, theta, (3, 4), one, zero, 40.0))
