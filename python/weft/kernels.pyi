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
    "CudaEvent",
    "CudaStream",
    "DType",
    "Generator",
    "MemoryFormat",
    "Replay",
    "abs",
    "activation_backward",
    "adagrad_step",
    "adam_step",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "asarray",
    "attributes_are",
    "available_isas",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "bernoulli",
    "bfloat16_bits",
    "bfloat16_from_bits",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cast",
    "cat",
    "ceil",
    "clip",
    "clip_grad_norm",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_output_size",
    "conv2d_relu_max_pool2d",
    "conv2d_relu_max_pool2d_backward",
    "conv_precision",
    "copy",
    "copy_into",
    "cos",
    "cross_entropy",
    "cross_entropy_backward",
    "cuda_built",
    "cuda_current_stream",
    "cuda_device_count",
    "cuda_device_info",
    "cuda_empty_cache",
    "cuda_emulated",
    "cuda_memory_stats",
    "cuda_reset_peak_memory",
    "cuda_set_stream",
    "cuda_synchronize",
    "cuda_unavailable_reason",
    "cuda_versions",
    "default_device",
    "default_generator",
    "div",
    "dropout",
    "dropout_backward",
    "elu",
    "empty",
    "empty_cache",
    "empty_like",
    "eq",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "fill",
    "fill_bernoulli",
    "fill_normal",
    "fill_uniform",
    "floor",
    "floor_divide",
    "fma_loop",
    "full",
    "gather",
    "gather_images",
    "ge",
    "gelu",
    "gelu_tanh",
    "gemm",
    "group_norm",
    "group_norm_backward",
    "gt",
    "hinge_loss",
    "huber_loss",
    "in_capture",
    "index_add",
    "index_select",
    "isa",
    "isfinite",
    "isnan",
    "kernel_sources",
    "l1_loss",
    "layer_norm",
    "layer_norm_backward",
    "le",
    "leaky_relu",
    "linear",
    "linear_backward",
    "log",
    "log1p",
    "log_softmax",
    "log_softmax_backward",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lp_pool2d",
    "lp_pool2d_backward",
    "lt",
    "manual_seed",
    "matmul",
    "max",
    "max_pool2d",
    "max_pool2d_backward",
    "maximum",
    "mean",
    "memory_stats",
    "min",
    "min_pool2d",
    "minimum",
    "mse_loss",
    "mul",
    "ne",
    "neg",
    "normal",
    "num_threads",
    "one_hot",
    "ones",
    "pad",
    "pinned",
    "pointwise_loss_backward",
    "pow",
    "prod",
    "randint",
    "randperm",
    "reciprocal",
    "relu",
    "remainder",
    "reset_peak_memory",
    "rmsprop_step",
    "round",
    "rsqrt",
    "scatter_add",
    "set_conv_precision",
    "set_default_device",
    "set_destinations",
    "set_isa",
    "set_num_threads",
    "set_poison",
    "set_site_hook",
    "sgd_step",
    "sigmoid",
    "sign",
    "signature",
    "signature_of_tensors",
    "silu",
    "sin",
    "softmax",
    "softmax_backward",
    "softplus",
    "sqrt",
    "square",
    "stack",
    "start_profile",
    "step",
    "stop_profile",
    "sub",
    "sum",
    "sum_squares",
    "tanh",
    "threads_runtime",
    "to",
    "trunc",
    "uniform",
    "var",
    "warp_images",
    "where",
    "write_now",
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
# What is written in place: its own memory, never a copy.
OutputLike: typing.TypeAlias = Array | _HasArray | numpy.ndarray[typing.Any, typing.Any] | _HasDLPack
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

      bfloat16
    """

    __members__: typing.ClassVar[dict[str, DType]]
    bfloat16: typing.ClassVar[DType]
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
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: DType) -> builtins.bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> builtins.bool: ...
    def __reduce__(self) -> tuple[type, tuple[int]]: ...
    def __repr__(self) -> str: ...
    def __str__(self) -> str: ...
    @property
    def is_floating_point(self) -> builtins.bool:
        """
        float32, float64 or bfloat16.
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

