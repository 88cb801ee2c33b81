"""k-reciprocal re-ranking: distances between query and gallery that know who their common neighbours are.

    final(q, g) = (1 - weight) d_J(q, g) + weight d^2(q, g) / max over all images x of d^2(q, x)

Neighbourhoods are of queries and gallery together, in the variant `mmt` of `reciprocal.py`. The Jaccard part costs a
few microseconds a query, since most pairs have no neighbour in common and are at 1; what is left is the matrix product
that finds the neighbours. Distances come a block of queries at a time, like plain ones (`blocks.py`), so memory is the
neighbourhoods, O(N k), and one block; published code takes some 10 matrices of (Q + G)^2.
Source: Zhong et al. 2017 (arXiv:1701.08398), eq. 10 to 12. Trade-off: with weight 0 many pairs tie at 1; each sweep
over the distances makes them anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64, Shaped
from numba import njit

from resight.cluster.errors import UserError
from resight.cluster.machine import available_memory
from resight.cluster.progress import Progress, silent
from resight.trainers.retrieval.blocks import BLOCK_BYTES, FeatureRows, feature_rows
from resight.trainers.retrieval.inputs import check_count, check_features
from resight.trainers.retrieval.neighbours import neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig, reciprocal_rows
from resight.trainers.retrieval.sparse import Columns, SparseRows, between, taken, transposed
from resight.trainers.retrieval.spread import Spread, Threads

__all__ = ["RerankConfig", "RerankedRows", "check_memory", "rerank", "reranked_rows"]

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


@dataclass(frozen=True, kw_only=True, eq=False)
class RerankedRows:
    """Re-ranked distances of queries to the gallery, in [0, 1], as rows that a sweep reads (`blocks.Rows`).

    Attributes:
        plain: products of features, from which plain distances come.
        farthest: (Q,) squared distance from each query to the farthest of all images, above 0.
        own: (Q, N) who belongs to each query's neighbourhood, and how much: V.
        held: (N, G) the same of the gallery, by columns of V.
        weight: of the plain distance.
    """

    plain: FeatureRows
    farthest: Float32[np.ndarray, " q"]
    own: SparseRows
    held: Columns
    weight: float

    @property
    def scale(self) -> np.ndarray:
        """Nothing: rows are distances already."""
        return np.empty(0)

    @property
    def bias(self) -> np.ndarray:
        """Nothing."""
        return np.empty(0)

    @property
    def offset(self) -> np.ndarray:
        """(Q,) zeros."""
        return np.zeros(len(self.farthest))

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Turn products into final distances, in place."""
        weight, plain = np.float32(self.weight), self.plain
        for first, block in plain.blocks():
            near = jaccard_block(self.own, self.held, block.shape[1], first, first + len(block))
            _combine(block, first, plain.bias, plain.offset, self.farthest, weight)
            _lower(block, near, np.float32(1) - weight)
            yield first, block

    def take(self, chosen: Int64[np.ndarray, " k"]) -> "RerankedRows":
        """Return the rows of some queries, in their order; neighbourhoods stay those of all."""
        plain = replace(
            self.plain,
            query=self.plain.query[chosen],
            offset=self.plain.offset[chosen],
            query_scale=self.plain.query_scale[chosen],
        )
        return replace(self, plain=plain, farthest=self.farthest[chosen], own=taken(self.own, chosen))


