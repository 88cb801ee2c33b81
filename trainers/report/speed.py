"""How fast a run was and what it cost: images a second, the parts of a step, attempts, worker hours.

    one attempt:  first event ................. last checkpoint .......... last event
                                                <-- done again by the next one -->     <-- idle --> next attempt

Time is taken from rank 0's events, so what passes before the first one (starting Python, reading the index) is not in
it. Money is worker hours times the price that the user gives: there is no price in here. Energy is not measured.

Source: design of this project. Trade-off: an attempt that was stopped on purpose and one that crashed look alike.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from resight.cluster.errors import UserError
from resight.trainers.events import curve

__all__ = ["Attempt", "Price", "Speed", "attempts_of", "speed_of"]

PARTS: Final = {
    "data_s": "waiting for data",
    "forward_s": "forward",
    "backward_s": "backward",
    "communication_s": "communication",
    "optimiser_s": "optimiser",
}
"""Field of a step event -> what the page calls it, in the order of a step."""

Event = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a worker costs.

    Attributes:
        per_worker_hour: in `currency`.
        currency: as the user writes it; empty says nothing.
    """

    per_worker_hour: float
    currency: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.per_worker_hour) and self.per_worker_hour >= 0):
            raise UserError(
                f"{self.per_worker_hour} is not a price", where="--price", cure="give what one worker costs an hour"
            )


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds and rates of logged steps.

    Attributes:
        images_per_s: median over steps, all workers together; None where no step says it.
        step_s: median seconds of a step.
        steps: step numbers of `parts`.
        parts: part -> seconds in each of `steps`; what no part accounts for is the last one.
        mfu: share of the device's peak arithmetic, of the last epoch that says it.
        peak_memory_mib: largest over epochs.
    """

    images_per_s: float | None
    step_s: float | None
    steps: list[int]
    parts: dict[str, list[float]]
    mfu: float | None
    peak_memory_mib: float | None

    @property
    def shares(self) -> dict[str, float]:
        """Return each part's share of all step time; empty where nothing is known."""
        sums = {name: math.fsum(values) for name, values in self.parts.items()}
        whole = math.fsum(sums.values())
        return {name: value / whole for name, value in sums.items()} if whole > 0 else {}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of a run.

    Attributes:
        number: from 1.
        workers: how many trained.
        first, last: optimiser steps done when it began and when it ended.
        seconds: from its first event to its last.
        idle_s: from the attempt before it to its first event.
        again: steps at its end that the next attempt did again.
        again_s: how long those had taken.
    """

    number: int
    workers: int
    first: int
    last: int
    seconds: float
    idle_s: float
    again: int
    again_s: float

    @property
    def worker_hours(self) -> float:
        """Return workers times hours."""
        return self.workers * self.seconds / 3600


def speed_of(events: Sequence[Event]) -> Speed:
    """Summarise step and epoch events; what they do not carry is None or empty."""
    steps = list(curve(events))
    timed = [event for event in steps if event.get("step_s") is not None]
    epochs = list(curve(events, "epoch"))
    memory = [event["peak_memory_mib"] for event in epochs if event.get("peak_memory_mib") is not None]
    mfu = [event["mfu"] for event in epochs if event.get("mfu") is not None]
    return Speed(
        images_per_s=_median(steps, "images_per_s"),
        step_s=_median(timed, "step_s"),
        steps=[event["step"] for event in timed],
        parts=_parts(timed),
        mfu=mfu[-1] if mfu else None,
        peak_memory_mib=max(memory) if memory else None,
    )


def attempts_of(events: Sequence[Event], *, workers: int = 1) -> list[Attempt]:
    """Return the attempts in order; `workers` counts where an attempt does not say how many it had."""
    groups: dict[int, list[Event]] = {}
    for event in events:
        groups.setdefault(event.get("attempt", 1), []).append(event)
    ordered = [groups[number] for number in sorted(groups)]
    begins = [_begin(group) for group in ordered]
    return [
        _attempt(group, ordered[place - 1] if place else None, begins[place], begins[place + 1 : place + 2], workers)
        for place, group in enumerate(ordered)
    ]


def _attempt(group: list[Event], before: list[Event] | None, begin: int, after: list[int], workers: int) -> Attempt:
    start, end = group[0]["time"], max(event["time"] for event in group)
    steps = [event["step"] for event in group if "step" in event]
    last = max(steps, default=begin)
    kept = min(after[0], last) if after else last
    kept_until = max((event["time"] for event in group if event.get("step", last + 1) <= kept), default=start)
    return Attempt(
        number=group[0].get("attempt", 1),
        workers=next((event["world"] for event in group if "world" in event), workers),
        first=begin,
        last=last,
        seconds=end - start,
        idle_s=max(0.0, start - max(event["time"] for event in before)) if before else 0.0,
        again=last - kept,
        again_s=end - kept_until if last > kept else 0.0,
    )


def _begin(group: list[Event]) -> int:
    """Return the steps done when an attempt began; without its first event, one before the first step it tells of."""
    begins = (event["step"] - int(event["event"] == "step") for event in group if "step" in event)
    return next(begins, 0)


def _parts(timed: list[Event]) -> dict[str, list[float]]:
    known = {name: field for field, name in PARTS.items() if any(event.get(field) is not None for event in timed)}
    parts = {name: [event.get(field) or 0.0 for event in timed] for name, field in known.items()}
    if not parts:
        return {}
    rest = [
        max(0.0, event["step_s"] - math.fsum(column)) for event, *column in zip(timed, *parts.values(), strict=True)
    ]
    return {**parts, "network" if list(known.values()) == ["data_s"] else "rest": rest}


def _median(events: Sequence[Event], field: str) -> float | None:
    values = [event[field] for event in events if event.get(field) is not None]
    return median(values) if values else None
