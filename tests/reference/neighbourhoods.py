"""Slow and obvious, float64, dense: k-reciprocal neighbourhoods, Jaccard distance, re-ranking, DBSCAN, MMT's eps.

Zhong et al. 2017 (arXiv:1701.08398) with sets written as sets; the variants as their published code behaves: `mmt`
looks at k1 + 1 columns and divides distances by the row's largest, `spcl` looks at k1 columns and does not divide.
"""

import numpy as np


def squared(features: np.ndarray) -> np.ndarray:
    wide = features.astype(np.float64)
    return ((wide[:, None] - wide[None]) ** 2).sum(axis=2)


def order_of(distances: np.ndarray) -> np.ndarray:
    """Columns by (distance, index)."""
    return np.argsort(distances, axis=1, kind="stable")


def reciprocal(order: np.ndarray, i: int, columns: int) -> set[int]:
    return {int(j) for j in order[i, :columns] if i in order[j, :columns]}


def weights(distances: np.ndarray, k1: int, k2: int, variant: str) -> np.ndarray:
    count, order = len(distances), order_of(distances)
    columns = k1 + 1 if variant == "mmt" else k1
    half = min(int(np.around(k1 / 2)) + 1, columns)
    scaled = distances / distances.max(axis=1, keepdims=True) if variant == "mmt" else distances
    rows = np.zeros((count, count))
    for i in range(count):
        core = reciprocal(order, i, columns)
        wide = set(core)
        for candidate in core:
            other = reciprocal(order, candidate, half)
            if 3 * len(other & core) > 2 * len(other):
                wide |= other
        members = sorted(wide)
        value = np.exp(-scaled[i, members])
        rows[i, members] = value / value.sum()
    return rows if k2 == 1 else np.stack([rows[order[i, :k2]].mean(axis=0) for i in range(count)])


def jaccard(distances: np.ndarray, k1: int, k2: int, variant: str) -> np.ndarray:
    rows = weights(distances, k1, k2, variant)
    found = np.empty_like(distances)
    for i in range(len(rows)):
        common = np.minimum(rows[i], rows).sum(axis=1)
        found[i] = 1 - common / (2 - common)
    return np.maximum(found, 0)


def rerank(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    distances = squared(np.concatenate([query, gallery]))
    plain = distances / distances.max(axis=1, keepdims=True)
    final = (1 - weight) * jaccard(distances, k1, k2, "mmt") + weight * plain
    return final[: len(query), len(query) :]


def mmt_eps(distances: np.ndarray, share: float) -> float:
    upper = distances[np.triu_indices(len(distances), 1)]
    upper = np.sort(upper[upper != 0])
    return float(upper[: round(share * len(upper))].mean())


def dbscan(distances: np.ndarray, eps: float, min_samples: int) -> np.ndarray:
    """Ester et al. 1996, clusters expanded one by one in the order of points."""
    near = distances <= eps
    core = near.sum(axis=1) >= min_samples
    labels, cluster = np.full(len(near), -1), 0
    for first in range(len(near)):
        if not core[first] or labels[first] >= 0:
            continue
        waiting, labels[first] = [first], cluster
        while waiting:
            point = waiting.pop()
            if core[point]:
                for other in np.flatnonzero(near[point] & (labels < 0)):
                    labels[other] = cluster
                    waiting.append(int(other))
        cluster += 1
    return labels
