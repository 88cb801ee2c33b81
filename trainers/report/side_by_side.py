"""One page for several runs: scores with differences, curves overlaid, what was set otherwise, rankings in pairs.

The first run is what the others are compared with. Like a run's own report it is made from run folders alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from resight.trainers.report.changes import of_environments, of_runs
from resight.trainers.report.comparison import SCORES, Compared, shared_evaluations
from resight.trainers.report.frame import fill, hours, in_words, money, publish
from resight.trainers.report.page import facts_of, ranking_with_pictures, scores_of, summary
from resight.trainers.report.plots import Line, cmc_plot, curve_plot
from resight.trainers.report.run_view import RunView, names_of, read_run
from resight.trainers.report.speed import Price, attempts_of, speed_of

__all__ = ["compared_summary", "render_comparison", "write_comparison"]

MOST_RANKINGS: Final = 8
MOST_QUERIES: Final = 12


def write_comparison(runs: Sequence[Path], *, out: Path | None = None, price: Price | None = None) -> Path:
    """Write the page that compares runs and return its path.

    Args:
        runs: run folders; the first is what the others are compared with.
        out: where to write; None: `compare-A-B.html` in the working directory, after the runs' names.
        price: of a worker hour; None: no money is told.

    Raises:
        UserError: for what is not a run, fewer than two or too many, one twice, or none judged in common.
    """
    views = [read_run(path) for path in runs]
    html = render_comparison(views, price=price)
    names = "-".join(name.replace("/", "-") for name in names_of([view.path for view in views]))
    return publish(html, out or Path(f"compare-{names}.html"))


def render_comparison(runs: Sequence[RunView], *, price: Price | None = None) -> str:
    """Return the page's HTML."""
    compared = shared_evaluations(runs)
    names = names_of([run.path for run in runs])
    shared = {each.name for each in compared}
    return fill(
        "side_by_side.html.j2",
        names=names,
        paths=[run.path for run in runs],
        facts=_table([dict(facts_of(run, price=price)) for run in runs]),
        evaluations=[_evaluation(each, names) for each in compared],
        left_out=sorted({view.name for run in runs for view in run.evaluations} - shared),
        curves=_curves(runs, names),
        speed=_table([_speed(run, price) for run in runs]),
        changes=of_runs([run.config for run in runs]),
        environments=of_environments([run.environment for run in runs]),
    )


def compared_summary(runs: Sequence[RunView], *, price: Price | None = None) -> dict[str, Any]:
    """Return the page's figures as JSON-able values; differences are to the first run, as [mean, low, high]."""
    names = names_of([run.path for run in runs])
    return {
        "runs": {name: summary(run, price=price) for name, run in zip(names, runs, strict=True)},
        "evaluations": {
            each.name: {
                name: {
                    **scores_of(view),
                    "difference": None if gaps is None else {score: list(gap) for score, gap in gaps.items()},
                    "not_comparable": reason or None,
                }
                for name, view, gaps, reason in zip(names, each.views, each.differences, each.reasons, strict=True)
            }
            for each in shared_evaluations(runs)
        },
        "config": {change.path: list(change.values) for change in of_runs([run.config for run in runs])},
        "environment": {
            change.path: list(change.values) for change in of_environments([run.environment for run in runs])
        },
    }


def _evaluation(compared: Compared, names: Sequence[str]) -> dict[str, Any]:
    results = [view.result for view in compared.views]
    rows = [
        {
            "name": name,
            "metrics": view.result["metrics"],
            "interval": view.result["interval"]["mAP"],
            "again": view.result.get("reranked"),
            "gaps": gaps,
            "reason": reason,
        }
        for name, view, gaps, reason in zip(names, compared.views, compared.differences, compared.reasons, strict=True)
    ]
    ap = dict(compared.queries)
    return {
        "name": compared.name,
        "protocols": sorted({result["protocol"] for result in results}),
        "rows": rows,
        "scores": SCORES,
        "cmc": cmc_plot(
            "Cumulative match", {name: result["cmc"] for name, result in zip(names, results, strict=True)}, equal=True
        ),
        "queries": compared.queries[:MOST_QUERIES],
        "rankings": [
            {"key": key, "ap": ap[key], "of": _rankings(compared, key)} for key in compared.shown[:MOST_RANKINGS]
        ],
    }


def _rankings(compared: Compared, key: str) -> list[dict[str, Any]]:
    """Return one query's ranking in each run, with pictures."""
    return [
        ranking_with_pictures(view, next(found for found in view.rankings if found["query"]["key"] == key))
        for view in compared.views
    ]


def _curves(runs: Sequence[RunView], names: Sequence[str]) -> list[str]:
    """Draw what the runs have: losses summed, each validation score, learning rate, throughput."""
    named = [(name, run.curves) for name, run in zip(names, runs, strict=True) if run.curves.steps]
    if not named:
        return []
    loss: dict[str, Line] = {name: (curves.steps, curves.total) for name, curves in named}
    rate: dict[str, Line] = {name: (curves.steps, curves.lr) for name, curves in named}
    speed: dict[str, Line] = {name: (curves.steps, curves.images_per_s) for name, curves in named}
    plots = [
        curve_plot("Loss, weighted sum", loss),
        curve_plot("Learning rate", rate, exact=True),
        curve_plot("Throughput", speed, ylabel="images/s"),
    ]
    for score in SCORES:
        lines: dict[str, Line] = {
            name: curves.validation[score] for name, curves in named if score in curves.validation
        }
        if lines:
            plots.append(curve_plot(f"Validation {score}", lines, exact=True, share=True))
    return plots


def _speed(run: RunView, price: Price | None) -> dict[str, str]:
    """Return what is known of a run's speed and cost, in words."""
    speed, attempts = speed_of(run.events), attempts_of(run.events, workers=run.environment.get("workers", 1))
    known = {
        "workers": in_words(sorted({attempt.workers for attempt in attempts})).strip("[]"),
        "images/s, median": "" if speed.images_per_s is None else f"{speed.images_per_s:.1f}",
        "step, median": "" if speed.step_s is None else f"{speed.step_s:.3g} s",
        **{f"{name}, share of a step": f"{share:.0%}" for name, share in speed.shares.items()},
        "MFU": "" if speed.mfu is None else f"{speed.mfu:.1%}",
        "peak memory": "" if speed.peak_memory_mib is None else f"{speed.peak_memory_mib:,.0f} MiB",
        "steps done twice": str(sum(attempt.again for attempt in attempts)),
        "worker hours": f"{hours(attempts):.3f}",
        "cost": money(attempts, price),
    }
    return {name: text for name, text in known.items() if text}


def _table(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Return (name, text in each column) of every name that some column has."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [column.get(name, "") for column in columns]) for name in names]
