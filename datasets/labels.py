"""Label columns: one integer for every sample of a data set, immutable and named by its content.

Pseudo labels change every epoch, so they are no part of the index. A column says which data it belongs to, is
published atomically as `labels/VERSION.parquet` and then `labels/VERSION.json`, and never changes: new labels are a new
column.
Its version is a hash of the data's identity, the keys and the labels, so that the same clustering found twice is the
same column, and a plan that was made from a version can be made again from it. Who made a column is noted beside it
and no part of the version. Trade-off: all keys are stored again, about 10 bytes a sample after compression; in return a
column cannot be put on the wrong rows unnoticed. Source: design of this project; content addresses as in Git.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.datasets.dataset import Dataset

__all__ = ["LabelColumn", "label_column", "load_labels", "publish_labels"]

_FORMAT: Final = 1
_CURE: Final = "make the labels again"


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelColumn:
    """A label for every row of a data set; make one with `label_column`.

    Attributes:
        dataset: the data set's name.
        data_sha256: identity of its data, `DatasetCard.sha256`.
        labels: (N,) in the index's order; -1 for an outlier or a sample without label.
        version: sha256 over data, keys and labels.
        made_by: JSON-able, how it was made.
    """

    dataset: str
    data_sha256: str
    labels: Int64[np.ndarray, " N"]
    version: str
    made_by: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def num_classes(self) -> int:
        """How many different labels there are."""
        return len(np.unique(self.labels[self.labels >= 0]))


def label_column(
    dataset: Dataset,
    rows: Int64[np.ndarray, " n"],
    labels: Int64[np.ndarray, " n"],
    *,
    made_by: Mapping[str, Any] | None = None,
) -> LabelColumn:
    """Make a column; rows that are not named have no label.

    Args:
        dataset: what is labelled.
        rows: rows of its index, each at most once.
        labels: one a row, >= 0, or -1 for an outlier.
        made_by: JSON-able, how the labels were made.

    Raises:
        UserError: for labels below -1 or rows that are named twice.
    """
    assert rows.shape == labels.shape, f"{len(rows)} rows and {len(labels)} labels"
    if len(labels) and labels.min() < -1:
        raise UserError(f"a label is {labels.min()}", where=dataset.name, cure="use 0 or more, or -1 for an outlier")
    if len(np.unique(rows)) != len(rows):
        raise UserError("a row is labelled twice", where=dataset.name, cure="name each row once")
    column = np.full(len(dataset), -1, np.int64)
    column[rows] = labels
    column.flags.writeable = False
    return LabelColumn(
        dataset=dataset.name,
        data_sha256=dataset.card.sha256,
        labels=column,
        version=_version(dataset, column),
        made_by=dict(made_by or {}),
    )


def publish_labels(storage: Storage, column: LabelColumn, dataset: Dataset) -> str:
    """Publish a column, once; the same one again changes nothing.

    Args:
        storage: a run folder, usually.
        column: made from `dataset`.
        dataset: whose keys it is stored with.

    Returns:
        Its version, by which `load_labels` finds it.
    """
    _belongs(column.data_sha256, column.dataset, dataset, where=storage.url)
    table, card = _keys(column.version)
    storage.publish(_parquet(dataset, column), table, exclusive=True)
    facts = {
        "format": _FORMAT,
        "version": column.version,
        "dataset": column.dataset,
        "data_sha256": column.data_sha256,
        "rows": len(column.labels),
        "labelled": int((column.labels >= 0).sum()),
        "classes": column.num_classes,
        "sha256": hashlib.sha256(storage.read(table)).hexdigest(),
        "made_by": dict(column.made_by),
    }
    storage.publish((json.dumps(facts, indent=1, allow_nan=False) + "\n").encode(), card, exclusive=True)
    return column.version


def load_labels(storage: Storage, version: str, dataset: Dataset) -> LabelColumn:
    """Load a published column and check that it is whole and belongs to `dataset`.

    Raises:
        UserError: when it is not there, was changed, or belongs to other data or other keys.
    """
    table, card = _keys(version)
    where = f"{storage.url}/{table}"
    if not storage.exists(card):
        raise UserError(f"there are no labels of version {version[:12]}", where=storage.url, cure=_CURE)
    facts = json.loads(storage.read(card))
    if facts.get("format") != _FORMAT:
        raise UserError(f"label format {facts.get('format')!r} is not known", where=where, cure="update resight")
    _belongs(facts["data_sha256"], facts["dataset"], dataset, where=where)
    data = storage.read(table)
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise UserError("the labels were changed after they were published", where=where, cure=_CURE)
    labels = _labels(data, dataset, where)
    if _version(dataset, labels) != version:
        raise UserError(f"the labels are not those of version {version[:12]}", where=where, cure=_CURE)
    return LabelColumn(
        dataset=facts["dataset"],
        data_sha256=facts["data_sha256"],
        labels=labels,
        version=version,
        made_by=facts["made_by"],
    )


def _keys(version: str) -> tuple[str, str]:
    """Return the storage keys of the table, and of what is published last."""
    return f"labels/{version}.parquet", f"labels/{version}.json"


def _version(dataset: Dataset, labels: np.ndarray) -> str:
    digest = hashlib.sha256(f"resight-labels-{_FORMAT}\n{dataset.card.sha256}\n".encode())
    digest.update("\n".join(dataset.index.key).encode())
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def _parquet(dataset: Dataset, column: LabelColumn) -> bytes:
    sink = pa.BufferOutputStream()
    keys = pa.array(dataset.index.key, pa.string())
    pq.write_table(pa.table({"key": keys, "label": pa.array(column.labels)}), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _labels(data: bytes, dataset: Dataset, where: str) -> Int64[np.ndarray, " N"]:
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        table = file.read()
    mine, theirs = dataset.index.key, table.column("key").to_pylist()
    if len(mine) != len(theirs):
        problem = f"the labels cover {len(theirs):,} samples and the index has {len(mine):,}"
        raise UserError(problem, where=where, cure=_CURE)
    for row, (key, other) in enumerate(zip(mine, theirs, strict=True)):
        if key != other:
            problem = f"the labels are for other samples: row {row} is {key!r} in the index and {other!r} here"
            raise UserError(problem, where=where, cure=_CURE)
    labels = np.array(np.from_dlpack(table.column("label").combine_chunks()), np.int64)
    labels.flags.writeable = False
    return labels


def _belongs(data_sha256: str, name: str, dataset: Dataset, *, where: str) -> None:
    if data_sha256 != dataset.card.sha256:
        raise UserError(
            f"the labels belong to other data: {name!r} ({data_sha256[:12]}), not {dataset.name!r} "
            f"({dataset.card.sha256[:12]})",
            where=where,
            cure="open the data set they were made from, or make the labels again",
        )
