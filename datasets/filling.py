"""From the rows of a logical batch to one rank's batch: memory, and parts of work for threads that fill it.

Loader and stream differ in which rows make up a batch and in where an image comes from; all else is here, so that an
image on the same slot is augmented alike in both. Source: ours. Trade-off: parts of eight images, enough to keep a few
threads busy in a batch of 64 and too few for dozens.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from resight.datasets.augment.config import AugmentConfig
from resight.datasets.augment.draws import draw
from resight.datasets.augment.fused import apply
from resight.datasets.batch import Batch
from resight.datasets.buffers import Buffers
from resight.datasets.drawn import Drawn
from resight.datasets.prefetch import Job

__all__ = ["Filler", "ImageOf"]

_PART = 8  # images a thread takes at a time

ImageOf = Callable[[int, int], UInt8[np.ndarray, "h w 3"]]
"""(row, place in the step's batch) -> the decoded image."""


class Filler:
    """Makes jobs out of rows.

    Args:
        augment: what happens to an image.
        seed: of the draws.
    """

    def __init__(self, augment: AugmentConfig, *, seed: int) -> None:
        self._augment = augment
        self._seed = seed
        self._buffers: dict[int, Buffers] = {}

    def job(
        self,
        drawn: Drawn,
        rows: Int64[np.ndarray, " l"],
        slots: range,
        *,
        begin: int = 0,
        epoch: int,
        step: int,
        image_of: ImageOf,
    ) -> Job[Batch]:
        """Return the work that fills a rank's `slots` of the logical batch of `rows`, and the batch it fills.

        `begin` is the place of slot 0 in the step's whole batch, of which draws are a function.
        """
        shape = (len(slots), 3, self._augment.height, self._augment.width)
        array, images = self._buffers.setdefault(len(slots), Buffers(shape)).take()
        batch = drawn.batch(rows, images, slots, begin=begin, epoch=epoch, step=step)

        def fill(part: range, out: Float32[np.ndarray, "b 3 h w"]) -> None:
            pictures = [image_of(int(rows[slot]), begin + slot) for slot in part]
            places = range(begin + part.start, begin + part.stop)
            draws = draw(self._augment, seed=self._seed, epoch=epoch, step=step, slots=places)
            apply(pictures, draws, self._augment, out)

        parts = [slots[at : at + _PART] for at in range(0, len(slots), _PART)]
        first = slots.start
        work = [partial(fill, part, array[part.start - first : part.stop - first]) for part in parts]
        return Job(parts=work, result=batch)

    def forget(self) -> None:
        """Give back the memory that is not in use."""
        self._buffers.clear()
