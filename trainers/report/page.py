"""Write `report.html`: results beside baselines, rankings with frames, curves, data card, environment.

Pictures, plots and style are inside the file, so it can be mailed. What comes from data is escaped by the template.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from resight.cluster.storage import open_storage
from resight.trainers.report.plots import cmc_plot, curve_plot
from resight.trainers.report.run_view import EvaluationView, RunView, read_run

__all__ = ["render_page", "write_report"]

BASELINE_NAMES = {
    "chance": "chance",
    "untrained": "untrained network",
    "histogram": "masked colour histogram",
    "silhouette": "raw silhouettes",
}
KINDS = {
    "worst": "Worst failures",
    "random": "Drawn at random",
    "best": "Best",
}


def write_report(run: Path, *, out: Path | None = None) -> Path:
    """Write the report of a run folder and return its path.

    Args:
        run: the run folder.
        out: where to write; `run/report.html` when None.

    Raises:
        UserError: when `run` is not a run folder.
    """
    target = (out or run / "report.html").absolute()
    open_storage(target.parent).publish(render_page(read_run(run)).encode(), target.name)
    return target


def render_page(run: RunView) -> str:
    """Return the page's HTML."""
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["signed"] = lambda value: f"{100 * value:+.1f}"
    template = environment.get_template("page.html.j2")
    return template.render(
        run=run,
        style=(here / "page.css").read_text(),
        curves=_curve_plots(run),
        evaluations=[_evaluation(view) for view in run.evaluations if view.result],
        facts=_facts(run),
    )


def _evaluation(view: EvaluationView) -> dict[str, Any]:
    rows = _rows(view.result)
    return {
        "name": view.name,
        "result": view.result,
        "rows": rows,
        "scale": max([row["mAP"] for row in rows] + [row["high"] for row in rows] + [0.05]),
        "missing": _missing(view.result),
        "cmc": cmc_plot("Cumulative match", _cmc_lines(view.result)),
        "groups": _ranking_groups(view),
        "card": view.card,
    }


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the trained network and its baselines: mAP with its interval and the difference to the trained one."""
    low, high = result["interval"]["mAP"]
    trained = {"name": "trained", "ours": True, "low": low, "high": high, "difference": None, **result["metrics"]}
    rows = [trained]
    for key, baseline in result["baselines"].items():
        if "mAP" in baseline:
            low, high = baseline.get("interval", {}).get("mAP", (baseline["mAP"], baseline["mAP"]))
            row = {"name": BASELINE_NAMES.get(key, key), "ours": False, "low": low, "high": high}
            rows.append({**row, "difference": baseline["difference"]["mAP"], **_numbers(baseline)})
    return rows


def _numbers(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result.get(name) for name in ("mAP", "mINP", "rank1", "rank5", "rank10")}


def _missing(result: Mapping[str, Any]) -> list[str]:
    baselines = result["baselines"].items()
    return [f"{BASELINE_NAMES.get(key, key)}: {found['missing']}" for key, found in baselines if "mAP" not in found]


def _cmc_lines(result: Mapping[str, Any]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"trained": result["cmc"]}
    for key, baseline in result["baselines"].items():
        if baseline.get("cmc"):
            found[BASELINE_NAMES.get(str(key), str(key))] = baseline["cmc"]
    return found


def _ranking_groups(view: EvaluationView) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    for kind, title in KINDS.items():
        rankings = [_with_pictures(view, found) for found in view.rankings if found["kind"] == kind]
        if rankings:
            groups.append({"title": title, "rankings": rankings})
    return groups


def _with_pictures(view: EvaluationView, ranking: Mapping[str, Any]) -> dict[str, Any]:
    query = {**ranking["query"], "picture": _picture(view.folder / ranking["query"]["crop"])}
    results = [{**found, "picture": _picture(view.folder / found["crop"])} for found in ranking["results"]]
    return {**ranking, "query": query, "results": results}


def _picture(path: Path) -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _curve_plots(run: RunView) -> list[str]:
    curves = run.curves
    if not curves.steps:
        return []
    parts = {"total": curves.total, **curves.losses} if len(curves.losses) > 1 else dict(curves.losses)
    return [
        curve_plot("Losses", curves.steps, parts),
        curve_plot("Learning rate", curves.steps, {"lr": curves.lr}, exact=True),
        curve_plot("Throughput", curves.steps, {"images/s": curves.images_per_s}, ylabel="images/s"),
    ]


def _facts(run: RunView) -> list[tuple[str, str]]:
    """Return the run in a few words: what was trained, for how long."""
    steps = [event for event in run.events if event["event"] == "step"]
    attempts = {event.get("attempt", 1) for event in run.events}
    facts = [("recipe", run.recipe), ("size", run.size)]
    if steps:
        spent = sum(
            max(event["time"] for event in run.events if event.get("attempt", 1) == attempt)
            - min(event["time"] for event in run.events if event.get("attempt", 1) == attempt)
            for attempt in attempts
        )
        facts += [
            ("steps", f"{max(event['step'] for event in steps):,}"),
            ("epochs", str(1 + max(event["epoch"] for event in steps))),
            ("training time", f"{spent / 60:.1f} min"),
            ("attempts", str(len(attempts))),
        ]
    return facts
