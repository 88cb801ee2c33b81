"""Activation checkpointing: forget what is inside a block, and compute it again when its gradient is due.

A network that offers it has an attribute `recompute` and sends its blocks through `recomputed` where that is true:

    x = recomputed(block, x, keep) if self.recompute else block(x, keep)

Losses and gradients are the same to the bit. That takes care of what is not a function of the inputs: random draws
enter as tensors (and torch's generators are put back for layers that draw themselves), and batch norms repeat their
first pass (`norm.repeating`): running statistics move once and no rank asks the others twice.

Source: Chen et al. 2016 (arXiv:1604.06174); torch's checkpoint in its non-reentrant form, which knows nothing of
batch norms. Trade-off: one more forward pass of the blocks, about a third of a step, for a memory of one block.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from resight.trainers.norm import GlobalBatchNorm, Moments, repeating

__all__ = ["recomputed", "set_recompute"]

_COUNTING: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def set_recompute(models: nn.Module, on: bool) -> int:
    """Tell every network inside `models` that offers it whether to recompute its blocks; return how many there are."""
    offering = [module for module in models.modules() if isinstance(getattr(module, "recompute", None), bool)]
    for module in offering:
        module.recompute = on  # pyright: ignore[reportArgumentType] - modules may have any attribute
    return len(offering)


def recomputed(block: nn.Module, *inputs: Tensor | None) -> Tensor:
    """Return `block(*inputs)`, keeping only the inputs for the backward pass.

    Args:
        block: its batch norms are `GlobalBatchNorm`; torch's own would count the batch twice.
        inputs: as the block takes them.
    """
    if not torch.is_grad_enabled():
        return block(*inputs)
    assert not any(isinstance(layer, _COUNTING) for layer in block.modules()), "only GlobalBatchNorm can repeat a pass"
    once = _Once([layer for layer in block.modules() if isinstance(layer, GlobalBatchNorm)])
    found = checkpoint(block, *inputs, use_reentrant=False, context_fn=lambda: (once.first(), once.again()))
    return cast(Tensor, found)


class _Once:
    """One pass of a block and its repetition."""

    def __init__(self, norms: list[GlobalBatchNorm]) -> None:
        self._norms = norms
        self._moments: list[Moments | None] = []

    @contextmanager
    def first(self) -> Generator[None]:
        """Remember what the norms found."""
        yield
        self._moments = [norm.moments for norm in self._norms]

    @contextmanager
    def again(self) -> Generator[None]:
        """Let them take it again."""
        with repeating(self._norms, self._moments):
            yield
