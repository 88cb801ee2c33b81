"""Rows of numbers that are mostly zero: the three arrays of compressed rows, and what is done to them as a whole.

A named tuple of plain arrays, because numba reads those, Ray shares them without a copy, and scipy's type would bring
checks and index conversions to every call. Columns are 32-bit: a neighbour table of 2^31 rows would fill 250 GB.
Large arrays are made by compiled code and written by all threads: the system hands memory out page by page as it is
first written to, or, where numpy asks for large pages, after it has moved others out of the way; one thread doing that
for all was a third of the time of two at 126,441 images.
Source: the usual compressed row format. Trade-off: columns of a row need not be sorted.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, Shaped
from numba import njit

from resight.trainers.retrieval.spread import Threads

__all__ = ["Columns", "SparseRows", "between", "joined", "stacked", "taken", "transposed"]

_PARTS = 8  # at most: each counts all columns for itself
_ALONE = Threads()


class SparseRows(NamedTuple):
    """A sparse matrix by rows; row i has entries `start[i]` to `start[i + 1]`.

    Attributes:
        start: (N + 1,) where rows begin.
        column: (nnz,) column of each entry.
        value: (nnz,) value of each entry.
    """

    start: Int64[np.ndarray, " n1"]
    column: Int32[np.ndarray, " nnz"]
    value: Float32[np.ndarray, " nnz"]


class Columns(NamedTuple):
    """A sparse matrix by columns; column c has entries `start[c]` to `start[c + 1]`, in the order of their rows.

    Attributes:
        start: (columns + 1,) where columns begin.
        entry: (nnz,) `row` and `value` of each entry, side by side: most columns are short, so that finding where they
            are in memory takes longer than reading them.
    """

    start: Int64[np.ndarray, " n1"]
    entry: Shaped[np.ndarray, " nnz"]


ENTRY = np.dtype([("row", np.int32), ("value", np.float32)], align=True)


def stacked(blocks: Sequence[SparseRows], threads: Threads = _ALONE) -> SparseRows:
    """Return the rows of all blocks, one below the other; a single block as it is, if it can be written to."""
    if len(blocks) == 1 and blocks[0].column.flags.writeable:
        return blocks[0]
    start = np.zeros(sum(len(block.start) - 1 for block in blocks) + 1, np.int64)
    np.cumsum(np.concatenate([np.diff(block.start) for block in blocks]), out=start[1:])
    column, value = (_room(int(start[-1]), part[:0]) for part in blocks[0][1:])
    at = np.cumsum([0] + [len(block.column) for block in blocks])
    targets = [SparseRows(start, column[a:b], value[a:b]) for a, b in pairwise(at.tolist())]
    _copied([(one[1:], other[1:]) for one, other in zip(blocks, targets, strict=True)], threads)
    return SparseRows(start, column, value)


def joined(blocks: Sequence[np.ndarray], threads: Threads = _ALONE) -> np.ndarray:
    """Return the blocks, one below the other, as `np.concatenate` would; a single block as it is."""
    if len(blocks) == 1:
        return blocks[0]
    at = np.cumsum([0] + [block.size for block in blocks])
    whole = _room(int(at[-1]), blocks[0].ravel()[:0])
    targets = [whole[a:b] for a, b in pairwise(at.tolist())]
    _copied([((one.ravel(),), (other,)) for one, other in zip(blocks, targets, strict=True)], threads)
    return whole.reshape(-1, *blocks[0].shape[1:])


def _copied(pairs: Sequence[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]], threads: Threads) -> None:
    """Copy the first arrays of each pair into the second."""

    def copy(first: int, stop: int) -> None:
        for sources, targets in pairs[first:stop]:
            for source, target in zip(sources, targets, strict=True):
                _copy(source, target)

    threads(copy, (), [range(at, at + 1) for at in range(len(pairs))])


def between(rows: SparseRows, first: int, stop: int) -> SparseRows:
    """Return rows first to stop, entries not copied."""
    low, high = rows.start[first], rows.start[stop]
    return SparseRows(rows.start[first : stop + 1] - low, rows.column[low:high], rows.value[low:high])


def taken(rows: SparseRows, chosen: Int64[np.ndarray, " k"]) -> SparseRows:
    """Return a copy of the chosen rows, in their order."""
    counts = np.diff(rows.start)[chosen]
    start = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(counts, out=start[1:])
    places = np.repeat(rows.start[chosen] - start[:-1], counts) + np.arange(start[-1])
    return SparseRows(start, rows.column[places], rows.value[places])


def transposed(
    rows: SparseRows, num_columns: int, threads: Threads = _ALONE, *, stop: Int64[np.ndarray, " n"] | None = None
) -> Columns:
    """Return the matrix by columns; with `stop`, without the entries of each row from there on."""
    stop = rows.start[1:] if stop is None else stop
    parts = min(threads.lanes, _PARTS)
    cuts = np.searchsorted(rows.start, np.linspace(0, len(rows.column), parts + 1))
    cuts[0], cuts[-1] = 0, len(stop)
    counts = np.zeros((parts, num_columns), np.int64)
    each = [range(at, at + 1) for at in range(parts)]
    threads(count_parts, (rows, stop, cuts, counts), each)
    start = starts_of(counts)
    entry = _room(int(start[-1]), np.empty(0, ENTRY))
    threads(turn_parts, (rows, stop, cuts, counts, entry), each)
    return Columns(start, entry)


@njit(cache=True, nogil=True)
def count_parts(
    rows: SparseRows, stop: Int64[np.ndarray, " n"], cuts: np.ndarray, counts: np.ndarray, first: int, last: int
) -> None:
    """Count the entries of each column in parts first to last."""
    for part in range(first, last):
        own = counts[part]
        for row in range(cuts[part], cuts[part + 1]):
            for at in range(rows.start[row], stop[row]):
                own[rows.column[at]] += 1


@njit(cache=True, nogil=True)
def starts_of(counts: np.ndarray) -> Int64[np.ndarray, " n1"]:
    """Return where columns begin; `counts` of each part and column become where its entries go."""
    start = np.zeros(counts.shape[1] + 1, np.int64)
    end = 0
    for column in range(counts.shape[1]):
        for part in range(counts.shape[0]):
            count = counts[part, column]
            counts[part, column] = end
            end += count
        start[column + 1] = end
    return start


@njit(cache=True, nogil=True)
def turn_parts(
    rows: SparseRows,
    stop: Int64[np.ndarray, " n"],
    cuts: np.ndarray,
    free: np.ndarray,
    entry: Shaped[np.ndarray, " nnz"],
    first: int,
    last: int,
) -> None:
    """Write the entries of parts first to last where their columns have room for them."""
    for part in range(first, last):
        own = free[part]
        for row in range(cuts[part], cuts[part + 1]):
            for at in range(rows.start[row], stop[row]):
                place = own[rows.column[at]]
                entry[place]["row"] = row
                entry[place]["value"] = rows.value[at]
                own[rows.column[at]] = place + 1


@njit(cache=True, nogil=True)
def _room(size: int, like: np.ndarray) -> np.ndarray:
    return np.empty(size, like.dtype)


@njit(cache=True, nogil=True)
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    target[:] = source
