"""Making the cells of an index: centroids by FAISS's k-means on a sample, every vector to its nearest one.

The centroids that are kept are the means of their members, all of them, computed here (see `cells.py` for why). Nothing
of FAISS is stored, so an index is searched, checked, added to and forgotten in without it.
Source: spherical k-means, Dhillon and Modha 2001; sample and number of rounds as FAISS's guidelines have them (between
39 and 256 vectors a cell). Trade-off: one seed and one start; a better start is worth less than one more probe.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.trainers.gallery.cells import assign, means, publish_cells, publish_centroids
from resight.trainers.gallery.holding import changing
from resight.trainers.gallery.index import GalleryIndex, check_manifest, open_manifest
from resight.trainers.gallery.manifest import MANIFEST_KEY, Manifest, Segment, read_manifest

__all__ = ["Partitioned", "make_cells"]

SAMPLE: Final = 64
"""Vectors a cell that k-means sees."""
_ROUNDS: Final = 10
_SEED: Final = 0


@dataclass(frozen=True, kw_only=True)
class Partitioned:
    """What was made.

    Attributes:
        images: in the index.
        cells: how many.
        empty: of these, how many that no image is in.
        largest: images in the largest.
    """

    images: int
    cells: int
    empty: int
    largest: int


def make_cells(path: Path, count: int | None = None) -> Partitioned:
    """Put the vectors of an index into cells, in place of those it has.

    Args:
        path: the index's folder.
        count: how many cells; None: four times the square root of the number of images.

    Raises:
        UserError: without FAISS, for an index that is not there, empty, damaged or being changed, and for no or more
            cells than images.
    """
    faiss = _faiss()
    with changing(path, make=False) as storage:
        index = open_manifest(storage, read_manifest(storage))
        wanted = _count(index, count)
        _refuse_damage(storage, index.manifest)
        trained = _train(faiss, _sample(index, wanted * SAMPLE), wanted)
        cells = [assign(opened.vectors, trained) for opened in index.segments]
        everybody = [np.ones(len(cell), bool) for cell in cells]
        centroids = means(index.segments, cells, everybody, np.arange(wanted))
        _publish(storage, index, centroids, cells)
    sizes = np.bincount(np.concatenate(cells), minlength=wanted)
    return Partitioned(images=len(index), cells=wanted, empty=int((sizes == 0).sum()), largest=int(sizes.max()))


def _count(index: GalleryIndex, count: int | None) -> int:
    rows = len(index)
    if rows == 0:
        raise UserError("the index is empty", where=index.path, cure="add images with `resight index FILE.parquet`")
    found = min(rows, 4 * isqrt(rows)) if count is None else count
    if not 1 <= found <= rows:
        raise UserError(
            f"{found:,} cells were asked for, and the index has {rows:,} images",
            where=index.path,
            cure=f"ask for 1 to {rows} (--cells), or leave the choice to --cells auto",
        )
    return found


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        cure = "pip install 'resight[faiss]'; only making cells needs it, searching in them does not"
        raise UserError("making cells needs the package faiss", where="--cells", cure=cure) from error
    return faiss


def _refuse_damage(storage: Storage, manifest: Manifest) -> None:
    """Do not make centroids of damaged vectors."""
    if wrong := check_manifest(storage, manifest):
        cure = "nothing was changed; copy the index again, or make it again from its feature files"
        raise UserError(f"the index is damaged: {'; '.join(wrong)}", where=storage.url, cure=cure)


def _sample(index: GalleryIndex, most: int) -> Float32[np.ndarray, "n d"]:
    """Return vectors of the index, all or a sample without repetition, the same every time."""
    rows = len(index)
    if rows <= most:
        return index.vectors_at(np.arange(rows))
    return index.vectors_at(np.sort(np.random.default_rng(_SEED).choice(rows, most, replace=False)))


def _train(faiss: Any, vectors: Float32[np.ndarray, "n d"], count: int) -> Float32[np.ndarray, "cells d"]:
    """Return centroids of unit length."""
    every = {"min_points_per_centroid": 1, "max_points_per_centroid": len(vectors)}  # the sample is taken already
    work = faiss.Kmeans(vectors.shape[1], count, niter=_ROUNDS, seed=_SEED, spherical=True, **every)
    work.train(vectors)
    return np.array(work.centroids, np.float32)


def _publish(
    storage: Storage, index: GalleryIndex, centroids: Float32[np.ndarray, "cells d"], cells: Sequence[np.ndarray]
) -> None:
    """Write centroids and cells, then the manifest that names them."""
    number = index.manifest.next
    named = publish_centroids(storage, centroids, number)
    segments: list[Segment] = [
        publish_cells(storage, opened.segment, cell, number) for opened, cell in zip(index.segments, cells, strict=True)
    ]
    after = replace(index.manifest, segments=tuple(segments), next=number + 1, cells=named)
    storage.publish(after.to_json(), MANIFEST_KEY)
