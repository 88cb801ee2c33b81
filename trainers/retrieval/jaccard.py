"""The k-reciprocal Jaccard distance as a graph of the pairs that are near, and nothing else.

    m(i, j) = sum over l of min(V(i, l), V(j, l));   d(i, j) = 1 - m / (2 - m)

Rows of V sum to 1, so pairs without a common neighbour are at distance 1 and need not be looked at; with limit l only
pairs of d <= l are kept, each once (i < j), since d is symmetric. Memory is O(N k) in place of N^2: published code
needs 8 GB for the 32,621 training images of MSMT17.

Most pairs with a common neighbour share only what is small in one of them, and end up beyond the limit. They are passed
over: let a pair be wanted when m >= t, and leave out of each row its smallest entries, as many as sum up to less than
0.4 t. What a pair shares where one of them left it out is less than 0.8 t, so a wanted pair shares at least 0.2 t in
what both kept. Only such pairs are summed in full. Half of the entries of a row, most of them from one of the six rows
it is the mean of, hold a seventh of its sum.
Source: Zhong et al. 2017 (arXiv:1701.08398), eq. 10; passing over: as in prefix filtering, Chaudhuri et al. 2006, which
has one order of all columns where each row has its own here.
Trade-off: with limit 1 nothing can be passed over. Sums are taken in float64 and kept as float32.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, Shaped
from numba import njit

from resight.cluster.errors import UserError
from resight.trainers.retrieval.inputs import check_count
from resight.trainers.retrieval.locality import original_pairs, walk
from resight.trainers.retrieval.neighbours import Neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig, reciprocal_rows
from resight.trainers.retrieval.sparse import Columns, SparseRows, joined, stacked, transposed
from resight.trainers.retrieval.spread import Spread, Threads, row_blocks

__all__ = ["jaccard_graph"]

_LEFT_OUT = 0.8  # of t, by both rows of a pair; the time is flat around it (benchmarks/neighbourhoods.py)
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
    kept = joined(spread.local(sort_out_block, (rows, _LEFT_OUT / 2 * least), blocks), spread.local)
    columns = transposed(rows, len(features), spread.local, stop=kept)
    wanted = (1 - _LEFT_OUT) * least * (1 - _SLACK)
    pairs = stacked(spread(near_block, (rows, kept, columns, np.float32(limit), wanted), blocks), spread.local)
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
def sort_out_block(rows: SparseRows, most: float, first: int, stop: int) -> Int64[np.ndarray, " b"]:
    """Move the smallest entries of rows first to stop, as many as sum to less than `most`, behind the others.

    Returns:
        For each row, where in `rows` the entries that are kept end.
    """
    kept = np.empty(stop - first, np.int64)
    longest = 0
    for i in range(first, stop):
        longest = max(longest, rows.start[i + 1] - rows.start[i])
    keys, columns, values = np.empty(longest, np.int64), np.empty(longest, np.int32), np.empty(longest, np.float32)
    for i in range(first, stop):
        low, count = rows.start[i], rows.start[i + 1] - rows.start[i]
        columns[:count], values[:count] = rows.column[low : low + count], rows.value[low : low + count]
        bits = values.view(np.int32)  # numbers above 0 are in the order of their bits
        for at in range(count):
            keys[at] = (np.int64(bits[at]) << 32) | at
        out = _part_smallest(keys, count, values, most)
        kept[i - first] = low + count - out
        for at in range(count):
            place = low + at - out + (count if at < out else 0)
            rows.column[place], rows.value[place] = columns[keys[at] & _LOW], values[keys[at] & _LOW]
    return kept


@njit(cache=True, nogil=True)
def _part_smallest(keys: np.ndarray, count: int, values: np.ndarray, most: float) -> int:
    """Bring the smallest keys, as many as have a sum below `most`, before the others, by quickselect; return how many.

    Args:
        keys: bits of a value << 32 | its position in `values`, `count` of them.
        count: entries of the row.
        values: what is summed.
        most: what may be left out.
    """
    low, high, total = 0, count, 0.0
    while high - low > _FEW:
        a, b, c = keys[low], keys[(low + high) // 2], keys[high - 1]
        pivot = max(min(a, b), min(max(a, b), c))  # neither the smallest nor the largest of all
        middle, small = low, 0.0
        for at in range(low, high):  # without branches, which could not be foreseen
            here = keys[at]
            keys[at] = keys[middle]
            keys[middle] = here
            smaller = here <= pivot
            small += values[here & _LOW] * smaller
            middle += smaller
        if total + small < most:
            total += small
            low = middle
        else:
            high = middle
    while low < high:
        least = low
        for at in range(low + 1, high):
            if keys[at] < keys[least]:
                least = at
        total += values[keys[least] & _LOW]
        if total >= most:
            break
        keys[low], keys[least] = keys[least], keys[low]
        low += 1
    return low


@njit(cache=True, nogil=True)
def near_block(
    rows: SparseRows,
    kept: Int64[np.ndarray, " n"],
    columns: Columns,
    limit: np.float32,
    wanted: float,
    first: int,
    stop: int,
) -> SparseRows:
    """Return the pairs (i, j), i < j and d <= limit, of rows first to stop; `columns` hold the entries up to `kept`.

    Positions are unsigned in the innermost loops: signed ones are looked at for whether they count from the end.
    """
    count = rows.start.size - 1
    begin = _from_row(columns, first)
    start = np.zeros(stop - first + 1, np.int64)
    column, value = np.empty(16 * (stop - first), np.int32), np.empty(16 * (stop - first), np.float32)
    shared, own = np.zeros(count, np.float32), np.zeros(count, np.float32)
    touched = np.empty(count + 1, np.int32)
    end = 0
    for i in range(first, stop):
        found = _meet(rows, kept[i], columns, i, begin, shared, touched)
        for at in range(rows.start[i], rows.start[i + 1]):
            own[rows.column[at]] = rows.value[at]
        enough = 0
        for at in range(found):
            j = np.uint32(touched[at])
            touched[enough] = j
            enough += int(shared[j] >= wanted)
            shared[j] = np.float32(0.0)
        for at in range(enough):
            j = np.uint32(touched[at])
            total = _in_common(rows, j, own)
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


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})
def _in_common(rows: SparseRows, j: np.uint32, own: np.ndarray) -> float:
    """Sum up what row j has in common with a row that `own` holds; several at a time, since their order is free."""
    total = 0.0
    for place in range(np.uint64(rows.start[j]), np.uint64(rows.start[j + 1])):
        mine, other = own[np.uint32(rows.column[place])], rows.value[place]
        total += mine if mine < other else other
    return total


@njit(cache=True, nogil=True)
def _meet(
    rows: SparseRows,
    kept: int,
    columns: Columns,
    i: int,
    begin: np.ndarray,
    shared: np.ndarray,
    touched: np.ndarray,
) -> int:
    """Sum up what row i has in common with later rows in what both kept; return how many rows those are.

    Values are above 0, so a sum is 0 before it is first added to; without branches, which could not be foreseen.
    """
    found = 0
    for at in range(rows.start[i], kept):
        at_column, own = rows.column[at], rows.value[at]
        low = begin[at_column] + 1  # past row i itself
        begin[at_column] = low
        for place in range(np.uint64(low), np.uint64(columns.start[at_column + 1])):
            j, other = np.uint32(columns.entry[place]["row"]), columns.entry[place]["value"]
            before = shared[j]
            touched[found] = j
            found += int(before == np.float32(0.0))
            shared[j] = before + (own if own < other else other)
    return found


@njit(cache=True, nogil=True)
def _from_row(columns: Columns, first: int) -> np.ndarray:
    """Return, for each column, where its entries of row `first` and later begin."""
    begin = np.empty(columns.start.size - 1, np.int64)
    for column in range(begin.size):
        low, high = columns.start[column], columns.start[column + 1]
        while low < high:
            middle = (low + high) // 2
            if columns.entry[middle]["row"] < first:
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
