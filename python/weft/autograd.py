"""The tape: what was computed, and how gradients go back through it.

Every differentiable operation is a `KernelFunction` (Arrays in, Arrays out) or a user's `Function` (Tensors in,
Tensors out), with `forward` and `backward` side by side. Applying one makes a `Node` that knows its inputs' nodes.
`backward` walks the nodes from the newest to the oldest: an operation is always newer than its inputs, so the order
of creation is a topological order, and no recursion is needed.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

import weft.kernels as K
from weft import _foreign, _uses
from weft._checks import sequence, shown
from weft._gradcheck import gradcheck

if TYPE_CHECKING:
    from weft.tensor import Tensor

__all__ = [
    "Function",
    "KernelFunction",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]


class _State(threading.local):
    enabled = True


_state = _State()
_counter = itertools.count()
_tensor_type: type[Tensor] = None  # type: ignore[assignment]  # weft.Tensor, set by weft.tensor: the two modules need each other


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return _state.enabled


class set_grad_enabled:
    """Switches recording on or off in this thread: at once, or as a context for its block."""

    def __init__(self, mode: bool) -> None:
        self._before = _state.enabled
        _state.enabled = bool(mode)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _state.enabled = self._before


class _GradMode:
    """A context, and a decorator, within which recording is on or off."""

    _mode: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_state.enabled)
        _state.enabled = self._mode

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _state.enabled = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        import functools

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class no_grad(_GradMode):
    """Within this context (or a function decorated with it) nothing is recorded."""

    _mode = False


class enable_grad(_GradMode):
    """Within this context operations are recorded, inside of `no_grad` too."""

    _mode = True


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
        self._non_differentiable = tuple(id(_array_of(o)) for o in outputs)

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
        return tuple(None if a is None else _tensor_type(a) for a in self.saved)

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


def _array_of(value: Any) -> Any:
    return value.array if isinstance(value, _tensor_type) else value


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
        tensor = _tensor_type
        arrays = []
        edges: list[Any] = []  # as Node.edges
        recorded = False
        for a in args:
            if not isinstance(a, tensor):
                arrays.append(a)
                edges.append(None)
                continue
            arrays.append(a.array)
            if a.requires_grad:
                recorded = True
                edges.append(a if a._node is None else (a._node, a._output))
            else:
                edges.append(None)
        recorded = recorded and _state.enabled
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
                return tuple([_recorded(ctx, _array_of(r), i) for i, r in enumerate(result)])  # type: ignore[return-value]
            return tuple([tensor(_array_of(r)) for r in result])  # type: ignore[return-value]
        if recorded:
            return _recorded(ctx, _array_of(result), 0)
        return tensor(_array_of(result))


class Outputs(KernelFunction):
    """A KernelFunction of several results."""

    if TYPE_CHECKING:

        @classmethod
        def apply(cls, *args: Any) -> tuple[Tensor, ...]:  # type: ignore[override]
            ...


def _recorded(ctx: Node, array: K.Array, index: int) -> Tensor:
    """The Tensor of a recorded operation's output."""
    out = _tensor_type(array)
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


# --- going backwards ---


def _seed(tensor: Tensor, gradient: Any) -> K.Array:
    """The gradient with which a backward pass begins at `tensor`."""
    if not isinstance(tensor, _tensor_type):
        raise TypeError(f"backward: expected a Tensor, got {shown(tensor)}")
    if not tensor.requires_grad:
        raise RuntimeError("backward: the tensor does not require a gradient and no operation recorded it")
    if gradient is None:
        if tensor.array.size != 1:
            raise RuntimeError(
                f"backward: a gradient can be left out only for a tensor with one element, got shape {tensor.shape}"
            )
        return K.ones(tensor.array.shape, tensor.array.dtype, tensor.array.device)
    try:
        array = (
            gradient.array if isinstance(gradient, _tensor_type) else K.asarray(gradient, device=tensor.array.device)
        )
    except (TypeError, ValueError) as error:
        raise TypeError(f"backward: a gradient must be a Tensor or an array, got {shown(gradient)}") from error
    if array.shape != tensor.array.shape:
        raise ValueError(f"backward: gradient {array.shape} and tensor {tensor.array.shape} must have the same shape")
    if array.dtype != tensor.array.dtype:
        raise TypeError(f"backward: gradient is {array.dtype} but the tensor is {tensor.array.dtype}")
    if array.device != tensor.array.device:
        raise RuntimeError(f"backward: gradient is on {array.device} but the tensor on {tensor.array.device}")
    return array


