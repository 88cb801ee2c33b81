"""Checks find every kind of damage and every kind of leak, and nothing in a sound set."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resight.cluster.progress import Step
from resight.datasets.check import Finding, check
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.decode import encode_plane
from resight.datasets.records import Sample
from resight.datasets.sheet import colour_of, contact_sheet, lay_out, overview_rows
from tests.datasets.making import crops, jpeg, write_dataset

PLANE = encode_plane(np.ones((128, 64), np.uint8))


def changed(sample: Sample, image: bytes = b"", **fields: Any) -> Sample:
    return replace(sample, record=replace(sample.record, **fields), image=image or sample.image)


def sound() -> list[Sample]:
    """Four people to train, two to find again under another camera, in other pictures."""
    query = crops("query", ids=2, per_id=1, first=10)
    gallery = [changed(s, jpeg(s.record.pid), camid=1) for s in crops("gallery", ids=2, per_id=1, first=10)]
    return [*crops("train", ids=4, per_id=3, mask=PLANE), *query, *gallery]


def kinds(findings: Sequence[Finding]):
    return {finding.kind: finding.count for finding in findings}


def test_a_sound_set(tmp_path: Path):
    steps: list[Step] = []
    report = check(write_dataset(sound(), tmp_path / "d"), threads=2, progress=lambda step: steps.append(step))
    assert report.sound
    assert report.problems == report.warnings == ()
    assert report.images == 16
    assert report.counts["train"]["ids"] == 4
    assert steps[-1].done == steps[-1].total == 16
    assert json.loads(json.dumps(report.to_dict()))["sound"] is True


def damage(data: Dataset, shard: str, change: Callable[[bytearray], None]):
    path = data.shard_path(shard)
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def test_flipped_and_undecodable_bytes(tmp_path: Path):
    data = write_dataset(sound(), tmp_path / "d")
    image, mask = int(data.index.spans("image")[0][0]), int(data.index.spans("mask")[0][5])

    def change(content: bytearray):
        content[image : image + 3] = b"bad"
        content[mask : mask + 3] = b"bad"

    damage(data, "train-000000", change)
    report = check(open_dataset(tmp_path / "d"))
    assert kinds(report.problems) == {"checksum": 1, "bytes": 1, "undecodable": 2}
    assert "train-0001-00" in " ".join(report.problems[2].examples)
    assert not report.sound


def test_missing_and_truncated_shards(tmp_path: Path):
    data = write_dataset(sound(), tmp_path / "d")
    data.shard_path("query-000000").unlink()
    damage(data, "train-000000", lambda content: content.__delitem__(slice(-100, None)))
    report = check(open_dataset(tmp_path / "d"))
    assert kinds(report.problems) == {"missing": 2}
    assert report.images == 2


def test_a_mask_of_another_size(tmp_path: Path):
    made = crops("train", ids=2, per_id=2, parts=encode_plane(np.ones((5, 5), np.uint8)))
    assert kinds(check(write_dataset(made, tmp_path / "d")).problems) == {"size": 4}


def test_leaks_and_labels(tmp_path: Path):
    train = crops("train", ids=3, per_id=3)
    query = crops("query", ids=3, per_id=1, first=3)  # person 3 is trained too, and so is the picture
    gallery = [changed(s, key=f"{s.record.key}-g", split="gallery") for s in query]
    single = crops("train", ids=1, per_id=1, first=20)
    twice = changed(single[0], key="twice", pid=-1)
    val = [changed(s, key=f"v{s.record.frame}", pid=1) for s in crops("val", ids=1, per_id=2, first=40)]
    report = check(write_dataset([*train, *query, *gallery, *single, twice, *val], tmp_path / "d"))
    assert kinds(report.problems) == {"identities": 1, "leaks": 2}
    assert report.problems[0].examples == ("3",)
    assert kinds(report.warnings) == {
        "duplicates": 1, "shared": 3, "validation": 1, "unanswerable": 3, "single": 1, "unlabelled": 1,
    }  # fmt: skip


def test_unknown_cameras_count_as_others(tmp_path: Path):
    query = [changed(s, camid=-1) for s in crops("query", ids=2, per_id=1)]
    gallery = crops("gallery", ids=1, per_id=1)
    report = check(write_dataset([*crops("train", ids=2, per_id=2, first=9), *query, *gallery], tmp_path / "d"))
    assert [w.examples for w in report.warnings if w.kind == "unanswerable"] == [("query-0002-00",)]


def test_a_card_that_was_edited(tmp_path: Path):
    write_dataset(sound(), tmp_path / "d")
    path = tmp_path / "d" / "dataset.json"
    values = json.loads(path.read_text())
    values["counts"]["train"]["ids"] = 5
    values["quarantined"] = [{"key": "k", "reason": "empty"}]
    path.write_text(json.dumps(values))
    report = check(open_dataset(tmp_path / "d"))
    assert kinds(report.problems) == {"counts": 1}
    assert report.warnings[0].examples == ("k: empty",)


def test_tables_of_cameras_and_outfits(tmp_path: Path):
    nobody = [changed(s, key="n", pid=-1, camid=-1, outfit=-1) for s in crops("query", ids=1, per_id=1)]
    report = check(write_dataset([*crops("train", ids=3, per_id=5), *nobody], tmp_path / "d"))
    assert report.cameras == {"train": {"0": 6, "1": 6, "2": 3}, "query": {"unknown": 1}}
    assert report.outfits == {"train": {"2": 3}}


def test_figures_are_compared_with_those_published(tmp_path: Path):
    made = [changed(s, dataset="viper") for s in crops("train", ids=2, per_id=2)]
    assert kinds(check(write_dataset(made, tmp_path / "v")).warnings) == {}
    made = [changed(s, dataset="ccvid", tracklet=s.record.frame) for s in crops("train", ids=2, per_id=2)]
    (warning,) = check(write_dataset(made, tmp_path / "c")).warnings
    assert (warning.kind, warning.count) == ("published", 6)
    assert warning.examples[:2] == ("train: 2 ids, published 75", "train: 2 tracklets, published 948")
    mixed = [*made, *(changed(s, dataset="ltcc") for s in crops("train", ids=1, per_id=2, first=9))]
    assert kinds(check(write_dataset(mixed, tmp_path / "m")).warnings) == {}


def test_contact_sheet(tmp_path: Path):
    data = write_dataset(crops("train", ids=2, per_id=3), tmp_path / "d")
    sheet = contact_sheet(data, range(5), columns=3, by="pid")
    assert sheet.shape == (2 * 132 + 4, 3 * 72 + 4, 3)
    assert np.array_equal(sheet[4:132, 8:72], data.image(0))
    assert tuple(sheet[10, 4]) == colour_of(1)
    assert (sheet[136:, 148:] == 245).all()


def test_overview_of_few_people_many_or_nobody(tmp_path: Path):
    few = write_dataset([*crops("train", ids=2, per_id=4), *crops("train", ids=1, per_id=2, first=9)], tmp_path / "a")
    rows, columns = overview_rows(few, ids=2, per_id=10)
    assert columns == 4
    assert few.index.pid[rows].tolist() == 4 * [1] + 4 * [2]
    assert overview_rows(few)[1] == 2
    nobody = write_dataset([changed(s, pid=-1) for s in crops("train", ids=3, per_id=4)], tmp_path / "b")
    assert overview_rows(nobody, ids=2, per_id=3) == ([0, 2, 4, 7, 9, 11], 3)


def test_lay_out_keeps_proportions():
    sheet = lay_out([np.zeros((10, 40, 3), np.uint8)], columns=1, cell=(128, 64))
    black = np.argwhere((sheet == 0).all(-1))
    assert np.ptp(black, axis=0).tolist() == [15, 63]
    assert lay_out([], columns=2).shape[1] == 2 * 72 + 4
    with pytest.raises(ValueError, match="columns"):
        lay_out([], columns=0)
