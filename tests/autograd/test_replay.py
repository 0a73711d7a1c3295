"""Recording and replay (weft.kernels.Replay): the kernels, their memory, and what is refused."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import to_numpy


def record(function, *inputs, strict=True):
    """(replay, results of the recorded run): function as it was run once, on buffers of its own."""
    replay = K.Replay(strict)
    buffers = [K.copy(x) for x in inputs]
    replay.begin()
    try:
        outputs = function(*buffers)
    finally:
        replay.end()
    outputs = outputs if isinstance(outputs, list) else [outputs]
    replay.set_inputs(buffers)
    replay.set_outputs(outputs)
    return replay, [K.copy(x).numpy() for x in outputs]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def chain(a, b):
    """Several kernels whose intermediate arrays die on the way."""
    for _ in range(4):
        a = K.tanh(K.add(K.matmul(a, b), 0.25))
    return [a, K.sum(a, 0)]


def test_a_replay_has_the_bits_of_the_kernels(every_isa):
    b = numbers(7, 7, seed=1)
    replay, first = record(chain, numbers(5, 7), b)
    for expected, found in zip(chain(numbers(5, 7), b), first, strict=True):
        np.testing.assert_array_equal(expected.numpy(), found)
    for seed in range(3):
        a = numbers(5, 7, seed=seed + 10)
        for expected, found in zip(chain(a, b), replay.call([a, b]), strict=True):
            np.testing.assert_array_equal(expected.numpy(), found.numpy())


def test_launches_have_names_and_bytes():
    replay, _ = record(lambda x: K.add(K.exp(x), x), numbers(4, 4))
    found = [launch for launch in replay.launches() if launch[0] != "poison"]
    assert found == [("exp", 128), ("add", 192)]


def test_the_pool_hands_freed_blocks_out_again():
    def long_chain(x):
        for _ in range(50):
            x = K.add(x, 1.0)
        return x

    replay, _ = record(long_chain, numbers(1000))
    memory = replay.memory()
    assert memory["arrays"] >= 50
    assert memory["blocks"] <= 4
    assert memory["peak"] < 3 * 4096
    (found,) = replay.call([np.zeros(1000, "float32")])
    assert found.numpy().tolist() == [50.0] * 1000


def test_outputs_are_copies_or_the_recorded_arrays():
    replay, _ = record(lambda x: K.mul(x, 2.0), numbers(3))
    (copied,) = replay.call([np.ones(3, "float32")])
    (same,) = replay.call([np.full(3, 2, "float32")], copy_outputs=False)
    assert copied.numpy().tolist() == [2, 2, 2]
    assert same.numpy().tolist() == [4, 4, 4]
    replay.call([np.full(3, 3, "float32")])
    assert same.numpy().tolist() == [6, 6, 6]
    assert same.shares_memory(replay.outputs[0])


def test_outputs_outlive_the_recording():
    replay, _ = record(lambda x: K.mul(x, 2.0), numbers(3))
    (same,) = replay.call([np.ones(3, "float32")], copy_outputs=False)
    del replay
    gc.collect()
    assert K.add(same, 0.0).numpy().tolist() == [2, 2, 2]


def test_inputs_are_checked():
    replay, _ = record(lambda x: K.mul(x, 2.0), numbers(3))
    with pytest.raises(ValueError, match=r"capture: input 0 has shape \(4,\) but \(3,\) was recorded"):
        replay.call([numbers(4)])
    with pytest.raises(TypeError, match="capture: input 0 is float64 but float32 was recorded"):
        replay.call([np.zeros(3)])
    with pytest.raises(ValueError, match="recorded with 1 arrays, called with 0"):
        replay.call([])
    with pytest.raises(RuntimeError, match="nothing is recorded"):
        K.Replay().call([])


def test_numbers_and_constants_are_kept():
    def function(x):
        constant = K.asarray(np.arange(3, dtype="float32"))
        return K.add(K.mul(x, constant), K.asarray(5.0))

    replay, _ = record(function, numbers(3))
    gc.collect()
    junk = [K.full((3,), 7.0) for _ in range(100)]
    (found,) = replay.call([np.ones(3, "float32")])
    assert found.numpy().tolist() == [5, 6, 7]
    assert len(junk) == 100


def test_a_number_costs_no_kernel_of_a_replay_on_a_device(cuda_device):
    replay, _ = record(lambda x: K.add(K.mul(x, 3), 0.5), numbers(3))
    gc.collect()
    junk = [K.full((), 7.0) for _ in range(100)]
    for value in (1, 2):
        assert replay.call([np.full(3, value, "float32")])[0].numpy().tolist() == [3 * value + 0.5] * 3
    assert [name for name, _ in replay.launches() if name != "poison"] == ["mul", "add"]
    assert len(junk) == 100


def test_arrays_made_inside_start_anew_in_each_replay():
    def function(x):
        total = K.zeros((3,))
        K.add(total, x, total)
        return total

    replay, _ = record(function, numbers(3))
    for _ in range(3):
        assert replay.call([np.ones(3, "float32")])[0].numpy().tolist() == [1, 1, 1]


def test_memory_from_outside_is_updated_in_place():
    total = K.zeros((3,))
    version = total.version

    def function(x):
        K.add(total, x, total)
        total.bump_version()
        return K.copy(total)

    replay, _ = record(function, np.ones(3, "float32"))
    for i in range(3):
        assert replay.call([np.ones(3, "float32")])[0].numpy().tolist() == [i + 2] * 3
    assert total.version == version + 4


def test_random_numbers_go_on_in_a_replay():
    def function(x):
        out, mask = K.dropout(x, 0.5)
        orders = [K.randperm(7)] if K.default_device() == "cpu" else []  # they are drawn there only
        return [out, K.uniform((5,)), *orders, K.cast(mask, "int64")]

    x = np.ones(100, "float32")
    K.manual_seed(3)
    expected = [[K.copy(a).numpy() for a in function(x)] for _ in range(4)]
    offset = K.default_generator().offset
    K.manual_seed(3)
    replay, first = record(function, x)
    found = [first] + [[a.numpy() for a in replay.call([x])] for _ in range(3)]
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert K.default_generator().offset == offset


def test_a_seed_set_inside_is_set_in_each_replay():
    def function():
        K.manual_seed(5)
        return K.uniform((4,))

    replay, first = record(function)
    K.uniform((9,))
    np.testing.assert_array_equal(replay.call([])[0].numpy(), first[0])


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (lambda x: K.sum(x).item(), "item"),
        (lambda x: float(K.sum(x)), "item"),
        (lambda x: bool(K.sum(x)), "item"),
        (lambda x: x.tolist(), "numpy"),
        (lambda x: np.asarray(x), "numpy"),
        (lambda x: repr(x), "numpy"),
        (lambda x: x.__dlpack__(), "__dlpack__"),
        (lambda x: K.one_hot(K.cast(x, "int64")), "one_hot"),
        (lambda x: K.default_generator().offset, "Generator.offset"),
        (lambda x: K.default_generator().seed, "Generator.seed"),
    ],
)
@pytest.mark.parametrize("mode", ["begin", "watch"])
def test_reads_on_the_host_are_refused(read, what, mode):
    x = K.ones((3,))
    K.default_generator()
    replay = K.Replay()
    getattr(replay, mode)()
    try:
        with pytest.raises(BufferError):
            memoryview(x)
        with pytest.raises(RuntimeError, match=f"{what}.*: elements are read on the host inside of a capture"):
            read(x)
    finally:
        replay.end()
    read(x)


def test_a_lenient_recording_goes_on_and_says_why_it_is_void():
    replay = K.Replay(strict=False)
    replay.begin()
    value = K.sum(K.ones((3,))).item()
    replay.end()
    assert value == 3
    assert not replay.complete
    assert replay.reason.startswith("item: elements are read on the host")
    with pytest.raises(RuntimeError, match="nothing is recorded"):
        replay.call([])


def test_bounds_are_checked_in_each_replay():
    table = numbers(5, 2)
    logits = numbers(2, 5)
    cases = [
        (lambda i: K.index_select(table, 0, i), "index_select: index 7 is out of range for size 5"),
        (lambda i: K.gather(table, 0, i.reshape((1, 2))), "gather: index 7"),
        (lambda i: K.one_hot(i, 5), "one_hot: index 7 is out of range for size 5"),
        (
            lambda i: [K.cross_entropy(logits, i)[0]],
            "cross_entropy: target 7 at position 1 is not a class: expected 0 to 4",
        ),
        (
            lambda i: K.gather_images(np.zeros((5, 1, 2, 2), "uint8"), i, np.ones(1, "float32"), np.ones(1, "float32")),
            "gather_images: index 7 is out of range for 5 images",
        ),
    ]
    for function, message in cases:
        replay, _ = record(function, np.array([0, 4]))
        with pytest.raises(IndexError, match=message):
            replay.call([np.array([1, 7])])[0].numpy()  # on a device the error shows when the host waits
        assert len(replay.call([np.array([3, 2])])) >= 1


def test_a_transformation_that_is_not_finite_is_refused_in_a_replay():
    images, index = np.zeros((1, 1, 2, 2), "uint8"), np.zeros(1, "int64")
    one = np.ones(1, "float32")
    replay, _ = record(lambda theta: K.warp_images(images, index, theta, (2, 2), one, one), np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="theta must be finite, got nan for image 0"):
        replay.call([np.full((1, 2, 3), np.nan)])[0].numpy()


def test_captures_do_not_nest():
    outer, inner = K.Replay(), K.Replay()
    outer.begin()
    try:
        with pytest.raises(RuntimeError, match="inside of another capture"):
            inner.begin()
    finally:
        outer.end()
    with pytest.raises(RuntimeError, match="not begun in this thread"):
        inner.end()
    with pytest.raises(RuntimeError, match="already recorded"):
        outer.begin()


def test_other_threads_are_not_recorded():
    replay = K.Replay()
    seen = []

    def other():
        seen.append((K.add(K.ones((3,)), 1.0).tolist(), K.in_capture()))

    replay.begin()
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert K.in_capture()
    replay.end()
    assert seen == [([2, 2, 2], False)]
    assert replay.launches() == []
    assert not K.in_capture()


def test_a_recording_belongs_to_the_instruction_set_it_was_made_on(every_isa):
    replay, first = record(chain, numbers(5, 7), numbers(7, 7, seed=1))
    K.set_isa("reference")
    for expected, found in zip(first, replay.call([numbers(5, 7), numbers(7, 7, seed=1)]), strict=True):
        np.testing.assert_array_equal(expected, found.numpy())


def test_a_dropped_recording_ends():
    replay = K.Replay()
    replay.begin()
    del replay
    gc.collect()
    assert not K.in_capture()
    assert K.add(1.0, 2.0).item() == 3


FIRST_USE = """
import weft
import weft.kernels as K
replay = K.Replay()
replay.begin()
out = K.uniform((4,))
replay.end()
replay.set_outputs([out])
first = out.tolist()
assert replay.call([])[0].tolist() != first
K.manual_seed(0)
assert replay.call([])[0].tolist() == first
"""


def test_the_default_generator_may_be_used_for_the_first_time():
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_generator_made_inside_begins_anew_in_each_replay():
    replay, first = record(lambda: K.uniform((4,), generator=K.Generator(3, K.default_device())))
    for _ in range(2):
        np.testing.assert_array_equal(replay.call([])[0].numpy(), first[0])


def test_attributes_are() -> None:
    one, other = object(), object()
    holder = types.SimpleNamespace(a=one, b=other)
    assert K.attributes_are([holder, holder], ["a", "b"], [one, other])
    assert not K.attributes_are([holder, holder], ["a", "b"], [one, one])
    assert K.attributes_are([], [], [])
    with pytest.raises(AttributeError, match="c"):
        K.attributes_are([holder], ["c"], [one])
    with pytest.raises(ValueError, match="attributes_are: the lists must be of one length, got 1, 0 and 0"):
        K.attributes_are([holder], [], [])


def test_signature_of_tensors() -> None:
    x, y = weft.ones(2, 3), weft.ones(3, 2)
    key = K.signature_of_tensors((x, y), weft.Tensor)
    assert key == K.signature([x.array, y.array])
    assert key != K.signature_of_tensors((y, x), weft.Tensor)
    assert K.signature_of_tensors((x, 3), weft.Tensor) is None
    assert K.signature_of_tensors((weft.nn.Parameter(x),), weft.Tensor) is None


def test_inputs_of_every_kind():
    """More than one launch copies; empty, strided and of other dtypes; of the very memory; of another's place."""
    rng = np.random.default_rng(0)
    shapes = [(5,), (3, 4), (), (0, 2), (70,), (2, 3, 4), (1,), (17,), (33,), (4, 4), (9,)]
    dtypes = ["float32", "int64", "uint8", "float64"]
    kinds = list(zip(shapes, itertools.cycle(dtypes), strict=False))

    def given():
        arrays = [K.cast(np.asarray(rng.integers(0, 9, s), np.float64), d) for s, d in kinds]
        arrays[5] = K.cast(np.asarray(rng.integers(0, 9, (4, 3, 2)), np.float64), kinds[5][1]).permute((2, 1, 0))
        return arrays

    inputs = [K.copy(a, K.MemoryFormat.contiguous_format) for a in given()]
    replay, _ = record(lambda: [K.copy(a) for a in inputs])
    replay.set_inputs(inputs)
    for _ in range(3):
        arrays = given()
        for found, expected in zip(replay.call(arrays), arrays, strict=True):
            np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))
    before = [to_numpy(a) for a in inputs]
    for found, kept in zip(replay.call(inputs), before, strict=True):
        np.testing.assert_array_equal(to_numpy(found), kept)


