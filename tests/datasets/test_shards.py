"""Shards: deterministic, readable by tar and by WebDataset, located exactly by their rows."""

import errno
import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays
from webdataset.compat import WebDataset

from resight.datasets import shards, write_behind
from resight.datasets.decode import encode_plane
from resight.datasets.index import read_rows
from resight.datasets.records import INDEX_SCHEMA, Annotations, Record, Sample
from resight.datasets.shards import cut_shards, shard_files, write_shard
from tests.datasets.making import crops, encoded, jpeg, pixels

IMAGES = [jpeg(i, height=24, width=12) for i in range(3)]
PNG = encoded(pixels(4, height=24, width=12), "PNG")
PLANE = encode_plane(np.eye(24, 12, dtype=np.uint8))

keys = st.text("abcXYZ019_-", min_size=1, max_size=90)
floats = st.floats(-1e6, 1e6, width=32)


def arrays(*shape: int) -> st.SearchStrategy[np.ndarray | None]:
    return st.none() | numpy_arrays(np.float32, shape, elements=floats)


annotations = st.builds(
    Annotations,
    keypoints=arrays(17, 3),
    betas=arrays(10),
    pose=arrays(24, 3),
    mask=st.sampled_from([None, PLANE]),
    parts=st.sampled_from([None, PLANE]),
    words=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    measurements=st.dictionaries(st.text(max_size=8), st.floats(-10, 10), max_size=3),
)
records = st.builds(
    Record,
    key=keys,
    pid=st.integers(-1, 2**62),
    camid=st.integers(-1, 2**31 - 1),
    outfit=st.integers(-1, 2**62),
    frame=st.integers(-1, 2**62),
    dataset=st.sampled_from(["a", "ü", ""]),
    split=st.sampled_from(["train", "val", "query", "gallery"]),
    role=st.sampled_from(["person", "junk", "distractor"]),
    origin=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    record, more = draw(records), draw(annotations)
    if draw(st.booleans()):
        return Sample(record=record, image=PNG, suffix="png", annotations=more)
    return Sample(record=record, image=draw(st.sampled_from(IMAGES)), annotations=more)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(samples(), min_size=1, max_size=6, unique_by=lambda sample: sample.record.key))
def test_round_trip(tmp_path: Path, members: list[Sample]):
    path = tmp_path / "x.tar"
    table = write_shard(members, path, shard="train-000000")
    data = path.read_bytes()
    assert table.schema.equals(INDEX_SCHEMA)
    for row, sample in zip(table.to_pylist(), members, strict=True):
        assert {name: row[name] for name in vars(sample.record)} == vars(sample.record)
        image = data[row["image_offset"] : row["image_offset"] + row["image_size"]]
        assert image == sample.image
        assert row["sha256"] == hashlib.sha256(image).hexdigest()
        assert (row["height"], row["width"]) == (24, 12)
        for name in ("mask", "parts"):
            plane = getattr(sample.annotations, name)
            if plane is None:
                assert row[f"{name}_offset"] is None
            else:
                assert data[row[f"{name}_offset"] :][: row[f"{name}_size"]] == plane
    check_json(path, members)


def content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def check_json(path: Path, members: list[Sample]) -> None:
    with tarfile.open(path) as tar:
        for sample in members:
            known = json.loads(content(tar, f"{sample.record.key}.json"))
            more = sample.annotations
            assert {name: known[name] for name in vars(sample.record)} == vars(sample.record)
            for name in ("keypoints", "betas", "pose"):
                array = getattr(more, name)
                if array is None:
                    assert name not in known
                else:
                    assert np.array_equal(np.array(known[name], np.float32), array)
            assert tuple(known.get("words", ())) == more.words
            assert known.get("measurements", {}) == more.measurements


def test_same_samples_give_the_same_bytes(tmp_path: Path):
    made = crops("train", ids=3, per_id=4, betas=np.float32(np.arange(10) / 7), words=("tall",))
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files, _, read_back = shard_files(made, tmp_path / name, shard="train-000000")
        digests.add(tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in files.values()))
        tar = files["shards/train-000000.tar"].read_bytes()
        assert read_back == {"shards/train-000000.tar": (hashlib.sha256(tar).hexdigest(), len(tar))}
    assert len(digests) == 1
    assert set(files) == {"shards/train-000000.tar", "rows/train-000000.parquet"}


def test_the_bytes_are_those_of_this_format(tmp_path: Path):
    """Golden: a change of these bytes needs a new SHARD_FORMAT."""
    record = Record(key="k", pid=1, camid=0, dataset="d", split="train", origin="a/b.jpg")
    tall = Annotations(betas=np.array([0.1, -2, 0, 0, 0, 0, 0, 0, 0, 1e-7], np.float32), words=("tall",), mask=PLANE)
    write_shard(
        [Sample(record=record, image=b"\xff\xd8\xff" + IMAGES[0][3:], annotations=tall)], tmp_path / "x", shard="s"
    )
    with tarfile.open(tmp_path / "x") as tar:
        assert content(tar, "k.json") == (
            b'{"betas":[0.1,-2.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1e-07],"camid":0,"dataset":"d","frame":-1,"key":"k",'
            b'"origin":"a/b.jpg","outfit":-1,"pid":1,"role":"person","split":"train","tracklet":-1,"viewid":-1,'
            b'"words":["tall"]}'
        )
    assert shards.SHARD_FORMAT == "shard-1"


@settings(max_examples=100, deadline=None)
@given(keys, st.integers(0, 8**11 - 1))
def test_headers_are_the_standard_librarys(key: str, size: int):
    info = tarfile.TarInfo(f"{key}.parts.png")
    info.size = size
    assert shards._header(info.name, size) == info.tobuf(tarfile.USTAR_FORMAT)  # pyright: ignore[reportPrivateUsage]


