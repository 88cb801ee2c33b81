"""Publishing: the card says what is there, last, once, and never over another data set."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess, PoolResult, Quarantined, Unit, run_pool
from resight.cluster.storage import Storage, open_storage
from resight.datasets.card import CARD_KEY, INDEX_KEY, card_from_json, card_to_json
from resight.datasets.dataset import open_dataset
from resight.datasets.publish import publish_dataset
from resight.datasets.records import Sample
from tests.datasets.making import WriteSamples, crops, write_dataset


def pool(folder: Path, shards: dict[str, list[Sample]]):
    storage = open_storage(folder)
    units = [Unit(name=name, spec={"n": len(members)}) for name, members in shards.items()]
    return storage, run_pool(WriteSamples(shards), units, storage, backend=InProcess())


@pytest.fixture
def made(tmp_path: Path):
    people = crops("train", ids=3, per_id=4)
    return pool(tmp_path / "d", {"train-000000": people[:8], "train-000001": people[8:]})


def publish(storage: Storage, result: PoolResult, **more: Any):
    settings: dict[str, Any] = {"name": "d", "licence": "CC0", "made_by": {"command": "test"}}
    return publish_dataset(storage, result, **{**settings, **more})


def test_card_counts_and_checksums(made: tuple[Storage, PoolResult]):
    storage, result = made
    card = publish(storage, result)
    assert card.counts == {"train": {"images": 12, "ids": 3, "cameras": 3, "outfits": 6, "distractors": 0, "junk": 0}}
    assert list(card.shards) == ["train-000000", "train-000001"]
    assert [facts["samples"] for facts in card.shards.values()] == [8, 4]
    assert card.images == card.index["rows"] == 12
    assert card_from_json(storage.read(CARD_KEY), where="x") == card
    assert card.sha256 == open_dataset(storage.url).card.sha256


def test_junk_and_distractors_are_no_identities(tmp_path: Path):
    people = crops("gallery", ids=3, per_id=2)
    roles = {1: "junk", 2: "distractor", 3: "person"}
    people = [replace(s, record=replace(s.record, role=roles[s.record.pid])) for s in people]
    assert write_dataset(people, tmp_path / "d").card.counts["gallery"] == {
        "images": 6, "ids": 1, "cameras": 2, "outfits": 1, "distractors": 2, "junk": 2,
    }  # fmt: skip


def test_publishing_again_changes_nothing(made: tuple[Storage, PoolResult]):
    storage, result = made
    first = publish(storage, result)
    before = (storage.read(CARD_KEY), storage.read(INDEX_KEY))
    assert card_to_json(publish(storage, result)) == card_to_json(first)
    assert (storage.read(CARD_KEY), storage.read(INDEX_KEY)) == before


@pytest.mark.parametrize(("change", "word"), [({"name": "other"}, "name"), ({"licence": "MIT"}, "licence")])
def test_another_card_is_not_put_over_one(made: tuple[Storage, PoolResult], change: Any, word: str):
    storage, result = made
    publish(storage, result)
    with pytest.raises(UserError, match=word):
        publish(storage, result, **change)


def test_other_content_is_not_put_over_one(made: tuple[Storage, PoolResult]):
    storage, result = made
    publish(storage, result)
    with pytest.raises(UserError, match="content"):
        publish(storage, PoolResult(commits=result.commits[:1]))


def test_missing_shards_stop_it(made: tuple[Storage, PoolResult]):
    storage, result = made
    torn = PoolResult(
        commits=result.commits, quarantined=(Quarantined(name="train-000002", reason="boom", attempts=3),)
    )
    with pytest.raises(UserError, match="train-000002: boom"):
        publish(storage, torn)
    with pytest.raises(UserError, match="no shards"):
        publish(storage, PoolResult(commits=()))
    assert not storage.exists(CARD_KEY)


def test_a_key_in_two_shards_stops_it(tmp_path: Path):
    people = crops("train", ids=1, per_id=2)
    storage, result = pool(tmp_path / "d", {"train-000000": people, "train-000001": people[:1]})
    with pytest.raises(UserError, match="'train-0001-00' occurs in several shards"):
        publish(storage, result)
    assert not storage.exists(CARD_KEY)


def test_the_same_data_has_the_same_identity_anywhere(tmp_path: Path):
    people = crops("train", ids=2, per_id=2)
    a, b = (write_dataset(people, tmp_path / name, name=name) for name in ("a", "b"))
    c = write_dataset(people[:-1], tmp_path / "c")
    assert a.card.sha256 == b.card.sha256 != c.card.sha256
    assert (tmp_path / "a" / "index.parquet").read_bytes() == (tmp_path / "b" / "index.parquet").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-30], "not JSON"),
        (lambda text: b"[1]", "not the card"),
        (lambda text: text.replace(b'"schema_version": 1', b'"schema_version": 99'), "99"),
        (lambda text: text.replace(b'"licence"', b'"license"'), "lacks licence"),
        (lambda text: b"\xff\xfe", "not JSON"),
    ],
)
def test_what_is_no_card(made: tuple[Storage, PoolResult], change: Any, message: str):
    storage, result = made
    text = card_to_json(publish(storage, result))
    with pytest.raises(UserError, match=message):
        card_from_json(change(text), where="here")


def test_unknown_fields_of_a_card_are_ignored(made: tuple[Storage, PoolResult]):
    storage, result = made
    card = publish(storage, result)
    values = json.loads(card_to_json(card)) | {"note": "added by hand"}
    assert card_from_json(json.dumps(values).encode(), where="x") == card


def test_an_index_that_a_disk_lost_is_made_again(tmp_path: Path):
    samples = crops("train", ids=2, per_id=2)
    write_dataset(samples, tmp_path)
    index, card = tmp_path / "index.parquet", (tmp_path / "dataset.json").read_bytes()
    whole = index.read_bytes()
    index.write_bytes(whole[: len(whole) // 2])
    write_dataset(samples, tmp_path)
    assert index.read_bytes() == whole
    index.unlink()
    write_dataset(samples, tmp_path)
    assert index.read_bytes() == whole
    assert (tmp_path / "dataset.json").read_bytes() == card
