"""
The kernels of weft, as they are: each function checks its arguments, allocates its result, and runs one kernel. Arguments are weft Arrays, Tensors, NumPy arrays or anything with __dlpack__, read without a copy.
"""

from __future__ import annotations

import builtins
import collections.abc
import typing

import numpy
import typing_extensions

__all__: list[str] = [
    "Array",
    "DType",
    "activation_backward",
    "asarray",
    "available_isas",
    "cast",
    "copy",
    "copy_into",
    "cuda_built",
    "cuda_device_count",
    "elu",
    "empty",
    "empty_cache",
    "fill",
    "full",
    "gelu",
    "gelu_tanh",
    "isa",
    "leaky_relu",
    "memory_stats",
    "num_threads",
    "ones",
    "relu",
    "reset_peak_memory",
    "set_isa",
    "set_num_threads",
    "set_poison",
    "sigmoid",
    "silu",
    "softplus",
    "step",
    "tanh",
    "zeros",
]

class _HasDLPack(typing.Protocol):
    def __dlpack__(self) -> typing.Any: ...

class _HasArray(typing.Protocol):
    @property
    def array(self) -> Array: ...

# What becomes an Array: without a copy but for numbers and lists.
ArrayLike: typing.TypeAlias = (
    Array
    | _HasArray
    | numpy.ndarray[typing.Any, typing.Any]
    | _HasDLPack
    | bool
    | int
    | float
    | collections.abc.Sequence[typing.Any]
)
# What names an element type.
DTypeLike: typing.TypeAlias = DType | str | type | numpy.dtype[typing.Any]
# One int, or one for each axis.
Ints: typing.TypeAlias = typing.SupportsIndex | collections.abc.Sequence[typing.SupportsIndex]

class DType:
    """
    The type of an array's elements.

    Members:

      float32

      float64

      int64

      int32

      uint8

      bool
    """

    __members__: typing.ClassVar[dict[str, DType]]
    bool: typing.ClassVar[DType]
    float32: typing.ClassVar[DType]
    float64: typing.ClassVar[DType]
    int32: typing.ClassVar[DType]
    int64: typing.ClassVar[DType]
    uint8: typing.ClassVar[DType]
    @typing.overload
    def __eq__(self, other: DType) -> builtins.bool: ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> builtins.bool: ...
    def __getstate__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __init__(self, value: int) -> None: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: DType) -> builtins.bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> builtins.bool: ...
    def __repr__(self) -> str: ...
    def __setstate__(self, state: int) -> None: ...
    def __str__(self) -> str: ...
    @property
    def is_floating_point(self) -> builtins.bool:
        """
        float32 or float64.
        """
    @property
    def itemsize(self) -> int:
        """
        Size of one element in bytes.
        """
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...

