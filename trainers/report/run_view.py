"""What a report needs, read from a run folder.

Everything shown is a function of this folder: config, environment, events, evaluations. A crashed attempt may have
repeated steps, so the last account of a step is the one that counts.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.trainers.events import curve
from resight.trainers.run_folder import open_run

__all__ = ["Curves", "EvaluationView", "RunView", "read_run"]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Training over time, one entry a logged step.

    Attributes:
        steps: global step numbers, ascending.
        losses: each loss part by name, unweighted, as long as `steps`.
        total: the weighted sum.
        lr: learning rate.
        images_per_s: images a second over all workers.
    """

    steps: list[int]
    losses: dict[str, list[float]]
    total: list[float]
    lr: list[float]
    images_per_s: list[float]


@dataclass(frozen=True, kw_only=True)
class EvaluationView:
    """One judged data set: its evaluation.json, rankings and card as plain values, and the folder of its crops."""

    name: str
    result: dict[str, Any]
    rankings: list[dict[str, Any]]
    card: dict[str, Any]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as the report sees it."""

    path: Path
    recipe: str
    size: str
    config_text: str
    environment: dict[str, Any]
    curves: Curves
    events: list[dict[str, Any]]
    evaluations: list[EvaluationView]


def read_run(path: Path) -> RunView:
    """Read a run folder.

    Raises:
        UserError: when `path` is not a run folder.
    """
    run = open_run(path)
    config, events = run.config(), list(run.events())
    folders = sorted(folder for folder in (run.path / "evaluations").glob("*") if folder.is_dir())
    return RunView(
        path=run.path,
        recipe=config.recipe,
        size=config.size,
        config_text=run.config_file.read_text(),
        environment=_read_json(run.environment_file, {}),
        curves=_curves(events),
        events=events,
        evaluations=[_evaluation(folder) for folder in folders],
    )


def _evaluation(folder: Path) -> EvaluationView:
    return EvaluationView(
        name=folder.name,
        result=_read_json(folder / "evaluation.json", {}),
        rankings=_read_json(folder / "rankings.json", []),
        card=_read_json(folder / "dataset.json", {}),
        folder=folder,
    )


def _read_json(path: Path, missing: Any) -> Any:
    return json.loads(path.read_text()) if path.is_file() else missing


def _curves(events: list[dict[str, Any]]) -> Curves:
    rows = list(curve(events))
    names = sorted({name for row in rows for name in row["losses"]})
    return Curves(
        steps=[row["step"] for row in rows],
        losses={name: [row["losses"].get(name, float("nan")) for row in rows] for name in names},
        total=[row["total"] for row in rows],
        lr=[row["lr"] for row in rows],
        images_per_s=[row["images_per_s"] for row in rows],
    )