class _Pass:
    """One backward pass: gradients that wait for their node, newest node first."""

    def __init__(self, retain_graph: bool, only: dict[int, Any] | None) -> None:
        self.retain_graph = retain_graph
        self.only = only  # leaves (by id) whose gradients are wanted; None: all, into .grad
        self.wanted: dict[int, K.Array] = {}
        self.wanted_outputs: dict[tuple[int, int], int] = {}
        self.waiting: dict[int, list[K.Array | None]] = {}
        self.owned: set[tuple[int, int]] = set()  # sums that this pass made and may add to in place
        self.hooked: dict[int, tuple[Any, Any]] = {}  # leaves with hooks, and the sum of their gradients so far
        self.heap: list[tuple[int, Node]] = []

    def send(self, edge: Any, gradient: K.Array) -> None:
        if type(edge) is tuple:
            self._to_node(edge[0], edge[1], gradient)
        else:
            self._to_leaf(edge, gradient)

    def begin(self, node: Node) -> None:
        """The pass starts at a node whose output's gradient is 1."""
        self.waiting[node.sequence] = [None]
        heapq.heappush(self.heap, (-node.sequence, node))

    def _to_node(self, node: Node, output: int, gradient: K.Array) -> None:
        slots = self.waiting.get(node.sequence)
        if slots is None:
            slots = self.waiting[node.sequence] = [None] * len(node.outputs)
            heapq.heappush(self.heap, (-node.sequence, node))
        before = slots[output]
        key = (node.sequence, output)
        if before is None:
            slots[output] = gradient
        elif key in self.owned:
            K.add(before, gradient, before)
        else:
            slots[output] = K.add(before, gradient)
            self.owned.add(key)

    def _to_leaf(self, leaf: Any, gradient: K.Array) -> None:
        if leaf._hooks:  # they see the whole gradient, once, when all its parts are there
            _, before = self.hooked.get(id(leaf), (leaf, None))
            self.hooked[id(leaf)] = leaf, gradient if before is None else K.add(before, gradient)
        else:
            self._arrived(leaf, gradient)

    def _arrived(self, leaf: Any, gradient: K.Array) -> None:
        if self.only is None:
            _accumulate(leaf, gradient)
        elif id(leaf) in self.only:
            before = self.wanted.get(id(leaf))
            self.wanted[id(leaf)] = gradient if before is None else K.add(before, gradient)

    def run(self) -> None:
        while self.heap:
            _, node = heapq.heappop(self.heap)
            self._run_node(node, self.waiting.pop(node.sequence))
        for leaf, gradient in self.hooked.values():
            self._arrived(leaf, _foreign.hooked(leaf._hooks, gradient))

    def _run_node(self, node: Node, douts: list[K.Array | None]) -> None:
        for index, dout in enumerate(douts):
            if dout is not None:
                douts[index] = self._output_gradient(node, index, dout)
        placed: dict[int, K.Array] = {}
        if node.retains_graph is not self.retain_graph:
            node.retains_graph = self.retain_graph
        if node.function._foreign:
            result = _foreign.backward(node, douts)
        else:
            if _uses.running and self.only is None and _uses.current():
                placed = _places(node, douts)
            if placed:
                K.set_destinations(list(placed.values()))
                try:
                    result = node.function.backward(node, *douts)
                finally:
                    K.set_destinations([])
            else:
                result = node.function.backward(node, *douts)
        if not self.retain_graph:
            node.free()
        if type(result) is not tuple:
            result = (result,)
        if len(result) > len(node.edges):
            raise RuntimeError(
                f"{node.name}: backward returned {len(result)} gradients for {len(node.edges)} arguments"
            )
        if placed:
            result = _apart(result, placed)
        for edge, gradient in zip(node.edges, result, strict=False):
            if edge is not None and gradient is not None:
                self.send(edge, _array_of(gradient))

    def _output_gradient(self, node: Node, index: int, dout: K.Array) -> K.Array:
        if index in node.hooks:
            dout = _foreign.hooked(node.hooks[index], dout)
        reference = node.retained.get(index)
        kept = reference() if reference is not None else None
        if kept is not None:
            kept.grad = _tensor_type(dout if kept.grad is None else K.add(kept.grad.array, dout))
        key = (node.sequence, index)
        if key in self.wanted_outputs:
            self.wanted[self.wanted_outputs[key]] = dout
        return dout


def _places(node: Node, douts: list[K.Array | None]) -> dict[int, K.Array]:
    """By argument, where a leaf's first gradient belongs: a kernel may write it there, and no copy is needed. Only
    while capturing: to look for the places costs more than the copies, but a replay does not look again."""
    found: dict[int, K.Array] = {}
    read = [a for a in (*douts, *node._saved) if a is not None]
    shapes = set()
    for i, edge in enumerate(node.edges):
        if edge is None or type(edge) is tuple or edge._grad_buffer is None or edge.grad is not None or edge._hooks:
            continue
        place = edge._grad_buffer
        if not place.is_contiguous():  # kernels write these gradients row-major
            continue
        if place.shape in shapes or edge.array.shape != place.shape:  # no telling which comes first
            return {}
        if any(a.shares_memory(place) for a in read):  # an earlier gradient, which is still wanted
            continue
        shapes.add(place.shape)
        found[i] = place
    return found


