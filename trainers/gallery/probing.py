"""An approximate search: the nearest images among those of the cells whose centroids are nearest to the query.

Cells are chosen as images are, exactly by (cosine distance, number), and every image in them is compared as the exact
search compares it. So an answer has its true distance and the answers their true order, and looking into every cell is
the exact search; what looking into fewer costs is that a near image in another cell is not found.
Source: design of this project; the search of Jegou et al. 2011 (IVF), without its product quantisation. Trade-off: the
vectors of a cell do not lie together in the file, so the first searches of a cold index read scattered pages.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

from resight.cluster.errors import UserError
from resight.trainers.gallery.index import GalleryIndex
from resight.trainers.gallery.nearest import merge, no_hits
from resight.trainers.gallery.where import Filter

__all__ = ["candidates", "check_probes", "nearest_cells"]

_ROWS: Final = 16384  # vectors a product
_QUERIES: Final = 64
_SHARED: Final = 2  # queries a cell, from which on a cell's vectors are gathered once for all of them


def check_probes(index: GalleryIndex, probes: int) -> None:
    """Refuse an index without cells, and 0 or more probes than it has cells, with a UserError."""
    if index.centroids is None:
        cure = "leave --probes out for an exact search, or make cells: resight index --cells auto --index DIR"
        raise UserError("this index has no cells to look into", where=index.path, cure=cure)
    if not 1 <= probes <= len(index.centroids):
        raise UserError(
            f"{probes} cells were to be looked into, and the index has {len(index.centroids):,}",
            where=index.path,
            cure=f"give 1 to {len(index.centroids)} (--probes), or leave it out for an exact search",
        )


def nearest_cells(index: GalleryIndex, unit: Float64[np.ndarray, "q d"], probes: int) -> Int64[np.ndarray, "q p"]:
    """Return the cells to look into for each query, nearest first; fewer than asked for when others are empty."""
    check_probes(index, probes)
    live, centroids = index.live_cells
    best = no_hits(len(unit), min(probes, len(live)))
    nobody = np.full(len(unit), -1, np.int64)
    for first in range(0, len(unit), _QUERIES):
        part = slice(first, first + _QUERIES)
        finite = merge(unit[part], nobody[part], live, centroids, best.take(part))
        assert finite, "the centroids were checked when they were opened"
    return best.positions


def candidates(
    index: GalleryIndex, chosen: Int64[np.ndarray, "q p"], allowed: Filter
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (queries, positions, vectors): some queries, and images of cells that all of them have chosen.

    Each query gets each image of its cells once. Where few queries share a cell, a query's cells are taken together.
    """
    assert index.centroids is not None, "cells were chosen"
    wanted = np.zeros(len(index.centroids), bool)
    wanted[chosen] = True
    positions, cells = _inside(index, wanted, allowed)
    starts = np.searchsorted(cells, np.arange(len(wanted) + 1))
    shared = chosen.size > _SHARED * int(wanted.sum())
    for queries, of in _by_cell(chosen) if shared else _by_query(chosen):
        there = np.sort(np.concatenate([positions[starts[cell] : starts[cell + 1]] for cell in of]))
        for at in range(0, len(there), _ROWS):
            vectors = index.vectors_at(there[at : at + _ROWS])
            for first in range(0, len(queries), _QUERIES):
                yield queries[first : first + _QUERIES], there[at : at + _ROWS], vectors


def _by_query(chosen: Int64[np.ndarray, "q p"]) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Yield each query with its cells."""
    for query, cells in enumerate(chosen.tolist()):
        yield np.array([query]), cells


def _by_cell(chosen: Int64[np.ndarray, "q p"]) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Yield each cell with the queries that chose it."""
    order = np.argsort(chosen, axis=None, kind="stable")
    cells, starts = np.unique(chosen.reshape(-1)[order], return_index=True)
    for cell, queries in zip(cells.tolist(), np.split(order // chosen.shape[1], starts[1:]), strict=True):
        yield queries, [cell]


def _inside(index: GalleryIndex, wanted: np.ndarray, allowed: Filter) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and cells of the images in some cells that may be found, by (cell, position)."""
    positions: list[np.ndarray] = []
    cells: list[np.ndarray] = []
    for start, opened in zip(index.starts[:-1].tolist(), index.segments, strict=True):
        assert opened.cells is not None, "the manifest was checked"
        rows = np.flatnonzero(wanted[opened.cells] & allowed(opened))
        positions.append(start + rows)
        cells.append(opened.cells[rows])
    found, of = np.concatenate(positions), np.concatenate(cells)
    order = np.argsort(of, kind="stable")
    return found[order], of[order]
