"""The nearest images of an index by (cosine distance, position): exactly, a block of vectors at a time, or by cells.

Exact is the default: every vector is compared with every query. With `probes`, only images in the nearest cells of an
index that has cells are compared, by the same rule (`probing.py`).
Source: design of this project. Trade-off: O(N D) work a query for the exact search.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from resight.cluster.errors import UserError
from resight.trainers.gallery.index import GalleryIndex
from resight.trainers.gallery.nearest import Hits, merge, no_hits
from resight.trainers.gallery.probing import candidates, nearest_cells
from resight.trainers.gallery.where import Filter, everything

__all__ = ["search"]

_GALLERY_ROWS: Final = 16384  # vectors a product
_QUERY_ROWS: Final = 64
_SHORTEST: Final = 1e-12


def search(
    index: GalleryIndex,
    query: Shaped[np.ndarray, "q d"],
    k: int = 10,
    *,
    allowed: Filter = everything,
    leave_out: Int64[np.ndarray, " q"] | None = None,
    probes: int | None = None,
) -> Hits:
    """Find the k nearest images of each query.

    Args:
        index: where.
        query: (Q, D) features of the index's model, any scale.
        k: how many; at most the images in the index.
        allowed: which images may be found at all.
        leave_out: for each query a position that is not an answer, such as its own; -1 for none.
        probes: look into so many cells a query; None: compare every image, which is exact.

    Raises:
        UserError: for an empty index, queries of another length, not finite or all zeros, k out of range, a filter that
            leaves nothing, vectors in the index that are damaged, and probes as `check_probes`.
    """
    unit = _unit(index, np.asarray(query), k)
    own = np.full(len(unit), -1, np.int64) if leave_out is None else leave_out
    best = no_hits(len(unit), k)
    if probes is None:
        blocks = _every(index, len(unit), allowed)
    else:
        blocks = candidates(index, nearest_cells(index, unit, probes), allowed)
    for queries, positions, vectors in blocks:
        part = best.take(queries)
        if not merge(unit[queries], own[queries], positions, vectors, part):
            cure = "`resight index --check` tells where; make the index again from its feature files"
            raise UserError("the index is damaged: a vector is not finite", where=index.path, cure=cure)
        best.put(queries, part)
    if not best.compared.any() and not any(allowed(opened).any() for opened in index.segments):
        raise UserError("the filter leaves no image to search", where="--where", cure="ask for less at once")
    return best


def _every(index: GalleryIndex, queries: int, allowed: Filter) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (queries, positions, vectors): every query with every image that may be found."""
    for positions, vectors in _blocks(index, allowed):
        for first in range(0, queries, _QUERY_ROWS):
            yield slice(first, first + _QUERY_ROWS), positions, vectors


def _blocks(index: GalleryIndex, allowed: Filter) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (positions, vectors) of the images that may be found."""
    for start, opened in zip(index.starts[:-1].tolist(), index.segments, strict=True):
        rows: Bool[np.ndarray, " n"] = allowed(opened)
        for first in range(0, len(rows), _GALLERY_ROWS):
            there = np.flatnonzero(rows[first : first + _GALLERY_ROWS])
            vectors = opened.vectors[first : first + _GALLERY_ROWS]
            if len(there):
                yield start + first + there, vectors if len(there) == len(vectors) else vectors[there]


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
