"""Changing a gallery index: adding feature files, forgetting people.

One change at a time, and whatever is killed when, the index is as before or as after (`holding.py`). After a change
that was told to be done no file holds a vector or a row of anybody who was forgotten, and no centroid is a mean of
theirs.
Source: design of this project. Trade-off: forgetting one image writes its whole segment again. What the file system or
its snapshots keep of deleted blocks is beyond a program's reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.trainers.gallery.cells import in_cells, publish_centroids, without
from resight.trainers.gallery.holding import changing
from resight.trainers.gallery.incoming import Incoming, parts, read_incoming
from resight.trainers.gallery.index import GalleryIndex, open_manifest
from resight.trainers.gallery.manifest import MANIFEST_KEY, Manifest, Segment, read_manifest
from resight.trainers.gallery.people import People
from resight.trainers.gallery.segments import OpenSegment, check_segment, remaining, write_segment

__all__ = ["Added", "Forgotten", "add_features", "forget"]


@dataclass(frozen=True, kw_only=True)
class Added:
    """What was added.

    Attributes:
        images: that are new, replaced ones among them.
        replaced: of these, how many stand in the place of an older vector.
        junk: images left out because they are never ranked.
        rows: images in the index now.
    """

    images: int
    replaced: int
    junk: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What was removed.

    Attributes:
        images: in all.
        counts: for each word that was asked for, how many images.
        segments: segments written again, or removed whole.
        rows: images in the index now.
        datasets: names of the data sets in the index before.
    """

    images: int
    counts: Mapping[str, int]
    segments: int
    rows: int
    datasets: tuple[str, ...]


def add_features(files: Sequence[Path], out: Path, *, replace_keys: bool = False) -> Added:
    """Add feature files to an index, which is made when it is not there: all of them, or nothing.

    Args:
        files: of `resight embed`.
        out: the index's folder.
        replace_keys: put images that are in the index already in the place of the old ones, instead of refusing.

    Raises:
        UserError: for files that cannot be read or hold no images, features of another model, vectors that are not
            finite or have no direction, keys that occur twice, and while another process changes the index.
    """
    incoming = read_incoming([path.expanduser().absolute() for path in files])
    with changing(out, make=True) as storage:
        before = _manifest(storage, incoming)
        index = open_manifest(storage, before)
        opened = index.segments
        new = {name: incoming.of(name) for name in {found.segment.dataset for found in opened}}
        stale = [_in(found, new[found.segment.dataset]) for found in opened]
        replaced = sum(int(mask.sum()) for mask in stale)
        if replaced and not replace_keys:
            raise _there_already(storage, opened, stale, replaced)
        left, centroids = _rewrite(storage, index, stale)
        after = _append(storage, left, incoming, centroids)
        storage.publish(after.to_json(), MANIFEST_KEY)
    return Added(images=incoming.images, replaced=replaced, junk=incoming.junk, rows=after.rows)


def forget(path: Path, people: People) -> Forgotten:
    """Remove people and images from an index, their vectors and rows: no file of it holds them afterwards.

    Doing it again is harmless, and also finishes one that was interrupted.

    Args:
        path: the index's folder.
        people: whom, and which images.

    Raises:
        UserError: when there is no index, it is damaged, somebody else changes it, or a number or key without a data
            set's name stands for images of several data sets.
    """
    with changing(path, make=False) as storage:
        before = read_manifest(storage)
        index = open_manifest(storage, before)
        found = people.find(index.segments)
        after, _ = _rewrite(storage, index, found.masks)
        if after != before:
            storage.publish(after.to_json(), MANIFEST_KEY)
    return Forgotten(
        images=before.rows - after.rows,
        counts=found.counts,
        segments=sum(bool(mask.any()) for mask in found.masks),
        rows=after.rows,
        datasets=tuple(sorted({segment.dataset for segment in before.segments})),
    )


def _manifest(storage: Storage, incoming: Incoming) -> Manifest:
    """Return the manifest that is there, or an empty one; UserError for one of another model."""
    if storage.exists(MANIFEST_KEY):
        found = read_manifest(storage)
        if not found.model.same_as(incoming.model):
            problem = f"the features are of {incoming.model}, the index holds those of {found.model}"
            cure = "embed with the model of the index, or make another index"
            raise UserError(problem, where=str(next(iter(incoming.cards))), cure=cure)
        return found
    return Manifest(model=incoming.model)


def _in(opened: OpenSegment, keys: set[str]) -> Bool[np.ndarray, " n"]:
    return np.array([key in keys for key in opened.key.tolist()], bool)


def _there_already(
    storage: Storage, opened: Sequence[OpenSegment], stale: Sequence[np.ndarray], count: int
) -> UserError:
    example, name = next(
        (str(segment.key[mask][0]), segment.segment.dataset)
        for segment, mask in zip(opened, stale, strict=True)
        if mask.any()
    )
    return UserError(
        f"{count:,} of the images are in the index already, e.g. {example!r} of {name!r}",
        where=storage.url,
        cure="add --replace to put the new vectors in their place; another data set of this name needs another name",
    )


def _append(
    storage: Storage, manifest: Manifest, incoming: Incoming, centroids: Float32[np.ndarray, "cells d"] | None
) -> Manifest:
    """Write a segment for each file; return the manifest with them, not yet published."""
    segments, number = list(manifest.segments), manifest.next
    for path, card in incoming.cards.items():
        like = Segment(
            name=f"{number:06d}",
            rows=len(incoming.keys[path]),
            dataset=card.dataset,
            data=card.data,
            data_sha256=card.data_sha256,
            files={},
        )
        segments.append(write_segment(storage, in_cells(parts(path), centroids), like=like, dim=card.model.dim))
        number += 1
    return replace(manifest, segments=tuple(segments), next=number)


def _rewrite(
    storage: Storage, index: GalleryIndex, gone: Sequence[Bool[np.ndarray, " _"]]
) -> tuple[Manifest, Float32[np.ndarray, "cells d"] | None]:
    """Write again what loses images; return the manifest without them, not yet published, and the centroids."""
    manifest, centroids = index.manifest, index.centroids
    if not any(mask.any() for mask in gone):
        return manifest, centroids
    for found, mask in zip(index.segments, gone, strict=True):
        if mask.any() and not mask.all():
            _refuse_damage(storage, found.segment)
    number, cells = manifest.next, manifest.cells
    if cells is not None and centroids is not None:
        centroids = without(centroids, index.segments, gone, index.path)
        cells = None if centroids is None else publish_centroids(storage, centroids, number)
        number += 1
    segments: list[Segment] = []
    for found, mask in zip(index.segments, gone, strict=True):
        if not mask.any():
            segments.append(found.segment)
        elif not mask.all():
            like = replace(found.segment, name=f"{number:06d}", rows=int((~mask).sum()))
            segments.append(write_segment(storage, remaining(found, ~mask), like=like, dim=manifest.model.dim))
            number += 1
    return replace(manifest, segments=tuple(segments), next=number, cells=cells), centroids


def _refuse_damage(storage: Storage, segment: Segment) -> None:
    """Do not write damaged vectors again under a checksum that makes them look sound."""
    if wrong := check_segment(storage, segment):
        cure = "nothing was changed; delete the index and make it again from its feature files, without the people"
        raise UserError(f"the index is damaged: {'; '.join(wrong)}", where=storage.url, cure=cure)
