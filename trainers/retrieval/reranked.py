"""Judging after re-ranking: for which protocols, by whose neighbourhoods, and the scores beside the plain ones.

Neighbourhoods are of all images that ask or answer, junk among them, as features of length 1; the protocol's rules,
junk's too, are applied to the re-made distances, as the published evaluation does.
  tracklets      neighbourhoods are of tracklets, each with its mean feature.
  multi-query    queries that share one feature are one member, or they would be each other's nearest.
  drawn gallery  refused: which images answer is drawn, for some protocols by query, so no one neighbourhood is theirs,
                 and that of all images looks at what the draw leaves out.
Source: Zhong et al. 2017 (arXiv:1701.08398) and its published evaluation of Market-1501, for what is counted where.
Trade-off: toolkits that drop junk when they read a data set find neighbourhoods without it, so slightly other scores.
"""

import numpy as np
from jaxtyping import Float32, Int64

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, silent
from resight.trainers.retrieval.evaluation import Reranked, gains, intervals
from resight.trainers.retrieval.inputs import unit_features
from resight.trainers.retrieval.metrics import evaluate_rows
from resight.trainers.retrieval.pooling import Pooling
from resight.trainers.retrieval.protocol import EvalProtocol
from resight.trainers.retrieval.reranking import RerankConfig, RerankedRows, reranked_rows
from resight.trainers.retrieval.scores import Metrics
from resight.trainers.retrieval.sides import Sides

__all__ = ["check_reranking", "rerank_pooled", "score_reranked"]


def check_reranking(config: RerankConfig, pooling: Pooling, protocol: EvalProtocol) -> None:
    """Refuse, before anything is embedded, a protocol that draws its gallery and more neighbours than there are."""
    if protocol.gallery == "one":
        raise UserError(
            f"protocol {protocol.name!r} draws which images answer, so they have no neighbourhood to re-rank by",
            where="--rerank",
            cure="judge by a protocol in which the whole gallery answers, such as market1501, or leave --rerank out",
        )
    asking, answering = len(_distinct_queries(pooling)[0]), len(pooling.sides.gallery)
    most = asking + answering - 1
    if config.k1 > most:
        raise UserError(
            f"k1 is {config.k1}, but an image has {most} others among {asking} queries and {answering} of the gallery",
            where="--rerank-k1",
            cure=f"use {most} or less; the neighbours worth looking at are about as many as a person has images",
        )


def rerank_pooled(
    features: Float32[np.ndarray, "m d"], pooling: Pooling, config: RerankConfig, progress: Progress = silent
) -> RerankedRows:
    """Return re-ranked distances of `pooling.sides` from features of its rows; UserError as `unit_features`."""
    unit, count = unit_features(features), len(pooling.sides.query)
    first, place = _distinct_queries(pooling)
    if len(first) == count:
        return reranked_rows(unit, count, config, progress=progress)
    members = np.concatenate([unit[first], unit[count:]])
    return reranked_rows(members, len(first), config, progress=progress).take(place)


def score_reranked(
    rows: RerankedRows, config: RerankConfig, plain: Metrics, sides: Sides, protocol: EvalProtocol, *, seed: int
) -> Reranked:
    """Score re-ranked distances as the plain ones were, with intervals over identities."""
    pids = sides.query_labels.pid
    metrics = evaluate_rows(rows, sides.query_labels, sides.gallery_labels, protocol=protocol, scoring=plain.scoring)
    return Reranked(
        config=config,
        metrics=metrics,
        interval=intervals(metrics, pids, seed=seed),
        gain=gains(metrics, plain, pids, seed=seed),
    )


def _distinct_queries(pooling: Pooling) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " q"]]:
    """Return one query of each feature, and for each query its feature's place among those."""
    count = len(pooling.sides.query)
    who = pooling.person[:count] if len(pooling.person) else np.arange(count)
    _, first, place = np.unique(who, return_index=True, return_inverse=True)
    return first, place.reshape(-1)
