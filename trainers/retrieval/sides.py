"""The two sides of a retrieval task on a data set: whose rows ask, whose rows answer, and what is known of them.

Queries are the split "query"; the gallery is the split "gallery", its junk never ranked and its distractors wrong
answers for everybody, whatever number their reader gave them.
Source: Zheng et al. 2015 (Market-1501) for the three roles. Trade-off: junk keeps its feature and its column; when
re-ranked, all distances are in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, silent
from resight.datasets.dataset import Dataset
from resight.trainers.retrieval.blocks import GivenRows, Rows, feature_rows
from resight.trainers.retrieval.inputs import check_features, unit_features
from resight.trainers.retrieval.matching import Labels
from resight.trainers.retrieval.metrics import Metrics, evaluate_rows
from resight.trainers.retrieval.protocol import DISTRACTOR, JUNK, EvalProtocol
from resight.trainers.retrieval.reranking import RerankConfig, rerank

__all__ = ["AnswerRows", "Sides", "answer_rows", "open_sides", "score_features", "score_rows"]

AnswerRows = Callable[[Int64[np.ndarray, " n"] | None], Rows]
"""Rows of distances to the gallery: of the queries that are given, or of all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """Rows of a data set, with the labels that evaluation reads.

    Attributes:
        dataset: where the rows are.
        query: (Q,) rows that ask.
        gallery: (G,) rows that answer.
        query_labels: of the queries.
        gallery_labels: of the gallery, junk and distractors marked.
    """

    dataset: Dataset
    query: Int64[np.ndarray, " q"]
    gallery: Int64[np.ndarray, " g"]
    query_labels: Labels
    gallery_labels: Labels

    @property
    def rows(self) -> Int64[np.ndarray, " n"]:
        """All rows, queries first: the order of the features that `score_features` takes."""
        return np.concatenate([self.query, self.gallery])


def open_sides(dataset: Dataset) -> Sides:
    """Return the query and gallery rows of a data set; UserError when there are none."""
    index = dataset.index
    rows = {split: index.select(split=split) for split in ("query", "gallery")}
    for split, found in rows.items():
        if len(found) == 0:
            problem = f"{dataset.name} has no split {split!r}, it has: {', '.join(index.splits)}"
            cure = "judge a data set that has query and gallery images"
            raise UserError(problem, where=dataset.path, cure=cure)
    pid = np.select([index.role == "junk", index.role == "distractor"], [JUNK, DISTRACTOR], default=index.pid)
    labels = Labels(pid=pid, camid=index.camid)
    return Sides(
        dataset=dataset,
        query=rows["query"],
        gallery=rows["gallery"],
        query_labels=labels.take(rows["query"]),
        gallery_labels=labels.take(rows["gallery"]),
    )


def score_features(features: Float32[np.ndarray, "n d"], sides: Sides, protocol: EvalProtocol) -> Metrics:
    """Score features of `sides.rows` by cosine; UserError as in `metrics.evaluate`."""
    return score_rows(answer_rows(features, sides), sides, protocol)


def answer_rows(
    features: Float32[np.ndarray, "n d"],
    sides: Sides,
    reranking: RerankConfig | None = None,
    progress: Progress = silent,
) -> AnswerRows:
    """Return how far the gallery is from queries: by cosine of features of `sides.rows`, or re-ranked at once."""
    query, gallery = features[: len(sides.query)], features[len(sides.query) :]
    check_features(query, gallery)
    if reranking is None:
        return lambda chosen: feature_rows(query if chosen is None else query[chosen], gallery, "cosine")
    unit = unit_features(features)
    final = rerank(unit[: len(query)], unit[len(query) :], reranking, progress=progress)
    return lambda chosen: GivenRows(final if chosen is None else final[chosen])


def score_rows(rows: AnswerRows, sides: Sides, protocol: EvalProtocol) -> Metrics:
    """Score all queries; UserError as in `metrics.evaluate`."""
    return evaluate_rows(rows(None), sides.query_labels, sides.gallery_labels, protocol=protocol)
