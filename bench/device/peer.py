"""PyTorch's side of device.py: cuBLAS, cuDNN and its own kernels in each mode that it has. Empty lists where it is not
installed or sees no device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import shapes, torch_peer
from bench.measure import Contestant

torch = torch_peer.torch


def available() -> bool:
    if torch is None or not torch.cuda.is_available():
        return False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # cuDNN's best method for each shape
    return True


def clock(flushed: int) -> Any:
    from bench.device import Clock

    trash = torch.empty(flushed, dtype=torch.uint8, device="cuda")

    def event() -> Any:
        made = torch.cuda.Event(enable_timing=True)
        made.record()
        return made

    return Clock(event, lambda a, b: a.elapsed_time(b), trash.zero_, torch.cuda.synchronize)


def there(*given: np.ndarray) -> list[Any]:
    return [torch.from_numpy(array).cuda() for array in given]


def gemm(a: np.ndarray, b: np.ndarray) -> list[Contestant]:
    if not available():
        return []
    p, q = there(a, b)
    return [Contestant("torch cuBLAS", lambda: torch.mm(p, q))]


def convolution(layer: shapes.Conv, way: str) -> list[Contestant]:
    """cuDNN in both memory orders."""
    if not available():
        return []
    from bench.convolutions import arrays

    return [_convolution(layer, way, order, *there(*arrays(layer))) for order in ("contiguous", "channels_last")]


def _convolution(layer: shapes.Conv, way: str, order: str, x: Any, w: Any, _: Any, dout: Any) -> Contestant:
    if order == "channels_last":
        x, w, dout = (t.contiguous(memory_format=torch.channels_last) for t in (x, w, dout))
    stride, padding, groups = [layer.stride] * 2, [layer.padding] * 2, layer.groups

    def backward(wanted: list[bool]) -> Callable[[], object]:
        return lambda: torch.ops.aten.convolution_backward(
            dout, x, w, None, stride, padding, [1, 1], False, [0, 0], groups, wanted
        )

    run = {
        "forward": lambda: torch.conv2d(x, w, None, stride, padding, 1, groups),
        "dx": backward([True, False, False]),
        "dw": backward([False, True, False]),
    }[way]
    return Contestant(f"torch cuDNN {order}", run)


def memory(name: str, given: tuple[np.ndarray, ...]) -> list[Contestant]:
    """Eager and compiled."""
    if not available():
        return []
    F = torch.nn.functional
    columns = given[0].shape[-1]
    function = {
        "add": torch.add,
        "add a row": torch.add,
        "relu": torch.relu,
        "gelu": F.gelu,
        "softmax": lambda x: torch.softmax(x, -1),
        "layer_norm": lambda x, w: F.layer_norm(x, (columns,), w, w),
        "sum": torch.sum,
        "sum, axis 0": lambda x: x.sum(0),
        "sum, axis 1": lambda x: x.sum(1),
        "transpose": lambda x: x.t().contiguous(),
        "max_pool2d 2x2": lambda x: F.max_pool2d(x, 2, return_indices=True),
        "avg_pool2d 2x2": lambda x: F.avg_pool2d(x, 2),
    }[name]
    tensors = there(*given)
    found = [Contestant("torch eager", lambda: function(*tensors))]
    compiled = torch_peer.compiled(function, *tensors)
    if compiled is not None:
        found.append(Contestant("torch compile", lambda: compiled(*tensors)))
    return found


def lenet_step(images: np.ndarray, labels: np.ndarray) -> list[Contestant]:
    """Eager, compiled, and the whole step as a CUDA graph."""
    if not available():
        return []
    x, y = there(images, labels)
    return [
        Contestant("torch eager", _step(x, y, lambda f: f)),
        Contestant("torch compile", _step(x, y, lambda f: torch.compile(f, mode="max-autotune-no-cudagraphs"))),
        Contestant("torch graph", _graphed(x, y)),
    ]


def _step(x: Any, y: Any, wrap: Callable[[Any], Any]) -> Callable[[], object]:
    model = torch_peer.lenet().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    loss_function = torch.nn.CrossEntropyLoss()
    forward = wrap(lambda x, y: loss_function(model(x), y))

    def step() -> object:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def _graphed(x: Any, y: Any) -> Callable[[], object]:
    """Captured as PyTorch's notes on CUDA graphs say: some steps on another stream first."""
    step = _step(x, y, lambda f: f)
    other = torch.cuda.Stream()
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(other)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay  # type: ignore[no-any-return]
