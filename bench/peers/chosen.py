"""The libraries that weft is measured against; those that are not installed are left out."""

from __future__ import annotations

import os
from collections.abc import Callable

from bench.measure import Contestant, Run
from bench.peers.jax_peer import jax
from bench.peers.torch_peer import torch

_wanted = {"torch", "numpy", "jax"}


def choose(name: str) -> None:
    """Only this peer from now on."""
    _wanted.clear()
    _wanted.add(name)


def set_threads(count: int) -> None:
    """Gives every peer as many threads as weft has. JAX takes all processors, so it stands aside for fewer."""
    if torch is not None:
        torch.set_num_threads(count)
    if count != len(os.sched_getaffinity(0)):
        _wanted.discard("jax")


def have(name: str) -> bool:
    return name in _wanted and {"torch": torch, "jax": jax}.get(name, True) is not None


def torch_runs(modes: list[str], make: Callable[[str], Run | None]) -> list[Contestant]:
    """PyTorch in each mode: `make` gives the run of a mode, or None where the mode has no meaning."""
    if not have("torch"):
        return []
    runs = [(mode, make(mode)) for mode in modes]
    return [Contestant(f"torch {mode}", run) for mode, run in runs if run]


def jax_runs(make: Callable[[], Run]) -> list[Contestant]:
    """JAX, where it is wanted."""
    return [Contestant("jax", make())] if have("jax") else []
