"""The words for the shapes of a body model: where "tall" begins when its coefficients are standard normal.

What: `word_scale` measures a few hundred bodies of a model and puts the thresholds at fixed shares of them. Why: bodies
of two models measure differently at the same landmarks, and words that half of all people share, or nobody has, teach
nothing. Source: own; the shares are those that the capsule body's rounded thresholds came from. Trade-off: words are
relative to the model's population, not to a country's.
"""

from typing import Final

import numpy as np

from resight.rendering.body import Body
from resight.rendering.measure import THRESHOLDS, measurements, scores, silhouette_scores

__all__ = ["word_scale"]

_SHARES: Final = {1: (0.5,), 2: (0.27, 0.71), 3: (0.1, 0.32, 0.78)}
"""Shares of people below each threshold, by the number of thresholds."""

_MAX_BETA: Final = 2.5


def word_scale(body: Body, *, people: int = 150, seed: int = 0) -> dict[str, tuple[float, ...]]:
    """Return the thresholds of every axis; the same for the same body on every machine (rounded to 0.1 %).

    Args:
        body: any body with parts.
        people: how many shapes are measured.
        seed: of their coefficients.
    """
    draws = np.random.default_rng(seed)
    betas = np.clip(draws.standard_normal((people, body.shapedirs.shape[2])), -_MAX_BETA, _MAX_BETA)
    measured = [measurements(body, shape) for shape in betas]
    values = [scores(one) for one in measured]
    out = {
        axis: _quantiles(np.array([value[axis] for value in values]), _SHARES[len(levels)])
        for axis, levels in THRESHOLDS.items()
        if axis != "silhouette"
    }
    belly, top, waist = np.array([silhouette_scores(one) for one in measured]).T
    levels = [*_quantiles(belly, (0.86,)), *_quantiles(top, (0.77, 0.17)), *_quantiles(waist, (0.3,))]
    return {**out, "silhouette": tuple(levels)}


def _quantiles(values: np.ndarray, shares: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(float(np.quantile(values, share)), 3) for share in shares)
