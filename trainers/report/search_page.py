"""One page of pictures for a search: each query, then its nearest images with distance, identity and camera.

Looks and rules are those of the report: one file, no scripts, pictures of at most 16 KiB. No colour tells right from
wrong, since nobody knows: a search has no labels to be judged by.
Source: design of this project. Trade-off: at most 60 queries are shown, so that a page stays under 10 MB at 10 answers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from resight.datasets.decode import Undecodable
from resight.trainers.gallery.finding import Findings
from resight.trainers.gallery.shown import Shown
from resight.trainers.report.frame import fill, publish
from resight.trainers.report.pictures import photo

__all__ = ["MOST_QUERIES", "write_search_page"]

MOST_QUERIES: Final = 60


def write_search_page(findings: Findings, out: Path, *, data: Sequence[str | Path] = ()) -> Path:
    """Write the page and return its path.

    Args:
        findings: what was found.
        out: the HTML file.
        data: data sets that have moved since they were embedded.

    Raises:
        UserError: when a folder of `data` is no data set, or the page cannot be written.
    """
    shown = Shown(findings.index, data)
    found = [_ranking(findings, place, shown) for place in range(min(len(findings.queries), MOST_QUERIES))]
    manifest = findings.index.manifest
    names = sorted({segment.dataset for segment in manifest.segments})
    facts = [
        ("images", f"{manifest.rows:,}"),
        ("data sets", ", ".join(names)),
        ("model", " ".join(findings.checkpoint.split("/")[-3::2])),
        ("numbers an image", str(manifest.model.dim)),
    ]
    facts += [("only", " and ".join(findings.where))] if findings.where else []
    facts += [("search", str(findings.probed))] if findings.probed is not None else []
    page = fill(
        "search.html.j2",
        name=Path(findings.index.path).name,
        facts=facts,
        found=found,
        many=len({answer.image.dataset for answers in findings.answers for answer in answers}) > 1,
        hidden=len(findings.queries) - len(found),
        missing=sorted(shown.missing.items()),
    )
    return publish(page, out)


def _ranking(findings: Findings, place: int, shown: Shown) -> dict[str, Any]:
    query, answers = findings.queries[place], findings.answers[place]
    return {
        "name": query.name,
        "short": query.key or Path(query.name).name,
        "pid": query.pid,
        "camid": query.camid,
        "picture": photo(query.image),
        "results": [
            {**vars(answer.image), "distance": answer.distance, "picture": _photo(shown.picture(answer.image))}
            for answer in answers
        ],
    }


def _photo(data: bytes | None) -> str:
    """Return the picture; empty where there is none that can be drawn."""
    try:
        return "" if data is None else photo(data)
    except Undecodable:
        return ""
