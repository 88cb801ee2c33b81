"""What one worker does, wherever it runs: threads set, data opened, engine made, `fit`.

Source: design of this project.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from resight.cluster.errors import UserError
from resight.cluster.storage import is_url
from resight.datasets.loader import Loader, open_training_data
from resight.datasets.node_cache import node_cache
from resight.datasets.shard_cache import ShardCache
from resight.trainers.config import Config, DataConfig
from resight.trainers.contexts.context import RunContext
from resight.trainers.contexts.in_process import Place
from resight.trainers.contexts.recorder import Recorder
from resight.trainers.engines import open_engine
from resight.trainers.engines.placing import device_for
from resight.trainers.fit import FitResult, fit
from resight.trainers.lease import Fence
from resight.trainers.mirror import Mirror
from resight.trainers.run_folder import RunFolder
from resight.trainers.trackers import Tracker

__all__ = ["open_data", "work"]


def work(
    config: Config,
    run: RunFolder,
    where: Place,
    context_of: Callable[[Recorder], RunContext],
    trackers: Sequence[Tracker] = (),
    *,
    fence: Fence | None = None,
    mirror: Mirror | None = None,
) -> FitResult:
    """Train as one worker; the process group, if there are several, has been joined already.

    Args:
        config: the whole configuration, its paths absolute.
        run: the run folder, which all workers share.
        where: this worker's rank, and how many there are.
        context_of: makes the context around the recorder.
        trackers: further followers of rank 0's events.
        fence: rank 0's leave to write into the run folder.
        mirror: what copies rank 0's checkpoints into a bucket.
    """
    with ExitStack() as stack:
        stack.enter_context(_threads(config.engine.threads))
        data = stack.enter_context(open_data(config, world=where.world, local_rank=where.local_rank))
        recorder = stack.enter_context(
            Recorder(
                run,
                rank=where.rank,
                keep_last=config.run.keep_last,
                keep_best=config.run.keep_best,
                trackers=trackers,
                fence=fence,
                mirror=mirror,
            )
        )
        engine = open_engine(config.engine, world=where.world, local_rank=where.local_rank)
        result = fit(config, data, engine, context_of(recorder))
        if where.rank == 0:
            recorder.write_metrics()
        return result


def open_data(config: Config, *, world: int, local_rank: int = 0) -> Loader:
    """Open the training data; `UserError` when it is not there, or has too little for the config's batches."""
    device, on = device_for(config.engine, local_rank), config.data.augment_on
    images = len(config.sampler.parts[0])
    if images < world:
        raise UserError(
            f"{world} workers cannot share {images} images, which go through the network together",
            where="workers",
            cure=f"use {images} workers or fewer, or a larger sampler.ids_per_batch or sampler.bn_group",
        )
    return open_training_data(
        config.data.sources,
        sampler=config.sampler,
        augment=config.augment,
        val_ids=config.data.val_ids,
        seed=config.seed,
        threads=config.data.threads,
        device=device if on == "device" or (on == "auto" and device.type == "cuda") else None,
        cache_gib=config.data.decoded_gib,
        share=config.data.share_decoded,
        shard_cache=_shard_cache(config.data),
    )


def _shard_cache(data: DataConfig) -> ShardCache | None:
    """Return what shards are read through: the given folder; else the machine's own, as soon as a source is a URL."""
    if data.cache_dir is not None:
        return ShardCache(data.cache_dir, limit_bytes=int(data.cache_gib * (1 << 30)))
    return node_cache(data.cache_gib) if any(is_url(source) for source in data.sources) else None


@contextmanager
def _threads(count: int) -> Generator[None]:
    """Let torch compute with `count` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
