"""Shards: plain WebDataset tars whose bytes depend on nothing but the samples, and the index rows that locate them.

Members of one sample stand side by side as `{key}.jpg|png`, `{key}.json`, `{key}.mask.png`, `{key}.parts.png` and
`{key}.amodal.png`; times, owners and modes are fixed, JSON is canonical, so equal samples give an equal sha256 on any
machine. Every shard is read back and compared before it is handed on: what a disk or a bug lost is found here and not
by an epoch that is short.
Trade-off: the index is taken while writing, so nobody lists tars; a shard made by other tools has to be packed again.
Source: POSIX.1-1988 (ustar); WebDataset's naming convention (first dot splits key from suffix).
"""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resight.datasets.decode import image_size, kind_of
from resight.datasets.records import INDEX_SCHEMA, SCHEMA_VERSION, Annotations, Record, Sample, Table
from resight.datasets.write_behind import read_back, writing_behind

__all__ = [
    "MAX_BYTES",
    "MAX_SAMPLES",
    "SHARD_FORMAT",
    "ShardFiles",
    "check_key",
    "cut_shards",
    "rows_key",
    "shard_files",
    "shard_key",
    "write_rows",
    "write_shard",
]

_T = TypeVar("_T")

MAX_BYTES: Final = 256 << 20
MAX_SAMPLES: Final = 10_000

SHARD_FORMAT: Final = "shard-1"
"""Version of the bytes that `write_shard` makes: part of the fingerprint of every work that writes shards."""

_HEADER: Final = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)
"""The standard library's header of a member: mode 0644, and no time, owner or anything else of this machine."""
_OWNERS, _TIME, _REST = _HEADER[100:124], _HEADER[136:148], _HEADER[155:]
"""What lies between name, size and checksum in every header, and after them."""
_HEADER_SUM: Final = sum(_OWNERS) + sum(_TIME) + sum(b" " * 7) + sum(_REST)
"""Of the bytes that never change; the checksum itself counts as blanks."""

_JSON: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_NOWHERE: Final = (None, None)
_END: Final = bytes(2 * tarfile.BLOCKSIZE)
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,90}")


class ShardFiles(NamedTuple):
    """A finished shard.

    Attributes:
        files: storage key -> finished file: what a pool's work publishes.
        table: the rows.
        read_back: storage key of the tar -> its sha256 and bytes, as they were read back (`Made.read_back`).
    """

    files: dict[str, Path]
    table: Table
    read_back: dict[str, tuple[str, int]]


def shard_key(shard: str) -> str:
    """Return the storage key of a shard's tar."""
    return f"shards/{shard}.tar"


def rows_key(shard: str) -> str:
    """Return the storage key of a shard's part of the index."""
    return f"rows/{shard}.parquet"


def check_key(key: str) -> None:
    """Raise ValueError unless `key` can be a sample's key."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"sample key {key!r} must match {_KEY.pattern}")


def cut_shards(
    items: Iterable[_T], size_of: Callable[[_T], int], *, max_bytes: int = MAX_BYTES, max_samples: int = MAX_SAMPLES
) -> Iterator[list[_T]]:
    """Cut samples, in their order, into contiguous shards; a pure function of its arguments.

    Args:
        items: what stands for the samples; gone through once, one shard's worth kept.
        size_of: bytes of a sample.
        max_bytes: a shard is closed before it would exceed this, unless one sample alone does.
        max_samples: and when it holds this many.
    """
    chunk: list[_T] = []
    held = 0
    for item in items:
        size = size_of(item)
        if chunk and (held + size > max_bytes or len(chunk) >= max_samples):
            yield chunk
            chunk, held = [], 0
        chunk.append(item)
        held += size
    if chunk:
        yield chunk


def write_shard(samples: Iterable[Sample], path: Path, *, shard: str) -> Table:
    """Write one shard, flush it to disk and read it back.

    Args:
        samples: at least one; keys are unique and every image is a JPEG or PNG as its suffix says.
        path: the tar to make (in scratch space; a failed write leaves it behind).
        shard: the shard's name, e.g. "train-000003", for the index.

    Returns:
        One row a sample with INDEX_SCHEMA, in the order given.

    Raises:
        ValueError: for a sample that breaks these rules, naming its key.
        OSError: when what was read back is not what was written.
    """
    return _write(samples, path, shard)[0]


def _write(samples: Iterable[Sample], path: Path, shard: str) -> tuple[Table, tuple[str, int]]:
    """As `write_shard`; also returns sha256 and size of the tar, of what was read back."""
    rows: list[tuple[Any, ...]] = []
    seen: set[str] = set()
    at = 0
    with writing_behind(path) as file:
        for sample in samples:
            _check_new(sample.record.key, seen, shard)
            pieces, end, row = _packed(sample, shard, at)
            file.write(pieces, end - at)
            rows.append(row)
            at = end
        if not rows:
            raise ValueError(f"shard {shard!r} has no samples")
        file.write([_END], len(_END))
    found = read_back(path, file.blocks)
    columns = zip(zip(*rows, strict=True), INDEX_SCHEMA, strict=True)
    arrays = [pa.array(values, field.type) for values, field in columns]
    return pa.Table.from_arrays(arrays, schema=INDEX_SCHEMA), found


def write_rows(table: Table, path: Path) -> None:
    """Write index rows as Parquet, marked with the schema's version, and flush them to disk."""
    marked = table.replace_schema_metadata({"resight_schema": str(SCHEMA_VERSION)})
    with path.open("wb") as file:
        pq.write_table(marked, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())


