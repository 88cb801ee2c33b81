"""The nearest gallery images of each query, exactly, by (distance, gallery index).

The same rows, distances and rule for ties as in `metrics.py`, so a ranking shown beside a score is what was scored.
Source: design of this project. Trade-off: the k best are a sorted list that is inserted into, O(G + k^2 log(G/k)) on
average a query, so k is meant to be small against G.
"""

from functools import partial

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from resight.cluster.errors import UserError
from resight.trainers.retrieval.blocks import Distance, Rows, feature_rows, sweep
from resight.trainers.retrieval.inputs import check_features, not_finite
from resight.trainers.retrieval.kernels import nearest_rows
from resight.trainers.retrieval.matching import Labels, Matching, make_matching
from resight.trainers.retrieval.protocol import NO_CAMERA, EvalProtocol

__all__ = ["rank", "rank_labelled", "rank_rows"]


def rank(
    query: Shaped[np.ndarray, "q d"],
    gallery: Shaped[np.ndarray, "g d"],
    k: int = 10,
    *,
    distance: Distance = "cosine",
    threads: int | None = None,
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """Return the k nearest gallery images of each query.

    Args:
        query: (Q, D) features, any scale.
        gallery: (G, D) features.
        k: how many; at most G are returned.
        distance: "cosine", in [0, 2], or "squared_euclidean".
        threads: how many to use; None: as many as BLAS has been given.

    Returns:
        Gallery positions and distances, both (Q, min(k, G)), nearest first, ties by position.

    Raises:
        UserError: for empty, mismatched or non-finite features, or k < 1.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    check_features(query, gallery)
    nobody = Labels(pid=np.full(len(query), -1), camid=np.full(len(query), -1))
    anybody = Labels(pid=np.zeros(len(gallery), np.int64), camid=np.full(len(gallery), -1))
    return rank_labelled(query, gallery, nobody, anybody, k, protocol=NO_CAMERA, distance=distance, threads=threads)


def rank_labelled(
    query: Shaped[np.ndarray, "q d"],
    gallery: Shaped[np.ndarray, "g d"],
    query_labels: Labels,
    gallery_labels: Labels,
    k: int = 10,
    *,
    protocol: EvalProtocol,
    distance: Distance = "cosine",
    seed: int = 0,
    threads: int | None = None,
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """Return the k nearest gallery images that `protocol` ranks for each query.

    A protocol that draws shows its first draw by `seed`.
    Where fewer than min(k, G) are ranked, positions are filled with -1 and distances with infinity.
    """
    rows = feature_rows(query, gallery, distance)
    return rank_rows(rows, query_labels, gallery_labels, k, protocol=protocol, seed=seed, threads=threads)


def rank_rows(
    rows: Rows,
    query_labels: Labels,
    gallery_labels: Labels,
    k: int = 10,
    *,
    protocol: EvalProtocol,
    seed: int = 0,
    threads: int | None = None,
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """Return what `rank_labelled` does, by distances from anywhere."""
    if k < 1:
        raise UserError(f"k is {k}", cure="ask for at least one result")
    matching = make_matching(query_labels, gallery_labels, protocol, seed=seed)
    indices = np.full((len(query_labels), min(k, len(gallery_labels))), -1, np.int64)
    distances = np.full(indices.shape, np.inf, np.float32)
    find = partial(_find, rows=rows, matching=matching, indices=indices, distances=distances)
    if (bad := sweep(rows, threads, find)) >= 0:
        raise not_finite(bad, rows)
    return indices, np.maximum(distances, 0, out=distances)


def _find(
    block: np.ndarray, first: int, *, rows: Rows, matching: Matching, indices: np.ndarray, distances: np.ndarray
) -> int:
    return nearest_rows(block, first, rows.scale, rows.bias, rows.offset, matching, indices, distances)