def reranked_rows(
    features: Shaped[np.ndarray, "n d"],
    num_queries: int,
    config: RerankConfig | None = None,
    *,
    threads: int | None = None,
    spread: Spread | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> RerankedRows:
    """Find the neighbourhoods of queries and gallery together, and return what re-ranked distances come from.

    Args:
        features: (Q + G, D), queries first; L2-normalise them to compare with published figures.
        num_queries: Q.
        config: k1, k2 and weight; None: the paper's.
        threads: of the matrix product; None: as many as BLAS has been given.
        spread: how row blocks are spread; None: one thread.
        device: where neighbours are found.
        progress: receives rows done.

    Raises:
        UserError: for features that are empty or not finite, k1 of Q + G or more, and when neighbourhoods do not fit
            into memory.
    """
    config, spread = config or RerankConfig(), spread or Threads()
    features = np.asarray(features)
    query, gallery = features[:num_queries], features[num_queries:]
    check_features(query, gallery)
    check_count(len(features))
    check_memory(len(query), len(gallery), features.shape[1], available_memory())
    neighbourhood = config.neighbourhoods()
    features = np.ascontiguousarray(features, np.float32)
    table = neighbours(features, neighbourhood.columns, threads=threads, device=device, progress=progress)
    rows = reciprocal_rows(features, table, neighbourhood, spread)
    return RerankedRows(
        plain=feature_rows(features[:num_queries], features[num_queries:], "squared_euclidean"),
        farthest=np.maximum(table.farthest[:num_queries], np.float32(1e-12)),
        own=between(rows, 0, num_queries),
        held=transposed(between(rows, num_queries, len(features)), len(features)),
        weight=config.weight,
    )


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
    """Return the re-ranked distances as a matrix, in [0, 1]; the rest as in `reranked_rows`.

    Raises:
        UserError: as `reranked_rows`, for features of other widths, and when the result does not fit into memory.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    check_features(query, gallery)
    check_count(len(query) + len(gallery))
    check_memory(len(query), len(gallery), query.shape[1], available_memory(), whole=True)
    both = np.concatenate([query, gallery]).astype(np.float32, copy=False)
    rows = reranked_rows(both, len(query), config, threads=threads, spread=spread, device=device, progress=progress)
    final = np.empty((len(query), len(gallery)), np.float32)
    for first, block in rows.blocks():
        final[first : first + len(block)] = block
    return final


def check_memory(num_queries: int, num_gallery: int, dim: int, free: int, *, whole: bool = False) -> None:
    """Refuse to begin what `free` bytes cannot hold: features side by side, neighbourhoods, the `whole` result."""
    images = num_queries + num_gallery
    needed = images * (4 * dim + _ROW_BYTES) + BLOCK_BYTES + (4 * num_queries * num_gallery if whole else 0)
    if needed > free:
        raise UserError(
            f"re-ranking {num_queries} queries x {num_gallery} gallery images takes {needed / 2**30:.1f} GiB of memory,"
            f" {free / 2**30:.1f} GiB are free",
            cure="rank without it, or use fewer images or more memory",
        )


@njit(cache=True, nogil=True)
def jaccard_block(own: SparseRows, held: Columns, num_gallery: int, first: int, stop: int) -> SparseRows:
    """Return m / (2 - m), how far below 1 the Jaccard distance is, of queries first to stop to the gallery."""
    start = np.zeros(stop - first + 1, np.int64)
    found = [(np.empty(0, np.int32), np.empty(0, np.float32)) for _ in range(0)]
    total, touched = np.zeros(num_gallery), np.empty(num_gallery, np.int32)
    for i in range(first, stop):
        count = 0
        for at in range(own.start[i], own.start[i + 1]):
            shared, mine = own.column[at], own.value[at]
            for place in range(held.start[shared], held.start[shared + 1]):
                j = held.entry[place]["row"]
                if total[j] == 0.0:
                    touched[count] = j
                    count += 1
                total[j] += min(mine, held.entry[place]["value"])
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
    block: np.ndarray, first: int, bias: np.ndarray, offset: np.ndarray, farthest: np.ndarray, weight: np.float32
) -> None:
    """Turn products into the final distance of pairs that have no neighbour in common."""
    rest = np.float32(1.0) - weight
    for i in range(block.shape[0]):
        scale = weight / farthest[first + i]
        shift = offset[first + i]
        for j in range(block.shape[1]):
            block[i, j] = rest + scale * max((shift + bias[j]) - np.float32(2.0) * block[i, j], np.float32(0.0))


@njit(cache=True, nogil=True)
def _lower(block: np.ndarray, pairs: SparseRows, rest: np.float32) -> None:
    """Take from pairs with common neighbours what these make them nearer."""
    for row in range(pairs.start.size - 1):
        for at in range(pairs.start[row], pairs.start[row + 1]):
            block[row, pairs.column[at]] -= rest * pairs.value[at]
