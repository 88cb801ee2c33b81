"""k-reciprocal re-ranking: distances between query and gallery that know who their common neighbours are.

    final(q, g) = (1 - weight) d_J(q, g) + weight d^2(q, g) / max over all images x of d^2(q, x)

Neighbourhoods are of queries and gallery together, in the variant `mmt` of `reciprocal.py`. The Jaccard part costs a
few microseconds a query, since most pairs have no neighbour in common and are at 1; what is left is the matrix product
that finds the neighbours. Memory is the result and one block; published code takes some 10 matrices of (Q + G)^2.
Source: Zhong et al. 2017 (arXiv:1701.08398), eq. 10 to 12. Trade-off: with weight 0 many pairs tie at 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped
from numba import njit

from resight.cluster.errors import UserError
from resight.cluster.machine import available_memory
from resight.cluster.progress import Progress, silent
from resight.trainers.retrieval.blocks import BLOCK_BYTES, feature_rows, sweep
from resight.trainers.retrieval.inputs import check_count, check_features, not_finite
from resight.trainers.retrieval.neighbours import neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig, reciprocal_rows
from resight.trainers.retrieval.sparse import SparseRows, transposed
from resight.trainers.retrieval.spread import Spread, Threads, row_blocks

__all__ = ["RerankConfig", "check_memory", "rerank"]

_ROW_BYTES = 4096  # of an image: neighbours, its row of V before and after averaging, and by column


@dataclass(frozen=True, kw_only=True)
class RerankConfig:
    """How rankings are re-made.

    Attributes:
        k1: size of the reciprocal neighbourhoods.
        k2: rows that are averaged.
        weight: of the plain distance, in [0, 1]; the paper's lambda.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise UserError(f"weight is {self.weight}", where="weight", cure="use a share from 0 to 1")
        self.neighbourhoods()

    def neighbourhoods(self) -> JaccardConfig:
        """Return k1 and k2 in the variant that re-ranking is published with; UserError when they do not fit."""
        return JaccardConfig(k1=self.k1, k2=self.k2, variant="mmt")


def rerank(
    query: Shaped[np.ndarray, "q d"],
    gallery: Shaped[np.ndarray, "g d"],
    config: RerankConfig | None = None,
    *,
    threads: int | None = None,
    spread: Spread | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Float32[np.ndarray, "q g"]:
    """Return the re-ranked distances, in [0, 1].

    Args:
        query: (Q, D) features; L2-normalise them to compare with published figures.
        gallery: (G, D).
        config: k1, k2 and weight; None: the paper's.
        threads: of the matrix products; None: as many as BLAS has been given.
        spread: how row blocks are spread; None: one thread.
        device: where neighbours are found.
        progress: receives rows done.

    Raises:
        UserError: for features that are empty, not finite or of other widths, k1 of Q + G or more, and when the
            result does not fit into memory.
    """
    config, spread = config or RerankConfig(), spread or Threads()
    query, gallery = np.asarray(query), np.asarray(gallery)
    check_features(query, gallery)
    check_count(len(query) + len(gallery))
    check_memory(len(query), len(gallery), query.shape[1], available_memory())
    neighbourhood = config.neighbourhoods()
    both = np.concatenate([query, gallery]).astype(np.float32, copy=False)
    table = neighbours(both, neighbourhood.columns, threads=threads, device=device, progress=progress)
    rows = reciprocal_rows(both, table, neighbourhood, spread)
    columns = transposed(rows, len(both))
    final = np.empty((len(query), len(gallery)), np.float32)
    blocks = row_blocks(len(query), spread.lanes)
    parts = spread(jaccard_block, (rows, columns, len(query)), blocks)
    pairs = {block.start: part for block, part in zip(blocks, parts, strict=True)}
    plain = feature_rows(query, gallery, "squared_euclidean")
    farthest = np.maximum(table.farthest, 1e-12)

    def combine(block: np.ndarray, first: int) -> int:
        return _combine(block, first, plain.bias, plain.offset, farthest, np.float32(config.weight), final)

    if (bad := sweep(plain, threads, combine)) >= 0:
        raise not_finite(bad, plain)
    for start, part in pairs.items():
        _lower(final, part, start, np.float32(1 - config.weight))
    return final


def check_memory(num_queries: int, num_gallery: int, dim: int, free: int) -> None:
    """Refuse to begin what `free` bytes of memory cannot hold: the result, features side by side, neighbourhoods."""
    images = num_queries + num_gallery
    needed = 4 * num_queries * num_gallery + images * (4 * dim + _ROW_BYTES) + BLOCK_BYTES
    if needed > free:
        raise UserError(
            f"re-ranking {num_queries} queries x {num_gallery} gallery images takes {needed / 2**30:.1f} GiB of memory,"
            f" {free / 2**30:.1f} GiB are free",
            cure="rank without it, or use fewer images or more memory",
        )


@njit(cache=True, nogil=True)
def jaccard_block(rows: SparseRows, columns: SparseRows, num_queries: int, first: int, stop: int) -> SparseRows:
    """Return m / (2 - m), how far below 1 the Jaccard distance is, of queries first to stop to the gallery."""
    num_gallery = columns.start.size - 1 - num_queries
    start = np.zeros(stop - first + 1, np.int64)
    found = [(np.empty(0, np.int32), np.empty(0, np.float32)) for _ in range(0)]
    total, touched = np.zeros(num_gallery), np.empty(num_gallery, np.int32)
    for i in range(first, stop):
        count = 0
        for at in range(rows.start[i], rows.start[i + 1]):
            shared, own = rows.column[at], rows.value[at]
            for place in range(columns.start[shared], columns.start[shared + 1]):
                j = columns.column[place] - num_queries
                if j < 0:
                    continue
                if total[j] == 0.0:
                    touched[count] = j
                    count += 1
                total[j] += min(own, columns.value[place])
        nearness = np.empty(count, np.float32)
        for at in range(count):
            j = touched[at]
            nearness[at] = np.float32(total[j] / (2.0 - total[j]))
            total[j] = 0.0
        found.append((touched[:count].copy(), nearness))
        start[i - first + 1] = start[i - first] + count
    column, value = np.empty(start[-1], np.int32), np.empty(start[-1], np.float32)
    for row in range(stop - first):
        column[start[row] : start[row + 1]] = found[row][0]
        value[start[row] : start[row + 1]] = found[row][1]
    return SparseRows(start, column, value)


@njit(cache=True, nogil=True)
def _combine(
    block: np.ndarray,
    first: int,
    bias: np.ndarray,
    offset: np.ndarray,
    farthest: np.ndarray,
    weight: np.float32,
    final: np.ndarray,
) -> int:
    """Write the final distance of pairs that have no neighbour in common; return the first bad query, or -1."""
    rest = np.float32(1.0) - weight
    for i in range(block.shape[0]):
        scale = weight / farthest[first + i]
        shift = offset[first + i]
        for j in range(block.shape[1]):
            squared = max((shift + bias[j]) - np.float32(2.0) * block[i, j], np.float32(0.0))
            if not (squared < np.inf):
                return first + i
            final[first + i, j] = rest + scale * squared
    return -1


@njit(cache=True, nogil=True)
def _lower(final: np.ndarray, pairs: SparseRows, first: int, rest: np.float32) -> None:
    for row in range(pairs.start.size - 1):
        for at in range(pairs.start[row], pairs.start[row + 1]):
            final[first + row, pairs.column[at]] -= rest * pairs.value[at]
