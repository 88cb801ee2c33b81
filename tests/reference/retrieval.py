"""Slow and obvious: CMC, AP, INP, rankings and chance, in float64 loops, one query at a time, from the definitions.

Zheng et al. 2015 (Market-1501): gallery images of the query's identity and camera are not counted, junk is not ranked.
AP = mean over right answers of (right answers so far / rank); INP = right answers / rank of the last (Ye et al. 2021).
Trapezoids: the precision-recall curve walked rank by rank, from precision 1 at recall 0 (Market-1501's own code).
Clothes (Gu et al. 2022): what counts is another camera and, by the mode, other or the same clothes; what is of the
query's identity and does not count is not ranked. Single shot: a random order, of each identity the first that counts.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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


class Image(NamedTuple):
    """Labels of one image; -1 where one is not known."""

    pid: int
    camid: int
    outfit: int = -1
    tracklet: int = -1


def trapezoids(hits: Sequence[bool]) -> float:
    """The area under the curve of precision over recall, joined by straight lines."""
    area, found, old_recall, old_precision = 0.0, 0, 0.0, 1.0
    for rank, hit in enumerate(hits, start=1):
        found += hit
        recall, precision = found / sum(hits), found / rank
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return area


def counts(query: Image, other: Image, mode: str) -> bool:
    """Whether an image of the query's identity is one that the query is asked to find."""
    same_camera = query.camid >= 0 and query.camid == other.camid
    if mode == "no_camera":
        return True
    if mode == "market1501":
        return not same_camera
    if mode == "clothes_changed":
        return not same_camera and query.outfit != other.outfit
    if mode == "clothes_same":
        return not same_camera and query.outfit == other.outfit
    if mode == "clothes_changed_literal":
        return not (same_camera and query.outfit == other.outfit)
    assert mode == "deepchange"
    return query.tracklet != other.tracklet


def ranked(
    distances: Sequence[float], query: Image, gallery: Sequence[Image], mode: str, order: Sequence[int] | None = None
) -> list[int]:
    """Gallery positions that are ranked, best first; with `order`, of each identity the first in it that counts."""
    kept = [
        j
        for j, other in enumerate(gallery)
        if other.pid != -1 and (query.pid < 0 or other.pid != query.pid or counts(query, other, mode))
    ]
    if order is not None:
        firsts: dict[int, int] = {}
        for j in order:
            if j in kept and gallery[j].pid >= 0:
                firsts.setdefault(gallery[j].pid, j)
        kept = [j for j in kept if gallery[j].pid < 0 or firsts[gallery[j].pid] == j]
    return sorted(kept, key=lambda j: (distances[j], j))


def judge(
    distances: np.ndarray,
    queries: Sequence[Image],
    gallery: Sequence[Image],
    mode: str,
    *,
    trapezoid: bool = False,
    count_unmatched: bool = False,
    order: Sequence[int] | None = None,
    asked: Sequence[bool] | None = None,
    apart: bool = False,
) -> dict[str, Any]:
    """Means over queries, and each query's (AP, INP, whether the first is right), None where it is left out.

    With `apart`, query i is gallery image i and is not ranked for itself.
    """
    each: list[tuple[float, float, float] | None] = []
    for i, query in enumerate(queries):
        places = ranked(distances[i].tolist(), query, gallery, mode, order)
        hits = [gallery[j].pid == query.pid for j in places if not (apart and j == i)]
        if query.pid < 0 or (asked is not None and not asked[i]):
            each.append(None)
        elif any(hits):
            ap, inp, first = score(hits)
            each.append((trapezoids(hits) if trapezoid else ap, inp, float(first == 1)))
        else:
            each.append((0.0, 0.0, 0.0) if count_unmatched else None)
    known = [one for one in each if one is not None]
    means = [sum(one[at] for one in known) / len(known) if known else None for at in range(3)]
    return {"each": each, "mAP": means[0], "mINP": means[1], "rank1": means[2]}


def drawn_order(gallery: Sequence[Image], seed: int, repeat: int) -> list[int]:
    """The random order of a draw: numpy's generator by [seed, repeat] over all that is not junk."""
    places = [j for j, image in enumerate(gallery) if image.pid != -1]
    return [int(j) for j in np.random.default_rng([seed, repeat]).permutation(np.array(places, np.int64))]


def tie_bounds(
    distances: Sequence[float], query: Image, gallery: Sequence[Image], mode: str, *, trapezoid: bool
) -> list[tuple[float, float]] | None:
    """(least, most) of AP, INP and rank-1 over every order of the gallery, equal distances falling as it says."""
    kept = ranked(distances, query, gallery, mode)
    found: list[tuple[float, float, float]] = []
    for order in itertools.permutations(kept):
        hits = [gallery[j].pid == query.pid for j in sorted(order, key=lambda j: distances[j])]
        if query.pid < 0 or not any(hits):
            return None
        ap, inp, first = score(hits)
        found.append((trapezoids(hits) if trapezoid else ap, inp, float(first == 1)))
    return [(min(values), max(values)) for values in zip(*found, strict=True)] if found else None


def chance_by(area: Callable[[Sequence[bool]], float], positives: int, size: int) -> float:
    """Mean of an average precision over every placing of the right answers."""
    places = itertools.combinations(range(size), positives)
    return float(np.mean([area([place in right for place in range(size)]) for right in places]))
