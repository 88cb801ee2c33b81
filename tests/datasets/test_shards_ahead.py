"""Batches through a cache of shards: the same as without, fetched ahead, errors where the shard is needed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from resight.cluster.errors import UserError
from resight.datasets.augment import AugmentConfig
from resight.datasets.cache_folder import entries_of
from resight.datasets.dataset import Dataset
from resight.datasets.loader import Loader
from resight.datasets.sampler import SamplerConfig
from resight.datasets.shard_access import Cached
from resight.datasets.shard_cache import ShardCache
from resight.datasets.shards_ahead import Need, shards_ahead
from resight.datasets.sources import open_sources
from tests.datasets.cached_reading import FarStorage, far_data
from tests.datasets.making import crops, write_dataset

AUGMENT = AugmentConfig(height=48, width=24, pad=4)
SAMPLER = SamplerConfig(ids_per_batch=4, images_per_id=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve shards of ten images."""
    return write_dataset(crops("train", ids=24, per_id=5), tmp_path_factory.mktemp("made"), per_shard=10)


def limit_for(data: Dataset, shards: float) -> int:
    return int(shards * max(int(facts["size"]) for facts in data.card.shards.values()))


def loader_of(data: Dataset, made: Dataset) -> Loader:
    (plain,) = open_sources([made.path], val_ids=0)
    source = replace(plain, dataset=data)
    return Loader([source], sampler=SAMPLER, augment=AUGMENT, seed=0, threads=2, cache_bytes=0)


@pytest.mark.parametrize("shards", [1.1, 4, 20])
def test_batches_through_a_cache_are_the_same(made: Dataset, tmp_path: Path, shards: float) -> None:
    cache = ShardCache(tmp_path / "cache", limit_bytes=limit_for(made, shards))
    plain = loader_of(made, made)
    with loader_of(far_data(FarStorage(Path(made.path)), cache), made) as cached:
        pairs = zip(plain.batches(1, 1, rank=1, world=2), cached.batches(1, 1, rank=1, world=2), strict=True)
        for one, other in pairs:
            assert torch.equal(one.images, other.images)
            assert sum(entry.size for entry in entries_of(cache.folder)) <= cache.limit_bytes


class Steps:
    """A plan of one new shard a step over a data set through a cache."""

    def __init__(self, made: Dataset, folder: Path, *, shards: float) -> None:
        self.storage = FarStorage(Path(made.path))
        self.cache = ShardCache(folder / "cache", limit_bytes=limit_for(made, shards))
        self.access = Cached(self.storage, made.card, self.cache)
        self.steps = range(len(made.card.shards))

    def needs(self, step: int) -> Iterator[Need]:
        yield Need(self.access, f"train-{step:06d}")

    def fetched(self) -> int:
        return len(self.storage.fetched)


def settled(steps: Steps) -> int:
    """How many shards were fetched, once that does not change any more."""
    count = -1
    while count != (count := steps.fetched()) or not count:
        time.sleep(0.2)
    return count


def test_shards_are_fetched_ahead_within_half_the_limit(made: Dataset, tmp_path: Path) -> None:
    steps = Steps(made, tmp_path, shards=8.5)
    with shards_ahead(steps.needs, steps.steps, steps.cache.limit_bytes) as ahead:
        assert settled(steps) == 4
        ahead.begin(2)
        assert settled(steps) == 6
        ahead.begin(10)
        assert settled(steps) == 8  # steps that were passed are left to their readers
    assert set(steps.storage.fetched.values()) == {1}


def test_closing_does_not_wait_for_the_plan(made: Dataset, tmp_path: Path) -> None:
    steps = Steps(made, tmp_path, shards=100)
    steps.storage.pause_s = 0.05
    start = time.monotonic()
    with shards_ahead(steps.needs, steps.steps, steps.cache.limit_bytes):
        time.sleep(0.1)
    assert time.monotonic() - start < 3
    assert steps.fetched() < 12


def test_a_step_over_the_budget_is_left_to_its_readers(made: Dataset, tmp_path: Path) -> None:
    steps = Steps(made, tmp_path, shards=1.5)
    with shards_ahead(steps.needs, steps.steps, steps.cache.limit_bytes) as ahead:
        for step in steps.steps:
            ahead.begin(step)
    assert steps.fetched() == 0


def test_an_error_is_raised_where_the_shard_is_needed(made: Dataset, tmp_path: Path) -> None:
    steps = Steps(made, tmp_path, shards=100)
    lost = FarStorage(tmp_path / "nowhere")
    broken = Cached(lost, made.card, steps.cache)

    def needs(step: int) -> Iterator[Need]:
        yield Need(broken if step == 3 else steps.access, f"train-{step:06d}")

    with shards_ahead(needs, steps.steps, steps.cache.limit_bytes) as ahead:
        assert settled(steps) == 3
        ahead.begin(2)
        with pytest.raises(UserError, match="not there"):
            ahead.begin(3)


def test_a_run_stops_at_the_batch_whose_shard_is_broken(tmp_path: Path) -> None:
    made = write_dataset(crops("train", ids=24, per_id=5), tmp_path / "d", per_shard=10)
    plain = loader_of(made, made)
    planned = plain.plan.epoch(0)
    shard = str(made.index.shard[plain.sources[0].rows[planned[3, 0]]])
    needs = [made.index.shard[plain.sources[0].rows[rows]] == shard for rows in planned]
    first = next(step for step, needed in enumerate(needs) if needed.any())
    (tmp_path / "d" / "shards" / f"{shard}.tar").write_bytes(b"nothing")
    cache = ShardCache(tmp_path / "cache", limit_bytes=limit_for(made, 100))
    with loader_of(far_data(FarStorage(tmp_path / "d"), cache), made) as loader:
        batches = loader.batches(0, 0, rank=0, world=1)
        assert [next(batches).step for _ in range(first)] == list(range(first))
        with pytest.raises(UserError, match="sha256"):
            next(batches)
