"""The seam between the training loop and where it runs: reporting, checkpoints, and being told to stop.

The loop calls these and knows nothing of Ray, torchrun or signals. Checkpoints lie in the run folder, committed by
their own manifest, whatever the back end; so resuming works the same everywhere and needs no back end's blessing.

Source: design of this project.
"""

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

from resight.trainers.checkpoint import Position

__all__ = ["Notice", "RunContext", "Write"]

Write = Callable[[Path], Path]
"""Writes and commits a checkpoint into the given folder; returns it."""


class Notice(IntEnum):
    """What this worker was told. Ranks act on the largest that any of them has seen."""

    NONE = 0
    SAVE = 1
    """This machine will be taken away: save now, and go on for as long as it lasts."""
    STOP = 2
    """Save and return."""


class RunContext(Protocol):
    """One worker's place in a run."""

    @property
    def rank(self) -> int:
        """Number of this worker, from 0."""
        ...

    @property
    def world(self) -> int:
        """How many workers train."""
        ...

    def checkpoint(self) -> Path | None:
        """Return the checkpoint to go on from, or None at the beginning; the same on every rank."""
        ...

    def report(self, event: str, **facts: Any) -> None:
        """Write an event (see `events.py`). Every rank calls this, for the same events in the same order."""
        ...

    def save(self, write: Write, position: Position) -> None:
        """Have rank 0 write a checkpoint, and drop the oldest. Every rank calls this."""
        ...

    def notice(self) -> Notice:
        """Return what this worker was told. Every rank calls this once a step; it costs next to nothing."""
        ...
