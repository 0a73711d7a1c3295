"""Kernels and training steps on a CUDA device, beside PyTorch's on the same: `python -m bench --device cuda`.

The rows come in the order of their importance. How they are timed is in clock.py, what is fair and what is checked in
session.py. Float32 means float32: PyTorch's TF32 is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import weft.kernels as K
from bench.device import arrays, clock, kernels, memory, networks, peer
from bench.device.case import Case
from bench.device.session import Session
from weft.data.sources import data_root

__all__ = ["Case", "Session", "cases", "launches"]


def cases(quick: bool) -> Iterator[Case]:
    """In the order of their importance: what a short run shall have measured comes first."""
    lenet = networks.lenet()
    for batch in (4,) if quick else (64, 512):
        yield networks.training(lenet, batch, figure=2.0)
    sizes = (64,) if quick else (1024, 2048, 4096, 8192)
    yield from map(kernels.sgemm, sizes)
    yield from map(kernels.bfloat16, sizes)
    if not quick:
        yield networks.training(networks.resnet(32, 10), 512)
        yield networks.training(networks.resnet(224, 1000), 64)
    for batch in (4,) if quick else (64, 512, 4096, 1):
        yield networks.inference(lenet, batch)
    if not quick and (data_root(None) / "MNIST" / "raw").is_dir():
        yield networks.mnist_training()
    yield from kernels.convolutions(kernels.RESNET_50, quick, 0.8)
    yield from memory.cases(quick)
    yield from kernels.convolutions(kernels.OTHERS, quick, None)
    yield from others(quick)


def others(quick: bool) -> Iterator[Case]:
    """What a launch has a large share in, and products of other kinds."""
    for batch in (2,) if quick else (64, 512):
        for layer in kernels.OTHERS[:2]:
            for backward in (False, True):
                yield kernels.fused(layer._replace(batch=batch), backward)
        for wide, narrow in ((400, 120), (120, 84), (84, 10)):
            yield kernels.linear_backward(batch, wide, narrow)
    for transposed in (True, False):
        yield kernels.thin(64 if quick else 4096, transposed)
    yield kernels.float64(64 if quick else 4096)


def launches(session: Session) -> dict[str, dict[str, float]]:
    """What a launch costs each library, beside which the times of small kernels are to be seen."""
    x = K.zeros((1,), "float32", arrays.DEVICE)
    found = {"weft": clock.launch_times(partial(K.fill, x, 1.0), session.ours, session.quick)}
    replay = arrays.captured(partial(K.fill, x, 1.0))
    found["weft captured"] = clock.launch_times(replay, session.ours, session.quick)
    if session.theirs is not None:
        y = peer.view(x)
        found["torch"] = clock.launch_times(lambda: y.fill_(1.0), session.theirs, session.quick)
        found["torch graph"] = clock.launch_times(peer.graphed(lambda: y.fill_(1.0)), session.theirs, session.quick)
    return found
