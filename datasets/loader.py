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
from resight.datasets.image_cache import ImageCache
from resight.datasets.prefetch import Job, done_ahead
from resight.datasets.sampler import SamplerConfig, SourceRows, make_plan
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
    ) -> None:
        self.sources = tuple(sources)
        self.seed = seed
        self.plan = make_plan([_sampled(source) for source in sources], sampler, seed=seed)
        self.num_classes = self.plan.num_classes
        self.steps_per_epoch = self.plan.steps_per_epoch
        self._sampler = sampler
        self._augment = augment
        self._threads = threads
        self._cache = ImageCache(cache_bytes)
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
        planned = self.plan.epoch(epoch)
        steps = range(start_step, len(planned))
        jobs = (self._job(planned[step], part, rank, world, epoch, step) for step in steps for part in parts)
        running = done_ahead(jobs, threads=self._threads, ahead=_AHEAD)
        self._running.add(running)
        return running

    @property
    def held_out(self) -> tuple[tuple[Dataset, Int64[np.ndarray, " v"]], ...]:
        """The data sets that set identities aside for validation, with their rows."""
        return tuple((source.dataset, source.validation) for source in self.sources if len(source.validation))

    def keys(self, rows: Tensor) -> list[str]:
        """Return the samples' keys as "data set/key", for messages.

        Args:
            rows: as in `Batch.rows`.
        """
        places = [(self.sources[self._source[row]].dataset, self._row[row]) for row in rows.tolist()]
        return [f"{dataset.name}/{dataset.index.key[row]}" for dataset, row in places]

    def _job(
        self, planned: Int64[np.ndarray, " l"], part: range, rank: int, world: int, epoch: int, step: int
    ) -> Job[Batch]:
        slots, rows = slice_of(len(part), rank, world), planned[part.start : part.stop]
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
            begin=part.start,
        )
        work = [
            partial(self._fill, planned, batch.places[at : at + _PART], epoch, step, array[at:])
            for at in range(0, len(slots), _PART)
        ]
        return Job(parts=work, result=batch)

    def _fill(
        self,
        planned: Int64[np.ndarray, " l"],
        places: range,
        epoch: int,
        step: int,
        out: Float32[np.ndarray, "b 3 h w"],
    ) -> None:
        images = [self._image(int(planned[place])) for place in places]
        draws = draw(self._augment, seed=self.seed, epoch=epoch, step=step, slots=places)
        apply(images, draws, self._augment, out[: len(places)])

    def _image(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the image, resized already if it is in the cache or finds room there."""
        image = self._cache.get(row)
        if image is None:
            image = self.sources[self._source[row]].dataset.image(int(self._row[row]))
            if self._cache.has_room(3 * self._augment.height * self._augment.width):
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
) -> Loader:
    """Open the data sets of a training run.

    Args:
        sources: "path" or "path:weight" each.
        sampler: the shape of a logical batch.
        augment: what happens to an image.
        val_ids: share of the identities set aside for validation, in [0, 1).
        seed: of sampling and augmentation.
        threads: that decode and augment.
        cache_gib: memory for decoded images, of this process.

    Raises:
        UserError: for a source that cannot be opened or has too few identities for a batch.
    """
    opened = open_sources(sources, val_ids=val_ids)
    cache_bytes = int(cache_gib * (1 << 30))
    return Loader(opened, sampler=sampler, augment=augment, seed=seed, threads=threads, cache_bytes=cache_bytes)


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
