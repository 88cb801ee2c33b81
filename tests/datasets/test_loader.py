"""Batches from real shards: the same for any threads, workers and resume points, and no thread left behind."""

import gc
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.datasets.augment import AugmentConfig, ColourJitter
from resight.datasets.augment.draws import draw
from resight.datasets.augment.fused import apply
from resight.datasets.augment.plain import test_transform
from resight.datasets.batch import Batch
from resight.datasets.buffers import Buffers
from resight.datasets.dataset import Dataset
from resight.datasets.image_cache import ImageCache
from resight.datasets.loader import Loader, iterate_images, open_training_data, slice_of
from resight.datasets.prefetch import Job, done_ahead
from resight.datasets.sampler import SamplerConfig
from resight.datasets.sources import open_sources, parse_source
from tests.datasets.making import crops, write_dataset

SAMPLER = SamplerConfig(ids_per_batch=4, images_per_id=3, steps_per_epoch=4)
AUGMENT = AugmentConfig(height=48, width=24, pad=4, colour=ColourJitter(probability=0.3, hue=0.1))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Ten people with shapes, a few junk-free test crops beside them."""
    betas = np.arange(10, dtype=np.float32)
    samples = [*crops("train", ids=10, per_id=5, betas=betas), *crops("query", ids=2, per_id=2, first=50)]
    return write_dataset(samples, tmp_path_factory.mktemp("people"), name="people")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(crops("train", ids=6, per_id=4), tmp_path_factory.mktemp("strangers"), name="strangers")


def opened(
    *data: Dataset, threads: int = 2, cache_gib: float = 1.0, seed: int = 5, sampler: SamplerConfig = SAMPLER
) -> Loader:
    paths = [dataset.path for dataset in data]
    return open_training_data(
        paths, sampler=sampler, augment=AUGMENT, val_ids=0, seed=seed, threads=threads, cache_gib=cache_gib
    )


def collected(batches: Iterator[Batch]) -> list[Batch]:
    return list(batches)


def equal(one: Batch, other: Batch) -> bool:
    names = ("images", "rows", "labels", "pids", "camids", "has_id", "has_shape")
    same = all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)
    return same and (one.epoch, one.step, one.slots) == (other.epoch, other.step, other.slots)


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("resight-loader")]


def test_a_batch_is_what_the_plan_and_the_draws_say(people: Dataset) -> None:
    loader = opened(people)
    rows = people.index.select(split="train")
    for step, batch in enumerate(loader.batches(2, 0, rank=0, world=1)):
        planned = loader.plan.epoch(2)[step]
        wanted = np.empty((12, 3, 48, 24), np.float32)
        drawn = draw(AUGMENT, seed=5, epoch=2, step=step, slots=range(12))
        apply(people.images(rows[planned]), drawn, AUGMENT, wanted)
        assert torch.equal(batch.images, torch.from_numpy(wanted))
        assert batch.rows.tolist() == planned.tolist()
        assert batch.pids.tolist() == people.index.pid[rows[planned]].tolist()
        assert batch.labels.tolist() == loader.plan.labels[planned].tolist()
        assert batch.camids.tolist() == people.index.camid[rows[planned]].tolist()
        assert (batch.epoch, batch.step, batch.seed, batch.total) == (2, step, 5, 12)
        assert batch.has_id.all()
        assert batch.has_shape.all()
        assert loader.keys(batch.rows)[0] == f"people/{people.index.key[rows[planned[0]]]}"
    assert (loader.num_classes, loader.num_cameras, loader.steps_per_epoch) == (10, 3, 4)


@pytest.mark.parametrize(("threads", "cache_gib"), [(1, 0.0), (3, 0.0), (5, 1.0), (2, 20 * 48 * 24 * 3 / 2**30)])
def test_threads_and_cache_change_nothing(people: Dataset, threads: int, cache_gib: float) -> None:
    wanted = collected(opened(people).batches(1, 0, rank=0, world=1))
    loader = opened(people, threads=threads, cache_gib=cache_gib)
    for _ in range(2):  # the second time from the cache
        got = collected(loader.batches(1, 0, rank=0, world=1))
        assert all(equal(one, other) for one, other in zip(wanted, got, strict=True))


@pytest.mark.parametrize("world", [2, 3, 5, 12])
def test_workers_hold_slices_of_the_same_batches(people: Dataset, world: int) -> None:
    whole = collected(opened(people).batches(3, 0, rank=0, world=1))
    parts = [collected(opened(people).batches(3, 0, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(whole):
        mine = [part[step] for part in parts]
        assert torch.equal(torch.cat([part.images for part in mine]), batch.images)
        assert [slot for part in mine for slot in part.slots] == list(range(12))
        assert all(torch.equal(part.rows, batch.rows) for part in mine)
        assert torch.equal(torch.cat([part.local(part.labels) for part in mine]), batch.labels)


@pytest.mark.parametrize("cut", [{"accumulate": 2}, {"bn_group": 4}, {"accumulate": 2, "bn_group": 3}])
def test_parts_are_the_same_batches_cut(people: Dataset, cut: dict[str, int]) -> None:
    """The same images with the same draws, whatever passes through the network together."""
    whole = collected(opened(people).batches(3, 1, rank=0, world=1))
    sampler = replace(SAMPLER, **cut)
    cuts = [collected(opened(people, sampler=sampler).batches(3, 1, rank=rank, world=2)) for rank in range(2)]
    count = len(sampler.parts)
    for step, batch in enumerate(whole):
        images = torch.empty_like(batch.images)
        for rank in cuts:
            for part, places in zip(rank[step * count : (step + 1) * count], sampler.parts, strict=True):
                assert torch.equal(part.rows, batch.rows[places.start : places.stop])
                assert (part.total, part.begin, part.step) == (len(places), places.start, batch.step)
                images[part.places.start : part.places.stop] = part.images
        assert torch.equal(images, batch.images)


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_resume_goes_on_with_the_same_batches(people: Dataset, start: int) -> None:
    whole = collected(opened(people).batches(6, 0, rank=0, world=1))
    rest = collected(opened(people).batches(6, start, rank=0, world=1))
    assert len(rest) == 4 - start
    assert all(equal(one, other) for one, other in zip(whole[start:], rest, strict=True))


def test_sources_keep_their_identities_and_cameras_apart(people: Dataset, strangers: Dataset) -> None:
    loader = opened(people, strangers)
    assert (loader.num_classes, loader.num_cameras) == (16, 6)
    names = [
        f"{one.name}/{camid}"
        for one in (people, strangers)
        for camid in np.unique(one.index.camid[one.index.camid >= 0])
    ]
    assert loader.cameras == tuple(names)
    batches = collected(loader.batches(0, 0, rank=0, world=1))
    rows = torch.cat([batch.rows for batch in batches])
    labels, camids = torch.cat([b.labels for b in batches]), torch.cat([b.camids for b in batches])
    shapes = torch.cat([b.has_shape for b in batches])
    first = rows < 50
    assert set(labels[first].tolist()) == set(range(10))
    assert set(labels[~first].tolist()) <= set(range(10, 16))
    assert (camids[first] < 3).all()
    assert (camids[~first] >= 3).all()
    assert torch.equal(shapes, first)


def test_a_batch_s_memory_is_used_again_only_when_nobody_looks_at_it(people: Dataset) -> None:
    loader = opened(people)
    kept = [(batch.images, batch.images.clone()) for batch in loader.batches(0, 0, rank=0, world=1)]
    collected(loader.batches(1, 0, rank=0, world=1))
    assert all(torch.equal(images, copy) for images, copy in kept)
    buffers = Buffers((2, 2))
    array, tensor = buffers.take()
    place, part = tensor.data_ptr(), tensor[1:]
    assert place % 64 == 0
    del array, tensor
    other = buffers.take()
    assert other[1].data_ptr() != place
    del part
    assert buffers.take()[1].data_ptr() == place


def test_no_thread_outlives_its_iteration(people: Dataset) -> None:
    loader = opened(people)
    collected(loader.batches(0, 0, rank=0, world=1))
    assert not loader_threads()
    abandoned = loader.batches(0, 0, rank=0, world=1)
    next(abandoned)
    assert loader_threads()
    del abandoned
    gc.collect()
    assert not loader_threads()
    with opened(people) as closing:
        running = closing.batches(0, 0, rank=0, world=1)
        next(running)
    assert not loader_threads()
    with pytest.raises(StopIteration):
        next(running)


def test_a_broken_image_stops_the_run_with_its_key_and_shard(tmp_path: Path) -> None:
    samples = crops("train", ids=4, per_id=3)
    data = write_dataset(samples, tmp_path / "data", name="broken")
    shard = data.shard_path("train-000000")
    offset = int(data.index.spans("image")[0][data.index.row_of("train-0002-01")])
    content = bytearray(shard.read_bytes())
    content[offset : offset + 200] = bytes(200)
    shard.write_bytes(content)
    with pytest.raises(UserError, match="cannot be decoded") as caught:
        collected(opened(data).batches(0, 0, rank=0, world=1))
    assert "train-0002-01" in caught.value.where
    assert "train-000000.tar" in caught.value.where
    assert "resight data check" in caught.value.cure
    assert not loader_threads()


def test_more_workers_than_images_are_refused(people: Dataset) -> None:
    with pytest.raises(UserError, match="13 workers cannot share 12 images, which go"):
        opened(people).batches(0, 0, rank=0, world=13)


@given(total=st.integers(0, 300), world=st.integers(1, 40))
def test_slices_are_all_places_once_and_differ_by_one_at_most(total: int, world: int) -> None:
    slices = [slice_of(total, rank, world) for rank in range(world)]
    assert [place for part in slices for place in part] == list(range(total))
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_slices_of_64_on_3() -> None:
    assert [len(slice_of(64, rank, 3)) for rank in range(3)] == [22, 21, 21]


def test_identities_set_aside_are_not_trained_on(people: Dataset) -> None:
    (source,) = open_sources([people.path], val_ids=0.2)
    trained, aside = (set(people.index.pid[rows].tolist()) for rows in (source.rows, source.validation))
    assert trained
    assert aside
    assert not trained & aside
    assert len(source.rows) + len(source.validation) == 50
    loader = open_training_data([people.path], sampler=SAMPLER, augment=AUGMENT, val_ids=0.2, seed=0, threads=1)
    pids = {pid for batch in loader.batches(0, 0, rank=0, world=1) for pid in batch.pids.tolist()}
    assert pids <= trained


def test_junk_distractors_and_strangers_are_never_trained_on(tmp_path: Path) -> None:
    good = crops("train", ids=4, per_id=2)
    others = crops("train", ids=3, per_id=2, first=20)
    for number, changes in enumerate(({"role": "junk"}, {"role": "distractor"}, {"pid": -1})):
        for place in (2 * number, 2 * number + 1):
            others[place] = replace(others[place], record=replace(others[place].record, **changes))  # type: ignore[arg-type]
    data = write_dataset([*good, *others], tmp_path / "mixed", name="mixed")
    (source,) = open_sources([data.path], val_ids=0)
    assert data.index.pid[source.rows].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("data/market", "data/market", None),
        ("data/market:2", "data/market", 2.0),
        ("a:b/c:.5", "a:b/c", 0.5),
        ("a:b", "a:b", None),
        ("a:1e-3", "a", 1e-3),
        ("a:1:2", "a:1", 2.0),
        ("a:inf", "a:inf", None),
    ],
)
def test_a_source_is_a_path_and_maybe_a_weight(text: str, path: str, weight: float | None) -> None:
    assert parse_source(text) == (path, weight)


@pytest.mark.parametrize("text", ["", ":2", "a:0", "a:-1", "a:1e999"])
def test_a_source_without_path_or_with_a_useless_weight_is_refused(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_source(text)
    assert caught.value.cure


def test_weights_default_to_the_number_of_identities(people: Dataset, strangers: Dataset) -> None:
    assert [source.weight for source in open_sources([people.path, strangers.path], val_ids=0)] == [10, 6]
    given_weights = open_sources([f"{people.path}:2", f"{strangers.path}:1"], val_ids=0)
    assert [source.weight for source in given_weights] == [2, 1]


def test_sources_that_make_no_sense_are_refused(people: Dataset, strangers: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="some have none"):
        open_sources([f"{people.path}:2", strangers.path], val_ids=0)
    with pytest.raises(UserError, match="named twice"):
        open_sources([people.path, people.path], val_ids=0)
    with pytest.raises(UserError, match="not a data set"):
        open_sources([str(tmp_path)], val_ids=0)
    only_test = write_dataset(crops("query", ids=2, per_id=2), tmp_path / "test", name="test")
    with pytest.raises(UserError, match="nothing to train on; splits: query"):
        open_sources([only_test.path], val_ids=0)


@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
def test_extraction_goes_in_chunks_by_key(people: Dataset, chunk: int) -> None:
    rows = np.random.default_rng(0).permutation(len(people))
    parts = list(iterate_images(people, rows, AUGMENT, chunk=chunk, threads=3))
    assert [len(part) for part, _ in parts[:-1]] == [chunk] * (len(parts) - 1)
    ordered = np.concatenate([part for part, _ in parts])
    keys = people.index.key[ordered].tolist()
    assert keys == sorted(people.index.key.tolist())
    images = torch.cat([images for _, images in parts])
    assert torch.equal(images, torch.from_numpy(test_transform(people.images(ordered), AUGMENT)))


def test_a_batch_moves_and_changes_its_images_type_only(people: Dataset) -> None:
    batch = next(iter(opened(people).batches(0, 0, rank=0, world=1)))
    moved = batch.to("cpu", dtype=torch.float64)
    assert moved.images.dtype == torch.float64
    assert moved.labels.dtype == torch.int64
    assert torch.equal(moved.images, batch.images.double())


def test_a_full_cache_keeps_what_it_has() -> None:
    cache, image = ImageCache(250), np.zeros((7, 5, 3), np.uint8)
    for row in range(3):
        cache.keep(row, image)
    cache.keep(1, image)
    assert [cache.get(row) is image for row in range(3)] == [True, True, False]
    assert not cache.has_room(105)
    cache.clear()
    cache.keep(2, image)
    assert cache.get(2) is image


def test_the_first_part_s_error_is_raised_in_order() -> None:
    done: list[int] = []

    def fail(number: int) -> None:
        raise ValueError(number)

    jobs = [Job(parts=[lambda n=n: done.append(n), lambda n=n: None if n < 2 else fail(n)], result=n) for n in range(9)]
    results = done_ahead(jobs, threads=3, ahead=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)
    assert set(done) >= {0, 1, 2}
    assert not loader_threads()
