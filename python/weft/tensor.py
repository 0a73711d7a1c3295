"""Tensor: an Array with a gradient. torch's methods and operators; the operations are in weft.operations."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import weft.kernels as K
from weft import autograd

Dim = int | Sequence[int] | None
_operations: Any = None  # weft.operations, which sets it: it needs Tensor first


class Hook:
    """What register_hook returns; `remove()` takes the hook away."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


class Tensor:
    """A multi-dimensional array on a device that remembers how it was computed.

    array: the memory, a weft.kernels.Array. requires_grad: whether gradients by it are wanted. grad: the gradient that
    `backward` left, a Tensor or None.
    """

    __slots__ = (
        "__weakref__",
        "_grad_buffer",
        "_hooks",
        "_node",
        "_output",
        "array",
        "grad",
        "requires_grad",
    )

    # NumPy leaves operators between its arrays and Tensors to us.
    __array_priority__ = 1000

    def __init__(self, array: K.Array, requires_grad: bool = False) -> None:
        self.array = array
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self._node: Any = None
        self._output = 0
        self._hooks: list[Any] | None = None
        self._grad_buffer: K.Array | None = None

    # --- what it is ---

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> K.DType:
        return self.array.dtype

    @property
    def device(self) -> str:
        return self.array.device

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
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.array.ndim

    def numel(self) -> int:
        return self.array.size

    def is_contiguous(self) -> bool:
        return self.array.is_contiguous()

    def is_floating_point(self) -> bool:
        return self.array.dtype.is_floating_point

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        for i in range(len(self)):
            yield self[i]

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        text = np.array2string(np.asarray(self.array), separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (K.DType.float32, K.DType.int64, K.DType.bool) else f", dtype={self.dtype!r}"
        history = f", grad_fn={self._node!r}" if self._node else ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({text}{dtype}{history})"

    # --- out to Python and NumPy ---

    def numpy(self) -> np.ndarray[Any, Any]:
        """A NumPy array over the same memory. RuntimeError where a gradient is required: call detach() first."""
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
            self._node.retained[self._output] = weakref.ref(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Hook:
        """Calls hook(gradient) when the gradient of this tensor is known; what it returns replaces the gradient."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: the tensor does not require a gradient")
        if self._node is not None:
            hooks = self._node.hooks.setdefault(self._output, [])
        else:
            if self._hooks is None:
                self._hooks = []
            hooks = self._hooks
        hooks.append(hook)
        return Hook(hooks, hook)

    # --- arithmetic ---

    def __add__(self, other: Any) -> Tensor:
        return _operations.Add.apply(self, _operand(other))  # type: ignore[no-any-return]

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        return _operations.Sub.apply(self, _operand(other))  # type: ignore[no-any-return]

    def __rsub__(self, other: Any) -> Tensor:
        return _operations.Sub.apply(_operand(other), self)  # type: ignore[no-any-return]

    def __mul__(self, other: Any) -> Tensor:
        return _operations.Mul.apply(self, _operand(other))  # type: ignore[no-any-return]

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        return _operations.Div.apply(self, _operand(other))  # type: ignore[no-any-return]

    def __rtruediv__(self, other: Any) -> Tensor:
        return _operations.Div.apply(_operand(other), self)  # type: ignore[no-any-return]

    def __pow__(self, other: Any) -> Tensor:
        return _operations.Pow.apply(self, _operand(other))  # type: ignore[no-any-return]

    def __rpow__(self, other: Any) -> Tensor:
        return _operations.Pow.apply(_operand(other), self)  # type: ignore[no-any-return]

    def __matmul__(self, other: Any) -> Tensor:
        return _operations.Matmul.apply(self, as_tensor(other))  # type: ignore[no-any-return]

    def __rmatmul__(self, other: Any) -> Tensor:
        return _operations.Matmul.apply(as_tensor(other), self)  # type: ignore[no-any-return]

    def __neg__(self) -> Tensor:
        return _operations.Neg.apply(self)  # type: ignore[no-any-return]

    def __abs__(self) -> Tensor:
        return _operations.Abs.apply(self)  # type: ignore[no-any-return]

    def __floordiv__(self, other: Any) -> Tensor:
        return Tensor(K.floor_divide(self.array, _raw(other)))

    def __mod__(self, other: Any) -> Tensor:
        return Tensor(K.remainder(self.array, _raw(other)))

    def __invert__(self) -> Tensor:
        return Tensor(K.logical_not(self.array))

    def __and__(self, other: Any) -> Tensor:
        return Tensor(K.logical_and(self.array, _raw(other)))

    def __or__(self, other: Any) -> Tensor:
        return Tensor(K.logical_or(self.array, _raw(other)))

    def __xor__(self, other: Any) -> Tensor:
        return Tensor(K.logical_xor(self.array, _raw(other)))

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return Tensor(K.eq(self.array, _raw(other)))

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return Tensor(K.ne(self.array, _raw(other)))

    def __lt__(self, other: Any) -> Tensor:
        return Tensor(K.lt(self.array, _raw(other)))

    def __le__(self, other: Any) -> Tensor:
        return Tensor(K.le(self.array, _raw(other)))

    def __gt__(self, other: Any) -> Tensor:
        return Tensor(K.gt(self.array, _raw(other)))

    def __ge__(self, other: Any) -> Tensor:
        return Tensor(K.ge(self.array, _raw(other)))

    def matmul(self, other: Any) -> Tensor:
        return self @ other

    def add(self, other: Any) -> Tensor:
        return self + other

    def sub(self, other: Any) -> Tensor:
        return self - other

    def mul(self, other: Any) -> Tensor:
        return self * other

    def div(self, other: Any) -> Tensor:
        return self / other

    def pow(self, exponent: Any) -> Tensor:
        return self**exponent

    def neg(self) -> Tensor:
        return -self

    def abs(self) -> Tensor:
        return _operations.Abs.apply(self)  # type: ignore[no-any-return]

    def square(self) -> Tensor:
        return _operations.Square.apply(self)  # type: ignore[no-any-return]

    def sqrt(self) -> Tensor:
        return _operations.Sqrt.apply(self)  # type: ignore[no-any-return]

    def rsqrt(self) -> Tensor:
        return _operations.Rsqrt.apply(self)  # type: ignore[no-any-return]

    def reciprocal(self) -> Tensor:
        return _operations.Reciprocal.apply(self)  # type: ignore[no-any-return]

    def exp(self) -> Tensor:
        return _operations.Exp.apply(self)  # type: ignore[no-any-return]

    def expm1(self) -> Tensor:
        return _operations.Expm1.apply(self)  # type: ignore[no-any-return]

    def log(self) -> Tensor:
        return _operations.Log.apply(self)  # type: ignore[no-any-return]

    def log1p(self) -> Tensor:
        return _operations.Log1p.apply(self)  # type: ignore[no-any-return]

    def sin(self) -> Tensor:
        return _operations.Sin.apply(self)  # type: ignore[no-any-return]

    def cos(self) -> Tensor:
        return _operations.Cos.apply(self)  # type: ignore[no-any-return]

    def erf(self) -> Tensor:
        return _operations.Erf.apply(self)  # type: ignore[no-any-return]

    def sign(self) -> Tensor:
        return Tensor(K.sign(self.array))

    def floor(self) -> Tensor:
        return Tensor(K.floor(self.array))

    def ceil(self) -> Tensor:
        return Tensor(K.ceil(self.array))

    def round(self) -> Tensor:
        return Tensor(K.round(self.array))

    def isnan(self) -> Tensor:
        return Tensor(K.isnan(self.array))

    def isfinite(self) -> Tensor:
        return Tensor(K.isfinite(self.array))

    def clip(self, min: float | None = None, max: float | None = None) -> Tensor:
        return _operations.Clip.apply(self, min, max)  # type: ignore[no-any-return]

    clamp = clip

    # --- reductions ---

    def sum(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return _operations.Sum.apply(self, dim, keepdim)  # type: ignore[no-any-return]

    def mean(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return _operations.Mean.apply(self, dim, keepdim)  # type: ignore[no-any-return]

    def prod(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return _operations.Prod.apply(self, dim, keepdim)  # type: ignore[no-any-return]

    def var(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        """Sum of squared differences from the mean, by n - correction."""
        return _operations.Var.apply(self, dim, keepdim, correction)  # type: ignore[no-any-return]

    def std(self, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Tensor:
        return self.var(dim, correction, keepdim).sqrt()

    def amax(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The largest; equal ones share the gradient."""
        return _operations.ExtremumOf.apply(self, dim, keepdim, True)  # type: ignore[no-any-return]

    def amin(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        """The smallest; equal ones share the gradient."""
        return _operations.ExtremumOf.apply(self, dim, keepdim, False)  # type: ignore[no-any-return]

    def max(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The largest of all, or with `dim` (values, indices): then the first of equal ones gets the gradient."""
        if dim is None:
            return self.amax()
        return _operations.SelectAlong.apply(self, dim, keepdim, True)

    def min(self, dim: int | None = None, keepdim: bool = False) -> Any:
        """The smallest of all, or with `dim` (values, indices): then the first of equal ones gets the gradient."""
        if dim is None:
            return self.amin()
        return _operations.SelectAlong.apply(self, dim, keepdim, False)

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return Tensor(K.argmax(self.array, dim, keepdim))

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        return Tensor(K.argmin(self.array, dim, keepdim))

    def any(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return Tensor(K.any(self.array, dim, keepdim))

    def all(self, dim: Dim = None, keepdim: bool = False) -> Tensor:
        return Tensor(K.all(self.array, dim, keepdim))

    # --- shapes ---

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one entry may be -1. A view where strides allow it."""
        return _operations.Reshape.apply(self, _ints(shape))  # type: ignore[no-any-return]

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Joins the axes from start_dim to end_dim."""
        start = start_dim + self.ndim if start_dim < 0 else start_dim
        end = end_dim + self.ndim if end_dim < 0 else end_dim
        if self.ndim == 0:
            return self.reshape(1)
        if not 0 <= start <= end < self.ndim:
            raise IndexError(f"flatten: start_dim {start_dim} and end_dim {end_dim} for shape {self.shape}")
        joined = 1
        for n in self.shape[start : end + 1]:
            joined *= n
        return self.reshape(*self.shape[:start], joined, *self.shape[end + 1 :])

    def permute(self, *dims: Any) -> Tensor:
        return _operations.Permute.apply(self, _ints(dims))  # type: ignore[no-any-return]

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        dims = list(range(self.ndim))
        a, b = _axis("transpose", dim0, self.shape), _axis("transpose", dim1, self.shape)
        dims[a], dims[b] = b, a
        return self.permute(dims)

    def t(self) -> Tensor:
        return self.T

    def expand(self, *shape: Any) -> Tensor:
        """A view broadcast to `shape`; -1 keeps an axis."""
        return _operations.Expand.apply(self, _ints(shape))  # type: ignore[no-any-return]

    def squeeze(self, dim: int | None = None) -> Tensor:
        """Without the axes of size 1, or without one of them (unchanged where it is larger)."""
        if dim is None:
            return self.reshape([n for n in self.shape if n != 1])
        axis = _axis("squeeze", dim, self.shape)
        if self.shape[axis] != 1:
            return self
        return self.reshape([*self.shape[:axis], *self.shape[axis + 1 :]])

    def unsqueeze(self, dim: int) -> Tensor:
        axis = _axis("unsqueeze", dim, self.shape, 1)
        return self.reshape([*self.shape[:axis], 1, *self.shape[axis:]])

    def contiguous(self) -> Tensor:
        if self.array.is_contiguous():
            return self
        return _operations.Contiguous.apply(self)  # type: ignore[no-any-return]

    def gather(self, dim: int, index: Any) -> Tensor:
        return _operations.Gather.apply(self, dim, as_tensor(index))  # type: ignore[no-any-return]

    def index_select(self, dim: int, index: Any) -> Tensor:
        return _operations.IndexSelect.apply(self, dim, as_tensor(index))  # type: ignore[no-any-return]

    def __getitem__(self, index: Any) -> Tensor:
        """Ints, slices, None and ... give a view; one integer array (or bool mask) along the first axis a copy."""
        selected = _selected(index, self.shape)
        if selected is not None:
            flat = self.reshape([-1, *self.shape[selected[1] :]]) if selected[1] > 1 else self
            picked = flat.index_select(0, selected[0].reshape(-1))
            return picked.reshape([*selected[0].shape, *self.shape[selected[1] :]])
        return _operations.Index.apply(self, index)  # type: ignore[no-any-return]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._before_update("assignment", value)
        selected = _selected(index, self.shape)
        if selected is None:
            self.array[index] = _raw(value)
        else:
            np.asarray(self.array)[np.asarray(index)] = np.asarray(_raw(value))
        self.array.bump_version()

    # --- copies and dtypes ---

    def clone(self) -> Tensor:
        """A copy that gradients pass through."""
        return _operations.Copy.apply(self)  # type: ignore[no-any-return]

    def to(self, target: Any) -> Tensor:
        """Another dtype, or "cpu"; itself where nothing changes."""
        if isinstance(target, str) and (target == "cpu" or target.startswith("cuda")):
            if target != self.device:
                K.empty((), device=target)  # says why that device cannot be used
            return self
        dtype = K.asarray(0, target).dtype
        if dtype == self.dtype:
            return self
        return _operations.Cast.apply(self, dtype)  # type: ignore[no-any-return]

    def float(self) -> Tensor:
        return self.to(K.DType.float32)

    def double(self) -> Tensor:
        return self.to(K.DType.float64)

    def long(self) -> Tensor:
        return self.to(K.DType.int64)

    def int(self) -> Tensor:
        return self.to(K.DType.int32)

    def bool(self) -> Tensor:
        return self.to(K.DType.bool)

    # --- in place ---

    def _before_update(self, what: str, other: Any = None) -> None:
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
        self._before_update("copy_", source)
        K.copy_into(self.array, _raw(source))
        return self._updated()

    def fill_(self, value: Any) -> Tensor:
        self._before_update("fill_")
        K.fill(self.array, value)
        return self._updated()

    def zero_(self) -> Tensor:
        self._before_update("zero_")
        K.fill(self.array, 0)
        return self._updated()

    def add_(self, other: Any, alpha: Any = 1) -> Tensor:
        self._before_update("add_", other)
        K.add(self.array, _raw(other) if alpha == 1 else K.mul(_raw(other), alpha), self.array)
        return self._updated()

    def sub_(self, other: Any) -> Tensor:
        self._before_update("sub_", other)
        K.sub(self.array, _raw(other), self.array)
        return self._updated()

    def mul_(self, other: Any) -> Tensor:
        self._before_update("mul_", other)
        K.mul(self.array, _raw(other), self.array)
        return self._updated()

    def div_(self, other: Any) -> Tensor:
        self._before_update("div_", other)
        K.div(self.array, _raw(other), self.array)
        return self._updated()

    def __iadd__(self, other: Any) -> Tensor:
        return self.add_(other)

    def __isub__(self, other: Any) -> Tensor:
        return self.sub_(other)

    def __imul__(self, other: Any) -> Tensor:
        return self.mul_(other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self.div_(other)


_Ints = "int | Sequence[int]"


def as_tensor(value: Any) -> Tensor:
    """`value` itself where it is a Tensor, else a Tensor over it (see weft.kernels.asarray)."""
    return value if isinstance(value, Tensor) else Tensor(K.asarray(value))


def _operand(value: Any) -> Any:
    """A number stays one (it takes the other operand's dtype); anything else becomes a Tensor."""
    return value if isinstance(value, (Tensor, int, float)) else as_tensor(value)


def _axis(what: str, dim: int, shape: tuple[int, ...], more: int = 0) -> int:
    """`dim` counted from the front, for a result with `more` axes than `shape`."""
    ndim = len(shape) + more
    if not -ndim <= dim < ndim:
        raise IndexError(f"{what}: dim {dim} is out of range for shape {shape}")
    return dim % ndim


def _raw(value: Any) -> Any:
    return value.array if isinstance(value, Tensor) else value


def _ints(given: Sequence[Any]) -> Sequence[Any]:
    """f(2, 3) and f((2, 3)) mean the same."""
    return given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _selected(index: Any, shape: tuple[int, ...]) -> tuple[Any, int] | None:
    """For an integer array or a bool mask: the indices into the first axes joined, and how many axes they take."""
    if isinstance(index, (int, slice, tuple, type(None), type(Ellipsis))):
        return None
    array = np.asarray(index)
    if array.dtype == np.bool_:
        if array.shape != shape[: array.ndim]:
            raise IndexError(f"index: mask {array.shape} does not match the shape {shape}")
        return np.flatnonzero(array), array.ndim
    if array.dtype.kind not in "iu":
        raise TypeError(f"index: expected integers or bool, got {array.dtype}")
    return array.astype(np.int64), 1


autograd._tensor_type = Tensor
