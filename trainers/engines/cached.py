"""Gradient caching: the losses of a whole logical batch whose images go through the network a chunk at a time.

    forward:   features of each chunk without a graph, gathered; the losses on all of them
    backward:  gradient of the losses with respect to the features; then each chunk once more with a graph, into which
               its part of that gradient is fed

Mining and BNNeck see the whole batch and memory holds one chunk, for a second forward pass. Both passes see the same
draws and the same batch statistics, those of the chunk; running statistics move in the second pass only.

The gradient of an own row is multiplied by the number of ranks: heads have the whole gradient on every rank and the
network a part of it, and the mean over ranks that follows must be exact for both.

Source: Gao et al. 2021, arXiv:2101.06983.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from resight.datasets.batch import Batch, joined
from resight.trainers.config import EngineConfig
from resight.trainers.engines.placing import arithmetic, place_batch
from resight.trainers.engines.whole import WholeLoss

__all__ = ["CachedLoss", "mean_gradients"]


class CachedLoss:
    """Forward and backward of one logical batch in chunks.

    Args:
        whole: features and losses.
        config: precision and formats.
        device: where the networks are.
        world: ranks that share each chunk.
    """

    def __init__(self, whole: WholeLoss, config: EngineConfig, device: torch.device, world: int) -> None:
        self._whole = whole
        self._config = config
        self._device = device
        self._world = world
        self._chunks: Sequence[Batch] = ()
        self._leaves: dict[str, Tensor] = {}

    def forward(self, chunks: Sequence[Batch]) -> dict[str, Tensor]:
        """Return the losses of all chunks together; their graph ends at the features."""
        self._chunks = [place_batch(chunk, self._config, self._device) for chunk in chunks]
        with self._arithmetic():
            with torch.no_grad(), _unmoved(self._whole.models):
                found = [self._whole.gathered(self._whole.features(chunk), chunk) for chunk in self._chunks]
            self._leaves = {name: _leaf(torch.cat([each[name] for each in found])) for name in found[0]}
            return self._whole.losses(self._leaves, joined(self._chunks))

    def backward(self, total: Tensor) -> None:
        """Add the gradient of `total` to the parameters': heads' whole, networks' of this rank's rows x world."""
        total.backward()
        first = self._chunks[0].begin
        for chunk in self._chunks:
            with self._arithmetic():
                own = self._whole.features(chunk)
            rows = slice(chunk.places.start - first, chunk.places.stop - first)
            pairs = [
                (value, leaf.grad[rows] * self._world)
                for value, leaf in ((own[name], self._leaves[name]) for name in own)
                if value.requires_grad and leaf.grad is not None
            ]
            if pairs:
                torch.autograd.backward([value for value, _ in pairs], [grad for _, grad in pairs])
        self._chunks, self._leaves = (), {}

    def _arithmetic(self) -> torch.autocast:
        return arithmetic(self._config, self._device)


def mean_gradients(module: nn.Module, group: dist.ProcessGroup) -> None:
    """Replace each gradient by its mean over the ranks, all of them in one all-reduce a number format."""
    gradients = [value.grad for value in module.parameters() if value.grad is not None]
    for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
        alike = [gradient for gradient in gradients if gradient.dtype == dtype]
        flat = torch.cat([gradient.reshape(-1) for gradient in alike])
        dist.all_reduce(flat, group=group)
        flat /= dist.get_world_size(group)
        for gradient, mean in zip(alike, flat.split([gradient.numel() for gradient in alike]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def _leaf(value: Tensor) -> Tensor:
    return value.requires_grad_() if value.is_floating_point() else value


@contextmanager
def _unmoved(module: nn.Module) -> Generator[None]:
    """Put all buffers back to what they were before the block."""
    before = {name: value.clone() for name, value in module.named_buffers()}
    yield
    for name, value in module.named_buffers():
        value.copy_(before[name])
