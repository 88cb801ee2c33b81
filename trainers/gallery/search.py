"""The nearest images of an index, exactly, by (cosine distance, position), a block of vectors at a time.

A float32 product of a block finds candidates: everything that could be among the k best within the product's rounding
error, D x 2^-24 for vectors of unit length. Their distances are then computed in float64 and rounded to float32, so
the ranking depends neither on blocks nor on threads, and equal vectors are in the order of their positions.
Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1, for the bound. Trade-off: O(N D) work
a query; nothing approximate is offered.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from resight.cluster.errors import UserError
from resight.trainers.gallery.index import GalleryIndex
from resight.trainers.gallery.where import Filter, everything

__all__ = ["Hits", "search"]

_GALLERY_ROWS: Final = 16384  # vectors a product
_QUERY_ROWS: Final = 64
_SHORTEST: Final = 1e-12


class Hits(NamedTuple):
    """The k nearest of each query.

    Attributes:
        positions: (Q, k) in the index, nearest first; -1 where fewer images may be found.
        distances: (Q, k) cosine distances in [0, 2]; infinite where the position is -1.
    """

    positions: Int64[np.ndarray, "q k"]
    distances: Float32[np.ndarray, "q k"]


def search(
    index: GalleryIndex,
    query: Shaped[np.ndarray, "q d"],
    k: int = 10,
    *,
    allowed: Filter = everything,
    leave_out: Int64[np.ndarray, " q"] | None = None,
) -> Hits:
    """Find the k nearest images of each query.

    Args:
        index: where.
        query: (Q, D) features of the index's model, any scale.
        k: how many; at most the images in the index.
        allowed: which images may be found at all.
        leave_out: for each query a position that is not an answer, such as its own; -1 for none.

    Raises:
        UserError: for an empty index, queries of another length, not finite or all zeros, k out of range, a filter that
            leaves nothing, and vectors in the index that are damaged.
    """
    unit = _unit(index, np.asarray(query), k)
    own = np.full(len(unit), -1, np.int64) if leave_out is None else leave_out
    best = Hits(np.full((len(unit), k), -1, np.int64), np.full((len(unit), k), np.inf, np.float32))
    looked_at = 0
    for positions, vectors in _blocks(index, allowed):
        looked_at += len(positions)
        for first in range(0, len(unit), _QUERY_ROWS):
            part = slice(first, first + _QUERY_ROWS)
            _merge(index, unit[part], own[part], positions, vectors, Hits(best.positions[part], best.distances[part]))
    if not looked_at:
        raise UserError("the filter leaves no image to search", where="--where", cure="ask for less at once")
    return best


def _blocks(index: GalleryIndex, allowed: Filter) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (positions, vectors) of the images that may be found."""
    for start, opened in zip(index.starts[:-1].tolist(), index.segments, strict=True):
        rows: Bool[np.ndarray, " n"] = allowed(opened)
        for first in range(0, len(rows), _GALLERY_ROWS):
            there = np.flatnonzero(rows[first : first + _GALLERY_ROWS])
            vectors = opened.vectors[first : first + _GALLERY_ROWS]
            if len(there):
                yield start + first + there, vectors if len(there) == len(vectors) else vectors[there]


def _merge(
    index: GalleryIndex,
    unit: Float64[np.ndarray, "b d"],
    own: Int64[np.ndarray, " b"],
    positions: Int64[np.ndarray, " n"],
    vectors: Float32[np.ndarray, "n d"],
    best: Hits,
) -> None:
    """Take a block's vectors into the best of some queries, in place."""
    k, error = best.positions.shape[1], (unit.shape[1] + 8) * 2.0**-24
    near = 1 - unit.astype(np.float32) @ vectors.T
    if not np.isfinite(near).all():
        cure = "`resight index --check` tells where; make the index again from its feature files"
        raise UserError("the index is damaged: a vector is not finite", where=index.path, cure=cure)
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


def _unit(index: GalleryIndex, query: Shaped[np.ndarray, "..."], k: int) -> Float64[np.ndarray, "q d"]:
    """Return the queries at unit length, after all checks."""
    dim, count = index.manifest.model.dim, len(index)
    if query.ndim != 2 or len(query) == 0:
        raise UserError(f"queries have the shape {query.shape}", cure="give one row of numbers an image, at least one")
    if query.shape[1] != dim:
        cure = "embed the query with the model that made the index"
        raise UserError(f"a query has {query.shape[1]} numbers, the index {dim}", where=index.path, cure=cure)
    if count == 0:
        raise UserError("the index is empty", where=index.path, cure="add images with `resight index FILE.parquet`")
    if not 1 <= k <= count:
        raise UserError(
            f"{k} results were asked for, and the index has {count:,} images",
            where=index.path,
            cure=f"ask for 1 to {count} (--top)",
        )
    wide = query.astype(np.float64)
    length = np.sqrt((wide * wide).sum(axis=1))
    bad = np.flatnonzero(~(np.isfinite(length) & (length > _SHORTEST)))
    if len(bad):
        what = "all zeros" if length[bad[0]] <= _SHORTEST else "not finite"
        cure = "check the picture, and the checkpoint it was embedded with"
        raise UserError(f"the vector of query {bad[0]} is {what}", cure=cure)
    return wide / length[:, None]
