"""The words in which inputs are written: arrays of every layout, numbers at the edges, objects that lie.

An argument of a call is a line of Python in these words; `from tests.fuzz.values import *` makes it run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import weft
import weft.autograd
import weft.data
import weft.kernels as k
import weft.models
import weft.nn as nn
import weft.nn.functional as F
import weft.optim as optim
import weft.train
import weft.train.checkpoint

__all__ = [
    "A",
    "B",
    "E",
    "F",
    "I",
    "K",
    "P",
    "Planted",
    "S",
    "T",
    "apart",
    "big_endian",
    "channels_last",
    "complete",
    "dataset",
    "deep",
    "field",
    "fortran",
    "forward",
    "good_checkpoint",
    "good_file",
    "huge",
    "images",
    "inf",
    "k",
    "loader",
    "loop",
    "lying",
    "masked",
    "misaligned",
    "model",
    "nan",
    "negative",
    "nn",
    "np",
    "one",
    "optim",
    "optimizer",
    "overlapping",
    "parameters",
    "readonly",
    "recorded",
    "repeated",
    "scheduler",
    "strided",
    "structured",
    "subclassed",
    "torched",
    "trainer",
    "use",
    "weft",
]  # fmt: skip

nan, inf = math.nan, math.inf


class Planted(Exception):
    """What hostile objects raise: the caller must see it, and nothing else."""


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def A(shape: Any, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """An array of moderate numbers."""
    rng = _rng(seed)
    kind = np.dtype(dtype).kind
    if kind in "fc":
        return np.asarray(rng.standard_normal(shape)).astype(dtype)
    return np.asarray(rng.integers(0 if kind in "ub" else -4, 2 if kind == "b" else 5, shape)).astype(dtype)


def I(shape: Any, high: int, dtype: str = "int64", seed: int = 0) -> np.ndarray:  # noqa: E743
    """Whole numbers from 0 up to high - 1."""
    return np.asarray(_rng(seed).integers(0, max(high, 1), shape)).astype(dtype)


def P(shape: Any, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Numbers between 0 and 1, and neither."""
    return np.asarray(_rng(seed).uniform(0.05, 0.95, shape)).astype(dtype)


