"""Logical batches, decoded and augmented by threads ahead of the training loop.

The plan says which rows, the draws say what happens to them; both are pure functions of (seed, epoch, step, slot),
and each thread writes its own places of a batch. So the batches are the same bit for bit for any number of threads,
with or without the cache, and a rank's images are exactly its slice of the logical batch. A picture that cannot be
decoded stops the run with its key and shard: replacing it silently would change the batch. Source: design of this
project. Trade-off: threads share the interpreter, which is enough because decoding, resizing and augmenting happen
outside its lock; processes are never forked, since a child of a process that ran parallel compiled code can hang.
"""

import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from resight.cluster.errors import UserError
from resight.datasets.augment.config import AugmentConfig
from resight.datasets.augment.draws import draw
from resight.datasets.augment.fused import apply
from resight.datasets.augment.plain import nothing_drawn
from resight.datasets.augment.resize import resize
from resight.datasets.batch import Batch
from resight.datasets.buffers import Buffers
from resight.datasets.dataset import Dataset
from resight.datasets.image_cache import DecodedImages, ImageCache
from resight.datasets.prefetch import Job, done_ahead
from resight.datasets.sampler import SamplerConfig, SourceRows, make_plan
from resight.datasets.shard_access import Cached
from resight.datasets.shard_cache import ShardCache
from resight.datasets.shards_ahead import Need, ShardsAhead, shards_ahead
from resight.datasets.shared_images import SharedImages
from resight.datasets.sources import Source, open_sources

__all__ = ["Loader", "iterate_images", "open_training_data", "slice_of"]

_PART = 8  # images a thread takes at a time
_AHEAD = 3  # batches in work while one is being trained on


