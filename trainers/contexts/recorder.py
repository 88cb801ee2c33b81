"""What every context does with events and checkpoints: write them into the run folder.

Each rank appends to its own event file; rank 0 also feeds the trackers, writes checkpoints and the table of metrics.
Before it writes, rank 0 asks whether the run folder is still its own (`lease.py`): before each checkpoint, and about
once a second before events.

Source: design of this project.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from resight.cluster.errors import UserError
from resight.trainers import checkpoint as checkpoints
from resight.trainers.checkpoint import Position
from resight.trainers.contexts.context import Write
from resight.trainers.events import EventWriter, write_metrics
from resight.trainers.lease import Fence, LeaseLost
from resight.trainers.mirror import Mirror
from resight.trainers.run_folder import RunFolder
from resight.trainers.trackers import TensorBoard, Tracker, Trackers

__all__ = ["Recorder"]

_ASK_EVERY_S: Final = 1.0


class Recorder:
    """One rank's hand in the run folder; a context manager that notes the error it is left with.

    Args:
        run: the folder, with its `config.yaml`.
        rank: who writes.
        keep_last: newest checkpoints kept.
        keep_best: whether the one that validation found best is kept too.
        trackers: more followers of rank 0's events, beside TensorBoard.
        mirror: copies rank 0's checkpoints into the bucket where the run lies; None for a run in a folder.
        fence: of the lease under which rank 0 writes; None for a folder that nobody else can know.

    All ranks must have made their recorder before any of them writes its first event: the attempt is counted from the
    events that are there. The engine's `prepare` is that meeting point.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        rank: int,
        keep_last: int,
        keep_best: bool = True,
        trackers: Sequence[Tracker] = (),
        fence: Fence | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        self.run = run
        self.rank = rank
        self._keep_last = keep_last
        self._keep_best = keep_best
        self._fence = fence if rank == 0 else None
        self._mirror = mirror if rank == 0 else None
        self._asked_s = -_ASK_EVERY_S
        self._ask()
        self.checkpoint = run.latest()
        self.swept = checkpoints.sweep(run.checkpoints) if rank == 0 else []
        step = checkpoints.read_position(self.checkpoint).step if self.checkpoint else 0
        self._events = EventWriter(run.events_file(rank), attempt=run.attempts() + 1, rank=rank)
        self._trackers = Trackers([TensorBoard(run.tensorboard, step=step), *trackers] if rank == 0 else [])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, LeaseLost):
            with suppress(UserError):  # on a full disk the error under way says more than this one would
                self.report("error", {"kind": type(error).__name__, "message": str(error)})
        self._trackers.close()
        self._events.close()

    def report(self, event: str, facts: dict[str, Any]) -> None:
        """Write one event and hand it to the trackers."""
        if time.monotonic() - self._asked_s >= _ASK_EVERY_S:
            self._ask()
        self._trackers.record(self._events.write(event, facts))

    def save(self, write: Write, position: Position) -> None:
        """At rank 0: write a checkpoint, drop the oldest, bring the table of metrics up to date."""
        if self.rank != 0:
            return
        self._ask()
        path: Path = write(self.run.checkpoints)
        checkpoints.prune(self.run.checkpoints, self._keep_last, keep_best=self._keep_best)
        self.report("checkpoint", {"epoch": position.epoch, "step": position.step, "checkpoint": path.name})
        self.write_metrics()
        if self._mirror is not None:
            self._mirror.push()

    def write_metrics(self) -> None:
        """Write `metrics.parquet` from the events so far."""
        write_metrics(self.run.events(), self.run.metrics_file)

    def _ask(self) -> None:
        """Raise `LeaseLost` when the folder is another start's by now."""
        self._asked_s = time.monotonic()
        if self._fence is not None:
            self._fence.check()
