"""Work pools: a list of units in, published files and commit records out, each unit exactly once.

Rendering, packing, teaching and feature extraction have one shape: output shards that are deterministic functions of
their specifications. `run_pool` skips what is already published, hands the rest to a back end, retries what fails on
another worker, and sets aside a unit that keeps failing. Kill it at any time and run it again: the folder ends up byte
for byte as if nothing had happened.

Trade-off: at-least-once execution with deterministic bytes and idempotent publishing, instead of locks or a database; a
unit that was in flight when the pool died is made again.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from resight.cluster.attempt import Outcome, Task
from resight.cluster.commits import Commit, FileRecord, check_settings, commit_key, read_commit
from resight.cluster.crew import Crew, PoolBackend
from resight.cluster.pool_local import Processes
from resight.cluster.pool_process import InProcess
from resight.cluster.pool_ray import RayActors
from resight.cluster.progress import Progress, Step, silent
from resight.cluster.scratch import sweep_scratch
from resight.cluster.storage import Storage
from resight.cluster.units import Made, Unit, Work, check_names

__all__ = [
    "Commit",
    "FileRecord",
    "InProcess",
    "Made",
    "PoolBackend",
    "PoolResult",
    "Processes",
    "Quarantined",
    "RayActors",
    "Unit",
    "Work",
    "run_pool",
]

_READERS = 16
_STALE_S = 3600.0  # a temporary file that nobody wrote to for this long belongs to nobody


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A unit that was set aside.

    Attributes:
        name: the unit.
        reason: the last failure: exception type and message on the first lines, then where it came from.
        attempts: how often it was tried.
    """

    name: str
    reason: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class PoolResult:
    """What a pool achieved; the caller decides whether a quarantined unit is an error.

    Attributes:
        commits: the records of all published units, in the order of the units.
        quarantined: units that failed every attempt, in the order of the units.
        skipped: how many of `commits` were found already published.
        retries: attempts that failed and were followed by another.
        differing: units that another publisher had committed first, with other bytes (kept in `_conflicts/`).
    """

    commits: tuple[Commit, ...]
    quarantined: tuple[Quarantined, ...] = ()
    skipped: int = 0
    retries: int = 0
    differing: tuple[str, ...] = ()


def run_pool(
    work: Work,
    units: Sequence[Unit],
    storage: Storage,
    *,
    backend: PoolBackend,
    progress: Progress = silent,
    task: str = "",
    attempts: int = 3,
    losses: int = 6,
) -> PoolResult:
    """Make and publish every unit that is not published yet.

    Args:
        work: the function from a unit to its files.
        units: what is wanted; names must be unique.
        storage: where it goes. With Ray on several machines, a folder that all of them see, or S3.
        backend: where the work runs.
        progress: told after every unit.
        task: what to call this in progress, e.g. "render clothes".
        attempts: how often a unit may fail before it is set aside.
        losses: how often its worker may die under it. Machines that are taken away are not the unit's fault, so these
            are counted apart; a unit that ends each worker it gets is set aside all the same.

    Raises:
        UserError: when the folder holds a unit with other settings, or publishing fails.
        ValueError: for unit names that are used twice or are unsafe as file names.
    """
    check_names(units)
    storage.sweep_temporaries(_STALE_S)
    sweep_scratch()
    ledger = _Ledger(units, _published(work, units, storage), attempts=attempts, losses=losses)
    queue = deque(Task(unit=unit, attempt=1) for unit in units if unit.name not in ledger.commits)
    progress(ledger.step(task))
    if queue:
        with backend.crew(work, storage) as crew:
            _drive(crew, queue, ledger, lambda: progress(ledger.step(task)))
    return ledger.result()


def _published(work: Work, units: Sequence[Unit], storage: Storage) -> dict[str, Commit]:
    """Return the units that need no work; UserError when one is there with other settings.

    Two listings say what is there, and records are read several at a time: on S3 each answer takes its while.
    """
    there = storage.sizes("_commits/")
    begun = [unit for unit in units if commit_key(unit.name) in there]
    if not begun:
        return {}
    sizes = storage.sizes()
    found: dict[str, Commit] = {}
    with ThreadPoolExecutor(_READERS) as readers:
        records = readers.map(lambda unit: read_commit(storage, unit.name), begun)
        for unit, record in zip(begun, records, strict=True):
            if record is not None:
                check_settings(storage, record, unit, work.fingerprint)
                if all(sizes.get(key) == file.size for key, file in record.files.items()):
                    found[unit.name] = record
    return found


def _drive(crew: Crew, queue: deque[Task], ledger: "_Ledger", tell: Callable[[], None]) -> None:
    """Keep the crew busy until the queue is empty and nothing runs."""
    running = 0
    while queue or running:
        while queue and crew.free():
            crew.start(queue.popleft())
            running += 1
        ended = crew.wait(len(queue))
        running -= len(ended)
        queue.extend(again for outcome in ended if (again := ledger.enter(outcome)) is not None)
        if ended:
            tell()


class _Ledger:
    """What is known of every unit."""

    def __init__(self, units: Sequence[Unit], published: dict[str, Commit], *, attempts: int, losses: int) -> None:
        self._order = [unit.name for unit in units]
        self._most = {False: attempts, True: losses}
        self._failed: Counter[tuple[str, bool]] = Counter()
        self._skipped = len(published)
        self._retries = 0
        self._quarantined: dict[str, Quarantined] = {}
        self._differing: set[str] = set()
        self.commits = dict(published)

    def enter(self, outcome: Outcome) -> Task | None:
        """Note how a task ended; return the next attempt at the same unit, if there is to be one."""
        task, name = outcome.task, outcome.task.unit.name
        if outcome.commit is not None:
            self.commits[name] = outcome.commit
            if outcome.differs:
                self._differing.add(name)
            return None
        self._failed[name, outcome.lost] += 1
        if self._failed[name, outcome.lost] < self._most[outcome.lost]:
            self._retries += 1
            return Task(unit=task.unit, attempt=task.attempt + 1)
        self._quarantined[name] = Quarantined(name=name, reason=outcome.reason, attempts=task.attempt)
        return None

    def step(self, task: str) -> Step:
        """Return the state for people; what has not happened is left out."""
        counts = {"skipped": self._skipped, "retries": self._retries, "quarantined": len(self._quarantined)}
        facts: dict[str, float | int | str] = {name: count for name, count in counts.items() if count}
        return Step(task=task, done=len(self.commits), total=len(self._order), unit="shards", facts=facts)

    def result(self) -> PoolResult:
        """Return the state for the caller."""
        return PoolResult(
            commits=tuple(self.commits[name] for name in self._order if name in self.commits),
            quarantined=tuple(self._quarantined[name] for name in self._order if name in self._quarantined),
            skipped=self._skipped,
            retries=self._retries,
            differing=tuple(name for name in self._order if name in self._differing),
        )
