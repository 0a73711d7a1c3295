"""Convolutions, forward and backward. Backward is all that the peer delivers: dx, dw and db."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import weft.kernels as K
from bench.cases import shapes
from bench.measure import Case, Contestant, Row, Run
from bench.peers import chosen, jax_peer, torch_peer


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def arrays(layer: shapes.Conv) -> tuple[np.ndarray, ...]:
    """Input, weight, bias, and the gradient of the output."""
    images = normal(layer.batch, layer.c, layer.size, layer.size)
    weight = normal(layer.k, layer.c // layer.groups, layer.kernel, layer.kernel)
    return images, weight, normal(layer.k), normal(layer.batch, layer.k, layer.out, layer.out)


LAST = K.MemoryFormat.channels_last


def weft_forward(layer: shapes.Conv, order: K.MemoryFormat = K.MemoryFormat.contiguous_format) -> Run:
    x, w, b, _ = (K.asarray(array) for array in arrays(layer))
    x = x.contiguous(order)
    return lambda: K.conv2d(x, w, b, layer.stride, layer.padding, groups=layer.groups)


def weft_backward(layer: shapes.Conv, order: K.MemoryFormat = K.MemoryFormat.contiguous_format) -> Run:
    x, w, _, dout = (K.asarray(array) for array in arrays(layer))
    x, dout = x.contiguous(order), dout.contiguous(order)
    options: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    return lambda: (
        K.conv2d_backward_input(dout, w, x.shape, **options),
        K.conv2d_backward_weight(dout, x, w.shape, **options, bias=True),
    )


def torch_forward(layer: shapes.Conv, mode: str) -> Run | None:
    if mode == "compile":  # calls the same convolution
        return None
    x, w, _, _ = (torch_peer.in_format(mode, array) for array in arrays(layer))
    b = chosen.torch.from_numpy(arrays(layer)[2])

    def run() -> object:
        with chosen.torch.inference_mode():
            return chosen.torch.conv2d(x, w, b, layer.stride, layer.padding, 1, layer.groups)

    return run


def torch_backward(layer: shapes.Conv, mode: str) -> Run | None:
    if mode == "compile":
        return None
    x, w, _, dout = (torch_peer.in_format(mode, array) for array in arrays(layer))
    stride, padding = [layer.stride] * 2, [layer.padding] * 2

    def run() -> object:
        with chosen.torch.inference_mode():
            return chosen.torch.ops.aten.convolution_backward(
                dout, x, w, [layer.k], stride, padding, [1, 1], False, [0, 0], layer.groups, [True, True, True]
            )

    return run


def jax_run(layer: shapes.Conv, backward: bool) -> Run:
    x, w, b, dout = arrays(layer)
    forward = jax_peer.convolution(layer.stride, layer.padding, layer.groups)
    if not backward:
        return jax_peer.waiting(forward, x, w, b)
    return jax_peer.waiting(jax_peer.convolution_backward(forward), dout, x, w, b)


def weft_fused_forward(layer: shapes.Conv) -> Run:
    x, w, b, _ = (K.asarray(array) for array in arrays(layer))
    return lambda: K.conv2d_relu_max_pool2d(x, w, b, 2, layer.stride, layer.padding)


def weft_fused_backward(layer: shapes.Conv) -> Run:
    x, w, b, _ = (K.asarray(array) for array in arrays(layer))
    out, winner = K.conv2d_relu_max_pool2d(x, w, b, 2, layer.stride, layer.padding)
    dout = K.asarray(normal(*out.shape))
    return lambda: K.conv2d_relu_max_pool2d_backward(dout, winner, x, w, 2, layer.stride, layer.padding)


def torch_fused(layer: shapes.Conv, mode: str, backward: bool) -> Run | None:
    torch = chosen.torch
    x, w, _, _ = (torch_peer.in_format(mode, array).requires_grad_(backward) for array in arrays(layer))
    b = torch.from_numpy(arrays(layer)[2]).requires_grad_(backward)

    def forward(x: Any, w: Any, b: Any) -> Any:
        return torch.nn.functional.max_pool2d(torch.relu(torch.conv2d(x, w, b, layer.stride, layer.padding)), 2)

    function = torch_peer.compiled(forward, x, w, b) if mode == "compile" else forward
    if function is None:
        return None
    if not backward:
        return lambda: function(x, w, b)
    out = function(x, w, b)
    dout = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, (x, w, b), dout, retain_graph=True)


def case(layer: shapes.Conv, backward: bool, fused: bool = False) -> Case:
    per_output = layer.c // layer.groups * layer.kernel**2
    outputs = layer.batch * layer.k * layer.out**2
    read = layer.batch * layer.c * layer.size**2 + layer.k * per_output
    # Backward reads both inputs and dout and writes both gradients.
    moved = 4 * (2 * read + outputs if backward else read + (outputs / 4 if fused else outputs))

    def contestants(modes: list[str]) -> list[Contestant]:
        others: list[Contestant] = []
        if fused:
            ours = weft_fused_backward(layer) if backward else weft_fused_forward(layer)
            theirs = chosen.torch_runs(modes, lambda mode: torch_fused(layer, mode, backward))
        else:
            function_of_ours = weft_backward if backward else weft_forward
            ours = function_of_ours(layer)
            # Those with kernels of their own for channels last.
            if layer.groups > 1 or (layer.kernel == 1 and layer.stride == 1):
                others = [Contestant("weft channels_last", function_of_ours(layer, LAST))]
            function = torch_backward if backward else torch_forward
            theirs = chosen.torch_runs(modes, lambda mode: function(layer, mode))
            theirs += chosen.jax_runs(lambda: jax_run(layer, backward))
        return [Contestant("weft", ours), *others, *theirs]

    kind = "depthwise" if layer.groups == layer.c and layer.groups > 1 else "conv2d"
    name = f"{kind} {layer.kernel}x{layer.kernel} {layer.c}->{layer.k}"
    name += f" stride {layer.stride}" if layer.stride > 1 else ""
    name += " + bias + ReLU + max-pool" if fused else ""
    row = Row(
        "ops",
        f"{name}, {'backward' if backward else 'forward'}",
        f"{layer.batch}x{layer.size}x{layer.size}",
        flop=2.0 * outputs * per_output * (2 if backward else 1),
        bytes=moved,
        figure=layer.backward if backward else layer.forward,
    )
    return Case(row, contestants)


def cases(quick: bool) -> Iterator[Case]:
    for fused, layers in ((False, shapes.CONVOLUTIONS), (True, shapes.FUSED)):
        for layer in layers:
            if layer.quick or not quick:
                for backward in (False, True):
                    yield case(layer, backward, fused)
