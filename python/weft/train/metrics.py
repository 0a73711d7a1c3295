"""What a classifier is judged by. Each takes logits (N, C) and class indices (N)."""

from __future__ import annotations

from typing import Any

import numpy as np

import weft.kernels as K
from weft._checks import integer


def _checked(name: str, logits: Any, target: Any) -> tuple[K.Array, K.Array]:
    scores, labels = K.asarray(logits), K.asarray(target)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"{name}: expected logits (N, C) and target (N,), got {scores.shape} and {labels.shape}")
    return scores, labels


def accuracy(logits: Any, target: Any) -> float:
    """The part of the rows whose largest logit is the target's; NaN for none."""
    scores, labels = _checked("accuracy", logits, target)
    if labels.size == 0:
        return float("nan")
    right = K.eq(K.argmax(scores, 1), K.cast(labels, "int64"))
    return float(K.sum(right).item()) / labels.size


def top_k_accuracy(logits: Any, target: Any, k: int = 5) -> float:
    """The part of the rows whose target is among the k largest logits; equal logits count for the target."""
    scores, labels = _checked("top_k_accuracy", logits, target)
    if not 1 <= integer("top_k_accuracy", "k", k) <= scores.shape[1]:
        raise ValueError(f"top_k_accuracy: k must lie in 1..{scores.shape[1]}, got {k}")
    if labels.size == 0:
        return float("nan")
    values, wanted = np.asarray(scores), np.asarray(labels).astype(np.int64)
    if wanted.min() < 0 or wanted.max() >= scores.shape[1]:
        raise ValueError(
            f"top_k_accuracy: targets must lie in 0..{scores.shape[1] - 1}, got {wanted.min()}..{wanted.max()}"
        )
    own = np.take_along_axis(values, wanted[:, None], axis=1)
    # Written so that NaN counts as larger: a target whose logit is NaN is no hit.
    return float((np.count_nonzero(~(values <= own), axis=1) < k).mean())


def confusion_matrix(predicted: Any, target: Any, classes: int | None = None) -> np.ndarray[Any, Any]:
    """counts[t, p]: how often class t was taken for p. predicted: class indices (N) or logits (N, C).

    ValueError for a class outside of 0 .. classes-1.
    """
    if classes is not None:
        classes = integer("confusion_matrix", "classes", classes, 0, 2**31 - 1)
    guesses, labels = np.asarray(K.asarray(predicted)), np.asarray(K.asarray(target)).astype(np.int64)
    if guesses.ndim == 2:
        classes = classes or guesses.shape[1]
        guesses = guesses.argmax(axis=1)
    guesses = guesses.astype(np.int64)
    if guesses.shape != labels.shape or labels.ndim != 1:
        raise ValueError(f"confusion_matrix: expected (N,) twice, got {guesses.shape} and {labels.shape}")
    count = classes or int(max(guesses.max(initial=-1), labels.max(initial=-1))) + 1
    both = np.concatenate([guesses, labels])
    if both.size and (both.min() < 0 or both.max() >= count):
        raise ValueError(f"confusion_matrix: classes must lie in 0..{count - 1}, got {both.min()}..{both.max()}")
    return np.bincount(labels * count + guesses, minlength=count * count).reshape(count, count)
