"""Writing, opening and checking one segment of a gallery index: vectors of unit length, mapped, and a row for each.

Opening compares sizes, which costs nothing and finds what was torn; `check_segment` compares every byte. Arrays are
read without pickle, and only of the one type and shape that the manifest promises.
Source: design of this project. Trade-off: rows are read whole, about 60 bytes an image; vectors only as they are used.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Int64

from resight.cluster.commits import FileRecord
from resight.cluster.errors import UserError
from resight.cluster.scratch import scratch_folder
from resight.cluster.storage import Storage
from resight.datasets.records import Table
from resight.trainers.gallery.manifest import ROWS, VECTORS, Segment, segment_key

__all__ = ["OpenSegment", "Part", "check_segment", "open_segment", "remaining", "write_segment"]

BLOCK_ROWS: Final = 16384
_SCHEMA: Final = pa.schema([("key", pa.string()), ("pid", pa.int64()), ("camid", pa.int64())])
_CURE: Final = "copy the index again, or make it again from its feature files; `resight index --check` checks all of it"


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some images on their way into a segment.

    Attributes:
        key: (n,) str objects.
        pid: (n,) identities.
        camid: (n,) cameras.
        vectors: (n, D), of unit length.
    """

    key: np.ndarray
    pid: Int64[np.ndarray, " n"]
    camid: Int64[np.ndarray, " n"]
    vectors: Float32[np.ndarray, "n d"]


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenSegment:
    """A segment, its vectors mapped from the file.

    Attributes:
        segment: what the manifest says of it.
        key: (n,) str objects.
        pid: (n,) identities.
        camid: (n,) cameras.
        vectors: (n, D), read-only.
    """

    segment: Segment
    key: np.ndarray
    pid: Int64[np.ndarray, " n"]
    camid: Int64[np.ndarray, " n"]
    vectors: Float32[np.ndarray, "n d"]


def write_segment(storage: Storage, parts: Iterable[Part], *, like: Segment, dim: int) -> Segment:
    """Publish a segment.

    Args:
        storage: the index.
        parts: its images; `like.rows` in all.
        like: its name, number of rows and data set.
        dim: length of a vector.

    Returns:
        `like` with the files' records.
    """
    with scratch_folder() as scratch:
        vectors: Any = np.lib.format.open_memmap(scratch / VECTORS, "w+", np.float32, (like.rows, dim))
        tables: list[Table] = []
        done = 0
        for part in parts:
            vectors[done : done + len(part.key)] = part.vectors
            done += len(part.key)
            columns = {"key": part.key.tolist(), "pid": part.pid, "camid": part.camid}
            tables.append(pa.table(columns, schema=_SCHEMA))
        assert done == like.rows, f"{done} rows were given, {like.rows} announced"
        vectors.flush()
        pq.write_table(pa.concat_tables(tables), scratch / ROWS, compression="zstd", write_page_checksum=True)
        files = {name: _record(scratch / name) for name in (VECTORS, ROWS)}
        for name in files:
            storage.publish_file(scratch / name, segment_key(like.name, name))
    return Segment(
        name=like.name,
        rows=like.rows,
        dataset=like.dataset,
        data=like.data,
        data_sha256=like.data_sha256,
        files=files,
    )


def open_segment(storage: Storage, segment: Segment, *, dim: int) -> OpenSegment:
    """Open a segment for reading.

    Raises:
        UserError: for a file that is missing, of another size, or not what the manifest promises.
        FileNotFoundError: when the files went while they were opened, as a change of the index does.
    """
    for name, file in segment.files.items():
        found = storage.size(segment_key(segment.name, name))
        if found != file.size:
            raise _damaged(storage, segment, name, f"has {found:,} bytes in place of {file.size:,}")
    vectors = _map(storage, segment, dim)
    rows = _read_rows(storage, segment)
    key = np.empty(segment.rows, object)
    key[:] = rows.column("key").to_pylist()
    pid, camid = (np.from_dlpack(rows.column(name).combine_chunks()) for name in ("pid", "camid"))
    return OpenSegment(segment=segment, key=key, pid=pid, camid=camid, vectors=vectors)


def check_segment(storage: Storage, segment: Segment) -> list[str]:
    """Compare a segment's files with their sha256; return what is wrong, in words."""
    wrong: list[str] = []
    for name, file in segment.files.items():
        key = segment_key(segment.name, name)
        if not storage.exists(key):
            wrong.append(f"{key} is missing")
            continue
        digest = hashlib.sha256()
        for piece in storage.chunks(key):
            digest.update(piece)
        if digest.hexdigest() != file.sha256:
            wrong.append(f"{key} is not what was written")
    return wrong


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
            )


def _map(storage: Storage, segment: Segment, dim: int) -> np.ndarray:
    path = storage.local(segment_key(segment.name, VECTORS))
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _damaged(storage, segment, VECTORS, f"is no array: {str(error).splitlines()[0]}") from error
    kind = (getattr(vectors, "dtype", None), getattr(vectors, "shape", None))
    if kind != (np.float32, (segment.rows, dim)) or not vectors.flags.c_contiguous:
        raise _damaged(storage, segment, VECTORS, f"holds {kind[0]} {kind[1]}, not float32 {(segment.rows, dim)}")
    return vectors


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
        raise _damaged(storage, segment, ROWS, f"cannot be read: {str(error).splitlines()[0]}") from error
    if any(table.column(name).null_count for name in _SCHEMA.names):
        raise _damaged(storage, segment, ROWS, "has rows without a value")
    return table


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=path.stat().st_size)


def _damaged(storage: Storage, segment: Segment, name: str, what: str) -> UserError:
    return UserError(
        f"a file of the index is damaged: {segment_key(segment.name, name)} {what}", where=storage.url, cure=_CURE
    )
