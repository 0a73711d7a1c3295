"""The functions behind the layers, with torch's names; each gradient stands beside its function's forward."""

from __future__ import annotations

from weft.nn._activation import (
    dropout,
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    step,
    tanh,
)
from weft.nn._fused import conv2d_activation, conv2d_relu_max_pool2d, linear_activation
from weft.nn._linear import conv2d, linear, normalize, one_hot, pad
from weft.nn._loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
)
from weft.nn._norm import batch_norm, batch_norm_relu, group_norm, instance_norm, layer_norm
from weft.nn._pooling import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    lp_pool2d,
    max_pool2d,
    min_pool2d,
)

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_relu",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "conv2d_activation",
    "conv2d_relu_max_pool2d",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "group_norm",
    "hinge_loss",
    "huber_loss",
    "instance_norm",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "linear_activation",
    "log_softmax",
    "lp_pool2d",
    "max_pool2d",
    "min_pool2d",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "step",
    "tanh",
]