def S(shape: Any, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Numbers at the edges of a dtype among moderate ones."""
    a, rng = A(shape, dtype, seed), _rng(seed + 1)
    if a.dtype.kind == "f":
        about = np.finfo(a.dtype)
        edges = [nan, inf, -inf, -0.0, about.max, about.min, about.tiny, float(about.smallest_subnormal)]
    else:
        about = np.iinfo(a.dtype)
        edges = [about.max, about.min, 0]
    return np.where(rng.random(shape) < 0.4, rng.choice(np.asarray(edges, a.dtype), shape), a).astype(dtype)


def E(shape: Any, dtype: str = "float32") -> np.ndarray:
    """Memory for a result."""
    return np.full(shape, 77, dtype)


def B(shape: Any, seed: int = 0) -> k.Array:
    """bfloat16."""
    return k.cast(A(shape, "float32", seed), "bfloat16")


def K(a: Any) -> k.Array:
    """weft's own array, with memory of its own."""
    return a if isinstance(a, k.Array) else k.copy(np.ascontiguousarray(a).reshape(np.shape(a)))


def T(a: Any, requires_grad: bool = False) -> weft.Tensor:
    t = weft.Tensor(K(a))
    return t.requires_grad_() if requires_grad and t.is_floating_point() else t


# --- layouts: the same numbers, elsewhere ---


def fortran(a: Any) -> np.ndarray:
    return np.asfortranarray(a)


def strided(a: Any) -> np.ndarray:
    """Every second element of a larger array."""
    wide = np.zeros((*np.shape(a), 2), np.asarray(a).dtype)
    wide[..., 0] = a
    return wide[..., 0]


def apart(a: Any) -> np.ndarray:
    """Rows with gaps between them."""
    shape = np.shape(a)
    if not shape:
        return np.asarray(a)
    wide = np.zeros((*shape[:-1], shape[-1] + 3), np.asarray(a).dtype)
    wide[..., : shape[-1]] = a
    return wide[..., : shape[-1]]


def negative(a: Any) -> np.ndarray:
    """The last axis backwards in memory."""
    return np.ascontiguousarray(np.asarray(a)[..., ::-1])[..., ::-1] if np.ndim(a) else np.asarray(a)


def channels_last(a: Any) -> np.ndarray:
    a = np.asarray(a)
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if a.ndim > 2 else a


def misaligned(a: Any) -> np.ndarray:
    """One byte off."""
    a = np.ascontiguousarray(a)
    memory = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(np.shape(a))
    memory[...] = a
    return memory


def readonly(a: Any) -> np.ndarray:
    a = np.array(a)
    a.flags.writeable = False
    return a


def big_endian(a: Any) -> np.ndarray:
    a = np.asarray(a)
    return a.astype(a.dtype.newbyteorder(">"))


def field(a: Any) -> np.ndarray:
    """A field of records: strides that are no multiple of the element."""
    a = np.asarray(a)
    records = np.zeros(a.shape, np.dtype([("flag", "u1"), ("value", a.dtype)]))
    records["value"] = a
    return records["value"]


def repeated(a: Any) -> np.ndarray:
    """Its first row again and again, without memory of their own."""
    a = np.asarray(a)
    return np.broadcast_to(a[:1], a.shape) if a.ndim and len(a) else a


def overlapping(a: Any) -> np.ndarray:
    """Windows of one vector that share elements."""
    a = np.array(a)
    return np.lib.stride_tricks.as_strided(a.reshape(-1), a.shape, (a.itemsize,) * a.ndim)


def structured(shape: Any) -> np.ndarray:
    return np.zeros(shape, np.dtype([("x", "f4"), ("y", "i8")]))


def masked(a: Any) -> Any:
    return np.ma.masked_array(a)


class _Subclass(np.ndarray):
    pass


class _Tensor(weft.Tensor):
    __slots__ = ()


def subclassed(a: Any) -> Any:
    """An instance of a subclass of what it is."""
    return _Tensor(a.array) if isinstance(a, weft.Tensor) else np.asarray(a).view(_Subclass)


def huge(shape: Any, dtype: str = "float32") -> np.ndarray:
    """A view of one element that claims to be as large as an address space."""
    return np.broadcast_to(np.ones((), dtype), shape)


def torched(a: Any, how: str = "plain") -> Any:
    """The array as a tensor of PyTorch's."""
    import torch

    t = torch.from_numpy(np.array(a))
    if how == "grad":
        return t.double().requires_grad_()
    if how == "sparse":
        return t.to_sparse()
    return t.bfloat16() if how == "bfloat16" else t.conj() if how == "conj" else t


# --- objects that lie ---


def loop() -> list[Any]:
    """A list that holds itself."""
    endless: list[Any] = []
    endless.append(endless)
    return endless


def deep(depth: int) -> Any:
    """A number in many lists."""
    value: Any = 1.0
    for _ in range(depth):
        value = [value]
    return value


def _raises(*_: Any, **__: Any) -> Any:
    raise Planted("planted")


class _Endless:
    def __iter__(self) -> Any:
        return iter(int, 1)


_LIES: dict[str, dict[str, Any]] = {
    "index": {"__index__": _raises},
    "index_text": {"__index__": lambda self: "1"},
    "index_huge": {"__index__": lambda self: 2**70},
    "float": {"__float__": _raises},
    "float_text": {"__float__": lambda self: "1"},
    "len": {"__len__": _raises, "__getitem__": lambda self, i: (1, 2, 3)[i]},
    "len_negative": {"__len__": lambda self: -1, "__getitem__": lambda self, i: (1, 2, 3)[i]},
    "len_long": {"__len__": lambda self: 3, "__getitem__": _raises},
    "len_huge": {"__len__": lambda self: 2**62, "__getitem__": _raises},
    "iter": {"__iter__": _raises},
    "array": {"__array__": _raises},
    "array_none": {"__array__": lambda self, *a, **o: None},
    "array_object": {"__array__": lambda self, *a, **o: np.array([None, "x"], object)},
    "array_attribute": {"array": property(_raises)},
    "array_number": {"array": 7},
    "dlpack": {"__dlpack__": _raises, "__dlpack_device__": lambda self: (1, 0)},
    "dlpack_none": {"__dlpack__": lambda self, **o: None, "__dlpack_device__": lambda self: (1, 0)},
    "dlpack_device": {"__dlpack__": _raises, "__dlpack_device__": lambda self: (2, 99)},
    "bool": {"__bool__": _raises},
    "eq": {"__eq__": _raises, "__hash__": lambda self: 0},
    "hash": {"__hash__": _raises},
    "repr": {"__repr__": _raises, "__str__": _raises},
    "str": {"__str__": _raises},
    "call": {"__call__": _raises},
}
LIES = tuple(_LIES)


def lying(what: str) -> Any:
    """An object whose method of this name raises or says something untrue."""
    return type(f"Lying_{what}", (), _LIES[what])()


def one(*_: Any, **__: Any) -> float:
    """A function for where one is asked for."""
    return 1.0


# --- objects of weft's, whole ---


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def parameters(grads: bool = True) -> list[nn.Parameter]:
    found = [nn.Parameter(K(A((3, 2), seed=1))), nn.Parameter(K(A((3,), seed=2)))]
    for p in found if grads else ():
        p.grad = T(A(p.shape, seed=3))
    return found


def optimizer(kind: str = "SGD", **options: Any) -> optim.Optimizer:
    return getattr(optim, kind)(parameters(), lr=0.1, **options)


def scheduler() -> Any:
    return optim.lr_scheduler.StepLR(optimizer(), 2)


def images(n: int = 6, c: int = 1, h: int = 8, w: int = 8) -> np.ndarray:
    return _rng(5).integers(0, 256, (n, c, h, w)).astype(np.uint8)


def dataset(of_images: bool = False) -> weft.data.Dataset:
    labels = np.arange(6) % 2
    return weft.data.Dataset(images(), labels) if of_images else weft.data.Dataset(A((6, 4)), labels)


def loader(**options: Any) -> weft.data.DataLoader:
    return weft.data.DataLoader(dataset(), 3, **options)


def trainer() -> weft.train.Trainer:
    m = model()
    return weft.train.Trainer(m, nn.CrossEntropyLoss(), optim.SGD(m.parameters(), lr=0.1, momentum=0.9))


def good_file() -> str:
    """The path of a whole file of tensors, in the folder where the calls are made."""
    weft.save({"x": A((2, 3))}, "good.safetensors")
    return "good.safetensors"


def good_checkpoint() -> str:
    made = trainer()
    weft.train.checkpoint.save_checkpoint("good.checkpoint", made)
    return "good.checkpoint"


def recorded() -> k.Replay:
    """A replay of one sum."""
    replay, x = k.Replay(), k.ones((2, 3))
    replay.begin()
    y = k.add(x, x)
    replay.end()
    replay.set_inputs([x])
    replay.set_outputs([y])
    return replay


def complete(function: Any, *args: Any) -> Any:
    """What a captured function gives at its third call, which is replayed."""
    captured = weft.capture(function)
    for _ in range(2):
        captured(*args)
    return captured(*args)


def forward(layer: Any, *inputs: Any) -> Any:
    """A layer's outputs, and the gradients behind them."""
    given = [T(x, True) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in inputs]
    out = layer(*given)
    outs = list(out) if isinstance(out, tuple) else [out]
    if isinstance(outs[0], weft.Tensor) and outs[0].requires_grad:
        outs[0].sum().backward()
    grads = [t.grad for t in [*given, *getattr(layer, "parameters", list)()] if isinstance(t, weft.Tensor)]
    return [*outs, *grads]


def use(made: Any) -> Any:
    """Does what an object is for: one that was made may not fail in silence later."""
    if isinstance(made, optim.Optimizer):
        made.step()
        made.load_state_dict(made.state_dict())
        made.zero_grad()
    elif isinstance(made, optim.lr_scheduler.LRScheduler):
        made.step()
        made.load_state_dict(made.state_dict())
    elif isinstance(made, weft.data.DataLoader):
        if len(made.dataset) < 1000:
            list(made)
    elif isinstance(made, weft.data.Dataset):
        if len(made):
            made[0]
            made[-1]
    elif isinstance(made, k.Generator):
        made.set_state(made.get_state())
        k.uniform((3,), generator=made)
    elif isinstance(made, (nn.Module, k.Array, weft.Tensor)):
        repr(made) if not isinstance(made, (k.Array, weft.Tensor)) or _size(made) < 1000 else None
    return made


def _size(made: Any) -> int:
    return made.size if isinstance(made, k.Array) else made.array.size