class MemoryFormat:
    """
    The order in which the elements of an array (N, C, H, W) lie in memory: contiguous_format, channels_last (N, H, W, C), preserve_format.

    Members:

      contiguous_format

      channels_last

      preserve_format
    """

    __members__: typing.ClassVar[dict[str, MemoryFormat]]
    channels_last: typing.ClassVar[MemoryFormat]
    contiguous_format: typing.ClassVar[MemoryFormat]
    preserve_format: typing.ClassVar[MemoryFormat]
    @typing.overload
    def __eq__(self, other: MemoryFormat) -> bool: ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool: ...
    def __hash__(self) -> int: ...
    def __index__(self) -> int: ...
    def __int__(self) -> int: ...
    @typing.overload
    def __ne__(self, other: MemoryFormat) -> bool: ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool: ...
    def __reduce__(self) -> tuple[type, tuple[int]]: ...
    def __repr__(self) -> str: ...
    def __str__(self) -> str: ...
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
    def contiguous(self, memory_format: MemoryFormat = MemoryFormat.contiguous_format) -> Array:
        """
        Itself where it lies so without gaps, else a copy. ValueError for channels_last of a rank other than 4.
        """
    def expand(self, shape: Ints) -> Array:
        """
        A view broadcast to `shape`; -1 keeps an axis.
        """
    def is_contiguous(self, memory_format: MemoryFormat = MemoryFormat.contiguous_format) -> bool:
        """
        Row-major without gaps; or so with the channels last. Sizes of 1 may make both true.
        """
    def item(self) -> typing.Any:
        """
        The one element as a Python number.
        """
    def numpy(self) -> numpy.ndarray:
        """
        A NumPy array over the same memory. TypeError for bfloat16, which NumPy lacks.
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
    def memory_format(self) -> MemoryFormat:
        """
        channels_last where the strides of a rank of 4 say so, else contiguous_format.
        """
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

class CudaStream:
    """
    A queue of work on a CUDA device; see weft.cuda.Stream. RuntimeError where the device cannot be used.
    """
    def __eq__(self, arg0: typing.Any) -> bool: ...
    def __hash__(self) -> int: ...
    def __init__(self, device: int = 0) -> None: ...
    def query(self) -> bool:
        """
        Whether all work is done.
        """
    def synchronize(self) -> None:
        """
        Waits for all work so far. What went wrong on the device is raised here: RuntimeError, or what a check in a replay found.
        """
    def wait_stream(self, other: CudaStream) -> None:
        """
        What is given to this stream from now on runs after what `other` has so far.
        """
    @property
    def device(self) -> str: ...
    @property
    def handle(self) -> int:
        """
        The cudaStream_t as an int, for other libraries.
        """

class CudaEvent:
    """
    A point in a stream; see weft.cuda.Event.
    """
    def __init__(self, device: int = 0, enable_timing: bool = True) -> None: ...
    def milliseconds_since(self, earlier: CudaEvent) -> float:
        """
        The device's time between two points that were reached.
        """
    def query(self) -> bool:
        """
        Whether the point is reached.
        """
    def record(self, stream: CudaStream) -> None:
        """
        Marks the point after all work that the stream has so far.
        """
    def synchronize(self) -> None:
        """
        Waits until the point is reached.
        """
    def wait(self, stream: CudaStream) -> None:
        """
        What the stream is given from now on runs after the point.
        """

class Generator:
    """
    A stream of random numbers (Philox4x32-10): a seed, and an offset that counts the blocks of four 32-bit words used so far.
    """
    def __init__(self, seed: int = 0, device: str | None = None) -> None:
        """
        seed: an int from -2^63 to 2^64 - 1. ValueError for another one. device: whose arrays it fills, by default the cpu's; the numbers are the same on each.
        """
    def get_state(self) -> tuple[int, int]:
        """
        (seed, offset).
        """
    def manual_seed(self, seed: int) -> Generator:
        """
        Starts the stream of a seed; returns the generator.
        """
    def set_state(self, state: tuple[int, int]) -> None:
        """
        Goes to a state that get_state gave.
        """
    @property
    def device(self) -> str:
        """
        Whose arrays it fills.
        """
    @property
    def offset(self) -> int:
        """
        How many blocks of four words were used.
        """
    @property
    def seed(self) -> int:
        """
        The seed.
        """

class Replay:
    """
    Records the kernels that a thread runs, and runs them again without Python; see weft.capture. strict: reading an element on the host while recording is a RuntimeError; else it is noted in `reason` and nothing is recorded. All of it runs on one device; on CUDA it becomes one graph. Threads use it one after the other: whoever comes while another one records or replays waits.
    """
    def __init__(self, strict: bool = True, device: str | None = None) -> None: ...
    def begin(self) -> None:
        """
        Until end(), runs and keeps every kernel of this thread; new arrays come from a pool of its own. RuntimeError inside of another capture, and where it is recorded already.
        """
    def call(self, inputs: collections.abc.Sequence[ArrayLike], copy_outputs: bool = True) -> list[Array]:
        """
        Copies the inputs in, runs what was recorded and returns the outputs: copies, or the recorded arrays that the next call overwrites. ValueError or TypeError for other shapes or dtypes than recorded; RuntimeError where nothing was recorded.
        """
    def end(self) -> None:
        """
        Ends watch() or begin(), in the same thread.
        """
    def launches(self) -> list[tuple[str, int]]:
        """
        (name, bytes of the arrays that it touches) of every kernel, in order.
        """
    def memory(self) -> dict[str, int]:
        """
        The pool: bytes reserved, in use at most (peak) and still held (allocated); how many blocks serve how many arrays.
        """
    def set_inputs(self, inputs: collections.abc.Sequence[ArrayLike]) -> None:
        """
        The arrays into which call() copies its arguments.
        """
    def set_outputs(self, outputs: collections.abc.Sequence[ArrayLike]) -> None:
        """
        The arrays that call() returns.
        """
    def watch(self) -> None:
        """
        Until end(), only looks for reads on the host. RuntimeError inside of another capture.
        """
    @property
    def complete(self) -> bool:
        """
        Something was recorded.
        """
    @property
    def device(self) -> str:
        """
        Where everything in it runs.
        """
    @property
    def graph_nodes(self) -> int:
        """
        How many nodes its CUDA graph has; 0 before the first call, and on the cpu.
        """
    @property
    def inputs(self) -> list[Array]:
        """
        The arrays into which call() copies its arguments.
        """
    @property
    def outputs(self) -> list[Array]:
        """
        The recorded arrays that hold the results.
        """
    @property
    def reason(self) -> str | None:
        """
        Why nothing was recorded, or None.
        """

def abs(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    |x|.

    x: any shape and strides; any dtype but bool, kept. Integers that do not fit wrap around.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def activation_backward(kind: str, dout: ArrayLike, saved: ArrayLike, alpha: float = 0.0) -> Array:
    """
    dout times the derivative of the activation `kind` ('relu', 'gelu_tanh', ...).

    saved: the activation's output for sigmoid, tanh and relu, its input for the others. alpha: the parameter of leaky_relu, elu and softplus (beta).
    """

def adagrad_step(
    param: OutputLike,
    grad: ArrayLike,
    square_sum: OutputLike,
    lr: ArrayLike,
    step: OutputLike,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
) -> None:
    """
    s += g^2; w -= lr / (1 + (step - 1) lr_decay) g / (sqrt(s) + eps), s = square_sum (Duchi et al. 2011).

    param, grad and the state arrays: one shape, float32 or float64; param and the state are updated in place and must be contiguous. lr: float64, shape (), or (2,) where the second value is read in place of momentum (beta1). step: int64, shape (): how many steps were made before, counted up by one; in the formulas step is this one's number, from 1 on. maximize: goes up the gradient.
    ValueError for other shapes and for values out of range; TypeError for other dtypes.
    """

def adam_step(
    param: OutputLike,
    grad: ArrayLike,
    first_moment: OutputLike,
    second_moment: OutputLike,
    lr: ArrayLike,
    step: OutputLike,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> None:
    """
    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w -= lr / (1 - beta1^step) m / (sqrt(v / (1 - beta2^step)) + eps) (Kingma, Ba 2015). decoupled: AdamW, w -= lr weight_decay w instead of the decay in g (Loshchilov, Hutter 2019).

    param, grad and the state arrays: one shape, float32 or float64; param and the state are updated in place and must be contiguous. lr: float64, shape (), or (2,) where the second value is read in place of momentum (beta1). step: int64, shape (): how many steps were made before, counted up by one; in the formulas step is this one's number, from 1 on. maximize: goes up the gradient.
    ValueError for other shapes and for values out of range; TypeError for other dtypes.
    """

def adaptive_avg_pool2d(x: ArrayLike, output_size: Ints) -> Array:
    """
    The mean over windows that give the output size (P, Q): rows floor(i H / P) to ceil((i + 1) H / P).

    x: (N, C, H, W) or (C, H, W), float32 or float64. ValueError for another rank or a size below 1.
    """

def adaptive_avg_pool2d_backward(dout: ArrayLike, input_size: Ints) -> Array:
    """
    The gradient of adaptive_avg_pool2d by its input. dout: the output's shape. Returns shape input_size.
    """

def adaptive_max_pool2d(x: ArrayLike, output_size: Ints) -> tuple[Array, Array]:
    """
    (out, index) of the maximum over the windows of adaptive_avg_pool2d; index int32, h * W + w.

    x: (N, C, H, W) or (C, H, W), float32 or float64. ValueError for another rank or a size below 1.
    """

def add(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a + b.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool, kept. Integers that do not fit wrap around.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def all(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    Whether every element differs from 0; True for no elements.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; any dtype; bool comes out.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def any(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    Whether some element differs from 0; False for no elements.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; any dtype; bool comes out.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def arange(
    start: typing.Any,
    stop: typing.Any = None,
    step: typing.Any = 1,
    dtype: DTypeLike | None = None,
    device: str | None = None,
) -> Array:
    """
    start, start + step, ... up to but without stop; arange(n) starts at 0.

    Returns rank 1; int64 for ints, float32 if one of them is a float, unless dtype is given.
    ValueError for a step of 0.
    """

def argmax(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    The index of the largest element: the first of equal ones, or of the first NaN. Without an axis it counts through the flattened array.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; any dtype; int64 comes out. ValueError for several axes or no elements.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def argmin(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    The index of the smallest element: the first of equal ones, or of the first NaN. Without an axis it counts through the flattened array.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; any dtype; int64 comes out. ValueError for several axes or no elements.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def asarray(x: ArrayLike, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """
    An Array over the memory of a NumPy array, a Tensor or anything with __dlpack__, without a copy where the dtype and the device allow it. Numbers and nested lists are copied; Python floats become float32. What comes from the host goes to the default device, unless `device` says where.
    """

def attributes_are(objects: list[typing.Any], names: list[str], values: list[typing.Any]) -> bool:
    """
    Whether objects[i].names[i] is values[i] (the same object) for all i. ValueError for lists of different lengths.
    """

def available_isas() -> list[str]:
    """
    The instruction sets that this build and this processor have, best last; 'reference' are the naive kernels.
    """

def avg_pool2d(
    x: ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """
    The mean of each window.

    x: (N, C, H, W) or (C, H, W), float32 or float64. stride: kernel_size where None. Output height floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1; ceil_mode rounds up, but no window starts in the padding at the end. The divisor is the window's size with padding (count_include_pad) or without, or divisor_override.
    ValueError for another rank, a stride or kernel below 1, a padding above half of the kernel, a kernel larger than the padded image; TypeError for another dtype.
    """

def avg_pool2d_backward(
    dout: ArrayLike,
    input_size: Ints,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """
    The gradient of avg_pool2d by its input: each element of dout, divided as in the forward pass, added to every element of its window.

    dout: the output's shape. Returns shape input_size. Errors as in avg_pool2d.
    """

def batch_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    running_mean: OutputLike | None = None,
    running_var: OutputLike | None = None,
    num_batches_tracked: OutputLike | None = None,
    residual: ArrayLike | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-05,
    relu: bool = False,
) -> tuple[Array, Array, Array]:
    """
    (x - mean) / sqrt(var + eps) weight + bias for each channel (Ioffe, Szegedy 2015), then + residual, then ReLU where asked for. Returns (out, mean, 1 / sqrt(var + eps)).

    x: (N, C, ...), float32 or float64; residual has its shape, weight, bias and the running statistics (C,). In training mean and variance are those of x over all axes but C, and the running ones are updated in place with momentum (None: the mean of all so far) and the unbiased variance, num_batches_tracked (int64, shape ()) by 1; else the running ones are used.
    ValueError for shapes that do not fit, for one value a channel in training, and for options out of range; TypeError for dtypes.
    """

def batch_norm_backward(
    dout: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    inv_std: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    out: ArrayLike | None = None,
    training: bool = True,
    relu: bool = False,
    need_x: bool = True,
    need_weight: bool = True,
    need_bias: bool = True,
    need_residual: bool = False,
) -> tuple[Array | None, Array | None, Array | None, Array | None]:
    """
    The gradients (dx, dweight, dbias, dresidual) of batch_norm, None where not asked for.

    mean, inv_std: as batch_norm returned them; out: its output, needed where relu followed a residual.
    """

def bernoulli(
    shape: Ints, p: float, dtype: DTypeLike = "float32", generator: Generator | None = None, device: str | None = None
) -> Array:
    """
    1 with probability p, else 0. ValueError unless 0 <= p <= 1.
    """

def bfloat16_bits(x: typing.Any) -> numpy.ndarray:
    """
    The memory of a bfloat16 array as a NumPy array of uint16, without a copy.
    """

def bfloat16_from_bits(bits: numpy.ndarray) -> Array:
    """
    A bfloat16 Array over the memory of a NumPy array of uint16, without a copy where its strides allow.
    """

def binary_cross_entropy(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """
    -weight (t log x + (1 - t) log(1 - x)) for probabilities x, each logarithm at least -100. weight: broadcasts to the input.

    input, target: one shape, one dtype, float32 or float64. reduction: 'mean', 'sum' (shape ()) or 'none' (the input's shape).
    ValueError for different shapes or another reduction; TypeError for dtypes.
    """

def binary_cross_entropy_with_logits(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, reduction: str = "mean"
) -> Array:
    """
    weight (max(x, 0) - x t + log(1 + exp(-|x|))) for logits x. weight: broadcasts to the input.

    input, target: one shape, one dtype, float32 or float64. reduction: 'mean', 'sum' (shape ()) or 'none' (the input's shape).
    ValueError for different shapes or another reduction; TypeError for dtypes.
    """

def cast(x: ArrayLike, dtype: DTypeLike) -> Array:
    """
    A new array of another dtype, in the memory order of x. Floats are cut towards zero; anything but 0 is True.
    """

def cat(arrays: collections.abc.Sequence[ArrayLike], axis: int = 0) -> Array:
    """
    The arrays joined along an axis.

    arrays: a sequence, of one dtype, shapes the same but for the axis.
    ValueError for no arrays or other shapes; TypeError for different dtypes.
    """

def ceil(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The smallest whole number that is not below x.

    x: any shape and strides; any dtype but bool, kept. Integers that do not fit wrap around.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def clip(x: ArrayLike, min: float | None = None, max: float | None = None, out: OutputLike | None = None) -> Array:
    """
    min where x is below it, max where x is above it, else x; NaN stays.

    x: any shape and strides, any dtype but bool, kept; bounds of integers are rounded inwards.
    out: the array to write into (it may be x), else a new one.
    ValueError where min > max.
    """

def clip_grad_norm(grads: collections.abc.Sequence[OutputLike], max_norm: float) -> Array:
    """
    The L2 norm of all arrays together, float64 of shape (); each is scaled in place by min(1, max_norm / (norm + 1e-6)) (Pascanu et al. 2013).

    grads: a sequence, float32 or float64. An infinite max_norm only measures. A norm of NaN makes all of them NaN.
    ValueError for a negative max_norm or a read-only array.
    """

def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
    activation: str = "none",
) -> Array:
    """
    Two-dimensional convolution (cross-correlation).

    out[n,k,p,q] = bias[k] + sum over c, r, s of x[n, c, p stride + r dilation - padding, q ...] weight[k,c,r,s]

    x: (N, C, H, W) or (C, H, W); weight: (K, C/groups, R, S); bias: (K,); float32 or float64. stride, dilation: an int or a pair. padding: an int, (h, w), (top, bottom, left, right), 'same' or 'valid'. Returns (N, K, P, Q) with P = floor((H + padding - dilation (R-1) - 1) / stride) + 1.
    ValueError for shapes that do not fit, a kernel larger than the padded input, stride or dilation below 1, negative padding, groups that do not divide; TypeError for other or different dtypes.
    Source: Dumoulin, Visin, A guide to convolution arithmetic for deep learning, 2016.
    """

def conv2d_backward_bias(dout: ArrayLike) -> Array:
    """
    The gradient of conv2d by its bias: the sum of dout (N, K, P, Q) over all but K.
    """

def conv2d_backward_input(
    dout: ArrayLike,
    weight: ArrayLike,
    input_size: Ints,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Array:
    """
    The gradient of conv2d by its input.

    dout: (N, K, P, Q), the gradient of the output; weight: (K, C/groups, R, S); input_size: (N, C, H, W). Options as in conv2d. Returns (N, C, H, W).
    ValueError where dout does not have the output's shape.
    """

def conv2d_backward_weight(
    dout: ArrayLike,
    x: ArrayLike,
    weight_size: Ints,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
    bias: bool = False,
) -> Array | tuple[Array, Array]:
    """
    The gradient of conv2d by its weight, and with bias=True that of the bias too, in one pass.

    dout: (N, K, P, Q), x: (N, C, H, W), weight_size: (K, C/groups, R, S). Options as in conv2d. Returns dw (K, C/groups, R, S), or (dw, db) with db (K,).
    ValueError where dout does not have the output's shape.
    """

def conv2d_output_size(
    input_size: Ints, weight_size: Ints, stride: Ints = 1, padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1
) -> tuple[int, ...]:
    """
    The shape of conv2d's output, (N, K, P, Q), from the shapes of its input and weight. Errors as in conv2d.
    """

def conv2d_relu_max_pool2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    kernel_size: Ints = 2,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> tuple[Array, Array]:
    """
    max_pool2d(relu(conv2d(x, weight, bias)), kernel_size) in one operation.

    Options as in conv2d; kernel_size: the pooling window, which is also its stride. Returns (out, winner): out (N, K, P // height, Q // width), winner uint8 of its shape: the place u * width + v of the first largest element in its window, 64 where ReLU left nothing; of NaNs the last.
    ValueError for a window larger than the convolution's output or of more than 64 elements, and as in conv2d.
    """

def conv2d_relu_max_pool2d_backward(
    dout: ArrayLike,
    winner: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    kernel_size: Ints = 2,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
    need_x: bool = True,
    need_weight: bool = True,
    need_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """
    The gradients of conv2d_relu_max_pool2d by x, weight and bias, each None where not asked for.

    dout and winner: of the output's shape. Only the products of gradients that passed ReLU and the maximum are made.
    ValueError where dout or winner does not have the output's shape.
    """

def conv_precision() -> str:
    """
    The setting of set_conv_precision.
    """

def copy(x: ArrayLike, memory_format: MemoryFormat = MemoryFormat.preserve_format) -> Array:
    """
    A new array without gaps, in the memory order of x or in a given one.
    """

def copy_into(out: OutputLike, x: ArrayLike) -> None:
    """
    Copies x, broadcast and cast, into the elements of out.
    """

def cos(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The cosine of x in radians.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    need_grad: bool = False,
) -> tuple[Array, Array | None]:
    """
    Cross-entropy from logits: softmax, negative log-likelihood and their gradient in one kernel.

    -sum over c of q_c weight_c log softmax(logits)_c, with q one-hot of the class index or given probabilities, smoothed to (1-e) q + e/C. 'mean' divides by the sum of weight[target] over the rows that count (class indices) or by the number of rows (probabilities).

    logits: (C), (N, C) or (N, C, d1, ...), float32 or float64. target: integers of shape (), (N) or (N, d1, ...), 0 <= target < C or ignore_index; or probabilities of the logits' shape and dtype. weight: (C,). Returns (loss, dlogits): the loss, and with need_grad its gradient by the logits (for 'none': of each row's loss), else None.
    IndexError for a target that is no class; TypeError for a float target of another shape; ValueError for shapes that do not fit.
    """

def cross_entropy_backward(dout: ArrayLike, dlogits: Array, reduction: str = "mean", in_place: bool = False) -> Array:
    """
    The gradient by the logits for a gradient dout of the loss: cross_entropy's dlogits times dout, row by row for reduction 'none'. in_place: dlogits itself is multiplied and returned, which costs nothing where dout is 1.
    """

def cuda_built() -> bool:
    """
    Whether this build has the CUDA backend.
    """

def cuda_current_stream(device: int = 0) -> CudaStream:
    """
    The stream of this thread on a device.
    """

def cuda_device_count() -> int:
    """
    The number of CUDA devices that can be used.
    """

def cuda_device_info(device: int = 0) -> dict[str, typing.Any]:
    """
    name, major, minor (compute capability), multiprocessors, total_memory, free_memory, l2_bytes.
    """

def cuda_empty_cache(device: int = 0) -> None:
    """
    Gives the memory kept for later back to the device, after waiting for it.
    """

def cuda_emulated() -> bool:
    """
    Whether the backend's kernels run in the emulator, on the CPU.
    """

def cuda_memory_stats(device: int = 0) -> dict[str, int]:
    """
    A device's allocator's counters: as memory_stats() for the CPU.
    """

def cuda_reset_peak_memory(device: int = 0) -> None:
    """
    Sets the peak to what is allocated now.
    """

def cuda_set_stream(stream: CudaStream) -> None:
    """
    Makes a stream this thread's own on its device.
    """

def cuda_synchronize(device: int = 0) -> None:
    """
    Waits for all streams of a device; raises what went wrong there.
    """

def cuda_unavailable_reason() -> str:
    """
    Why cuda_device_count() is 0; empty where it is not.
    """

def cuda_versions() -> dict[str, typing.Any]:
    """
    driver and runtime as 1000 major + 10 minor, 0 for none; architectures that kernels were built for.
    """

def default_device() -> str:
    """
    Where new arrays come to lie when nothing else is said.
    """

def default_generator(device: str | None = None) -> Generator:
    """
    The generator that functions use where none is given: one for each device.
    """

def div(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a / b, true division.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool. Integers give float32.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def dropout(x: ArrayLike, p: float, generator: Generator | None = None) -> tuple[Array, Array]:
    """
    (out, mask): each element is dropped with probability p, out = x mask / (1 - p) (Srivastava et al. 2014).

    x: any shape, float32 or float64. mask: uint8, 1 where x was kept. ValueError unless 0 <= p <= 1.
    """

def dropout_backward(dout: ArrayLike, mask: ArrayLike, p: float) -> Array:
    """
    The gradient of dropout by its input: dout mask / (1 - p).

    mask: as dropout gave it.
    """

def elu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """
    x if x > 0 else alpha * (exp(x) - 1) (Clevert et al. 2015).

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def empty(shape: Ints, dtype: DTypeLike = "float32", device: str | None = None) -> Array:
    """
    An array of `shape` whose elements are not set.
    """

def empty_cache() -> None:
    """
    Gives the memory kept for later back to the system.
    """

def empty_like(x: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """
    An array of x's shape, memory order and dtype whose elements are not set.
    """

def eq(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a == b.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def erf(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def erfc(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    1 - erf(x), exact where erf(x) is near 1.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def exp(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    e to the power x.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def expm1(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    exp(x) - 1, exact near 0.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def fill(out: OutputLike, value: typing.Any) -> None:
    """
    Sets every element of out to one number.
    """

def fill_bernoulli(out: OutputLike, p: float, generator: Generator | None = None) -> None:
    """
    Fills an array in place with what bernoulli draws.
    """

def fill_normal(out: OutputLike, mean: float, std: float, generator: Generator | None = None) -> None:
    """
    Fills an array in place with what normal draws.
    """

def fill_uniform(out: OutputLike, low: float, high: float, generator: Generator | None = None) -> None:
    """
    Fills an array in place with what uniform draws.
    """

def floor(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The largest whole number that is not above x.

    x: any shape and strides; any dtype but bool, kept. Integers that do not fit wrap around.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def floor_divide(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    floor(a / b). An integer divided by 0 gives 0.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool, kept. Integers that do not fit wrap around.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def fma_loop(iterations: int, device: str | None = None) -> Array:
    """
    Multiplies and adds in registers on every thread, for nothing: timing it gives the peak of the device or of the instruction set in use. Returns the floating-point operations that each thread did, float64 of shape (num_threads(),) on the CPU and (1,) on another device.
    ValueError for negative iterations.
    """

def full(shape: Ints, value: typing.Any, dtype: DTypeLike = "float32", device: str | None = None) -> Array:
    """
    An array filled with one number.
    """

def gather(x: ArrayLike, axis: int, index: ArrayLike) -> Array:
    """
    out[i, j, k] = x[i, index[i, j, k], k], here for axis 1 of three.

    x: any shape, any dtype. index: int64 or int32, x's shape but for the axis, -n <= index < n. Returns index's shape.
    IndexError for an index out of range.
    """

def gather_images(images: ArrayLike, index: ArrayLike, scale: ArrayLike, shift: ArrayLike, check: bool = True) -> Array:
    """
    out[i] = images[index[i]] * scale + shift, by channel: a normalized batch in one pass.

    images: uint8 (n, C, H, W). index: int64 (count,). scale, shift: float32 (C,); for a mean m and a standard deviation s on the 0..1 scale 1 / (255 s) and -m / s. Returns float32 (count, C, H, W).
    check=False leaves out the check of the indices, and is unsafe: one out of range then reads foreign memory. IndexError for an image that does not exist.
    """

def ge(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a >= b.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def gelu(x: ArrayLike) -> Array:
    """
    x * Phi(x), with the normal distribution Phi by erf (Hendrycks, Gimpel 2016).

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def gelu_tanh(x: ArrayLike) -> Array:
    """
    x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))), the approximation of gelu.

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def gemm(
    a: ArrayLike,
    b: ArrayLike,
    c: ArrayLike | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transpose_a: bool = False,
    transpose_b: bool = False,
    bias: ArrayLike | None = None,
    activation: str = "none",
    out_dtype: DTypeLike | None = None,
) -> Array:
    """
    f(alpha op(a) op(b) + beta c + bias), in one pass.

    op(a): (M, K), op(b): (K, N), or (batch, M, K) and (batch, K, N); op transposes the two last axes where asked. c: broadcasts to the result. bias: (N,). activation: 'none' or the name of one, with its standard parameter. Returns a new (M, N) or (batch, M, N).
    float32, float64 or bfloat16; bfloat16 is summed in float32 and rounded once, or with out_dtype='float32' not at all (c then is float32).
    ValueError for shapes that do not fit; TypeError for other dtypes.
    """

def group_norm(
    x: ArrayLike, num_groups: int, weight: ArrayLike | None = None, bias: ArrayLike | None = None, eps: float = 1e-05
) -> tuple[Array, Array, Array]:
    """
    (x - mean) / sqrt(var + eps) weight + bias, mean and variance over the channels of each group and all their places (Wu, He 2018). Returns (out, mean, 1 / sqrt(var + eps)), the last two of shape (N * num_groups,).

    x: (N, C, ...), float32 or float64; weight and bias: (C,).
    ValueError where num_groups does not divide C and for other shapes; TypeError for dtypes.
    """

def group_norm_backward(
    dout: ArrayLike,
    x: ArrayLike,
    num_groups: int,
    mean: ArrayLike,
    inv_std: ArrayLike,
    weight: ArrayLike | None = None,
    need_x: bool = True,
    need_weight: bool = True,
    need_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """
    The gradients (dx, dweight, dbias) of group_norm, None where not asked for.
    """

def gt(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a > b.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def hinge_loss(input: ArrayLike, target: ArrayLike, margin: float = 1.0, reduction: str = "mean") -> Array:
    """
    max(0, margin - target * input), target -1 or 1.

    input, target: one shape, one dtype, float32 or float64. reduction: 'mean', 'sum' (shape ()) or 'none' (the input's shape).
    ValueError for different shapes or another reduction; TypeError for dtypes.
    """

def huber_loss(input: ArrayLike, target: ArrayLike, delta: float = 1.0, reduction: str = "mean") -> Array:
    """
    d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target (Huber 1964).

    input, target: one shape, one dtype, float32 or float64. reduction: 'mean', 'sum' (shape ()) or 'none' (the input's shape).
    ValueError for different shapes or another reduction; TypeError for dtypes.
    """

def in_capture() -> bool:
    """
    Whether this thread records, or watches for it.
    """

def index_add(out: OutputLike, axis: int, index: ArrayLike, x: ArrayLike) -> None:
    """
    out[..., index[i], ...] += x[..., i, ...] in place, in the order of i: the gradient of index_select.

    out: contiguous, any dtype but bool. x: out's dtype and its shape with `count` along the axis. index: as in index_select.
    ValueError for other shapes; IndexError for an index out of range.
    """

def index_select(x: ArrayLike, axis: int, index: ArrayLike, check: bool = True) -> Array:
    """
    out[..., i, ...] = x[..., index[i], ...] along one axis.

    x: any shape, any dtype. index: int64 or int32, shape (count,), -n <= index < n; negative ones count from the end. Returns x's shape with `count` along the axis. check=False leaves out the check of the indices, and is unsafe: one out of range then reads foreign memory.
    IndexError for an index out of range.
    """

def isa() -> str:
    """
    The instruction set in use.
    """

def isfinite(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    Whether x is neither NaN nor infinite.

    x: any shape and strides; any dtype. Returns bool.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def isnan(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    Whether x is NaN.

    x: any shape and strides; any dtype. Returns bool.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def kernel_sources() -> list[tuple[str, str, str, str]]:
    """
    Of every kernel: its name, and file:line of its entry point in csrc/cpu, csrc/reference and csrc/cuda.
    """

def l1_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Array:
    """
    |input - target|; the derivative at 0 is 0.

    input, target: one shape, one dtype, float32 or float64. reduction: 'mean', 'sum' (shape ()) or 'none' (the input's shape).
    ValueError for different shapes or another reduction; TypeError for dtypes.
    """

def layer_norm(
    x: ArrayLike,
    normalized_shape: Ints,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-05,
) -> tuple[Array, Array, Array]:
    """
    (x - mean) / sqrt(var + eps) weight + bias over the last axes (Ba, Kiros, Hinton 2016). Returns (out, mean, 1 / sqrt(var + eps)), the last two with one value a row.

    x: float32 or float64, its last axes of shape normalized_shape, which weight and bias have too.
    ValueError for shapes that do not fit; TypeError for dtypes.
    """

def layer_norm_backward(
    dout: ArrayLike,
    x: ArrayLike,
    normalized_shape: Ints,
    mean: ArrayLike,
    inv_std: ArrayLike,
    weight: ArrayLike | None = None,
    need_x: bool = True,
    need_weight: bool = True,
    need_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """
    The gradients (dx, dweight, dbias) of layer_norm, None where not asked for.
    """

def le(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a <= b.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Array:
    """
    x if x > 0 else negative_slope * x (Maas et al. 2013).

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, activation: str = "none") -> Array:
    """
    f(x weight^T + bias), the fully connected layer.

    x: (..., in), weight: (out, in), bias: (out,); returns (..., out). activation: 'none', 'relu', 'sigmoid', 'tanh', 'gelu', ...
    ValueError for shapes that do not fit; TypeError for other dtypes.
    """

def linear_backward(
    dout: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    y: ArrayLike | None = None,
    activation: str = "none",
    need_x: bool = True,
    need_weight: bool = True,
    need_bias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """
    The gradients of linear by x, weight and bias, each None where not asked for, in one launch.

    dout: (..., out), x: (..., in), weight: (out, in). y: what linear made, (..., out), where its activation was 'relu', 'sigmoid' or 'tanh'; None for 'none'.
    ValueError for shapes that do not fit and for other activations; TypeError for other dtypes.
    """

def log(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The natural logarithm; -inf at 0, NaN below.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def log1p(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    log(1 + x), exact near 0.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def log_softmax(x: ArrayLike, axis: int = -1) -> Array:
    """
    x_i - max x - log sum over j of exp(x_j - max x), along one axis.

    x: any shape, float32 or float64. Returns the same shape and dtype. A row with NaN or +inf, or only -inf, gives NaN.
    IndexError for an axis out of range.
    """

def log_softmax_backward(dout: ArrayLike, out: ArrayLike, axis: int = -1) -> Array:
    """
    The gradient of log_softmax by its input, from its output `out`.
    """

def logical_and(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    Whether both differ from 0.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def logical_not(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    Whether x is 0.

    x: any shape and strides; any dtype. Returns bool.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def logical_or(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    Whether one or both differ from 0.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def logical_xor(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    Whether exactly one differs from 0.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def lp_pool2d(
    x: ArrayLike, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
) -> Array:
    """
    (sum |x|^p)^(1/p) over each window, p = norm_type > 0.

    x: (N, C, H, W) or (C, H, W), float32 or float64. stride: kernel_size where None. Output height floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1; ceil_mode rounds up, but no window starts in the padding at the end.
    ValueError for another rank, a stride or kernel below 1, a padding above half of the kernel, a kernel larger than the padded image; TypeError for another dtype.
    """

def lp_pool2d_backward(
    dout: ArrayLike,
    x: ArrayLike,
    out: ArrayLike,
    norm_type: float,
    kernel_size: Ints,
    stride: Ints | None = None,
    ceil_mode: bool = False,
) -> Array:
    """
    The gradient of lp_pool2d by its input: dout * sign(x) * (|x| / out)^(p - 1), summed over the windows; 0 where x or out is 0.

    x, out: input and output of the forward pass. Errors as in lp_pool2d.
    """

def lt(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a < b.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def manual_seed(seed: int) -> Generator:
    """
    Starts the stream of a seed in the default generators of all devices; returns that of the default device.
    """

def matmul(a: ArrayLike, b: ArrayLike) -> Array:
    """
    Matrix product, as numpy.matmul.

    a: (..., M, K), b: (..., K, N), the leading axes broadcast; returns (..., M, N). A vector counts as a row on the left and as a column on the right. float32, float64, or bfloat16 (summed in float32); strided operands are read where they lie.
    ValueError where K differs; TypeError for other or different dtypes.
    """

def max(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    The largest element; NaN if there is one.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; any dtype, kept. ValueError where there are no elements to reduce.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def max_pool2d(
    x: ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    """
    The maximum of each window.

    x: (N, C, H, W) or (C, H, W), float32 or float64. stride: kernel_size where None. Output height floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1; ceil_mode rounds up, but no window starts in the padding at the end. Returns (out, index): index int32, h * W + w of the first extreme element of each window. NaN wins. Padding never wins.
    ValueError for another rank, a stride or kernel below 1, a padding above half of the kernel, a kernel larger than the padded image; TypeError for another dtype.
    """

def max_pool2d_backward(
    dout: ArrayLike,
    index: ArrayLike,
    input_size: Ints,
    kernel_size: Ints | None = None,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Array:
    """
    The gradient of max_pool2d, min_pool2d and adaptive_max_pool2d by their input: dx[index] += dout, else 0.

    dout, index: the output's shape; index int32, as the forward pass gave it (one outside of the image adds nothing). kernel_size and on: the forward pass's windows. They may be left out, and then any index is one of the plane; with them a device can be quicker, and an index outside of its window may add nothing. Returns shape input_size.
    ValueError for shapes that do not fit.
    """

def maximum(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The larger one; NaN if one is NaN.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool, kept. Integers that do not fit wrap around.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def mean(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    The arithmetic mean; NaN for no elements.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; float32, float64 or bfloat16, kept.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def memory_stats() -> dict[str, int]:
    """
    The CPU allocator's counters: bytes allocated (in use), reserved (in use and kept) and peak; allocations served from kept blocks (hits) and by the system (misses).
    """

def min(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    The smallest element; NaN if there is one.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; any dtype, kept. ValueError where there are no elements to reduce.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def min_pool2d(
    x: ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    """
    The minimum of each window.

    x: (N, C, H, W) or (C, H, W), float32 or float64. stride: kernel_size where None. Output height floor((H + 2 padding - dilation (R - 1) - 1) / stride) + 1; ceil_mode rounds up, but no window starts in the padding at the end. Returns (out, index): index int32, h * W + w of the first extreme element of each window. NaN wins. Padding never wins.
    ValueError for another rank, a stride or kernel below 1, a padding above half of the kernel, a kernel larger than the padded image; TypeError for another dtype.
    """

def minimum(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The smaller one; NaN if one is NaN.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool, kept. Integers that do not fit wrap around.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def mse_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Array:
    """
    (input - target)^2.

    input, target: one shape, one dtype, float32 or float64. reduction: 'mean', 'sum' (shape ()) or 'none' (the input's shape).
    ValueError for different shapes or another reduction; TypeError for dtypes.
    """

def mul(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a * b.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool, kept. Integers that do not fit wrap around.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def ne(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a != b; True where one is NaN.

    a, b: shapes that broadcast as in NumPy; one dtype. Returns bool.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def neg(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    -x.

    x: any shape and strides; any dtype but bool, kept. Integers that do not fit wrap around.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def normal(
    shape: Ints,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    device: str | None = None,
) -> Array:
    """
    Numbers of the normal distribution (Box, Muller 1958).

    ValueError for a negative std; TypeError for a dtype other than float32 and float64.
    """

def num_threads() -> int:
    """
    How many threads a kernel may use; 1 after a fork.
    """

def one_hot(index: ArrayLike, num_classes: int = -1, dtype: DTypeLike = "int64") -> Array:
    """
    out[..., c] = 1 where index[...] is c, else 0.

    index: int64 or int32, any shape, 0 <= index < num_classes; -1 takes the largest index + 1 as num_classes.
    Returns shape index.shape + (num_classes,).
    IndexError for an index out of range.
    """

def ones(shape: Ints, dtype: DTypeLike = "float32", device: str | None = None) -> Array:
    """
    An array of ones.
    """

def pad(x: ArrayLike, before: Ints, after: Ints, value: float = 0.0) -> Array:
    """
    x with `value` around it: before[i] and after[i] elements along axis i. Negative widths crop.

    x: any shape, any dtype. Returns shape before + x.shape + after.
    ValueError where a width is missing, or crops more than there is.
    """

def pinned(x: ArrayLike) -> Array:
    """
    A copy in host memory that a device reads by itself.
    """

def pointwise_loss_backward(
    kind: str,
    dout: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    param: float = 1.0,
    need_input: bool = True,
    need_target: bool = False,
) -> tuple[Array | None, Array | None]:
    """
    The gradients (dinput, dtarget) of a pointwise loss; None for one that is not needed. kind: mse, l1, huber, bce, bce_with_logits, hinge; param: delta or margin; dout: the shape of the loss.
    """

def pow(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a to the power b. A negative power of an integer is cut to a whole number.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool, kept. Integers that do not fit wrap around.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def prod(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    The product; 1 for no elements.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; floats keep their dtype, integers and bool give int64.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def randint(
    shape: Ints,
    low: int,
    high: int,
    dtype: DTypeLike = "int64",
    generator: Generator | None = None,
    device: str | None = None,
) -> Array:
    """
    Integers drawn evenly from low <= i < high.

    ValueError unless low < high <= low + 2^32 and the dtype holds them all.
    """

def randperm(n: int, generator: Generator | None = None) -> Array:
    """
    A random order of 0 .. n-1 (Fisher, Yates), int64. ValueError for a negative n.
    """

def reciprocal(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    1 / x.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def relu(x: ArrayLike) -> Array:
    """
    max(x, 0) (Nair, Hinton 2010).

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def remainder(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a - b * floor(a / b), which has the sign of b. 0 for an integer b of 0.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool, kept. Integers that do not fit wrap around.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def reset_peak_memory() -> None:
    """
    Sets the peak to what is allocated now.
    """

def rmsprop_step(
    param: OutputLike,
    grad: ArrayLike,
    square_average: OutputLike,
    lr: ArrayLike,
    grad_average: OutputLike | None = None,
    momentum_buffer: OutputLike | None = None,
    alpha: float = 0.99,
    eps: float = 1e-08,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    maximize: bool = False,
    step: OutputLike | None = None,
) -> None:
    """
    s = alpha s + (1 - alpha) g^2; w -= lr g / (sqrt(s) + eps), s = square_average (Hinton's lecture 6e, 2012). Given grad_average a, centered: a = alpha a + (1 - alpha) g, sqrt(s - a^2). With momentum: b = momentum b + g / (...), w -= lr b.

    param, grad and the state arrays: one shape, float32 or float64; param and the state are updated in place and must be contiguous. lr: float64, shape (), or (2,) where the second value is read in place of momentum (beta1). step: int64, shape (): how many steps were made before, counted up by one; in the formulas step is this one's number, from 1 on. maximize: goes up the gradient.
    ValueError for other shapes and for values out of range; TypeError for other dtypes.
    """

def round(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The nearest whole number, halves to the even one.

    x: any shape and strides; any dtype but bool, kept. Integers that do not fit wrap around.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def rsqrt(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    1 / sqrt(x).

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def scatter_add(out: OutputLike, axis: int, index: ArrayLike, x: ArrayLike) -> None:
    """
    out[i, index[i, j, k], k] += x[i, j, k] in place, in the order of j: the gradient of gather.

    out: contiguous, any dtype but bool. x and index: one shape, out's but for the axis.
    ValueError for other shapes; IndexError for an index out of range.
    """

def set_conv_precision(precision: str) -> None:
    """
    Which methods a convolution may use, for the whole process: 'fast' (the default), 'accurate' or 'direct'.

    Each call takes the setting along when it is made; a captured step keeps those that it was captured with. ValueError for another name. See docs/convolution.md for the bounds of their errors.
    """

def set_default_device(device: str) -> None:
    """
    Of the whole process. RuntimeError where the device cannot be used.
    """

def set_destinations(places: collections.abc.Sequence[OutputLike]) -> None:
    """
    Wishes that the next new arrays of this thread with these shapes and dtypes lie there, each once; an empty list ends it. Whoever asks must look where the arrays came to lie.
    """

def set_isa(name: str) -> None:
    """
    Chooses the kernels of one instruction set for the whole process. ValueError if it is not available.
    """

def set_num_threads(count: int) -> None:
    """
    How many threads a kernel may use. ValueError below 1 and beyond 1023. Results have the same bits for any number.
    """

def set_poison(on: bool) -> None:
    """
    Fills every new array with NaN bytes, so that tests see an element that no kernel wrote.
    """

def set_site_hook(function: collections.abc.Callable[[], int]) -> None:
    """
    A function without arguments that is asked at each recorded launch where it comes from, and gives an int.
    """

def sgd_step(
    param: OutputLike,
    grad: ArrayLike,
    lr: ArrayLike,
    step: OutputLike,
    momentum_buffer: OutputLike | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> None:
    """
    w -= lr g, with g = grad + weight_decay w. With momentum: b = momentum b + (1 - dampening) g (b = g in the first step), w -= lr b; nesterov: w -= lr (g + momentum b) (Sutskever et al. 2013).

    param, grad and the state arrays: one shape, float32 or float64; param and the state are updated in place and must be contiguous. lr: float64, shape (), or (2,) where the second value is read in place of momentum (beta1). step: int64, shape (): how many steps were made before, counted up by one; in the formulas step is this one's number, from 1 on. maximize: goes up the gradient.
    ValueError for other shapes and for values out of range; TypeError for other dtypes.
    """

def sigmoid(x: ArrayLike) -> Array:
    """
    1 / (1 + exp(-x)).

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def sign(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    -1, 0 or 1; NaN for NaN.

    x: any shape and strides; any dtype but bool, kept. Integers that do not fit wrap around.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def signature(arrays: collections.abc.Sequence[ArrayLike]) -> bytes:
    """
    Bytes that are equal for arrays of equal shapes and dtypes.
    """

def signature_of_tensors(objects: tuple[typing.Any, ...], tensor: typing.Any) -> typing.Any:
    """
    signature() of the arrays of objects that are all exactly of the class `tensor`; else None.
    """

def silu(x: ArrayLike) -> Array:
    """
    x * sigmoid(x) (Elfwing et al. 2017).

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def sin(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The sine of x in radians.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def softmax(x: ArrayLike, axis: int = -1) -> Array:
    """
    exp(x_i - max x) / sum over j of exp(x_j - max x), along one axis.

    x: any shape, float32 or float64. Returns the same shape and dtype. A row with NaN or +inf, or only -inf, gives NaN.
    IndexError for an axis out of range.
    """

def softmax_backward(dout: ArrayLike, out: ArrayLike, axis: int = -1) -> Array:
    """
    The gradient of softmax by its input, from its output `out`.
    """

def softplus(x: ArrayLike, beta: float = 1.0) -> Array:
    """
    log(1 + exp(beta * x)) / beta; x itself where beta * x > 20.

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def sqrt(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    The square root; NaN below 0.

    x: any shape and strides; float32, float64 or bfloat16, kept.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def square(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    x * x.

    x: any shape and strides; any dtype but bool, kept. Integers that do not fit wrap around.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def stack(arrays: collections.abc.Sequence[ArrayLike], axis: int = 0) -> Array:
    """
    The arrays joined along a new axis.

    arrays: a sequence, of one dtype and one shape.
    ValueError for no arrays or different shapes; TypeError for different dtypes.
    """

def start_profile() -> None:
    """
    Records every launch of every thread from now on; see weft.profile. RuntimeError if it does so already.
    """

def step(x: ArrayLike) -> Array:
    """
    1 where x > 0, else 0 (McCulloch, Pitts 1943).

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def stop_profile() -> list[tuple[str, int, str, int, int, int, int, float, float]]:
    """
    Ends it. For each launch: operation, index of the kernel in kernel_sources() (-1: none), instruction set, thread, site (-1: none), begin and end in nanoseconds since the start, floating-point operations, bytes. RuntimeError if nothing is recorded.
    """

def sub(a: ArrayLike, b: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    a - b.

    a, b: shapes that broadcast as in NumPy; one dtype, any but bool, kept. Integers that do not fit wrap around.
    A Python number takes the dtype of the other operand; a float with an integer array makes both float32.
    out: the array to write into (it may be a or b), else a new one.
    ValueError for shapes that do not broadcast; TypeError for two arrays of different dtypes.
    """

def sum(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    The sum; 0 for no elements.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; floats keep their dtype, integers and bool give int64.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def sum_squares(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False) -> Array:
    """
    The sum of the squares.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; float32, float64 or bfloat16, kept.
    IndexError for an axis out of range; ValueError for one given twice.
    """

def tanh(x: ArrayLike) -> Array:
    """
    The hyperbolic tangent.

    x: any shape; float32, float64 or bfloat16. Returns an array of the same shape and dtype.
    TypeError for another dtype.
    """

def threads_runtime() -> str:
    """
    Whose threads those are, as "OpenMP (libgomp)".
    """

def to(x: ArrayLike, device: str) -> Array:
    """
    x itself where it is on that device, else a copy there, in the memory order of x. A copy to the host waits for the device. RuntimeError where the device cannot be used.
    """

def trunc(x: ArrayLike, out: OutputLike | None = None) -> Array:
    """
    x without what stands after its point.

    x: any shape and strides; any dtype but bool, kept. Integers that do not fit wrap around.
    out: the array to write into (it may be x), else a new one.
    TypeError for another dtype; ValueError where out has another shape.
    """

def uniform(
    shape: Ints,
    low: float = 0.0,
    high: float = 1.0,
    dtype: DTypeLike = "float32",
    generator: Generator | None = None,
    device: str | None = None,
) -> Array:
    """
    Numbers drawn evenly from [low, high): 24 random bits in float32, 32 in float64.

    ValueError unless low <= high, both finite; TypeError for a dtype other than float32 and float64.
    """

def var(x: ArrayLike, axis: Ints | None = None, keepdim: bool = False, correction: float = 1.0) -> Array:
    """
    The variance, sum((x - mean)^2) / (n - correction); NaN where n <= correction.

    axis: an int, a tuple, or None for all axes. keepdim: reduced axes stay, with size 1.
    x: any shape and strides; float32, float64 or bfloat16, kept.
    """

def warp_images(
    images: ArrayLike,
    index: ArrayLike,
    theta: ArrayLike,
    output_size: Ints,
    scale: ArrayLike,
    shift: ArrayLike,
    fill: float = 0.0,
    check: bool = True,
) -> Array:
    """
    gather_images through an affine map, read bilinearly: rotation, shift, flip, crop.

    theta: float64 (count, 2, 3). The output pixel at x, y (column, row), in pixels from the output's centre, shows the source at theta @ (x, y, 1), in pixels from the source's centre. output_size: (P, Q). fill: the value outside of the image, 0 to 255, before scale and shift. Returns float32 (count, C, P, Q). check=False leaves out the checks of index and theta, and is unsafe, as in gather_images.
    IndexError for an image that does not exist; ValueError for a theta that is not finite.
    """

def where(condition: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """
    a where condition is True, else b.

    condition: bool. a, b: one dtype; a Python number takes that of the other one. The three shapes broadcast as in NumPy.
    ValueError for shapes that do not; TypeError for other dtypes.
    """

def write_now(out: Array, values: collections.abc.Sequence[float]) -> None:
    """
    Sets the elements of a float64 array at once, inside of a capture too, which does not record it: for what changes between replays. ValueError for another number of values, TypeError for another dtype.
    """

def zeros(shape: Ints, dtype: DTypeLike = "float32", device: str | None = None) -> Array:
    """
    An array of zeros.
    """
