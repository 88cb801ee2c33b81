"""Bring every rank's slice of the features together, so that each rank computes the whole loss.

Forward: slices padded to the largest, one all-gather, the padding cut out again (gloo's all-gather refuses uneven
sizes). Backward: one all-reduce of the gradient, then the own slice. Every rank's loss is the whole loss, so the sum
over ranks is `world` times the gradient of each feature, and DDP's division by `world` makes it exact, for uneven
slices too.

Source: design of this project; the uneven slices are `slice_of`'s.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from resight.datasets.loader import slice_of
from resight.trainers.clock import Clock, waiting

__all__ = ["gather"]


def gather(
    x: Tensor, *, slots: range, total: int, group: dist.ProcessGroup | None = None, clock: Clock | None = None
) -> Tensor:
    """Return the logical batch's rows, on every rank, in the order of their slots.

    Args:
        x: (b, ...) this rank's rows.
        slots: the positions of these rows in the logical batch: `slice_of(total, rank, world)`.
        total: L, rows of the logical batch.
        group: the ranks that share the batch; None when this process has all of it.
        clock: told how long the other ranks were waited for; None when nobody asks.

    Returns:
        (L, ...), differentiable with respect to `x`.

    Raises:
        ValueError: when the slots are not this rank's slice, or `x` does not have a row a slot.
    """
    rank, world = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))
    if slots != slice_of(total, rank, world) or len(slots) != len(x):
        raise ValueError(f"rank {rank} of {world} holds {len(x)} rows for slots {slots} of {total}")
    return x if group is None else cast(Tensor, _Gather.apply(x, slots, total, group, clock))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slots: range, total: int, group: dist.ProcessGroup, clock: Clock | None) -> Tensor:
        """Gather padded slices and drop the padding."""
        ctx.slots, ctx.group, ctx.clock = slots, group, clock
        world = dist.get_world_size(group)
        slices = [slice_of(total, rank, world) for rank in range(world)]
        longest = max(map(len, slices))
        padded = x.new_zeros((longest, *x.shape[1:]))
        padded[: len(x)] = x
        parts = x.new_empty((world, longest, *x.shape[1:]))
        with waiting(clock):
            dist.all_gather(list(parts.unbind()), padded, group=group)
        return torch.cat([part[: len(own)] for part, own in zip(parts, slices, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - the decorator hides its own parameters
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor, None, None, None, None]:
        """Sum the ranks' gradients and keep the own rows."""
        summed = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        with waiting(ctx.clock):
            dist.all_reduce(summed, group=ctx.group)
        return summed[ctx.slots.start : ctx.slots.stop], None, None, None, None
