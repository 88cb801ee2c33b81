"""Streams: logical batches of all images, labelled or not, read shard after shard; resumes in the middle of an epoch.

For pre-training and extraction over more images than fit into memory, where identities do not decide what is in a
batch. The order is `stream_plan.py`'s, so batches are a pure function of (seed, epoch, step), the same for any number
of workers and threads, and any step can be gone on from with these integers. Augmentation is the loader's, by slot.

*Bad images.* What is no picture is quarantined with its key and reason, counted and shown, and stops the run above a
set share. Its slot is filled by a stand-in: the next sample, from a place drawn by (seed, epoch, step, slot), among
those that agree with the bad one in all that a batch says of it: class, identity, camera, whether there is a shape. So
what every rank knows of the whole batch stays true without a word between ranks, the same stand-in is taken by any
number of workers and after any resume, and a stand-in is one image that this epoch shows twice. `rows` and `keys` keep
naming the planned sample. Where nobody agrees, the run stops.

Source: design of this project. Trade-off: an image that is found to be bad is tried again by no worker that knows it,
but each worker has to find it for itself; and a stand-in is read from anywhere, not from the open window of shards.
"""

import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, Step, silent
from resight.datasets.augment.config import AugmentConfig
from resight.datasets.batch import Batch
from resight.datasets.dataset import Dataset
from resight.datasets.decode import Undecodable
from resight.datasets.drawn import Drawn
from resight.datasets.filling import Filler
from resight.datasets.prefetch import done_ahead
from resight.datasets.quarantine import Quarantine, Quarantined
from resight.datasets.sampler import class_labels, random_words
from resight.datasets.slices import slice_of
from resight.datasets.sources import Source
from resight.datasets.stream_plan import StreamPlan

__all__ = ["Stream", "by_shard"]

_STAND_IN = 5  # stream of random numbers, beside the sampler's and the plan's
_AHEAD = 3  # batches in work while one is being trained on


