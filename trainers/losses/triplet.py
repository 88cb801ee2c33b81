"""Batch-hard triplet loss on the features of a whole logical batch.

    d+_i = max_{j: y_j = y_i} |f_i - f_j|        the hardest positive; the anchor itself is one, at distance 1e-6
    d-_i = min_{j: y_j != y_i} |f_i - f_j|       the hardest negative
    hard margin   loss = mean_i max(0, m + d+_i - d-_i)
    soft margin   loss = mean_i log(1 + exp(d+_i - d-_i))

Source: Hermans et al. 2017 (arXiv:1703.07737, eq. 5 and section 3.2); Luo et al. 2019 (arXiv:1903.07071) take m = 0.3
on features that are not normalised, TransReID (arXiv:2102.04378, eq. 1) the soft margin, both on the distance itself
and not its square as the latter prints.

All pairs are compared with one matrix product, which cancels digits of near duplicates; so it only says *which* rows
are hardest, and the 2 L distances that the loss is made of are taken from the differences themselves.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from resight.trainers.checks import at_least
from resight.trainers.losses.pairwise import at_least_float32, distance_of_rows, euclidean
from resight.trainers.losses.weighted import weighted_mean

__all__ = ["TripletConfig", "hardest", "triplet_loss"]


@dataclass(frozen=True, kw_only=True)
class TripletConfig:
    """Settings of the triplet loss.

    Attributes:
        margin: in units of the distance, >= 0; None takes the soft margin.
    """

    margin: float | None = 0.3

    def __post_init__(self) -> None:
        if self.margin is not None:
            at_least("method.triplet.margin", self.margin, 0)


def hardest(
    distances: Float[Tensor, "l l"], labels: Int64[Tensor, " l"]
) -> tuple[Int64[Tensor, " l"], Int64[Tensor, " l"], Tensor]:
    """Return the hardest positive's and negative's row for each anchor, and which anchors have both.

    Rows labelled -1 are nobody's positive or negative and no anchor. Of equal distances the first is taken.
    """
    labelled = labels >= 0
    same = labels[:, None] == labels[None, :]
    comparable = labelled[:, None] & labelled[None, :]
    positive = distances.masked_fill(~(same & comparable), -torch.inf).argmax(1)
    negatives = ~same & comparable
    negative = distances.masked_fill(~negatives, torch.inf).argmin(1)
    return positive, negative, negatives.any(1)


def triplet_loss(
    features: Float[Tensor, "l d"],
    labels: Int64[Tensor, " l"],
    config: TripletConfig,
    *,
    weights: Float[Tensor, " l"] | None = None,
) -> Float[Tensor, ""]:
    """Return the batch-hard triplet loss, averaged over the anchors that have a negative.

    Args:
        features: not normalised.
        labels: identity of each row; -1 leaves the row out.
        config: margin.
        weights: how much each anchor counts, >= 0; None counts all alike.

    Returns:
        A scalar >= 0; zero, with zero gradient, when no anchor has a negative.
    """
    features = at_least_float32(features)
    positive, negative, counts = hardest(euclidean(features.detach(), features.detach()), labels)
    gap = distance_of_rows(features, features[positive]) - distance_of_rows(features, features[negative])
    each = -F.logsigmoid(-gap) if config.margin is None else F.relu(gap + config.margin)
    return weighted_mean(each, counts, weights)
