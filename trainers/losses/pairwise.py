"""Distances: between all pairs of two feature sets as one matrix product, and between rows one to one.

Source: the quadratic expansion |x - y|^2 = |x|^2 + |y|^2 - 2 x.y used by every re-identification code since Hermans et
al. 2017 (arXiv:1703.07737). Trade-off: one GEMM and no (Q, G, D) tensor, at the price of cancellation for near
duplicates; so it is computed in float32 at least, also under autocast, and clamped before the root.
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["FLOOR", "at_least_float32", "distance_of_rows", "euclidean", "squared_euclidean"]

FLOOR = 1e-12
"""Smallest squared distance: keeps the root's gradient finite (it is zero below)."""


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x` in float32 where it is of half precision, else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def squared_euclidean(x: Float[Tensor, "q d"], y: Float[Tensor, "g d"]) -> Float[Tensor, "q g"]:
    """Return |x_i - y_j|^2; rounding may leave small negative numbers."""
    with torch.autocast(x.device.type, enabled=False):
        x, y = at_least_float32(x), at_least_float32(y)
        return x.square().sum(1)[:, None] + y.square().sum(1)[None, :] - 2 * (x @ y.T)


def euclidean(x: Float[Tensor, "q d"], y: Float[Tensor, "g d"]) -> Float[Tensor, "q g"]:
    """Return |x_i - y_j|, never below 1e-6."""
    return squared_euclidean(x, y).clamp(min=FLOOR).sqrt()


def distance_of_rows(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Return |x_i - y_i|, never below 1e-6, from the differences: exact for near duplicates too."""
    return (x - y).square().sum(1).clamp(min=FLOOR).sqrt()
