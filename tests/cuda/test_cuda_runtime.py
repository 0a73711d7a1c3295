"""Devices, memory, exchange with other libraries, streams, events, captures; test_cuda_machine.py has what needs other
circumstances."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import assert_close

pytestmark = pytest.mark.usefixtures("cuda_device")
MIB = 1 << 20


class ManagedTensor(ctypes.Structure):
    """DLManagedTensor of DLPack 0.8."""


Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(ManagedTensor))
ManagedTensor._fields_ = [
    ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device", ctypes.c_int32), ("rank", ctypes.c_int32),
    ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.c_void_p),
    ("strides", ctypes.c_void_p), ("offset", ctypes.c_uint64), ("context", ctypes.c_void_p), ("deleter", Deleter),
]  # fmt: skip
capsule_api = {
    name: ctypes.PYFUNCTYPE(result, *arguments)((f"PyCapsule_{name}", ctypes.pythonapi))
    for name, result, arguments in (
        ("New", ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)),
        ("GetPointer", ctypes.POINTER(ManagedTensor), (ctypes.py_object, ctypes.c_char_p)),
        ("SetName", ctypes.c_int, (ctypes.py_object, ctypes.c_void_p)),
    )
}
USED = ctypes.create_string_buffer(b"used_dltensor")  # a capsule keeps the address of its name
FRESH = ctypes.create_string_buffer(b"dltensor")


def consume(capsule: object) -> None:
    """What a library does that takes a capsule's tensor and is done with it."""
    tensor = capsule_api["GetPointer"](capsule, b"dltensor")
    capsule_api["SetName"](capsule, ctypes.addressof(USED))
    tensor.contents.deleter(tensor)


def borrowed(capsule: object, given_back: Callable[[], object]) -> object:
    """The same tensor in a capsule of another owner, who is told when it is given back."""
    tensor = capsule_api["GetPointer"](capsule, b"dltensor").contents
    copy = ManagedTensor.from_buffer_copy(tensor)
    copy.deleter = Deleter(lambda _: given_back())
    BORROWED.append(copy)
    return capsule_api["New"](ctypes.addressof(copy), FRESH, None)


BORROWED: list[ManagedTensor] = []  # a deleter must outlive its call


def test_what_there_is() -> None:
    assert weft.cuda.is_available()
    assert weft.cuda.device_count() >= 1
    assert weft.cuda.unavailable_reason() == ""
    about = weft.cuda.get_device_properties()
    assert about["major"] >= 8
    assert 0 < about["free_memory"] <= about["total_memory"]
    assert weft.config()["cuda"]["architectures"]


@pytest.mark.parametrize("device", [None, 0, "cuda", "cuda:0"])
def test_a_device_has_several_names(device: object) -> None:
    assert weft.cuda.memory_stats(device)["allocated"] >= 0


@pytest.mark.parametrize("device", ["cpu", "cuda:x", "gpu"])
def test_another_device_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match="cuda: expected 'cuda', 'cuda:<index>' or an int"):
        weft.cuda.memory_stats(device)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(RuntimeError, match=r"cuda:7 does not exist: this machine has 1 CUDA device"):
        weft.zeros(2, device="cuda:7")


# --- moving ---


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 3, 4, 5)])
def test_there_and_back(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> None:
    x = np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    there = K.asarray(x, device="cuda")
    assert (there.device, there.shape, str(there.dtype)) == ("cuda:0", shape, dtype)
    assert np.array_equal(np.asarray(there), x)
    assert np.array_equal(np.asarray(K.to(there, "cpu")), x)


def test_large_copies_go_through_the_staging_memory_in_pieces(rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, 19 * MIB + 5).astype(np.uint8)
    assert np.array_equal(np.asarray(K.asarray(x, device="cuda")), x)


def test_host_memory_may_change_after_a_copy() -> None:
    x = np.arange(1000, dtype=np.float32)
    there = K.asarray(x, device="cuda")
    expected = x.copy()
    x[:] = -1
    assert np.array_equal(np.asarray(there), expected)


def test_pinned_memory(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 7), np.float32)
    pinned = weft.tensor(x, device="cpu").pin_memory()
    assert pinned.device == "cpu"
    assert np.array_equal(pinned.numpy(), x)
    assert np.array_equal(np.asarray(pinned.to("cuda")), x)


