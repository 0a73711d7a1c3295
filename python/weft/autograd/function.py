"""What stands on the tape: applied operations, and how they come there.

Every differentiable operation is a `KernelFunction` (Arrays in, Arrays out) or a user's `Function` (Tensors in,
Tensors out), with `forward` and `backward` side by side. Applying one makes a `Node` that knows its inputs' nodes.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import weft.kernels as K
from weft import _base
from weft._base import TensorBase, array_of
from weft.autograd import _foreign
from weft.autograd.grad_mode import state

if TYPE_CHECKING:
    from weft.tensor import Tensor

_counter = itertools.count()


class Node:
    """One applied operation; also the `ctx` that its forward and backward share.

    Edges: for each argument of forward the Tensor's node and the number of its output, or the leaf itself, or None.
    """

    # What most nodes never change stands here once, not in each of them.
    hooks: Mapping[int, list[Callable[[Any], Any]]] = MappingProxyType({})  # by output
    retained: Mapping[int, Any] = MappingProxyType({})  # outputs whose .grad is to be kept
    _saved: tuple[Any, ...] = ()
    _versions: tuple[int, ...] = ()
    _freed = False
    retains_graph = False  # in backward: whether there may be another one
    _non_differentiable: tuple[Any, ...] = ()
    given: Sequence[Any] = ()  # of somebody else's operation: what the gradient of each argument must be like

    def __init__(self, function: type[Any], edges: list[Any]) -> None:
        self.function = function
        self.sequence = next(_counter)
        self.edges = edges
        self.needs_input_grad = tuple([edge is not None for edge in edges])
        self.outputs: list[tuple[tuple[int, ...], K.DType]] = []

    @property
    def name(self) -> str:
        """The class of the operation."""
        return self.function.__name__

    def __repr__(self) -> str:
        return f"<{self.name}Backward>"

    def hooks_of(self, output: int) -> list[Callable[[Any], Any]]:
        """The list of hooks on an output, to add to."""
        self.hooks = {output: [], **self.hooks}
        return self.hooks[output]

    def retain(self, output: int, tensor: Tensor) -> None:
        """Keeps the gradient of an output in tensor.grad, as long as that lives."""
        self.retained = {**self.retained, output: weakref.ref(tensor)}

    # --- for forward ---

    def save(self, *arrays: K.Array | None) -> None:
        """Keeps Arrays for backward. Changing one in place until then is an error that backward raises."""
        self._saved = arrays
        try:
            self._versions = tuple(-1 if a is None else a.version for a in arrays)
        except AttributeError:
            strange = next(a for a in arrays if a is not None and not isinstance(a, K.Array))
            raise TypeError(f"{self.name}: expected Tensors, got {type(strange).__name__}") from None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """`save` for a user's Function, with Tensors."""
        self.save(*(None if t is None else t.array for t in tensors))

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """Outputs (the objects that forward returns) that never get a gradient."""
        self._non_differentiable = tuple(id(array_of(o)) for o in outputs)

    # --- for backward ---

    @property
    def saved(self) -> tuple[Any, ...]:
        """What forward kept. RuntimeError where it was changed in place, or is gone after a first backward."""
        if self._freed:
            raise RuntimeError(
                f"{self.name}: backward a second time, but the saved values were freed by the first; "
                "pass retain_graph=True to the first"
            )
        for array, version in zip(self._saved, self._versions, strict=True):
            if array is not None and array.version != version:
                raise RuntimeError(
                    f"{self.name}: a value of shape {array.shape} that backward needs was changed in place "
                    f"(version {array.version}, saved at {version})"
                )
        return self._saved

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """`saved` for a user's Function, as Tensors."""
        return tuple(None if a is None else _base.tensor_type(a) for a in self.saved)

    def free(self) -> None:
        """Lets go of the saved Arrays."""
        self._saved = ()
        self._versions = ()
        self._freed = True


class _OffTape:
    """The ctx of an operation that is not recorded: keeps nothing."""

    needs_input_grad: tuple[bool, ...] = ()

    def save(self, *arrays: Any) -> None:
        pass

    save_for_backward = save
    mark_non_differentiable = save


class KernelFunction:
    """A differentiable operation on Arrays. Subclasses give the static methods `forward(ctx, *args)`, which returns an
    Array or a tuple of Arrays, and `backward(ctx, *douts)`, which returns one gradient (Array or None) for each
    argument of forward; missing ones at the end are None."""

    _tensors = False
    # Whether somebody else wrote it: then what its forward and backward return is looked at.
    _foreign = False
    # Whether backward takes None for the gradient of its one output, which is then 1: where a pass begins at a loss,
    # there is nothing to fill and nothing to multiply by.
    takes_one = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._foreign = cls._tensors or cls.__module__.partition(".")[0] != "weft"

    @staticmethod
    def forward(ctx: Node, *args: Any) -> Any:
        raise TypeError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Node, *douts: Any) -> Any:
        raise TypeError("a Function needs a static method backward(ctx, ...)")

    @classmethod
    def apply(cls, *args: Any) -> Tensor:
        """Runs forward and, where recording is on and an argument requires a gradient, puts it on the tape. Several
        results make a tuple: see Outputs."""
        tensor = _base.tensor_type
        arrays = []
        edges: list[Any] = []  # as Node.edges
        recorded = False
        for a in args:
            if not isinstance(a, TensorBase):
                arrays.append(a)
                edges.append(None)
                continue
            arrays.append(a.array)
            if a.requires_grad:
                recorded = True
                edges.append(a if a._node is None else (a._node, a._output))
            else:
                edges.append(None)
        recorded = recorded and state.enabled
        ctx: Any
        if recorded:
            ctx = Node(cls, edges)
        else:
            ctx = _OffTape()
            ctx.needs_input_grad = (False,) * len(args)
        if cls._foreign:
            if recorded:
                ctx.given = _foreign.like(arrays, edges)
            result = _foreign.forward(cls, ctx, args if cls._tensors else arrays)
        else:
            result = cls.forward(ctx, *arrays)
        if type(result) is tuple:
            if recorded:
                return tuple([_recorded(ctx, array_of(r), i) for i, r in enumerate(result)])  # type: ignore[return-value]
            return tuple([tensor(array_of(r)) for r in result])  # type: ignore[return-value]
        if recorded:
            return _recorded(ctx, array_of(result), 0)
        return tensor(array_of(result))


class Outputs(KernelFunction):
    """A KernelFunction of several results."""

    if TYPE_CHECKING:

        @classmethod
        def apply(cls, *args: Any) -> tuple[Tensor, ...]:  # type: ignore[override]
            ...


def _recorded(ctx: Node, array: K.Array, index: int) -> Tensor:
    """The Tensor of a recorded operation's output."""
    out = _base.tensor_type(array)
    ctx.outputs.append((array.shape, array.dtype))
    if id(array) not in ctx._non_differentiable and array.dtype.is_floating_point:
        out.requires_grad = True
        out._node = ctx
        out._output = index
    return out


class Function(KernelFunction):
    """A user's own differentiable operation, as torch.autograd.Function: Tensors in and out.

    class Cube(weft.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, dout):
            (x,) = ctx.saved_tensors
            return 3 * x * x * dout

    y = Cube.apply(x)
    """

    _tensors = True

    if TYPE_CHECKING:

        @classmethod
        def apply(cls, *args: Any) -> Any: ...
