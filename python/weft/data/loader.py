"""Batches from data in memory."""

from __future__ import annotations

import _thread
import atexit
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

import weft.kernels as K
from weft import _forks
from weft._checks import Saved, instance, integer, number
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

    Several threads may take batches from one iterator: each goes to one of them. In a forked process an iterator with
    prefetch that was begun before is a RuntimeError, because its thread is not there; the loader itself begins anew.

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
        name = "DataLoader"
        instance(name, "dataset", dataset, Dataset)
        self.batch_size = integer(name, "batch_size", batch_size, 1)
        if transform is not None:
            instance(name, "transform", transform, Transform)
            if not dataset.is_images:
                raise ValueError("DataLoader: a transform needs uint8 images (n, C, H, W)")
        if prefetch is not None:
            integer(name, "prefetch", prefetch, 0)
        if device is not None:
            instance(name, "device", device, str)
        fill = number(name, "fill", fill, finite=True)
        self.dataset, self.shuffle, self.seed = dataset, shuffle, integer(name, "seed", seed, most=2**64 - 1)
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
        self.epoch = integer("DataLoader", "epoch", epoch, 0)

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
        return _Prefetched(batches, min(self.prefetch, len(self))) if self.prefetch else _Shared(batches)

    def _batches(self, order: Array, changes: K.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        there = K.asarray(order, device=self.device)  # once, and known to be in range
        size = min(self.batch_size, max(len(order), 1))
        for i in range(len(self)):
            index = there[i * size : (i + 1) * size]
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


class _Shared:
    """An iterator that several threads may use: each item goes to one of them."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._lock = threading.RLock()
        self._broken = False
        _forks.register(self)

    def __iter__(self) -> _Shared:
        return self

    def __next__(self) -> Any:
        with self._lock:
            if self._broken:
                raise RuntimeError(
                    "DataLoader: another thread was taking a batch from this iterator when the process was forked; "
                    "begin a new one"
                )
            return next(self._source)

    def close(self) -> None:
        """No more items."""
        with self._lock:
            if not self._broken:
                self._source.close()  # type: ignore[attr-defined]

    def _after_fork(self) -> None:
        if _forks.left_behind(self._lock):
            self._lock, self._broken = threading.RLock(), True


class _Prefetched:
    """Runs an iterator in a thread, at most `ahead` items in front.

    The thread ends with the iterator, with an error (raised here then), or when this object is dropped, as when a loop
    over it is left early. Several threads may take items.
    """

    def __init__(self, source: Iterator[Any], ahead: int) -> None:
        self._items = _Items(ahead)
        self._forked = False
        _living.add(self)
        _forks.register(self)
        _thread.start_new_thread(_produce, (source, self._items))

    def __iter__(self) -> _Prefetched:
        return self

    def __next__(self) -> Any:
        if self._forked:
            raise RuntimeError(
                "DataLoader: this iterator was begun before the process was forked, and the thread that makes its "
                "batches is not in the child; begin a new one"
            )
        try:
            item = self._items.get()
        except StopIteration:
            self.close()
            raise
        if isinstance(item, BaseException):
            self.close()
            raise item
        return item

    def close(self) -> None:
        """Ends the thread and waits for it: none is left inside a kernel when the interpreter ends."""
        if self._forked:  # the thread, and whoever held the lock, are not here
            return
        self._items.stop()
        self._items.join()

    def __del__(self) -> None:
        if hasattr(self, "_forked"):
            self.close()

    def _after_fork(self) -> None:
        self._forked = True


class _Items:
    """What one thread makes and others take, a few at most waiting.

    SimpleQueue, because a signal's handler may raise, and a __del__ run, at any moment: threading.Condition, and with
    it threading.Thread, then loses its lock.
    """

    def __init__(self, most: int) -> None:
        self._made: SimpleQueue[Any] = SimpleQueue()
        self._wanted: SimpleQueue[None] = SimpleQueue()  # an entry for each item that may be made
        self._left: SimpleQueue[None] = SimpleQueue()  # an entry when the thread has ended
        self._maker: int | None = None  # the thread, while it runs
        self._stopped = False
        for _ in range(most):
            self._wanted.put(None)

    def put(self, item: Any) -> bool:
        """Whether it is still wanted."""
        self._wanted.get()
        if not self._stopped:
            self._made.put(item)
        return not self._stopped

    def get(self) -> Any:
        """The next item. StopIteration where none will come."""
        self._wanted.put(None)  # first: where what follows is interrupted, one more is made, and nobody waits for ever
        item = self._made.get()
        if item is _END or self._stopped:
            self.end()  # the others, and whoever asks again, see it too
            raise StopIteration
        return item

    def end(self) -> None:
        """No more items will come."""
        self._made.put(_END)

    def stop(self) -> None:
        """No more items are wanted."""
        self._stopped = True
        self._wanted.put(None)
        self.end()

    def enter(self) -> bool:
        """The thread begins, where its items are still wanted."""
        self._maker = threading.get_ident()
        return not self._stopped

    def leave(self) -> None:
        """The thread ends."""
        self.end()
        self._maker = None
        self._left.put(None)

    def join(self) -> None:
        """Waits for the thread's end."""
        while self._maker not in (None, threading.get_ident()):
            with contextlib.suppress(Empty):  # whoever else waits may have taken the entry
                self._left.get(timeout=0.05)


_END = object()


def _produce(source: Iterator[Any], out: _Items) -> None:
    """Puts all items of `source`, or the error that ended it, into `out`, until they are not wanted."""
    try:
        if out.enter():
            for item in source:
                if not out.put(item):
                    return
    except BaseException as error:
        out.put(error)
    finally:
        out.leave()


_living: weakref.WeakSet[_Prefetched] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread that is in a kernel while the interpreter goes would take the process down with it."""
    for iterator in list(_living):
        iterator.close()
