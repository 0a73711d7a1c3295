"""weft: a compact deep-learning library with kernels that can be read.

Tensors, autograd, modules and optimizers have torch's names. `weft.kernels` is the compiled module by itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from weft import _openmp  # noqa: F401 # isort: skip # it loads weft.kernels, as nobody may before
from weft import _forks, autograd, kernels, operations
from weft.autograd import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from weft.creation import (
    arange,
    empty,
    eye,
    from_numpy,
    full,
    full_like,
    get_default_device,
    linspace,
    manual_seed,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    randperm,
    set_default_device,
    tensor,
    zeros,
    zeros_like,
)
from weft.kernels import Array
from weft.operations import add, cat, exp, log, matmul, maximum, minimum, sqrt, stack, where
from weft.tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from weft import cuda, data, models, nn, optim, train
    from weft._capture import capture
    from weft.nn.fusion import set_fusion
    from weft.profiler import profile
    from weft.serialization import load, save
    from weft.summary import summary

__all__ = [
    "Array",
    "Tensor",
    "add",
    "arange",
    "as_tensor",
    "autograd",
    "bfloat16",
    "bool",
    "capture",
    "cat",
    "channels_last",
    "config",
    "contiguous_format",
    "conv_precision",
    "cuda",
    "data",
    "empty",
    "enable_grad",
    "exp",
    "eye",
    "float32",
    "float64",
    "from_numpy",
    "full",
    "full_like",
    "get_default_device",
    "get_num_threads",
    "int32",
    "int64",
    "is_grad_enabled",
    "kernels",
    "linspace",
    "load",
    "log",
    "manual_seed",
    "matmul",
    "maximum",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "operations",
    "optim",
    "preserve_format",
    "profile",
    "rand",
    "randint",
    "randn",
    "randperm",
    "save",
    "set_conv_precision",
    "set_default_device",
    "set_fusion",
    "set_grad_enabled",
    "set_num_threads",
    "sqrt",
    "stack",
    "summary",
    "tensor",
    "train",
    "uint8",
    "where",
    "zeros",
    "zeros_like",
]

__version__ = "0.1.0"

float32 = kernels.DType.float32
float64 = kernels.DType.float64
bfloat16 = kernels.DType.bfloat16
int64 = kernels.DType.int64
int32 = kernels.DType.int32
uint8 = kernels.DType.uint8
bool = kernels.DType.bool

# The order of images in memory: row-major planes, pixels with their channels (N, H, W, C), or as the operand's.
contiguous_format = kernels.MemoryFormat.contiguous_format
channels_last = kernels.MemoryFormat.channels_last
preserve_format = kernels.MemoryFormat.preserve_format

# Loaded when they are first used: `import weft` stays quick.
_SUBMODULES = ("cuda", "data", "models", "nn", "optim", "train")
_FUNCTIONS = {
    "capture": "weft._capture",
    "profile": "weft.profiler",
    "summary": "weft.summary",
    "save": "weft.serialization",
    "load": "weft.serialization",
    "set_fusion": "weft.nn.fusion",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        with _forks.whole_import:
            return importlib.import_module(f"weft.{name}")
    if name in _FUNCTIONS:
        with _forks.whole_import:
            function = getattr(importlib.import_module(_FUNCTIONS[name]), name)
        globals()[name] = function
        return function
    raise AttributeError(f"module 'weft' has no attribute {name!r}")


def set_num_threads(count: int) -> None:
    """How many threads a kernel may use. ValueError below 1. Results have the same bits for any number."""
    kernels.set_num_threads(count)


def get_num_threads() -> int:
    """How many threads a kernel may use."""
    return kernels.num_threads()


def set_conv_precision(precision: str) -> None:
    """Which methods a convolution may use, for the whole process: "fast" (the default), "accurate" or "direct".

    All of them compute in the inputs' precision; "fast" may use Winograd's filtering on tiles of 4 x 4 outputs, whose
    largest error is about 3e-6 of the largest value, "accurate" only tiles of 2 x 2, which are as close as the
    definition, "direct" neither. docs/convolution.md has the bounds. ValueError for another name.
    """
    kernels.set_conv_precision(precision)


def conv_precision() -> str:
    """The setting of set_conv_precision."""
    return kernels.conv_precision()


def config() -> dict[str, Any]:
    """What was built and what is in use."""
    return {
        "version": __version__,
        "isa": kernels.isa(),
        "available_isas": kernels.available_isas(),
        "threads": kernels.num_threads(),
        "threads_runtime": kernels.threads_runtime(),
        "conv_precision": kernels.conv_precision(),
        "cuda_built": kernels.cuda_built(),
        "cuda_devices": kernels.cuda_device_count(),
        "cuda_unavailable": kernels.cuda_unavailable_reason(),
        "cuda": kernels.cuda_versions(),
        "default_device": kernels.default_device(),
    }
