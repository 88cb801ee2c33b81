"""From one rank's slice to the losses of the whole logical batch.

Features are computed on the slice, gathered, and every rank then computes the whole loss: mining, BNNeck and memories
see the logical batch, for any number of workers. This module is what DDP wraps, so all that touches parameters runs
inside its forward.

Source: design of this project (elastic semantics).
"""

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from resight.datasets.batch import Batch
from resight.trainers.gather import gather

__all__ = ["WholeLoss"]


class WholeLoss(nn.Module):
    """`method.features` on the slice, `gather`, `method.losses` on the whole.

    Args:
        method: supplies `features` and `losses` (`trainers/methods/method.py`).
        models: the method's networks.
        config: the run's configuration, handed to the method untouched.
        state: the method's explicit state.
        group: the ranks that share a logical batch; None for one worker.
    """

    def __init__(
        self, method: Any, models: nn.ModuleDict, config: Any, state: dict[str, Tensor], group: dist.ProcessGroup | None
    ) -> None:
        super().__init__()
        self.method = method
        self.models = models
        self.config = config
        self.state = state
        self.group = group

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named losses, each a scalar of the logical batch."""
        return self.losses(self.gathered(self.features(batch), batch), batch)

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """Return the features of this rank's slice, (b, ...) by name."""
        return self.method.features(self.models, batch, self.config)

    def gathered(self, own: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return all ranks' features, (L, ...) by name."""
        return {
            name: gather(value, slots=batch.slots, total=batch.total, group=self.group) for name, value in own.items()
        }

    def losses(self, features: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the losses of gathered features; of `batch` only what covers all images is looked at."""
        return self.method.losses(self.models, features, batch, self.config, self.state)
