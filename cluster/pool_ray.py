"""The pool's workers as Ray actors, one unit at a time each.

Plain actors and `ray.wait`, because nothing that Ray ships fits: Ray Data has no shard-aligned commit and cannot shrink
to zero, `ray.util.ActorPool` loses the unit of a dead actor, and a `ray.util.queue.Queue` dies with its items. Units go
only to actors that said they are ready, so a cluster that is still growing delays nothing; an actor that dies, or takes
longer than its lease, gives its unit back; actors beyond what the queue needs are ended, so the cluster can shrink.

Ray is imported when a crew opens: the in-process pool must not pay 1.5 s for it.
"""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from resight.cluster.attempt import Outcome, Task, make
from resight.cluster.crew import Crew
from resight.cluster.errors import UserError
from resight.cluster.scratch import sweep_scratch
from resight.cluster.storage import Storage
from resight.cluster.units import Work

__all__ = ["RayActors"]

_FAILED_STARTS = 3  # in a row: then it is the set-up, not bad luck
_TICK_S = 5.0


@dataclass(frozen=True, kw_only=True)
class RayActors:
    """Run units on Ray actors; needs an open `ray_session`.

    Attributes:
        workers: most actors at once.
        cpus: cores that Ray sets aside for each actor.
        resources: further Ray resources for each actor, e.g. {"renderer": 1}.
        env: environment variables of the actors.
        lease_s: an actor that takes longer for a unit is killed and the attempt counts as failed; None waits for ever.
        recycle_after: replace an actor after so many units, against leaks of native libraries; 0 never.
        start_timeout_s: give up when no actor could start for so long; an autoscaling cluster needs minutes.
    """

    workers: int
    cpus: float = 1.0
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    lease_s: float | None = None
    recycle_after: int = 0
    start_timeout_s: float = 900.0

    @contextmanager
    def crew(self, work: Work, storage: Storage) -> Generator[Crew]:
        """Open the crew; RuntimeError when no Ray session is open."""
        import ray

        if not ray.is_initialized():
            raise RuntimeError("RayActors needs an open ray_session")
        crew = _RayCrew(ray, self, work, storage)
        try:
            yield crew
        finally:
            crew.close()


class _Actor:
    """What runs in the actor's process."""

    def __init__(self, work: Work, storage: Storage) -> None:
        sweep_scratch()
        self._work = work
        self._storage = storage

    def ready(self) -> None:
        """Answer once the work is loaded."""

    def make(self, task: Task) -> Outcome:
        return make(self._work, task, self._storage)


@dataclass(kw_only=True)
class _Hand:
    """The driver's view of one actor."""

    actor: Any
    since: float
    task: Task | None = None
    made: int = 0


class _RayCrew:
    """Actors by state: starting and running ones by the reference that will tell, idle ones in a list."""

    def __init__(self, ray: Any, settings: RayActors, work: Work, storage: Storage) -> None:
        self._ray = ray
        self._settings = settings
        self._work = ray.put(work)
        self._storage = storage
        self._starting: dict[Any, _Hand] = {}
        self._running: dict[Any, _Hand] = {}
        self._idle: list[_Hand] = []
        self._failed_starts = 0
        self._class = ray.remote(**_options(settings))(_Actor)

    def free(self) -> int:
        return len(self._idle)

    def start(self, task: Task) -> None:
        hand = self._idle.pop()
        hand.task, hand.since = task, time.monotonic()
        self._running[hand.actor.make.remote(task)] = hand

    def wait(self, waiting: int) -> list[Outcome]:
        self._resize(waiting)
        references = [*self._running, *self._starting]
        ready, _ = self._ray.wait(references, num_returns=1, timeout=self._patience())
        for reference in ready:
            if reference in self._starting:
                self._started(reference)
        ended = [self._ended(reference) for reference in ready if reference in self._running]
        return ended + self._expired()

    def close(self) -> None:
        """End every actor, whatever it is doing."""
        for hand in [*self._idle, *self._starting.values(), *self._running.values()]:
            self._ray.kill(hand.actor)

    def _resize(self, waiting: int) -> None:
        """Start actors for the queue, up to the limit; end those that it no longer needs."""
        while len(self._idle) > waiting:
            self._ray.kill(self._idle.pop().actor)
        while len(self._idle) + len(self._starting) > waiting and self._starting:
            self._ray.kill(self._starting.popitem()[1].actor)
        present = len(self._idle) + len(self._starting) + len(self._running)
        wanted = min(self._settings.workers, len(self._running) + waiting)
        for _ in range(wanted - present):
            actor = self._class.remote(self._work, self._storage)
            self._starting[actor.ready.remote()] = _Hand(actor=actor, since=time.monotonic())

    def _started(self, reference: Any) -> None:
        hand = self._starting.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise RuntimeError(f"{_FAILED_STARTS} workers in a row could not start: {_last_line(error)}") from error
        else:
            self._failed_starts = 0
            self._idle.append(hand)

    def _ended(self, reference: Any) -> Outcome:
        hand = self._running.pop(reference)
        assert hand.task is not None
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error  # publishing failed: not the unit's fault
        except self._ray.exceptions.RayError as error:
            self._ray.kill(hand.actor)
            return Outcome(task=hand.task, reason=f"the worker process died: {_first_line(error)}", lost=True)
        hand.task, hand.made = None, hand.made + 1
        if hand.made == self._settings.recycle_after:
            self._ray.kill(hand.actor)
        else:
            self._idle.append(hand)
        return outcome

    def _patience(self) -> float:
        """Return how long to wait, in seconds, before looking at the clocks."""
        limits = [self._settings.start_timeout_s, self._settings.lease_s or self._settings.start_timeout_s]
        return min(_TICK_S, *(limit / 4 for limit in limits))

    def _expired(self) -> list[Outcome]:
        """End leases that ran out; UserError when nothing could start for too long."""
        now, lease_s = time.monotonic(), self._settings.lease_s
        if self._starting and not self._running and not self._idle:
            self._check_start(now - max(hand.since for hand in self._starting.values()))
        late = [ref for ref, hand in self._running.items() if lease_s is not None and now - hand.since > lease_s]
        return [self._revoke(reference) for reference in late]

    def _check_start(self, waited_s: float) -> None:
        settings = self._settings
        if waited_s > settings.start_timeout_s:
            needs = ", ".join(
                f"{name} {amount:g}" for name, amount in {"CPU": settings.cpus, **settings.resources}.items()
            )
            raise UserError(
                f"no worker could start within {settings.start_timeout_s:g} s",
                where=f"a worker needs {needs}; free now: {self._ray.available_resources()}",
                cure="ask for less per worker, end other work on this cluster, or add nodes",
            )

    def _revoke(self, reference: Any) -> Outcome:
        hand = self._running.pop(reference)
        assert hand.task is not None
        self._ray.kill(hand.actor)
        return Outcome(task=hand.task, reason=f"took longer than its lease of {self._settings.lease_s:g} s")


def _options(settings: RayActors) -> dict[str, Any]:
    """Return the actors' options; an empty runtime_env would already keep Ray from reusing warm processes."""
    options: dict[str, Any] = {"num_cpus": settings.cpus, "resources": dict(settings.resources), "max_restarts": 0}
    return {**options, "runtime_env": {"env_vars": dict(settings.env)}} if settings.env else options


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _last_line(error: BaseException) -> str:
    """Return the cause of a failed start: Ray puts the traceback first."""
    return str(error).strip().rpartition("\n")[2].strip()
