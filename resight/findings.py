"""Results as tables for people: doctor's checks, a data set's findings, an evaluation, the demo's verdict.

Only arranges words and figures; `resight/terminal.py` puts them on the screen.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resight.cluster.doctor import Check
from resight.cluster.words import counted
from resight.terminal import show, show_lines, show_list, show_note, show_table

if TYPE_CHECKING:
    from resight.datasets.card import DatasetCard

__all__ = ["show_checks", "show_data_report", "show_data_sets", "show_left_out", "show_metrics", "show_verdict"]

_MARK = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}
_SHOWN = 5

_COLUMNS = 20  # of a table of counts, at most


def show_checks(checks: Sequence[Check]) -> None:
    """List checks, each with its cure when it is not ok."""
    longest = max(len(check.name) for check in checks)
    for check in checks:
        cure = check.cure if check.status != "ok" else ""
        show_lines(_MARK[check.status], check.name.ljust(longest), check.detail, cure)


def show_data_report(report: Mapping[str, Any]) -> None:
    """Show counts by split, then warnings and problems."""
    columns = ("split", "images", "identities", "cameras", "outfits")
    counts = report["counts"]
    rows = [
        (split, *(str(counts[split].get(name, "")) for name in ("images", "ids", "cameras", "outfits")))
        for split in counts
    ]
    show_table(f"{report['dataset']}, {report['images']} images", columns, rows)
    _show_counted("images by camera", report["cameras"])
    _show_counted("outfits worn", report["outfits"])
    for note in report["notes"]:
        show_lines("[dim]note[/]", "", note, "")
    for kind, mark in (("warnings", _MARK["warn"]), ("problems", _MARK["fail"])):
        for finding in report[kind]:
            show_lines(mark, "", f"{finding['message']}: {', '.join(finding['examples'])}", "")
    if not report["problems"]:
        show_lines(_MARK["ok"], "", "no problems found", "")


def show_left_out(card: "DatasetCard") -> None:
    """Say on standard error what packing left out or set aside, with the reasons."""
    bad = card.quarantined
    if bad:
        reasons = [f"{member['origin']!r}: {member['reason']}" for member in bad[:_SHOWN]]
        more = [f"and {len(bad) - _SHOWN} more, listed in dataset.json"] if len(bad) > _SHOWN else []
        show_note(counted(len(bad), "[image|images] left out"), reasons + more)
    for note in card.made_by.get("notes", ()):
        show_note(note)


def _show_counted(title: str, table: Mapping[str, Mapping[str, int]]) -> None:
    """Show split -> name -> count with a column a name, up to as many as a line holds."""
    names = sorted({name for counts in table.values() for name in counts}, key=lambda name: (len(name), name))
    if len(names) > _COLUMNS:
        show(f"{title}: {len(names)} columns; --json has them all")
    elif names:
        rows = [(split, *(str(table[split].get(name, "")) for name in names)) for split in table]
        show_table(title, ("split", *names), rows)


def show_data_sets(known: Mapping[str, Any]) -> None:
    """Show the data sets that can be packed: figures, then terms and citations."""
    columns = ("name", "identities", "images", "cameras", "what")
    rows = [
        (name, *(f"{n:,}" if n else "" for n in (a["identities"], a["images"], a["cameras"])), a["what"])
        for name, a in known.items()
    ]
    show_table("data sets, as published", columns, rows)
    show_list([(name, f"{a['title']}. Terms: {a['terms']}. Cite: {a['citation']}.") for name, a in known.items()])


def show_metrics(evaluation: Mapping[str, Any]) -> None:
    """Show a result in percent, plain, re-ranked and of baselines, and what it means where that is not the usual."""
    from resight.trainers.retrieval.tables import remarks, reranking, scores_by_name

    columns = ("%", "mAP", "95 %", "mINP", "rank-1", "rank-5", "rank-10")
    rows = [
        _metric_row(name, scores, scores.get("interval", {}).get("mAP")) for name, scores in scores_by_name(evaluation)
    ]
    show_table(f"{evaluation['dataset']}, {evaluation['protocol']}", columns, rows)
    for line in [*reranking(evaluation), *remarks(evaluation)]:
        show(line)


def show_verdict(outcome: Mapping[str, Any]) -> None:
    """Show what the demo claims and whether it holds."""
    columns = ("mAP in %, split", "against", "trained", "baseline", "difference", "95 %", "")
    rows = [
        (
            claim["split"],
            claim["baseline"],
            f"{100 * claim['trained']:.1f}",
            f"{100 * claim['other']:.1f}",
            f"{100 * claim['difference'][0]:+.1f}",
            "{:+.1f} to {:+.1f}".format(*(100 * end for end in claim["difference"][1:])),
            "" if claim["needed"] is None else "holds" if claim["holds"] else "does not hold",
        )
        for claim in outcome["claims"]
    ]
    show_table("unseen people", columns, rows)
    show("  ".join(f"{name} {seconds:.0f} s" for name, seconds in outcome["seconds"].items()))


def _metric_row(name: str, metrics: Mapping[str, Any], interval: Sequence[float] | None) -> tuple[str, ...]:
    between = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else ""
    figures = [metrics.get(key) for key in ("mINP", "rank1", "rank5", "rank10")]
    return (name, f"{100 * metrics['mAP']:.1f}", between, *("" if v is None else f"{100 * v:.1f}" for v in figures))
