"""The index: columns as they were written, and clear words for what is no index."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resight.cluster.errors import UserError
from resight.datasets.index import Index, load_index
from resight.datasets.records import INDEX_SCHEMA, Table
from resight.datasets.shards import write_rows, write_shard
from tests.datasets.making import crops


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory):
    made = crops("train", ids=3, per_id=2, keypoints=np.arange(51, dtype=np.float32).reshape(17, 3))
    made += crops("query", ids=2, per_id=1, first=10, betas=np.arange(10, dtype=np.float32))
    return write_shard(made, tmp_path_factory.mktemp("x") / "x.tar", shard="s-0")


def test_columns(table: Table):
    index = Index(table)
    assert len(index) == 8
    assert index.pid.tolist() == [1, 1, 2, 2, 3, 3, 10, 11]
    assert index.camid.dtype == np.int64
    assert index.splits == ("train", "query")
    assert index.key[-1] == "query-0011-00"
    assert index.row_of("query-0011-00") == 7
    assert set(index.shard) == {"s-0"}
    assert set(index.dataset) == {"made"}
    assert set(index.height.tolist()) == {128}
    assert set(index.width.tolist()) == {64}
    assert index.viewid.tolist() == index.tracklet.tolist() == [-1] * 8
    assert index.frame.tolist() == [0, 1] * 3 + [0, 0]
    assert index.outfit.tolist()[0] == 2
    assert index.origin[0] == ""
    assert index.pid is index.pid


def test_select(table: Table):
    index = Index(table)
    assert index.select().tolist() == list(range(8))
    assert index.select(split="query").tolist() == [6, 7]
    assert index.select(split=("train", "query"), role="person").dtype == np.int64
    assert index.select(split="gallery").tolist() == []
    assert index.select(role=["junk", "distractor"]).tolist() == []


def test_annotations_are_nan_where_there_are_none(table: Table):
    index = Index(table)
    assert index.keypoints.shape == (8, 17, 3)
    assert np.array_equal(index.keypoints[0], np.arange(51).reshape(17, 3))
    assert np.isnan(index.keypoints[6:]).all()
    assert np.isnan(index.betas[:6]).all()
    assert np.array_equal(index.betas[7], np.arange(10))
    assert index.spans("mask")[0].tolist() == [-1] * 8
    assert (index.spans("image")[0] > 0).all()


def test_slices_and_joined_tables_keep_their_numbers(table: Table):
    whole = Index(table)
    joined = Index(pa.concat_tables([table.slice(4), table.slice(0, 4)]))
    assert np.array_equal(joined.keypoints, np.roll(whole.keypoints, 4, 0), equal_nan=True)
    assert joined.split.tolist() == np.roll(whole.split, 4).tolist()
    assert joined.key.tolist() == np.roll(whole.key, 4).tolist()


def test_unknown_key(table: Table):
    with pytest.raises(UserError, match="'nobody'"):
        Index(table).row_of("nobody")


def test_load(table: Table, tmp_path: Path):
    write_rows(table, tmp_path / "i.parquet")
    index = load_index(tmp_path / "i.parquet")
    assert index.table.schema.equals(INDEX_SCHEMA)
    assert index.key.tolist() == Index(table).key.tolist()


def test_truncated(table: Table, tmp_path: Path):
    path = tmp_path / "i.parquet"
    write_rows(table, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read") as caught:
        load_index(path)
    assert str(path) in str(caught.value)


def save(table: Table, path: Path, version: bytes = b"1"):
    pq.write_table(table.replace_schema_metadata({b"resight_schema": version}), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["pid", "camid"]), "lacks the columns pid, camid"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "1 keys occur more than once, e.g. 'train-0001-00'"),
        (lambda t: t.set_column(4, "pid", pa.array(["x"] * 8)), "wrong type"),
    ],
)
def test_wrong_tables(table: Table, tmp_path: Path, change: Callable[[Table], Table], message: str):
    save(change(table), tmp_path / "i.parquet")
    with pytest.raises(UserError, match=message):
        load_index(tmp_path / "i.parquet")


@pytest.mark.parametrize("version", [b"2", b"x", b""])
def test_other_versions(table: Table, tmp_path: Path, version: bytes):
    save(table, tmp_path / "i.parquet", version)
    with pytest.raises(UserError, match="schema version") as caught:
        load_index(tmp_path / "i.parquet")
    assert "update resight" in caught.value.cure


def test_a_foreign_parquet_is_not_an_index(table: Table, tmp_path: Path):
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "i.parquet")
    with pytest.raises(UserError, match="none"):
        load_index(tmp_path / "i.parquet")


def test_lists_of_the_wrong_length(table: Table, tmp_path: Path):
    broken = table.set_column(table.column_names.index("betas"), "betas", pa.array([[1.0]] * 8, pa.list_(pa.float32())))
    with pytest.raises(UserError, match="must hold 10 numbers"):
        _ = Index(broken).betas


def test_no_annotations_at_all(tmp_path: Path):
    index = Index(write_shard(crops("train", ids=1, per_id=2), tmp_path / "x.tar", shard="s"))
    assert index.keypoints.shape == (2, 17, 3)
    assert np.isnan(index.keypoints).all()
    assert np.isnan(index.betas).all()
