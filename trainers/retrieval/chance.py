"""What a ranking drawn at random scores, in closed form: the first line any result must be read against.

With P right answers among N ranked images, all orders equally likely:
  E[AP]    = (H_N + (P - 1) (N - H_N) / (N - 1)) / N,   H_N the N-th harmonic number     (1 when N = 1)
           by trapezoids  (E[AP] + P / N) / 2: the precision before a hit is (P - 1) / (N - 1) on average, 1 at rank 1
  E[CMC@k] = 1 - C(N - P, k) / C(N, k)
  E[INP]   = sum over m of (P / m) C(m - 1, P - 1) / C(N, P),   m the rank of the last right answer
Source: Bestgen 2015, "Exact expected average precision of the random baseline for system evaluation"; the others are
the hypergeometric distribution's. Trade-off: the last is a sum of N - P + 1 terms, taken once for each (P, N) there is.
"""

import numpy as np
from jaxtyping import Float64, Int64

from resight.trainers.retrieval.metrics import Metrics

__all__ = ["chance_metrics"]


def chance_metrics(metrics: Metrics) -> Metrics:
    """Return the expected scores of random rankings of the queries and galleries that `metrics` scored.

    `first_hit` is 0 throughout: a random ranking has no one rank. Queries that count as never found stay at 0.
    """
    scored = metrics.reason == 0
    share = scored.sum() / metrics.counted.sum()
    cases, where = np.unique(
        np.stack([metrics.positives[scored], metrics.ranked[scored]], axis=1), axis=0, return_inverse=True
    )
    rows = np.array([_expected(int(p), int(n), len(metrics.cmc)) for p, n in cases]).reshape(len(cases), -1)
    values = rows[where.reshape(-1)]
    if metrics.scoring.ap == "trapezoid":
        values[:, 0] = (values[:, 0] + metrics.positives[scored] / metrics.ranked[scored]) / 2
    ap, inp, top1 = (np.where(metrics.counted, 0.0, np.nan) for _ in range(3))
    ap[scored], inp[scored], top1[scored] = values[:, :3].T
    return Metrics(
        protocol=metrics.protocol,
        scoring=metrics.scoring,
        cmc=values[:, 2:].mean(axis=0) * share,
        mAP=float(values[:, 0].mean() * share),
        mINP=float(values[:, 1].mean() * share),
        ap=ap,
        inp=inp,
        top1=top1,
        first_hit=np.zeros(len(ap), np.int64),
        positives=metrics.positives,
        ranked=metrics.ranked,
        reason=metrics.reason,
    )


def _expected(positives: int, ranked: int, max_rank: int) -> Float64[np.ndarray, " k"]:
    """Return [AP, INP, CMC@1, CMC@2, ...]."""
    return np.concatenate([[_ap(positives, ranked), _inp(positives, ranked)], _cmc(positives, ranked, max_rank)])


def _ap(positives: int, ranked: int) -> float:
    if ranked == 1:
        return 1.0
    harmonic = float((1 / np.arange(1, ranked + 1)).sum())
    return (harmonic + (positives - 1) * (ranked - harmonic) / (ranked - 1)) / ranked


def _inp(positives: int, ranked: int) -> float:
    last: Int64[np.ndarray, " m"] = np.arange(ranked, positives - 1, -1)
    ratios = (last[:-1] - positives) / (last[:-1] - 1)  # P(last = m - 1) / P(last = m)
    probability = positives / ranked * np.concatenate([[1.0], np.cumprod(ratios)])
    return float((probability * positives / last).sum())


def _cmc(positives: int, ranked: int, max_rank: int) -> Float64[np.ndarray, " k"]:
    drawn = np.arange(max_rank)
    left = np.maximum(ranked - drawn, 1)
    missed = np.clip((ranked - positives - drawn) / left, 0, 1)
    return 1 - np.cumprod(missed)
