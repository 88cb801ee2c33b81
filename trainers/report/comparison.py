"""Runs side by side, in numbers: scores on the same queries, and how far they are from the first run's.

A difference is paired by query and has an interval by resampling identities. That asks for the same question: one
protocol, the same bytes of data, the same queries scored and skipped. Where this does not hold, the scores are shown
and the reason stands in place of the difference.

Source: design of this project; the interval is `retrieval/bootstrap.py`. Trade-off: rankings can be put next to each
other only for queries that all runs show: those drawn at random, which are the same for all, and shared worst and best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float64

from resight.cluster.errors import UserError
from resight.trainers.report.run_view import EvaluationView, RunView, names_of
from resight.trainers.retrieval.bootstrap import difference_interval
from resight.trainers.retrieval.evaluation import rule_of

__all__ = ["MOST_RUNS", "Compared", "compare_evaluations", "shared_evaluations"]

MOST_RUNS: Final = 6
SCORES: Final = ("mAP", "rank1", "mINP")

Gap = tuple[float, float, float]
"""Mean difference, lower and upper end of its 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Several runs on one data set.

    Attributes:
        name: of the data set.
        views: the evaluations, the first being what others are compared with.
        differences: for each run, score -> its gap to the first run; None for the first and where `reasons` has one.
        reasons: for each run, why it cannot be compared; empty where it can.
        queries: (key, AP in each run) of scored queries, largest difference first; only if all runs can be compared.
        shown: keys of queries whose ranking every run shows, largest difference first.
    """

    name: str
    views: tuple[EvaluationView, ...]
    differences: tuple[dict[str, Gap] | None, ...]
    reasons: tuple[str, ...]
    queries: list[tuple[str, tuple[float, ...]]]
    shown: list[str]


def shared_evaluations(runs: Sequence[RunView]) -> list[Compared]:
    """Compare runs on every data set that all of them were judged on.

    Raises:
        UserError: for fewer than two runs, too many, one twice, or none judged in common.
    """
    _check(runs)
    by_name = [{view.name: view for view in run.evaluations} for run in runs]
    shared = [name for name in by_name[0] if all(name in views for views in by_name)]
    if not shared:
        names = names_of([run.path for run in runs])
        told = "; ".join(f"{name}: {', '.join(views) or 'none'}" for name, views in zip(names, by_name, strict=True))
        raise UserError(
            "these runs have no evaluation in common",
            where=told,
            cure="judge each of them on the same data: resight evaluate RUN --data DIR",
        )
    return [compare_evaluations(tuple(views[name] for views in by_name)) for name in shared]


def compare_evaluations(views: tuple[EvaluationView, ...]) -> Compared:
    """Compare evaluations of one data set with the first of them."""
    tables = [_scores(view) for view in views]
    reasons = tuple("" if place == 0 else _reason(views[0], view, tables[0], tables[place])
                    for place, view in enumerate(views))  # fmt: skip
    differences = tuple(
        None if place == 0 or reasons[place] or tables[0] is None or table is None else _gaps(table, tables[0])
        for place, table in enumerate(tables)
    )
    there = [table for table in tables if table is not None]
    queries = [] if any(reasons) or len(there) < len(tables) else _by_difference(there)
    order = {key: place for place, (key, _) in enumerate(queries)}
    shown = set.intersection(*({found["query"]["key"] for found in view.rankings} for view in views))
    return Compared(
        name=views[0].name,
        views=views,
        differences=differences,
        reasons=reasons,
        queries=queries,
        shown=sorted(shown & set(order), key=lambda key: order[key]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scores:
    """per_query.parquet by rising key; scores NaN where a query was skipped."""

    key: list[str]
    pid: np.ndarray
    values: dict[str, Float64[np.ndarray, " q"]]


def _scores(view: EvaluationView) -> _Scores | None:
    path = view.folder / "per_query.parquet"
    if not path.is_file():
        return None
    table: Any = pq.read_table(path).sort_by("key")
    first = _floats(table["first_hit"])
    values = {
        "mAP": _floats(table["ap"]),
        "rank1": np.where(np.isnan(first), np.nan, first == 1),
        "mINP": _floats(table["inp"]),
    }
    return _Scores(key=table["key"].to_pylist(), pid=table["pid"].to_numpy(), values=values)


def _floats(column: Any) -> Float64[np.ndarray, " q"]:
    return np.array([np.nan if value is None else value for value in column.to_pylist()], np.float64)


def _reason(first: EvaluationView, view: EvaluationView, ours: _Scores | None, theirs: _Scores | None) -> str:
    """Return why two evaluations do not answer the same question; empty when they do."""
    if first.result["protocol"] != view.result["protocol"]:
        return f"judged by another protocol, {view.result['protocol']}"
    if first.result.get("rerank") != view.result.get("rerank"):
        return f"ranked in another way, {rule_of(view.result)}"
    if first.result.get("data_sha256") != view.result.get("data_sha256"):
        return "judged on other bytes of a data set of this name"
    if ours is None or theirs is None:
        return "the results by query are missing; judge it again"
    if ours.key != theirs.key:
        return "judged on other queries"
    if (np.isnan(ours.values["mAP"]) != np.isnan(theirs.values["mAP"])).any():
        return "other queries were skipped"
    return ""


def _gaps(theirs: _Scores, first: _Scores) -> dict[str, Gap]:
    found: dict[str, Gap] = {}
    for name in SCORES:
        gap = difference_interval(theirs.values[name], first.values[name], first.pid)
        found[name] = (gap.mean, gap.low, gap.high)
    return found


def _by_difference(tables: Sequence[_Scores]) -> list[tuple[str, tuple[float, ...]]]:
    """Return scored queries with their AP in each run, those that differ most first, by key where equal."""
    ap = np.stack([table.values["mAP"] for table in tables], axis=1)  # (Q, runs)
    scored = np.flatnonzero(~np.isnan(ap[:, 0]))
    spread = np.abs(ap[scored] - ap[scored, :1]).max(axis=1)
    order = scored[np.argsort(-spread, kind="stable")]
    return [(tables[0].key[query], tuple(ap[query].tolist())) for query in order]


def _check(runs: Sequence[RunView]) -> None:
    if not 2 <= len(runs) <= MOST_RUNS:
        raise UserError(f"{len(runs)} runs cannot be put side by side", cure=f"give 2 to {MOST_RUNS} run folders")
    paths = [run.path.resolve() for run in runs]
    twice = next((path for place, path in enumerate(paths) if path in paths[:place]), None)
    if twice is not None:
        raise UserError("this run is given twice", where=str(twice), cure="give each run once")
