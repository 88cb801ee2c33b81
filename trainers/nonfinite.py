"""A loss that is not a number: an error with step, rank and images, raised before anything is changed.

Source: design of this project; against training on through NaN, which costs a run its weights.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from resight.cluster.errors import UserError
from resight.datasets.batch import Batch
from resight.trainers.checkpoint import Position
from resight.trainers.engines.engine import Engine
from resight.trainers.job import TrainData

__all__ = ["NonFiniteLoss", "non_finite"]


class NonFiniteLoss(UserError):  # noqa: N818 - it says what happened
    """The loss became NaN or infinite; every rank raises this at the same step."""


def non_finite(
    losses: Mapping[str, Tensor], batches: Sequence[Batch], at: Position, engine: Engine, data: TrainData
) -> NonFiniteLoss:
    """Return the error. Every rank calls this, since they find out together whose images are to blame.

    Args:
        losses: the step's losses.
        batches: this rank's part of the step's batch, in its parts.
        at: epochs and steps done before.
        engine: asks the other ranks.
        data: names the images.
    """
    broken = [~torch.isfinite(batch.images).flatten(1).all(dim=1) for batch in batches]
    blamed = torch.cat([batch.local(batch.rows)[which] for batch, which in zip(batches, broken, strict=True)])
    (culprit,) = engine.largest(engine.rank + 1 if len(blamed) else 0)
    parts = ", ".join(f"{name} {loss.item():g}" for name, loss in losses.items())
    blame = f"the images of rank {culprit - 1} hold NaN" if culprit else "all images of the batch are finite"
    keys = data.keys(blamed if len(blamed) else torch.cat([batch.rows for batch in batches]))
    return NonFiniteLoss(
        f"the loss is not finite ({parts}) at step {at.step + 1}, epoch {at.epoch}; {blame}",
        where=f"rank {engine.rank} of {engine.world}, images {_listed(keys)}",
        cure="lower optim.lr or lengthen schedule.warmup_epochs; the last checkpoint was written before this",
    )


def _listed(keys: list[str], most: int = 8) -> str:
    rest = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + rest
