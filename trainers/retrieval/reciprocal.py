"""k-reciprocal neighbours as sparse rows: who counts each other as near, widened, weighted and averaged.

    R(i, k)  = the k nearest of i that have i among their k nearest
    R*(i)    = R(i, k1) and every R(c, k1 / 2), c in R(i, k1), of which more than two thirds lie in R(i, k1)
    V(i, j)  = exp(-d(i, j)) on R*(i), rows summing to 1
    then each row becomes the mean over its k2 nearest

Two published variants, not the same numbers at the same k1:
    mmt   k1 + 1 columns of the table (the image itself included); d divided by the farthest distance of the row
    spcl  k1 columns, since its search returns no more; d as it is
Both take round(k1 / 2) + 1 columns for the half sets, with halves rounded to even.

Source: Zhong et al. 2017 (arXiv:1701.08398), eq. 3 to 8; MMT's and SpCL's published code for the variants.
Trade-off: distances of members outside the table are taken from the features, 20 to 40 inner products a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int32
from numba import njit

from resight.cluster.errors import UserError
from resight.trainers.retrieval.locality import renumbered
from resight.trainers.retrieval.neighbours import Neighbours
from resight.trainers.retrieval.sparse import SparseRows, joined, stacked
from resight.trainers.retrieval.spread import Spread, row_blocks

__all__ = ["JaccardConfig", "reciprocal_rows"]

_NOTHING = np.float32(1e-30)  # weights below are left out: they change no sum, and 0 would look like an empty place


@dataclass(frozen=True, kw_only=True)
class JaccardConfig:
    """How neighbourhoods are compared.

    Attributes:
        k1: size of the reciprocal neighbourhoods.
        k2: rows that are averaged; 1 for none.
        variant: whose published code is followed.
    """

    k1: int = 30
    k2: int = 6
    variant: Literal["spcl", "mmt"] = "spcl"

    def __post_init__(self) -> None:
        for name, value in (("k1", self.k1), ("k2", self.k2)):
            if value < 1:
                raise UserError(f"{name} is {value}", where=name, cure="use 1 or more")
        if self.k2 > self.columns:
            raise UserError(f"k2 is {self.k2}, more than k1", where="k2", cure=f"use {self.columns} or less")

    @property
    def columns(self) -> int:
        """Columns of the neighbour table that are looked at."""
        return self.k1 + 1 if self.variant == "mmt" else self.k1

    @property
    def half(self) -> int:
        """Columns that half sets look at; `round` takes halves to even, as numpy's does in the published code."""
        return min(round(self.k1 / 2) + 1, self.columns)


def reciprocal_rows(
    features: Float32[np.ndarray, "n d"],
    table: Neighbours,
    config: JaccardConfig,
    spread: Spread,
    *,
    order: Int32[np.ndarray, " n"] | None = None,
) -> SparseRows:
    """Return V, averaged over `k2` neighbours.

    Args:
        features: (N, D), those the table was made from.
        table: at least `config.columns` neighbours of each image.
        config: k1, k2 and variant.
        spread: how row blocks are spread.
        order: (N,) images in the order of the rows and columns of V (`locality.walk`); None: as they are numbered.
    """
    order = np.arange(len(features), dtype=np.int32) if order is None else order
    blocks = row_blocks(len(table.nearest), spread.lanes)
    weights, closest = _weighted(features, table, config, spread, order, blocks)
    if config.k2 == 1:
        return weights
    return stacked(spread(mean_block, (weights, closest), blocks), spread.local)


def _weighted(
    features: np.ndarray,
    table: Neighbours,
    config: JaccardConfig,
    spread: Spread,
    order: np.ndarray,
    blocks: Sequence[range],
) -> tuple[SparseRows, np.ndarray]:
    """Return V before it is averaged, and the `k2` nearest of each image, both in `order`."""
    columns, half = renumbered(np.ascontiguousarray(table.nearest), config.columns, config.half, order, spread.local)
    near = joined(spread(mutual_block, (half,), blocks), spread.local)
    scale = 1 / np.maximum(table.farthest, 1e-12) if config.variant == "mmt" else np.ones(len(columns), np.float32)
    known = np.ascontiguousarray(table.distance[:, : config.columns])
    shared = (features, order, columns, known, near, scale.astype(np.float32))
    return stacked(spread(weight_block, shared, blocks), spread.local), columns[:, : config.k2].copy()


@njit(cache=True, nogil=True)
def mutual_block(columns: Int32[np.ndarray, "n h"], first: int, stop: int) -> Int32[np.ndarray, "b h"]:
    """Return R(i, h) of rows first to stop, filled up with -1."""
    found = np.empty((stop - first, columns.shape[1]), np.int32)
    for i in range(first, stop):
        count = 0
        for other in columns[i]:
            found[i - first, count] = other
            count += _holds(columns, np.uint32(other), np.int32(i))
        found[i - first, count:] = -1
    return found


