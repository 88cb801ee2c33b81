"""Rows of distances, a block of queries at a time: the one place where memory and threads are decided.

A block is at most `BLOCK_BYTES`, so a sweep needs O(block) memory whatever the number of queries and gallery images.
From features a block is one float32 matrix product (BLAS) into the same buffer; from a given matrix it is a copy, for
the kernels overwrite what they read. Its rows are then split over threads that run without the interpreter's lock.
Distances, both with the order of a plain nearest-neighbour search:
  cosine             1 - q.g / (|q| |g|), in [0, 2]; a zero vector has cosine 0 with everything
  squared_euclidean  |q|^2 + |g|^2 - 2 q.g, >= 0 up to rounding; on unit vectors twice the cosine distance
Source: design of this project. Trade-off: float32 products, so distances closer than about 1e-6 may swap, and
equal ones may differ in the last bit by the pair's place in its block; a given matrix, or exact products, keep ties.
"""

import math
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from jaxtyping import Float32, Float64, Shaped
from threadpoolctl import ThreadpoolController

from resight.cluster.errors import UserError

__all__ = ["BLOCK_BYTES", "Distance", "FeatureRows", "GivenRows", "Rows", "feature_rows", "lanes", "sweep"]

Distance = Literal["cosine", "squared_euclidean"]

BLOCK_BYTES: Final = 32 << 20
"""Large enough that a product of blocks is as fast as one product; half of the 64 MiB an evaluation may take."""

_GIVEN_BYTES: Final = 4 << 20  # a copied block should stay in the cache
_NORM_ROWS: Final = 512  # rows whose norms are taken at once, in float64


class Rows(Protocol):
    """Where rows of products or distances come from, with what turns them into distances (`kernels.to_distances`)."""

    @property
    def scale(self) -> np.ndarray:
        """(G,) factor of a product, or (0,) when rows are distances already."""
        ...

    @property
    def bias(self) -> np.ndarray:
        """(G,) or (0,) term of the gallery image."""
        ...

    @property
    def offset(self) -> np.ndarray:
        """(Q,) term of the query."""
        ...

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first query, (n, G) rows); the rows are the caller's until the next block is asked for."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureRows:
    """Rows from features, see `feature_rows`."""

    query: Float32[np.ndarray, "q d"]
    gallery: Float32[np.ndarray, "g d"]
    scale: Float32[np.ndarray, " g"]
    bias: Float32[np.ndarray, " g"]
    offset: Float32[np.ndarray, " q"]
    query_scale: Float32[np.ndarray, " q"]

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Multiply a block of queries with the whole gallery."""
        step = _rows_per_block(len(self.query), len(self.gallery) * 4, BLOCK_BYTES)
        buffer = np.empty((step, len(self.gallery)), np.float32)
        for first in range(0, len(self.query), step):
            part = slice(first, first + step)
            query = self.query[part] * self.query_scale[part, None]
            with np.errstate(invalid="ignore", over="ignore"):  # the kernels look for it, and the error names the image
                block = np.matmul(query, self.gallery.T, out=buffer[: len(query)])
            yield first, block


class GivenRows:
    """Rows of a matrix of distances (Q, G) in any order of memory; float32 keeps its type, others become float64."""

    def __init__(self, distances: Shaped[np.ndarray, "q g"]) -> None:
        self.distances = distances
        self.scale = np.empty(0)
        self.bias = np.empty(0)
        self.offset = np.zeros(len(distances))

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Copy a block of rows."""
        kind = np.float32 if self.distances.dtype == np.float32 else np.float64
        num_rows, num_columns = self.distances.shape
        step = _rows_per_block(num_rows, num_columns * np.dtype(kind).itemsize, _GIVEN_BYTES)
        buffer = np.empty((step, num_columns), kind)
        for first in range(0, num_rows, step):
            block = buffer[: min(step, num_rows - first)]
            np.copyto(block, self.distances[first : first + step], casting="unsafe")
            yield first, block


def feature_rows(
    query: Shaped[np.ndarray, "q d"], gallery: Shaped[np.ndarray, "g d"], distance: Distance
) -> FeatureRows:
    """Prepare rows of `distance` between features; other types than float32 are converted (one copy)."""
    query = np.ascontiguousarray(query, np.float32)
    gallery = np.ascontiguousarray(gallery, np.float32)
    if distance == "cosine":
        ones = np.ones(len(query), np.float32)
        zeros = np.zeros(len(gallery), np.float32)
        scale = -_inverse_norms(gallery)
        return FeatureRows(
            query=query, gallery=gallery, scale=scale, bias=zeros, offset=ones, query_scale=_inverse_norms(query)
        )
    return FeatureRows(
        query=query,
        gallery=gallery,
        scale=np.full(len(gallery), -2, np.float32),
        bias=_squared_norms(gallery).astype(np.float32),
        offset=_squared_norms(query).astype(np.float32),
        query_scale=np.ones(len(query), np.float32),
    )


@contextmanager
def lanes(threads: int | None) -> Generator[tuple[ThreadPoolExecutor, int]]:
    """Give a pool of so many threads, and BLAS as many; None: as many as BLAS has been given.

    A number is set for the BLAS of the whole process, and set back at the end.

    Raises:
        UserError: for less than one.
    """
    if threads is not None and threads < 1:
        raise UserError(f"threads is {threads}", cure="use at least one, or None for as many as BLAS has been given")
    blas = ThreadpoolController().select(user_api="blas")
    given = max((library["num_threads"] for library in blas.info()), default=1)
    limit: AbstractContextManager[object] = nullcontext() if threads is None else blas.limit(limits=threads)
    count = given if threads is None else threads
    with limit, ThreadPoolExecutor(count) as pool:
        yield pool, count


def sweep(rows: Rows, threads: int | None, work: Callable[[np.ndarray, int], int]) -> int:
    """Run `work(rows, first query)` over all rows, each exactly once.

    Args:
        rows: where they come from.
        threads: how many to use for products and for `work`, see `lanes`.
        work: releases the lock, writes results by query number, returns the first bad query or -1.

    Returns:
        The first bad query, or -1; rows after its block are not looked at.
    """
    with lanes(threads) as (pool, count):
        for first, block in rows.blocks():
            step = math.ceil(len(block) / count)
            starts = range(0, len(block), step)
            each = map if count == 1 else pool.map  # one lane works where the block was made, and is in the cache
            results = list(each(lambda at, b=block, f=first, s=step: work(b[at : at + s], f + at), starts))
            bad = [result for result in results if result >= 0]
            if bad:
                return min(bad)
    return -1


def _rows_per_block(num_rows: int, bytes_per_row: int, limit: int) -> int:
    """Return the height of equal blocks of at most `limit` bytes, at least one row."""
    most = max(1, limit // max(1, bytes_per_row))
    return math.ceil(num_rows / math.ceil(num_rows / most))


def _squared_norms(features: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    norms = np.empty(len(features))
    for first in range(0, len(features), _NORM_ROWS):
        part = features[first : first + _NORM_ROWS].astype(np.float64)
        np.einsum("nd,nd->n", part, part, out=norms[first : first + _NORM_ROWS])
    return norms


def _inverse_norms(features: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
    norms = np.sqrt(_squared_norms(features))
    return np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0).astype(np.float32)
