"""How sure a mean over queries is: percentile intervals by resampling identities.

Queries of one person fail together, so whole identities are drawn with replacement, each with all its scored queries,
and the mean is over the queries drawn. Differences are paired: both systems are judged on the same draws, so what is
hard for both cancels. Identities and draws meet in one matrix product of counts.
Source: Efron 1979; resampling clusters as in Field and Welsh 2007. Trade-off: the interval says what other people like
these would give, not what another training run would.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

from resight.cluster.errors import UserError

__all__ = ["Interval", "difference_interval", "mean_interval"]

RESAMPLES: Final = 2000
_CHUNK: Final = 200  # resamples at once: 200 x identities counts are in memory


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval.

    Attributes:
        mean: the mean of what was measured.
        low: the 2.5 % quantile of the resampled means.
        high: the 97.5 % quantile.
    """

    mean: float
    low: float
    high: float


def mean_interval(
    values: Float64[np.ndarray, " q"], pids: Int64[np.ndarray, " q"], *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Return the interval of the mean of `values`.

    Args:
        values: (Q,) one score a query, NaN for skipped queries, which take no part.
        pids: (Q,) the queries' identities.
        seed: of the draws; the same seed gives the same interval.
        resamples: number of draws.

    Raises:
        UserError: when every query is skipped.
    """
    there = ~np.isnan(values)
    if not there.any():
        raise UserError("there is no scored query to take an interval over", cure="evaluate queries that have a match")
    _, person = np.unique(pids[there], return_inverse=True)
    sums = np.bincount(person, weights=values[there])
    sizes = np.bincount(person).astype(np.float64)
    means = _resampled_means(sums, sizes, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(mean=float(sums.sum() / sizes.sum()), low=float(low), high=float(high))


def difference_interval(
    ours: Float64[np.ndarray, " q"],
    theirs: Float64[np.ndarray, " q"],
    pids: Int64[np.ndarray, " q"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the interval of mean(ours - theirs), paired by query; both must have skipped the same queries."""
    assert (np.isnan(ours) == np.isnan(theirs)).all()
    return mean_interval(ours - theirs, pids, seed=seed, resamples=resamples)


def _resampled_means(
    sums: Float64[np.ndarray, " i"], sizes: Float64[np.ndarray, " i"], rng: np.random.Generator, resamples: int
) -> Float64[np.ndarray, " r"]:
    """Draw as many identities as there are, with replacement, `resamples` times."""
    num = len(sums)
    parts: list[Float64[np.ndarray, " c"]] = []
    for first in range(0, resamples, _CHUNK):
        counts = rng.multinomial(num, np.full(num, 1 / num), size=min(_CHUNK, resamples - first)).astype(np.float64)
        parts.append((counts @ sums) / (counts @ sizes))
    return np.concatenate(parts)
