"""Logical batches, decoded and augmented by threads ahead of the training loop.

The plan says which rows, the draws say what happens to them; both are pure functions of (seed, epoch, step, slot), and
of the label versions where pseudo labels are in force; and each thread writes its own places of a batch. So the batches
are the same bit for bit for any number of threads, with or without the cache, and a rank's images are exactly its slice
of the logical batch. A picture that cannot be decoded stops the run with its key and shard: a stand-in would be a
repeat that the sampler promises not to make. Source: design of this project. Trade-off: threads share the interpreter,
which is enough because decoding, resizing and augmenting happen outside its lock; processes are never forked, since a
child of a process that ran parallel compiled code can hang.

Where a device is named, threads decode and resize only, and the batch is augmented there when it is handed over, with
the same draws (`augment/batched.py`).
"""

import contextlib
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from resight.cluster.errors import UserError
from resight.cluster.storage import Storage
from resight.datasets.augment.config import AugmentConfig
from resight.datasets.augment.fused import apply
from resight.datasets.augment.plain import nothing_drawn
from resight.datasets.augment.resize import resize
from resight.datasets.batch import Batch
from resight.datasets.buffers import Buffers
from resight.datasets.dataset import Dataset
from resight.datasets.drawn import Drawn
from resight.datasets.filling import Filler
from resight.datasets.image_cache import DecodedImages, ImageCache
from resight.datasets.labels import LabelColumn
from resight.datasets.prefetch import Job, done_ahead
from resight.datasets.sampler import SamplerConfig, SourceRows, make_plan
from resight.datasets.shard_access import Cached
from resight.datasets.shard_cache import ShardCache
from resight.datasets.shards_ahead import Need, ShardsAhead, shards_ahead
from resight.datasets.shared_images import SharedImages
from resight.datasets.slices import slice_of
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
        device: where images are augmented, and then are; None augments in the threads.

    Attributes:
        sources, seed: as given; `relabel` changes the sources' labels.
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
        device: torch.device | None = None,
    ) -> None:
        self.seed = seed
        self._sampler = sampler
        self._augment = augment
        self._threads = threads
        self._cache_bytes = cache_bytes
        self._share = share
        self._filler = Filler(augment, seed=seed, device=device)
        self._running: weakref.WeakSet[Any] = weakref.WeakSet()
        self._draw_from(tuple(sources))
        self._cache = self._decoded()

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
        self._stop()
        self._cache.clear()
        self._filler.forget()
        for cached in self._cached():
            cached.cache.close()

    @property
    def label_versions(self) -> tuple[str, ...]:
        """Each source's label version, "" for given identities: with seed, epoch and step what decides a batch."""
        return tuple(source.version for source in self.sources)

    def relabel(self, labels: Mapping[int, LabelColumn | None]) -> None:
        """Go on with other labels: `num_classes` and the length of an epoch follow them, running iterations end.

        Decoded images are kept as long as the sources' rows stay the same, which they do from one column to the next.

        Args:
            labels: source number -> its labels from now on, None for the given identities; others stay as they are.

        Raises:
            UserError: when a column belongs to other data or has too few identities for a batch; the loader is then
                as it was.
        """
        assert all(0 <= number < len(self.sources) for number in labels), f"there are {len(self.sources)} sources"
        before = self.sources
        after = tuple(s.relabelled(labels[n]) if n in labels else s for n, s in enumerate(before))
        self._stop()
        self._draw_from(after)
        if not all(np.array_equal(one.rows, other.rows) for one, other in zip(before, after, strict=True)):
            self._cache.clear()
            self._cache = self._decoded()

    def batches(self, epoch: int, start_step: int, *, rank: int, world: int) -> Iterator[Batch]:
        """Yield a rank's slices of the logical batches of `epoch`, from `start_step` to the end of the epoch.

        A batch that is cut into parts (`SamplerConfig.parts`) comes as its parts, one after another.

        Raises:
            UserError: when there are more workers than images in a part; and, while iterating, for an image that
                cannot be read, naming its key and shard.
        """
        parts = self._sampler.parts
        if world > len(parts[0]):
            raise UserError(
                f"{world} workers cannot share {len(parts[0])} images, which go through the network together",
                where="workers",
                cure=f"use {len(parts[0])} workers or fewer, or raise sampler.ids_per_batch",
            )
        running = self._made(self.plan.epoch(epoch), epoch, start_step, rank, world)
        self._running.add(running)
        return running

    @property
    def held_out(self) -> tuple[tuple[Dataset, Int64[np.ndarray, " v"]], ...]:
        """The data sets that set identities aside for validation, with their rows."""
        return tuple((source.dataset, source.validation) for source in self.sources if len(source.validation))

    def _handed_over(self, batches: Generator[Batch]) -> Generator[Batch]:
        with contextlib.closing(batches):
            for batch in batches:
                yield self._filler.finished(batch)

    def keys(self, rows: Tensor) -> list[str]:
        """Return the samples' keys as "data set/key", for messages.

        Args:
            rows: as in `Batch.rows`.
        """
        return [self._drawn.key(row) for row in rows.tolist()]

    def _draw_from(self, sources: tuple[Source, ...]) -> None:
        plan = make_plan([_sampled(source) for source in sources], self._sampler, seed=self.seed)
        self.sources, self.plan = sources, plan
        self.num_classes, self.steps_per_epoch = plan.num_classes, plan.steps_per_epoch
        self._drawn = Drawn(sources, plan.labels, seed=self.seed)
        self.cameras = self._drawn.cameras
        self.num_cameras = len(self.cameras)

    def _decoded(self) -> DecodedImages:
        if self._share:
            return SharedImages(self.sources, self._augment, self._cache_bytes)
        return ImageCache(self._cache_bytes)

    def _made(
        self, planned: Int64[np.ndarray, "s l"], epoch: int, start: int, rank: int, world: int
    ) -> Generator[Batch]:
        parts = [(part, slice_of(len(part), rank, world)) for part in self._sampler.parts]
        own = np.concatenate([np.arange(part.start + mine.start, part.start + mine.stop) for part, mine in parts])
        steps = range(start, len(planned))
        job = partial(self._filler.job, self._drawn, epoch=epoch, image_of=self._image)
        with ExitStack() as stack:
            ahead: ShardsAhead | None = None
            if cached := self._cached():
                limit = min(access.cache.limit_bytes for access in cached)
                ahead = stack.enter_context(shards_ahead(lambda step: self._needs(planned[step, own]), steps, limit))
            jobs = (
                _after(ahead, job(planned[step, part.start : part.stop], mine, begin=part.start, step=step), step)
                for step in steps
                for part, mine in parts
            )
            batches = stack.enter_context(
                contextlib.closing(done_ahead(jobs, threads=self._threads, ahead=_AHEAD * len(parts)))
            )
            for batch in batches:
                yield self._filler.finished(batch)

    def _cached(self) -> list[Cached]:
        """Return what is read through a cache of shards."""
        return [shards for source in self.sources if isinstance(shards := source.dataset.shards, Cached)]

    def _needs(self, rows: Int64[np.ndarray, " b"]) -> Iterator[Need]:
        for row in rows.tolist():
            dataset, inner = self._drawn.place(row)
            if isinstance(dataset.shards, Cached):
                yield Need(dataset.shards, str(dataset.index.shard[inner]))

    def _stop(self) -> None:
        for running in list(self._running):
            running.close()

    def _image(self, row: int, slot: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the image, resized already if it is in the cache or finds room there."""
        image = self._cache.get(row)
        if image is None:
            dataset, inner = self._drawn.place(row)
            image = dataset.image(inner)
            if self._cache.has_room(row, 3 * self._augment.height * self._augment.width):
                image = resize(image, self._augment)
                self._cache.keep(row, image)
        return image


def open_training_data(
    sources: Sequence[str],
    *,
    sampler: SamplerConfig,
    augment: AugmentConfig,
    val_ids: float,
    seed: int,
    threads: int,
    cache_gib: float = 2.0,
    labels: Mapping[int, tuple[Storage, str]] | None = None,
    device: torch.device | None = None,
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
        labels: source number -> where its label column is, and the version, in place of the given identities.
        device: where images are augmented; None augments in the threads.

    Raises:
        UserError: for a source that cannot be opened or has too few identities for a batch.
    """
    opened = open_sources(sources, val_ids=val_ids, labels=labels, cache=shard_cache)
    return Loader(
        opened,
        sampler=sampler,
        augment=augment,
        seed=seed,
        threads=threads,
        cache_bytes=int(cache_gib * (1 << 30)),
        share=share,
        device=device,
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


def _after(ahead: ShardsAhead | None, job: Job[Batch], step: int) -> Job[Batch]:
    """Have the shards' thread told of the step before the job's parts begin."""
    return job if ahead is None else Job(parts=[partial(ahead.begin, step), *job.parts], result=job.result)


def _sampled(source: Source) -> SourceRows:
    index, rows = source.dataset.index, source.rows
    return SourceRows(
        weight=source.weight,
        pid=source.identities,
        camid=index.camid[rows],
        outfit=index.outfit[rows],
        name=source.dataset.path,
        version=source.version,
    )
