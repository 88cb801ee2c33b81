"""The learning rate as a pure function of where training is: nothing to store, nothing to step, nothing to resume.

The papers' schedules count time t in epochs, `first` at the first epoch:

    warm-up, t < warmup_epochs     multistep: base * (w (1 - t / W) + t / W);  cosine: the same for the base group
    multistep                      base * gamma ^ (number of milestones <= t)
    cosine                         low + (base - low) (1 + cos(pi t / period)) / 2,  low for t >= period

with w = warmup_factor, W = warmup_epochs, low = floor_factor * base. For a group whose rate is `scale` times the base,
cosine starts its warm-up at w * base and falls to low, both *unscaled*: that is what TransReID's code does.
The cosine is not shifted by the warm-up, so there is a small jump where it ends.

Source: Luo et al. 2019 (arXiv:1903.07071, section 3.1), He et al. 2021 (TransReID, arXiv:2102.04378) and their code.
The first two count the first epoch as t = 1; TransReID-SSL steps its schedule after the epoch, so there it is t = 0.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from resight.trainers.checks import above, at_least, increasing, within

__all__ = ["ScheduleConfig", "lr_at_time"]


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Settings of the learning rate over time, in epochs.

    Attributes:
        kind: multistep or cosine.
        warmup_epochs: length of the linear warm-up; 0 for none.
        warmup_factor: share of the base rate that the warm-up starts from.
        milestones: multistep: times at which the rate is multiplied by gamma.
        gamma: multistep: the factor.
        period_epochs: cosine: time at which the floor is reached.
        floor_factor: cosine: the floor's share of the base rate.
        first: the time of the first epoch, 1 or 0.
        change: whether the rate changes between epochs only, or with every step.
    """

    kind: Literal["multistep", "cosine"] = "multistep"
    warmup_epochs: int = 10
    warmup_factor: float = 0.01
    milestones: tuple[int, ...] = (40, 70)
    gamma: float = 0.1
    period_epochs: int = 120
    floor_factor: float = 0.002
    first: Literal[0, 1] = 1
    change: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        at_least("schedule.warmup_epochs", self.warmup_epochs, 0)
        within("schedule.warmup_factor", self.warmup_factor, 0, 1)
        increasing("schedule.milestones", self.milestones)
        within("schedule.gamma", self.gamma, 0, 1)
        above("schedule.period_epochs", self.period_epochs, 0)
        within("schedule.floor_factor", self.floor_factor, 0, 1)


def lr_at_time(schedule: ScheduleConfig, base: float, time: float, *, scale: float = 1.0) -> float:
    """Return the learning rate at `time` in epochs of the schedule's own count, 0 being the optimiser's first state."""
    if schedule.kind == "multistep":
        return _multistep(schedule, base * scale, time)
    return _cosine(schedule, base, base * scale, time)


def _multistep(schedule: ScheduleConfig, peak: float, time: float) -> float:
    warm = 1.0
    if time < schedule.warmup_epochs:
        progress = time / schedule.warmup_epochs
        warm = schedule.warmup_factor * (1 - progress) + progress
    return peak * warm * schedule.gamma ** bisect_right(schedule.milestones, time)


def _cosine(schedule: ScheduleConfig, base: float, peak: float, time: float) -> float:
    if time < schedule.warmup_epochs:
        start = schedule.warmup_factor * base
        return start + (peak - start) * time / schedule.warmup_epochs
    low = schedule.floor_factor * base
    if time >= schedule.period_epochs:
        return low
    return low + (peak - low) * (1 + math.cos(math.pi * time / schedule.period_epochs)) / 2
