"""The compiled inner loops: ranks as counts, and the nearest k, over rows of distances.

The rank of a positive is the number of kept gallery images before it, so no row is sorted: for each positive the row is
compared and counted, sixteen entries an instruction, and ties fall to the lower gallery index by counting `<=` before
the positive and `<` after it. What is not ranked is overwritten with infinity and never counts. With more than
`COUNT_UP_TO` positives the row is instead searched into the sorted positives: G log P in place of G P.
Source: design of this project; average precision as `scoring.py` says, and INP as in Ye et al. 2021 (arXiv:2001.04193,
eq. 9).
Trade-off: rows are changed in place, so the caller owns them. The counters are 32-bit because that is what lets the
compiler keep one counter beside each float32.
"""

import numpy as np
from jaxtyping import Float64, Int64
from numba import njit

from resight.trainers.retrieval.matching import Matching

__all__ = [
    "COUNT_UP_TO", "average_precision", "count_ranks", "is_dropped", "keep_matches", "nearest_rows", "score_rows",
    "search_ranks", "tie_ranks", "to_distances",
]  # fmt: skip

COUNT_UP_TO = 512
"""Positives of one query up to which counting is faster than searching (benchmarks/evaluation.py --crossover)."""

_PIECE = 6144
"""Entries of a row that are compared at a time: 24 KB, which the first cache of any processor holds."""


@njit(cache=True, nogil=True)
def to_distances(row: np.ndarray, scale: np.ndarray, bias: np.ndarray, offset: float) -> bool:
    """Turn one row of products into distances, in place: offset + bias + scale * product. Empty scale: already are.

    Returns:
        Whether every distance is finite.
    """
    bad = np.int32(0)
    if scale.size > 0:
        for j in range(row.size):
            row[j] = (offset + bias[j]) + scale[j] * row[j]
    for j in range(row.size):
        if not (np.abs(row[j]) < np.inf):
            bad = np.int32(bad + np.int32(1))
    return bad == 0


@njit(cache=True, nogil=True)
def is_dropped(query: int, j: int, matching: Matching) -> bool:
    """Return whether a rule drops gallery image `j`, which is of the query's identity, from the query's ranking."""
    if matching.own[query] == j:
        return True
    for rule in range(matching.rules.shape[0]):
        holds = True
        for field in range(matching.rules.shape[1]):
            wanted = matching.rules[rule, field]
            if wanted != 0:
                ours, theirs = matching.same[query, field], matching.gallery_same[j, field]
                holds = holds and ours >= 0 and theirs >= 0 and (ours == theirs) == (wanted > 0)
        if holds:
            return True
    return False


@njit(cache=True, nogil=True)
def keep_matches(row: np.ndarray, query: int, matching: Matching, positives: np.ndarray) -> tuple[int, int]:
    """List the query's right answers in gallery order, and hide what is not ranked behind infinity.

    Returns:
        The number of right answers, written to `positives`, and the number of gallery images ranked.
    """
    if matching.single:
        return _keep_one(row, query, matching, positives)
    for j in matching.junk:
        row[j] = np.inf
    found = 0
    dropped = 0
    for at in range(matching.start[query], matching.stop[query]):
        j = matching.order[at]
        if is_dropped(query, j, matching):
            row[j] = np.inf
            dropped += 1
        else:
            positives[found] = j
            found += 1
    return found, row.size - matching.junk.size - dropped


@njit(cache=True, nogil=True)
def _keep_one(row: np.ndarray, query: int, matching: Matching, positives: np.ndarray) -> tuple[int, int]:
    """As `keep_matches`, with the first image of the query's identity that is not dropped in the place of all."""
    found = 0
    distance = row[0]
    for at in range(matching.start[query], matching.stop[query]):
        if found == 0 and not is_dropped(query, matching.order[at], matching):
            positives[0] = matching.order[at]
            distance = row[positives[0]]
            found = 1
    for j in matching.junk:
        row[j] = np.inf
    drawn = 0  # of the query's identity: the one image that is not among the junk
    for at in range(matching.start[query], matching.stop[query]):
        row[matching.order[at]] = np.inf
        drawn = 1
    if found:
        row[positives[0]] = distance
    return found, row.size - matching.junk.size - drawn + found


@njit(cache=True, nogil=True)
def count_ranks(row: np.ndarray, positives: np.ndarray, ranks: np.ndarray) -> None:
    """Write the rank, from 1, of each positive; a piece of the row is compared with all while it is in the cache."""
    ranks[:] = 1
    for low in range(0, row.size, _PIECE):
        high = min(low + _PIECE, row.size)
        for k in range(positives.size):
            limit, here = row[positives[k]], min(max(positives[k], low), high)
            before, after, count = row[low:here], row[here:high], np.int32(0)
            for j in range(before.size):
                if before[j] <= limit:
                    count = np.int32(count + np.int32(1))
            for j in range(after.size):  # the positive itself is not below its own distance
                if after[j] < limit:
                    count = np.int32(count + np.int32(1))
            ranks[k] += count


@njit(cache=True, nogil=True)
def search_ranks(row: np.ndarray, positives: np.ndarray, ranks: np.ndarray) -> None:
    """Write the rank, from 1, of each positive, given in (distance, index) order: one pass over the row for all."""
    limits = row[positives]
    ranks[:] = 0
    for j in range(row.size):
        value = row[j]
        if value > limits[-1] or (value == limits[-1] and j > positives[-1]):
            continue
        at = 0
        left = positives.size
        while left > 1:  # a step without a branch: the outcome of the comparison cannot be predicted
            half = left // 2
            at += half * np.int64(limits[at + half - 1] < value)
            left -= half
        while limits[at] < value or (limits[at] == value and positives[at] < j):
            at += 1  # ends: the last positive is not before (value, j), or j would have been passed over
        ranks[at] += 1
    for k in range(1, positives.size):
        ranks[k] += ranks[k - 1]


