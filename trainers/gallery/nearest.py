"""The nearest of a block of vectors, exactly: candidates by a float32 product, their distances in float64.

A float32 product finds everything that could be among the k best within its rounding error, D x 2^-24 for vectors of
unit length. The distances of these are then computed in float64 and rounded to float32, so an answer depends neither
on blocks nor on threads, and equal distances are in the order of positions.
Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1, for the bound. Trade-off: a Python
step for each query that a block has something for.
"""

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

__all__ = ["Hits", "merge", "nearest_one", "no_hits"]

_BLOCK_ROWS: Final = 2048


class Hits(NamedTuple):
    """The k nearest of each query.

    Attributes:
        positions: (Q, k) in the index, nearest first; -1 where fewer images may be found.
        distances: (Q, k) cosine distances in [0, 2]; infinite where the position is -1.
        compared: (Q,) how many images each query was compared with.
    """

    positions: Int64[np.ndarray, "q k"]
    distances: Float32[np.ndarray, "q k"]
    compared: Int64[np.ndarray, " q"]

    def take(self, queries: slice | np.ndarray) -> "Hits":
        """Return those of some queries."""
        return Hits(*(array[queries] for array in self))

    def put(self, queries: slice | np.ndarray, part: "Hits") -> None:
        """Write those of some queries, in place."""
        for array, value in zip(self, part, strict=True):
            array[queries] = value


def no_hits(queries: int, k: int) -> Hits:
    """Return what is known before anything was compared."""
    places, distances = np.full((queries, k), -1, np.int64), np.full((queries, k), np.inf, np.float32)
    return Hits(places, distances, np.zeros(queries, np.int64))


def merge(
    unit: Float64[np.ndarray, "b d"],
    own: Int64[np.ndarray, " b"],
    positions: Int64[np.ndarray, " n"],
    vectors: Float32[np.ndarray, "n d"],
    best: Hits,
) -> bool:
    """Take some vectors into the best of some queries, in place; False, with nothing done, when one is not finite."""
    k, error = best.positions.shape[1], _error(unit.shape[1])
    near = 1 - unit.astype(np.float32) @ vectors.T
    if not np.isfinite(near).all():
        return False
    limit = best.distances[:, -1] + error
    if len(positions) > k:  # one more than k, for the image that is left out
        limit = np.minimum(limit, np.partition(near, k, axis=1)[:, k] + 2 * error)
    for row in np.flatnonzero(near.min(axis=1) <= limit).tolist():
        candidates = np.flatnonzero((near[row] <= limit[row]) & (positions != own[row]))
        cosine = (vectors[candidates].astype(np.float64) * unit[row]).sum(axis=1)
        distance = np.concatenate([best.distances[row], np.clip(1 - cosine, 0, 2).astype(np.float32)])
        position = np.concatenate([best.positions[row], positions[candidates]])
        order = np.lexsort((position, distance))[:k]
        best.positions[row], best.distances[row] = position[order], distance[order]
    best.compared[:] += len(positions)
    return True


def nearest_one(vectors: Float32[np.ndarray, "n d"], targets: Float32[np.ndarray, "t d"]) -> Int32[np.ndarray, " n"]:
    """Return for each vector the row of the nearest target, both of unit length; of equal ones the first."""
    found = np.empty(len(vectors), np.int32)
    error = _error(vectors.shape[1])
    for first in range(0, len(vectors), _BLOCK_ROWS):
        part = vectors[first : first + _BLOCK_ROWS]
        near = part @ targets.T
        least = near.max(axis=1) - np.float32(2 * error)
        found[first : first + len(part)] = near.argmax(axis=1)
        for row in np.flatnonzero((near >= least[:, None]).sum(axis=1) > 1).tolist():
            candidates = np.flatnonzero(near[row] >= least[row])
            cosine = (targets[candidates].astype(np.float64) * part[row].astype(np.float64)).sum(axis=1)
            found[first + row] = candidates[int(cosine.argmax())]
    return found


def _error(dim: int) -> float:
    """Return how far a float32 product of unit vectors may be from the true one."""
    return (dim + 8) * 2.0**-24
