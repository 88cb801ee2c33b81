"""A gallery index, opened for reading: all segments, an image's position counting through them.

Opening reads the rows and maps the vectors; nothing is copied, and processes on one machine share the pages.
Source: design of this project. Trade-off: a change deletes old segments after its manifest is there, so a reader that
opens in that moment finds files gone; it reads the new manifest and opens again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Int64

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage, open_storage
from resight.trainers.gallery.cells import check_centroids, open_centroids
from resight.trainers.gallery.manifest import Manifest, read_manifest
from resight.trainers.gallery.segments import OpenSegment, check_segment, open_segment

__all__ = ["GalleryImage", "GalleryIndex", "check_index", "check_manifest", "open_index", "open_manifest"]

_TRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class GalleryImage:
    """One image of an index.

    Attributes:
        position: in the index.
        key: in its data set.
        pid: identity, -1 when unknown.
        camid: camera, -1 when unknown.
        dataset: the data set's name.
    """

    position: int
    key: str
    pid: int
    camid: int
    dataset: str


class GalleryIndex:
    """An opened index (make one with `open_index`).

    Attributes:
        path: its folder.
        manifest: what it says of itself.
        segments: opened, in order.
        centroids: (N, D) of its cells, a row of zeros for an empty one; None for an index without cells.
    """

    def __init__(
        self,
        path: str,
        manifest: Manifest,
        segments: Sequence[OpenSegment],
        centroids: Float32[np.ndarray, "cells d"] | None = None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.segments = tuple(segments)
        self.centroids = centroids

    def __len__(self) -> int:
        """Return the number of images."""
        return self.manifest.rows

    def __repr__(self) -> str:
        """Place and size."""
        return f"GalleryIndex({self.path!r}, {len(self)} images, {self.manifest.model.dim} numbers each)"

    @cached_property
    def starts(self) -> Int64[np.ndarray, "segments_and_one"]:
        """Position of each segment's first image, and the number of all."""
        return np.cumsum([0, *(len(opened.key) for opened in self.segments)])

    @cached_property
    def live_cells(self) -> tuple[Int64[np.ndarray, " c"], Float32[np.ndarray, "c d"]]:
        """Numbers and centroids of the cells that are not empty."""
        assert self.centroids is not None, "who asks has looked"
        live = np.flatnonzero(self.centroids.any(axis=1))
        return live, np.ascontiguousarray(self.centroids[live])

    def segment_of(self, position: int) -> OpenSegment:
        """Return the segment that holds a position."""
        return self.segments[self._place(position)]

    def image(self, position: int) -> GalleryImage:
        """Return what is known of the image at a position; UserError for a key that no terminal should be sent."""
        opened, row = self.segment_of(position), position - int(self.starts[self._place(position)])
        if not opened.key[row].isprintable():
            cure = "make the index again from its feature files"
            raise UserError(f"the index is damaged: a key is {opened.key[row][:40]!r}", where=self.path, cure=cure)
        return GalleryImage(
            position=position,
            key=str(opened.key[row]),
            pid=int(opened.pid[row]),
            camid=int(opened.camid[row]),
            dataset=opened.segment.dataset,
        )

    def position(self, dataset: str, key: str) -> int:
        """Return the position of an image, -1 when it is not in the index."""
        for start, opened in zip(self.starts[:-1].tolist(), self.segments, strict=True):
            if opened.segment.dataset == dataset:
                found = np.flatnonzero(opened.key == key)
                if len(found):
                    return start + int(found[0])
        return -1

    def vectors_at(self, positions: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
        """Return a copy of the vectors at some positions, which ascend."""
        cuts = np.searchsorted(positions, self.starts).tolist()
        parts = [
            opened.vectors[positions[first:last] - start]
            for start, opened, first, last in zip(self.starts[:-1], self.segments, cuts, cuts[1:], strict=False)
            if first < last
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _place(self, position: int) -> int:
        return int(np.searchsorted(self.starts, position, side="right")) - 1


def open_index(path: str | Path) -> GalleryIndex:
    """Open an index.

    Raises:
        UserError: when there is none, or a file is missing, torn, or not what the manifest promises.
    """
    storage = open_storage(path)
    for _ in range(_TRIES):
        manifest = read_manifest(storage)
        try:
            return open_manifest(storage, manifest)
        except (UserError, FileNotFoundError):
            if read_manifest(storage) == manifest:
                raise
    raise UserError("the index changes all the time", where=storage.url, cure="try again when it is at rest")


def open_manifest(storage: Storage, manifest: Manifest) -> GalleryIndex:
    """Open what a manifest names; as `open_segment`."""
    dim, cells = manifest.model.dim, manifest.cells
    count = 0 if cells is None else cells.count
    opened = [open_segment(storage, segment, dim=dim, cells=count) for segment in manifest.segments]
    return GalleryIndex(storage.url, manifest, opened, None if cells is None else open_centroids(storage, cells, dim))


def check_index(path: str | Path) -> list[str]:
    """Compare every byte of an index with its manifest and look at every vector; return what is wrong, in words.

    Raises:
        UserError: when there is no index, or its manifest is damaged.
    """
    storage = open_storage(path)
    return check_manifest(storage, read_manifest(storage))


def check_manifest(storage: Storage, manifest: Manifest) -> list[str]:
    """Compare every byte of what a manifest names, and look at every vector; return what is wrong, in words."""
    wrong = [fault for segment in manifest.segments for fault in check_segment(storage, segment)]
    wrong += [] if manifest.cells is None else check_centroids(storage, manifest.cells)
    if wrong:
        return wrong
    return [fault for opened in open_manifest(storage, manifest).segments for fault in _not_unit(opened)]


def _not_unit(opened: OpenSegment) -> list[str]:
    for first in range(0, len(opened.key), 16384):
        part = opened.vectors[first : first + 16384]
        off = np.abs(np.einsum("nd,nd->n", part, part) - 1)
        if not (off < 1e-3).all():
            bad = first + int(np.flatnonzero(~(off < 1e-3))[0])
            return [f"segment {opened.segment.name}: the vector of {opened.key[bad]!r} is not of unit length"]
    return []
