"""What an evaluation finds: scores of every query, their means, and the spread over draws.

For a query with P right answers at ranks r_1 < ... < r_P among the gallery images that its protocol ranks:
  AP = (1/P) sum_k k / r_k   (rectangles; see `scoring.py`)      INP = P / r_P      CMC@k = mean(r_1 <= k)
Source: Zheng et al. 2015 (CMC, mAP); INP from Ye et al. 2021 (arXiv:2001.04193), eq. 9.
Trade-off: over several draws a query's scores are its means over the draws that scored it, but ranks and counts are
those of the first such draw, for a mean rank is the rank of nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from resight.trainers.retrieval.inputs import ABSENT, DROPPED, NO_IDENTITY, NOT_ASKED
from resight.trainers.retrieval.scoring import Scoring

__all__ = ["SKIP_REASONS", "Metrics", "combine", "summarise"]

SKIP_REASONS: Final = ("", NO_IDENTITY, ABSENT, DROPPED, NOT_ASKED)
"""Why a query has no right answer, by the number in `Metrics.reason`; 0 is a query that has one."""

_NOT_ASKED: Final = SKIP_REASONS.index(NOT_ASKED)


@dataclass(frozen=True, kw_only=True, eq=False)
class Metrics:
    """How well queries find their identity. Shares are fractions in [0, 1]; means are over the queries that count.

    Attributes:
        protocol: name of the rules.
        scoring: how rankings were scored.
        cmc: (max_rank,) share of queries with a right answer among the first k; level beyond the gallery's end.
        mAP: mean average precision.
        mINP: mean inverse negative penalty.
        ap: (Q,) average precision, NaN when skipped.
        inp: (Q,) inverse negative penalty, NaN when skipped.
        top1: (Q,) whether the first is right, 0 or 1, or the share of draws in which it is; NaN when skipped.
        first_hit: (Q,) rank, from 1, of the first right answer; 0 when there is none.
        positives: (Q,) right answers.
        ranked: (Q,) gallery images ranked: all but junk and what the protocol drops.
        reason: (Q,) index into `SKIP_REASONS`.
        repeats: number of draws behind the means.
        spread: "mAP", "mINP" and "rank1" -> "std" (of one draw, with n - 1), "min", "max"; empty for one draw.
        bounds: the same names -> (least, most) over all orders of equal distances; empty when nobody asked.
    """

    protocol: str
    scoring: Scoring
    cmc: Float64[np.ndarray, " k"]
    mAP: float  # noqa: N815 - the literature's name
    mINP: float  # noqa: N815 - the literature's name
    ap: Float64[np.ndarray, " q"]
    inp: Float64[np.ndarray, " q"]
    top1: Float64[np.ndarray, " q"]
    first_hit: Int64[np.ndarray, " q"]
    positives: Int64[np.ndarray, " q"]
    ranked: Int64[np.ndarray, " q"]
    reason: Int8[np.ndarray, " q"]
    repeats: int = 1
    spread: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def queries(self) -> int:
        """Number of queries that the protocol asks, skipped ones included."""
        return int((self.reason != _NOT_ASKED).sum())

    @property
    def counted(self) -> Bool[np.ndarray, " q"]:
        """Which queries the means are over."""
        return ~np.isnan(self.ap)

    @property
    def skipped(self) -> dict[str, int]:
        """Number of queries without a right answer by reason, without reasons that did not occur."""
        counts = np.bincount(self.reason, minlength=len(SKIP_REASONS)).tolist()
        pairs = zip(SKIP_REASONS[1:_NOT_ASKED], counts[1:_NOT_ASKED], strict=True)
        return {name: count for name, count in pairs if count}

    def rank_k(self, k: int) -> float:
        """Return CMC at rank k >= 1; beyond the last computed rank the error is ours."""
        assert 1 <= k <= len(self.cmc)
        return float(self.cmc[k - 1])

    @property
    def rank1(self) -> float:
        """Share of queries whose nearest ranked gallery image is right."""
        return self.rank_k(1)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-able values; ranks 5 and 10 as far as the curve reaches."""
        ranks = {f"rank{k}": self.rank_k(k) for k in (1, 5, 10) if k <= len(self.cmc)}
        found: dict[str, Any] = {"mAP": self.mAP, "mINP": self.mINP, **ranks}
        found |= {"queries": self.queries, "skipped": self.skipped}
        if self.repeats > 1:
            found["repeats"] = self.repeats
            found["spread"] = {name: dict(values) for name, values in self.spread.items()}
        if self.bounds:
            found["tie_bounds"] = {name: list(ends) for name, ends in self.bounds.items()}
        return found