def shard_files(samples: Iterable[Sample], scratch: Path, *, shard: str) -> ShardFiles:
    """Write a shard and its index rows into `scratch`."""
    tar, rows = scratch / f"{shard}.tar", scratch / f"{shard}.parquet"
    table, read_back = _write(samples, tar, shard)
    write_rows(table, rows)
    return ShardFiles({shard_key(shard): tar, rows_key(shard): rows}, table, {shard_key(shard): read_back})


def _check_new(key: str, seen: set[str], shard: str) -> None:
    check_key(key)
    if key in seen:
        raise ValueError(f"sample key {key!r} occurs twice in shard {shard!r}")
    seen.add(key)


def _packed(sample: Sample, shard: str, start: int) -> tuple[list[bytes], int, tuple[Any, ...]]:
    """Return the members of a sample, in pieces, that will stand from byte `start`, where they end, and its row."""
    record, more = sample.record, sample.annotations
    try:
        height, width = _size(sample)
        keypoints, betas = _flat(more.keypoints, (17, 3)), _flat(more.betas, (10,))
    except ValueError as error:
        raise ValueError(f"sample {record.key!r}: {error}") from error
    pieces: list[bytes] = []
    spans: dict[str, tuple[int, int]] = {}
    at = start
    for column, name, data in _members(sample):
        size = len(data)
        padding = -size % tarfile.BLOCKSIZE
        pieces += (_header(name, size), data, bytes(padding))
        at += tarfile.BLOCKSIZE
        spans[column] = at, size
        at += size + padding
    row = (
        record.key,
        record.dataset,
        record.split,
        record.role,
        record.pid,
        record.camid,
        record.viewid,
        record.outfit,
        record.tracklet,
        record.frame,
        record.origin,
        shard,
        hashlib.sha256(sample.image).hexdigest(),
        height,
        width,
        *spans["image"],
        *spans.get("mask", _NOWHERE),
        *spans.get("parts", _NOWHERE),
        keypoints,
        betas,
    )
    return pieces, at, row


def _members(sample: Sample) -> Iterator[tuple[str, str, bytes]]:
    """Yield (what it is, member name, bytes) in the fixed order."""
    key, more = sample.record.key, sample.annotations
    yield "image", f"{key}.{sample.suffix}", sample.image
    yield "json", f"{key}.json", _json(sample)
    if more.mask is not None:
        yield "mask", f"{key}.mask.png", more.mask
    if more.parts is not None:
        yield "parts", f"{key}.parts.png", more.parts
    if more.amodal is not None:
        yield "", f"{key}.amodal.png", more.amodal


def _header(name: str, size: int) -> bytes:
    """Return what `TarInfo.tobuf` would (a test holds them equal), at a tenth of its time: most of it never changes."""
    letters, digits = name.encode("ascii"), b"%011o\0" % size
    check = b"%06o\0" % (_HEADER_SUM + sum(letters) + sum(digits))
    return b"".join((letters.ljust(100, b"\0"), _OWNERS, digits, _TIME, check, _REST))


def _size(sample: Sample) -> tuple[int, int]:
    if sample.size is not None:
        return sample.size
    if kind_of(sample.image) != sample.suffix:
        raise ValueError(f"the image is not of the kind {sample.suffix!r} that its suffix says")
    return image_size(sample.image)


def _flat(array: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if array is None:
        return None
    if array.shape != shape:
        raise ValueError(f"annotation of shape {array.shape}, expected {shape}")
    return array.astype(np.float32).ravel()


def _json(sample: Sample) -> bytes:
    """Return the canonical JSON of everything known about a sample that is not an image."""
    known = _known(sample.annotations)
    text = _JSON.encode(vars(sample.record) | known) if known else _record_json(sample.record)
    return text.encode("ascii")


def _record_json(record: Record) -> str:
    """Return what the encoder would (a test holds them equal), in a third of its time: nearly all samples are this."""
    text = encode_basestring_ascii  # what the encoder itself asks for a string, without its detour
    return (
        f'{{"camid":{record.camid},"dataset":{text(record.dataset)},"frame":{record.frame},"key":{text(record.key)},'
        f'"origin":{text(record.origin)},"outfit":{record.outfit},"pid":{record.pid},"role":{text(record.role)},'
        f'"split":{text(record.split)},"tracklet":{record.tracklet},"viewid":{record.viewid}}}'
    )


def _known(more: Annotations) -> dict[str, Any]:
    arrays = {"keypoints": more.keypoints, "betas": more.betas, "pose": more.pose}
    known: dict[str, Any] = {name: _numbers(array) for name, array in arrays.items() if array is not None}
    if more.hidden is not None:
        known["hidden"] = float(more.hidden)
    if more.words:
        known["words"] = list(more.words)
    if more.measurements:
        known["measurements"] = {name: float(value) for name, value in more.measurements.items()}
    return known


def _numbers(array: np.ndarray) -> list[Any]:
    """Return float32 numbers as the shortest decimals that read back equal: 0.1, not 0.10000000149011612."""
    return array.astype(np.float32).astype(str).astype(np.float64).tolist()