def test_inputs_that_lie_in_each_others_place_are_copied_one_after_the_other():
    a, b = K.asarray(np.arange(4.0)), K.asarray(np.arange(4.0, 8.0))
    replay, _ = record(lambda: [K.copy(a), K.copy(b)])
    replay.set_inputs([a, b])
    found = replay.call([b, a])
    assert [x.tolist() for x in found] == [[4, 5, 6, 7], [4, 5, 6, 7]]


def test_threads_record_and_replay_one_after_the_other():
    replay = K.Replay()
    begun, failed = [], []

    def record():
        try:
            replay.begin()
        except RuntimeError as error:
            failed.append(str(error))
            return
        begun.append(threading.get_ident())
        out = K.square(K.full((3,), 3.0))
        time.sleep(0.05)  # the others wait
        replay.end()
        replay.set_outputs([out])

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(record)
    assert len(begun) == 1
    assert failed == ["capture: this one is already recorded"] * 7
    with ThreadPoolExecutor(8) as pool:
        for result in [pool.submit(replay.call, []) for _ in range(50)]:
            assert result.result()[0].tolist() == [9.0, 9.0, 9.0]


def test_what_another_thread_records_can_be_looked_at_when_it_has_ended():
    replay, begun = K.Replay(), threading.Event()

    def record():
        replay.begin()
        begun.set()
        for _ in range(300):
            K.square(K.ones((3,)))
        replay.end()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(record)
        begun.wait()
        assert [name for name, _ in replay.launches()].count("square") == 300
        assert replay.complete
        assert replay.reason is None
        done.result()


def test_end_belongs_to_the_thread_that_began():
    replay = K.Replay()
    replay.watch()
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="capture: not begun in this thread"):
        pool.submit(replay.end).result()
    replay.end()


def test_a_replay_dropped_by_another_thread_stays_while_it_is_recorded():
    replays = [K.Replay()]

    def record():
        replays[0].begin()
        begun.set()
        dropped.wait()
        return K.square(K.full((3,), 3.0)).shape  # goes into it still

    begun, dropped = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(record)
        begun.wait()
        replays.clear()
        dropped.set()
        assert done.result() == (3,)


@pytest.mark.cpu
def test_a_forked_child_does_not_wait_for_a_recording_that_nobody_ends():
    replay, begun, done = K.Replay(), threading.Event(), threading.Event()

    def record():
        replay.begin()
        begun.set()
        done.wait()
        replay.end()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(record)
        begun.wait()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                replay.begin()
            except RuntimeError as error:
                os._exit(0 if "another thread was using it when this process was forked" in str(error) else 1)
            os._exit(2)
        status = os.waitpid(pid, 0)[1]
        done.set()
    assert os.waitstatus_to_exitcode(status) == 0
