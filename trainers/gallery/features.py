"""The features of a data set as one Parquet file: a row an image, and in its metadata where they came from.

Columns: key, split, role, pid, camid, outfit, tracklet, frame, and feature, a list of D float32 of fixed length. Pages
carry checksums, so a damaged file is an error and not another ranking. The metadata key `resight_features` holds JSON:
the network (checkpoint, sha256 of its weights, fingerprint of its configuration, D) and the data (name, path, sha256).
Source: design of this project. Trade-off: vectors are not compressed, because random bits do not shrink.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from resight.cluster.errors import UserError
from resight.datasets.index import Index
from resight.datasets.records import Table
from resight.trainers.gallery.provenance import Model

__all__ = ["FeatureCard", "Features", "iterate_features", "make_table", "read_card", "write_features"]

FORMAT: Final = 1
_META: Final = b"resight_features"
_WORDS: Final = ("split", "role")
_NUMBERS: Final = ("pid", "camid", "outfit", "tracklet", "frame")
_READ: Final = ("key", "role", "pid", "camid", "feature")
_AGAIN: Final = "make it again with `resight embed`"


@dataclass(frozen=True, kw_only=True)
class FeatureCard:
    """Where features came from.

    Attributes:
        model: the network.
        dataset: the data set's name.
        data: where it lay, an absolute path.
        data_sha256: of its images, as `DatasetCard.sha256`.
        splits: whose images were embedded.
        rows: how many images.
        format: version of the file's layout.
    """

    model: Model
    dataset: str
    data: str
    data_sha256: str
    splits: tuple[str, ...]
    rows: int
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Some rows of a file.

    Attributes:
        key: (n,) str objects.
        role: (n,) str objects: person, distractor or junk.
        pid: (n,) identities, -1 when unknown.
        camid: (n,) cameras, -1 when unknown.
        feature: (n, D) as the network gave them.
    """

    key: np.ndarray
    role: np.ndarray
    pid: Int64[np.ndarray, " n"]
    camid: Int64[np.ndarray, " n"]
    feature: Float32[np.ndarray, "n d"]


def make_table(index: Index, rows: Int64[np.ndarray, " n"], feature: Float32[np.ndarray, "n d"]) -> Table:
    """Return rows of a data set's index with their features."""
    columns: dict[str, Any] = {"key": pa.array(index.key[rows].tolist(), pa.string())}
    columns |= {name: pa.array(getattr(index, name)[rows].tolist()).dictionary_encode() for name in _WORDS}
    columns |= {name: pa.array(getattr(index, name)[rows]) for name in _NUMBERS}
    flat = pa.array(np.ascontiguousarray(feature).reshape(-1))
    return pa.table({**columns, "feature": pa.FixedSizeListArray.from_arrays(flat, feature.shape[1])})


def write_features(path: Path, tables: Iterable[Table], card: FeatureCard | None = None) -> None:
    """Write tables of `make_table` one after the other, a row group each; without a card it is a part of a file."""
    writer: Any = None
    meta = {} if card is None else {_META: json.dumps(asdict(card), sort_keys=True)}
    for table in tables:
        marked = table.replace_schema_metadata(meta)
        if writer is None:
            writer = _writer(path, marked)
        writer.write_table(marked, row_group_size=max(1, table.num_rows))
    assert writer is not None, "the caller has rows"
    writer.close()


def read_card(path: Path) -> FeatureCard:
    """Return where a file's features came from.

    Raises:
        UserError: for what is not such a file, a torn one, or one of a newer version.
    """
    with _opened(path) as file:
        text = (file.schema_arrow.metadata or {}).get(_META)
        rows = file.metadata.num_rows
        kind = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True)).get("feature")
    if text is None:
        raise UserError("this Parquet file holds no features of `resight embed`", where=str(path), cure=_AGAIN)
    try:
        values = json.loads(text)
        if values["format"] > FORMAT:
            cure = f"update resight, or {_AGAIN}"
            raise UserError(f"features of a newer version, {values['format']}", where=str(path), cure=cure)
        values |= {"model": Model(**values["model"]), "splits": tuple(values["splits"])}
        card = FeatureCard(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"what the file says of itself cannot be read: {error}", where=str(path), cure=_AGAIN
        ) from error
    if rows != card.rows or kind != pa.list_(pa.field("element", pa.float32()), card.model.dim):
        problem = f"the file holds {rows} rows of {kind}, and says {card.rows} of {card.model.dim} numbers"
        raise UserError(problem, where=str(path), cure=_AGAIN)
    return card


def iterate_features(path: Path) -> Iterator[Features]:
    """Yield a file's rows, a row group at a time; UserError for damaged pages and missing columns or values."""
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            try:
                rows = _features(file.read_row_group(group, columns=list(_READ)))
            except (pa.ArrowException, OSError, KeyError, ValueError) as error:
                problem = f"row group {group} cannot be read: {str(error).splitlines()[0]}"
                raise UserError(problem, where=str(path), cure=f"copy the file again, or {_AGAIN}") from error
            yield rows


def _writer(path: Path, table: Table) -> Any:
    settings: dict[str, Any] = {
        "compression": {name: "zstd" for name in table.column_names if name != "feature"},
        "use_dictionary": list(_WORDS),
        "write_page_checksum": True,
    }
    return pq.ParquetWriter(path, table.schema, **settings)


def _features(table: Table) -> Features:
    for name in _READ:
        if table.column(name).null_count:
            raise ValueError(f"the column {name!r} has rows without a value")
    feature = table.column("feature").combine_chunks()
    return Features(
        key=_objects(table.column("key").to_pylist()),
        role=_objects(table.column("role").to_pylist()),
        pid=_numbers(table, "pid"),
        camid=_numbers(table, "camid"),
        feature=np.from_dlpack(feature.flatten()).reshape(len(feature), feature.type.list_size),
    )


def _numbers(table: Table, name: str) -> Int64[np.ndarray, " n"]:
    return np.from_dlpack(table.column(name).cast(pa.int64()).combine_chunks())


def _objects(values: list[str]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def _opened(path: Path) -> Any:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        problem = f"the features cannot be read: {str(error).splitlines()[0]}"
        raise UserError(problem, where=str(path), cure=f"check the path, copy the file again, or {_AGAIN}") from error
