"""Write `report.html`: results beside baselines, rankings, where the network looks, curves, speed, cost, changes.

Pictures, plots and style are inside the file, so it can be mailed; its size is bounded (`pictures.py`, `plots.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from resight.trainers.report.changes import from_recipe
from resight.trainers.report.frame import fill, hours, money, publish
from resight.trainers.report.pictures import overlay, photo, scale_stops
from resight.trainers.report.plots import cmc_plot, curve_plot, stack_plot
from resight.trainers.report.run_view import EvaluationView, RunView, names_of, read_run
from resight.trainers.report.speed import Attempt, Price, attempts_of, speed_of
from resight.trainers.retrieval.tables import remarks

__all__ = ["facts_of", "ranking_with_pictures", "render_page", "scores_of", "summary", "write_report"]

BASELINE_NAMES: Final = {
    "chance": "chance",
    "untrained": "untrained network",
    "histogram": "masked colour histogram",
    "silhouette": "raw silhouettes",
}
KINDS: Final = {
    "worst": "Worst failures",
    "random": "Drawn at random",
    "best": "Best",
}

SCORES: Final = {"mAP": "mAP", "mINP": "mINP", "rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10"}


def write_report(run: Path, *, out: Path | None = None, price: Price | None = None) -> Path:
    """Write the report of a run folder and return its path.

    Args:
        run: the run folder.
        out: where to write; `run/report.html` when None.
        price: of a worker hour; None: no money is told.

    Raises:
        UserError: when `run` is not a run folder.
    """
    return publish(render_page(read_run(run), price=price), out or run / "report.html")


def render_page(run: RunView, *, price: Price | None = None) -> str:
    """Return the page's HTML."""
    attempts, speed = _attempts(run), speed_of(run.events)
    return fill(
        "page.html.j2",
        run=run,
        name=names_of([run.path])[0],
        curves=_curve_plots(run),
        evaluations=[_evaluation(view) for view in run.evaluations],
        facts=facts_of(run, price=price),
        speed=speed,
        split=stack_plot("Where a step's time goes", speed.steps, speed.parts, ylabel="seconds") if speed.parts else "",
        attempts=attempts,
        hours=hours(attempts),
        money=money(attempts, price),
        changes=from_recipe(run.config),
        stops=", ".join(scale_stops()),
    )


def summary(run: RunView, *, price: Price | None = None) -> dict[str, Any]:
    """Return the page's figures as JSON-able values."""
    speed, attempts, changes = speed_of(run.events), _attempts(run), from_recipe(run.config)
    return {
        "run": str(run.path),
        "recipe": run.config.recipe,
        "size": run.config.size,
        "changed": None if changes is None else {change.path: list(change.values) for change in changes},
        "evaluations": {view.name: scores_of(view) for view in run.evaluations},
        "images_per_s": speed.images_per_s,
        "step_s": speed.step_s,
        "attempts": len(attempts),
        "worker_hours": hours(attempts),
        **({} if price is None else {"cost": hours(attempts) * price.per_worker_hour, "currency": price.currency}),
    }


def scores_of(view: EvaluationView) -> dict[str, Any]:
    """Return scores as JSON-able values, with those after re-ranking where there are some."""
    again = view.result.get("reranked")
    if again is None:
        return view.result["metrics"]
    return {**view.result["metrics"], "reranked": {name: again[name] for name in again if name != "cmc"}}


def facts_of(run: RunView, *, price: Price | None = None) -> list[tuple[str, str]]:
    """Return the run in a few words: what was trained, on what, for how long."""
    attempts = _attempts(run)
    sources = ", ".join(Path(source.partition(":")[0]).name for source in run.config.data.sources)
    facts = [("recipe", run.config.recipe), ("size", run.config.size), ("seed", str(run.config.seed))]
    facts += [("trained on", sources)] if sources else []
    steps = [event for event in run.events if event["event"] == "step"]
    if steps:
        facts += [
            ("steps", f"{max(event['step'] for event in steps):,}"),
            ("epochs", str(1 + max(event["epoch"] for event in steps))),
            ("training time", f"{sum(attempt.seconds for attempt in attempts) / 60:.1f} min"),
            ("attempts", str(len(attempts))),
        ]
    paid = money(attempts, price)
    return [*facts, ("cost", paid)] if paid else facts


