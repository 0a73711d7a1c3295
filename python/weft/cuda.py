"""CUDA devices: what there is, their memory, streams and events.

    if weft.cuda.is_available():
        model.to("cuda")

Work is queued on a device and runs there while Python goes on; reading an element waits for it. What goes wrong on the
device is raised with the next wait; WEFT_CUDA_SYNC=1 in the environment waits after each operation, so that the error
names it. Arrays that are used on several streams order these by themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import weft.kernels as K
from weft._checks import shown

__all__ = [
    "Event",
    "Stream",
    "current_stream",
    "device_count",
    "empty_cache",
    "get_device_properties",
    "is_available",
    "memory_stats",
    "reset_peak_memory_stats",
    "stream",
    "synchronize",
    "unavailable_reason",
]


def is_available() -> bool:
    """Whether this build and this machine have a CUDA device that can be used; never an error."""
    return K.cuda_device_count() > 0


def unavailable_reason() -> str:
    """Why is_available() is False: no backend in this build, no driver, one that is too old, no device. Else empty."""
    return K.cuda_unavailable_reason()


def device_count() -> int:
    """The number of CUDA devices; 0 where none can be used."""
    return K.cuda_device_count()


def _index(device: Any) -> int:
    """0 for None and "cuda", 1 for 1 and "cuda:1". ValueError for anything else."""
    if device is None:
        return 0
    if isinstance(device, int):
        return device
    kind, _, index = str(device).partition(":")
    if kind != "cuda" or not (index or "0").isdigit():
        raise ValueError(f"cuda: expected 'cuda', 'cuda:<index>' or an int, got {shown(device)}")
    return int(index or 0)


def get_device_properties(device: Any = None) -> dict[str, Any]:
    """name, major and minor (compute capability), multiprocessors, total_memory, free_memory and l2_bytes (bytes)."""
    return dict(K.cuda_device_info(_index(device)))


def synchronize(device: Any = None) -> None:
    """Waits for all work on a device. RuntimeError for what went wrong there."""
    K.cuda_synchronize(_index(device))


def memory_stats(device: Any = None) -> dict[str, int]:
    """Bytes allocated (in use), reserved (in use and kept for reuse) and peak; allocations served from kept blocks
    (hits) and by the device (misses)."""
    return dict(K.cuda_memory_stats(_index(device)))


def reset_peak_memory_stats(device: Any = None) -> None:
    """Sets memory_stats()["peak"] to what is allocated now."""
    K.cuda_reset_peak_memory(_index(device))


def empty_cache(device: Any = None) -> None:
    """Gives the memory that is kept for reuse back to the device, after waiting for it."""
    K.cuda_empty_cache(_index(device))


class Stream:
    """A queue of work on a device, beside the default one: `with weft.cuda.stream(s):` gives it this thread's work.

    There are a few of them, handed out in turn. RuntimeError where the device cannot be used.
    """

    def __init__(self, device: Any = None, _handle: K.CudaStream | None = None) -> None:
        self._handle = _handle or K.CudaStream(_index(device))

    @property
    def device(self) -> str:
        """The stream's device, such as cuda:0."""
        return self._handle.device

    @property
    def cuda_stream(self) -> int:
        """The cudaStream_t as an int, for other libraries."""
        return self._handle.handle

    def synchronize(self) -> None:
        """Waits for all its work so far. RuntimeError for what went wrong."""
        self._handle.synchronize()

    def query(self) -> bool:
        """Whether all its work is done."""
        return self._handle.query()

    def wait_stream(self, other: Stream) -> None:
        """What is given to it from now on runs after all that `other` has so far."""
        self._handle.wait_stream(other._handle)

    def wait_event(self, event: Event) -> None:
        """What is given to it from now on runs after the event."""
        event.wait(self)

    def record_event(self, event: Event | None = None) -> Event:
        """Marks the point after all its work so far."""
        event = event or Event(self.device)
        event.record(self)
        return event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self._handle == other._handle

    def __hash__(self) -> int:
        return hash(self._handle)

    def __repr__(self) -> str:
        return f"<weft.cuda.Stream on {self.device}>"


def current_stream(device: Any = None) -> Stream:
    """The stream that this thread's work on a device goes to."""
    return Stream(_handle=K.cuda_current_stream(_index(device)))


@contextlib.contextmanager
def stream(stream: Stream) -> Iterator[Stream]:
    """Within it, this thread's work on the stream's device goes to the stream."""
    before = K.cuda_current_stream(_index(stream.device))
    K.cuda_set_stream(stream._handle)
    try:
        yield stream
    finally:
        K.cuda_set_stream(before)


class Event:
    """A point in a stream's work, to wait for or to measure the device's time between two."""

    def __init__(self, device: Any = None, enable_timing: bool = True) -> None:
        self._device = device
        self._event = K.CudaEvent(_index(device), enable_timing)

    def record(self, stream: Stream | None = None) -> None:
        """Marks the point after all work of a stream so far, by default of the current one."""
        self._event.record((stream or current_stream(self._device))._handle)

    def wait(self, stream: Stream | None = None) -> None:
        """What the stream is given from now on runs after the point; Python goes on."""
        self._event.wait((stream or current_stream(self._device))._handle)

    def synchronize(self) -> None:
        """Waits until the point is reached."""
        self._event.synchronize()

    def query(self) -> bool:
        """Whether the point is reached."""
        return self._event.query()

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds on the device from this point to `end`. RuntimeError where one is not reached yet, or was made
        without timing."""
        return end._event.milliseconds_since(self._event)
