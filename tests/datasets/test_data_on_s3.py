"""A data set in a bucket is the data set on a disk: written, checked, read, loaded and streamed alike."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from resight.cli.app import run
from resight.cluster.errors import UserError
from resight.cluster.storage import open_storage
from resight.datasets.augment.config import AugmentConfig
from resight.datasets.check import check
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.loader import open_training_data
from resight.datasets.node_cache import node_cache_folder
from resight.datasets.opening import open_streams
from resight.datasets.sampler import SamplerConfig
from tests.datasets.making import crops, jpeg, write_dataset

PEOPLE = [*crops("train", ids=6, per_id=4), *crops("query", ids=2, per_id=2, first=50)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(PEOPLE, tmp_path_factory.mktemp("here"), per_shard=10)


@pytest.fixture
def there(on_moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The same people in a bucket; this test's machine has nothing in its cache."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return write_dataset(PEOPLE, f"{on_moto}/people", per_shard=10)


def test_a_data_set_in_a_bucket_is_the_one_on_a_disk(here: Dataset, there: Dataset) -> None:
    assert there.card == here.card
    assert open_storage(there.path).sizes("shards/") == open_storage(here.path).sizes("shards/")
    copy = pickle.loads(pickle.dumps(there))
    for data in (there, copy):
        assert [bytes(data.image_bytes(row)) for row in range(len(data))] == [
            bytes(here.image_bytes(row)) for row in range(len(here))
        ]
        assert data.metadata(3) == here.metadata(3)
    assert check(there).to_dict() == check(here).to_dict()
    assert len(list(node_cache_folder().glob("*.tar"))) == len(here.card.shards)


def test_batches_of_a_data_set_in_a_bucket(here: Dataset, there: Dataset) -> None:
    def images(data: Dataset) -> list[np.ndarray]:
        with open_training_data(
            [data.path],
            sampler=SamplerConfig(ids_per_batch=3, images_per_id=2, steps_per_epoch=2),
            augment=AugmentConfig(height=48, width=24, pad=4),
            val_ids=0,
            seed=0,
            threads=2,
        ) as loader:
            return [batch.images.numpy().copy() for batch in loader.batches(0, 0, rank=0, world=1)]

    assert all((a == b).all() for a, b in zip(images(here), images(there), strict=True))
    (source,) = open_streams([there.path])
    assert len(source.rows) == 24


def test_a_shard_that_was_damaged_or_lost_in_the_bucket(there: Dataset) -> None:
    storage = open_storage(there.path)
    storage.publish(b"x" * storage.size("shards/train-000000.tar"), "shards/train-000000.tar")
    storage.delete("shards/train-000001.tar")
    problems = {finding.kind: finding.examples for finding in check(open_dataset(there.path)).problems}
    assert problems["checksum"] == ("train-000000",)
    assert "train-000001" in problems["missing"][0]
    row = int(np.flatnonzero(there.index.shard == "train-000000")[0])
    with pytest.raises(UserError, match="the shard has sha256"):
        there.image_bytes(row)


def test_what_is_no_data_set_says_what_is_there(there: Dataset, on_moto: str) -> None:
    with pytest.raises(UserError, match="there is no data set here") as caught:
        open_dataset(on_moto)
    assert "people" in caught.value.cure
    with pytest.raises(UserError, match="there is no data set here") as caught:
        open_dataset(f"{on_moto}/elsewhere")
    assert "check the prefix" in caught.value.cure
    open_storage(there.path).delete("dataset.json")
    with pytest.raises(UserError) as caught:
        open_dataset(there.path)
    assert "never finished" in caught.value.cure
    with pytest.raises(UserError, match="there is no such bucket"):
        open_dataset("s3://nobody-made-this/data")
    with pytest.raises(UserError, match="from disks only"):
        open_streams([f"{on_moto}/shards/{{000..007}}.tar"])


def test_the_verbs_take_buckets(on_moto: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pid in range(3):
        for image in range(4):
            path = tmp_path / "crops" / str(pid) / str(image % 2) / f"{image}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(10 * pid + image))
    out = f"{on_moto}/packed"
    assert run(["pack", "folder", str(tmp_path / "crops"), "--out", out, "--quiet"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == out
    assert run(["data", "check", out, "--quiet"]) in (0, 1)  # a split without queries is a finding
    assert "12" in capsys.readouterr().out
    sheet = ["data", "sheet", out, "--split", "train", "--per-id", "4", "--ids", "3", "--out"]
    assert run([*sheet, str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    capsys.readouterr()
    assert run([*sheet, f"{on_moto}/sheet.png"]) == 2
    assert "is a URL" in capsys.readouterr().err
    assert not Path("s3:").exists()