def ranking_with_pictures(view: EvaluationView, ranking: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of rankings.json with the pictures it names."""
    query = {**ranking["query"], "picture": photo(view.folder / ranking["query"]["crop"])}
    results = [{**found, "picture": photo(view.folder / found["crop"])} for found in ranking["results"]]
    return {**ranking, "query": query, "results": results}


def _attempts(run: RunView) -> list[Attempt]:
    return attempts_of(run.events, workers=run.environment.get("workers", 1))


def _evaluation(view: EvaluationView) -> dict[str, Any]:
    rows = _rows(view.result)
    return {
        "name": view.name,
        "result": view.result,
        "remarks": remarks(view.result),
        "rows": rows,
        "scale": max([row["mAP"] for row in rows] + [row["high"] for row in rows] + [0.05]),
        "reranked": _reranked(view.result),
        "changes": [_change(view, found) for found in view.changes],
        "missing": _missing(view.result),
        "cmc": cmc_plot("Cumulative match", _cmc_lines(view.result)),
        "groups": _ranking_groups(view),
        "legend": view.legend,
        "looks": _looks(view),
        "card": view.card,
    }


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the trained network, plain and re-ranked, and its baselines: mAP with its interval, and how far below it."""
    low, high = result["interval"]["mAP"]
    trained = {"name": "trained", "ours": True, "low": low, "high": high, "difference": None, **result["metrics"]}
    rows = [trained]
    if again := result.get("reranked"):
        low, high = again["interval"]["mAP"]
        rows.append(
            {"name": "re-ranked", "ours": True, "low": low, "high": high, "difference": None, **_numbers(again)}
        )
    for key, baseline in result["baselines"].items():
        if "mAP" in baseline:
            low, high = baseline.get("interval", {}).get("mAP", (baseline["mAP"], baseline["mAP"]))
            row = {"name": BASELINE_NAMES.get(key, key), "ours": False, "low": low, "high": high}
            rows.append({**row, "difference": baseline["difference"]["mAP"], **_numbers(baseline)})
    return rows


def _numbers(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result.get(name) for name in ("mAP", "mINP", "rank1", "rank5", "rank10")}


def _reranked(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return plain and re-ranked scores side by side; None when nothing was re-ranked."""
    again = result.get("reranked")
    if again is None:
        return None
    rows = [
        {"title": title, "plain": result["metrics"][key], "again": again[key], "gain": again["gain"].get(key)}
        for key, title in SCORES.items()
        if key in again
    ]
    return {"rows": rows, "k1": again["k1"], "k2": again["k2"], "weight": again["weight"]}


def _change(view: EvaluationView, change: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of reranked.json as two rankings with pictures."""
    return {
        name: ranking_with_pictures(view, {**change[name], "query": change["query"]}) for name in ("plain", "reranked")
    }


def _missing(result: Mapping[str, Any]) -> list[str]:
    baselines = result["baselines"].items()
    return [f"{BASELINE_NAMES.get(key, key)}: {found['missing']}" for key, found in baselines if "mAP" not in found]


def _cmc_lines(result: Mapping[str, Any]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"trained": result["cmc"]}
    if "reranked" in result:
        found["re-ranked"] = result["reranked"]["cmc"]
    for key, baseline in result["baselines"].items():
        if baseline.get("cmc"):
            found[BASELINE_NAMES.get(str(key), str(key))] = baseline["cmc"]
    return found


def _ranking_groups(view: EvaluationView) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = []
    for kind, title in KINDS.items():
        rankings = [ranking_with_pictures(view, found) for found in view.rankings if found["kind"] == kind]
        if rankings:
            groups.append({"title": title, "rankings": rankings})
    return groups


def _looks(view: EvaluationView) -> list[dict[str, Any]]:
    """Return, for each query shown that has maps, query and first answer with theirs."""
    return [
        {
            "kind": ranking["kind"],
            "ap": ranking["ap"],
            "query": _look(view, ranking["query"]),
            "answer": {**_look(view, ranking["results"][0]), "correct": ranking["results"][0]["correct"]},
        }
        for ranking in view.rankings
        if ranking["results"] and {ranking["query"]["key"], ranking["results"][0]["key"]} <= view.maps.keys()
    ]


def _look(view: EvaluationView, image: Mapping[str, Any]) -> dict[str, Any]:
    crop = view.folder / image["crop"]
    return {"key": image["key"], "picture": photo(crop), "map": overlay(crop, view.folder / view.maps[image["key"]])}


def _curve_plots(run: RunView) -> list[str]:
    curves = run.curves
    if not curves.steps:
        return []
    parts = {"total": curves.total, **curves.losses} if len(curves.losses) > 1 else dict(curves.losses)
    plots = [
        curve_plot("Losses", {name: (curves.steps, values) for name, values in parts.items()}),
        curve_plot("Learning rate", {"lr": (curves.steps, curves.lr)}, exact=True),
        curve_plot("Throughput", {"images/s": (curves.steps, curves.images_per_s)}, ylabel="images/s"),
    ]
    if curves.validation:
        plots.append(curve_plot("Validation", curves.validation, exact=True, share=True))
    return plots
