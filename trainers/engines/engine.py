"""The seam between the training loop and how a step is spread over workers.

The loop calls `forward` and `backward` once a logical batch and then `step`, and nothing else touches gradients; with
`accumulate`, a step has several (micro-)batches, whose gradients add up. That is also the shape of a DeepSpeed engine,
so its ZeRO stages fit behind the same three calls. An engine knows nothing of Ray, run folders or configuration files.

Source: design of this project; the idea of one small engine interface from Lightning Fabric.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from resight.datasets.batch import Batch
from resight.trainers.engines.whole import WholeLoss

__all__ = ["Engine"]


class Engine(Protocol):
    """One worker's part of every step."""

    @property
    def rank(self) -> int:
        """Number of this worker, from 0."""
        ...

    @property
    def world(self) -> int:
        """How many workers share a logical batch."""
        ...

    @property
    def group(self) -> dist.ProcessGroup | None:
        """The ranks that share a logical batch; None for one worker."""
        ...

    @property
    def device(self) -> torch.device:
        """Where models and batches live."""
        ...

    def place(self, module: nn.Module) -> None:
        """Move a module to this engine's device and number format, and join its batch statistics over the ranks."""
        ...

    def prepare(
        self, whole: WholeLoss, optimizer: Optimizer, example: Callable[[], Batch], *, cached: bool = False
    ) -> Sequence[str]:
        """Take charge of the step.

        Args:
            whole: maps this rank's `Batch` to the losses of the logical batch.
            optimizer: over `whole`'s parameters.
            example: gives some batch, for engines that must warm up; parameters, buffers, state and generators are
                as before afterwards.
            cached: whether logical batches will come in chunks, for gradient caching.

        Returns:
            Names of trainable parameters that got no gradient while warming up; empty when the engine does not warm up.
        """
        ...

    def forward(self, chunks: Sequence[Batch], *, more: bool = False) -> dict[str, Tensor]:
        """Return the losses of the logical batch, the same on every rank.

        Args:
            chunks: this rank's part of it: one batch, or several when `cached`.
            more: whether further logical batches follow before the optimiser's step.
        """
        ...

    def backward(self, total: Tensor) -> None:
        """Add the gradient of `total`, the last forward's; before `step` it is exact in every rank's parameters."""
        ...

    def step(self, clip_norm: float | None) -> None:
        """Let the optimiser step and clear the gradients; `clip_norm` limits the norm of the whole gradient."""
        ...

    def largest(self, *values: int) -> tuple[int, ...]:
        """Return each value's maximum over the ranks, on every rank."""
        ...

    def barrier(self) -> None:
        """Wait for all ranks."""
        ...