@njit(cache=True, nogil=True)
def tie_ranks(row: np.ndarray, positives: np.ndarray, least: np.ndarray, most: np.ndarray) -> None:
    """Write the least and the most that the rank, from 1, of the k-th positive can be over all orders of ties.

    At the least every positive comes before what is equally far, at the most after it.

    Args:
        row: (G,) distances.
        positives: gallery positions in order of distance.
        least: as many ranks, written.
        most: as many ranks, written.
    """
    tied = 0  # the first positive as far as the k-th
    for k in range(positives.size):
        limit = row[positives[k]]
        if row[positives[tied]] < limit:
            tied = k
        below = np.int32(0)
        equal = np.int32(0)
        for j in range(row.size):
            below = np.int32(below + np.int32(row[j] < limit))
            equal = np.int32(equal + np.int32(row[j] == limit))
        group = 0
        while tied + group < positives.size and row[positives[tied + group]] == limit:
            group += 1
        least[k] = below - tied + k + 1
        most[k] = below - tied + (equal - group) + k + 1


@njit(cache=True, nogil=True)
def average_precision(ranks: np.ndarray, trapezoid: bool) -> float:
    """Return the area of the precision-recall curve of right answers at `ranks`, ascending from 1.

    Rectangles are as high as the precision at each hit; trapezoids go from the precision of the rank before it, which
    is 1 before the first.
    """
    total = 0.0
    for k in range(ranks.size):
        height = (k + 1) / ranks[k]
        if trapezoid:
            height = (height + (k / (ranks[k] - 1) if ranks[k] > 1 else 1.0)) / 2
        total += height
    return total / ranks.size


@njit(cache=True, nogil=True)
def score_rows(
    rows: np.ndarray,
    first: int,
    scale: np.ndarray,
    bias: np.ndarray,
    offset: np.ndarray,
    matching: Matching,
    trapezoid: bool,
    scores: Float64[np.ndarray, "q 2"],
    counts: Int64[np.ndarray, "q 3"],
    bounds: Float64[np.ndarray, "b 2 3"],
) -> int:
    """Score queries first, first + 1, ... from their rows of products.

    Args:
        rows: (n, G) products or distances, overwritten.
        first: the number of the first query.
        scale: (G,) or (0,), see `to_distances`.
        bias: (G,) or (0,).
        offset: (Q,).
        matching: the tables.
        trapezoid: see `average_precision`.
        scores: (Q, 2) average precision and inverse negative penalty, written where there is a right answer.
        counts: (Q, 3) rank of the first right answer, right answers, gallery images ranked.
        bounds: (Q, 2, 3) least and most average precision, inverse negative penalty and rank-1 over all orders of
            ties, written where there is a right answer; (0, 2, 3) when nobody asks.

    Returns:
        The first query with a distance that is not finite, or -1.
    """
    most = 1
    for i in range(rows.shape[0]):
        most = max(most, matching.stop[first + i] - matching.start[first + i])
    positives = np.empty(most, np.int64)
    ranks = np.empty(most, np.int64)
    others = np.empty(most if bounds.shape[0] > 0 else 0, np.int64)
    for i in range(rows.shape[0]):
        query = first + i
        row = rows[i]
        if not to_distances(row, scale, bias, offset[query]):
            return query
        found, ranked = keep_matches(row, query, matching, positives)
        counts[query, 1] = found
        counts[query, 2] = ranked
        if found == 0:
            continue
        hits = positives[:found][np.argsort(row[positives[:found]], kind="mergesort")]
        if bounds.shape[0] > 0:
            tie_ranks(row, hits, ranks[:found], others[:found])
            for side, one in enumerate((others[:found], ranks[:found])):
                bounds[query, side, 0] = average_precision(one, trapezoid)
                bounds[query, side, 1] = found / one[found - 1]
                bounds[query, side, 2] = 1.0 if one[0] == 1 else 0.0
        if found <= COUNT_UP_TO:
            count_ranks(row, hits, ranks[:found])
        else:
            search_ranks(row, hits, ranks[:found])
        scores[query, 0] = average_precision(ranks[:found], trapezoid)
        scores[query, 1] = found / ranks[found - 1]
        counts[query, 0] = ranks[0]
    return -1


@njit(cache=True, nogil=True)
def nearest_rows(
    rows: np.ndarray,
    first: int,
    scale: np.ndarray,
    bias: np.ndarray,
    offset: np.ndarray,
    matching: Matching,
    indices: Int64[np.ndarray, "q k"],
    distances: np.ndarray,
) -> int:
    """Write the k nearest ranked gallery images of queries first, first + 1, ... by (distance, gallery index).

    `rows` to `matching` are as in `score_rows`; places that no gallery image fills stay as the caller set them.

    Returns:
        The first query with a distance that is not finite, or -1.
    """
    k = indices.shape[1]
    most = 1
    for i in range(rows.shape[0]):
        most = max(most, matching.stop[first + i] - matching.start[first + i])
    positives = np.empty(most, np.int64)
    for i in range(rows.shape[0]):
        query = first + i
        row = rows[i]
        if not to_distances(row, scale, bias, offset[query]):
            return query
        keep_matches(row, query, matching, positives)
        filled = 0
        for j in range(row.size):
            value = row[j]
            if value == np.inf or (filled == k and value >= distances[query, k - 1]):
                continue
            filled = min(filled + 1, k)
            at = filled - 1
            while at > 0 and distances[query, at - 1] > value:
                distances[query, at] = distances[query, at - 1]
                indices[query, at] = indices[query, at - 1]
                at -= 1
            distances[query, at] = value
            indices[query, at] = j
    return -1
