"""Writing, opening and checking one segment of a gallery index: vectors of unit length, mapped, and a row for each.

Opening compares sizes, which costs nothing and finds what was torn; `check_segment` compares every byte. In an index
with cells each vector has the number of its cell, in a file of its own: new cells leave the vectors where they are.
Source: design of this project. Trade-off: rows are read whole, about 60 bytes an image; vectors only as they are used.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Int32, Int64

from resight.cluster.scratch import scratch_folder
from resight.cluster.storage import Storage
from resight.datasets.records import Table
from resight.trainers.gallery.arrays import check_file, check_size, damaged, map_array, record
from resight.trainers.gallery.manifest import ROWS, VECTORS, Segment, cells_name, segment_key

__all__ = ["OpenSegment", "Part", "check_segment", "open_segment", "remaining", "write_segment"]

BLOCK_ROWS: Final = 16384
_SCHEMA: Final = pa.schema([("key", pa.string()), ("pid", pa.int64()), ("camid", pa.int64())])


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some images on their way into a segment.

    Attributes:
        key: (n,) str objects.
        pid: (n,) identities.
        camid: (n,) cameras.
        vectors: (n, D), of unit length.
        cells: (n,) the cell of each vector; None in an index without cells.
    """

    key: np.ndarray
    pid: Int64[np.ndarray, " n"]
    camid: Int64[np.ndarray, " n"]
    vectors: Float32[np.ndarray, "n d"]
    cells: Int32[np.ndarray, " n"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenSegment:
    """A segment, its vectors mapped from the file.

    Attributes:
        segment: what the manifest says of it.
        key: (n,) str objects.
        pid: (n,) identities.
        camid: (n,) cameras.
        vectors: (n, D), read-only.
        cells: (n,) the cell of each vector; None in an index without cells.
    """

    segment: Segment
    key: np.ndarray
    pid: Int64[np.ndarray, " n"]
    camid: Int64[np.ndarray, " n"]
    vectors: Float32[np.ndarray, "n d"]
    cells: Int32[np.ndarray, " n"] | None = None


def write_segment(storage: Storage, parts: Iterable[Part], *, like: Segment, dim: int) -> Segment:
    """Publish a segment.

    Args:
        storage: the index.
        parts: its images; `like.rows` in all. All of them have cells, or none.
        like: its name, number of rows and data set.
        dim: length of a vector.

    Returns:
        `like` with the files' records.
    """
    with scratch_folder() as scratch:
        vectors: Any = np.lib.format.open_memmap(scratch / VECTORS, "w+", np.float32, (like.rows, dim))
        tables: list[Table] = []
        cells: list[np.ndarray] = []
        done = 0
        for part in parts:
            vectors[done : done + len(part.key)] = part.vectors
            done += len(part.key)
            cells += [] if part.cells is None else [part.cells]
            columns = {"key": part.key.tolist(), "pid": part.pid, "camid": part.camid}
            tables.append(pa.table(columns, schema=_SCHEMA))
        assert done == like.rows, f"{done} rows were given, {like.rows} announced"
        vectors.flush()
        pq.write_table(pa.concat_tables(tables), scratch / ROWS, compression="zstd", write_page_checksum=True)
        names = [VECTORS, ROWS]
        if cells:
            names.append(cells_name(int(like.name)))
            np.save(scratch / names[-1], np.concatenate(cells), allow_pickle=False)
        files = {name: record(scratch / name) for name in names}
        for name in files:
            storage.publish_file(scratch / name, segment_key(like.name, name))
    return replace(like, files=files)


def open_segment(storage: Storage, segment: Segment, *, dim: int, cells: int) -> OpenSegment:
    """Open a segment for reading.

    Args:
        storage: the index.
        segment: which.
        dim: length of a vector.
        cells: how many cells the index has; 0 for none.

    Raises:
        UserError: for a file that is missing, of another size, or not what the manifest promises.
        FileNotFoundError: when the files went while they were opened, as a change of the index does.
    """
    for name, file in segment.files.items():
        check_size(storage, segment_key(segment.name, name), file)
    vectors = map_array(storage, segment_key(segment.name, VECTORS), np.float32, (segment.rows, dim))
    rows = _read_rows(storage, segment)
    key = np.empty(segment.rows, object)
    key[:] = rows.column("key").to_pylist()
    pid, camid = (np.from_dlpack(rows.column(name).combine_chunks()) for name in ("pid", "camid"))
    where = _cells_of(storage, segment, cells) if cells else None
    return OpenSegment(segment=segment, key=key, pid=pid, camid=camid, vectors=vectors, cells=where)


def check_segment(storage: Storage, segment: Segment) -> list[str]:
    """Compare a segment's files with their sha256; return what is wrong, in words."""
    found = (check_file(storage, segment_key(segment.name, name), file) for name, file in segment.files.items())
    return [fault for faults in found for fault in faults]


def remaining(opened: OpenSegment, keep: Bool[np.ndarray, " n"]) -> Iterable[Part]:
    """Yield what is left of a segment, a block at a time."""
    for first in range(0, len(keep), BLOCK_ROWS):
        rows = first + np.flatnonzero(keep[first : first + BLOCK_ROWS])
        if len(rows):
            yield Part(
                key=opened.key[rows],
                pid=opened.pid[rows],
                camid=opened.camid[rows],
                vectors=np.ascontiguousarray(opened.vectors[rows]),
                cells=None if opened.cells is None else opened.cells[rows],
            )


def _cells_of(storage: Storage, segment: Segment, count: int) -> Int32[np.ndarray, " n"]:
    assert segment.cells is not None, "the manifest was checked"
    key = segment_key(segment.name, segment.cells)
    cells = map_array(storage, key, np.int32, (segment.rows,))
    if cells.min() < 0 or cells.max() >= count:
        raise damaged(storage, key, f"names cells outside of the {count:,} that the index has")
    return cells


def _read_rows(storage: Storage, segment: Segment) -> Table:
    path = storage.local(segment_key(segment.name, ROWS))
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if file.metadata.num_rows != segment.rows:
                raise ValueError(f"it holds {file.metadata.num_rows} rows, not {segment.rows}")
            table = file.read(columns=_SCHEMA.names).select(_SCHEMA.names).cast(_SCHEMA)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise damaged(
            storage, segment_key(segment.name, ROWS), f"cannot be read: {str(error).splitlines()[0]}"
        ) from error
    if any(table.column(name).null_count for name in _SCHEMA.names):
        raise damaged(storage, segment_key(segment.name, ROWS), "has rows without a value")
    return table
