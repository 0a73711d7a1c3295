"""What needs other circumstances than the running process has (no driver, little memory, a fork, a lost device): each
in a process of its own, in the emulator where it must provide them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("cuda_device")
MIB = 1 << 20


def process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import numpy as np, weft\nimport weft.kernels as K\n{code}"],
        env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip


def in_process(code: str, **environment: str) -> str:
    """What a new process prints."""
    result = process(code, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# --- memory ---


@pytest.mark.emulated
def test_out_of_memory_says_how_much_and_the_next_smaller_step_works() -> None:
    text = in_process(
        """
held = K.zeros((4 << 20,), "uint8", "cuda")
kept = K.zeros((8 << 20,), "uint8", "cuda")
del kept
try:
    K.empty((200 << 20,), "uint8", "cuda")
except MemoryError as error:
    print(error)
x = weft.ones(1 << 20, device="cuda")
print(float((x + x).sum()))
""",
        WEFT_EMULATED_MEMORY=str(64 * MIB),
    )
    message, total = text.splitlines()
    assert message.startswith(f"cuda:0: out of memory: asked for {200 * MIB} bytes; arrays hold ")
    assert f"the device has {60 * MIB} of {64 * MIB} bytes free" in message  # the 8 MiB were given back
    assert float(total) == 2 * MIB


@pytest.mark.emulated
def test_kept_memory_is_given_back_before_an_allocation_fails() -> None:
    text = in_process(
        """
for size in (10, 20, 40):  # MiB: of different classes
    K.empty((size << 20,), "uint8", "cuda")
print(weft.cuda.memory_stats()["allocated"])
""",
        WEFT_EMULATED_MEMORY=str(64 * MIB),
    )
    assert text == "0"


# --- processes ---

FORK = """
import os
if {used}:
    x = weft.ones(3, device="cuda")
child = os.fork()
if child == 0:
    try:
        print(float(weft.ones(3, device="cuda").sum()), flush=True)
    except RuntimeError as error:
        print(error, flush=True)
    print(float(weft.ones(3, device="cpu").sum()), flush=True)
    if {used}:
        try:
            x.tolist()
        except RuntimeError:
            del x
    os._exit(0)
status = os.waitpid(child, 0)[1]
print(status, float(weft.ones(3, device="cuda").sum()))
"""


def test_a_device_after_a_fork() -> None:
    error, on_host, parent = in_process(FORK.format(used=True)).splitlines()
    assert error.startswith("cuda: this process was forked from one that had used CUDA")
    assert error.endswith('"spawn"')
    assert on_host == "3.0"
    assert parent == "0 3.0"


def test_a_fork_of_a_process_that_used_no_device() -> None:
    assert in_process(FORK.format(used=False)).splitlines() == ["3.0", "3.0", "0 3.0"]


def test_spawned_processes_use_the_device() -> None:
    code = """
import multiprocessing
x = weft.ones(3, device="cuda")
with multiprocessing.get_context("spawn").Pool(1) as pool:
    print(pool.apply(eval, ("float(__import__('weft').ones(4, device='cuda').sum())",)))
"""
    assert in_process(code) == "4.0"


# --- several devices ---


@pytest.mark.emulated
def test_two_devices() -> None:
    text = in_process(
        """
a = weft.arange(4, dtype="float32", device="cuda:0")
b = a.to("cuda:1")
print(b.device, b.tolist(), weft.cuda.device_count())
try:
    a + b
except RuntimeError as error:
    print(error)
weft.manual_seed(3)
x, y = weft.randn(5, device="cuda:0"), weft.randn(5, device="cuda:1")
print(np.array_equal(np.asarray(x), np.asarray(y)))
""",
        WEFT_EMULATED_DEVICES="2",
    )
    first, error, same = text.splitlines()
    assert first == "cuda:1 [0.0, 1.0, 2.0, 3.0] 2"
    assert "cuda:0" in error
    assert "cuda:1" in error
    assert same == "True"


@pytest.mark.emulated
def test_seeding_touches_no_device_and_reaches_it_later() -> None:
    text = in_process(
        """
