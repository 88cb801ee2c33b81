"""What a person looks at after the scores: the queries that fail worst, some at random, the best, with their answers.

Worst comes first, one query an identity, so that one unlucky person does not fill the page. Answers are those that the
protocol ranks: what it drops is not shown, as it is not scored.
Source: design of this project. Trade-off: crops are copied into the run folder, so a report outlives its data set.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from resight.trainers.retrieval.metrics import SKIP_REASONS, Metrics
from resight.trainers.retrieval.protocol import EvalProtocol
from resight.trainers.retrieval.ranking import rank_rows
from resight.trainers.retrieval.sides import AnswerRows, Sides

__all__ = ["Showcase", "choose_queries", "make_showcase", "per_query_parquet"]

COUNTS: Final = {"worst": 12, "random": 6, "best": 6}
ANSWERS: Final = 10

_PNG = b"\x89PNG"


@dataclass(frozen=True, kw_only=True)
class Showcase:
    """Chosen rankings, and the pictures that they name.

    Attributes:
        rankings: what `rankings.json` holds, worst first.
        crops: file name below the evaluation's folder -> row of the data set.
    """

    rankings: list[dict[str, Any]]
    crops: Mapping[str, int]


def make_showcase(rows: AnswerRows, sides: Sides, metrics: Metrics, protocol: EvalProtocol) -> Showcase:
    """Choose queries and rank the gallery for them by `rows`, those that were scored."""
    chosen = choose_queries(metrics, sides.query_labels.pid)
    picked = np.array([query for _, query in chosen], np.int64)
    indices, distances = rank_rows(
        rows(picked),
        sides.query_labels.take(picked),
        sides.gallery_labels,
        ANSWERS,
        protocol=protocol,
    )
    crops: dict[str, int] = {}
    rankings = [
        {
            "kind": kind,
            "ap": float(metrics.ap[query]),
            "first_hit": int(metrics.first_hit[query]),
            "query": _image(sides, int(sides.query[query]), crops),
            "results": [
                {
                    **_image(sides, int(sides.gallery[at]), crops),
                    "distance": float(distance),
                    "correct": bool(sides.gallery_labels.pid[at] == sides.query_labels.pid[query]),
                }
                for at, distance in zip(indices[place], distances[place], strict=True)
                if at >= 0
            ],
        }
        for place, (kind, query) in enumerate(chosen)
    ]
    return Showcase(rankings=rankings, crops=crops)


def choose_queries(metrics: Metrics, pids: Int64[np.ndarray, " q"], *, seed: int = 0) -> list[tuple[str, int]]:
    """Return (kind, query) of scored queries, each at most once: worst, then random, then best.

    The draw looks at the queries alone and leaves out what is shown anyway, so the first queries drawn are shown of
    every network, and networks can be compared by them.
    """
    scored = np.flatnonzero(metrics.reason == 0)
    ascending = scored[np.argsort(metrics.ap[scored], kind="stable")]
    worst = _one_each(ascending, pids)[: COUNTS["worst"]]
    left = ascending[~np.isin(ascending, worst)]
    best = _one_each(left[::-1], pids)[: COUNTS["best"]]
    drawn = np.random.default_rng(seed).permutation(scored)
    drawn = drawn[~np.isin(drawn, [*worst, *best])][: COUNTS["random"]]
    groups = {"worst": worst, "random": drawn, "best": best}
    return [(kind, int(query)) for kind, queries in groups.items() for query in queries]


def per_query_parquet(sides: Sides, metrics: Metrics) -> bytes:
    """Return `per_query.parquet`: one row a query, scores null where it was skipped, with the reason."""
    index = sides.dataset.index
    scored = metrics.reason == 0
    columns = {
        "key": index.key[sides.query],
        **{name: getattr(index, name)[sides.query] for name in ("pid", "camid", "outfit")},
        "ap": pa.array(metrics.ap, mask=~scored),
        "inp": pa.array(metrics.inp, mask=~scored),
        "first_hit": pa.array(metrics.first_hit, mask=~scored),
        "positives": metrics.positives,
        "ranked": metrics.ranked,
        "skipped": pa.array([SKIP_REASONS[reason] or None for reason in metrics.reason], pa.string()),
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _one_each(queries: Int64[np.ndarray, " n"], pids: Int64[np.ndarray, " q"]) -> Int64[np.ndarray, " m"]:
    """Keep the first query of each identity, in order."""
    _, first = np.unique(pids[queries], return_index=True)
    return queries[np.sort(first)]


def _image(sides: Sides, row: int, crops: dict[str, int]) -> dict[str, Any]:
    """Describe a crop, and note that its picture is needed."""
    index = sides.dataset.index
    suffix = "png" if bytes(sides.dataset.image_bytes(row)[:4]) == _PNG else "jpg"
    name = f"crops/{index.key[row]}.{suffix}"
    crops[name] = row
    labels = {field: int(getattr(index, field)[row]) for field in ("pid", "camid", "outfit")}
    return {"key": str(index.key[row]), **labels, "crop": name}
