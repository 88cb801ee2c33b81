"""gather: uneven slices come together in order, and the gradient is the whole loss's, `world` times."""

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from resight.datasets.loader import slice_of
from resight.trainers.gather import gather
from tests.trainers.ranks import Ranks


def whole(total: int, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(total, *shape, generator=generator, dtype=torch.float64)


def loss_of(x: Tensor) -> Tensor:
    """Couples every pair of rows."""
    flat = x.reshape(len(x), -1)
    return (flat @ flat.T).square().sum() + (flat.cumsum(0) ** 3).sum()


def on_rank(total: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    slots = slice_of(total, dist.get_rank(), dist.get_world_size())
    own = whole(total, shape)[slots.start : slots.stop].clone().requires_grad_()
    together = gather(own, slots=slots, total=total, group=dist.group.WORLD)
    loss_of(together).backward()
    assert own.grad is not None
    return together.detach(), own.grad


@pytest.mark.parametrize(("world", "total", "shape"), [(1, 4, (3,)), (2, 5, (3,)), (3, 64, (2, 4)), (3, 4, ())])
def test_values_and_gradient_of_the_whole_loss(ranks: Ranks, world: int, total: int, shape: tuple[int, ...]) -> None:
    parts = ranks.run(world, on_rank, total, shape)
    x = whole(total, shape).requires_grad_()
    loss_of(x).backward()
    for together, _ in parts:
        assert torch.equal(together, x.detach())
    gradient = torch.cat([grad for _, grad in parts]) / world
    torch.testing.assert_close(gradient, x.grad, rtol=1e-12, atol=1e-12)


def test_one_process_keeps_its_tensor() -> None:
    x = torch.ones(4, 2)
    assert gather(x, slots=range(4), total=4) is x


@pytest.mark.parametrize(("slots", "total", "rows"), [(range(3), 4, 3), (range(4), 4, 3), (range(1, 5), 5, 4)])
def test_refuses_slots_that_are_not_its_slice(slots: range, total: int, rows: int) -> None:
    with pytest.raises(ValueError, match="holds"):
        gather(torch.ones(rows, 2), slots=slots, total=total)
