"""Rows of numbers that are mostly zero: the three arrays of compressed rows, and what is done to them as a whole.

A named tuple of plain arrays, because numba reads those, Ray shares them without a copy, and scipy's type would bring
checks and index conversions to every call. Columns are 32-bit: a neighbour table of 2^31 rows would fill 250 GB.
Source: the usual compressed row format. Trade-off: columns of a row need not be sorted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64
from numba import njit

__all__ = ["SparseRows", "between", "stacked", "taken", "transposed"]


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


def stacked(blocks: Sequence[SparseRows]) -> SparseRows:
    """Return the rows of all blocks, one below the other."""
    counts = np.concatenate([np.diff(block.start) for block in blocks])
    start = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=start[1:])
    return SparseRows(
        start, np.concatenate([block.column for block in blocks]), np.concatenate([block.value for block in blocks])
    )


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


@njit(cache=True, nogil=True)
def transposed(rows: SparseRows, num_columns: int) -> SparseRows:
    """Return the matrix by columns; entries of a column are in the order of their rows."""
    start = np.zeros(num_columns + 1, np.int64)
    for at in range(rows.column.size):
        start[rows.column[at] + 1] += 1
    for column in range(num_columns):
        start[column + 1] += start[column]
    free = start[:-1].copy()
    row_of = np.empty(rows.column.size, np.int32)
    value = np.empty(rows.column.size, np.float32)
    for row in range(rows.start.size - 1):
        for at in range(rows.start[row], rows.start[row + 1]):
            place = free[rows.column[at]]
            row_of[place] = row
            value[place] = rows.value[at]
            free[rows.column[at]] = place + 1
    return SparseRows(start, row_of, value)
