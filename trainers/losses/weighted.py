"""The mean over the rows that count, without asking the device which those are.

Boolean indexing would stall a GPU to learn the number of rows; a product with zeros and ones does not.
Source: design of this project.
"""

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["weighted_mean"]


def weighted_mean(
    values: Float[Tensor, " l"], counts: Bool[Tensor, " l"], weights: Float[Tensor, " l"] | None = None
) -> Float[Tensor, ""]:
    """Return sum(w v) / sum(w) over the rows where `counts`; zero when the weights sum to zero.

    Args:
        values: one number a row; what stands in rows that do not count must be finite.
        counts: rows that take part.
        weights: >= 0, how much each counts; None counts all alike.
    """
    share = counts.to(values.dtype) if weights is None else counts * weights.to(values.dtype)
    total = share.sum()
    return (values * share).sum() / total.where(total > 0, 1)
