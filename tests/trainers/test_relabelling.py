"""Pseudo labels in a run, and a stream in the loop."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from resight.cluster.storage import LocalStorage
from resight.datasets.augment import AugmentConfig
from resight.datasets.dataset import Dataset
from resight.datasets.loader import Loader
from resight.datasets.opening import open_streams
from resight.datasets.sampler import SamplerConfig
from resight.datasets.sources import Source, open_sources
from resight.datasets.streaming import Stream
from resight.trainers.config import Config
from resight.trainers.engines import open_engine
from resight.trainers.fit import fit
from resight.trainers.methods.method import Method, Models
from resight.trainers.methods.strong_baseline import METHOD
from resight.trainers.relabelling import relabel, restore
from tests.datasets.making import crops, write_dataset
from tests.trainers.toy import HEIGHT, WIDTH, NotedContext, toy_config

AUGMENT = AugmentConfig(height=HEIGHT, width=WIDTH, pad=1)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(crops("train", ids=5, per_id=5), tmp_path_factory.mktemp("people"), per_shard=10)


def loader(people: Dataset) -> Loader:
    sampler = SamplerConfig(ids_per_batch=2, images_per_id=3)
    return Loader(open_sources([people.path], val_ids=0), sampler=sampler, augment=AUGMENT, seed=1, threads=1)


def by_epoch(models: Models, sources: Sequence[Source], config: Config, epoch: int) -> Mapping[int, np.ndarray]:
    """Clusters that move on by one image an epoch."""
    return {0: (np.arange(len(sources[0].crops)) + epoch) // 5 - (epoch == 1)}


METHOD_WITH_CLUSTERS: Method = replace(METHOD, relabel=by_epoch)


def test_an_epoch_is_resumed_with_its_own_labels(people: Dataset, tmp_path: Path) -> None:
    config, run = toy_config(), LocalStorage(tmp_path)
    data, models = loader(people), Models({})
    whole, versions = [], []
    for epoch in range(3):
        versions.append(relabel(METHOD_WITH_CLUSTERS, models, data, config, epoch, run))
        whole.append([batch.images.clone() for batch in data.batches(epoch, 0, rank=0, world=1)])
    assert len(set(versions)) == 3
    assert len(run.list("labels/")) == 6
    for epoch in (2, 0, 1):
        resumed = loader(people)
        restore(resumed, run, versions[epoch])
        assert resumed.label_versions == versions[epoch]
        rest = [batch.images for batch in resumed.batches(epoch, 1, rank=0, world=1)]
        assert all(torch.equal(one, other) for one, other in zip(whole[epoch][1:], rest, strict=True))
    relabel(METHOD_WITH_CLUSTERS, models, data, config, 1, run)  # the same epoch again, after a crash: nothing new
    assert len(run.list("labels/")) == 6
    restore(data, run, [""])
    assert data.label_versions == ("",)


def test_the_loop_trains_on_a_stream_and_goes_on_in_the_middle_of_it(people: Dataset, tmp_path: Path) -> None:
    """25 images in batches of at most 8 are 7, 6, 6 and 6."""
    config = toy_config(engine__precision="float32")

    def run(folder: str, **options: object) -> NotedContext:
        torch.set_num_threads(1)
        data = Stream(open_streams([people.path]), batch_size=8, augment=AUGMENT, seed=config.seed, threads=2)
        context = NotedContext(tmp_path / folder, **options)  # type: ignore[arg-type]
        fit(config, data, open_engine(config.engine, world=1), context)
        return context

    whole, before = run("whole"), run("parts", stop_at=3)
    after = run("parts", start=before.saved[-1])
    assert len(whole.totals()) == 8
    assert before.totals() + after.totals() == whole.totals()
