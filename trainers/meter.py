"""How long a step took, where the time went, and what an epoch's losses were, without making a device wait for it.

Losses are summed where they are, in float64; numbers are read back only when an event or a checkpoint is written. The
sums are part of a checkpoint, so that an epoch's means do not depend on where it was interrupted. The parts of a step
(`clock.py`) are means over the steps since the last event of their kind; together with `data_s` they make up `step_s`
but for what the loop does itself. On CUDA they are times of the device's stream, which may wait for the host or run
behind it.

Source: design of this project.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from resight.datasets.batch import Batch
from resight.trainers.clock import PARTS, Clock
from resight.trainers.speed import peak_memory_mib

__all__ = ["Meter"]


class Meter:
    """Times the steps and averages the losses of an epoch, one after the other.

    Args:
        clock: the engine's, which tells the parts of a step apart.
        device: whose memory is told.
        share: of what the devices could do, for one image a second (MFU / (images/s)); None where that is not known.
        so_far: what `so_far` returned when the epoch was interrupted; speeds begin anew.
    """

    def __init__(
        self, clock: Clock, device: torch.device, share: float | None, so_far: Mapping[str, Any] | None = None
    ) -> None:
        self._clock = clock
        self._device = device
        self._share = share
        kept = so_far or {"sums": {}, "steps": 0}
        self._sums = {
            name: torch.tensor(float.fromhex(value), dtype=torch.float64, device=device)
            for name, value in kept["sums"].items()
        }
        self._steps: int = kept["steps"]
        clock.read()
        self._since_event = _Tally()
        self._since_start = _Tally()

    def timed(self, steps: Iterable[Sequence[Batch]]) -> Iterator[Sequence[Batch]]:
        """Yield the batches of each step, noting how long each was waited for."""
        begin = time.perf_counter()
        for parts in steps:
            self._since_event.seconds["data"] += time.perf_counter() - begin
            yield parts
            begin = time.perf_counter()

    def add(self, losses: Mapping[str, Tensor], parts: Sequence[Batch]) -> None:
        """Count one step's losses."""
        for name, loss in losses.items():
            value = loss.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        self._since_event.steps += 1
        self._since_event.images += sum(part.total for part in parts)

    def step(self, losses: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return what a step event says of losses and speed; this waits for the device. Seconds, images a second."""
        values = {name: loss.item() for name, loss in losses.items()}
        return {"losses": values, **self._read().facts()}

    def so_far(self) -> dict[str, Any]:
        """Return the sums of the epoch, JSON-able, to go on from; this waits for the device."""
        return {"sums": {name: float(value.item()).hex() for name, value in self._sums.items()}, "steps": self._steps}

    def epoch(self) -> dict[str, Any]:
        """Return what an epoch event says: mean losses, means of the steps, share of the peak, peak memory."""
        sums = {name: value.item() for name, value in self._sums.items()}
        self._read()
        whole = self._since_start
        means = {name: value / self._steps for name, value in sums.items()}
        facts = whole.facts()
        share = {} if self._share is None else {"mfu": facts["images_per_s"] * self._share}
        memory = {"peak_memory_mib": peak_memory_mib(self._device)}
        return {"losses": means, **facts, **share, **memory, "seconds": time.perf_counter() - whole.begin}

    def _read(self) -> "_Tally":
        """Return what happened since the last event and begin anew."""
        for part, seconds in self._clock.read().items():
            self._since_event.seconds[part] += seconds
        found, self._since_event = self._since_event, _Tally()
        self._since_start.add(found)
        return found


class _Tally:
    """Steps, images and seconds by part, from `begin` on."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.steps = 0
        self.images = 0
        self.seconds = dict.fromkeys(("data", *PARTS), 0.0)

    def add(self, other: "_Tally") -> None:
        self.steps += other.steps
        self.images += other.images
        for part, seconds in other.seconds.items():
            self.seconds[part] += seconds

    def facts(self) -> dict[str, float]:
        """Return images a second, and the seconds of a step: whole, and by part."""
        elapsed, steps = time.perf_counter() - self.begin, max(1, self.steps)
        parts = {f"{part}_s": seconds / steps for part, seconds in self.seconds.items()}
        return {"images_per_s": self.images / elapsed, "step_s": elapsed / steps, **parts}
