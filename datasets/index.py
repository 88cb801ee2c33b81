"""The index: one row a sample, as numpy columns over an Arrow table.

Everything that chooses images (samplers, protocols, filters, pseudo labels) works on these columns; nobody lists tars.
Columns are made on first use and cached; lists of numbers come as plain arrays with NaN where there is no annotation.
Trade-off: the whole index is in memory, about 300 bytes a sample, so 4 million samples cost 1.2 GB.
Source: design of this project.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from resight.cluster.errors import UserError
from resight.datasets.records import INDEX_SCHEMA, SCHEMA_VERSION, Table

__all__ = ["Index", "load_index", "read_rows", "repeated_keys"]

_AGAIN = "make the data set again"


class Index:
    """Numpy columns of N samples, in shard order. Arrays are shared and must not be written to.

    Args:
        table: rows with INDEX_SCHEMA and unique keys (`load_index` checks both).
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def __len__(self) -> int:
        """Return N."""
        return self.table.num_rows

    def select(
        self, *, split: str | Sequence[str] | None = None, role: str | Sequence[str] | None = None
    ) -> Int64[np.ndarray, "n"]:
        """Return the row numbers, ascending, of the given split or splits and role or roles (None: all)."""
        keep = np.ones(len(self), bool)
        for column, wanted in ((self.split, split), (self.role, role)):
            if wanted is not None:
                keep &= np.isin(column, [wanted] if isinstance(wanted, str) else list(wanted))
        return np.flatnonzero(keep).astype(np.int64)

    def row_of(self, key: str) -> int:
        """Return the row number of a key; UserError when there is none."""
        if key not in self._rows:
            raise UserError(f"no sample has the key {key!r}", cure="list the keys of the data set's index")
        return self._rows[key]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that occur, in their usual order."""
        order = {name: i for i, name in enumerate(("train", "val", "query", "gallery"))}
        return tuple(sorted({str(name) for name in np.unique(self.split)}, key=lambda name: (order.get(name, 9), name)))

    @cached_property
    def key(self) -> np.ndarray:
        """(N,) str objects."""
        return self._objects("key")

    @cached_property
    def origin(self) -> np.ndarray:
        """(N,) str objects."""
        return self._objects("origin")

    @cached_property
    def sha256(self) -> np.ndarray:
        """(N,) str objects: checksum of the encoded image."""
        return self._objects("sha256")

    @cached_property
    def split(self) -> np.ndarray:
        """(N,) fixed-width str: train, val, query or gallery."""
        return self._words("split")

    @cached_property
    def role(self) -> np.ndarray:
        """(N,) fixed-width str: person, distractor or junk."""
        return self._words("role")

    @cached_property
    def dataset(self) -> np.ndarray:
        """(N,) fixed-width str: name of the data set the crop came from."""
        return self._words("dataset")

    @cached_property
    def shard(self) -> np.ndarray:
        """(N,) fixed-width str: name of the shard."""
        return self._words("shard")

    @cached_property
    def shard_number(self) -> Int64[np.ndarray, "N"]:
        """The shard as a number, in order of first appearance: cheaper than its name for millions of rows."""
        column = self.table.column("shard").unify_dictionaries().combine_chunks()
        codes = _plain(column.indices.cast(pa.int64()))
        found, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        ranks = np.empty(len(found), np.int64)
        ranks[np.argsort(first)] = np.arange(len(found))
        return ranks[inverse]

    @cached_property
    def pid(self) -> Int64[np.ndarray, "N"]:
        """Identity, -1 when unknown."""
        return self._numbers("pid")

    @cached_property
    def camid(self) -> Int64[np.ndarray, "N"]:
        """Camera, -1 when unknown."""
        return self._numbers("camid")

    @cached_property
    def viewid(self) -> Int64[np.ndarray, "N"]:
        """Viewpoint, -1 when unknown."""
        return self._numbers("viewid")

    @cached_property
    def outfit(self) -> Int64[np.ndarray, "N"]:
        """Clothes of an identity, unique over the data set, -1 when unknown."""
        return self._numbers("outfit")

    @cached_property
    def tracklet(self) -> Int64[np.ndarray, "N"]:
        """Track, -1 when unknown."""
        return self._numbers("tracklet")

    @cached_property
    def frame(self) -> Int64[np.ndarray, "N"]:
        """Position in time, -1 when unknown."""
        return self._numbers("frame")

    @cached_property
    def height(self) -> Int64[np.ndarray, "N"]:
        """Pixels."""
        return self._numbers("height")

    @cached_property
    def width(self) -> Int64[np.ndarray, "N"]:
        """Pixels."""
        return self._numbers("width")

    def spans(self, member: str) -> tuple[Int64[np.ndarray, "N"], Int64[np.ndarray, "N"]]:
        """Return (offset, size) in bytes of a member (image, mask or parts) in its shard; -1 where there is none."""
        if member not in self._spans:
            self._spans[member] = (self._numbers(f"{member}_offset"), self._numbers(f"{member}_size"))
        return self._spans[member]

    @cached_property
    def keypoints(self) -> Float32[np.ndarray, "N 17 3"]:
        """x, y in pixels and visibility; NaN where there are none."""
        return self._lists("keypoints", 51).reshape(-1, 17, 3)

    @cached_property
    def betas(self) -> Float32[np.ndarray, "N 10"]:
        """Shape coefficients in standard deviations; NaN where there are none."""
        return self._lists("betas", 10)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.key)}

    @cached_property
    def _spans(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {}

    def _column(self, name: str) -> Any:
        return self.table.column(name).combine_chunks()

    def _objects(self, name: str) -> np.ndarray:
        out = np.empty(len(self), object)
        out[:] = self._column(name).to_pylist()
        return out

    def _words(self, name: str) -> np.ndarray:
        column = self._column(name).cast(pa.string())
        return np.asarray(column.to_pylist(), dtype=str)

    def _numbers(self, name: str) -> np.ndarray:
        return _plain(pc.fill_null(self._column(name).cast(pa.int64()), -1))

    def _lists(self, name: str, length: int) -> np.ndarray:
        column = self._column(name)
        there = _plain(column.is_valid().cast(pa.uint8())) == 1
        out = np.full((len(self), length), np.nan, np.float32)
        if (_plain(column.drop_null().value_lengths()) != length).any():
            raise UserError(f"the index column {name!r} must hold {length} numbers a row or none", cure=_AGAIN)
        out[there] = _plain(column.flatten()).reshape(-1, length)
        return out


def _plain(array: Any) -> np.ndarray:
    """Return an Arrow array of numbers without nulls as numpy, uncopied; `to_numpy` would import pandas, a second."""
    return np.from_dlpack(array)


def load_index(path: Path) -> Index:
    """Read and check `index.parquet`.

    Raises:
        UserError: for a truncated file, missing or mistyped columns, duplicate keys, a newer schema.
    """
    table = read_rows(path)
    if twice := repeated_keys(table):
        problem = f"{len(twice)} keys occur more than once, e.g. {twice[0]!r}"
        raise UserError(problem, where=str(path), cure=_AGAIN)
    return Index(table)


def repeated_keys(table: Table) -> list[str]:
    """Return the keys that occur more than once in some rows."""
    counted = table.column("key").combine_chunks().value_counts()
    many = np.flatnonzero(_plain(counted.field("counts")) > 1)
    return [str(counted.field("values")[i]) for i in many.tolist()]


def read_rows(path: Path) -> Table:
    """Read index rows (the index or one shard's part of it) with exactly INDEX_SCHEMA; UserError when they are not."""
    try:
        with pq.ParquetFile(path) as file:  # read_table would import pyarrow.dataset: 1.5 s for nothing
            table = file.read()
    except (pa.ArrowInvalid, OSError) as error:
        problem = f"the index cannot be read: {str(error).splitlines()[0]}"
        raise UserError(problem, where=str(path), cure=f"copy the file again, or {_AGAIN}") from error
    _check_version(table.schema, path)
    missing = [name for name in INDEX_SCHEMA.names if name not in table.column_names]
    if missing:
        raise UserError(f"the index lacks the columns {', '.join(missing)}", where=str(path), cure=_AGAIN)
    try:
        return table.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise UserError(f"an index column has the wrong type: {error}", where=str(path), cure=_AGAIN) from error


def _check_version(schema: Any, path: Path) -> None:
    text = (schema.metadata or {}).get(b"resight_schema", b"none").decode()
    if not text.isdigit() or int(text) > SCHEMA_VERSION:
        problem = f"index schema version {text} is not known (newest known: {SCHEMA_VERSION})"
        raise UserError(problem, where=str(path), cure=f"update resight, or {_AGAIN} with this version")
