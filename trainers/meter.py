"""How long a step took and what an epoch's losses were, without making a device wait for it.

Losses are summed where they are, in float64; numbers are read back only when an event or a checkpoint is written. The
sums are part of a checkpoint, so that an epoch's means do not depend on where it was interrupted.

Source: design of this project.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from resight.datasets.batch import Batch

__all__ = ["Meter"]


class Meter:
    """Times the steps and averages the losses of an epoch, one after the other.

    Args:
        so_far: what `so_far` returned when the epoch was interrupted; speeds begin anew.
    """

    def __init__(self, so_far: Mapping[str, Any] | None = None) -> None:
        kept = so_far or {"sums": {}, "steps": 0}
        self._sums = {
            name: torch.tensor(float.fromhex(value), dtype=torch.float64) for name, value in kept["sums"].items()
        }
        self._steps: int = kept["steps"]
        self._images = 0
        self._waited = 0.0
        self._begin = self._mark = time.perf_counter()

    def timed(self, steps: Iterable[Sequence[Batch]]) -> Iterator[Sequence[Batch]]:
        """Yield the batches of each step, noting how long each was waited for."""
        self._mark = time.perf_counter()
        for parts in steps:
            self._waited = time.perf_counter() - self._mark
            yield parts

    def add(self, losses: Mapping[str, Tensor], parts: Sequence[Batch]) -> None:
        """Count one step's losses."""
        for name, loss in losses.items():
            value = loss.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        self._images += sum(part.total for part in parts)

    def step(self, losses: Mapping[str, Tensor], parts: Sequence[Batch]) -> dict[str, Any]:
        """Return what a step event says of losses and speed; this waits for the device. Seconds, images a second."""
        values = {name: loss.item() for name, loss in losses.items()}
        now = time.perf_counter()
        seconds = now - self._mark
        self._mark = now
        images = sum(part.total for part in parts)
        speed = {"images_per_s": images / seconds, "data_s": self._waited, "step_s": seconds}
        return {"losses": values, **speed}

    def so_far(self) -> dict[str, Any]:
        """Return the sums of the epoch, JSON-able, to go on from; this waits for the device."""
        return {"sums": {name: float(value.item()).hex() for name, value in self._sums.items()}, "steps": self._steps}

    def epoch(self) -> dict[str, Any]:
        """Return what an epoch event says: mean losses, images a second."""
        seconds = time.perf_counter() - self._begin
        means = {name: (value / self._steps).item() for name, value in self._sums.items()}
        return {"losses": means, "images_per_s": self._images / seconds, "seconds": seconds}
