"""Streams from real shards: whole epochs, any workers, any threads, any step; and what bad images do."""

import gc
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from resight.cluster.errors import UserError
from resight.cluster.progress import Step
from resight.datasets.augment import AugmentConfig
from resight.datasets.augment.draws import draw
from resight.datasets.augment.fused import apply
from resight.datasets.batch import Batch
from resight.datasets.dataset import Dataset, open_dataset
from resight.datasets.opening import open_streams
from resight.datasets.quarantine import Quarantine, Quarantined
from resight.datasets.records import Record, Sample
from resight.datasets.streaming import Stream
from resight.trainers.job import TrainData
from tests.datasets.making import crops, jpeg, write_dataset

AUGMENT = AugmentConfig(height=48, width=24, pad=4)


def strangers(count: int) -> list[Sample]:
    """Crops of nobody known, by three cameras."""
    return [
        Sample(
            record=Record(key=f"x-{n:03d}", pid=-1, camid=n % 3, dataset="made", split="train"),
            image=jpeg(n, height=48, width=24),
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """53 unlabelled crops in eight shards."""
    return write_dataset(strangers(53), tmp_path_factory.mktemp("crowd"), per_shard=7, name="crowd")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(crops("train", ids=4, per_id=6), tmp_path_factory.mktemp("people"), per_shard=9, name="people")


def opened(*data: Dataset, threads: int = 2, batch_size: int = 8, **more: object) -> Stream:
    sources = open_streams([dataset.path for dataset in data])
    options = {"window": 3, "seed": 5, **more}
    return Stream(sources, batch_size=batch_size, augment=AUGMENT, threads=threads, **options)  # type: ignore[arg-type]


def whole(batches: Iterator[Batch]) -> list[Batch]:
    return list(batches)


def equal(one: Batch, other: Batch) -> bool:
    names = ("images", "rows", "labels", "pids", "camids", "has_id", "has_shape")
    same = all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)
    return same and (one.epoch, one.step, one.slots, one.seed) == (other.epoch, other.step, other.slots, other.seed)


def spoiled(dataset: Dataset, keys: list[str], folder: Path) -> Dataset:
    """A copy of a data set with the first bytes of some images overwritten."""
    for path in Path(dataset.path).rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(dataset.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for key in keys:
        row = dataset.index.row_of(key)
        shard = folder / "shards" / f"{dataset.index.shard[row]}.tar"
        content = bytearray(shard.read_bytes())
        at = int(dataset.index.spans("image")[0][row])
        content[at : at + 200] = bytes(200)
        shard.write_bytes(content)
    return open_dataset(folder)


def test_a_stream_is_training_data_and_says_what_the_index_says(crowd: Dataset, people: Dataset) -> None:
    stream = opened(crowd, people)
    data: TrainData = stream
    assert (data.num_classes, data.num_cameras, data.steps_per_epoch) == (4, 6, 10)
    assert data.cameras == ("crowd/0", "crowd/1", "crowd/2", "people/0", "people/1", "people/2")
    index = [*crowd.index.key, *people.index.key]
    pids = np.concatenate([crowd.index.pid, people.index.pid])
    batches = whole(data.batches(1, 0, rank=0, world=1))
    for batch in batches:
        assert data.keys(batch.rows) == [
            f"{'crowd' if row < 53 else 'people'}/{index[row]}" for row in batch.rows.tolist()
        ]
        assert batch.pids.tolist() == pids[batch.rows].tolist()
        assert batch.has_id.tolist() == (pids[batch.rows] >= 0).tolist()
        assert ((batch.labels >= 0) == batch.has_id).all()
    labels = {(label, pid) for b in batches for label, pid in zip(b.labels.tolist(), b.pids.tolist(), strict=True)}
    assert labels == {(-1, -1), (0, 1), (1, 2), (2, 3), (3, 4)}


def test_images_are_the_rows_augmented_by_their_slots(crowd: Dataset) -> None:
    for step, batch in enumerate(opened(crowd).batches(2, 0, rank=0, world=1)):
        wanted = np.empty((len(batch.rows), 3, 48, 24), np.float32)
        drawn = draw(AUGMENT, seed=5, epoch=2, step=step, slots=batch.slots)
        apply(crowd.images(batch.rows.tolist()), drawn, AUGMENT, wanted)
        assert torch.equal(batch.images, torch.from_numpy(wanted))


@pytest.mark.parametrize("window", [0, 1, 3, 100])
def test_an_epoch_has_every_image_once(crowd: Dataset, people: Dataset, window: int) -> None:
    for epoch in range(3):
        batches = opened(crowd, people, window=window).batches(epoch, 0, rank=0, world=1)
        rows = torch.cat([batch.rows for batch in batches])
        assert sorted(rows.tolist()) == list(range(77))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_batches_do_not_depend_on_workers_and_threads(crowd: Dataset, world: int, threads: int) -> None:
    wanted = whole(opened(crowd).batches(1, 0, rank=0, world=1))
    ranks = [whole(opened(crowd, threads=threads).batches(1, 0, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(wanted):
        mine = [batches[step] for batches in ranks]
        assert torch.equal(torch.cat([part.images for part in mine]), batch.images)
        assert all(torch.equal(part.rows, batch.rows) for part in mine)
        assert [slot for part in mine for slot in part.slots] == list(batch.slots)


@pytest.mark.parametrize("start", [0, 1, 4, 6, 7])
def test_resume_goes_on_with_the_same_batches(crowd: Dataset, start: int) -> None:
    batches = whole(opened(crowd).batches(6, 0, rank=0, world=1))
    rest = whole(opened(crowd, threads=3).batches(6, start, rank=0, world=1))
    assert len(rest) == 7 - start
    assert all(equal(one, other) for one, other in zip(batches[start:], rest, strict=True))


def test_an_abandoned_stream_leaves_no_thread(crowd: Dataset) -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("resight-loader")]

    batches = opened(crowd).batches(0, 0, rank=0, world=1)
    next(batches)
    assert threads()
    del batches
    gc.collect()
    assert not threads()
    with opened(crowd) as stream:
        running = stream.batches(0, 0, rank=0, world=1)
        next(running)
    assert not threads()


def test_progress_counts_images(crowd: Dataset) -> None:
    told: list[Step] = []
    whole(opened(crowd, progress=told.append).batches(0, 5, rank=0, world=1))
    assert [(step.done, step.total, step.facts) for step in told] == [(46, 53, {}), (53, 53, {})]


@pytest.fixture
def torn(crowd: Dataset, tmp_path: Path) -> Dataset:
    return spoiled(crowd, ["x-004", "x-031"], tmp_path / "torn")


def test_bad_images_are_named_counted_and_stood_in_for(crowd: Dataset, torn: Dataset) -> None:
    told: list[Step] = []
    stream = opened(torn, progress=told.append)
    sound, found = (whole(s.batches(0, 0, rank=0, world=1)) for s in (opened(crowd), stream))
    changed = 0
    for one, other in zip(sound, found, strict=True):
        for name in ("rows", "labels", "pids", "camids", "has_shape"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        keys = stream.keys(other.rows)
        same = [torch.equal(a, b) for a, b in zip(one.images, other.images, strict=True)]
        assert [key for key, equals in zip(keys, same, strict=True) if not equals] == [
            key for key in keys if key in ("crowd/x-004", "crowd/x-031")
        ]
        changed += same.count(False)
    assert changed == 2
    assert [(entry.key, entry.shard) for entry in stream.quarantined] == [
        ("crowd/x-004", "train-000000"),
        ("crowd/x-031", "train-000004"),
    ]
    assert all("neither JPEG nor PNG" in entry.reason for entry in stream.quarantined)
    assert told[-1].facts == {"quarantined": 2}


def test_a_stand_in_agrees_in_what_the_batch_says(tmp_path: Path, people: Dataset) -> None:
    """Its pixels are those of another image of the same identity under the same camera."""
    torn = spoiled(people, ["train-0002-01"], tmp_path / "torn")
    bad = torn.index.row_of("train-0002-01")
    mate = torn.index.row_of("train-0002-04")  # the only other one of this identity and camera
    for batch in opened(torn).batches(0, 0, rank=0, world=1):
        if bad in batch.rows.tolist():
            slot = batch.rows.tolist().index(bad)
            wanted = np.empty((1, 3, 48, 24), np.float32)
            apply([torn.image(mate)], draw(AUGMENT, seed=5, epoch=0, step=batch.step, slots=[slot]), AUGMENT, wanted)
            assert torch.equal(batch.images[slot], torch.from_numpy(wanted[0]))
            return
    pytest.fail("the bad image was not in the epoch")


@pytest.mark.parametrize(("world", "threads"), [(2, 1), (3, 3), (4, 2)])
def test_stand_ins_are_the_same_for_any_workers_and_resumes(torn: Dataset, world: int, threads: int) -> None:
    wanted = whole(opened(torn).batches(3, 0, rank=0, world=1))
    parts = [whole(opened(torn, threads=threads).batches(3, 2, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(wanted[2:]):
        assert torch.equal(torch.cat([part[step].images for part in parts]), batch.images)


def test_stand_ins_are_not_always_the_same_image(crowd: Dataset, tmp_path: Path) -> None:
    torn = spoiled(crowd, ["x-004"], tmp_path / "torn")
    bad = torn.index.row_of("x-004")
    plain = AugmentConfig(height=48, width=24, pad=0, flip=0, erase=0)
    stream = Stream(open_streams([torn.path]), batch_size=8, augment=plain, seed=5, threads=1)
    shown: Counter[float] = Counter()
    for epoch in range(6):
        for batch in stream.batches(epoch, 0, rank=0, world=1):
            for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
                if row == bad:
                    shown[float(image.double().sum())] += 1
    assert sum(shown.values()) == 6
    assert len(shown) > 2


def test_an_image_that_nobody_can_stand_in_for_stops_the_run(tmp_path: Path) -> None:
    lonely = write_dataset([*strangers(6), *crops("train", ids=1, per_id=2)], tmp_path / "sound", name="lonely")
    torn = spoiled(lonely, ["train-0001-01"], tmp_path / "torn")
    with pytest.raises(UserError, match="no image of the same identity and camera can stand in") as caught:
        whole(opened(torn).batches(0, 0, rank=0, world=1))
    assert "lonely/train-0001-01" in caught.value.problem


def test_too_many_bad_images_stop_the_run(crowd: Dataset, tmp_path: Path) -> None:
    torn = spoiled(crowd, [f"x-{n:03d}" for n in range(0, 22, 2)], tmp_path / "torn")
    with pytest.raises(UserError, match=r"11 images are no pictures, more than 0\.01 of the") as caught:
        whole(opened(torn).batches(0, 0, rank=0, world=1))
    assert "max_bad_share" in caught.value.cure
    assert len(whole(opened(torn, max_bad_share=0.1).batches(0, 0, rank=0, world=1))) == 7
    with pytest.raises(UserError, match="1 images are no pictures, more than 0 of"):
        whole(opened(torn, max_bad_share=0.0, threads=1).batches(0, 0, rank=0, world=1))


def test_the_share_is_of_what_was_asked_for() -> None:
    quarantine = Quarantine(max_bad_share=0.01, where="here")
    for _ in range(5_000):
        quarantine.asked()
    for row in range(50):
        quarantine.note(row, Quarantined(key=f"k{row}", shard="s", reason="torn"))
        quarantine.note(row, Quarantined(key=f"k{row}", shard="s", reason="torn"))
    assert len(quarantine) == 50
    with pytest.raises(UserError, match="51 images"):
        quarantine.note(50, Quarantined(key="k50", shard="s", reason="torn"))
    with pytest.raises(UserError, match="max_bad_share is 2"):
        Quarantine(max_bad_share=2, where="here")


def test_a_truncated_shard_stops_the_run_by_name(crowd: Dataset, tmp_path: Path) -> None:
    torn = spoiled(crowd, [], tmp_path / "torn")
    shard = torn.shard_path("train-000003")
    shard.write_bytes(shard.read_bytes()[:-4096])
    with pytest.raises(UserError, match="'train-000003' is truncated"):
        whole(opened(torn).batches(0, 0, rank=0, world=1))


def test_what_cannot_be_streamed_is_refused(crowd: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="9 workers cannot share batches of 7 images"):
        opened(crowd).batches(0, 0, rank=0, world=9)
    with pytest.raises(UserError, match="split 'query'; splits: train"):
        open_streams([crowd.path], split="query")
    with pytest.raises(UserError, match="not a data set"):
        open_streams([str(tmp_path)])


def test_other_people_s_tars_stream_like_any_data_set(crowd: Dataset, tmp_path: Path) -> None:
    """The shards of a data set, without its index: the same images, in the same order."""
    tars = tmp_path / "tars"
    tars.mkdir()
    for shard in crowd.card.shards:
        (tars / f"{shard}.tar").write_bytes(crowd.shard_path(shard).read_bytes())
    sources = open_streams([f"{tars}/train-{{000000..000007}}.tar"], cache=tmp_path / "cache")
    stream = Stream(sources, batch_size=8, augment=AUGMENT, seed=5, threads=2, window=3)
    for one, other in zip(
        opened(crowd).batches(4, 0, rank=0, world=1), stream.batches(4, 0, rank=0, world=1), strict=True
    ):
        assert equal(one, other)
