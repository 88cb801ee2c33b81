"""GlobalBatchNorm on uneven slices equals torch's batch norm on the concatenated batch."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from resight.datasets.loader import slice_of
from resight.trainers.norm import GlobalBatchNorm, connect
from tests.trainers.ranks import Ranks

CHANNELS = 5


def inputs(total: int, shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(total, CHANNELS, *shape, generator=generator, dtype=torch.float64) * 3 + 2
    target = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return x.to(dtype), target.to(dtype)


def norms(dtype: torch.dtype, frozen_bias: bool) -> tuple[GlobalBatchNorm, nn.Module]:
    ours = GlobalBatchNorm(CHANNELS, momentum=0.3, eps=1e-4, frozen_bias=frozen_bias)
    with torch.no_grad():
        ours.weight.copy_(torch.linspace(0.5, 2, CHANNELS))
        ours.bias.copy_(torch.linspace(-1, 1, CHANNELS))
    theirs = nn.BatchNorm1d(CHANNELS, momentum=0.3, eps=1e-4)
    theirs.load_state_dict(ours.state_dict())
    theirs.bias.requires_grad_(not frozen_bias)
    wide = torch.promote_types(dtype, torch.float32)  # under autocast the layer stays in float32
    return ours.to(wide), theirs.to(wide)


def observe(norm: nn.Module, x: Tensor, target: Tensor) -> dict[str, Any]:
    """Two steps, so that running statistics move twice; the loss is linear, so gradients are local sums."""
    x = x.clone().requires_grad_()
    out = x
    for _ in range(2):
        norm.zero_grad()
        x.grad = None
        out = norm(x)
        (out * target).sum().backward()
    found = {"out": out.detach(), "x": x.grad, **{name: p.grad for name, p in norm.named_parameters()}}
    norm.eval()
    return found | {"eval": norm(x).detach()} | {name: b.clone() for name, b in norm.named_buffers()}


def on_rank(total: int, shape: tuple[int, ...], dtype: torch.dtype, frozen_bias: bool, layout: str) -> dict[str, Any]:
    own = slice_of(total, dist.get_rank(), dist.get_world_size())
    x, target = (part[own.start : own.stop] for part in inputs(total, shape, dtype, seed=1))
    if layout == "channels_last":
        x, target = (part.contiguous(memory_format=torch.channels_last) for part in (x, target))
    norm, _ = norms(dtype, frozen_bias)
    connect(nn.Sequential(norm), dist.group.WORLD)
    return observe(norm, x, target)


@pytest.mark.parametrize(
    ("world", "total", "shape", "dtype", "frozen_bias", "layout"),
    [
        (1, 8, (), torch.float64, False, "contiguous"),
        (2, 7, (), torch.float64, True, "contiguous"),
        (2, 7, (4, 3), torch.float64, False, "channels_last"),
        (3, 64, (4, 3), torch.float64, False, "contiguous"),
        (3, 64, (4, 3), torch.float32, False, "channels_last"),
        (3, 5, (6,), torch.float32, True, "contiguous"),
        (2, 33, (4, 3), torch.bfloat16, False, "contiguous"),
    ],
)
def test_equals_batch_norm_on_the_whole_batch(
    ranks: Ranks, world: int, total: int, shape: tuple[int, ...], dtype: torch.dtype, frozen_bias: bool, layout: str
) -> None:
    parts = ranks.run(world, on_rank, total, shape, dtype, frozen_bias, layout)
    _, reference = norms(dtype, frozen_bias)
    if len(shape) == 2:
        reference.__class__ = nn.BatchNorm2d
    whole = observe(reference, *inputs(total, shape, dtype, seed=1))
    near = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-2}[dtype]
    for name in ("out", "x", "eval"):
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), whole[name], rtol=near, atol=near)
    for name in ("weight", "bias"):
        if whole[name] is None:
            assert all(part[name] is None for part in parts)
        else:
            torch.testing.assert_close(
                sum(part[name] for part in parts), whole[name], rtol=max(near, 1e-4), atol=near * 10
            )
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        for part in parts:
            torch.testing.assert_close(part[name], whole[name], rtol=near, atol=near)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.sampled_from([(), (3,), (2, 4)]), st.booleans())
def test_unconnected_is_torchs_own_to_the_bit(total: int, shape: tuple[int, ...], frozen_bias: bool) -> None:
    ours, theirs = norms(torch.float32, frozen_bias)
    if len(shape) == 2:
        theirs.__class__ = nn.BatchNorm2d
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, target = inputs(total, shape, torch.float32, seed=2)
    mine, native = observe(ours, x, target), observe(theirs, x, target)
    for name, value in native.items():
        assert mine[name] is None if value is None else torch.equal(mine[name], value), name


def test_refuses_what_has_no_channels() -> None:
    with pytest.raises(ValueError, match="expected"):
        GlobalBatchNorm(4)(torch.zeros(4))
    with pytest.raises(ValueError, match="expected"):
        GlobalBatchNorm(4)(torch.zeros(2, 3))


def test_disconnecting_makes_statistics_local_again() -> None:
    norm = GlobalBatchNorm(CHANNELS)
    norm.group = object()  # type: ignore[assignment]
    connect(nn.ModuleDict({"a": norm}), None)
    assert norm.group is None
    assert "5" in repr(norm)
