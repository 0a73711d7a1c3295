"""JAX's side: compiled functions of the same convolutions, networks and steps, waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    jax = None  # type: ignore[assignment,unused-ignore]

Run = Callable[[], object]


def waiting(function: Callable[..., Any], *inputs: Any) -> Run:
    """JAX returns before the result is there."""
    compiled = jax.jit(function)
    given = jax.tree.map(jnp.asarray, list(inputs))
    return lambda: jax.block_until_ready(compiled(*given))


def convolution(stride: int, padding: int, groups: int) -> Callable[..., Any]:
    def convolve(x: Any, w: Any, b: Any) -> Any:
        out = jax.lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2, feature_group_count=groups)
        return out + b[:, None, None]

    return convolve


def convolution_backward(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda dout, *inputs: jax.vjp(function, *inputs)[1](dout)


def lenet(p: list[Any], x: Any) -> Any:
    """LeNet-5 as weft.models.LeNet5 has it; `p` holds weights and biases in turn."""
    for at, padding in ((0, 2), (2, 0)):
        x = jax.nn.relu(convolution(1, padding, 1)(x, p[at], p[at + 1]))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return mlp(p[4:], x)


def mlp(p: list[Any], x: Any) -> Any:
    x = x.reshape(len(x), -1)
    for at in range(0, len(p), 2):
        x = x @ p[at].T + p[at + 1]
        x = jax.nn.relu(x) if at < len(p) - 2 else x
    return x


def training_step(
    forward: Callable[..., Any], parameters: list[np.ndarray], images: np.ndarray, labels: np.ndarray
) -> Run:
    """Forward, loss, backward and SGD with momentum as one compiled function that takes its state back."""

    def loss(p: list[Any], x: Any, y: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(forward(p, x)), y[:, None], 1).mean()

    @jax.jit
    def step(p: list[Any], velocity: list[Any], x: Any, y: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(p, x, y)
        velocity = [0.9 * v + g for v, g in zip(velocity, gradients, strict=True)]
        return value, [w - 0.01 * v for w, v in zip(p, velocity, strict=True)], velocity

    state = [jnp.asarray(w) for w in parameters]
    kept = [state, [jnp.zeros_like(w) for w in state]]
    x, y = jnp.asarray(images), jnp.asarray(labels)

    def run() -> object:
        value, kept[0], kept[1] = step(kept[0], kept[1], x, y)
        return jax.block_until_ready((value, kept))

    return run


def inference(forward: Callable[..., Any], parameters: list[np.ndarray], images: np.ndarray) -> Run:
    return waiting(forward, parameters, images)
