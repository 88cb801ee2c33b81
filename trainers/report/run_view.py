"""What a report needs, read from a run folder.

Everything shown is a function of this folder: config, environment, events, evaluations. A crashed attempt may have
repeated steps, so the last account of a step is the one that counts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.trainers.config import Config
from resight.trainers.events import curve
from resight.trainers.run_folder import open_run

__all__ = ["Curves", "EvaluationView", "RunView", "names_of", "read_run"]


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Training over time, one entry a logged step.

    Attributes:
        steps: global step numbers, ascending.
        losses: each loss part by name, unweighted, as long as `steps`.
        total: the weighted sum.
        lr: learning rate.
        images_per_s: images a second over all workers.
        validation: "mAP" and the like -> (steps, fractions), where the run judged itself on its way.
    """

    steps: list[int]
    losses: dict[str, list[float]]
    total: list[float]
    lr: list[float]
    images_per_s: list[float]
    validation: dict[str, tuple[list[int], list[float]]]


@dataclass(frozen=True, kw_only=True)
class EvaluationView:
    """One judged data set: its JSON files as plain values, and the folder of its pictures.

    Attributes:
        name: of the data set.
        result: evaluation.json.
        rankings: rankings.json.
        card: dataset.json.
        legend: what the maps show; None where there are none.
        changes: reranked.json: queries that re-ranking changed most.
        maps: key of an image -> file of its map.
        folder: where pictures and per_query.parquet lie.
    """

    name: str
    result: dict[str, Any]
    rankings: list[dict[str, Any]]
    card: dict[str, Any]
    legend: str | None
    changes: list[dict[str, Any]]
    maps: dict[str, str]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as the report sees it; `evaluations` holds those that are complete."""

    path: Path
    config: Config
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
    events = list(run.events())
    return RunView(
        path=run.path,
        config=run.config(),
        config_text=run.config_file.read_text(),
        environment=_read_json(run.environment_file, {}),
        curves=_curves(events),
        events=events,
        evaluations=[_evaluation(path.parent) for path in sorted(run.path.glob("evaluations/*/evaluation.json"))],
    )


def names_of(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of distinct paths, of equal length, that tell them apart; one path keeps its parent."""
    longest = max(len(path.parts) for path in paths)
    ends = (["/".join(path.parts[-length:]) for path in paths] for length in range(1, longest + 1))
    if len(paths) == 1:
        return ["/".join(paths[0].parts[-2:])]
    return next(found for found in ends if len(set(found)) == len(paths))


def _evaluation(folder: Path) -> EvaluationView:
    maps = _read_json(folder / "maps.json", {"legend": None, "maps": {}})
    return EvaluationView(
        name=folder.name,
        result=_read_json(folder / "evaluation.json", {}),
        rankings=_read_json(folder / "rankings.json", []),
        card=_read_json(folder / "dataset.json", {}),
        legend=maps["legend"],
        changes=_read_json(folder / "reranked.json", []),
        maps=maps["maps"],
        folder=folder,
    )


def _read_json(path: Path, missing: Any) -> Any:
    return json.loads(path.read_text()) if path.is_file() else missing


def _curves(events: list[dict[str, Any]]) -> Curves:
    rows = list(curve(events))
    names = sorted({name for row in rows for name in row["losses"]})
    return Curves(
        steps=[row["step"] for row in rows],
        losses={name: [_number(row["losses"], name) for row in rows] for name in names},
        total=[_number(row, "total") for row in rows],
        lr=[_number(row, "lr") for row in rows],
        images_per_s=[_number(row, "images_per_s") for row in rows],
        validation=_validation(list(curve(events, "validate"))),
    )


def _validation(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[float]]]:
    found: dict[str, tuple[list[int], list[float]]] = {}
    for name in ("mAP", "rank1", "mINP"):
        there = [row for row in rows if row.get(name) is not None]
        if there:
            found[name] = ([row["step"] for row in there], [row[name] for row in there])
    return found


def _number(row: Mapping[str, Any], name: str) -> float:
    """Return a figure of an event; null, which stands for what is not finite, becomes NaN again."""
    value = row.get(name)
    return float("nan") if value is None else value