def test_a_view_keeps_its_memory_order(rng: np.random.Generator) -> None:
    x = weft.tensor(rng.standard_normal((2, 3, 4, 5), np.float32), device="cpu").to(memory_format=weft.channels_last)
    there = x.to("cuda")
    assert there.array.memory_format == K.MemoryFormat.channels_last
    assert np.array_equal(np.asarray(there), np.asarray(x))
    assert np.array_equal(np.asarray(there[:, 1:3]), np.asarray(x[:, 1:3]))


def test_gradients_return_to_where_the_tensor_is() -> None:
    x = weft.tensor([1.0, 2.0], requires_grad=True, device="cpu")
    (x.to("cuda") * 3).sum().backward()
    assert x.grad is not None
    assert x.grad.device == "cpu"
    assert np.array_equal(np.asarray(x.grad), [3, 3])


def test_tensors_on_two_devices() -> None:
    here, there = weft.ones(2, 3, device="cpu"), weft.ones(2, 3, device="cuda")
    with pytest.raises(RuntimeError, match=r"add: .* on cuda:0 .* on cpu"):
        there + here
    with pytest.raises(RuntimeError, match=r"matmul: .* is on cuda:0 but .* is on cpu"):
        there @ weft.ones(3, 2, device="cpu")


def test_a_model_moves_whole() -> None:
    model = weft.nn.Sequential(weft.nn.Linear(3, 4), weft.nn.ReLU(), weft.nn.Linear(4, 2)).to("cpu")
    x = weft.randn(5, 3, device="cpu")
    expected = model(x)
    model.to("cuda")
    assert {p.device for p in model.parameters()} == {"cuda:0"}
    assert_close(model(x.to("cuda")), expected, terms=4)


def test_one_optimizer_for_two_devices_is_refused() -> None:
    here, there = weft.ones(2, requires_grad=True, device="cpu"), weft.ones(2, requires_grad=True, device="cuda")
    with pytest.raises(RuntimeError, match="a group must lie on one device, got cpu and cuda:0"):
        weft.optim.SGD([here, there], lr=0.1)


class Exchanged:
    """Another library's tensor: only the protocol."""

    def __init__(self, array: K.Array) -> None:
        self.lent = array
        self.stream: int | None = None

    def __dlpack__(self, stream: int | None = None) -> object:
        self.stream = stream
        return self.lent.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.lent.__dlpack_device__()


def test_dlpack(rng: np.random.Generator) -> None:
    x = K.asarray(rng.standard_normal((3, 4), np.float32), device="cuda")
    given = Exchanged(x)
    y = K.asarray(given)
    assert given.stream == K.cuda_current_stream().handle
    assert (y.device, y.data_ptr) == ("cuda:0", x.data_ptr)
    assert np.array_equal(np.asarray(y), np.asarray(x))


def much_work(x: weft.Tensor) -> weft.Tensor:
    """What a device has some milliseconds to do for."""
    for _ in range(30):
        x = x @ x
    return x


def test_dlpack_orders_streams_and_the_host_waits_for_none() -> None:
    """The memory was last used on a stream that is neither the exporter's current one nor the importer's."""
    last, consumer = weft.cuda.Stream(), weft.cuda.Stream()
    with weft.cuda.stream(last):
        x = much_work(weft.eye(300, device="cuda"))
    with weft.cuda.stream(consumer):
        y = K.asarray(Exchanged(x.array))
        assert not last.query()
        total = K.sum(y)
    consumer.synchronize()  # which came after `last`
    assert last.query()
    assert float(total) == 300


def test_memory_of_another_library_is_given_back_once_it_is_idle() -> None:
    stream = weft.cuda.Stream()
    owner = K.ones((300, 300), device="cuda")
    capsule = owner.__dlpack__(stream=stream.cuda_stream)
    idle = []

    class Lent:
        def __dlpack__(self, stream: int | None = None) -> object:
            return borrowed(capsule, lambda: idle.append(weft.cuda.Stream.query(queue)))

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    queue = stream
    with weft.cuda.stream(stream):
        much_work(weft.Tensor(K.asarray(Lent())))
    assert idle == [True]


def test_exported_memory_is_not_used_again_while_it_may_be_in_use() -> None:
    weft.cuda.synchronize()
    before = weft.cuda.memory_stats()["allocated"]
    x = K.ones((777, 13), device="cuda")
    capsule = x.__dlpack__()
    consume(capsule)  # the deleter runs while the consumer's kernels may be queued on any stream
    del x
    assert weft.cuda.memory_stats()["allocated"] > before
    weft.cuda.synchronize()
    assert weft.cuda.memory_stats()["allocated"] == before


