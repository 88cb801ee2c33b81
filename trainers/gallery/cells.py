"""The cells of an index: its vectors in groups, each with a centroid, so that a search can look into a few of them.

A centroid is the mean direction of images that are in its cell, and of nobody else: when one of them is forgotten, the
centroids of the cells that lose an image are computed anew from those that stay, and an empty cell's is zeros. A
centroid of one image is that image's vector, so a mean that kept the forgotten would keep a person. Images that are
added go to the nearest centroid and do not move it.
Source: design of this project; cells with centroids as in Sivic and Zisserman 2003 and in FAISS's inverted files.
Trade-off: an index that has grown to several times its size has cells that fit it worse; train them again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from resight.cluster.errors import UserError
from resight.cluster.scratch import scratch_folder
from resight.cluster.storage import Storage
from resight.trainers.gallery.arrays import check_file, check_size, damaged, map_array, record
from resight.trainers.gallery.manifest import Cells, Segment, cells_name, centroids_key, segment_key
from resight.trainers.gallery.nearest import nearest_one
from resight.trainers.gallery.segments import OpenSegment, Part

__all__ = [
    "assign",
    "check_centroids",
    "in_cells",
    "means",
    "open_centroids",
    "publish_cells",
    "publish_centroids",
    "without",
]

_SHORTEST: Final = 1e-9
_BLOCK_ROWS: Final = 4096


def open_centroids(storage: Storage, cells: Cells, dim: int) -> Float32[np.ndarray, "cells d"]:
    """Map the centroids; UserError for a file that is torn or holds anything but unit vectors and zeros."""
    key = centroids_key(cells.name)
    check_size(storage, key, cells.file)
    centroids = map_array(storage, key, np.float32, (cells.count, dim))
    squares = np.einsum("nd,nd->n", centroids, centroids)
    if not ((squares == 0) | (np.abs(squares - 1) < 1e-3)).all():
        raise damaged(storage, key, "holds a vector that is not of unit length")
    return centroids


def check_centroids(storage: Storage, cells: Cells) -> list[str]:
    """Compare the centroids with their sha256; return what is wrong, in words."""
    return check_file(storage, centroids_key(cells.name), cells.file)


def publish_centroids(storage: Storage, centroids: Float32[np.ndarray, "cells d"], number: int) -> Cells:
    """Write centroids under a number that was not used yet."""
    name = f"{number:06d}"
    with scratch_folder() as scratch:
        path = scratch / "centroids.npy"
        np.save(path, centroids, allow_pickle=False)
        cells = Cells(name=name, count=len(centroids), file=record(path))
        storage.publish_file(path, centroids_key(name))
    return cells


def publish_cells(storage: Storage, segment: Segment, cells: Int32[np.ndarray, " n"], number: int) -> Segment:
    """Write the cells of a segment's vectors beside them; return the segment with these and not its old ones."""
    name = cells_name(number)
    with scratch_folder() as scratch:
        np.save(scratch / name, cells, allow_pickle=False)
        file = record(scratch / name)
        storage.publish_file(scratch / name, segment_key(segment.name, name))
    return replace(
        segment, files={**{key: of for key, of in segment.files.items() if key != segment.cells}, name: file}
    )


def assign(vectors: Float32[np.ndarray, "n d"], centroids: Float32[np.ndarray, "cells d"]) -> Int32[np.ndarray, " n"]:
    """Return the cell of each vector: that of the nearest centroid, of equal ones the first; empty cells stay empty."""
    live = np.flatnonzero(centroids.any(axis=1)).astype(np.int32)
    return live[nearest_one(vectors, np.ascontiguousarray(centroids[live]))]


def in_cells(parts: Iterable[Part], centroids: Float32[np.ndarray, "cells d"] | None) -> Iterator[Part]:
    """Yield images on their way into an index with their cells, when it has any."""
    for part in parts:
        yield part if centroids is None else replace(part, cells=assign(part.vectors, centroids))


def means(
    opened: Sequence[OpenSegment],
    cells: Sequence[Int32[np.ndarray, " _"]],
    stay: Sequence[Bool[np.ndarray, " _"]],
    which: Int64[np.ndarray, " w"],
) -> Float32[np.ndarray, "w d"]:
    """Return the mean directions of some cells, zeros for one without images.

    Args:
        opened: all segments.
        cells: of their vectors.
        stay: which of their images count.
        which: the cells that are asked for, ascending.
    """
    sums = np.zeros((len(which), opened[0].vectors.shape[1]), np.float64)
    some = np.zeros_like(sums)  # a member of each cell, for members that cancel out
    for segment, cell, keep in zip(opened, cells, stay, strict=True):
        rows = np.flatnonzero(keep & np.isin(cell, which))
        for first in range(0, len(rows), _BLOCK_ROWS):
            part = rows[first : first + _BLOCK_ROWS]
            _add(sums, some, np.searchsorted(which, cell[part]), segment.vectors[part])
    length = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    length[~np.isfinite(length)] = np.nan
    return np.where(length <= _SHORTEST, some, sums / np.maximum(length, _SHORTEST)).astype(np.float32)


def without(
    centroids: Float32[np.ndarray, "cells d"],
    opened: Sequence[OpenSegment],
    gone: Sequence[Bool[np.ndarray, " _"]],
    where: str,
) -> Float32[np.ndarray, "cells d"] | None:
    """Return the centroids when some images are gone, which have no part in them any more; None when no cell is left.

    Args:
        centroids: with these images.
        opened: all segments, with their cells.
        gone: which of their images go.
        where: the index, for an error.

    Raises:
        UserError: when a vector that stays is not finite.
    """
    cells = [segment.cells for segment in opened if segment.cells is not None]
    lost = [cell[mask] for cell, mask in zip(cells, gone, strict=True)]
    which = np.unique(np.concatenate(lost)).astype(np.int64)
    if not len(which):
        return centroids
    after = centroids.copy()
    after[which] = means(opened, cells, [~mask for mask in gone], which)
    if not np.isfinite(after).all():
        cure = "nothing was changed; delete the index and make it again from its feature files, without the people"
        raise UserError("the index is damaged: a vector is not finite", where=where, cure=cure)
    return after if after.any() else None


def _add(
    sums: Float64[np.ndarray, "w d"],
    some: Float64[np.ndarray, "w d"],
    places: Int64[np.ndarray, " n"],
    vectors: Float32[np.ndarray, "n d"],
) -> None:
    """Add vectors to the sums of their cells, in place."""
    order = np.argsort(places, kind="stable")
    there, starts = np.unique(places[order], return_index=True)
    ordered = vectors[order].astype(np.float64)
    sums[there] += np.add.reduceat(ordered, starts, axis=0)
    some[there] = ordered[starts]