class Stream:
    """All images of some sources, an epoch after the other; `TrainData` for `fit`.

    Args:
        sources: opened data sets (`open_streams`); their `rows` are read, weights do not count.
        batch_size: at most so many images in a logical batch; see `stream_plan.py` for the exact sizes.
        augment: what happens to an image.
        seed: of order and augmentation, >= 0.
        threads: that decode and augment, >= 1.
        window: shards that are shuffled together; 0 reads in the order of the files.
        max_bad_share: share of bad images above which the run stops.
        progress: told after each batch how many images this epoch were read, and how many are quarantined.

    Attributes:
        plan: which rows make up each batch.
        num_classes: identities over all sources; unlabelled images have class -1.
        cameras, num_cameras: as in `Loader`.
        steps_per_epoch: logical batches in an epoch.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        batch_size: int,
        augment: AugmentConfig,
        seed: int,
        threads: int,
        window: int = 8,
        max_bad_share: float = 0.01,
        progress: Progress = silent,
    ) -> None:
        labels, counts = class_labels([source.identities for source in sources])
        self.num_classes = sum(counts)
        self._drawn = Drawn(sources, labels, seed=seed)
        self.cameras = self._drawn.cameras
        self.num_cameras = len(self.cameras)
        self.plan = StreamPlan(by_shard(sources), batch_size=batch_size, window=window, seed=seed)
        self.steps_per_epoch = self.plan.steps_per_epoch
        where = ", ".join(source.dataset.path for source in sources)
        self._quarantine = Quarantine(max_bad_share=max_bad_share, where=where)
        self._filler = Filler(augment, seed=seed)
        self._seed = seed
        self._threads = threads
        self._progress = progress
        self._running: weakref.WeakSet[Any] = weakref.WeakSet()

    def __enter__(self) -> "Stream":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop all threads; iterations that were not finished end."""
        for running in list(self._running):
            running.close()
        self._filler.forget()

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        """What this worker found to be no picture so far."""
        return self._quarantine.entries

    @property
    def held_out(self) -> tuple[tuple[Dataset, Int64[np.ndarray, " v"]], ...]:
        """Nobody is set aside."""
        return ()

    def batches(self, epoch: int, start_step: int, *, rank: int, world: int) -> Iterator[Batch]:
        """Yield a rank's slices of the logical batches of `epoch`, from `start_step` to the end of the epoch.

        Raises:
            UserError: when there are more workers than images in a batch; while iterating, for a shard that cannot be
                read, and when too many images are bad.
        """
        if world > self.plan.smallest:
            raise UserError(
                f"{world} workers cannot share batches of {self.plan.smallest} images",
                where="workers",
                cure="use fewer workers, or a larger batch size",
            )
        running = self._batches(epoch, start_step, rank, world)
        self._running.add(running)
        return running

    def keys(self, rows: Tensor) -> list[str]:
        """Return the planned samples' keys as "data set/key"."""
        return [self._drawn.key(row) for row in rows.tolist()]

    def _batches(self, epoch: int, start_step: int, rank: int, world: int) -> Iterator[Batch]:
        planned = enumerate(self.plan.batches(epoch, start_step), start=start_step)
        jobs = (
            self._filler.job(
                self._drawn,
                rows,
                slice_of(len(rows), rank, world),
                epoch=epoch,
                step=step,
                image_of=partial(self._image, epoch, step),
            )
            for step, rows in planned
        )
        for batch in done_ahead(jobs, threads=self._threads, ahead=_AHEAD):
            bad = len(self._quarantine)
            done = self.plan.places(batch.step).stop
            facts: dict[str, float | int | str] = {"quarantined": bad} if bad else {}
            self._progress(Step(task="stream", done=done, total=len(self.plan), unit="images", facts=facts))
            yield batch

    def _image(self, epoch: int, step: int, row: int, slot: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the image of a row, or its stand-in's."""
        self._quarantine.asked()
        image = self._picture(row)
        if image is not None:
            return image
        groups, group = self._alike
        others = groups[group[row]]
        begin = int(random_words(1, self._seed, _STAND_IN, epoch, step, slot)[0] % np.uint64(len(others)))
        for other in (*others[begin:].tolist(), *others[:begin].tolist()):
            image = self._picture(other)
            if image is not None:
                return image
        key = self._drawn.key(row)
        raise UserError(
            f"{key} is no picture, and no image of the same identity and camera can stand in for it",
            where=self._drawn.place(row)[0].path,
            cure="leave it out: make the data set again",
        )

    @cached_property
    def _alike(self) -> tuple[list[Int64[np.ndarray, " _"]], Int64[np.ndarray, " N"]]:
        """Groups of rows that batches say the same of, and the group of each row; made for the first bad image."""
        drawn = self._drawn
        said = np.stack([drawn.labels, drawn.pids, drawn.camids, drawn.has_shape], axis=1)
        kind = np.unique(said, axis=0, return_inverse=True)[1].reshape(-1)
        order = np.argsort(kind, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(kind[order])) + 1), kind

    def _picture(self, row: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return a row's image; None, and a note, when it is none."""
        if row in self._quarantine:
            return None
        dataset, inner = self._drawn.place(row)
        try:
            return dataset.pixels(inner)
        except Undecodable as error:
            shard = str(dataset.index.shard[inner])
            self._quarantine.note(row, Quarantined(key=self._drawn.key(row), shard=shard, reason=error.reason))
            return None


def by_shard(sources: Sequence[Source]) -> list[Int64[np.ndarray, " _"]]:
    """Return the rows of each shard, numbered through the sources, in the order of sources and shards."""
    found: list[np.ndarray] = []
    first = 0
    for source in sources:
        shard = source.dataset.index.shard_number[source.rows]
        order = np.argsort(shard, kind="stable")
        cuts = np.flatnonzero(np.diff(shard[order])) + 1
        found += [first + rows for rows in np.split(order, cuts)]
        first += len(source.rows)
    return found
