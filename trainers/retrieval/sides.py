"""The two sides of a retrieval task on a data set: whose rows ask, whose rows answer, and what is known of them.

Queries are the split "query"; the gallery is the split "gallery", its junk never ranked and its distractors wrong
answers for everybody, whatever number their reader gave them.
Source: Zheng et al. 2015 (Market-1501) for the three roles. Trade-off: junk keeps its feature and its column.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from resight.cluster.errors import UserError
from resight.datasets.dataset import Dataset
from resight.trainers.retrieval.blocks import feature_rows
from resight.trainers.retrieval.inputs import check_features, check_protocol
from resight.trainers.retrieval.matching import Labels, takes_part
from resight.trainers.retrieval.metrics import Metrics, evaluate_rows
from resight.trainers.retrieval.protocol import DISTRACTOR, JUNK, MARKET1501, EvalProtocol
from resight.trainers.retrieval.scoring import Scoring

__all__ = ["Sides", "open_sides", "score_features"]


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


def open_sides(dataset: Dataset, protocol: EvalProtocol = MARKET1501) -> Sides:
    """Return the rows of a data set that `protocol` judges; UserError when there are none, or labels are missing."""
    index = dataset.index
    rows = {split: index.select(split=split) for split in ("query", "gallery")}
    if protocol.queries == "rest":
        rows = dict.fromkeys(rows, np.union1d(rows["query"], rows["gallery"]))
    for split, found in rows.items():
        if len(found) == 0:
            problem = f"{dataset.name} has no split {split!r}, it has: {', '.join(index.splits)}"
            cure = "judge a data set that has query and gallery images"
            raise UserError(problem, where=dataset.path, cure=cure)
    pid = np.select([index.role == "junk", index.role == "distractor"], [JUNK, DISTRACTOR], default=index.pid)
    labels = Labels(pid=pid, camid=index.camid, outfit=index.outfit, tracklet=index.tracklet)
    check_protocol(labels.take(rows["query"]), labels.take(rows["gallery"]), protocol)
    cameras = {"query": protocol.query_cameras, "gallery": protocol.gallery_cameras}
    kept = {split: found[takes_part(labels.take(found), cameras[split])] for split, found in rows.items()}
    return Sides(
        dataset=dataset,
        query=kept["query"],
        gallery=kept["gallery"],
        query_labels=labels.take(kept["query"]),
        gallery_labels=labels.take(kept["gallery"]),
    )


def score_features(
    features: Float32[np.ndarray, "n d"],
    sides: Sides,
    protocol: EvalProtocol,
    scoring: Scoring = Scoring(),  # noqa: B008 - frozen
) -> Metrics:
    """Score features of `sides.rows` by cosine; a zero vector is at distance 1. UserError as in `metrics.evaluate`."""
    query, gallery = features[: len(sides.query)], features[len(sides.query) :]
    check_features(query, gallery)
    rows = feature_rows(query, gallery, "cosine")
    return evaluate_rows(rows, sides.query_labels, sides.gallery_labels, protocol=protocol, scoring=scoring)
