"""Batches from data in memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import weft.kernels as K
from weft._checks import Saved
from weft.data.dataset import Dataset, Subset
from weft.data.transforms import Transform
from weft.tensor import Tensor

Array = np.ndarray[Any, Any]


class DataLoader:
    """Iterates over (inputs, labels): normalized float32 inputs (B, ...) and labels (B), as Tensors.

    A batch is gathered by one kernel, not sample by sample: at LeNet's size the usual loader takes longer than the
    training step. shuffle: another order in each epoch, a function of seed and epoch alone. drop_last: leaves out a
    smaller last batch. transform: random changes of images (weft.data.transforms), of seed and epoch alone too. fill:
    the pixel value (0..255) outside of an image. prefetch: how many batches a thread prepares ahead; None: 2 with a
    transform, else 0, because a plain gather is quicker than handing over to another thread.

    device: where the whole data set is kept and batches are made, by default the default device; RuntimeError where it
    cannot be used.

    epoch counts the iterations begun; state_dict() and load_state_dict() keep it for a resumed training.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        seed: int = 0,
        drop_last: bool = False,
        transform: Transform | None = None,
        fill: float = 0.0,
        prefetch: int | None = None,
        device: str | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be positive, got {batch_size}")
        if transform is not None and not dataset.is_images:
            raise ValueError("DataLoader: a transform needs uint8 images (n, C, H, W)")
        if prefetch is not None and prefetch < 0:
            raise ValueError(f"DataLoader: prefetch must not be negative, got {prefetch}")
        self.dataset, self.batch_size, self.shuffle, self.seed = dataset, batch_size, shuffle, seed
        self.drop_last, self.transform, self.fill = drop_last, transform, fill
        self.prefetch = (2 if transform is not None else 0) if prefetch is None else prefetch
        self.epoch = 0
        self._base = dataset
        self._indices: Array | None = None  # of a Subset (of a Subset ...) in the data set that holds the arrays
        while isinstance(self._base, Subset):
            own = self._base.indices
            self._indices = own if self._indices is None else own[self._indices]
            self._base = self._base.dataset
        self.device = K.default_device() if device is None else device
        self._inputs = K.asarray(self._base.inputs, device=self.device)
        self._labels = K.asarray(self._base.labels, device=self.device)
        scale_shift = self._base.scale_shift() if dataset.is_images else None
        self._normalization = scale_shift and tuple(K.to(x, self.device) for x in scale_shift)

    def __len__(self) -> int:
        """The number of batches."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is that of `epoch`."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._prepared(state)()

    def _prepared(self, state: Any) -> Callable[[], None]:
        """Reads a state whole; what puts it in place."""
        numbers = self.read_state(state)
        return lambda: self.__dict__.update(numbers)

    @staticmethod
    def read_state(state: Any) -> dict[str, int]:
        """The numbers in what state_dict gave. ValueError where there is something else."""
        saved = Saved("DataLoader", state)
        return {"seed": saved.integer("seed", -(2**63), 2**64 - 1), "epoch": saved.integer("epoch", 0)}

    def _generator(self, purpose: int) -> K.Generator:
        """A stream of its own for each seed, epoch and purpose."""
        words = np.random.SeedSequence([self.seed % 2**64, self.epoch, purpose]).generate_state(2, np.uint32)
        return K.Generator(int(words[0]) << 31 | int(words[1]) >> 1)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.dataset)
        order = np.asarray(K.randperm(count, self._generator(0))) if self.shuffle else np.arange(count)
        changes = self._generator(1)
        self.epoch += 1
        if self._indices is not None:
            order = self._indices[order]
        batches = self._batches(order, changes)
        return _Prefetched(batches, self.prefetch) if self.prefetch else batches

    def _batches(self, order: Array, changes: K.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        there = K.asarray(order, device=self.device)  # once, and known to be in range
        for i in range(len(self)):
            index = there[i * self.batch_size : (i + 1) * self.batch_size]
            yield Tensor(self._gather(index, changes)), Tensor(K.index_select(self._labels, 0, index, False))

    def _gather(self, index: K.Array, changes: K.Generator) -> K.Array:
        if self._normalization is None:
            return K.index_select(self._inputs, 0, index, False)
        scale, shift = self._normalization
        if self.transform is None:
            return K.gather_images(self._inputs, index, scale, shift, False)
        size = (self._inputs.shape[2], self._inputs.shape[3])
        theta = self.transform.matrices(index.size, size, changes)
        out = self.transform.output_size(size)
        return K.warp_images(self._inputs, index, theta, out, scale, shift, self.fill, False)


class _Prefetched:
    """Runs an iterator in a thread, at most `ahead` items in front.

    The thread ends with the iterator, with an error (raised here then), or when this object is dropped, as when a loop
    over it is left early.
    """

    _END = object()

    def __init__(self, source: Iterator[Any], ahead: int) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_produce, args=(source, self._queue, self._stop, self._END), name="weft-prefetch", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> _Prefetched:
        return self

    def __next__(self) -> Any:
        if self._stop.is_set():
            raise StopIteration
        item = self._queue.get()
        if item is self._END:
            self.close()
            raise StopIteration
        if isinstance(item, BaseException):
            self.close()
            raise item
        return item

    def close(self) -> None:
        """Ends the thread and waits for it: none is left inside a kernel when the interpreter ends."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __del__(self) -> None:
        self.close()


def _produce(source: Iterator[Any], out: queue.Queue[Any], stop: threading.Event, end: Any) -> None:
    """Puts all items of `source` and then `end`, or the error that ended it, into `out`, until told to stop."""

    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                out.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    try:
        for item in source:
            if not put(item):
                return
        put(end)
    except BaseException as error:
        put(error)
