"""CMC, mAP and mINP, exactly, from features or from a matrix of distances, by one code path.

For a query with P right answers at ranks r_1 < ... < r_P among the gallery images that its protocol ranks:
  AP = (1/P) sum_k k / r_k   (precision at hits)      INP = P / r_P      CMC@k = mean(r_1 <= k)
Ties are ranked by (distance, gallery index). Queries without a possible match are skipped, counted and named.
Source: AP as torchreid and fast-reid compute it (the original Market-1501 code takes trapezoids and divides by all
queries: other numbers); INP from Ye et al. 2021 (arXiv:2001.04193), eq. 9. Trade-off: see `kernels.py`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Int8, Int64, Shaped

from resight.cluster.errors import UserError
from resight.trainers.retrieval.blocks import Distance, GivenRows, Rows, feature_rows, sweep
from resight.trainers.retrieval.inputs import (
    ABSENT,
    DROPPED,
    NO_IDENTITY,
    check_features,
    check_labels,
    check_matches,
    check_shape,
    not_finite,
)
from resight.trainers.retrieval.kernels import score_rows
from resight.trainers.retrieval.matching import Labels, Matching, make_matching
from resight.trainers.retrieval.protocol import MARKET1501, EvalProtocol

__all__ = ["SKIP_REASONS", "Metrics", "evaluate", "evaluate_distances", "evaluate_rows"]

SKIP_REASONS: Final = ("", NO_IDENTITY, ABSENT, DROPPED)
"""Why a query is not scored, by the number in `Metrics.reason`; 0 is a scored query."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Metrics:
    """How well queries find their identity. Shares are fractions in [0, 1]; means are over scored queries.

    Attributes:
        protocol: name of the rules.
        cmc: (max_rank,) share of queries with a right answer among the first k; level beyond the gallery's end.
        mAP: mean average precision.
        mINP: mean inverse negative penalty.
        ap: (Q,) average precision, NaN when skipped.
        inp: (Q,) inverse negative penalty, NaN when skipped.
        first_hit: (Q,) rank, from 1, of the first right answer; 0 when skipped.
        positives: (Q,) right answers.
        ranked: (Q,) gallery images ranked: all but junk and what the protocol drops.
        reason: (Q,) index into `SKIP_REASONS`.
    """

    protocol: str
    cmc: Float64[np.ndarray, " k"]
    mAP: float  # noqa: N815 - the literature's name
    mINP: float  # noqa: N815 - the literature's name
    ap: Float64[np.ndarray, " q"]
    inp: Float64[np.ndarray, " q"]
    first_hit: Int64[np.ndarray, " q"]
    positives: Int64[np.ndarray, " q"]
    ranked: Int64[np.ndarray, " q"]
    reason: Int8[np.ndarray, " q"]

    @property
    def queries(self) -> int:
        """Number of queries given, skipped ones included."""
        return len(self.ap)

    @property
    def skipped(self) -> dict[str, int]:
        """Number of skipped queries by reason, without reasons that did not occur."""
        counts = np.bincount(self.reason, minlength=len(SKIP_REASONS)).tolist()
        return {name: count for name, count in zip(SKIP_REASONS[1:], counts[1:], strict=True) if count}

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
        return {"mAP": self.mAP, "mINP": self.mINP, **ranks, "queries": self.queries, "skipped": self.skipped}


def evaluate(
    query_features: Shaped[np.ndarray, "q d"],
    gallery_features: Shaped[np.ndarray, "g d"],
    query_pids: object,
    gallery_pids: object,
    query_camids: object,
    gallery_camids: object,
    *,
    protocol: EvalProtocol = MARKET1501,
    distance: Distance = "cosine",
    max_rank: int = 50,
    max_skipped: float = 0.5,
    threads: int | None = None,
) -> Metrics:
    """Score features; memory beyond inputs and outputs stays under 64 MiB for galleries up to 4 million images.

    Args:
        query_features: (Q, D), any scale; float32 is used as it is, other types are converted.
        gallery_features: (G, D).
        query_pids: (Q,) identities; negative: the query is skipped.
        gallery_pids: (G,) identities; -1: never ranked; -2, or any that no query has: a wrong answer.
        query_camids: (Q,) cameras; -1: unknown, the same as no other.
        gallery_camids: (G,) cameras.
        protocol: what a query is not asked to find.
        distance: "cosine" or "squared_euclidean", see `blocks.py`; the same order on L2-normalised features.
        max_rank: length of the CMC curve.
        max_skipped: largest share of queries that may have no possible match.
        threads: how many to use; None: as many as BLAS has been given.

    Raises:
        UserError: for empty, mismatched or non-finite input, or when too many queries have no possible match.
    """
    query_features, gallery_features = np.asarray(query_features), np.asarray(gallery_features)
    check_features(query_features, gallery_features)
    query = check_labels("query", query_pids, query_camids, len(query_features))
    gallery = check_labels("gallery", gallery_pids, gallery_camids, len(gallery_features))
    rows = feature_rows(query_features, gallery_features, distance)
    return evaluate_rows(
        rows, query, gallery, protocol=protocol, max_rank=max_rank, max_skipped=max_skipped, threads=threads
    )


