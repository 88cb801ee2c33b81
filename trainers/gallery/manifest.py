"""The manifest of a gallery index, `index.json`: the one file that says what is in the index.

    index.json                 format, the network, the segments in order, each with its data set and its files' sha256
    segments/000001/vectors.npy   (n, D) float32, each of unit length
    segments/000001/rows.parquet  key, pid, camid of each vector
    segments/000001/cells-000002.npy   (n,) int32, the cell of each vector; only in an index with cells
    cells/000003/centroids.npy    (N, D) float32, the middle of each cell, of unit length or zeros for an empty cell

A segment is never changed: adding publishes a new one, forgetting publishes what is left of one under a new name. The
manifest is replaced last, in one step, so a reader sees the index before or after. What it does not name does not
exist, and is removed by the next change. An index without cells is of format 1, which older versions read; one with
cells of format 2. Everything read from it is checked, names too: an index may come by mail.
Source: design of this project; immutable segments under one manifest as in Lucene and Apache Iceberg.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from resight.cluster.commits import FileRecord
from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.trainers.gallery.provenance import Model

__all__ = [
    "MANIFEST_KEY",
    "ROWS",
    "VECTORS",
    "Cells",
    "Manifest",
    "Segment",
    "cells_name",
    "centroids_key",
    "is_index_key",
    "read_manifest",
    "segment_key",
]

MANIFEST_KEY: Final = "index.json"
FORMAT: Final = 2
VECTORS: Final = "vectors.npy"
ROWS: Final = "rows.parquet"
CENTROIDS: Final = "centroids.npy"

_NAME: Final = re.compile(r"[0-9]{6,12}")
_CELLS: Final = re.compile(rf"cells-{_NAME.pattern}\.npy")
_FILE: Final = rf"({re.escape(VECTORS)}|{re.escape(ROWS)}|{_CELLS.pattern})"
_KEY: Final = re.compile(rf"segments/{_NAME.pattern}/{_FILE}|cells/{_NAME.pattern}/{re.escape(CENTROIDS)}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Some images of one data set.

    Attributes:
        name: of its folder.
        rows: how many images.
        dataset: the data set's name.
        data: where it lay when its images were embedded.
        data_sha256: of its images.
        files: file name -> sha256 and size.
    """

    name: str
    rows: int
    dataset: str
    data: str
    data_sha256: str
    files: Mapping[str, FileRecord]

    @property
    def cells(self) -> str | None:
        """Name of the file of its vectors' cells; None in an index without cells."""
        return next((name for name in self.files if _CELLS.fullmatch(name)), None)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The cells that an approximate search chooses among.

    Attributes:
        name: of the folder of their centroids.
        count: how many.
        file: the centroids' sha256 and size.
    """

    name: str
    count: int
    file: FileRecord


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an index holds.

    Attributes:
        model: the network that made all its vectors.
        segments: in order; an image's position counts through them.
        next: number of what is written next: names are not used again.
        cells: of all its vectors; None for an index that is searched exactly only.
    """

    model: Model
    segments: tuple[Segment, ...] = ()
    next: int = 1
    cells: Cells | None = None

    @property
    def rows(self) -> int:
        """Images in all."""
        return sum(segment.rows for segment in self.segments)

    @property
    def keys(self) -> set[str]:
        """Storage keys of all files but its own."""
        found = {segment_key(segment.name, file) for segment in self.segments for file in segment.files}
        return found if self.cells is None else {*found, centroids_key(self.cells.name)}

    def to_json(self) -> bytes:
        """Return the manifest as it is published."""
        values = {**asdict(self), "format": 1 if self.cells is None else FORMAT}
        if self.cells is None:
            del values["cells"]
        return (json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def segment_key(name: str, file: str) -> str:
    """Return the storage key of a segment's file."""
    return f"segments/{name}/{file}"


def cells_name(number: int) -> str:
    """Return the name of a segment's file of cells."""
    return f"cells-{number:06d}.npy"


def centroids_key(name: str) -> str:
    """Return the storage key of some cells' centroids."""
    return f"cells/{name}/{CENTROIDS}"


def is_index_key(key: str) -> bool:
    """Tell whether a storage key is that of an index's file, named in the manifest or not."""
    return _KEY.fullmatch(key) is not None


def read_manifest(storage: Storage) -> Manifest:
    """Return the manifest of an index.

    Raises:
        UserError: when there is none, or it is torn, of a newer version, or says what cannot be.
    """
    where = f"{storage.url}/{MANIFEST_KEY}"
    if not storage.exists(MANIFEST_KEY):
        cure = "make an index with `resight index FILE.parquet --out DIR`"
        raise UserError("there is no gallery index here", where=storage.url, cure=cure)
    try:
        values: Any = json.loads(storage.read(MANIFEST_KEY))
        found = values["format"]
        if isinstance(found, int) and found > FORMAT:
            cure = "update resight, or make the index again with this version"
            raise UserError(f"this index is of a newer version, {found}", where=where, cure=cure)
        return _checked(values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        cure = "copy the index again, or make it again from its feature files"
        raise UserError(f"index.json is damaged: {error}", where=where, cure=cure) from error


def _checked(values: Any) -> Manifest:
    """Build the manifest from JSON; ValueError, TypeError or KeyError for what no index can say."""
    model = Model(**values["model"])
    _require(model.dim, 1, "model.dim")
    _require_sha256(model.sha256, "model.sha256")
    segments = tuple(_segment(entry) for entry in values["segments"])
    names = [segment.name for segment in segments]
    if len(set(names)) != len(names):
        raise ValueError("a segment is named twice")
    cells = None if values.get("cells") is None else _cells(values["cells"])
    if any((segment.cells is None) != (cells is None) for segment in segments):
        raise ValueError("some of it has cells, some has none")
    _require(values["next"], 1, "next")
    numbers = [*names, *([] if cells is None else [cells.name])]
    if numbers and max(map(int, numbers)) >= values["next"]:
        raise ValueError("the number of the next segment is taken")
    return Manifest(model=model, segments=segments, next=values["next"], cells=cells)


def _cells(entry: Any) -> Cells:
    cells = Cells(name=entry["name"], count=entry["count"], file=FileRecord(**entry["file"]))
    if not _NAME.fullmatch(cells.name):
        raise ValueError(f"{cells.name!r} is no name of cells")
    _require(cells.count, 1, "the number of cells")
    _require(cells.file.size, 1, "the size of the centroids")
    _require_sha256(cells.file.sha256, "the centroids")
    return cells


def _segment(entry: Any) -> Segment:
    entry = {**entry, "files": {name: FileRecord(**file) for name, file in entry["files"].items()}}
    segment = Segment(**entry)
    if not _NAME.fullmatch(segment.name):
        raise ValueError(f"{segment.name!r} is no name of a segment")
    if set(segment.files) - {segment.cells} != {VECTORS, ROWS}:
        raise ValueError(f"segment {segment.name} has the files {sorted(segment.files)}")
    _require(segment.rows, 1, "rows")
    for name, file in segment.files.items():
        _require(file.size, 1, f"the size of {name}")
        _require_sha256(file.sha256, name)
    for text in (segment.dataset, segment.data, segment.data_sha256):
        if not isinstance(text, str) or not text.isprintable():
            raise TypeError(f"segment {segment.name} names its data {text!r}")
    return segment


def _require(value: Any, least: int, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{what} is {value!r}")


def _require_sha256(value: Any, what: str) -> None:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"the sha256 of {what} is {value!r}")
