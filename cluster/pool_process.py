"""The pool's workers in this process: no Ray, nothing to start, easy to debug.

One worker runs in the calling thread. Several are threads: the work's heavy parts (numba kernels, codecs, file reads)
release the interpreter lock, and nothing is forked. Each thread gets its own copy of the work, as each actor does, so a
work may keep buffers in itself.
"""

import pickle
import threading
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from resight.cluster.attempt import Outcome, Task, make
from resight.cluster.crew import Crew
from resight.cluster.storage import Storage
from resight.cluster.units import Work

__all__ = ["InProcess"]


@dataclass(frozen=True, kw_only=True)
class InProcess:
    """Run units in this process.

    Attributes:
        workers: 1 for the calling thread; more for that many threads.
    """

    workers: int = 1

    @contextmanager
    def crew(self, work: Work, storage: Storage) -> Generator[Crew]:
        """Open the crew."""
        if self.workers == 1:
            yield _Inline(work, storage)
            return
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pool") as executor:
            try:
                yield _Threads(work, storage, executor, self.workers)
            finally:
                executor.shutdown(cancel_futures=True)


class _Inline:
    """The calling thread."""

    def __init__(self, work: Work, storage: Storage) -> None:
        self._work = work
        self._storage = storage
        self._task: Task | None = None

    def free(self) -> int:
        return int(self._task is None)

    def start(self, task: Task) -> None:
        self._task = task

    def wait(self, waiting: int) -> list[Outcome]:
        assert self._task is not None
        task, self._task = self._task, None
        return [make(self._work, task, self._storage)]


class _Threads:
    """Threads, each with its own copy of the work."""

    def __init__(self, work: Work, storage: Storage, executor: ThreadPoolExecutor, workers: int) -> None:
        self._pickled = pickle.dumps(work)
        self._storage = storage
        self._executor = executor
        self._workers = workers
        self._own = threading.local()
        self._running: set[Future[Outcome]] = set()

    def free(self) -> int:
        return self._workers - len(self._running)

    def start(self, task: Task) -> None:
        self._running.add(self._executor.submit(self._make, task))

    def wait(self, waiting: int) -> list[Outcome]:
        ended, self._running = wait(self._running, return_when=FIRST_COMPLETED)
        return [future.result() for future in ended]

    def _make(self, task: Task) -> Outcome:
        if not hasattr(self._own, "work"):
            self._own.work = pickle.loads(self._pickled)  # noqa: S301 - pickled by this object
        return make(self._own.work, task, self._storage)