def _apart(result: tuple[Any, ...], placed: dict[int, K.Array]) -> tuple[Any, ...]:
    """Copies of gradients that came to lie in the place of another one, before that is written."""
    gradients = list(result)
    for i, gradient in enumerate(result):
        if gradient is None or (i in placed and gradient.data_ptr == placed[i].data_ptr):
            continue
        if any(gradient.shares_memory(place) for place in placed.values()):
            gradients[i] = K.copy(gradient)
    return tuple(gradients)


def _same_place(a: K.Array, b: K.Array) -> bool:
    return a.data_ptr == b.data_ptr and a.strides == b.strides


def _accumulate(leaf: Any, gradient: K.Array) -> None:
    """leaf.grad += gradient, or = a copy of it in the leaf's memory order."""
    if gradient.shape != leaf.array.shape:
        raise RuntimeError(f"backward: gradient {gradient.shape} for a leaf of shape {leaf.array.shape}")
    if _uses.running and (uses := _uses.current()):
        uses.gradient(leaf)
    if leaf.grad is not None:
        K.add(leaf.grad.array, gradient, leaf.grad.array)
        leaf.grad.array.bump_version()
    elif leaf._grad_buffer is not None:
        if not (_uses.running and _same_place(gradient, leaf._grad_buffer)):
            K.copy_into(leaf._grad_buffer, gradient)
        leaf.grad = _tensor_type(leaf._grad_buffer)
    else:
        # A copy: the same Array may be the gradient of several leaves, or somebody's saved value.
        leaf.grad = _tensor_type(K.copy(gradient, leaf.array.memory_format))


def backward(
    tensors: Tensor | Sequence[Tensor],
    gradients: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Adds the gradient of `tensors` by every leaf that requires one to the leaf's `.grad`.

    gradients: for each tensor the gradient of what comes after it; may be left out for one element, where it is 1.
    retain_graph: keeps the saved values for another backward pass.
    RuntimeError for a tensor that was not recorded, a saved value changed in place, or a second pass without
    retain_graph; ValueError for a gradient of another shape.
    """
    run = _Pass(retain_graph, None)
    _start(run, tensors, gradients, create_graph)
    run.run()


def _begins_with_one(node: Node | None, run: _Pass) -> bool:
    """Whether the gradient 1 of a node's output need not be made: nobody but its backward sees it."""
    return (
        node is not None
        and node.function.takes_one
        and run.only is None
        and not (run.retain_graph or node.hooks or node.retained)
        and len(node.outputs) == 1
        and math.prod(node.outputs[0][0]) == 1
    )


def _start(run: _Pass, tensors: Any, gradients: Any, create_graph: bool) -> None:
    if create_graph:
        raise RuntimeError("backward: create_graph is not supported: weft has no second derivatives")
    if isinstance(tensors, _tensor_type):
        tensors, gradients = [tensors], [gradients]
    else:
        tensors = sequence("backward", "tensors", tensors)
        if gradients is None or isinstance(gradients, _tensor_type):
            gradients = [gradients] * len(tensors) if gradients is None else [gradients]
        gradients = sequence("backward", "gradients", gradients)
    if len(tensors) != len(gradients):
        raise ValueError(f"backward: {len(gradients)} gradients for {len(tensors)} tensors")
    only = tensors[0] if len(tensors) == 1 and gradients[0] is None else None
    if isinstance(only, _tensor_type) and _begins_with_one(only._node, run):
        run.begin(only._node)
        return
    # All of them first: a leaf's gradient is there as soon as it is sent.
    seeds = [_seed(tensor, gradient) for tensor, gradient in zip(tensors, gradients, strict=True)]
    for tensor, seed in zip(tensors, seeds, strict=True):
        run.send(tensor if tensor._node is None else (tensor._node, tensor._output), seed)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` by `inputs`, as a tuple; `.grad` is not touched.

    RuntimeError for an input that the outputs don't depend on, unless allow_unused (then None).
    """
    wanted = [inputs] if isinstance(inputs, _tensor_type) else sequence("grad", "inputs", inputs)
    for i, tensor in enumerate(wanted):
        if not isinstance(tensor, _tensor_type):
            raise TypeError(f"grad: input {i} must be a Tensor, got {shown(tensor)}")
        if not tensor.requires_grad:
            raise RuntimeError(f"grad: input {i} (shape {tensor.shape}) does not require a gradient")
    leaves = {id(t): t for t in wanted if t._node is None}
    run = _Pass(retain_graph, leaves)
    run.wanted_outputs = {(t._node.sequence, t._output): id(t) for t in wanted if t._node is not None}
    _start(run, outputs, grad_outputs, create_graph)
    run.run()
    result = []
    for i, tensor in enumerate(wanted):
        found = run.wanted.get(id(tensor))
        if found is None and not allow_unused:
            raise RuntimeError(f"grad: the outputs do not depend on input {i} (shape {tensor.shape})")
        result.append(None if found is None else _tensor_type(found))
    return tuple(result)
