"""How long a step took and what an epoch's losses were, without making a device wait for it.

Losses are summed where they are; numbers are read back only when an event is written.

Source: design of this project.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from resight.datasets.batch import Batch

__all__ = ["Meter"]


class Meter:
    """Times the steps and averages the losses of one epoch; a resumed epoch's averages begin where it was resumed."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
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
            value = loss.detach()
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
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

    def epoch(self) -> dict[str, Any]:
        """Return what an epoch event says: mean losses, images a second."""
        seconds = time.perf_counter() - self._begin
        means = {name: (value / self._steps).item() for name, value in self._sums.items()}
        return {"losses": means, "images_per_s": self._images / seconds, "seconds": seconds}
