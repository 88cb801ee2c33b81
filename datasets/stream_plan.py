"""The order of a stream: every sample once an epoch, shard after shard, shuffled within a window of shards.

The order is a pure function of (seed, epoch): shards are permuted, every `window` of them in a row make a block, and
the rows of a block are permuted. So at most `window` shards, two blocks' worth where a batch straddles them, are read
from at a time, and a batch at any step is found from the shards' sizes and one block's permutation: nothing before it
is replayed. An epoch's n samples are shared out evenly over ceil(n / batch_size) batches, whose sizes differ by one at
most: no sample is lost, none comes twice, and no batch is a small rest. A batch is cut into ranks' slices like any
other, so batches are the same for any number of workers.

Source: design of this project; blocks of shards as in MosaicML Streaming's `py1br`. Trade-off: samples of shards that
are far apart in an epoch's order never meet in a batch of it; a window as large as the data gives a full shuffle at
the price of reading everywhere at once, a window of 0 gives the order of the files and no shuffle at all.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64

from resight.cluster.errors import UserError
from resight.datasets.sampler import random_words
from resight.datasets.slices import slice_of

__all__ = ["StreamPlan"]

_SHARDS, _ROWS = 3, 4  # streams of random numbers, beside the sampler's


class StreamPlan:
    """All batches of a stream.

    Args:
        shards: the rows of each shard, in the order they are stored.
        batch_size: at most so many images in a logical batch, >= 1.
        window: shards that are shuffled together, >= 1; 0 keeps the order of the files.
        seed: any integer >= 0.

    Attributes:
        steps_per_epoch: batches in an epoch.
        smallest: images in the smallest batch; no batch has more than one image more.

    Raises:
        UserError: when there is nothing to read, or a number is out of range.
    """

    def __init__(self, shards: Sequence[Int64[np.ndarray, " _"]], *, batch_size: int, window: int, seed: int) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("window", window, 0), ("seed", seed, 0)):
            if value < least:
                raise UserError(f"{name} is {value}", where=f"stream.{name}", cure=f"use {least} or more")
        self._shards = [rows for rows in shards if len(rows)]
        self._sizes = np.array([len(rows) for rows in self._shards], np.int64)
        self._total = int(self._sizes.sum())
        if not self._total:
            raise UserError("there is nothing to read", cure="choose a data set, and a split, that has images")
        self._window = window
        self._seed = seed
        self.steps_per_epoch = -(-self._total // batch_size)
        self.smallest = self._total // self.steps_per_epoch

    def __len__(self) -> int:
        """Return the number of samples, n."""
        return self._total

    def places(self, step: int) -> range:
        """Return which places of an epoch's order a batch takes."""
        return slice_of(self._total, step, self.steps_per_epoch)

    def batch(self, epoch: int, step: int) -> Int64[np.ndarray, " l"]:
        """Return the rows of one batch: at the price of permuting its block."""
        return next(self.batches(epoch, step))

    def batches(self, epoch: int, start_step: int) -> Iterator[Int64[np.ndarray, " l"]]:
        """Yield the rows of the batches of `epoch` from `start_step` on."""
        if start_step >= self.steps_per_epoch:
            return
        at = self.places(start_step).start
        blocks = self._blocks(epoch, at)
        held, begin = next(blocks)
        for step in range(start_step, self.steps_per_epoch):
            places = self.places(step)
            while begin + len(held) < places.stop:
                more, _ = next(blocks)
                held, begin = np.concatenate([held[places.start - begin :], more]), places.start
            yield held[places.start - begin : places.stop - begin].copy()

    def _blocks(self, epoch: int, at: int) -> Iterator[tuple[Int64[np.ndarray, " m"], int]]:
        """Yield (rows in order, place of the first of them) of the blocks of an epoch, from the one that holds `at`."""
        order = self._shuffled(len(self._shards), _SHARDS, epoch)
        ends = np.cumsum(self._sizes[order])
        width = max(self._window, 1)
        first = int(np.searchsorted(ends, at, "right")) // width
        for block in range(first, -(-len(order) // width)):
            mine = order[block * width : (block + 1) * width]
            rows = np.concatenate([self._shards[shard] for shard in mine])
            begin = int(ends[block * width - 1]) if block else 0
            yield rows[self._shuffled(len(rows), _ROWS, epoch, block)], begin

    def _shuffled(self, count: int, *entropy: int) -> Int64[np.ndarray, " count"]:
        if not self._window:
            return np.arange(count)
        return np.argsort(random_words(count, self._seed, *entropy), kind="stable")
