"""Where events go beside the event file: TensorBoard, the driver's progress line, later MLflow and others.

A tracker sees each event of rank 0 as it is written. It is a convenience: one that fails is dropped with one log line
and training goes on; the event file is the truth.

Source: design of this project; the small protocol follows levanter's trackers.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from resight.cluster.progress import Progress, Step

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["ProgressTracker", "TensorBoard", "Tracker", "Trackers"]

_log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Follows a run."""

    def record(self, event: Mapping[str, Any]) -> None:
        """Take note of one event (see `events.py`)."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class Trackers:
    """Several trackers as one, none of which can stop training.

    Args:
        trackers: who follows.
    """

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = list(trackers)

    def record(self, event: Mapping[str, Any]) -> None:
        """Hand the event on; drop a tracker that fails."""
        for tracker in tuple(self._trackers):
            try:
                tracker.record(event)
            except Exception as error:  # noqa: BLE001 - whatever a tracker throws, training goes on
                self._trackers.remove(tracker)
                _log.warning("%s failed and is left out from here on: %r", type(tracker).__name__, error)

    def close(self) -> None:
        """Close each; a failure is logged."""
        for tracker in self._trackers:
            try:
                tracker.close()
            except Exception as error:  # noqa: BLE001 - as above
                _log.warning("%s could not close: %r", type(tracker).__name__, error)


class TensorBoard:
    """Scalars by step: each loss, the total, learning rate and speed; epochs under `epoch/`, `validation/` as it is.

    Args:
        folder: TensorBoard's log folder.
        step: where the run goes on; later points of an earlier attempt are hidden.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._folder = folder
        self._step = step

    @cached_property
    def _writer(self) -> "SummaryWriter":
        """Made at the first event, so that a folder that cannot be written is a tracker's failure like any other."""
        from torch.utils.tensorboard import SummaryWriter  # half a second to import, and rank 0 alone needs it

        return SummaryWriter(str(self._folder), purge_step=self._step or None)

    def record(self, event: Mapping[str, Any]) -> None:
        """Write the scalars of a step or an epoch."""
        if event["event"] == "validate":
            for name in ("mAP", "mINP", "rank1"):
                self._writer.add_scalar(f"validation/{name}", event[name], event["step"], walltime=event["time"])
        if event["event"] not in ("step", "epoch"):
            return
        prefix = "" if event["event"] == "step" else "epoch/"
        for name, value in event.get("losses", {}).items():
            self._writer.add_scalar(f"{prefix}loss/{name}", value, event["step"], walltime=event["time"])
        for name in ("total", "lr", "images_per_s", "data_s", "step_s"):
            if name in event:
                self._writer.add_scalar(f"{prefix}{name}", event[name], event["step"], walltime=event["time"])
        if event["event"] == "epoch":
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class ProgressTracker:
    """Turns events into the driver's progress.

    Args:
        progress: receives the snapshots.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._total = 0
        self._judged: dict[str, float | int | str] = {}

    def record(self, event: Mapping[str, Any]) -> None:
        """Show steps, and the events that change the count."""
        kind = event["event"]
        if kind == "validate":
            self._judged = {"val mAP": event["mAP"]}
        if kind not in ("start", "resume", "step", "finish"):
            return
        self._total = event.get("steps_total", self._total)
        facts: dict[str, float | int | str] = {}
        if kind == "step":
            facts = {"epoch": event["epoch"], "loss": event["total"], "lr": event["lr"]}
            facts |= {"images/s": event["images_per_s"], **self._judged}
        if event["attempt"] > 1:
            facts["attempt"] = event["attempt"]
        self._progress(Step(task="train", done=event["step"], total=self._total, unit="steps", facts=facts))

    def close(self) -> None:
        """Nothing is left to write."""
