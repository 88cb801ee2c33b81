"""One attempt at one unit: run the work in a scratch folder, then publish what it made.

The same function runs in this process, in a thread and in a Ray actor, so the three cannot differ. What the work raises
becomes the attempt's reason, as text: it travels between processes whatever the exception was, and one bad unit cannot
stop the rest. What *publishing* raises is raised: a full disk or a read-only folder is not the unit's fault; nor is a
scratch folder without room.
"""

import traceback
from dataclasses import dataclass

from resight.cluster.commits import Commit, describe, publish
from resight.cluster.refusal import no_room, writing
from resight.cluster.scratch import scratch_folder
from resight.cluster.storage import Storage
from resight.cluster.units import Unit, Work

__all__ = ["Outcome", "Task", "make", "reason_of"]

_LAST_FRAMES = 3


@dataclass(frozen=True, kw_only=True)
class Task:
    """A unit and the number of this attempt, from 1."""

    unit: Unit
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        task: what was attempted.
        commit: the record that counts, or None when the attempt failed.
        reason: why it failed: exception type and message, then the last frames.
        differs: another publisher was first, with other bytes.
        lost: the worker went away while it worked: by the unit's fault, or with its machine.
    """

    task: Task
    commit: Commit | None = None
    reason: str = ""
    differs: bool = False
    lost: bool = False


def make(work: Work, task: Task, storage: Storage) -> Outcome:
    """Attempt a unit.

    Raises:
        UserError: when what was made cannot be published, or scratch has no room.
    """
    with scratch_folder() as scratch:
        try:
            made = work(task.unit, scratch)
            ours = describe(task.unit, made, fingerprint=work.fingerprint, attempt=task.attempt)
        except Exception as error:
            if no_room(error):
                with writing(f"a scratch copy of {task.unit.name!r}", scratch.parent):
                    raise
            return Outcome(task=task, reason=reason_of(error))
        first = publish(storage, task.unit, made, ours)
    return Outcome(task=task, commit=first, differs=first.files != ours.files)


def reason_of(error: BaseException) -> str:
    """Return the exception's type and message, and where it came from: the last frames, innermost last."""
    message = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)[1:][-_LAST_FRAMES:]
    return "\n".join([message, *(f"  at {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)])
