"""From the rows of a logical batch to one rank's batch: memory, and parts of work for threads that fill it.

Loader and stream differ in which rows make up a batch and in where an image comes from; all else is here, so that an
image on the same slot is augmented alike in both. Source: ours. Trade-off: parts of eight images, enough to keep a few
threads busy in a batch of 64 and too few for dozens.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Int64, Shaped, UInt8

from resight.datasets.augment import batched
from resight.datasets.augment.config import AugmentConfig
from resight.datasets.augment.draws import draw
from resight.datasets.augment.fused import apply
from resight.datasets.augment.resize import resize
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
        device: where images are augmented; None: in the threads that decode them.
    """

    def __init__(self, augment: AugmentConfig, *, seed: int, device: torch.device | None = None) -> None:
        self._augment = augment
        self._seed = seed
        self._device = device
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
        array, images = self._buffers.setdefault(len(slots), self._made(len(slots))).take()
        batch = drawn.batch(rows, images, slots, begin=begin, epoch=epoch, step=step)

        def fill(part: range, out: Shaped[np.ndarray, "b _ _ _"]) -> None:
            pictures = [image_of(int(rows[slot]), begin + slot) for slot in part]
            if self._device is not None:
                for place, picture in zip(out, pictures, strict=True):
                    place[:] = resize(picture, self._augment)
                return
            places = range(begin + part.start, begin + part.stop)
            draws = draw(self._augment, seed=self._seed, epoch=epoch, step=step, slots=places)
            apply(pictures, draws, self._augment, out)

        parts = [slots[at : at + _PART] for at in range(0, len(slots), _PART)]
        first = slots.start
        work = [partial(fill, part, array[part.start - first : part.stop - first]) for part in parts]
        return Job(parts=work, result=batch)

    def finished(self, batch: Batch) -> Batch:
        """Return a filled batch as it is, or, where a device is named, on it and augmented with the same draws."""
        if self._device is None:
            return batch
        draws = draw(self._augment, seed=self._seed, epoch=batch.epoch, step=batch.step, slots=batch.places)
        pixels = batch.images.to(self._device, non_blocking=True)  # (b, height, width, 3) uint8
        return replace(batch, images=batched.apply(pixels, draws, self._augment))

    def _made(self, count: int) -> Buffers:
        height, width = self._augment.height, self._augment.width
        if self._device is None:
            return Buffers((count, 3, height, width))
        return Buffers((count, height, width, 3), torch.uint8, pinned=self._device.type == "cuda")

    def forget(self) -> None:
        """Give back the memory that is not in use."""
        self._buffers.clear()
