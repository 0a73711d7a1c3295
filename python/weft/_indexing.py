"""What x[index] means where the index holds integer arrays or masks: a view, and one flat selection in it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import weft.kernels as K

_BASIC = (int, np.integer, slice, type(None), type(Ellipsis))


class Selection(NamedTuple):
    """x[view], whose `joined` axes from `axis` on are joined; there the elements at `flat` take the axes `shape`."""

    view: tuple[Any, ...]
    axis: int
    joined: int
    flat: np.ndarray[Any, Any]
    shape: tuple[int, ...]


def plain(index: Any) -> Any:
    """The index for NumPy: Tensors and Arrays become NumPy arrays."""
    if isinstance(index, tuple):
        return tuple(plain(i) for i in index)
    return index if isinstance(index, _BASIC) else np.asarray(index)


def is_basic(index: Any) -> bool:
    """Only ints, slices, None and ...: x[index] is a view."""
    if isinstance(index, tuple):
        return all(isinstance(i, _BASIC) for i in index)
    return isinstance(index, _BASIC)


def select(index: Any, shape: tuple[int, ...]) -> Selection:
    """Takes an index with integer arrays or masks apart, for a tensor of `shape`.

    Arrays (and the ints among them) must stand side by side; they broadcast against each other, as in NumPy.
    IndexError for indices out of range, TypeError for anything else.
    """
    entries = _entries(index if isinstance(index, tuple) else (index,), shape)
    advanced = [i for i, e in enumerate(entries) if isinstance(e, (int, np.integer, np.ndarray))]
    first, last = advanced[0], advanced[-1]
    if last - first + 1 != len(advanced):
        raise TypeError("index: integer arrays and ints must stand side by side, without slices or None between them")
    # An int takes its axis away at once; the arrays' axes stay, next to each other.
    view = tuple(slice(None) if isinstance(e, np.ndarray) else e for e in entries)
    arrays = [e for e in entries if isinstance(e, np.ndarray)]
    source = sum(e is not None for e in entries[:first])  # the axis of x that belongs to the first of them
    sizes = [shape[source + i] for i, e in enumerate(entries[first : last + 1]) if isinstance(e, np.ndarray)]
    try:
        arrays = list(np.broadcast_arrays(*arrays))
    except ValueError:
        raise IndexError(f"index: arrays of shapes {[a.shape for a in arrays]} do not broadcast") from None
    flat = np.zeros(arrays[0].shape, np.int64)
    for array, size in zip(arrays, sizes, strict=True):
        flat = flat * size + _in_range(array, size, shape)
    return Selection(view, first, len(sizes), flat.reshape(-1), flat.shape)


def _entries(index: tuple[Any, ...], shape: tuple[int, ...]) -> list[Any]:
    """The index with an entry for each axis: ... written out, lists as arrays, masks as the indices of True."""
    entries: list[Any] = []
    for given in index:
        if isinstance(given, _BASIC):
            entries.append(given)
            continue
        array = np.asarray(given)
        if array.size == 0 and array.dtype.kind == "f":
            array = array.astype(np.int64)  # an empty list
        if array.dtype == np.bool_:
            entries += _mask(array, entries, shape)
        elif array.dtype.kind in "iu":
            entries.append(array.astype(np.int64))
        else:
            raise TypeError(f"index: expected integers or bool, got {array.dtype}")
    if sum(e is Ellipsis for e in entries) > 1:
        raise IndexError("index: only one ... is allowed")
    rest = len(shape) - sum(e is not None and e is not Ellipsis for e in entries)
    if rest < 0:
        raise IndexError(f"index: {len(shape) - rest} indices for shape {shape}")
    for i, e in enumerate(entries):
        if e is Ellipsis:
            return entries[:i] + [slice(None)] * rest + entries[i + 1 :]
    return entries


def _mask(mask: np.ndarray[Any, Any], before: list[Any], shape: tuple[int, ...]) -> list[Any]:
    if Ellipsis in [e for e in before if not isinstance(e, np.ndarray)]:
        raise TypeError("index: a mask cannot stand after ...")
    axis = sum(e is not None for e in before)
    if mask.ndim == 0 or mask.shape != shape[axis : axis + mask.ndim]:
        raise IndexError(f"index: mask {mask.shape} does not match the shape {shape}")
    return list(np.nonzero(mask))


def _in_range(index: np.ndarray[Any, Any], size: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Counted from the front."""
    wrong = (index < -size) | (index >= size)
    if wrong.any():
        raise IndexError(f"index: {index[wrong].flat[0]} is out of range for an axis of size {size} (shape {shape})")
    return np.where(index < 0, index + size, index)


def overlaps(array: K.Array) -> bool:
    """Whether elements share memory, as after expand."""
    if array.is_contiguous():
        return False
    return math.prod(array.shape) > 0 and any(
        stride == 0 and size > 1 for stride, size in zip(array.strides, array.shape, strict=True)
    )
