"""Resight: train, adapt, tune and serve models that recognise a person seen before.

    >>> model = resight.load("runs/market")
    >>> query, gallery = model.embed(query_crops), model.embed(gallery_crops)
    >>> rows, distances = resight.rank(query, gallery, k=10)

Nothing heavy is imported until a function is called.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from resight.trainers.embedder import Embedder
    from resight.trainers.gallery.finding import Answer
    from resight.trainers.load import Which
    from resight.trainers.retrieval.metrics import Metrics
    from resight.trainers.retrieval.scoring import Scoring

__all__ = ["__version__", "embed", "evaluate", "load", "rank", "search"]

__version__ = "0.1.0"


def load(run_or_checkpoint: str | Path, *, which: "Which" = "newest") -> "Embedder":
    """Load a trained model.

    Args:
        run_or_checkpoint: a run folder or one checkpoint's folder.
        which: of a run's checkpoints: the newest, or the one that validation found best.

    Returns:
        An `Embedder`; `embed(images)` maps n crops, each (height, width, 3) uint8 RGB of any size, to an (n, D) float32
        array of unit length, so that Euclidean and cosine order agree.

    Raises:
        UserError: when there is no such checkpoint, or its files do not match their checksums.
    """
    from resight.trainers.load import load_embedder

    return load_embedder(run_or_checkpoint, which=which)


def embed(run_or_checkpoint: str | Path, images: "Sequence[np.ndarray]") -> "np.ndarray":
    """Embed crops in one call; the same as `load(run_or_checkpoint).embed(images)`."""
    return load(run_or_checkpoint).embed(images)


def rank(query: "np.ndarray", gallery: "np.ndarray", *, k: int = 10) -> "tuple[np.ndarray, np.ndarray]":
    """Find the k nearest gallery rows of every query, exactly.

    Args:
        query: (Q, D) float features.
        gallery: (G, D) float features.
        k: how many to return; at most G.

    Returns:
        Rows of the gallery (Q, k) int64 and cosine distances (Q, k) float32 in [0, 2], nearest first; equal distances
        are ordered by gallery row.

    Raises:
        UserError: for empty, mismatched or non-finite features.
    """
    from resight.trainers.retrieval.ranking import rank as ranked

    return ranked(query, gallery, k=k)


def search(
    index: str | Path, features: "np.ndarray", *, k: int = 10, probes: int | None = None
) -> "list[list[Answer]]":
    """Find the k nearest images of an index on disk, exactly unless `probes` is given.

    Args:
        index: the folder that `resight index` made.
        features: (Q, D) float, of the model that made the index.
        k: how many; at most the images in the index.
        probes: compare only the images in so many cells, those nearest to the query; 1 to the number of cells that
            `resight index --cells` made. Near images in other cells are missed, and there may be fewer than k answers.

    Returns:
        For each query its answers, nearest first: `image` (key, pid, camid, dataset, position) and cosine `distance` in
        [0, 2]; equal distances are ordered by position.

    Raises:
        UserError: when there is no index or it is damaged, for features that do not fit it or are not finite, and for
            probes in an index without cells or out of range.
    """
    from resight.trainers.gallery.finding import answers_in
    from resight.trainers.gallery.index import open_index

    return answers_in(open_index(index), features, k, probes=probes)


def evaluate(
    query_features: "np.ndarray",
    gallery_features: "np.ndarray",
    query_pids: "np.ndarray",
    gallery_pids: "np.ndarray",
    query_camids: "np.ndarray",
    gallery_camids: "np.ndarray",
    *,
    protocol: str = "market1501",
    query_outfits: "np.ndarray | None" = None,
    gallery_outfits: "np.ndarray | None" = None,
    scoring: "Scoring | None" = None,
) -> "Metrics":
    """Judge features; by default by the Market-1501 rule: gallery rows of the query's own pid and camid do not count.

    Args:
        query_features: (Q, D) float.
        gallery_features: (G, D) float.
        query_pids: (Q,) int; gallery_pids: (G,) int, -1 for junk that is never ranked, -2 for distractors.
        gallery_pids: see above.
        query_camids: (Q,) int, -1 for unknown; gallery_camids: (G,) likewise.
        gallery_camids: see above.
        protocol: a name in `resight.trainers.retrieval.protocol.PROTOCOLS`.
        query_outfits: (Q,) int, clothes, numbered over the whole data set; gallery_outfits: (G,) likewise. Protocols of
            changed clothes need both.
        gallery_outfits: see above.
        scoring: how rankings are scored, see `resight.trainers.retrieval.scoring.Scoring`; None: as it says.

    Returns:
        `Metrics` with `mAP`, `mINP`, `cmc`, `rank1`, ... as fractions in [0, 1], and the queries skipped with reasons.

    Raises:
        UserError: for inputs that do not fit each other, and when most queries have no possible match.
    """
    from resight.trainers.retrieval.inputs import check_features, check_labels
    from resight.trainers.retrieval.metrics import evaluate_labelled
    from resight.trainers.retrieval.protocol import find_protocol
    from resight.trainers.retrieval.scoring import Scoring

    check_features(query_features, gallery_features)
    return evaluate_labelled(
        query_features,
        gallery_features,
        check_labels("query", query_pids, query_camids, len(query_features), outfits=query_outfits),
        check_labels("gallery", gallery_pids, gallery_camids, len(gallery_features), outfits=gallery_outfits),
        protocol=find_protocol(protocol),
        scoring=scoring or Scoring(),
    )