class Loader:
    """Batches of a training run.

    Args:
        sources: opened data sets.
        sampler: the shape of a logical batch.
        augment: what happens to an image.
        seed: of sampling and augmentation, >= 0.
        threads: that decode and augment, >= 1.
        cache_bytes: of decoded images to keep in memory.
        share: keep them once for all processes of this machine.

    Attributes:
        sources, seed: as given.
        plan: which rows make up each batch.
        num_classes: identities over all sources.
        cameras: their names over all sources, "data set/camid", by the numbers they have in a batch.
        num_cameras: how many those are.
        steps_per_epoch: logical batches in an epoch.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        sampler: SamplerConfig,
        augment: AugmentConfig,
        seed: int,
        threads: int,
        cache_bytes: int = 2 << 30,
        share: bool = False,
    ) -> None:
        self.sources = tuple(sources)
        self.seed = seed
        self.plan = make_plan([_sampled(source) for source in sources], sampler, seed=seed)
        self.num_classes = self.plan.num_classes
        self.steps_per_epoch = self.plan.steps_per_epoch
        self._augment = augment
        self._threads = threads
        self._cache: DecodedImages = (
            SharedImages(self.sources, augment, cache_bytes) if share else ImageCache(cache_bytes)
        )
        self._buffers: dict[int, Buffers] = {}
        self._running: weakref.WeakSet[Any] = weakref.WeakSet()
        self._source = np.repeat(np.arange(len(sources)), [len(source.rows) for source in sources])
        self._row = np.concatenate([source.rows for source in sources])
        self._pids = self._column("pid")
        self._camids, seen = _without_gaps(self._source, self._column("camid"))
        self.cameras = tuple(f"{sources[source].dataset.name}/{camid}" for source, camid in seen)
        self.num_cameras = len(self.cameras)
        self._has_shape = np.asarray(np.isfinite(self._column("betas")).all(axis=1))

    def __repr__(self) -> str:
        """What is trained on."""
        names = ", ".join(source.dataset.name for source in self.sources)
        return f"Loader({names}: {self.num_classes} identities, {self.steps_per_epoch} steps an epoch)"

    def __enter__(self) -> "Loader":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop all threads and forget the decoded images; iterations that were not finished end."""
        for running in list(self._running):
            running.close()
        self._cache.clear()
        self._buffers.clear()
        for cached in self._cached():
            cached.cache.close()

    def batches(self, epoch: int, start_step: int, *, rank: int, world: int) -> Iterator[Batch]:
        """Yield a rank's slices of the logical batches of `epoch`, from `start_step` to the end of the epoch.

        Raises:
            UserError: when there are more workers than images in a batch; and, while iterating, for an image that
                cannot be read, naming its key and shard.
        """
        total = self.plan.batch_size
        if world > total:
            raise UserError(
                f"{world} workers cannot share batches of {total} images",
                where="workers",
                cure=f"use {total} workers or fewer, or raise sampler.ids_per_batch",
            )
        slots = slice_of(total, rank, world)
        running = self._made(self.plan.epoch(epoch), slots, epoch, start_step)
        self._running.add(running)
        return running

    def keys(self, rows: Tensor) -> list[str]:
        """Return the samples' keys as "data set/key", for messages.

        Args:
            rows: as in `Batch.rows`.
        """
        places = [(self.sources[self._source[row]].dataset, self._row[row]) for row in rows.tolist()]
        return [f"{dataset.name}/{dataset.index.key[row]}" for dataset, row in places]

    def _made(self, planned: np.ndarray, slots: range, epoch: int, start: int) -> Generator[Batch]:
        steps = range(start, len(planned))
        with ExitStack() as stack:
            ahead: ShardsAhead | None = None
            if cached := self._cached():
                limit = min(access.cache.limit_bytes for access in cached)
                ahead = stack.enter_context(shards_ahead(lambda step: self._needs(planned[step, slots]), steps, limit))
            jobs = (self._job(planned[step], slots, epoch, step, ahead) for step in steps)
            yield from done_ahead(jobs, threads=self._threads, ahead=_AHEAD)

    def _cached(self) -> list[Cached]:
        """Return what is read through a cache of shards."""
        return [shards for source in self.sources if isinstance(shards := source.dataset.shards, Cached)]

    def _needs(self, rows: Int64[np.ndarray, " b"]) -> Iterator[Need]:
        for source, row in zip(self._source[rows].tolist(), self._row[rows].tolist(), strict=True):
            dataset = self.sources[source].dataset
            if isinstance(dataset.shards, Cached):
                yield Need(dataset.shards, str(dataset.index.shard[row]))

    def _job(
        self, rows: Int64[np.ndarray, " l"], slots: range, epoch: int, step: int, ahead: ShardsAhead | None
    ) -> Job[Batch]:
        shape = (len(slots), 3, self._augment.height, self._augment.width)
        array, images = self._buffers.setdefault(len(slots), Buffers(shape)).take()
        labels = self.plan.labels[rows]
        batch = Batch(
            images=images,
            slots=slots,
            rows=torch.from_numpy(rows),
            labels=torch.from_numpy(labels),
            pids=torch.from_numpy(self._pids[rows]),
            camids=torch.from_numpy(self._camids[rows]),
            has_id=torch.from_numpy(labels >= 0),
            has_shape=torch.from_numpy(self._has_shape[rows]),
            epoch=epoch,
            step=step,
            seed=self.seed,
        )
        parts = [slots[at : at + _PART] for at in range(0, len(slots), _PART)]
        first = [partial(ahead.begin, step)] if ahead is not None else []
        work = [partial(self._fill, rows, part, epoch, step, array[part.start - slots.start :]) for part in parts]
        return Job(parts=[*first, *work], result=batch)

    def _fill(
        self,
        rows: Int64[np.ndarray, " l"],
        slots: range,
        epoch: int,
        step: int,
        out: Float32[np.ndarray, "b 3 h w"],
    ) -> None:
        images = [self._image(int(rows[slot])) for slot in slots]
        draws = draw(self._augment, seed=self.seed, epoch=epoch, step=step, slots=slots)
        apply(images, draws, self._augment, out[: len(slots)])

    def _image(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the image, resized already if it is in the cache or finds room there."""
        image = self._cache.get(row)
        if image is None:
            image = self.sources[self._source[row]].dataset.image(int(self._row[row]))
            if self._cache.has_room(row, 3 * self._augment.height * self._augment.width):
                image = resize(image, self._augment)
                self._cache.keep(row, image)
        return image

    def _column(self, name: str) -> np.ndarray:
        return np.concatenate([getattr(source.dataset.index, name)[source.rows] for source in self.sources])


def open_training_data(
    sources: Sequence[str],
    *,
    sampler: SamplerConfig,
    augment: AugmentConfig,
    val_ids: float,
    seed: int,
    threads: int,
    cache_gib: float = 2.0,
    share: bool = False,
    shard_cache: ShardCache | None = None,
) -> Loader:
    """Open the data sets of a training run.

    Args:
        sources: "path" or "path:weight" each.
        sampler: the shape of a logical batch.
        augment: what happens to an image.
        val_ids: share of the identities set aside for validation, in [0, 1).
        seed: of sampling and augmentation.
        threads: that decode and augment.
        cache_gib: memory for decoded images.
        share: use that memory once for all processes of this machine, not once for each.
        shard_cache: read shards through it; None reads them where they lie.

    Raises:
        UserError: for a source that cannot be opened or has too few identities for a batch.
    """
    opened = open_sources(sources, val_ids=val_ids, cache=shard_cache)
    return Loader(
        opened,
        sampler=sampler,
        augment=augment,
        seed=seed,
        threads=threads,
        cache_bytes=int(cache_gib * (1 << 30)),
        share=share,
    )


def iterate_images(
    dataset: Dataset, rows: Int64[np.ndarray, " n"], augment: AugmentConfig, *, chunk: int, threads: int = 2
) -> Generator[tuple[Int64[np.ndarray, " b"], Float32[Tensor, "b 3 height width"]]]:
    """Yield (row numbers, normalised images) in chunks of `chunk`, by rising key; the last one may be shorter.

    What is in a chunk depends on the rows alone, so features do too, whoever computes them.

    Args:
        dataset: where the images are.
        rows: which images, each at most once.
        augment: size, interpolation, mean and std; nothing random is done.
        chunk: images at a time.
        threads: that decode.

    Raises:
        UserError: while iterating, for an image that cannot be read.
    """
    ordered = rows[np.argsort(dataset.index.key[rows].astype(str), kind="stable")]
    buffers = Buffers((chunk, 3, augment.height, augment.width))
    chunks = (ordered[at : at + chunk] for at in range(0, len(ordered), chunk))
    jobs = (_plain_job(dataset, part, augment, buffers) for part in chunks)
    yield from done_ahead(jobs, threads=threads, ahead=_AHEAD)


def _plain_job(
    dataset: Dataset, rows: np.ndarray, augment: AugmentConfig, buffers: Buffers
) -> Job[tuple[np.ndarray, Tensor]]:
    array, images = buffers.take()

    def fill(begin: int) -> None:
        part = rows[begin : begin + _PART]
        apply(dataset.images(part), nothing_drawn(len(part), augment), augment, array[begin : begin + len(part)])

    work = [partial(fill, begin) for begin in range(0, len(rows), _PART)]
    return Job(parts=work, result=(rows, images[: len(rows)]))


def slice_of(total: int, rank: int, world: int) -> range:
    """Return a rank's part of `total` places: consecutive, together all of them, sizes differing by at most one.

    64 places on 3 ranks are 22, 21 and 21.
    """
    assert 0 <= rank < world, f"rank {rank} of {world}"
    size, more = divmod(total, world)
    begin = rank * size + min(rank, more)
    return range(begin, begin + size + (rank < more))


def _sampled(source: Source) -> SourceRows:
    index, rows = source.dataset.index, source.rows
    return SourceRows(
        weight=source.weight,
        pid=index.pid[rows],
        camid=index.camid[rows],
        outfit=index.outfit[rows],
        name=source.dataset.path,
    )


def _without_gaps(source: np.ndarray, camid: np.ndarray) -> tuple[Int64[np.ndarray, " n"], list[tuple[int, int]]]:
    """Number the cameras 0, 1, 2, ... by (source, camid), unknown ones stay -1; return also (source, camid) of each."""
    known = camid >= 0
    names, codes = np.unique(np.stack([source[known], camid[known]], axis=1), axis=0, return_inverse=True)
    numbers = np.full(len(camid), -1, np.int64)
    numbers[known] = codes.reshape(-1)
    return numbers, [(source, camid) for source, camid in names.tolist()]
