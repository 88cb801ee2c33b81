"""The k-reciprocal Jaccard distance as a graph of the pairs that are near, and nothing else.

    m(i, j) = sum over l of min(V(i, l), V(j, l));   d(i, j) = 1 - m / (2 - m)

Rows of V sum to 1, so pairs without a common neighbour are at distance 1 and need not be looked at; with limit l only
pairs of d <= l are kept, each once (i < j), since d is symmetric. Memory is O(N k) in place of N^2: published code
needs 8 GB for the 32,621 training images of MSMT17.

Most pairs with a common neighbour share only what many rows hold, and end up beyond the limit. They are passed over:
let a pair be wanted when m >= t, and leave out of each row the most widely held columns, as many as sum up to less
than 0.7 t. In one order of columns, what a pair shares where one of them left it out is less than 0.7 t, so a wanted
pair shares at least 0.3 t in what both kept. Only such pairs are summed in full.
Source: Zhong et al. 2017 (arXiv:1701.08398), eq. 10; passing over: prefix filtering, Chaudhuri et al. 2006.
Trade-off: with limit 1 nothing can be passed over. Sums are taken in float64 and kept as float32.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Shaped
from numba import njit

from resight.cluster.errors import UserError
from resight.trainers.retrieval.inputs import check_count
from resight.trainers.retrieval.locality import original_pairs, walk
from resight.trainers.retrieval.neighbours import Neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig, reciprocal_rows
from resight.trainers.retrieval.sparse import SparseRows, column_counts, stacked, transposed
from resight.trainers.retrieval.spread import Spread, Threads, row_blocks

__all__ = ["jaccard_graph"]

_LEFT_OUT = 0.7  # of t; the time is flat around it (benchmarks/neighbourhoods.py)
_FEW = 6  # entries that are gone through again and again rather than parted
_LOW = 2**32 - 1  # the lower half of a 64-bit number
_SLACK = 1e-4  # sums that decide what is passed over are taken in float32


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
    blocks = row_blocks(len(features), spread.lanes)
    order, finite = _surveyed(features, np.ascontiguousarray(table.nearest), blocks, spread.local)
    rows = reciprocal_rows(features, table, config, spread, order=order)
    if not (finite and np.isfinite(rows.value.sum())):
        raise UserError("a distance is NaN or infinite", cure="check the features: a diverged model gives NaN")
    least = 2 * (1 - limit) / (2 - limit)  # m of a pair at the limit
    holders = np.minimum(column_counts(rows, len(features), spread.local), 2**16 - 1).astype(np.uint16)
    rank = np.empty(len(features), np.int32)  # one order of all columns, without ties, or a pair could be missed
    rank[np.argsort(holders, kind="stable")] = np.arange(len(features), dtype=np.int32)
    rare = stacked(spread(rare_block, (rows, rank, _LEFT_OUT * least), blocks), spread.local)
    columns = transposed(rare, len(features), spread.local)
    wanted = (1 - _LEFT_OUT) * least * (1 - _SLACK)
    pairs = stacked(spread(near_block, (rows, rare, columns, np.float32(limit), wanted), blocks), spread.local)
    return original_pairs(pairs, order)


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


def _surveyed(
    features: np.ndarray, nearest: np.ndarray, blocks: Sequence[range], threads: Threads
) -> tuple[np.ndarray, bool]:
    """Return the order of the walk, which takes one thread, and whether the features are finite, which others see."""
    first: list[Callable[[], Any]] = [partial(walk, nearest)]
    jobs = first + [partial(finite_block, features, block.start, block.stop) for block in blocks]
    order, *finite = threads(lambda at, _: jobs[at](), (), [range(at, at + 1) for at in range(len(jobs))])
    return order, all(finite)


@njit(cache=True, nogil=True)
def finite_block(features: Float32[np.ndarray, "n d"], first: int, stop: int) -> bool:
    """Tell whether all numbers of rows first to stop are finite."""
    bad = 0
    for i in range(first, stop):
        for at in range(features.shape[1]):
            bad += not (np.abs(features[i, at]) < np.inf)
    return bad == 0


@njit(cache=True, nogil=True)
def rare_block(rows: SparseRows, rank: Int32[np.ndarray, " n"], most: float, first: int, stop: int) -> SparseRows:
    """Return rows first to stop without their last columns by `rank`, as many as have a sum below `most`."""
    start = np.zeros(stop - first + 1, np.int64)
    room = rows.start[stop] - rows.start[first]
    column, value = np.empty(room, np.int32), np.empty(room, np.float32)
    longest = 0
    for i in range(first, stop):
        longest = max(longest, rows.start[i + 1] - rows.start[i])
    places = np.empty(longest, np.int64)
    end = 0
    for i in range(first, stop):
        low, high = rows.start[i], rows.start[i + 1]
        for at in range(low, high):
            places[at - low] = (np.int64(rank[rows.column[at]]) << 32) | at - low
        limit = _first_left_out(places, high - low, rows.value[low:high], most)
        for at in range(low, high):
            column[end], value[end] = rows.column[at], rows.value[at]
            end += rank[rows.column[at]] < limit
        start[i - first + 1] = end
    return SparseRows(start, column[:end], value[:end])


@njit(cache=True, nogil=True)
def _first_left_out(places: np.ndarray, count: int, value: np.ndarray, most: float) -> int:
    """Return the rank from which on a row sums to less than `most`, by quickselect.

    Args:
        places: rank << 32 | position in `value`, `count` of them, brought into another order.
        count: entries of the row.
        value: (count,) their values.
        most: what may be left out.
    """
    low, high, total = 0, count, 0.0
    limit = np.int64(1) << 31
    while high - low > _FEW:
        a, b, c = places[low], places[(low + high) // 2], places[high - 1]
        pivot = max(min(a, b), min(max(a, b), c))  # neither the first nor the last of all
        middle, beyond = low, 0.0
        for at in range(low, high):  # without branches, which could not be foreseen
            here = places[at]
            places[at] = places[middle]
            places[middle] = here
            later = here > pivot
            beyond += value[here & _LOW] * later
            middle += not later
        if total + beyond < most:
            total += beyond
            high, limit = middle, (pivot >> 32) + 1
        else:
            low = middle
    while high > low:
        last = low
        for at in range(low + 1, high):
            if places[at] > places[last]:
                last = at
        total += value[places[last] & _LOW]
        if total >= most:
            break
        limit = places[last] >> 32
        high -= 1
        places[last] = places[high]
    return int(limit)


@njit(cache=True, nogil=True)
def near_block(
    rows: SparseRows, rare: SparseRows, columns: SparseRows, limit: np.float32, wanted: float, first: int, stop: int
) -> SparseRows:
    """Return the pairs (i, j), i < j and d <= limit, of rows first to stop; `columns` are those of `rare`."""
    count = rows.start.size - 1
    begin = _from_row(columns, first)
    start = np.zeros(stop - first + 1, np.int64)
    column, value = np.empty(16 * (stop - first), np.int32), np.empty(16 * (stop - first), np.float32)
    shared, own = np.zeros(count, np.float32), np.zeros(count, np.float32)
    touched = np.empty(count + 1, np.int32)
    end = 0
    for i in range(first, stop):
        found = _meet(rare, columns, i, begin, shared, touched)
        for at in range(rows.start[i], rows.start[i + 1]):
            own[rows.column[at]] = rows.value[at]
        for at in range(found):
            j = np.uint32(touched[at])
            enough = shared[j] >= wanted
            shared[j] = np.float32(0.0)
            if not enough:
                continue
            total = 0.0
            for place in range(rows.start[j], rows.start[j + 1]):
                mine, other = own[np.uint32(rows.column[place])], rows.value[place]
                total += mine if mine < other else other
            distance = np.float32(max(1.0 - total / (2.0 - total), 0.0))
            if distance <= limit:
                if end == column.size:
                    column, value = _doubled(column), _doubled(value)
                column[end], value[end] = j, distance
                end += 1
        for at in range(rows.start[i], rows.start[i + 1]):
            own[rows.column[at]] = np.float32(0.0)
        start[i - first + 1] = end
    return SparseRows(start, column[:end], value[:end])


@njit(cache=True, nogil=True)
def _meet(
    rare: SparseRows, columns: SparseRows, i: int, begin: np.ndarray, shared: np.ndarray, touched: np.ndarray
) -> int:
    """Sum up what row i has in common with later rows in rare columns; return how many rows those are.

    Values are above 0, so a sum is 0 before it is first added to; without branches, which could not be foreseen.
    """
    found = 0
    for at in range(rare.start[i], rare.start[i + 1]):
        at_column, own = rare.column[at], rare.value[at]
        low = begin[at_column] + 1  # past row i itself
        begin[at_column] = low
        for place in range(low, columns.start[at_column + 1]):
            j, other = np.uint32(columns.column[place]), columns.value[place]
            before = shared[j]
            touched[found] = j
            found += int(before == np.float32(0.0))
            shared[j] = before + (own if own < other else other)
    return found


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
