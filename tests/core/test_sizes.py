"""Sizes beyond 64 bits, and memory that there is not: a ValueError or a MemoryError that tells what was asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
import weft.nn.functional as F

HUGE = 2**63 - 1
X = np.ones((1, 4, 8, 8), np.float32)
WEIGHT = np.ones((4, 4, 3, 3), np.float32)


# --- views ---


def test_views_of_nothing() -> None:
    assert weft.zeros((2, 0)).T.flatten().shape == (0,)
    x = K.zeros((2, 0, 3)).permute((2, 0, 1))
    assert x.is_contiguous()
    assert x.reshape((0, 5)).shape == (0, 5)
    with pytest.raises(ValueError, match=r"reshape: shape \(3, 2, 0\) cannot be viewed as \(0, -1\)"):
        x.reshape((0, -1))


@pytest.mark.parametrize("shape", [(2**32, 2**32), (2**62, 0, 4), (HUGE,), (2**58,)])
def test_shapes_of_too_many_elements(shape: tuple[int, ...]) -> None:
    message = r"shape \(.*\) has too many elements, 2\^58 or more"
    for make in (
        lambda: K.empty(shape),
        lambda: weft.zeros(shape),
        lambda: K.ones((1,) * len(shape)).expand(shape),
        lambda: K.zeros((0,)).reshape(shape),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_expanded_as_far_as_numbers_go() -> None:
    x = K.ones(1).expand((2**28, 2**29))
    assert x.size == 2**57
    with pytest.raises(ValueError, match="expand: shape .* has too many elements"):
        x.unsqueeze(2).expand((2**28, 2**29, 2))


@pytest.mark.parametrize("step", [HUGE, -HUGE, 2**62, -(2**62), -(2**63)])
def test_slices_of_any_step(step: int) -> None:
    x = np.arange(12.0).reshape(3, 4)
    for index in (
        np.s_[::step],
        np.s_[2::step],
        np.s_[:0:step],
        np.s_[5:0:step],
        np.s_[:, 1::step],
        np.s_[1:1:step, 3],
    ):
        np.testing.assert_array_equal(K.asarray(x)[index].numpy(), x[index])
        np.testing.assert_array_equal(K.add(K.asarray(x)[index], 1.0).numpy(), x[index] + 1)


def test_strides_that_lead_nowhere() -> None:
    """NumPy lets the strides of an axis of one element, or of an empty array, be any number."""
    strided = np.lib.stride_tricks.as_strided
    one = strided(np.ones(4, np.float32), (1, 4), (2**62, 4))
    np.testing.assert_array_equal(K.add(one, one).numpy(), 2 * np.ones((1, 4)))
    for shape in [(0, 4), (3, 0, 5, 2)]:
        nothing = strided(np.ones(1, np.float32), shape, (2**62,) * len(shape))
        assert K.add(nothing, nothing).shape == shape
        assert K.asarray(nothing).transpose(0, 1).contiguous().size == 0


# --- options ---


def refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("value", [HUGE, 2**62, 2**31])
def test_options_of_convolutions(value: int) -> None:
    for option in ("padding", "dilation", "stride"):
        message = rf"{option} must .*at most 2147483647, got \({value}, {value}\)"
        refused(lambda option=option: K.conv2d(X, WEIGHT, **{option: value}), "conv2d: " + message)
        refused(
            lambda option=option: K.conv2d_relu_max_pool2d(X, WEIGHT, **{option: value}),
            "conv2d_relu_max_pool2d: " + message,
        )
        refused(
            lambda option=option: K.conv2d_backward_input(X, WEIGHT, (1, 4, 8, 8), **{option: value}),
            "conv2d_backward_input: " + message,
        )
    refused(lambda: K.conv2d(X, WEIGHT, padding=(0, 0, value, 0)), rf"conv2d: padding .* got \({value}, 0\)")
    refused(lambda: K.conv2d(X, WEIGHT, padding="same", dilation=value), "conv2d: dilation must")
    refused(lambda: K.conv2d_relu_max_pool2d(X, WEIGHT, kernel_size=value), "the pooling window must have 1 to 64")
    refused(lambda: K.max_pool2d(X, 2, padding=value), "max_pool2d: padding must be")
    refused(lambda: K.avg_pool2d(X, value), "avg_pool2d: ")
    refused(lambda: K.adaptive_avg_pool2d(X, (value, value)), "too many elements|output_size must be")
    refused(lambda: K.conv2d(X, WEIGHT, groups=value), "conv2d: groups=.* does not divide K=4")


def test_dilation_that_meets_nothing_but_padding() -> None:
    """The largest options that are allowed, of an image whose size they keep: the middle of the kernel counts."""
    most = 2**31 - 1
    out = K.conv2d(X, WEIGHT, padding=most, dilation=most)
    np.testing.assert_array_equal(out.numpy(), np.full((1, 4, 8, 8), 4.0))
    dx = K.conv2d_backward_input(out, WEIGHT, X.shape, padding=most, dilation=most)
    np.testing.assert_array_equal(dx.numpy(), np.full((1, 4, 8, 8), 16.0))
    dw = K.conv2d_backward_weight(X, X, WEIGHT.shape, padding=most, dilation=most)
    expected = np.zeros(WEIGHT.shape)
    expected[:, :, 1, 1] = 64
    np.testing.assert_array_equal(dw.numpy(), expected)
    few = K.conv2d(X, WEIGHT, padding=most, stride=most)
    assert few.shape == (1, 4, 3, 3)
    assert few.numpy()[0, :, 1, 1].tolist() == [36.0] * 4  # the others meet nothing but padding
    assert few.numpy().sum() == 4 * 36


def test_sizes_that_belong_to_no_array() -> None:
    refused(lambda: K.conv2d_output_size((HUGE, 4, HUGE, 8), (4, 4, 3, 3)), "conv2d: shape .* too many elements")
    refused(lambda: K.conv2d_output_size((1, 4, 8, 8), (HUGE, 4, HUGE, 3)), "conv2d: shape .* too many elements")
    refused(lambda: K.conv2d_backward_input(X, WEIGHT, (1, 4, HUGE, 8)), "conv2d_backward_input: shape .* too many")
    refused(lambda: K.conv2d_backward_weight(X, X, (4, 4, HUGE, 3)), "conv2d_backward_weight: shape .* too many")
    refused(lambda: K.avg_pool2d_backward(X, (HUGE, 4, 16, 16), 2), "avg_pool2d_backward: shape .* too many")
    refused(
        lambda: K.max_pool2d_backward(X, X.astype("i4"), (HUGE, 2, 16, 16)), "max_pool2d_backward: shape .* too many"
    )
    refused(lambda: K.conv2d_output_size((1, -4, 8, 8), (4, 4, 3, 3)), "conv2d: shape .* has a negative entry")


def test_work_that_no_number_tells() -> None:
    wide = K.ones(1).expand((2**31, 2**20))
    refused(
        lambda: K.matmul(wide, wide.transpose(0, 1)), r"gemm: that would be .* multiplications, 2\^62 or more|too many"
    )
    # Nothing comes out, but sizes are weighed before.
    refused(
        lambda: K.linear_backward(
            K.ones((1, 1)).expand((2**30, 2**20)),
            K.ones((1, 1)).expand((2**30, 2**20)),
            K.ones((1, 1)).expand((2**20,) * 2),
        ),
        "linear_backward: that would be",
    )


def test_pad() -> None:
    x = K.ones((8,))
    assert K.pad(x, (-3,), (2,)).shape == (7,)
    assert K.pad(x, (-8,), (0,)).shape == (0,)
    assert K.pad(x, (-8,), (3,)).tolist() == [0.0] * 3
    for before, after in [(-10, 10), (10, -10), (-5, -4), (-HUGE, HUGE), (-(2**63), 0)]:
        refused(lambda b=before, a=after: K.pad(x, (b,), (a,)), r"pad: widths before \(.*\) crop more than there is of")
    refused(lambda: K.pad(x, (HUGE,), (HUGE,)), "pad: widths .* larger than 64 bits can tell")
    refused(lambda: K.pad(x, (HUGE,), (0,)), "pad: widths .* larger than 64 bits|too many elements")
    for value in (float("nan"), 1e300, -float("inf")):
        refused(lambda v=value: K.pad(K.ones((2,), "int64"), (1,), (1,), v), "pad: .* does not fit into int64")


def test_arange_to_the_ends_of_int64() -> None:
    assert K.arange(HUGE - 2, HUGE).tolist() == [HUGE - 2, HUGE - 1]
    assert K.arange(-(2**63), HUGE, 2**62).tolist() == [-(2**63), -(2**62), 0, 2**62]
    assert K.arange(HUGE, -(2**63), -(2**62)).tolist() == [HUGE, 2**62 - 1, -1, -(2**62) - 1]
    assert K.arange(5, -5, -(2**63)).tolist() == [5]
    assert K.arange(0, 0, 3).size == 0
    assert K.arange(3, 0).size == 0
    refused(lambda: K.arange(-(2**63), HUGE), "arange: too many elements")
    refused(lambda: weft.arange(0, 1e300), "arange: too many elements")


def test_one_hot_and_stack() -> None:
    refused(lambda: K.one_hot(np.array([0, 1]), HUGE), "too many elements")
    refused(lambda: K.one_hot(np.zeros((1,) * 8, int), 3), "an array has at most 8 dimensions")
    refused(lambda: K.stack([K.ones(1).expand((2**57,))] * 2), "too many elements")
    refused(lambda: K.cat([K.ones(1).expand((2**57,))] * 2), "too many elements")
    refused(lambda: F.one_hot(weft.tensor([1]), HUGE), "too many elements")


# --- memory ---


@pytest.mark.cpu
@pytest.mark.parametrize("count", [2**45, 2**57])
def test_memory_that_there_is_not(count: int) -> None:
    message = (
        r"memory: the system gives no \d{15,} bytes more; arrays hold \d+, of the machine's \d+ bytes \d+ are free"
    )
    with pytest.raises(MemoryError, match=message):
        K.empty((count,))
    with pytest.raises(MemoryError, match=message):
        K.copy(K.ones(1).expand((count,)))
    assert K.ones((3,)).tolist() == [1.0] * 3


# --- what counts ---


@pytest.mark.cpu  # memory of NumPy is written
def test_counts_at_their_end() -> None:
    """A count of steps or batches may be a user's own number."""
    param, lr = np.ones(4, np.float32), np.array(0.1)
    for step in (np.array(HUGE), np.array(-1)):
        K.sgd_step(param, param.copy(), lr, step)
        K.adam_step(param, param.copy(), param.copy(), param.copy(), lr, step)
    batches = np.array(HUGE)
    K.batch_norm(
        X, num_batches_tracked=batches, training=True, running_mean=np.zeros(4, "f4"), running_var=np.ones(4, "f4")
    )
    assert batches == -(2**63)
    generator = K.Generator(3)
    generator.set_state((3, 2**63 - 1))
    K.uniform((9,), generator=generator)
    assert generator.get_state() == (3, 2**63 + 2)
