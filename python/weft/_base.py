"""What every part of the package knows of a Tensor: what it holds. Its methods need the operations, and those the tape,
so they come later, in weft.tensor; what is below makes Tensors by `tensor_type`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import weft.kernels as K

if TYPE_CHECKING:
    from weft.tensor import Tensor


class TensorBase:
    """An Array, its gradient, and its place on the tape. weft.Tensor is the only class that derives from it."""

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

    def __init__(self, array: K.Array, requires_grad: bool = False) -> None:
        self.array = array
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self._node: Any = None
        self._output = 0
        self._hooks: list[Any] | None = None
        self._grad_buffer: K.Array | None = None


tensor_type: type[Tensor] = None  # type: ignore[assignment]  # weft.Tensor, entered by weft.tensor


def array_of(value: Any) -> Any:
    """A Tensor's Array; anything else as it is."""
    return value.array if isinstance(value, TensorBase) else value
