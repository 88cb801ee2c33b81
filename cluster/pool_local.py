"""The pool's workers as processes on this machine: for work that holds the interpreter's lock, without Ray.

Each worker is a fresh interpreter with one thread for every numeric library, so that N workers use N cores; none is
forked, since a forked child of a process with threads may hang. The death of a worker is counted apart from a unit's
failures, as with actors. Workers end with the crew, or with this process, whatever ends it (`pool_worker.py`).

Trade-off against threads: a second to start, and the memory of one more interpreter each. `Processes.standing` keeps
the workers for several crews. Plain `subprocess`, not `multiprocessing`, whose children run the user's script again.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Final

from resight.cluster.attempt import Outcome, Task
from resight.cluster.crew import Crew, PoolBackend
from resight.cluster.pool_worker import Answer, Load, Order, Raised, Ready, Unloadable
from resight.cluster.storage import Storage
from resight.cluster.units import Work

__all__ = ["Processes"]

_FAILED_STARTS: Final = 3  # in a row: then it is the set-up, not bad luck
_GOODBYE_S: Final = 5.0
_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[2:]; from resight.cluster.pool_worker import main; main(int(sys.argv[1]))"
)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Run units in processes of this machine. The work's class must be importable: not one of a script or notebook.

    Attributes:
        workers: most processes at once.
    """

    workers: int

    @contextmanager
    def crew(self, work: Work, storage: Storage) -> Generator[Crew]:
        """Open a crew with workers of its own."""
        with self.standing() as standing, standing.crew(work, storage) as crew:
            yield crew

    @contextmanager
    def standing(self) -> Generator[PoolBackend]:
        """Give a back end whose workers, once started, serve one crew after another until this `with` ends."""
        staff = _Staff(self.workers)
        try:
            yield staff
        finally:
            staff.end()


@dataclass(kw_only=True, eq=False)
class _Hand:
    """The driver's view of one worker."""

    process: subprocess.Popen[bytes]
    line: "Connection[Order, Answer]"
    task: Task | None = None

    def tell(self, order: Order) -> None:
        """Send an order; a worker that is gone is noticed where its answer is awaited."""
        with suppress(OSError):
            self.line.send(order)


class _Staff:
    """The workers there are, busy or not."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.hands: list[_Hand] = []

    @contextmanager
    def crew(self, work: Work, storage: Storage) -> Generator[Crew]:
        """Open a crew; workers that still work when it is left are ended."""
        crew = _LocalCrew(self, Load(pickled=pickle.dumps((work, storage))))
        try:
            yield crew
        finally:
            self.end(crew.busy())

    def hire(self) -> _Hand:
        """Start a worker."""
        ours, theirs = socket.socketpair()
        paths = [path or os.getcwd() for path in sys.path]
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *paths],
                env={**os.environ, **_ONE_THREAD},
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a library says there must not get into this program's results
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for this process, which then ends the workers
            )
        self.hands.append(_Hand(process=process, line=Connection(ours.detach())))
        return self.hands[-1]

    def end(self, hands: list[_Hand] | None = None) -> None:
        """End workers, all by default, whatever they are doing; those that do not leave in time are killed."""
        leaving = list(self.hands) if hands is None else hands
        self.hands = [hand for hand in self.hands if hand not in leaving]
        for hand in leaving:
            hand.line.close()
            hand.process.terminate()
        before = time.monotonic() + _GOODBYE_S
        for hand in leaving:
            try:
                hand.process.wait(max(0.0, before - time.monotonic()))
            except subprocess.TimeoutExpired:
                hand.process.kill()
                hand.process.wait()


class _LocalCrew:
    """Workers by state: idle ones in a list, the others owe an answer."""

    def __init__(self, staff: _Staff, load: Load) -> None:
        self._staff = staff
        self._load = load
        self._idle: list[_Hand] = []
        self._failed_starts = 0
        for hand in staff.hands:
            hand.tell(load)

    def busy(self) -> list[_Hand]:
        """Return the workers that owe an answer."""
        return [hand for hand in self._staff.hands if hand not in self._idle]

    def free(self) -> int:
        return len(self._idle)

    def start(self, task: Task) -> None:
        hand = self._idle.pop()
        hand.task = task
        hand.tell(task)

    def wait(self, waiting: int) -> list[Outcome]:
        busy = self.busy()
        running = sum(hand.task is not None for hand in busy)
        for _ in range(min(self._staff.workers, running + waiting) - len(self._staff.hands)):
            busy.append(self._staff.hire())
            busy[-1].tell(self._load)
        by_line = {hand.line: hand for hand in busy}
        outcomes = [self._heard(by_line[line]) for line in wait(list(by_line)) if isinstance(line, Connection)]
        return [outcome for outcome in outcomes if outcome is not None]

    def _heard(self, hand: _Hand) -> Outcome | None:
        """Take a worker's answer; return the outcome when it is one."""
        try:
            answer = hand.line.recv()
        except (EOFError, OSError):
            return self._died(hand)
        if isinstance(answer, Raised):
            answer.error.add_note(f"in a worker process: {answer.reason}")
            raise answer.error
        if isinstance(answer, Unloadable):
            self._staff.end([hand])
            self._no_start(answer.reason)
            return None
        hand.task = None
        self._idle.append(hand)
        if isinstance(answer, Ready):
            self._failed_starts = 0
            return None
        return answer

    def _died(self, hand: _Hand) -> Outcome | None:
        self._staff.end([hand])
        reason = f"the worker process died: {_farewell(hand.process.returncode)}"
        if hand.task is not None:
            return Outcome(task=hand.task, reason=reason, lost=True)
        self._no_start(reason)
        return None

    def _no_start(self, reason: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= _FAILED_STARTS:
            raise RuntimeError(f"{_FAILED_STARTS} workers in a row could not start: {reason}")


def _farewell(code: int) -> str:
    """Return how a process ended, in words."""
    return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit code {code}"
