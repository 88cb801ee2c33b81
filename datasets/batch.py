"""What one worker gets of one logical batch.

The *logical batch* (P identities x K images) is what losses, mining and batch statistics see, for any number of
workers. A worker holds the pixels of its own slice only; the few numbers known of every image (row, label, pid,
camera) it holds for the whole batch, so that the whole loss can be computed on every rank from gathered features.
Source: design of this project (elastic semantics).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

__all__ = ["Batch", "grouped", "joined"]

_COLUMNS: Final = ("rows", "labels", "pids", "camids", "has_id", "has_shape")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One rank's part of a logical batch of L images, or of one of the parts that a step's batch is cut into.

    Attributes:
        images: (b, 3, H, W) augmented and normalised, this rank's slice: `images[i]` is slot `slots[i]`.
        slots: the slice, positions in the logical batch; `len(slots)` is b.
        rows: (L,) row numbers into the concatenated sources of the plan, the whole logical batch.
        labels: (L,) class indices, 0 to num_classes - 1.
        pids: (L,) identities as their sources name them (not unique over sources).
        camids: (L,) cameras, numbered without gaps over all sources; -1 when unknown.
        has_id: (L,) whether the identity may be used by identity losses.
        has_shape: (L,) whether ground truth of the body's shape exists.
        epoch, step, seed: the three integers that every random draw of this step is a function of.
        begin: place of slot 0 in the step's whole batch; 0 unless that is cut into parts.
    """

    images: Float[Tensor, "b 3 h w"]
    slots: range
    rows: Int64[Tensor, " l"]
    labels: Int64[Tensor, " l"]
    pids: Int64[Tensor, " l"]
    camids: Int64[Tensor, " l"]
    has_id: Bool[Tensor, " l"]
    has_shape: Bool[Tensor, " l"]
    epoch: int
    step: int
    seed: int
    begin: int = 0

    @property
    def places(self) -> range:
        """The slice's places in the step's whole batch: what random draws are a function of."""
        return range(self.begin + self.slots.start, self.begin + self.slots.stop)

    @property
    def total(self) -> int:
        """The number of images in the logical batch."""
        return len(self.labels)

    def local(self, values: Tensor) -> Tensor:
        """Return this rank's slice of a tensor that covers the whole logical batch."""
        return values[self.slots.start : self.slots.stop]

    def to(self, device: torch.device | str, *, dtype: torch.dtype | None = None) -> "Batch":
        """Copy to a device; `dtype` changes the images only."""
        fast = torch.device(device).type == "cuda"
        moved = {name: getattr(self, name).to(device, non_blocking=fast) for name in _COLUMNS}
        return replace(self, images=self.images.to(device, dtype=dtype, non_blocking=fast), **moved)


def joined(parts: Sequence[Batch]) -> Batch:
    """Return what is known of all images of several parts, in order, without any pixels (no slots)."""
    columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return replace(parts[0], images=parts[0].images[:0], slots=range(0), **columns)


def grouped(batches: Iterable[Batch], count: int) -> Iterator[tuple[Batch, ...]]:
    """Yield `count` batches at a time: the parts of one step."""
    coming = iter(batches)
    while parts := tuple(islice(coming, count)):
        yield parts
