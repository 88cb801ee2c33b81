"""CMC, mAP and mINP, exactly, from features or from a matrix of distances, by one code path.

Scores are defined in `scores.py`, rules in `protocol.py`, choices in `scoring.py`. Ties are ranked by (distance,
gallery index). Queries without a possible match are counted and named. A protocol that draws is scored once a draw.
Source: AP as torchreid and fast-reid compute it, or as the original Market-1501 code does (`scoring.py`).
Trade-off: see `kernels.py`; every draw computes its distances anew.
"""

from functools import partial

import numpy as np
from jaxtyping import Int8, Int64, Shaped

from resight.cluster.errors import UserError
from resight.trainers.retrieval.blocks import Distance, GivenRows, Rows, feature_rows, sweep
from resight.trainers.retrieval.inputs import (
    check_directions,
    check_features,
    check_labels,
    check_matches,
    check_protocol,
    check_shape,
    not_finite,
)
from resight.trainers.retrieval.kernels import score_rows
from resight.trainers.retrieval.matching import Labels, Matching, make_matching
from resight.trainers.retrieval.protocol import MARKET1501, EvalProtocol
from resight.trainers.retrieval.scores import SKIP_REASONS, Metrics, combine, summarise
from resight.trainers.retrieval.scoring import Scoring, number_of_draws

__all__ = ["SKIP_REASONS", "Metrics", "evaluate", "evaluate_distances", "evaluate_labelled", "evaluate_rows"]


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
    scoring: Scoring = Scoring(),  # noqa: B008 - frozen
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
        scoring: how rankings are scored.
        distance: "cosine" or "squared_euclidean", see `blocks.py`; the same order on L2-normalised features.
        max_rank: length of the CMC curve.
        max_skipped: largest share of queries that may have no possible match.
        threads: how many to use; None: as many as BLAS has been given.

    Raises:
        UserError: for empty, mismatched or non-finite input, or when too many queries have no possible match.
    """
    query_features, gallery_features = np.asarray(query_features), np.asarray(gallery_features)
    check_features(query_features, gallery_features)
    return evaluate_labelled(
        query_features,
        gallery_features,
        check_labels("query", query_pids, query_camids, len(query_features)),
        check_labels("gallery", gallery_pids, gallery_camids, len(gallery_features)),
        protocol=protocol,
        distance=distance,
        scoring=scoring,
        max_rank=max_rank,
        max_skipped=max_skipped,
        threads=threads,
    )


def evaluate_labelled(
    query_features: Shaped[np.ndarray, "q d"],
    gallery_features: Shaped[np.ndarray, "g d"],
    query: Labels,
    gallery: Labels,
    *,
    protocol: EvalProtocol,
    distance: Distance = "cosine",
    scoring: Scoring = Scoring(),  # noqa: B008 - frozen
    max_rank: int = 50,
    max_skipped: float = 0.5,
    threads: int | None = None,
) -> Metrics:
    """As `evaluate`, with all labels that a protocol may ask for."""
    check_features(query_features, gallery_features)
    check_directions(query_features, gallery_features, distance)
    rows = feature_rows(query_features, gallery_features, distance)
    return evaluate_rows(
        rows,
        query,
        gallery,
        protocol=protocol,
        scoring=scoring,
        max_rank=max_rank,
        max_skipped=max_skipped,
        threads=threads,
    )


def evaluate_distances(
    distances: Shaped[np.ndarray, "q g"],
    query_pids: object,
    gallery_pids: object,
    query_camids: object,
    gallery_camids: object,
    *,
    protocol: EvalProtocol = MARKET1501,
    scoring: Scoring = Scoring(),  # noqa: B008 - frozen
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
        scoring=scoring,
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
    scoring: Scoring = Scoring(),  # noqa: B008 - frozen
    max_rank: int = 50,
    max_skipped: float = 0.5,
    threads: int | None = None,
) -> Metrics:
    """Score rows from anywhere; what the others share."""
    if max_rank < 1:
        raise UserError(f"max_rank is {max_rank}", cure="ask for at least rank 1")
    check_protocol(query, gallery, protocol)
    draws: list[Metrics] = []
    for repeat in range(number_of_draws(protocol, scoring)):
        matching = make_matching(query, gallery, protocol, seed=scoring.seed, repeat=repeat)
        metrics = _score_draw(rows, query, matching, protocol, scoring, max_rank, threads)
        check_matches(metrics.skipped, metrics.queries, protocol, max_skipped)
        draws.append(metrics)
    return combine(draws)


def _score_draw(
    rows: Rows,
    query: Labels,
    matching: Matching,
    protocol: EvalProtocol,
    scoring: Scoring,
    max_rank: int,
    threads: int | None,
) -> Metrics:
    scores = np.full((len(query), 2), np.nan)
    counts = np.zeros((len(query), 3), np.int64)
    bounds = np.full((len(query) if scoring.tie_bounds else 0, 2, 3), np.nan)
    score = partial(
        _score,
        rows=rows,
        matching=matching,
        trapezoid=scoring.ap == "trapezoid",
        scores=scores,
        counts=counts,
        bounds=bounds,
    )
    if (bad := sweep(rows, threads, score)) >= 0:
        raise not_finite(bad, rows)
    reason = _reasons(query, matching, counts[:, 1])
    return summarise(protocol.name, scoring, scores, counts, bounds, reason, max_rank)


def _score(
    block: np.ndarray,
    first: int,
    *,
    rows: Rows,
    matching: Matching,
    trapezoid: bool,
    scores: np.ndarray,
    counts: np.ndarray,
    bounds: np.ndarray,
) -> int:
    return score_rows(
        block, first, rows.scale, rows.bias, rows.offset, matching, trapezoid, scores, counts, bounds
    )  # fmt: skip


def _reasons(query: Labels, matching: Matching, positives: Int64[np.ndarray, " q"]) -> Int8[np.ndarray, " q"]:
    absent = matching.start == matching.stop
    cases = [~matching.asks, query.pid < 0, absent, positives == 0]
    return np.select(cases, [4, 1, 2, 3], default=0).astype(np.int8)
