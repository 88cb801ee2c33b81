"""The demo's steps and its verdict.

The demo trains on both splits of a rendered world and is judged on people it never saw. Its claim is about the hard
split: on `clothes`, where nobody wears the same outfit twice, the trained network must stand above chance, the
untrained network, the masked colour histogram and the silhouettes, each with the 95 % interval of the difference above
0.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from resight.cli.backends import pool_backend
from resight.cluster.progress import Progress
from resight.rendering.render import render_world, worth_processes
from resight.trainers.config import Config
from resight.trainers.judging import judge_run
from resight.trainers.recipes import recipe
from resight.trainers.report.page import write_report
from resight.trainers.retrieval.judge import Evaluation
from resight.trainers.train import train

__all__ = ["Claim", "Outcome", "run_demo"]

SPLITS = ("base", "clothes")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The trained network against one baseline on one split.

    Attributes:
        split: base or clothes.
        baseline: what it is compared with.
        trained: mAP of the trained network, a fraction.
        other: mAP of the baseline.
        difference: mean, lower and upper end of the 95 % interval of the difference, bootstrap over identities.
        needed: the lower end must be above this for the demo to succeed; None when nothing is asked.
    """

    split: str
    baseline: str
    trained: float
    other: float
    difference: tuple[float, float, float]
    needed: float | None

    @property
    def holds(self) -> bool:
        """Tell whether what is asked was seen."""
        return self.needed is None or self.difference[1] > self.needed


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the demo found."""

    claims: tuple[Claim, ...]
    report: Path
    seconds: dict[str, float]

    @property
    def holds(self) -> bool:
        """Tell whether every claim holds."""
        return all(claim.holds for claim in self.claims)

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        claims = [{**asdict(claim), "holds": claim.holds} for claim in self.claims]
        return {"holds": self.holds, "claims": claims, "report": str(self.report), "seconds": self.seconds}


def run_demo(out: Path, *, seed: int, workers: int, size: Literal["tiny", "micro"], progress: Progress) -> Outcome:
    """Render, train, judge and report under `out`, an absolute path; continues what an earlier call left."""
    clock = _Clock()
    with pool_backend("local", workers, processes=worth_processes(size, SPLITS)) as backend:
        render_world(size, seed=seed, out=out / "data", splits=SPLITS, backend=backend, progress=progress)
    clock.lap("render")
    config = demo_config(out / "data", seed=seed, size=size)
    run = train(config, out=out / "run", workers=workers, backend="ray", resume="auto", progress=progress)
    clock.lap("train")
    evaluations = {
        split: judge_run(run.path, out / "data" / split, baselines=True, progress=progress) for split in SPLITS
    }
    clock.lap("judge")
    report = write_report(run.path)
    clock.lap("report")
    claims = tuple(claim for split, evaluation in evaluations.items() for claim in _claims(split, evaluation))
    return Outcome(claims=claims, report=report, seconds=clock.laps)


def demo_config(data: Path, *, seed: int, size: Literal["tiny", "micro"]) -> Config:
    """Return the tiny recipe on both splits, two thirds from the hard one; `micro` cuts it to two epochs."""
    config = recipe("strong_baseline", "tiny")
    sources = (f"{data / 'base'}:1", f"{data / 'clothes'}:2")
    config = replace(config, seed=seed, data=replace(config.data, sources=sources))
    if size == "micro":
        config = replace(config, run=replace(config.run, epochs=2))
    return config


def _claims(split: str, evaluation: Evaluation) -> list[Claim]:
    found = evaluation.to_dict()
    return [
        Claim(
            split=split,
            baseline=name,
            trained=found["metrics"]["mAP"],
            other=baseline["mAP"],
            difference=tuple(baseline["difference"]["mAP"]),
            needed=0.0 if split == "clothes" else None,
        )
        for name, baseline in found["baselines"].items()
        if "mAP" in baseline
    ]


class _Clock:
    """Seconds since the last lap, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 1)
        self._last = now
