"""Numbering images so that neighbours stand near each other in memory, and taking results back to the old numbers.

    order = depth-first walk over the neighbour table, always to the nearest image that was not seen yet

Kernels over neighbourhoods read the rows of neighbours' neighbours. With images in the order of somebody's file names
each such row is somewhere else in memory, and from some tens of thousands of images on most of the time is spent
waiting for it. The walk takes about 0.1 us an image.
Source: design of this project. Trade-off: one more copy of the neighbour table while it is used.
"""

import numpy as np
from jaxtyping import Int32
from numba import njit

from resight.trainers.retrieval.sparse import SparseRows
from resight.trainers.retrieval.spread import Threads, row_blocks

__all__ = ["original_pairs", "renumbered", "walk"]

_STEPS = 12  # neighbours the walk looks at; more change nothing


@njit(cache=True, nogil=True)
def walk(nearest: Int32[np.ndarray, "n k"]) -> Int32[np.ndarray, " n"]:
    """Return all images in the order of a depth-first walk from the first one on; a new one starts where it ends."""
    count, steps = nearest.shape[0], min(_STEPS, nearest.shape[1])
    order, path = np.empty(count, np.int32), np.empty(count, np.int32)
    tried, seen = np.zeros(count, np.int32), np.zeros(count, np.bool_)
    found = 0
    for start in range(count):
        if seen[start]:
            continue
        depth, path[0], seen[start], order[found] = 0, start, True, start
        found += 1
        while depth >= 0:
            here = path[depth]
            if tried[here] == steps:
                depth -= 1
                continue
            other = nearest[here, tried[here]]
            tried[here] += 1
            if not seen[other]:
                depth += 1
                path[depth], seen[other], order[found] = other, True, other
                found += 1
    return order


def renumbered(
    nearest: Int32[np.ndarray, "n k"], columns: int, half: int, order: Int32[np.ndarray, " n"], threads: Threads
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `columns`, and the first `half`, of a neighbour table with image `order[i]` as number i."""
    number = np.empty_like(order)
    number[order] = np.arange(len(order), dtype=np.int32)
    found, near = _room(len(order), columns), _room(len(order), half)
    threads(renumber_block, (nearest, order, number, found, near), row_blocks(len(order), threads.lanes))
    return found, near


@njit(cache=True, nogil=True)
def renumber_block(
    nearest: Int32[np.ndarray, "n k"],
    order: Int32[np.ndarray, " n"],
    number: Int32[np.ndarray, " n"],
    found: Int32[np.ndarray, "n c"],
    near: Int32[np.ndarray, "n h"],
    first: int,
    stop: int,
) -> None:
    """Write rows first to stop of what `renumbered` returns."""
    for i in range(first, stop):
        for at in range(found.shape[1]):
            found[i, at] = number[nearest[order[i], at]]
        for at in range(near.shape[1]):
            near[i, at] = found[i, at]


@njit(cache=True, nogil=True)
def _room(rows: int, columns: int) -> Int32[np.ndarray, "n c"]:
    return np.empty((rows, columns), np.int32)


@njit(cache=True, nogil=True)
def original_pairs(pairs: SparseRows, order: Int32[np.ndarray, " n"]) -> SparseRows:
    """Return pairs i < j of new numbers as pairs i < j of the images `order[i]` and `order[j]`."""
    count = order.size
    start = np.zeros(count + 1, np.int64)
    for i in range(count):
        for at in range(pairs.start[i], pairs.start[i + 1]):
            start[min(order[i], order[pairs.column[at]]) + 1] += 1
    for i in range(count):
        start[i + 1] += start[i]
    free = start[:-1].copy()
    column, value = np.empty_like(pairs.column), np.empty_like(pairs.value)
    for i in range(count):
        for at in range(pairs.start[i], pairs.start[i + 1]):
            one, other = order[i], order[pairs.column[at]]
            place = free[min(one, other)]
            column[place], value[place] = max(one, other), pairs.value[at]
            free[min(one, other)] = place + 1
    return SparseRows(start, column, value)