@njit(cache=True, nogil=True)
def weight_block(
    features: Float32[np.ndarray, "n d"],
    order: Int32[np.ndarray, " n"],
    columns: Int32[np.ndarray, "n k"],
    known: Float32[np.ndarray, "n k"],
    near: Int32[np.ndarray, "n h"],
    scale: Float32[np.ndarray, " n"],
    first: int,
    stop: int,
) -> SparseRows:
    """Return V of rows first to stop, before averaging; all values are above 0.

    Members of all rows are found before the first distance: by turns, one would push the other's rows out of the cache.
    """
    start = np.zeros(stop - first + 1, np.int64)
    column, room = np.empty(64 * (stop - first), np.int32), columns.shape[1] * (near.shape[1] + 1)
    in_core, in_row = np.full(columns.shape[0] + 1, -1, np.int32), np.full(columns.shape[0], -1, np.int32)
    for i in range(first, stop):
        begin = start[i - first]
        if begin + room > column.size:
            column = _longer(column, begin + room)
        start[i - first + 1] = begin + _widened(columns, near, i, in_core, in_row, column[begin : begin + room])
    value, end = np.empty(start[-1], np.float32), 0
    in_table, distance = np.full(columns.shape[0], -1, np.int32), np.empty(columns.shape[0], np.float32)
    unknown = np.empty(room, np.int32)
    for i in range(first, stop):
        own = order[i]
        for at in range(columns.shape[1]):
            in_table[columns[i, at]], distance[columns[i, at]] = i, known[own, at]
        low, high, missing = start[i - first], start[i - first + 1], 0
        for at in range(low, high):
            unknown[missing] = column[at]
            missing += in_table[column[at]] != i
        _measure(features, order, i, unknown[:missing], distance)
        total, begin = 0.0, end
        for at in range(low, high):
            weight = np.exp(-distance[column[at]] * scale[own])
            column[end], value[end] = column[at], weight
            end += not (weight < _NOTHING)  # NaN stays, and is told
            total += weight
        start[i - first] = begin
        for at in range(begin, end):
            value[at] = np.float32(value[at] / total)
    start[-1] = end
    return SparseRows(start, column[:end], value[:end])


@njit(cache=True, nogil=True)
def mean_block(rows: SparseRows, nearest: Int32[np.ndarray, "n k"], first: int, stop: int) -> SparseRows:
    """Return, for rows first to stop, the mean of the rows of their k nearest."""
    k = nearest.shape[1]
    start = np.zeros(stop - first + 1, np.int64)
    column, value = np.empty(96 * (stop - first), np.int32), np.empty(96 * (stop - first), np.float32)
    total, touched = np.zeros(nearest.shape[0]), np.empty(nearest.shape[0] + 1, np.int32)
    for i in range(first, stop):
        count = 0
        for other in nearest[i]:
            for at in range(np.uint64(rows.start[other]), np.uint64(rows.start[other + 1])):
                j = np.uint32(rows.column[at])
                touched[count] = j
                count += total[j] == 0.0
                total[j] += rows.value[at]
        begin = start[i - first]
        start[i - first + 1] = begin + count
        if begin + count > column.size:
            column, value = _longer(column, begin + count), _longer(value, begin + count)
        for at in range(count):
            j = touched[at]
            column[begin + at], value[begin + at] = j, np.float32(total[j] / k)
            total[j] = 0.0
    end = start[-1]
    return SparseRows(start, column[:end], value[:end])


@njit(cache=True, nogil=True)
def _widened(
    columns: np.ndarray, near: np.ndarray, i: int, in_core: np.ndarray, in_row: np.ndarray, members: np.ndarray
) -> int:
    """Write R*(i) to `members`, its core first; the marks tell row i's own by its number. Return how many.

    `in_core` has one place more than there are images, for the -1 that rows of `near` are filled up with. Without
    branches where nothing could foresee them.
    """
    me, count = np.int32(i), 0
    for at in range(columns.shape[1]):
        other = np.uint32(columns[i, at])
        mutual = _holds(columns, other, me)
        in_core[other] = me if mutual else in_core[other]
        in_row[other] = in_core[other]
        members[count] = other
        count += mutual
    for at in range(count):
        member, size, common = np.uint32(members[at]), 0, 0
        for place in range(near.shape[1]):
            other = near[member, place]
            size += other >= 0
            common += in_core[other] == me
        if 3 * common <= 2 * size:
            continue
        for place in range(size):
            other = np.uint32(near[member, place])
            members[count] = other
            count += in_row[other] != me
            in_row[other] = me
    return count


@njit(cache=True, nogil=True)
def _holds(columns: np.ndarray, row: np.uint32, wanted: np.int32) -> bool:
    found = False
    for at in range(columns.shape[1]):
        found |= columns[row, at] == wanted
    return found


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
def _measure(features: np.ndarray, order: np.ndarray, i: int, others: np.ndarray, distance: np.ndarray) -> None:
    """Write the squared distances between row i and others to `distance`; two at a time share what is read of row i."""
    own = np.uint32(order[i])
    for at in range(0, others.size, 2):
        a, b = others[at], others[min(at + 1, others.size - 1)]
        row_a, row_b = np.uint32(order[a]), np.uint32(order[b])
        total_a, total_b = np.float32(0.0), np.float32(0.0)
        for k in range(np.uint64(features.shape[1])):
            away_a, away_b = features[own, k] - features[row_a, k], features[own, k] - features[row_b, k]
            total_a += away_a * away_a
            total_b += away_b * away_b
        distance[a], distance[b] = total_a, total_b


@njit(cache=True, nogil=True)
def _longer(array: np.ndarray, least: int) -> np.ndarray:
    """Return a copy with room for `least` entries and half as many again."""
    longer = np.empty(least + least // 2, array.dtype)
    longer[: array.size] = array
    return longer
