"""What a person looks at after the scores: the queries that fail worst, some at random, the best, with their answers.

Worst comes first, one query an identity, so that one unlucky person does not fill the page. Answers are those that the
protocol ranks: what it drops is not shown, as it is not scored. Queries that re-ranking changed have both rankings.
Source: design of this project. Trade-off: crops are copied into the run folder, so a report outlives its data set.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from resight.trainers.retrieval.blocks import Rows, feature_rows
from resight.trainers.retrieval.metrics import SKIP_REASONS, Metrics
from resight.trainers.retrieval.protocol import EvalProtocol
from resight.trainers.retrieval.ranking import rank_rows
from resight.trainers.retrieval.reranking import RerankedRows
from resight.trainers.retrieval.sides import Sides

__all__ = ["Showcase", "add_changes", "choose_queries", "make_showcase", "per_query_parquet"]

COUNTS: Final = {"worst": 12, "random": 6, "best": 6}
CHANGED: Final = 3  # queries that re-ranking made better, and as many that it made worse
ANSWERS: Final = 10

_PNG = b"\x89PNG"


@dataclass(frozen=True, kw_only=True)
class Showcase:
    """Chosen rankings, and the pictures that they name.

    Attributes:
        rankings: what `rankings.json` holds, worst first.
        crops: file name below the evaluation's folder -> row of the data set.
        changes: what `reranked.json` holds: queries that gained most, then those that lost most.
    """

    rankings: list[dict[str, Any]]
    crops: Mapping[str, int]
    changes: list[dict[str, Any]] = field(default_factory=list)


def make_showcase(
    features: Float32[np.ndarray, "n d"], sides: Sides, metrics: Metrics, protocol: EvalProtocol
) -> Showcase:
    """Choose queries and rank the gallery for them; `features` are those of `sides.rows`, `metrics` of one draw."""
    chosen = choose_queries(metrics, sides.query_labels.pid)
    picked = np.array([query for _, query in chosen], np.int64)
    crops: dict[str, int] = {}
    found = _answers(_plain_rows(features, sides, picked), sides, picked, metrics, protocol, crops)
    rankings = [
        {"kind": kind, **ranking, "query": _image(sides, int(sides.query[query]), crops)}
        for (kind, query), ranking in zip(chosen, found, strict=True)
    ]
    return Showcase(rankings=rankings, crops=crops)


def add_changes(
    show: Showcase,
    features: Float32[np.ndarray, "n d"],
    rows: RerankedRows,
    sides: Sides,
    metrics: tuple[Metrics, Metrics],
    protocol: EvalProtocol,
) -> Showcase:
    """Add the queries whose average precision re-ranking changed most; `metrics` are the plain and the re-ranked."""
    change = metrics[1].ap - metrics[0].ap
    pids = sides.query_labels.pid
    scored = np.flatnonzero(metrics[0].reason == 0)
    rising = scored[np.argsort(change[scored], kind="stable")]
    gained, lost = rising[::-1][change[rising[::-1]] > 0], rising[change[rising] < 0]
    picked = np.concatenate([_one_each(queries, pids)[:CHANGED] for queries in (gained, lost)])
    if len(picked) == 0:
        return show
    crops = dict(show.crops)
    before = _answers(_plain_rows(features, sides, picked), sides, picked, metrics[0], protocol, crops)
    after = _answers(rows.take(picked), sides, picked, metrics[1], protocol, crops)
    changes = [
        {
            "kind": "gained" if change[query] > 0 else "lost",
            "query": _image(sides, int(sides.query[query]), crops),
            "plain": plain,
            "reranked": again,
        }
        for query, plain, again in zip(picked.tolist(), before, after, strict=True)
    ]
    return replace(show, crops=crops, changes=changes)


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


def per_query_parquet(sides: Sides, metrics: Metrics, reranked: Metrics | None = None) -> bytes:
    """Return `per_query.parquet`: one row a query, scores null where it was skipped, with the reason."""
    index = sides.dataset.index
    again = {} if reranked is None else _by_query(reranked)
    columns = {
        "key": index.key[sides.query],
        **{name: getattr(index, name)[sides.query] for name in ("pid", "camid", "outfit")},
        **_by_query(metrics),
        **{f"reranked_{name}": column for name, column in again.items()},
        "positives": metrics.positives,
        "ranked": metrics.ranked,
        "skipped": pa.array([SKIP_REASONS[reason] or None for reason in metrics.reason], pa.string()),
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _by_query(metrics: Metrics) -> dict[str, Any]:
    skipped = ~metrics.counted
    return {
        "ap": pa.array(metrics.ap, mask=skipped),
        "inp": pa.array(metrics.inp, mask=skipped),
        "top1": pa.array(metrics.top1, mask=skipped),
        "first_hit": pa.array(metrics.first_hit, mask=metrics.reason != 0),
    }


def _plain_rows(features: Float32[np.ndarray, "n d"], sides: Sides, queries: Int64[np.ndarray, " k"]) -> Rows:
    return feature_rows(features[queries], features[len(sides.query) :], "cosine")


def _answers(
    rows: Rows,
    sides: Sides,
    queries: Int64[np.ndarray, " k"],
    metrics: Metrics,
    protocol: EvalProtocol,
    crops: dict[str, int],
) -> list[dict[str, Any]]:
    """Return scores and first answers of some queries, by their `rows`, and note the pictures."""
    indices, distances = rank_rows(
        rows,
        sides.query_labels.take(queries),
        sides.gallery_labels,
        ANSWERS,
        protocol=protocol,
        seed=metrics.scoring.seed,
    )
    return [
        {
            "ap": float(metrics.ap[query]),
            "first_hit": int(metrics.first_hit[query]),
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
        for place, query in enumerate(queries.tolist())
    ]


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
