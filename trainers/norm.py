"""Batch normalisation over the logical batch, however many ranks share it.

Each rank normalises its slice with the mean and variance of the *whole* batch: one all-reduce of float64 [sum, sum of
squares, count] forward and one of [sum of gradients, their product with the normalised input] backward, per layer.
Slices may be uneven. Value, gradient and running statistics equal `nn.BatchNorm` on the concatenated batch, so the
number of workers changes speed only. torch's own SyncBatchNorm refuses CPU tensors.

The slice's mean and variance come from torch's own kernel and become sums in float64 afterwards: eight times faster
than summing squares in float64, and no digits are lost, since the kernel accumulates in double precision. A layer
that nobody has connected to a process group (one worker, evaluation) is torch's native batch norm. The compiler
leaves layers that talk to other ranks as they are.

A pass that is *repeated* to save memory (`repeating`) takes the statistics that the first one found and moves nothing:
the running statistics, which moved meanwhile, would give other last digits, and another all-reduce would be waste.

What is normalised on *gathered* features (BNNeck) already sees the whole batch and must be plain `nn.BatchNorm1d`.

Source: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1 and the gradients of section 3.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from resight.trainers.clock import Clock, waiting

__all__ = ["GlobalBatchNorm", "Moments", "connect", "repeating"]

Moments = tuple[Tensor, Tensor, Tensor]
"""Mean (C,), biased variance (C,) and count () over all ranks, float64."""


class GlobalBatchNorm(nn.Module):
    """Drop-in for `nn.BatchNorm1d` and `nn.BatchNorm2d`: same state-dict names, inputs (b, C) or (b, C, ...).

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new batch in the running statistics.
        frozen_bias: keep the bias at zero, untrained.

    Attributes:
        moments: what the last pass in training normalised with, where ranks share a batch.

    Raises:
        ValueError: in training, when the input has fewer than two dimensions or another number of channels.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, frozen_bias: bool = False
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.group: dist.ProcessGroup | None = None
        self.clock: Clock | None = None
        self.moments: Moments | None = None
        self.repeats = False
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features), requires_grad=not frozen_bias)
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (b, C, ...) per channel; the result has the input's shape and dtype."""
        if x.dim() < 2 or x.shape[1] != self.num_features:
            raise ValueError(f"expected (b, {self.num_features}, ...), got {tuple(x.shape)}")
        if self.training and not self.repeats:
            self.num_batches_tracked.add_(1)
        if self.training and self.group is not None:
            return self._forward_global(x, self.group)
        mean, var = self.running_mean, self.running_var
        if self.training and self.repeats:  # the kernel moves copies, and keeps as many tensors as before
            mean, var = mean.clone(), var.clone()
        return F.batch_norm(x, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"

    # The public name of this decorator imports the compiler at once, which takes seconds.
    @torch._disable_dynamo  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
    def _forward_global(self, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        if not self.repeats:
            self.moments = _global_moments(x.detach(), self.running_mean.double(), group, self.clock)
            self._follow(*self.moments)
        assert self.moments is not None, "a pass is repeated with what the first one found"
        return cast(Tensor, _Normalise.apply(x, self.weight, self.bias, *self.moments, self.eps, group, self.clock))

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """Move the running statistics."""
        unbiased = var * (count / (count - 1).clamp_min(1))
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)


def connect(module: nn.Module, group: dist.ProcessGroup | None, clock: Clock | None = None) -> None:
    """Let every `GlobalBatchNorm` inside `module` share its statistics over `group`; None makes them local again.

    `clock` is told how long the other ranks were waited for.
    """
    for layer in module.modules():
        if isinstance(layer, GlobalBatchNorm):
            layer.group, layer.clock = group, clock


@contextmanager
def repeating(norms: Sequence[GlobalBatchNorm], moments: Sequence[Moments | None]) -> Generator[None]:
    """Let passes inside the block repeat earlier ones: each layer takes its `moments` and moves no statistics."""
    others = [norm.moments for norm in norms]
    for norm, found in zip(norms, moments, strict=True):
        norm.moments, norm.repeats = found, True
    try:
        yield
    finally:
        for norm, found in zip(norms, others, strict=True):
            norm.moments, norm.repeats = found, False


def _global_moments(x: Tensor, near: Tensor, group: dist.ProcessGroup, clock: Clock | None) -> Moments:
    """Return the moments over all ranks of `group`.

    `near` (C,) is about the mean and equal on all ranks: what is summed are distances from it, so that the difference
    of squares at the end cancels fewer digits.
    """
    channels = x.shape[1]
    count = x.numel() // channels
    own_mean, own_var = _own_moments(x)
    away = own_mean - near
    sums = torch.cat([away * count, (own_var + away * away) * count, away.new_full((1,), count)])  # (2C + 1,)
    with waiting(clock):
        dist.all_reduce(sums, group=group)
    total = sums[-1]
    away, square = sums[:channels] / total, sums[channels:-1] / total
    return near + away, (square - away * away).clamp_min_(0.0), total


def _own_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance (C,) of a slice as float64, computed by torch's kernel in float32 at least."""
    wide = torch.promote_types(x.dtype, torch.float32)
    unused = [x.new_zeros(x.shape[1], dtype=wide) for _ in range(2)]  # they set the kernel's number format
    mean, var = torch.ops.aten.batch_norm_update_stats(x, *unused, 0.0)
    return mean.double(), var.double()


class _Normalise(torch.autograd.Function):
    """Normalise a slice with global statistics; the gradient goes through the statistics too."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        count: Tensor,
        eps: float,
        group: dist.ProcessGroup,
        clock: Clock | None,
    ) -> Tensor:
        """Scale and shift with torch's evaluation kernel, which takes the statistics as given."""
        out = F.batch_norm(x, mean.to(weight), var.to(weight), weight, bias, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps, ctx.group, ctx.clock = eps, group, clock
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator hides its own parameters
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        """Return gradients of the slice, and the slice's part of the weight's and bias's gradients."""
        (grad,), (x, weight, mean, var, count) = grad_outputs, ctx.saved_tensors
        _, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean.to(weight), var.to(weight), None, None, False, ctx.eps, [False, True, True]
        )
        grad_x = None
        if ctx.needs_input_grad[0]:
            sums = torch.cat([grad_bias.double(), grad_weight.double()])  # (2C,): sum g, sum g * normalised x
            with waiting(ctx.clock):
                dist.all_reduce(sums, group=ctx.group)
            grad_x = _grad_input(grad, x, weight, mean, var, sums / count, ctx.eps)
        weight_grad = grad_weight if ctx.needs_input_grad[1] else None
        bias_grad = grad_bias if ctx.needs_input_grad[2] else None
        return grad_x, weight_grad, bias_grad, None, None, None, None, None, None


def _grad_input(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, var: Tensor, means: Tensor, eps: float
) -> Tensor:
    """Return `w / s * (g - mean(g) - z * mean(g z))` with `z = (x - mean) / s`, an affine map of g and x."""
    mean_grad, mean_product = means.chunk(2)
    inverse = (var + eps).rsqrt()
    scale = weight.double() * inverse
    slope = -scale * inverse * mean_product
    offset = -scale * mean_grad - slope * mean
    shape = (-1,) + (1,) * (x.dim() - 2)
    scale, slope, offset = (part.to(weight).view(shape) for part in (scale, slope, offset))
    return torch.addcmul(offset, x, slope).addcmul_(grad, scale).to(x)
