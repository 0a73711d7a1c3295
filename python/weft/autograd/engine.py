"""How gradients go back along the tape.

`backward` walks the nodes from the newest to the oldest: an operation is always newer than its inputs, so the order
of creation is a topological order, and no recursion is needed.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import weft.kernels as K
from weft import _base, _uses
from weft._base import TensorBase, array_of
from weft._checks import sequence, shown
from weft.autograd import _foreign
from weft.autograd.function import Node

if TYPE_CHECKING:
    from weft.tensor import Tensor


def _seed(tensor: Tensor, gradient: Any) -> K.Array:
    """The gradient with which a backward pass begins at `tensor`."""
    if not isinstance(tensor, TensorBase):
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
        array = gradient.array if isinstance(gradient, TensorBase) else K.asarray(gradient, device=tensor.array.device)
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
                self.send(edge, array_of(gradient))

    def _output_gradient(self, node: Node, index: int, dout: K.Array) -> K.Array:
        if index in node.hooks:
            dout = _foreign.hooked(node.hooks[index], dout)
        reference = node.retained.get(index)
        kept = reference() if reference is not None else None
        if kept is not None:
            kept.grad = _base.tensor_type(dout if kept.grad is None else K.add(kept.grad.array, dout))
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
        leaf.grad = _base.tensor_type(leaf._grad_buffer)
    else:
        # A copy: the same Array may be the gradient of several leaves, or somebody's saved value.
        leaf.grad = _base.tensor_type(K.copy(gradient, leaf.array.memory_format))


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
    if isinstance(tensors, TensorBase):
        tensors, gradients = [tensors], [gradients]
    else:
        tensors = sequence("backward", "tensors", tensors)
        if gradients is None or isinstance(gradients, TensorBase):
            gradients = [gradients] * len(tensors) if gradients is None else [gradients]
        gradients = sequence("backward", "gradients", gradients)
    if len(tensors) != len(gradients):
        raise ValueError(f"backward: {len(gradients)} gradients for {len(tensors)} tensors")
    only = tensors[0] if len(tensors) == 1 and gradients[0] is None else None
    if isinstance(only, TensorBase) and _begins_with_one(only._node, run):
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
    wanted = [inputs] if isinstance(inputs, TensorBase) else sequence("grad", "inputs", inputs)
    for i, tensor in enumerate(wanted):
        if not isinstance(tensor, TensorBase):
            raise TypeError(f"grad: input {i} must be a Tensor, got {shown(tensor)}")
        if not tensor.requires_grad:
            raise RuntimeError(f"grad: input {i} (shape {tensor.array.shape}) does not require a gradient")
    leaves = {id(t): t for t in wanted if t._node is None}
    run = _Pass(retain_graph, leaves)
    run.wanted_outputs = {(t._node.sequence, t._output): id(t) for t in wanted if t._node is not None}
    _start(run, outputs, grad_outputs, create_graph)
    run.run()
    result = []
    for i, tensor in enumerate(wanted):
        found = run.wanted.get(id(tensor))
        if found is None and not allow_unused:
            raise RuntimeError(f"grad: the outputs do not depend on input {i} (shape {tensor.array.shape})")
        result.append(None if found is None else _base.tensor_type(found))
    return tuple(result)