def summarise(
    protocol: str,
    scoring: Scoring,
    scores: Float64[np.ndarray, "q 2"],
    counts: Int64[np.ndarray, "q 3"],
    bounds: Float64[np.ndarray, "b 2 3"],
    reason: Int8[np.ndarray, " q"],
    max_rank: int,
) -> Metrics:
    """Return the metrics of one draw from what `kernels.score_rows` wrote."""
    unmatched = np.isin(reason, [SKIP_REASONS.index(ABSENT), SKIP_REASONS.index(DROPPED)])
    counted = (reason == 0) | (unmatched if scoring.unmatched == "count" else False)
    scores = np.where((counted & unmatched)[:, None], 0.0, scores)
    number, hits = max(1, int(counted.sum())), counts[reason == 0, 0]
    found = np.bincount(np.minimum(hits, max_rank + 1), minlength=max_rank + 2)[1 : max_rank + 1]
    means = scores[counted].sum(axis=0) / number
    ends = np.nan_to_num(bounds[reason == 0]).sum(axis=0) / number if len(bounds) else np.empty((2, 0))
    return Metrics(
        protocol=protocol,
        scoring=scoring,
        cmc=np.cumsum(found) / number,
        mAP=float(means[0]),
        mINP=float(means[1]),
        ap=scores[:, 0],
        inp=scores[:, 1],
        top1=np.where(counted, counts[:, 0] == 1, np.nan),
        first_hit=counts[:, 0],
        positives=counts[:, 1],
        ranked=counts[:, 2],
        reason=reason,
        bounds={
            name: (float(least), float(most))
            for name, least, most in zip(("mAP", "mINP", "rank1")[: ends.shape[1]], *ends, strict=True)
        },
    )


def combine(draws: Sequence[Metrics]) -> Metrics:
    """Return the mean over draws, with the spread of their means; one draw is returned as it is."""
    first = draws[0]
    if len(draws) == 1:
        return first
    named = {name: np.array([getattr(draw, name) for draw in draws]) for name in ("mAP", "mINP", "rank1")}
    scored = np.array([draw.reason == 0 for draw in draws])
    told = np.where(scored.any(axis=0), scored.argmax(axis=0), 0)
    each = np.arange(len(first.ap))
    shown = {
        name: np.array([getattr(draw, name) for draw in draws])[told, each]
        for name in ("first_hit", "positives", "ranked", "reason")
    }
    means = {name: _mean_of_known([getattr(draw, name) for draw in draws]) for name in ("ap", "inp", "top1")}
    return Metrics(
        protocol=first.protocol,
        scoring=first.scoring,
        cmc=np.mean([draw.cmc for draw in draws], axis=0),
        mAP=float(named["mAP"].mean()),
        mINP=float(named["mINP"].mean()),
        **means,
        **shown,
        repeats=len(draws),
        spread={
            name: {"std": float(values.std(ddof=1)), "min": float(values.min()), "max": float(values.max())}
            for name, values in named.items()
        },
        bounds={
            name: (float(np.mean([draw.bounds[name][0] for draw in draws])),
                   float(np.mean([draw.bounds[name][1] for draw in draws])))
            for name in first.bounds
        },
    )  # fmt: skip


def _mean_of_known(values: Sequence[Float64[np.ndarray, " q"]]) -> Float64[np.ndarray, " q"]:
    """Return the mean of what is not NaN; NaN where nothing is known."""
    table = np.array(values)
    number = (~np.isnan(table)).sum(axis=0)
    return np.where(number > 0, np.nansum(table, axis=0) / np.maximum(number, 1), np.nan)
