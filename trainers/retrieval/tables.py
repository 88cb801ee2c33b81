"""Findings as tables for other programs and for papers: Markdown and CSV, a row for the network, re-ranked, a baseline.

Source: RFC 4180 for CSV, GitHub's dialect for Markdown. Trade-off: CSV keeps fractions in full, Markdown shows percent
to one place, as papers do.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["remarks", "reranking", "scores_by_name", "to_csv", "to_markdown"]

_SCORES: Final = ("mAP", "mINP", "rank1", "rank5", "rank10")
_GAIN: Final = ("mAP_gain", "mAP_gain_low", "mAP_gain_high")
_RULES: Final = ("dataset", "protocol", "ap", "unmatched", "unit", "flip", "multi_query", "cross_domain", "repeats")


def to_csv(evaluation: Mapping[str, Any]) -> str:
    """Return what `Evaluation.to_dict` holds as CSV: rules, scores as fractions, interval, spread and bounds of mAP."""
    columns = ["name", *_RULES, *_SCORES, "mAP_low", "mAP_high", "mAP_std", "mAP_least", "mAP_most", "queries"]
    columns += ["unmatched_queries", "rerank_k1", "rerank_k2", "rerank_weight", *_GAIN]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    rules = _rules(evaluation)
    for name, scores in scores_by_name(evaluation):
        low, high = scores.get("interval", {}).get("mAP", ("", ""))
        least, most = scores.get("tie_bounds", {}).get("mAP", ("", ""))
        row = {"name": name, **rules, **{key: scores.get(key, "") for key in _SCORES}}
        row |= {"mAP_low": low, "mAP_high": high, "mAP_least": least, "mAP_most": most}
        row |= {"mAP_std": scores.get("spread", {}).get("mAP", {}).get("std", "")}
        row |= {"queries": evaluation["metrics"]["queries"]}
        row |= {"unmatched_queries": sum(evaluation["metrics"]["skipped"].values())}
        row |= {f"rerank_{field}": scores.get(field, "") for field in ("k1", "k2", "weight")}
        row |= zip(_GAIN, scores.get("gain", {}).get("mAP", ()), strict=False)
        writer.writerow(row)
    return out.getvalue()


def to_markdown(evaluation: Mapping[str, Any]) -> str:
    """Return what `Evaluation.to_dict` holds as a Markdown table in percent, with the rules in a line above it."""
    rules = _rules(evaluation)
    said = ", ".join(f"{name} {value}" for name, value in rules.items() if name != "dataset")
    lines = [f"{rules['dataset']}: {said}", "", "| % | mAP | 95 % | mINP | rank-1 | rank-5 | rank-10 |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|")
    for name, scores in scores_by_name(evaluation):
        ends = scores.get("interval", {}).get("mAP")
        cells = [_percent(scores.get(key)) for key in _SCORES]
        spread = scores.get("spread", {})
        for at, key in enumerate(("mAP", "mINP", "rank1")):
            cells[at] += f" ± {_percent(spread[key]['std'])}" if key in spread else ""
        between = f"{_percent(ends[0])} to {_percent(ends[1])}" if ends else ""
        lines.append(f"| {name} | " + " | ".join([cells[0], between, *cells[1:]]) + " |")
    lines += ["", *reranking(evaluation)] if "reranked" in evaluation else []
    lines += [part for remark in remarks(evaluation) for part in ("", remark)]
    return "\n".join(lines) + "\n"


def reranking(evaluation: Mapping[str, Any]) -> list[str]:
    """Return how rankings were re-made and what that changed, as a sentence for people; nothing where they were not."""
    again = evaluation.get("reranked")
    if not again:
        return []
    gains = (
        f"{name} {100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        for name, (mean, low, high) in again["gain"].items()
    )
    how = f"k1 {again['k1']}, k2 {again['k2']}, weight {again['weight']:g}"
    return [f"re-ranked ({how}) against plain, points with 95 % intervals: {', '.join(gains)}"]


def scores_by_name(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the network's scores, those after re-ranking, then those of each baseline that there is."""
    yield "trained", {**evaluation["metrics"], "interval": evaluation["interval"]}
    if "reranked" in evaluation:
        yield "re-ranked", evaluation["reranked"]
    for name, scores in evaluation["baselines"].items():
        if "mAP" in scores:
            yield name, scores


def remarks(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what decides the meaning of the numbers where it is not the usual, each as a phrase for people.

    Results of earlier versions say less, and are read as the usual.
    """
    metrics, scoring = evaluation["metrics"], evaluation.get("scoring", {})
    features = evaluation.get("features", {})
    found: list[str] = []
    if scoring.get("ap", "rectangle") != "rectangle":
        found.append(f"average precision by {scoring['ap']}s")
    words = {"flip": "mirror images averaged", "multi_query": "several images a query"}
    found += [phrase for name, phrase in words.items() if features.get(name)]
    if features.get("unit") == "tracklet":
        found.append("one mean feature a tracklet")
    if evaluation.get("cross_domain"):
        found.append(f"trained on {', '.join(evaluation['trained_on'])}: judged on another domain")
    if "repeats" in metrics:
        spread = ", ".join(f"{name} {_percent(values['std'])}" for name, values in metrics["spread"].items())
        found.append(f"mean of {metrics['repeats']} draws, standard deviation of one in %: {spread}")
    for whose, scores in (("", metrics), ("re-ranked ", evaluation.get("reranked", {}))):
        for name, (least, most) in scores.get("tie_bounds", {}).items():
            found.append(f"{whose}{name} over all orders of equal distances: {_percent(least)} to {_percent(most)} %")
    if metrics.get("skipped"):
        fate = "counted as never found, of" if scoring.get("unmatched") == "count" else "skipped of"
        told = ", ".join(f"{count} {reason}" for reason, count in metrics["skipped"].items())
        found.append(f"{fate} {metrics['queries']} queries: {told}")
    return found


def _rules(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the meaning of the numbers, by short names; what is not known is left out."""
    found = {
        "dataset": evaluation["dataset"],
        "protocol": evaluation["protocol"],
        **{name: evaluation["scoring"][name] for name in ("ap", "unmatched")},
        **evaluation["features"],
        "cross_domain": evaluation["cross_domain"],
        "repeats": evaluation["metrics"].get("repeats", 1),
    }
    words = {True: "yes", False: "no"}
    return {
        name: words[found[name]] if isinstance(found[name], bool) else found[name]
        for name in _RULES
        if found[name] is not None
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
