"""Label columns: immutable, bound to their data, and in place of the given identities in a plan."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from resight.cluster.errors import UserError
from resight.cluster.storage import LocalStorage
from resight.datasets.augment import AugmentConfig
from resight.datasets.batch import Batch
from resight.datasets.dataset import Dataset
from resight.datasets.labels import LabelColumn, label_column, load_labels, publish_labels
from resight.datasets.loader import Loader, open_training_data
from resight.datasets.sampler import SamplerConfig, SourceRows, make_plan
from resight.datasets.sources import open_sources
from tests.datasets.making import crops, write_dataset

SAMPLER = SamplerConfig(ids_per_batch=3, images_per_id=2)
AUGMENT = AugmentConfig(height=32, width=16, pad=2)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    samples = [*crops("train", ids=6, per_id=6), *crops("query", ids=2, per_id=2, first=50)]
    return write_dataset(samples, tmp_path_factory.mktemp("people"), per_shard=20, name="people")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(crops("train", ids=5, per_id=4, first=9), tmp_path_factory.mktemp("others"), name="others")


def clusters(dataset: Dataset, seed: int, *, number: int = 5) -> LabelColumn:
    """A made-up clustering of the training images, one in six of them an outlier."""
    rows = dataset.index.select(split="train")
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(len(rows)) < 1 / 6, -1, rng.integers(0, number, len(rows)))
    labels[: 2 * number] = np.arange(2 * number) % number
    return label_column(dataset, rows, labels, made_by={"seed": seed})


def loader(*data: Dataset, **more: object) -> Loader:
    options = {"val_ids": 0.0, "seed": 3, "threads": 2, **more}
    return open_training_data([d.path for d in data], sampler=SAMPLER, augment=AUGMENT, **options)  # type: ignore[arg-type]


def same(one: Iterator[Batch], other: Iterator[Batch]) -> bool:
    names = ("images", "rows", "labels", "pids")
    return all(
        torch.equal(getattr(a, name), getattr(b, name)) for a, b in zip(one, other, strict=True) for name in names
    )


def test_a_column_comes_back_as_it_was(people: Dataset, tmp_path: Path) -> None:
    column, storage = clusters(people, 1), LocalStorage(tmp_path)
    version = publish_labels(storage, column, people)
    found = load_labels(storage, version, people)
    assert (found.labels == column.labels).all()
    assert (found.version, found.dataset, found.data_sha256) == (version, "people", people.card.sha256)
    assert found.made_by == {"seed": 1}
    assert found.num_classes == 5
    assert (found.labels[people.index.select(split="query")] == -1).all()
    assert json.loads((tmp_path / "labels" / f"{version}.json").read_text())["classes"] == 5
    with pytest.raises(ValueError, match="read-only"):
        found.labels[0] = 7


def test_a_version_is_the_content_and_publishing_it_again_changes_nothing(people: Dataset, tmp_path: Path) -> None:
    one, again, other = clusters(people, 1), clusters(people, 1), clusters(people, 2)
    assert one.version == again.version != other.version
    storage = LocalStorage(tmp_path)
    publish_labels(storage, one, people)
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.rglob("*.*")}
    rows = np.arange(len(people))
    publish_labels(storage, label_column(people, rows, one.labels, made_by={"by": "another"}), people)
    assert {path.name: (path.stat().st_ino, path.read_bytes()) for path in tmp_path.rglob("*.*")} == before


def test_a_column_half_published_is_not_there_and_can_be_finished(people: Dataset, tmp_path: Path) -> None:
    column, storage = clusters(people, 1), LocalStorage(tmp_path)
    publish_labels(storage, column, people)
    (tmp_path / "labels" / f"{column.version}.json").unlink()
    with pytest.raises(UserError, match="there are no labels of version"):
        load_labels(storage, column.version, people)
    publish_labels(storage, column, people)
    assert (load_labels(storage, column.version, people).labels == column.labels).all()


def test_damage_and_foreign_data_are_told_apart(people: Dataset, others: Dataset, tmp_path: Path) -> None:
    column, storage = clusters(people, 1), LocalStorage(tmp_path)
    version = publish_labels(storage, column, people)
    table, card = (tmp_path / "labels" / f"{version}.{suffix}" for suffix in ("parquet", "json"))
    data, facts = table.read_bytes(), card.read_text()
    with pytest.raises(UserError, match="belong to other data: 'people'"):
        load_labels(storage, version, others)
    with pytest.raises(UserError, match="belong to other data"):
        publish_labels(storage, column, others)
    table.write_bytes(data[:-9])
    with pytest.raises(UserError, match="changed after they were published"):
        load_labels(storage, version, people)
    table.write_bytes(data)
    card.write_text(facts.replace('"format": 1', '"format": 2'))
    with pytest.raises(UserError, match="format 2"):
        load_labels(storage, version, people)


@pytest.mark.parametrize("fault", ["short", "keys", "labels"])
def test_a_table_that_is_not_the_version_s_is_refused(people: Dataset, tmp_path: Path, fault: str) -> None:
    column, storage = clusters(people, 1), LocalStorage(tmp_path)
    version = publish_labels(storage, column, people)
    path = tmp_path / "labels" / f"{version}.parquet"
    keys, labels = list(people.index.key), column.labels.copy()
    if fault == "short":
        keys, labels = keys[1:], labels[1:]
    elif fault == "keys":
        keys[3] = "somebody"
    else:
        labels[3] += 1
    pq.write_table(pa.table({"key": keys, "label": labels}), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": digest}))
    problem = {"short": "cover 39 samples and the index has 40", "keys": "row 3 is", "labels": "not those of version"}
    with pytest.raises(UserError, match=problem[fault]):
        load_labels(storage, version, people)


def test_impossible_labels_are_refused(people: Dataset) -> None:
    with pytest.raises(UserError, match="a label is -2"):
        label_column(people, np.array([1]), np.array([-2]))
    with pytest.raises(UserError, match="labelled twice"):
        label_column(people, np.array([1, 1]), np.array([0, 1]))
    nobody = label_column(people, np.array([], np.int64), np.array([], np.int64))
    (source,) = open_sources([people.path], val_ids=0)
    with pytest.raises(UserError, match="leave nothing to train on"):
        source.relabelled(nobody)


def test_labels_stand_in_the_place_of_pid(people: Dataset, others: Dataset) -> None:
    data, column = loader(people, others), clusters(people, 1)
    assert data.label_versions == ("", "")
    assert (data.num_classes, data.steps_per_epoch) == (11, 4)
    data.relabel({0: column})
    assert data.label_versions == (column.version, "")
    assert data.num_classes == 10
    labels = np.concatenate([column.labels[data.sources[0].rows], others.index.pid])
    seen: set[int] = set()
    for batch in data.batches(0, 0, rank=0, world=1):
        assert (labels[batch.rows] >= 0).all()
        first = batch.rows < len(data.sources[0].rows)
        assert batch.labels[first].tolist() == labels[batch.rows][first].tolist()
        assert (batch.labels[~first] >= 5).all()
        assert batch.pids.tolist() == np.concatenate([people.index.pid[:36], others.index.pid])[batch.rows].tolist()
        seen |= set(batch.labels.tolist())
    assert seen == set(range(10))
    data.relabel({0: None})
    assert data.label_versions == ("", "")
    assert same(data.batches(2, 0, rank=0, world=1), loader(people, others).batches(2, 0, rank=0, world=1))


def test_a_plan_is_a_function_of_the_label_version_too() -> None:
    def plan_of(version: str) -> list[list[int]]:
        pid = np.repeat(np.arange(6), 4)
        rows = SourceRows(weight=1, pid=pid, camid=pid * 0, outfit=pid, version=version)
        return make_plan([rows], SAMPLER, seed=1).epoch(0).tolist()

    assert plan_of("ab") == plan_of("ab")
    assert len({str(plan_of(version)) for version in ("", "ab", "cd")}) == 3


@pytest.mark.parametrize("start", [0, 1])
def test_training_goes_on_with_the_same_labels_after_a_resume(people: Dataset, tmp_path: Path, start: int) -> None:
    """What a checkpoint has to keep: seed, epoch, step and the label version."""
    storage, columns = LocalStorage(tmp_path), [clusters(people, seed) for seed in (1, 2)]
    running = loader(people)
    versions: list[tuple[str, ...]] = []
    for column in columns:
        publish_labels(storage, column, people)
        running.relabel({0: column})
        versions.append(running.label_versions)
    assert versions == [(column.version,) for column in columns]
    for epoch, (version,) in enumerate(versions):
        resumed = loader(people, labels={0: (storage, version)}, threads=1)
        running.relabel({0: columns[epoch]})
        assert same(resumed.batches(epoch, start, rank=0, world=1), running.batches(epoch, start, rank=0, world=1))


def test_a_running_iteration_ends_when_labels_change(people: Dataset) -> None:
    data = loader(people)
    batches = data.batches(0, 0, rank=0, world=1)
    next(batches)
    data.relabel({0: clusters(people, 1)})
    with pytest.raises(StopIteration):
        next(batches)
    few = label_column(people, np.arange(4), np.array([0, 0, 1, 1]))
    with pytest.raises(UserError, match="a batch needs 3 different identities and there are 2"):
        data.relabel({0: few})
    assert data.label_versions == (clusters(people, 1).version,)
    assert len(list(data.batches(0, 0, rank=0, world=1))) == data.steps_per_epoch


def test_weights_follow_the_clusters_unless_they_were_given(people: Dataset, others: Dataset) -> None:
    column = clusters(people, 1, number=4)
    counted = open_sources([people.path, others.path], val_ids=0)
    assert [source.relabelled(column).weight for source in counted[:1]] == [4.0]
    given = open_sources([f"{people.path}:3", f"{others.path}:1"], val_ids=0)
    assert given[0].relabelled(column).weight == 3.0
    with pytest.raises(UserError, match="belong to other data"):
        given[1].relabelled(column)


def test_identities_set_aside_stay_aside(people: Dataset) -> None:
    data = loader(people, val_ids=0.2)
    aside = set(data.sources[0].validation.tolist())
    assert aside
    data.relabel({0: label_column(people, np.arange(36), np.arange(36) // 4)})
    rows = data.sources[0].rows
    drawn = {int(rows[row]) for batch in data.batches(0, 0, rank=0, world=1) for row in batch.rows.tolist()}
    assert drawn
    assert not drawn & aside


def test_unlabelled_data_can_be_trained_on_with_labels_only(tmp_path: Path) -> None:
    samples = crops("train", ids=4, per_id=4)
    nameless = [replace(sample, record=replace(sample.record, pid=-1, outfit=-1)) for sample in samples]
    data = write_dataset(nameless, tmp_path / "data", name="nameless")
    with pytest.raises(UserError, match="nothing to train on") as caught:
        loader(data)
    assert "cluster" in caught.value.cure
    storage = LocalStorage(tmp_path / "run")
    version = publish_labels(storage, label_column(data, np.arange(16), np.arange(16) // 4), data)
    batches = list(loader(data, labels={0: (storage, version)}).batches(0, 0, rank=0, world=1))
    assert {label for batch in batches for label in batch.labels.tolist()} == {0, 1, 2, 3}
    assert all(batch.has_id.all() and (batch.pids == -1).all() for batch in batches)
