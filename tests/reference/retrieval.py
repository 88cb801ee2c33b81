"""Slow and obvious: CMC, AP, INP, rankings and chance, in float64 loops, one query at a time, from the definitions.

Zheng et al. 2015 (Market-1501): gallery images of the query's identity and camera are not counted, junk is not ranked.
AP = mean over right answers of (right answers so far / rank); INP = right answers / rank of the last (Ye et al. 2021).
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np


def ranking(
    distances: Sequence[float], pid: int, camid: int, pids: Sequence[int], camids: Sequence[int], *, same_camera: bool
) -> list[int]:
    """Gallery positions that are ranked, best first."""
    kept: list[int] = []
    for j in range(len(pids)):
        if pids[j] == -1:
            continue
        if same_camera and pid >= 0 and pids[j] == pid and camid >= 0 and camids[j] == camid:
            continue
        kept.append(j)
    return sorted(kept, key=lambda j: (distances[j], j))


def score(hits: Sequence[bool]) -> tuple[float, float, int]:
    """AP, INP and first hit of a ranking of right and wrong answers with at least one right one."""
    found, total, last, first = 0, 0.0, 0, 0
    for rank, hit in enumerate(hits, start=1):
        if hit:
            found += 1
            total += found / rank
            last = rank
            first = first or rank
    return total / found, found / last, first


def evaluate(
    distances: np.ndarray,
    query_pids: Sequence[int],
    gallery_pids: Sequence[int],
    query_camids: Sequence[int],
    gallery_camids: Sequence[int],
    *,
    same_camera: bool = True,
    max_rank: int = 50,
) -> dict[str, Any]:
    """All of it. Skipped queries have NaN scores and count in `skipped` by reason."""
    num = len(query_pids)
    ap, inp, first = np.full(num, np.nan), np.full(num, np.nan), np.zeros(num, int)
    positives, ranked = np.zeros(num, int), np.zeros(num, int)
    skipped: dict[str, int] = {}
    cmc = np.zeros(max_rank)
    scored = 0
    for i in range(num):
        pid = query_pids[i]
        order = ranking(
            distances[i].tolist(), pid, query_camids[i], gallery_pids, gallery_camids, same_camera=same_camera
        )
        hits = [pid >= 0 and gallery_pids[j] == pid for j in order]
        ranked[i], positives[i] = len(hits), sum(hits)
        if pid < 0:
            reason = "query has no identity"
        elif pid not in gallery_pids:
            reason = "identity not in the gallery"
        elif not any(hits):
            reason = "all matches dropped by the protocol"
        else:
            ap[i], inp[i], first[i] = score(hits)
            scored += 1
            for k in range(max_rank):
                cmc[k] += 1.0 if first[i] <= k + 1 else 0.0
            continue
        skipped[reason] = skipped.get(reason, 0) + 1
    return {
        "cmc": cmc / max(scored, 1),
        "mAP": float(np.nansum(ap)) / max(scored, 1),
        "mINP": float(np.nansum(inp)) / max(scored, 1),
        "ap": ap,
        "inp": inp,
        "first_hit": first,
        "positives": positives,
        "ranked": ranked,
        "skipped": skipped,
    }


def chance(positives: int, ranked: int, ranks: Sequence[int]) -> tuple[float, float, list[float]]:
    """Mean AP, INP and CMC over every possible placing of the right answers: all orders are equally likely."""
    ap: list[float] = []
    inp: list[float] = []
    cmc = [0] * len(ranks)
    for places in itertools.combinations(range(ranked), positives):
        one = score([place in places for place in range(ranked)])
        ap.append(one[0])
        inp.append(one[1])
        for at, k in enumerate(ranks):
            cmc[at] += one[2] <= k
    return float(np.mean(ap)), float(np.mean(inp)), [count / len(ap) for count in cmc]
