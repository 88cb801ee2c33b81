"""DBSCAN on a graph of near pairs: connected components of core points. Equal to scikit-learn's labels.

A point is core when `min_samples` points, itself included, lie within eps. Clusters are numbered by their first core
point; a point within reach of several clusters' cores goes to the lowest number, as scikit-learn's order of expansion
has it; the rest is noise, -1.

The rule for ties: d <= eps + 1e-5. With k2 = 6 many Jaccard distances are exactly 1/2 up to rounding, and at eps = 0.5
three correct programs found 769, 771 and 774 clusters; with the margin the last bit of a sum decides nothing.
Source: Ester et al. 1996; numbering as in scikit-learn 1.9. Trade-off: eps is at most the graph's limit.
"""

import numpy as np
from jaxtyping import Int64
from numba import njit

from resight.cluster.errors import UserError
from resight.trainers.retrieval.sparse import SparseRows

__all__ = ["MARGIN", "dbscan", "mmt_eps"]

MARGIN = 1e-5
"""Distances up to eps + this are within eps."""


def dbscan(graph: SparseRows, eps: float, *, min_samples: int = 4) -> Int64[np.ndarray, " n"]:
    """Return the cluster of each point, from 0; -1 for noise.

    Args:
        graph: near pairs i < j with their distances, `jaccard_graph` with a limit above `eps`.
        eps: largest distance of neighbours, in (0, 1).
        min_samples: neighbours, the point itself included, that make a point core.
    """
    if not 0 < eps < 1:
        raise UserError(f"eps is {eps}", where="eps", cure="use a distance between 0 and 1")
    if min_samples < 1:
        raise UserError(f"min_samples is {min_samples}", where="min_samples", cure="use 1 or more")
    return _clusters(graph, np.float32(eps + MARGIN), min_samples)


def mmt_eps(graph: SparseRows, *, share: float = 1.6e-3) -> float:
    """Return MMT's eps: the mean of the smallest `share` of all pairs' distances that are not 0.

    Args:
        graph: `jaccard_graph` with limit 1; pairs that are not in it are at distance 1.
        share: of the pairs.

    Source: Ge et al. 2020 (MMT), published code, where it is computed in the first epoch and kept. There only exact
    zeros are left out, and rounding decides which of the equal neighbourhoods are exact; here all within the margin.
    """
    count = len(graph.start) - 1
    distances = graph.value[graph.value > MARGIN]
    pairs = count * (count - 1) // 2 - (len(graph.value) - len(distances))
    wanted = round(share * pairs)
    if wanted < 1:
        raise UserError(
            f"{count} images have too few pairs for a share of {share}", where="share", cure="give eps itself"
        )
    least = np.partition(distances, wanted - 1)[:wanted] if wanted < len(distances) else distances
    return float((least.sum(dtype=np.float64) + (wanted - len(least))) / wanted)


@njit(cache=True, nogil=True)
def _clusters(graph: SparseRows, limit: np.float32, min_samples: int) -> Int64[np.ndarray, " n"]:
    count = graph.start.size - 1
    degree = np.ones(count, np.int32)
    for i in range(count):
        for at in range(graph.start[i], graph.start[i + 1]):
            if graph.value[at] <= limit:
                degree[i] += 1
                degree[graph.column[at]] += 1
    core = degree >= min_samples
    parent = np.arange(count).astype(np.int32)
    for i in range(count):
        for at in range(graph.start[i], graph.start[i + 1]):
            j = graph.column[at]
            if graph.value[at] <= limit and core[i] and core[j]:
                a, b = _root(parent, i), _root(parent, j)
                parent[max(a, b)] = min(a, b)
    labels = np.full(count, -1, np.int64)
    found = 0
    for i in range(count):
        if core[i]:
            root = _root(parent, i)
            if root == i:
                labels[i] = found
                found += 1
            else:
                labels[i] = labels[root]  # the root is the cluster's first core point, numbered before
    for i in range(count):
        for at in range(graph.start[i], graph.start[i + 1]):
            j = graph.column[at]
            if core[i] != core[j] and graph.value[at] <= limit:
                border, inside = (j, i) if core[i] else (i, j)
                if labels[border] < 0 or labels[inside] < labels[border]:  # of several clusters, the lowest number
                    labels[border] = labels[inside]
    return labels


@njit(cache=True, nogil=True)
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