@settings(max_examples=100, deadline=None)
@given(records)
def test_the_json_of_a_record_is_the_encoders(record: Record):
    made = shards._record_json(record)  # pyright: ignore[reportPrivateUsage]
    assert made == json.dumps(vars(record), sort_keys=True, separators=(",", ":"), allow_nan=False)
    assert Record.of(vars(record)) == record


def test_a_size_that_is_known_is_not_read_again(tmp_path: Path):
    table = write_shard([sample_of("a", b"rubbish", size=(7, 5))], tmp_path / "x.tar", shard="s")
    assert (table.column("height")[0].as_py(), table.column("width")[0].as_py()) == (7, 5)


def test_tar_lists_and_extracts(tmp_path: Path):
    made = crops("train", ids=2, per_id=2, mask=PLANE)
    write_shard(made, tmp_path / "x.tar", shard="s")
    listed = subprocess.run(["tar", "-tvf", "x.tar"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    names = [line.split()[-1] for line in listed.splitlines()]
    assert names[:3] == ["train-0001-00.jpg", "train-0001-00.json", "train-0001-00.mask.png"]
    assert all(line.startswith("-rw-r--r-- 0/0") and "1970-01-01" in line for line in listed.splitlines())
    subprocess.run(["tar", "-xf", "x.tar"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "train-0002-01.jpg").read_bytes() == made[-1].image


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its file to the collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_reads_it(tmp_path: Path):
    made = crops("train", ids=3, per_id=2, mask=PLANE, parts=PLANE, pose=np.ones((24, 3), np.float32))
    write_shard(made, tmp_path / "x.tar", shard="s")
    read = list(WebDataset(str(tmp_path / "x.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in read] == [sample.record.key for sample in made]
    for got, sample in zip(read, made, strict=True):
        assert got["jpg"] == sample.image
        assert got["mask.png"] == PLANE
        assert got["parts.png"] == PLANE
        assert json.loads(got["json"])["pid"] == sample.record.pid
        assert json.loads(got["json"])["pose"] == np.ones((24, 3)).tolist()


def sample_of(key: str, image: bytes = IMAGES[0], **more: Any) -> Sample:
    return Sample(record=Record(key=key, pid=0, camid=0, dataset="d", split="train"), image=image, **more)


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "ä", "a b", "x" * 91, "a\n"])
def test_impossible_keys_are_refused(tmp_path: Path, key: str):
    with pytest.raises(ValueError, match="must match"):
        write_shard([sample_of(key)], tmp_path / "x", shard="s")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "no samples"),
        ([sample_of("a"), sample_of("a")], "twice"),
        ([sample_of("a", PNG)], "'a'.*kind 'jpg'"),
        ([sample_of("a", b"rubbish")], "'a'.*neither"),
        ([sample_of("a", annotations=Annotations(betas=np.ones(9, np.float32)))], "'a'.*shape"),
        ([sample_of("a", annotations=Annotations(betas=np.full(10, np.nan, np.float32)))], "JSON compliant"),
    ],
)
def test_broken_samples_are_refused(tmp_path: Path, members: list[Sample], message: str):
    with pytest.raises(ValueError, match=message):
        write_shard(members, tmp_path / "x", shard="s")


@pytest.mark.parametrize("at", [10, 600, -700])
def test_what_the_disk_lost_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int):
    """Flip a byte between writing and reading back."""
    real = shards.read_back

    def damage(path: Path, blocks: Any):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)
        return real(path, blocks)

    monkeypatch.setattr(shards, "read_back", damage)
    with pytest.raises(OSError, match="not what was written"):
        write_shard([sample_of("a")], tmp_path / "x", shard="s")


def test_a_file_of_many_blocks_is_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(write_behind, "_BLOCK", 100)
    path, pieces = tmp_path / "x", [bytes([n]) * n for n in range(256)]
    with write_behind.writing_behind(path) as file:
        for piece in pieces:
            file.write([piece], len(piece))
    assert len(file.blocks) > 50
    data = path.read_bytes()
    assert data == b"".join(pieces)
    assert write_behind.read_back(path, file.blocks) == (hashlib.sha256(data).hexdigest(), len(data))
    for wrong in (data[:-1], data + b"x", data[:5000] + b"x" + data[5001:]):
        path.write_bytes(wrong)
        with pytest.raises(OSError, match="what was written"):
            write_behind.read_back(path, file.blocks)


def test_a_flush_that_failed_while_writing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The system tells such a failure once; the flush at the end would succeed."""

    def fails(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(write_behind, "_STEP", 1 << 10)
    monkeypatch.setattr(os, "fdatasync", fails)
    with pytest.raises(OSError, match="Input/output error"):
        write_shard([sample_of("a")], tmp_path / "x", shard="s")


def test_rows_survive_parquet_with_and_without_annotations(tmp_path: Path):
    points = np.random.default_rng(0).random((17, 3)).astype(np.float32)
    made = [sample_of("a"), sample_of("b", annotations=Annotations(keypoints=points)), sample_of("c")]
    files, table, _ = shard_files(made, tmp_path, shard="s")
    assert read_rows(files["rows/s.parquet"]).to_pylist() == table.to_pylist()


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 100), st.integers(1, 10))
def test_plan_is_a_contiguous_cover_within_limits(sizes: list[int], max_bytes: int, max_samples: int):
    plan = list(cut_shards(range(len(sizes)), lambda i: sizes[i], max_bytes=max_bytes, max_samples=max_samples))
    assert [i for chunk in plan for i in chunk] == list(range(len(sizes)))
    for chunk in plan:
        assert 1 <= len(chunk) <= max_samples
        assert len(chunk) == 1 or sum(sizes[i] for i in chunk) <= max_bytes
