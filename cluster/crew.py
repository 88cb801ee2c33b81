"""The seam between the pool's one loop and where units run.

A crew is a set of workers, each making one unit at a time. The loop (`pool.py`) owns the queue, the retries and the
quarantine, so every back end has the same semantics; a crew only starts tasks and says how they ended.
"""

from contextlib import AbstractContextManager
from typing import Protocol

from resight.cluster.attempt import Outcome, Task
from resight.cluster.storage import Storage
from resight.cluster.units import Work

__all__ = ["Crew", "PoolBackend"]


class Crew(Protocol):
    """Workers at work. Used from one thread."""

    def free(self) -> int:
        """Return how many tasks can start now."""
        ...

    def start(self, task: Task) -> None:
        """Start a task; only while `free()` is not 0."""
        ...

    def wait(self, waiting: int) -> list[Outcome]:
        """Wait until something happened, and return the tasks that ended (none when a worker became free).

        Args:
            waiting: tasks that are still in the queue; what a crew grows and shrinks by.
        """
        ...


class PoolBackend(Protocol):
    """Where units run: `InProcess`, `Processes`, `RayActors`."""

    def crew(self, work: Work, storage: Storage) -> AbstractContextManager[Crew]:
        """Open a crew for `work`; leaving it ends every worker, whatever it is doing."""
        ...