class Array:
    """
    Memory with a shape, strides and a dtype, on a device. Views share the memory.
    """
    def __array__(self, dtype: typing.Any = None, copy: typing.Any = None) -> typing.Any: ...
    def __bool__(self) -> bool: ...
    def __dlpack__(
        self,
        *,
        stream: typing.Any = None,
        max_version: typing.Any = None,
        dl_device: typing.Any = None,
        copy: typing.Any = None,
    ) -> typing_extensions.CapsuleType: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __float__(self) -> float: ...
    def __getitem__(self, arg0: typing.Any) -> Array:
        """
        Basic indexing, as in NumPy: ints, slices, None, ...; a view.
        """
    def __int__(self) -> int: ...
    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...
    def __setitem__(self, arg0: typing.Any, arg1: ArrayLike) -> None:
        """
        Copies a value, broadcast and cast, into a view.
        """
    def bump_version(self) -> None: ...
    def contiguous(self) -> Array:
        """
        Itself where it is row-major without gaps, else a copy.
        """
    def expand(self, shape: Ints) -> Array:
        """
        A view broadcast to `shape`; -1 keeps an axis.
        """
    def is_contiguous(self) -> bool:
        """
        Row-major, without gaps.
        """
    def item(self) -> typing.Any:
        """
        The one element as a Python number.
        """
    def numpy(self) -> numpy.ndarray:
        """
        A NumPy array over the same memory.
        """
    def permute(self, axes: Ints) -> Array:
        """
        A view with the axes in another order.
        """
    def reshape(self, shape: Ints) -> Array:
        """
        The same elements in another shape; one entry may be -1. A view where strides allow it.
        """
    def shares_memory(self, other: Array) -> bool:
        """
        Both are views of one storage.
        """
    def squeeze(self, axis: int) -> Array:
        """
        A view without an axis of size 1.
        """
    def tolist(self) -> typing.Any:
        """
        Nested Python lists.
        """
    def transpose(self, a: int, b: int) -> Array:
        """
        A view with two axes swapped.
        """
    def unsqueeze(self, axis: int) -> Array:
        """
        A view with a new axis of size 1.
        """
    @property
    def data_ptr(self) -> int:
        """
        The address of the first element.
        """
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> DType: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def ndim(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def size(self) -> int:
        """
        The number of elements.
        """
    @property
    def strides(self) -> tuple[int, ...]:
        """
        In elements.
        """
    @property
    def version(self) -> int:
        """
        How often the memory was updated in place, as counted by bump_version().
        """
    @property
    def writable(self) -> bool: ...

def activation_backward(kind: str, dout: ArrayLike, saved: ArrayLike, alpha: float = 0.0) -> Array:
    """
    dout times the derivative of the activation `kind` ('relu', 'gelu_tanh', ...).

    saved: the activation's output for sigmoid, tanh and relu, its input for the others. alpha: the parameter of leaky_relu, elu and softplus (beta).
    """

def asarray(x: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """
    An Array over the memory of a NumPy array, a Tensor or anything with __dlpack__, without a copy where the dtype allows it. Numbers and nested lists are copied; Python floats become float32.
    """

def available_isas() -> list[str]:
    """
    The instruction sets that this build and this processor have, best last; 'reference' are the naive kernels.
    """

def cast(x: ArrayLike, dtype: DTypeLike) -> Array:
    """
    A new contiguous array of another dtype. Floats are cut towards zero; anything but 0 is True.
    """

def copy(x: ArrayLike) -> Array:
    """
    A new contiguous array.
    """

def copy_into(out: ArrayLike, x: ArrayLike) -> None:
    """
    Copies x, broadcast and cast, into the elements of out.
    """

def cuda_built() -> bool:
    """
    Whether this build has the CUDA backend.
    """

def cuda_device_count() -> int:
    """
    The number of CUDA devices that can be used.
    """

def elu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """
    x if x > 0 else alpha * (exp(x) - 1) (Clevert et al. 2015).

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def empty(shape: Ints, dtype: DTypeLike = "float32", device: str = "cpu") -> Array:
    """
    An array of `shape` whose elements are not set.
    """

def empty_cache() -> None:
    """
    Gives the memory kept for later back to the system.
    """

def fill(out: ArrayLike, value: typing.Any) -> None:
    """
    Sets every element of out to one number.
    """

def full(shape: Ints, value: typing.Any, dtype: DTypeLike = "float32", device: str = "cpu") -> Array:
    """
    An array filled with one number.
    """

def gelu(x: ArrayLike) -> Array:
    """
    x * Phi(x), with the normal distribution Phi by erf (Hendrycks, Gimpel 2016).

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def gelu_tanh(x: ArrayLike) -> Array:
    """
    x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))), the approximation of gelu.

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def isa() -> str:
    """
    The instruction set in use.
    """

def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Array:
    """
    x if x > 0 else negative_slope * x (Maas et al. 2013).

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def memory_stats() -> dict[str, int]:
    """
    The CPU allocator's counters: bytes allocated (in use), reserved (in use and kept) and peak; allocations served from kept blocks (hits) and by the system (misses).
    """

def num_threads() -> int:
    """
    How many threads a kernel may use; 1 after a fork.
    """

def ones(shape: Ints, dtype: DTypeLike = "float32", device: str = "cpu") -> Array:
    """
    An array of ones.
    """

def relu(x: ArrayLike) -> Array:
    """
    max(x, 0) (Nair, Hinton 2010).

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def reset_peak_memory() -> None:
    """
    Sets the peak to what is allocated now.
    """

def set_isa(name: str) -> None:
    """
    Chooses the kernels of one instruction set for the whole process. ValueError if it is not available.
    """

def set_num_threads(count: int) -> None:
    """
    How many threads a kernel may use. ValueError below 1. Results have the same bits for any number.
    """

def set_poison(on: bool) -> None:
    """
    Fills every new array with NaN bytes, so that tests see an element that no kernel wrote.
    """

def sigmoid(x: ArrayLike) -> Array:
    """
    1 / (1 + exp(-x)).

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def silu(x: ArrayLike) -> Array:
    """
    x * sigmoid(x) (Elfwing et al. 2017).

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def softplus(x: ArrayLike, beta: float = 1.0) -> Array:
    """
    log(1 + exp(beta * x)) / beta; x itself where beta * x > 20.

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def step(x: ArrayLike) -> Array:
    """
    1 where x > 0, else 0 (McCulloch, Pitts 1943).

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def tanh(x: ArrayLike) -> Array:
    """
    The hyperbolic tangent.

    x: any shape, float32 or float64. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def zeros(shape: Ints, dtype: DTypeLike = "float32", device: str = "cpu") -> Array:
    """
    An array of zeros.
    """