weft.manual_seed(7)
print(weft.cuda.memory_stats()["misses"])
print(np.array_equal(np.asarray(weft.rand(9, device="cuda")), np.asarray(weft.rand(9, device="cpu"))))
"""
    )
    assert text.splitlines() == ["0", "True"]


# --- what can be wrong with a machine ---


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        ("nodriver", "there is no CUDA driver on this machine"),
        ("olddriver", "the driver supports CUDA 11.0, which is older than the CUDA 13.0 that weft was built with"),
        ("0", "the driver finds no CUDA device"),
    ],
)
def test_without_a_device_weft_works_and_says_why_there_is_none(devices: str, reason: str) -> None:
    text = in_process(
        """
print(weft.cuda.is_available(), weft.cuda.device_count())
print(weft.cuda.unavailable_reason())
print(float(weft.ones(3).sum()))
for use in (lambda: weft.ones(3).to("cuda"), lambda: weft.set_default_device("cuda"), weft.cuda.synchronize,
            lambda: weft.nn.Linear(2, 2).to("cuda"), weft.cuda.Stream, weft.cuda.memory_stats):
    try:
        use()
    except RuntimeError as error:
        print(error)
""",
        WEFT_EMULATED_DEVICES=devices,
        WEFT_TEST_DEVICE="cpu",
    )
    available, why, total, *errors = text.splitlines()
    assert available == "False 0"
    assert why.startswith(reason)
    assert total == "3.0"
    assert len(errors) == 6
    assert all(e.startswith(f"cuda:0 cannot be used: {reason}") for e in errors)


@pytest.mark.emulated
def test_an_architecture_that_was_not_built() -> None:
    text = in_process(
        """
try:
    weft.ones(3, device="cuda")
except RuntimeError as error:
    print(error)
""",
        WEFT_EMULATED_ARCH="wrong",
    )
    assert "this build of weft has kernels for the architectures 80,90, but cuda:0" in text
    assert "build weft with CMAKE_CUDA_ARCHITECTURES=" in text


# An array whose memory is not there, from another library that says it is.
WRONG_MEMORY = """
import ctypes

class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device", ctypes.c_int32),
                ("rank", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.c_void_p),
                ("offset", ctypes.c_uint64), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]

shape = (ctypes.c_int64 * 1)(1000)
tensor = Tensor(1 << 20, 2, 0, 1, 2, 32, 1, shape, None, 0, None, None)
capsule = ctypes.pythonapi.PyCapsule_New
capsule.restype, capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

class Wrong:
    def __dlpack__(self, **options):
        return capsule(ctypes.addressof(tensor), b"dltensor", None)

    def __dlpack_device__(self):
        return 2, 0

x = K.asarray(Wrong())
for work in (lambda: K.exp(x), weft.cuda.synchronize, lambda: K.ones(3, device="cuda")):
    try:
        work()
        print("nothing")
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.parametrize("wait", [False, True])
def test_a_fault_is_an_error_and_names_the_operation_if_weft_waits_for_each(wait: bool) -> None:
    result = process(WRONG_MEMORY, WEFT_CUDA_SYNC=str(int(wait)))
    if "WEFT_SANITIZED" in os.environ:  # it ends the process itself
        assert "AddressSanitizer: SEGV" in result.stderr
        return
    assert result.returncode == 0, result.stderr
    launch, synchronize, later = result.stdout.splitlines()
    if wait:
        assert launch.startswith("exp: failed on cuda:0: ")
    else:
        assert launch == "nothing"
        assert synchronize.startswith("cuda: an operation on cuda:0 failed: ")
        assert synchronize.endswith("; WEFT_CUDA_SYNC=1 in the environment makes the error name it")
    # The device is lost, as CUDA has it; Python goes on.
    assert later.startswith("cuda: ")
