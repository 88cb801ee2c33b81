"""The samples of several sources, one after the other, and what a batch says of them.

Plans speak of row numbers into the concatenated sources; this is where such a number becomes a data set, a row in it, a
camera, a key. Loader and stream share it. Source: design of this project. Trade-off: a few integers a sample in memory,
about 50 bytes; `betas`, which only tell whether there is a shape, are read once and not kept.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from resight.datasets.batch import Batch
from resight.datasets.dataset import Dataset
from resight.datasets.sources import Source

__all__ = ["Drawn"]


class Drawn:
    """N samples of some sources, numbered through.

    Args:
        sources: their `rows`, in order.
        labels: (N,) class of each sample, -1 where it has none.
        seed: of the run; batches carry it.

    Attributes:
        source, row: (N,) which source, and the row in its index.
        labels, pids, camids, has_shape: (N,) what a batch says; cameras are numbered without gaps, -1 when unknown.
        cameras: their names over all sources, "data set/camid", by number.
    """

    def __init__(self, sources: Sequence[Source], labels: Int64[np.ndarray, " N"], *, seed: int) -> None:
        self._datasets = [source.dataset for source in sources]
        self._seed = seed
        self.source = np.repeat(np.arange(len(sources)), [len(source.rows) for source in sources])
        self.row = np.concatenate([source.rows for source in sources])
        self.labels = labels
        self.pids = np.concatenate([source.dataset.index.pid[source.rows] for source in sources])
        camids = np.concatenate([source.dataset.index.camid[source.rows] for source in sources])
        self.camids, seen = _without_gaps(self.source, camids)
        self.cameras = tuple(f"{self._datasets[source].name}/{camid}" for source, camid in seen)
        shapes = [np.isfinite(source.dataset.index.betas[source.rows]).all(axis=1) for source in sources]
        self.has_shape = np.concatenate(shapes)

    def __len__(self) -> int:
        """Return N."""
        return len(self.row)

    def place(self, row: int) -> tuple[Dataset, int]:
        """Return the data set of a sample, and its row there."""
        return self._datasets[self.source[row]], int(self.row[row])

    def key(self, row: int) -> str:
        """Return a sample's "data set/key", for messages."""
        dataset, inner = self.place(row)
        return f"{dataset.name}/{dataset.index.key[inner]}"

    def batch(
        self,
        rows: Int64[np.ndarray, " l"],
        images: Shaped[Tensor, "b _ _ _"],
        slots: range,
        *,
        begin: int,
        epoch: int,
        step: int,
    ) -> Batch:
        """Return what one rank gets of a logical batch of these rows; `images` are filled in by others."""
        labels = self.labels[rows]
        return Batch(
            images=images,
            slots=slots,
            rows=torch.from_numpy(rows),
            labels=torch.from_numpy(labels),
            pids=torch.from_numpy(self.pids[rows]),
            camids=torch.from_numpy(self.camids[rows]),
            has_id=torch.from_numpy(labels >= 0),
            has_shape=torch.from_numpy(self.has_shape[rows]),
            epoch=epoch,
            step=step,
            seed=self._seed,
            begin=begin,
        )


def _without_gaps(source: np.ndarray, camid: np.ndarray) -> tuple[Int64[np.ndarray, " n"], list[tuple[int, int]]]:
    """Number the cameras 0, 1, 2, ... by (source, camid), unknown ones stay -1; return also (source, camid) of each."""
    known = camid >= 0
    width = int(camid.max(initial=0)) + 1
    names, codes = np.unique(source[known] * width + camid[known], return_inverse=True)
    numbers = np.full(len(camid), -1, np.int64)
    numbers[known] = codes
    return numbers, [divmod(name, width) for name in names.tolist()]
