"""Normalization layers, with torch's arguments, defaults and state. Formulas: csrc/ops/norm.h."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import weft.kernels as K
from weft._checks import integer, sequence
from weft.nn import functional as F
from weft.nn import init
from weft.nn.module import Module, Parameter, as_parameter
from weft.tensor import Tensor


class _Affine(Module):
    """weight 1 and bias 0 of one shape, or neither."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_affine(self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: Any) -> None:
        self.register_parameter("weight", as_parameter(shape, dtype) if weight else None)
        self.register_parameter("bias", as_parameter(shape, dtype) if bias else None)

    def reset_parameters(self) -> None:
        """weight = 1, bias = 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _BatchNorm(_Affine):
    """What BatchNorm1d and BatchNorm2d share; `ranks` are the ranks of their inputs."""

    ranks: tuple[int, ...]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        integer(type(self).__name__, "num_features", num_features, 1)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._make_affine((num_features,), affine, affine, dtype)
        kind = "float32" if dtype is None else dtype
        tracked = track_running_stats
        self.register_buffer("running_mean", Tensor(K.empty((num_features,), kind)) if tracked else None)
        self.register_buffer("running_var", Tensor(K.empty((num_features,), kind)) if tracked else None)
        self.register_buffer("num_batches_tracked", Tensor(K.empty((), "int64")) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches."""
        for buffer, value in (
            (self.running_mean, 0.0),
            (self.running_var, 1.0),
            (self.num_batches_tracked, 0),
        ):
            if buffer is not None:
                K.fill(buffer.array, value)
                buffer.array.bump_version()

    def reset_parameters(self) -> None:
        """weight = 1, bias = 0, and the running statistics as at the start."""
        super().reset_parameters()
        self.reset_running_stats()

    def forward(self, input: Tensor) -> Tensor:
        return self._normalize(F.batch_norm, input, None)

    def forward_relu(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """relu(self(input) + residual), in one pass over memory."""
        return self._normalize(F.batch_norm_relu, input, residual)

    def _normalize(self, function: Any, input: Tensor, residual: Tensor | None) -> Tensor:
        if len(input.shape) not in self.ranks:
            expected = " or ".join(str(r) for r in self.ranks)
            raise ValueError(f"{type(self).__name__}: input must have rank {expected}, got shape {tuple(input.shape)}")
        out: Tensor = function(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self.momentum,
            self.eps,
            num_batches_tracked=self.num_batches_tracked,
            residual=residual,
        )
        return out

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """functional.batch_norm of (N, C) or (N, C, L), with running statistics.

    State as in torch: weight and bias (C) where affine; running_mean, running_var (C) and num_batches_tracked where
    track_running_stats, else the batch's own statistics are used in eval() too. momentum None: the running statistics
    are means over all batches.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """functional.batch_norm of (N, C, H, W), with running statistics; options and state as in BatchNorm1d."""

    ranks = (4,)


class LayerNorm(_Affine):
    """functional.layer_norm over the last axes, of shape normalized_shape, which weight and bias have too."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given: Any = normalized_shape
        given = [given] if isinstance(given, int) else sequence("LayerNorm", "normalized_shape", given)
        self.normalized_shape = tuple(integer("LayerNorm", "a size", n, 0) for n in given)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make_affine(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """functional.group_norm of (N, num_channels, ...), with weight and bias (num_channels)."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = None
    ) -> None:
        super().__init__()
        integer("GroupNorm", "num_channels", num_channels, 0)
        if integer("GroupNorm", "num_groups", num_groups) < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups {num_groups} must divide num_channels {num_channels}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._make_affine((num_channels,), affine, affine, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class InstanceNorm2d(_Affine):
    """functional.instance_norm of (N, C, H, W). As in torch without weight and bias unless affine is set; there are
    no running statistics."""

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False, dtype: Any = None) -> None:
        super().__init__()
        self.num_features = integer("InstanceNorm2d", "num_features", num_features, 0)
        self.eps, self.affine = eps, affine
        self._make_affine((num_features,), affine, affine, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        shape = tuple(input.shape)
        if len(shape) != 4 or shape[1] != self.num_features:
            raise ValueError(f"InstanceNorm2d: input must be (N, {self.num_features}, H, W), got shape {shape}")
        return F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.affine}"
