"""PyTorch's side of a device: what all rows need of it, and its training steps and inferences in each mode it has."""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import weft.kernels as K
from bench.device import arrays
from bench.device.case import Entry
from bench.device.clock import Clock
from bench.measure import Run
from bench.peers import torch_peer

torch = torch_peer.torch


@functools.cache
def unavailable_reason() -> str:
    """Why PyTorch takes no part; empty where it does. Then it is set up: float32 is float32, without TF32, and cuDNN
    tries its methods for each shape and takes the quickest."""
    if torch is None:
        return "PyTorch is not installed"
    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} sees no device"
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "8")  # more processes than that take longer to start
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return ""


def clock(flushed: K.Array) -> Clock:
    trash = view(flushed)

    def event() -> Any:
        made = torch.cuda.Event(enable_timing=True)
        made.record()
        return made

    def flush() -> object:
        return torch.sum(trash)

    return Clock(event, lambda e: e.query(), lambda a, b: a.elapsed_time(b), flush, torch.cuda.synchronize)


def view(array: Any) -> Any:
    """An array of ours as a tensor over the same memory. PyTorch's current stream waits for what we have queued."""
    return torch.from_dlpack(getattr(array, "array", array))


def to_device(*given: np.ndarray) -> list[Any]:
    return [torch.from_numpy(array).to(arrays.DEVICE) for array in given]


def release(thorough: bool) -> None:
    """Gives the memory of a contestant that is over back. Thorough: what lies in cycles, and a compiler's code, too,
    which takes a tenth of a second."""
    if thorough:
        gc.collect()
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()
    if torch is not None:
        torch.cuda.empty_cache()


def compiled(function: Callable[..., Any], mode: str = "default") -> Callable[..., Any]:
    """For one shape. "default" where the time is the device's: reduce-overhead would copy the arguments, of half a
    gigabyte each, to where its graph reads them. The max-autotune modes compile for minutes."""

    def called(*given: Any) -> Any:  # a builtin has no code that could be compiled
        return function(*given)

    return torch.compile(called, dynamic=False, mode=mode)  # type: ignore[no-any-return]


def tensors_of(result: Any) -> list[Any]:
    """The floating-point arrays of a result, ours or PyTorch's, as tensors. Indices are left out: the libraries number
    them in their own ways."""
    if isinstance(result, (list, tuple)):
        return [tensor for each in result for tensor in tensors_of(each)]
    if result is None:
        return []
    tensor = result.detach() if isinstance(result, torch.Tensor) else view(result)
    return [tensor] if tensor.is_floating_point() else []


def copies_of(result: Any) -> list[Any]:
    """Waits for the copies: our next run, on another stream, may write to where they come from."""
    made = [tensor.clone() for tensor in tensors_of(result)]
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return made


PIECE = 1 << 24


def discrepancy(ours: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The largest difference between two results, as a share of the largest element there; infinite for a NaN and for
    results of different sizes. In pieces, because a difference in float64 takes twice the memory of both."""
    if not ours or len(ours) > len(theirs):
        return float("inf")
    worst = 0.0
    for a, b in zip(ours, theirs, strict=False):
        if a.numel() != b.numel():
            return float("inf")
        largest = max(1e-30, float(b.abs().max()))
        for p, q in zip(a.reshape(-1).split(PIECE), b.reshape(-1).split(PIECE), strict=True):
            difference = float((p.double() - q.double()).abs().max()) / largest
            if not difference < float("inf"):
                return float("inf")
            worst = max(worst, difference)
    return worst


# --- training steps and inferences ---


def load(model: Any, weights: Sequence[np.ndarray]) -> Any:
    """The model on the device with our parameters, which come in the same order."""
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), weights, strict=True):
            if parameter.shape != values.shape:
                raise ValueError(f"the models' parameters differ: {tuple(parameter.shape)} and {values.shape}")
            parameter.copy_(torch.from_numpy(values))
    return model.to(arrays.DEVICE)


def laid_out(model: Any, x: Any, channels_last: bool) -> tuple[Any, Any]:
    if not channels_last:
        return model, x
    return model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)


def training_step(model: Any, x: Any, y: Any, wrap: Callable[[Any], Any] = lambda f: f) -> Run:
    # Fused: one kernel for all parameters. A CPU, where the tests run this, has it as well.
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


def inference(model: Any, x: Any, wrap: Callable[[Any], Any] = lambda f: f) -> Run:
    model.eval()
    forward = wrap(model)

    def infer() -> object:
        with torch.inference_mode():
            return forward(x)

    return infer


def graphed(run: Run) -> Run:
    """As one CUDA graph. Captured as PyTorch's notes on CUDA graphs say: some runs on another stream first."""
    other = torch.cuda.Stream()
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):
        for _ in range(5):
            run()
    torch.cuda.current_stream().wait_stream(other)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> object:
        graph.replay()
        return result

    return replay


def marked(run: Run) -> Run:
    """Says where a step begins: reduce-overhead may then use the memory of the last step's results again."""

    def step() -> object:
        torch.compiler.cudagraph_mark_step_begin()
        return run()

    return step


def modes(make: Callable[[Callable[[Any], Any], bool], Run], images: bool, graphed_compiled: bool) -> list[Entry]:
    """A step or an inference in all modes. `make` is given what wraps the function, and whether channels lie last.

    Eager; as a CUDA graph made by hand; compiled with PyTorch's own graphs; with `graphed_compiled` compiled, and the
    whole step with its optimizer a graph made by hand. With `images`, where convolutions take most of the time, also
    with the channels last.
    """

    def plain(f: Any) -> Any:
        return f

    found = []
    for last in (False, True) if images else (False,):
        order = " channels_last" if last else ""
        found += [
            Entry(f"torch eager{order}", lambda last=last: make(plain, last)),
            Entry(f"torch graph{order}", lambda last=last: graphed(make(plain, last)), compared=False),
        ]
    # Compiling takes long, so only in the order of memory that suits the network.
    order, last = (" channels_last", True) if images else ("", False)
    reduced = functools.partial(compiled, mode="reduce-overhead")
    found.append(Entry(f"torch compile reduce-overhead{order}", lambda: marked(make(reduced, last)), compiles=True))
    if graphed_compiled:
        name = f"torch compile graph{order}"
        found.append(Entry(name, lambda: graphed(make(compiled, last)), compiles=True, compared=False))
    return found
