"""Tensor: an Array with a gradient. torch's methods and operators; the operations are in weft.operations."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import weft.kernels as K
from weft import _arithmetic, _base, _indexing, _shapes, autograd
from weft._checks import function, integer, number
from weft._operators import Operators, as_tensor, raw

__all__ = ["Hook", "Tensor", "as_tensor"]


class Hook:
    """What register_hook returns; `remove()` takes the hook away."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        """Takes the hook away."""
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


class Tensor(Operators):
    """A multi-dimensional array on a device that remembers how it was computed.

    array: the memory, a weft.kernels.Array. requires_grad: whether gradients by it are wanted. grad: the gradient that
    `backward` left, a Tensor or None.
    """

    __slots__ = ()

    # NumPy leaves operators between its arrays and Tensors to us.
    __array_priority__ = 1000

    # --- what it is ---

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def dtype(self) -> K.DType:
        """The type of the elements."""
        return self.array.dtype

    @property
    def device(self) -> str:
        """The memory's place, such as cpu."""
        return self.array.device

    @property
    def is_cuda(self) -> bool:
        """On a CUDA device."""
        return self.array.device != "cpu"

    @property
    def is_leaf(self) -> bool:
        """Not the result of a recorded operation."""
        return self._node is None

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made it, or None."""
        return self._node

    @property
    def data(self) -> Tensor:
        """The same memory without the history."""
        return Tensor(self.array)

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return self.permute(*range(self.ndim - 1, -1, -1))

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one axis."""
        return self.shape if dim is None else self.shape[_axis("size", dim, self.shape)]

    def dim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self.array.size

    def is_contiguous(self, memory_format: K.MemoryFormat = K.MemoryFormat.contiguous_format) -> bool:
        """Row-major, or with weft.channels_last (N, H, W, C), without gaps."""
        return self.array.is_contiguous(memory_format)

    def stride(self, dim: int | None = None) -> Any:
        """The steps in memory along the axes, or along one of them, in elements."""
        return self.array.strides if dim is None else self.array.strides[_axis("stride", dim, self.shape)]

    def is_floating_point(self) -> bool:
        """float32, float64 or bfloat16."""
        return self.array.dtype.is_floating_point

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self)):
            yield self[i]

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        shown = K.cast(self.array, "float32") if self.dtype == K.DType.bfloat16 else self.array
        text = np.array2string(np.asarray(shown), separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (K.DType.float32, K.DType.int64, K.DType.bool) else f", dtype={self.dtype!r}"
        history = f", grad_fn={self._node!r}" if self._node else ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({text}{dtype}{history})"

    # --- out to Python and NumPy ---

    def numpy(self) -> np.ndarray[Any, Any]:
        """A NumPy array over the same memory, or with a copy of a device's.

        RuntimeError where a gradient is required: call detach() first. TypeError for bfloat16, which NumPy lacks: call
        float() first.
        """
        if self.requires_grad:
            raise RuntimeError("numpy: the tensor requires a gradient; call detach() first")
        return self.array.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self.array.__array__(dtype, copy)  # type: ignore[no-any-return]

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("__dlpack__: the tensor requires a gradient; call detach() first")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def item(self) -> Any:
        """The one element as a Python number. ValueError for another number of elements."""
        return self.array.item()

    def tolist(self) -> Any:
        """Nested Python lists, or a number."""
        return self.array.tolist()

    def __float__(self) -> float:
        return float(self.array.item())

    def __int__(self) -> int:
        return int(self.array.item())

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ValueError(f"bool: the truth of a tensor of shape {self.shape} is ambiguous")
        return bool(self.array.item())

    # --- gradients ---

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Says whether gradients are wanted; returns the tensor. TypeError for integers, RuntimeError off a leaf."""
        if requires_grad and not self.array.dtype.is_floating_point:
            raise TypeError(f"requires_grad: only floating tensors have gradients, this one is {self.dtype}")
        if not requires_grad and self._node is not None:
            raise RuntimeError("requires_grad_: only a leaf can be switched off; use detach()")
        self.requires_grad = requires_grad
        return self

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """See weft.autograd.backward."""
        autograd.backward(self, gradient, retain_graph, create_graph)

    def detach(self) -> Tensor:
        """The same memory without the history."""
        return Tensor(self.array)

    def retain_grad(self) -> None:
        """Keeps the gradient of a result that is no leaf in `.grad`."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: the tensor does not require a gradient")
        if self._node is not None:
            self._node.retain(self._output, self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Hook:
        """Calls hook(gradient) when the gradient of this tensor is known; what it returns replaces the gradient."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require a gradient")
        function("register_hook", "hook", hook)
        if self._node is not None:
            hooks = self._node.hooks_of(self._output)
        else:
            if self._hooks is None:
                self._hooks = []
            hooks = self._hooks
        hooks.append(hook)
        return Hook(hooks, hook)

    # --- shapes ---

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one entry may be -1. A view where strides allow it."""
        return _shapes.Reshape.apply(self, _ints(shape))

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Joins the axes from start_dim to end_dim."""
        start_dim, end_dim = integer("flatten", "start_dim", start_dim), integer("flatten", "end_dim", end_dim)
        start = start_dim + self.ndim if start_dim < 0 else start_dim
        end = end_dim + self.ndim if end_dim < 0 else end_dim
        if self.ndim == 0:
            return self.reshape(1)
        if not 0 <= start <= end < self.ndim:
            raise IndexError(f"flatten: start_dim {start_dim} and end_dim {end_dim} for shape {self.shape}")
        joined = math.prod(self.shape[start : end + 1])
        return self.reshape(*self.shape[:start], joined, *self.shape[end + 1 :])

    def permute(self, *dims: Any) -> Tensor:
        """The axes in another order; a view."""
        return _shapes.Permute.apply(self, _ints(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two axes swapped; a view."""
        dims = list(range(self.ndim))
        a, b = _axis("transpose", dim0, self.shape), _axis("transpose", dim1, self.shape)
        dims[a], dims[b] = b, a
        return self.permute(dims)

    def t(self) -> Tensor:
        """The axes in reverse order."""
        return self.T

    def expand(self, *shape: Any) -> Tensor:
        """A view broadcast to `shape`; -1 keeps an axis."""
        return _shapes.Expand.apply(self, _ints(shape))

    def squeeze(self, dim: int | None = None) -> Tensor:
        """Without the axes of size 1, or without one of them (unchanged where it is larger)."""
        if dim is None:
            return self.reshape([n for n in self.shape if n != 1])
        axis = _axis("squeeze", dim, self.shape)
        if self.shape[axis] != 1:
            return self
        return self.reshape([*self.shape[:axis], *self.shape[axis + 1 :]])

    def unsqueeze(self, dim: int) -> Tensor:
        """A new axis of size 1 at `dim`; a view."""
        axis = _axis("unsqueeze", dim, self.shape, 1)
        return self.reshape([*self.shape[:axis], 1, *self.shape[axis:]])

    def contiguous(self, memory_format: K.MemoryFormat = K.MemoryFormat.contiguous_format) -> Tensor:
        """Itself where it is row-major (with weft.channels_last: in that order) without gaps, else a copy.

        ValueError for channels_last where the rank is not 4.
        """
        if self.array.is_contiguous(memory_format):
            return self
        return _shapes.Contiguous.apply(self, memory_format)

    def gather(self, dim: int, index: Any) -> Tensor:
        """out[i, j] = self[index[i, j], j] for dim 0: the elements at `index` (integers) along an axis."""
        return _shapes.Gather.apply(self, dim, as_tensor(index))

    def index_select(self, dim: int, index: Any) -> Tensor:
        """The slices at `index` (integers, one axis) along an axis."""
        return _shapes.IndexSelect.apply(self, dim, as_tensor(index))

    def __getitem__(self, index: Any) -> Tensor:
        """Ints, slices, None and ... give a view; integer arrays side by side, or a mask, a copy."""
        if _indexing.is_basic(index):
            return _shapes.Index.apply(self, index)
        view, axis, count, flat, shape = _indexing.select(index, self.shape)
        x: Tensor = _shapes.Index.apply(self, view)
        before, after = x.shape[:axis], x.shape[axis + count :]
        if count > 1:
            x = x.reshape([*before, math.prod(x.shape[axis : axis + count]), *after])
        x = x.index_select(axis, flat)
        return x if len(shape) == 1 else x.reshape([*before, *shape, *after])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._before_update("assignment", value)
        if _indexing.is_basic(index):
            self.array[index] = raw(value)
        else:
            elements = np.asarray(self.array)  # the memory itself, or a copy of a device's
            elements[_indexing.plain(index)] = np.asarray(raw(value))
            if self.is_cuda:
                K.copy_into(self.array, K.asarray(elements, device=self.device))
        self.array.bump_version()

    # --- whole copies ---

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf with memory of its own, and its gradient. RuntimeError for the result of a recorded operation."""
        if self._node is not None:
            raise RuntimeError("deepcopy: only leaves can be copied with their history left out; call detach() first")
        new = memo[id(self)] = _made(type(self), K.copy(self.array), self.requires_grad)
        if self.grad is not None:
            new.grad = copy.deepcopy(self.grad, memo)
        return new

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the elements and requires_grad. RuntimeError for the result of a recorded operation."""
        if self._node is not None:
            raise RuntimeError("pickle: only leaves can be pickled, without history; call detach() first")
        if self.dtype == K.DType.bfloat16:
            return _made_of_bits, (type(self), K.bfloat16_bits(self.array), self.requires_grad)
        return _made, (type(self), np.asarray(self.array), self.requires_grad)

    # --- copies and dtypes ---

    def clone(self, memory_format: K.MemoryFormat = K.MemoryFormat.preserve_format) -> Tensor:
        """A copy that gradients pass through, in the same memory order or a given one."""
        return _arithmetic.Copy.apply(self, memory_format)

    def to(
        self,
        target: Any = None,
        memory_format: K.MemoryFormat = K.MemoryFormat.preserve_format,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> Tensor:
        """On a device ("cpu", "cuda:1"), in another dtype or memory order (weft.channels_last); itself where nothing
        changes. `target` is a device or a dtype.

        A copy from pinned memory to a device does not wait for it; other host memory may change at once after the
        call. A copy to the host waits. RuntimeError where the device cannot be used.
        """
        if device is not None or dtype is not None:
            moved = self if device is None else self.to(device)
            moved = moved if dtype is None else moved.to(dtype)
            return moved.to(target, memory_format)
        if memory_format != K.MemoryFormat.preserve_format:
            moved = self if target is None else self.to(target)
            # A size of 1 can make both orders true: strides then say which one later operations take.
            if moved.array.is_contiguous(memory_format) and moved.array.memory_format == memory_format:
                return moved
            return moved.clone(memory_format)
        if target is None:
            return self
        if isinstance(target, str) and (target == "cpu" or target.startswith("cuda")):
            if target in (self.device, f"{self.device}".removesuffix(":0")):
                return self
            return _arithmetic.To.apply(self, target)
        dtype = target if isinstance(target, K.DType) else K.asarray(0, target, "cpu").dtype
        if dtype == self.dtype:
            return self
        return _arithmetic.Cast.apply(self, dtype)

    def cpu(self) -> Tensor:
        """On the host; itself where it is there."""
        return self.to("cpu")

    def cuda(self, index: Any = 0) -> Tensor:
        """On a CUDA device; itself where it is there."""
        return self.to(f"cuda:{index}")

    def pin_memory(self) -> Tensor:
        """A copy in host memory that a CUDA device reads by itself: to("cuda") does not wait then."""
        return Tensor(K.pinned(self.array))

    def float(self) -> Tensor:
        """As float32."""
        return self.to(K.DType.float32)

    def double(self) -> Tensor:
        """As float64."""
        return self.to(K.DType.float64)

    def bfloat16(self) -> Tensor:
        """As bfloat16, rounded to the nearest."""
        return self.to(K.DType.bfloat16)

    def long(self) -> Tensor:
        """As int64."""
        return self.to(K.DType.int64)

    def int(self) -> Tensor:
        """As int32."""
        return self.to(K.DType.int32)

    def bool(self) -> Tensor:
        """As bool."""
        return self.to(K.DType.bool)

    # --- in place ---

    def _before_update(self, what: str, other: Any = None) -> None:
        if _indexing.overlaps(self.array):
            raise RuntimeError(
                f"{what}: elements of this tensor of shape {self.shape} share memory (it was expanded), so they cannot "
                "be changed in place; call clone() first"
            )
        if not autograd.is_grad_enabled():
            return
        if isinstance(other, Tensor) and other.requires_grad:
            raise RuntimeError(
                f"{what}: a value that requires a gradient cannot be written in place, its history would be lost; "
                "use no_grad() or the operation that makes a new tensor"
            )
        if self.requires_grad:
            kind = "a leaf that requires a gradient" if self._node is None else "a result that is on the tape"
            raise RuntimeError(f"{what}: {kind} cannot be changed in place; use no_grad() or another tensor")

    def _updated(self) -> Tensor:
        self.array.bump_version()
        return self

    def copy_(self, source: Any) -> Tensor:
        """Takes the elements of source, broadcast and cast, in place."""
        self._before_update("copy_", source)
        K.copy_into(self.array, raw(source))
        return self._updated()

    def fill_(self, value: Any) -> Tensor:
        """Sets every element, in place."""
        self._before_update("fill_")
        if not isinstance(value, (int, float)):
            number("fill_", "value", value, nan=True)
        K.fill(self.array, value)
        return self._updated()

    def zero_(self) -> Tensor:
        """Sets every element to 0, in place."""
        self._before_update("zero_")
        K.fill(self.array, 0)
        return self._updated()

    def add_(self, other: Any, alpha: Any = 1) -> Tensor:
        """self += alpha * other, in place."""
        self._before_update("add_", other)
        K.add(self.array, raw(other) if alpha == 1 else K.mul(raw(other), alpha), self.array)
        return self._updated()

    def sub_(self, other: Any) -> Tensor:
        """self -= other, in place."""
        self._before_update("sub_", other)
        K.sub(self.array, raw(other), self.array)
        return self._updated()

    def mul_(self, other: Any) -> Tensor:
        """self *= other, in place."""
        self._before_update("mul_", other)
        K.mul(self.array, raw(other), self.array)
        return self._updated()

    def div_(self, other: Any) -> Tensor:
        """self /= other, in place."""
        self._before_update("div_", other)
        K.div(self.array, raw(other), self.array)
        return self._updated()

    def __iadd__(self, other: Any) -> Tensor:
        return self.add_(other)

    def __isub__(self, other: Any) -> Tensor:
        return self.sub_(other)

    def __imul__(self, other: Any) -> Tensor:
        return self.mul_(other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self.div_(other)


def _made(kind: type[Tensor], array: Any, requires_grad: bool) -> Tensor:
    """A leaf of a class over `array`."""
    new = kind.__new__(kind)
    Tensor.__init__(new, K.asarray(array), requires_grad)
    return new


def _made_of_bits(kind: type[Tensor], bits: Any, requires_grad: bool) -> Tensor:
    """A leaf of a class over the bits of bfloat16 numbers."""
    return _made(kind, K.bfloat16_from_bits(bits), requires_grad)


def _axis(what: str, dim: int, shape: tuple[int, ...], more: int = 0) -> int:
    """`dim` counted from the front, for a result with `more` axes than `shape`."""
    ndim = len(shape) + more
    dim = integer(what, "dim", dim)
    if not -ndim <= dim < ndim:
        raise IndexError(f"{what}: dim {dim} is out of range for shape {shape}")
    return dim % ndim


def _ints(given: Sequence[Any]) -> Sequence[Any]:
    """f(2, 3) and f((2, 3)) mean the same."""
    return given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


_base.tensor_type = Tensor