def test_a_capsule_that_nobody_consumes_frees_its_memory() -> None:
    before = weft.cuda.memory_stats()["allocated"]
    x = K.ones((777, 13), device="cuda")
    x.__dlpack__()
    del x
    assert weft.cuda.memory_stats()["allocated"] == before


@pytest.mark.parametrize("stream", [None, 1, 2, -1])
def test_streams_that_a_consumer_may_name(stream: int | None) -> None:
    x = K.ones((3,), device="cuda")
    assert "dltensor" in repr(x.__dlpack__(stream=stream))


@pytest.mark.parametrize(
    ("device", "stream", "error", "message"),
    [
        ("cuda", 0, ValueError, "stream must be -1, 1, 2 or a cudaStream_t, got 0"),
        ("cuda", -2, ValueError, "stream must be -1, 1, 2 or a cudaStream_t, got -2"),
        ("cuda", "1", TypeError, "stream must be an int or None"),
        ("cuda", True, TypeError, "stream must be an int or None"),
        ("cpu", 1, ValueError, "stream must be None for an array on the CPU, got 1"),
    ],
)
def test_streams_that_are_none(device: str, stream: object, error: type[Exception], message: str) -> None:
    x = K.ones((3,), device=device)
    with pytest.raises(error, match=f"__dlpack__: {message}"):
        x.__dlpack__(stream=stream)


def test_results_that_are_not_copied_are_ordered_too() -> None:
    """A replay writes into the same memory: after whoever reads it on another stream, and before the next one."""
    step = K.Replay(device="cuda")
    x = K.ones((300, 300), device="cuda")
    step.set_inputs([x])
    step.begin()
    y = K.matmul(x, x)
    step.end()
    step.set_outputs([y])
    other = weft.cuda.Stream()
    for value in (1.0, 2.0, 3.0):
        (result,) = step.call([K.full((300, 300), value, device="cuda")], False)
        with weft.cuda.stream(other):
            total = K.sum(result)
        assert float(total) == pytest.approx(300.0**3 * value * value)


# --- memory ---


def test_the_allocator_counts_and_reuses() -> None:
    weft.cuda.empty_cache()
    before = weft.cuda.memory_stats()
    x = K.empty((1000, 1000), device="cuda")
    during = weft.cuda.memory_stats()
    assert during["allocated"] - before["allocated"] >= 4_000_000
    address = x.data_ptr
    del x
    assert weft.cuda.memory_stats()["allocated"] == before["allocated"]
    assert weft.cuda.memory_stats()["reserved"] == during["reserved"]
    again = K.empty((1000, 1000), device="cuda")
    if not os.environ.get("WEFT_CUDA_MEMCHECK"):  # there each array is a new allocation
        assert again.data_ptr == address
    assert weft.cuda.memory_stats()["hits"] == during["hits"] + 1
    del again
    weft.cuda.empty_cache()
    assert weft.cuda.memory_stats()["reserved"] == before["reserved"]
    weft.cuda.reset_peak_memory_stats()
    assert weft.cuda.memory_stats()["peak"] == weft.cuda.memory_stats()["allocated"]


def test_a_pinned_source_may_go_before_it_is_copied(rng: np.random.Generator) -> None:
    x = rng.standard_normal((300, 300), np.float32)
    stream = weft.cuda.Stream()
    with weft.cuda.stream(stream):
        much_work(weft.eye(300, device="cuda"))  # the copy waits for it
        there = weft.tensor(x, device="cpu").pin_memory().to("cuda")
    assert np.array_equal(np.asarray(there), x)


# --- streams and events ---


def test_streams_and_events() -> None:
    first, second = weft.cuda.Stream(), weft.cuda.Stream()
    assert first != second
    assert first.device == "cuda:0"
    begin, end = weft.cuda.Event(), weft.cuda.Event()
    with weft.cuda.stream(first):
        assert weft.cuda.current_stream() == first
        begin.record()
        x = weft.ones(1000, device="cuda") * 2
        end.record()
    assert weft.cuda.current_stream() != first
    second.wait_event(end)
    end.synchronize()
    assert end.query()
    assert begin.elapsed_time(end) >= 0
    assert float(x.sum()) == 2000
    first.synchronize()
    assert first.query()