def evaluate_distances(
    distances: Shaped[np.ndarray, "q g"],
    query_pids: object,
    gallery_pids: object,
    query_camids: object,
    gallery_camids: object,
    *,
    protocol: EvalProtocol = MARKET1501,
    max_rank: int = 50,
    max_skipped: float = 0.5,
    threads: int | None = None,
) -> Metrics:
    """Score a given matrix of distances (Q, G), smaller is nearer, e.g. after re-ranking; the rest as in `evaluate`."""
    distances = np.asarray(distances)
    check_shape(distances)
    query = check_labels("query", query_pids, query_camids, distances.shape[0])
    gallery = check_labels("gallery", gallery_pids, gallery_camids, distances.shape[1])
    return evaluate_rows(
        GivenRows(distances),
        query,
        gallery,
        protocol=protocol,
        max_rank=max_rank,
        max_skipped=max_skipped,
        threads=threads,
    )


def evaluate_rows(
    rows: Rows,
    query: Labels,
    gallery: Labels,
    *,
    protocol: EvalProtocol,
    max_rank: int = 50,
    max_skipped: float = 0.5,
    threads: int | None = None,
) -> Metrics:
    """Score rows from anywhere; what `evaluate` and `evaluate_distances` share."""
    if max_rank < 1:
        raise UserError(f"max_rank is {max_rank}", cure="ask for at least rank 1")
    matching = make_matching(query, gallery, protocol)
    scores = np.full((len(query), 2), np.nan)
    counts = np.zeros((len(query), 3), np.int64)
    score = partial(_score, rows=rows, matching=matching, scores=scores, counts=counts)
    if (bad := sweep(rows, threads, score)) >= 0:
        raise not_finite(bad)
    reason = _reasons(query, matching, counts[:, 1])
    metrics = _summary(protocol, scores, counts, reason, max_rank)
    check_matches(metrics.skipped, len(query), protocol, max_skipped)
    return metrics


def _score(
    block: np.ndarray, first: int, *, rows: Rows, matching: Matching, scores: np.ndarray, counts: np.ndarray
) -> int:
    return score_rows(block, first, rows.scale, rows.bias, rows.offset, matching, scores, counts)


def _reasons(query: Labels, matching: Matching, positives: Int64[np.ndarray, " q"]) -> Int8[np.ndarray, " q"]:
    absent = matching.start == matching.stop
    cases = [query.pid < 0, absent, positives == 0]
    return np.select(cases, [1, 2, 3], default=0).astype(np.int8)


def _summary(
    protocol: EvalProtocol,
    scores: Float64[np.ndarray, "q 2"],
    counts: Int64[np.ndarray, "q 3"],
    reason: Int8[np.ndarray, " q"],
    max_rank: int,
) -> Metrics:
    first_hit = counts[:, 0]
    hits = first_hit[reason == 0]
    found = np.bincount(np.minimum(hits, max_rank + 1), minlength=max_rank + 2)[1 : max_rank + 1]
    means = scores[reason == 0].sum(axis=0) / max(1, len(hits))
    return Metrics(
        protocol=protocol.name,
        cmc=np.cumsum(found) / max(1, len(hits)),
        mAP=float(means[0]),
        mINP=float(means[1]),
        ap=scores[:, 0],
        inp=scores[:, 1],
        first_hit=first_hit,
        positives=counts[:, 1],
        ranked=counts[:, 2],
        reason=reason,
    )
