"""The k-reciprocal Jaccard distance as a graph of the pairs that are near, and nothing else.

    m(i, j) = sum over l of min(V(i, l), V(j, l));   d(i, j) = 1 - m / (2 - m)

Rows of V sum to 1, so pairs without a common neighbour are at distance 1 and need not be looked at; with limit l only
pairs of d <= l are kept, each once (i < j), since d is symmetric. Memory is O(N k) in place of N^2: published code
needs 8 GB for the 32,621 training images of MSMT17.
Source: Zhong et al. 2017 (arXiv:1701.08398), eq. 10. Trade-off: sums are taken in float64 and kept as float32.
"""

import numpy as np
from jaxtyping import Float32, Shaped
from numba import njit

from resight.cluster.errors import UserError
from resight.trainers.retrieval.inputs import check_count
from resight.trainers.retrieval.neighbours import Neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig, reciprocal_rows
from resight.trainers.retrieval.sparse import SparseRows, stacked, transposed
from resight.trainers.retrieval.spread import Spread, Threads, row_blocks

__all__ = ["jaccard_graph"]


def jaccard_graph(
    features: Shaped[np.ndarray, "n d"],
    table: Neighbours,
    config: JaccardConfig,
    *,
    limit: float = 0.7,
    spread: Spread | None = None,
) -> SparseRows:
    """Return the distances d(i, j) <= limit of pairs i < j, by rows; an image's distance to itself is 0.

    Args:
        features: (N, D), those the table was made from.
        table: at least `config.columns` neighbours of each image (`neighbours.neighbours`).
        config: k1, k2 and variant.
        limit: largest distance kept, in (0, 1]; 1 keeps every pair that has a neighbour in common.
        spread: how row blocks are spread; None: one thread.

    Raises:
        UserError: when the table is too narrow, of other images or points outside them, features are not finite, or
            `limit` is out of range.
    """
    spread = spread or Threads()
    _check(len(features), table, config, limit)
    features = np.ascontiguousarray(features, np.float32)
    rows = reciprocal_rows(features, table, config, spread)
    if not np.isfinite(rows.value).all():
        raise UserError("a distance is NaN or infinite", cure="check the features: a diverged model gives NaN")
    columns = transposed(rows, len(features))
    blocks = row_blocks(len(features), spread.lanes, rounds=8)
    return stacked(spread(near_block, (rows, columns, np.float32(limit)), blocks))


def _check(count: int, table: Neighbours, config: JaccardConfig, limit: float) -> None:
    check_count(count)
    if count != len(table.nearest):
        raise UserError(f"{count} features and a table of {len(table.nearest)} rows", cure="give those it is of")
    if table.nearest.shape[1] < config.columns:
        raise UserError(
            f"the neighbour table has {table.nearest.shape[1]} columns, k1 = {config.k1} needs {config.columns}",
            where="k1",
            cure="lower k1, or find more neighbours",
        )
    if table.nearest.min() < 0 or table.nearest.max() >= count:
        raise UserError("the neighbour table points outside its images", cure="number images from 0 to N - 1")
    if not 0 < limit <= 1:
        raise UserError(f"limit is {limit}", where="limit", cure="use a distance above 0, at most 1")


@njit(cache=True, nogil=True)
def near_block(rows: SparseRows, columns: SparseRows, limit: np.float32, first: int, stop: int) -> SparseRows:
    """Return the pairs (i, j), i < j and d <= limit, of rows first to stop."""
    count = columns.start.size - 1
    begin = _from_row(columns, first)
    start = np.zeros(stop - first + 1, np.int64)
    column, value = np.empty(16 * (stop - first), np.int32), np.empty(16 * (stop - first), np.float32)
    total, touched = np.zeros(count), np.empty(count, np.int32)
    end = 0
    for i in range(first, stop):
        found = 0
        for at in range(rows.start[i], rows.start[i + 1]):
            shared, own = rows.column[at], rows.value[at]
            begin[shared] += 1  # past row i itself
            for place in range(begin[shared], columns.start[shared + 1]):
                j = columns.column[place]
                if total[j] == 0.0:
                    touched[found] = j
                    found += 1
                total[j] += min(own, columns.value[place])
        for at in range(found):
            j = touched[at]
            distance = np.float32(max(1.0 - total[j] / (2.0 - total[j]), 0.0))
            total[j] = 0.0
            if distance <= limit:
                if end == column.size:
                    column, value = _doubled(column), _doubled(value)
                column[end], value[end] = j, distance
                end += 1
        start[i - first + 1] = end
    return SparseRows(start, column[:end].copy(), value[:end].copy())


@njit(cache=True, nogil=True)
def _from_row(columns: SparseRows, first: int) -> np.ndarray:
    """Return, for each column, where its entries of row `first` and later begin."""
    begin = np.empty(columns.start.size - 1, np.int64)
    for column in range(begin.size):
        low, high = columns.start[column], columns.start[column + 1]
        while low < high:
            middle = (low + high) // 2
            if columns.column[middle] < first:
                low = middle + 1
            else:
                high = middle
        begin[column] = low
    return begin


@njit(cache=True, nogil=True)
def _doubled(array: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " m"]:
    longer = np.empty(2 * array.size + 64, array.dtype)
    longer[: array.size] = array
    return longer