def test_arrays_used_on_several_streams_are_ordered() -> None:
    """No one says so: each operation waits for what used its arrays before."""
    streams = [weft.cuda.Stream() for _ in range(3)]
    x = weft.ones(5000, device="cuda")
    for i in range(12):
        with weft.cuda.stream(streams[i % 3]):
            x = x + 1
            del_me = weft.zeros(5000, device="cuda")  # its memory passes from stream to stream
            del_me += i
            x = x + del_me - i
    assert float(x.mean()) == 13


def test_an_event_of_another_kind_of_device_is_refused() -> None:
    with pytest.raises(RuntimeError, match="cuda:9 does not exist"):
        weft.cuda.Event("cuda:9")


def test_threads_share_a_device() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(seed: int) -> float:
        x = weft.full((300,), float(seed), device="cuda")
        for _ in range(5):
            x = x + 1
        return float(x.mean())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(8))) == [seed + 5.0 for seed in range(8)]


def test_memory_passes_from_stream_to_stream_within_a_capture() -> None:
    """A block that is freed behind one stream's work is another array's on another stream, which waits."""
    first, second = weft.cuda.Stream(), weft.cuda.Stream()
    x = weft.eye(300, device="cuda").array
    step = K.Replay(device="cuda")
    step.begin()
    with weft.cuda.stream(first):
        products, addresses = x, set()
        for _ in range(30):
            products = K.matmul(products, x)
            addresses.add(products.data_ptr)
        total = K.sum(products)
        del products
    with weft.cuda.stream(second):
        ones = K.full((300, 300), 1.0, device="cuda")
    step.end()
    assert ones.data_ptr in addresses
    second.synchronize()
    first.synchronize()
    assert float(total) == 300
    assert float(K.sum(ones)) == 300 * 300


# --- checks and captures ---


def test_a_bad_index_is_found_on_the_device() -> None:
    x = weft.ones(4, 3, device="cuda")
    with pytest.raises(IndexError, match=r"index_select: index 4 is out of range for size 4"):
        K.index_select(x, 0, K.asarray([0, 4, 9], device="cuda"))
    assert float(x.sum()) == 12


def test_a_capture_is_one_graph(rng: np.random.Generator) -> None:
    @weft.capture
    def f(x: weft.Tensor) -> weft.Tensor:
        return (x * 2 + 1).sum()

    for i in range(5):
        x = rng.integers(0, 5, (4, 3)).astype(np.float32)
        assert float(f(weft.tensor(x, device="cuda"))) == float((x * 2 + 1).sum()), i
    (entry,) = f._entries.values()
    assert entry.replay.device == "cuda:0"
    assert entry.replay.graph_nodes >= len(entry.replay.launches())


def test_a_bad_index_in_a_replay_is_told_with_the_next_wait() -> None:
    table = weft.arange(5, dtype="float32", device="cuda")

    @weft.capture
    def f(index: weft.Tensor) -> weft.Tensor:
        return table.index_select(0, index)

    good = weft.tensor([1, 3], device="cuda")
    for _ in range(3):
        assert f(good).tolist() == [1, 3]
    f(weft.tensor([1, 5], device="cuda"))
    with pytest.raises(IndexError, match=r"index_select: index 5 is out of range for size 5"):
        weft.cuda.synchronize()
    assert f(good).tolist() == [1, 3]


def test_a_host_read_inside_a_capture() -> None:
    @weft.capture
    def f(x: weft.Tensor) -> weft.Tensor:
        return x * float(x.sum())

    x = weft.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="item: elements are read on the host inside of a capture"):
        f(x)


def test_a_copy_from_the_host_inside_a_capture() -> None:
    """A replay would not copy again."""
    here = weft.ones(3, device="cpu")

    @weft.capture
    def f(x: weft.Tensor) -> weft.Tensor:
        return x + here.to("cuda")

    with pytest.raises(RuntimeError, match="to: elements are read on the host inside of a capture"):
        f(weft.ones(3, device="cuda"))


def test_work_on_the_host_inside_a_capture_of_a_device() -> None:
    here = weft.ones(3, device="cpu")

    @weft.capture
    def f(x: weft.Tensor) -> weft.Tensor:
        here.add_(1)
        return x + 1

    f(weft.ones(3, device="cuda"))  # the first call runs as it is
    with pytest.raises(RuntimeError, match="runs on cpu inside of a capture on cuda:0"):
        f(weft.ones(3, device="cuda"))
