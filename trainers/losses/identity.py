"""Identity loss: cross entropy over the training identities with smoothed labels.

    t_ik = (1 - eps) [k = y_i] + eps / K          over all K classes, the true one included
    loss = mean_i  - sum_k t_ik log softmax(z_i)_k

Source: Szegedy et al. 2016 (arXiv:1512.00567, section 7) as used by Luo et al. 2019 (arXiv:1903.07071, eq. 1).
FastReID spreads eps over the K - 1 wrong classes instead; that is another loss with the same name, not offered here.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from resight.trainers.checks import within
from resight.trainers.losses.pairwise import at_least_float32
from resight.trainers.losses.weighted import weighted_mean

__all__ = ["IdentityConfig", "identity_loss"]


@dataclass(frozen=True, kw_only=True)
class IdentityConfig:
    """Settings of the identity loss.

    Attributes:
        smoothing: eps, the share of the target spread over all classes, in [0, 1).
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        within("method.identity.smoothing", self.smoothing, 0, 0.999)


def identity_loss(
    logits: Float[Tensor, "l k"],
    labels: Int64[Tensor, " l"],
    config: IdentityConfig,
    *,
    weights: Float[Tensor, " l"] | None = None,
) -> Float[Tensor, ""]:
    """Return the smoothed cross entropy, averaged over the labelled rows.

    Args:
        logits: class scores before the softmax.
        labels: class of each row, in 0..k-1; -1 leaves the row out.
        config: smoothing.
        weights: how much each row counts, >= 0; None counts all alike.

    Returns:
        A scalar >= 0; zero, with zero gradient, when no row is labelled.
    """
    log_p = F.log_softmax(at_least_float32(logits), dim=1)
    labelled: Bool[Tensor, " l"] = labels >= 0
    true = log_p.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    each = -(1 - config.smoothing) * true - config.smoothing * log_p.mean(1)
    return weighted_mean(each, labelled, weights)
