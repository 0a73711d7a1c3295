"""What is written is its own memory, never a copy; objects of the module's classes come from their constructors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
import weft.profiler

pytestmark = pytest.mark.cpu  # memory of NumPy is written

ONES = np.ones(3, np.float32)
STEP = {"lr": np.array(0.1), "step": np.array(0)}

# By the name of the kernel and the argument: a call that writes into x, and what it shall hold then.
WRITERS: dict[str, tuple[Any, Any]] = {
    "add out": (lambda x: K.add(ONES, ONES, out=x), [2, 2, 2]),
    "square out": (lambda x: K.square(2 * ONES, out=x), [4, 4, 4]),
    "clip out": (lambda x: K.clip(5 * ONES, 0, 2, out=x), [2, 2, 2]),
    "fill out": (lambda x: K.fill(x, 7), [7, 7, 7]),
    "copy_into out": (lambda x: K.copy_into(x, 3 * ONES), [3, 3, 3]),
    "index_add out": (lambda x: K.index_add(x, 0, np.array([1]), ONES[:1]), [1, 2, 1]),
    "scatter_add out": (lambda x: K.scatter_add(x, 0, np.array([1]), ONES[:1]), [1, 2, 1]),
    "fill_bernoulli out": (lambda x: K.fill_bernoulli(x, 0.0), [0, 0, 0]),
    "fill_uniform out": (lambda x: K.fill_uniform(x, 4, 4), [4, 4, 4]),
    "fill_normal out": (lambda x: K.fill_normal(x, 4, 0), [4, 4, 4]),
    "clip_grad_norm grads": (lambda x: K.clip_grad_norm([x], 0.0), [0, 0, 0]),
    "sgd_step param": (lambda x: K.sgd_step(x, 2 * ONES, np.array(0.5), np.array(0)), [0, 0, 0]),
    "sgd_step momentum_buffer": (
        lambda x: K.sgd_step(ONES.copy(), 5 * ONES, momentum_buffer=x, momentum=0.5, **STEP),
        None,
    ),
    "adagrad_step square_sum": (lambda x: K.adagrad_step(ONES.copy(), ONES, x, **STEP), [2, 2, 2]),
    "rmsprop_step square_average": (
        lambda x: K.rmsprop_step(ONES.copy(), 3 * ONES, x, np.array(0.1), alpha=0.0),
        [9, 9, 9],
    ),
    "adam_step second_moment": (
        lambda x: K.adam_step(ONES.copy(), 3 * ONES, ONES.copy(), x, np.array(0.1), np.array(0), beta2=0.0),
        [9, 9, 9],
    ),
    "batch_norm running_mean": (
        lambda x: K.batch_norm(
            np.full((2, 3), 5, np.float32), running_mean=x, running_var=ONES.copy(), training=True, momentum=1.0
        ),
        [5, 5, 5],
    ),
}


def unwritable() -> dict[str, Any]:
    bytes_of = np.zeros(3 * 4 + 1, np.uint8)
    fields = np.zeros(3, [("a", "i1"), ("x", "f4")])
    return {
        "a list": [1.0, 1.0, 1.0],
        "a tuple": (1.0, 1.0, 1.0),
        "a number": 1.0,
        "another byte order": np.ones(3, ">f4"),
        "not aligned": bytes_of[1:].view("f4"),
        "a field": fields["x"],
        "half precision": np.ones(3, "f2"),
        "complex": np.ones(3, "c8"),
        "a str": "out",
    }


@pytest.mark.parametrize("writer", WRITERS)
def test_outputs_are_their_own_memory(writer: str) -> None:
    write, expected = WRITERS[writer]
    for x in (np.ones(3, np.float32), K.ones((3,), device="cpu"), weft.ones(3, device="cpu")):
        write(x)
        if expected is not None:
            assert np.asarray(x).tolist() == expected


@pytest.mark.parametrize(
    "writer", ["add out", "square out", "clip out", "fill out", "copy_into out", "fill_normal out"]
)
def test_outputs_may_have_strides(writer: str) -> None:
    write, expected = WRITERS[writer]
    x = np.ones(6, np.float32)
    write(x[::2])
    assert x.tolist() == [n for e in expected for n in (e, 1)]


@pytest.mark.parametrize("kind", unwritable())
@pytest.mark.parametrize("writer", WRITERS)
def test_what_could_only_be_copied_is_refused(writer: str, kind: str) -> None:
    x = unwritable()[kind]
    with pytest.raises(TypeError, match="out: |list: expected a sequence"):
        WRITERS[writer][0](x)


@pytest.mark.parametrize(
    "x",
    [np.ones(3, ">f8"), np.arange(3 * 8 + 1, dtype="u1")[1:].view("f8"), np.ones(3, [("a", "i1"), ("x", "f4")])["x"]],
)
def test_inputs_of_such_memory_are_copied(x: np.ndarray) -> None:
    array = K.asarray(x)
    assert array.data_ptr % array.dtype.itemsize == 0
    np.testing.assert_array_equal(array.numpy(), x.astype(x.dtype.newbyteorder("=")))


def test_elements_of_an_output_lie_apart() -> None:
    x = K.zeros((1,)).expand((4,))
    for write in (lambda: K.fill(x, 1), lambda: K.copy_into(x, K.ones((4,))), lambda: K.add(K.ones((4,)), 1.0, out=x)):
        with pytest.raises(
            ValueError, match=r"several elements of the output may lie in one place \(shape \(4,\), strides \(0,\)\)"
        ):
            write()


# --- classes ---


@pytest.mark.parametrize("enum", [K.DType, K.MemoryFormat])
def test_enums_have_their_members_alone(enum: Any) -> None:
    for name, member in enum.__members__.items():
        assert enum(int(member)) == member
        assert pickle.loads(pickle.dumps(member)) == member == copy.deepcopy(member), name
    for value in (7, -1, 2**70):
        with pytest.raises(ValueError, match=rf"{enum.__name__}: {value} is not the number of a member; they are "):
            enum(value)
    for value in ("float32", None, 0.0):
        with pytest.raises(TypeError, match=f"{enum.__name__}: .* is not the number of a member"):
            enum(value)
    with pytest.raises(TypeError):
        enum.__new__(enum)
    with pytest.raises(AttributeError):
        next(iter(enum.__members__.values())).__setstate__(1)


@pytest.mark.parametrize("cls", [K.Array, K.Generator, K.Replay, K.CudaStream, K.CudaEvent])
def test_objects_come_from_their_constructor(cls: Any) -> None:
    with pytest.raises(TypeError):
        cls.__new__(cls)
    with pytest.raises(TypeError):
        object.__new__(cls)

    class Derived(cls):
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError):
        Derived()
    with pytest.raises(TypeError):
        Derived.__new__(Derived)


def test_copies_of_what_cannot_be_copied() -> None:
    for x in (K.Generator(1), K.Replay(), K.ones((2,))):
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                make(x)


def test_derived_classes_work() -> None:
    class Seeded(K.Generator):
        def __init__(self) -> None:
            super().__init__(5)

    assert Seeded().seed == 5
    assert K.uniform((3,), generator=Seeded()).tolist() == K.uniform((3,), generator=K.Generator(5)).tolist()


# --- texts ---


class Lies:
    """A sequence that says it is longer than memory."""

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, i: int) -> Any:
        if i > 1:
            raise IndexError
        return K.ones((2,))


class BadExchange:
    def __init__(self, capsule: Any, device: Any = (1, 0)) -> None:
        self.capsule, self.device = capsule, device

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> Any:
        return self.device


def test_sequences_count_by_their_items() -> None:
    assert K.cat(Lies()).tolist() == [1.0] * 4
    with pytest.raises(TypeError, match="list: expected a sequence of arrays, got int"):
        K.cat(5)
    with pytest.raises(TypeError, match="list: expected a sequence of numbers, got str"):
        K.write_now(K.zeros((1,), "float64"), "1")


def test_exchange_that_gives_something_else() -> None:
    for capsule, device, message in [
        (5, (1, 0), "__dlpack__ must give a fresh DLPack capsule, got int"),
        (None, (1, 0), "__dlpack__ must give a fresh DLPack capsule, got NoneType"),
        (
            K.ones((2,), device="cpu").__dlpack__(),
            "cpu",
            r"__dlpack_device__ must give a tuple \(type, index\), got str",
        ),
        (K.ones((2,), device="cpu").__dlpack__(), (1, 2, 3), "__dlpack_device__ must give a tuple"),
    ]:
        with pytest.raises(TypeError, match=message):
            K.asarray(BadExchange(capsule, device))
    used = K.ones((2,), device="cpu").__dlpack__()
    np.from_dlpack(BadExchange(used))
    with pytest.raises(TypeError, match="fresh DLPack capsule"):
        K.asarray(BadExchange(used))


def test_texts_of_numbers_and_names() -> None:
    with pytest.raises(ValueError, match="int: 9223372036854775808 does not fit into int64"):
        K.zeros((2**63,))
    with pytest.raises(ValueError, match="int: a number of 33220 bits does not fit into int64"):
        K.zeros((10**10000,))
    with pytest.raises(ValueError, match="device: expected 'cpu', 'cuda' or 'cuda:<index>', got 'c\\?'"):
        K.zeros((2,), device="c\udc80")
    with pytest.raises(TypeError, match="array: dtype"):
        K.zeros((2,), dtype="f\udc80")
    with pytest.raises(ValueError, match="conv2d: padding must be an int"):
        K.conv2d(np.ones((1, 1, 3, 3), "f4"), np.ones((1, 1, 1, 1), "f4"), padding="s\udc80")
    with pytest.raises(TypeError, match="set_site_hook: the function must give an int, got str"):
        site_hook_that_gives("here")


def site_hook_that_gives(value: Any) -> None:
    step = K.Replay(device="cpu")
    K.set_site_hook(lambda: value)
    try:
        step.begin()
        K.ones((2,), device="cpu")
    finally:
        step.end()
        K.set_site_hook(weft.profiler._site)
