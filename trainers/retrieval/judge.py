"""Judge a network on a data set: scores with their uncertainty, baselines beside them, and pictures of the failures.

What is written, under `RUN/evaluations/<data set>/` (`<data set>-<protocol>/` by other rules than the Market ones), all
complete before `evaluation.json`:
  crops/<key>.jpg    the stored bytes of every crop that `rankings.json` shows
  rankings.json      worst, random and best queries with their first ten answers
  maps/<key>.png, maps.json  where the network looks in each query shown and in its first answer, where it can tell
  reranked.json      queries that re-ranking changed most, with both rankings; empty when nothing was re-ranked
  per_query.parquet  one row a query
  dataset.json       the data set's card
  evaluation.json    scores, intervals, baselines, what was judged
Source: design of this project. Trade-off: the masked baselines read every image once more.
"""

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, Int64

from resight.cluster.progress import Progress, silent
from resight.cluster.storage import open_storage
from resight.datasets.card import CARD_KEY, card_to_json
from resight.datasets.dataset import Dataset
from resight.trainers.retrieval.baselines import MASKED, NoMask, mask_features
from resight.trainers.retrieval.chance import chance_metrics
from resight.trainers.retrieval.evaluation import Evaluation, compare, intervals
from resight.trainers.retrieval.inputs import check_directions
from resight.trainers.retrieval.maps import Look, draw_maps
from resight.trainers.retrieval.pooling import Pooling, make_pooling
from resight.trainers.retrieval.protocol import MARKET1501, EvalProtocol
from resight.trainers.retrieval.reranked import check_reranking, rerank_pooled, score_reranked
from resight.trainers.retrieval.reranking import RerankConfig
from resight.trainers.retrieval.scores import Metrics
from resight.trainers.retrieval.scoring import Scoring
from resight.trainers.retrieval.showcase import Showcase, add_changes, make_showcase, per_query_parquet
from resight.trainers.retrieval.sides import Sides, open_sides, score_features

__all__ = ["Embeds", "Evaluation", "judge"]


class Embeds(Protocol):
    """What is judged: anything that turns rows of a data set into features."""

    def embed_dataset(
        self, dataset: Dataset, rows: Int64[np.ndarray, " n"], progress: Progress = silent
    ) -> Float32[np.ndarray, "n d"]:
        """Return (n, D) features, in the order of `rows`."""
        ...


def judge(
    embedder: Embeds,
    dataset: Dataset,
    *,
    out: Path | None = None,
    protocol: EvalProtocol = MARKET1501,
    scoring: Scoring = Scoring(),  # noqa: B008 - frozen
    multi_query: bool = False,
    rerank: RerankConfig | None = None,
    baselines: bool = True,
    untrained: Callable[[], Embeds] | None = None,
    look: Look | None = None,
    checkpoint: Mapping[str, Any] | None = None,
    trained_on: tuple[str, ...] | None = None,
    flip: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Score `embedder` on `dataset` by cosine, and write the findings when `out` is given.

    Args:
        embedder: the network.
        dataset: with splits "query" and "gallery".
        out: the folder of a run; None: nothing is written.
        protocol: what a query is not asked to find.
        scoring: how rankings are scored. Its seed is of the draws, so networks that share it meet the same galleries.
        multi_query: whether a query is the mean over its person's images before its camera.
        rerank: how rankings are re-made for a second result beside the plain one; None: not at all.
        baselines: whether to score chance, an untrained network, colours and outlines too.
        untrained: makes the same network from fresh weights; None: that baseline is reported missing.
        look: draws where the network looks in the images shown; None: no maps are written.
        checkpoint: where the network came from, JSON-able, copied into the findings.
        trained_on: names of the data sets that the network was trained on; None where that is not known.
        flip: what `embedder` does, noted in the findings: the mean of an image's feature and its mirror image's.
        seed: of the resampling. The random queries shown are the same for every network, so that runs can be compared.
        progress: told what is done.

    Raises:
        UserError: when a split is missing, or evaluation refuses (see `metrics.evaluate`).
    """
    seconds: dict[str, float] = {}
    pooling = make_pooling(open_sides(dataset, protocol), protocol, multi_query=multi_query)
    question = _Question(pooling=pooling, protocol=protocol, scoring=scoring, seed=seed)
    if rerank is not None:
        check_reranking(rerank, pooling, protocol)
    with _lap(seconds, "embed"):
        features = pooling(embedder.embed_dataset(dataset, pooling.images.rows, progress))
    sides = pooling.sides
    check_directions(features[: len(sides.query)], features[len(sides.query) :], "cosine")
    with _lap(seconds, "evaluate"):
        metrics = score_features(features, sides, protocol, scoring)
    with _lap(seconds, "interval"):
        interval = intervals(metrics, sides.query_labels.pid, seed=seed)
    again, rows = None, None
    if rerank is not None:
        with _lap(seconds, "rerank"):
            rows = rerank_pooled(features, pooling, rerank, progress)
            again = score_reranked(rows, rerank, metrics, sides, protocol, seed=seed)
    beside: dict[str, dict[str, Any]] = {}
    if baselines:
        with _lap(seconds, "baselines"):
            beside = _baselines(metrics, question, untrained, progress)
    evaluation = Evaluation(
        dataset=dataset.name,
        data_sha256=dataset.card.sha256,
        metrics=metrics,
        interval=interval,
        baselines=beside,
        checkpoint=dict(checkpoint or {}),
        seconds=seconds,
        features={"flip": flip, "multi_query": multi_query, "unit": protocol.unit},
        trained_on=trained_on,
        reranked=again,
    )
    if out is not None:
        shown = metrics
        if metrics.repeats > 1:  # a ranking can only be shown of one draw
            shown = score_features(features, sides, protocol, replace(scoring, repeats=1))
        show = make_showcase(features, sides, shown, protocol)
        if rows is not None and again is not None:
            show = add_changes(show, features, rows, sides, (metrics, again.metrics), protocol)
        _publish(out, evaluation, sides, show, look)
    return evaluation


@dataclass(frozen=True, kw_only=True, eq=False)
class _Question:
    """What the network and every baseline are asked."""

    pooling: Pooling
    protocol: EvalProtocol
    scoring: Scoring
    seed: int

    def beside(self, ours: Metrics, other: Metrics) -> dict[str, Any]:
        return compare(ours, other, self.pooling.sides.query_labels.pid, seed=self.seed)

    def score(self, features: Float32[np.ndarray, "n d"]) -> Metrics:
        return score_features(self.pooling(features), self.pooling.sides, self.protocol, self.scoring)


def _baselines(
    metrics: Metrics, question: _Question, untrained: Callable[[], Embeds] | None, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Score every baseline; one that cannot be had says why."""
    images = question.pooling.images
    found = {"chance": question.beside(metrics, chance_metrics(metrics))}
    if untrained is None:
        found["untrained"] = {"missing": "no way to build the network from fresh weights was given"}
    else:
        features = untrained().embed_dataset(images.dataset, images.rows, progress)
        found["untrained"] = question.beside(metrics, question.score(features))
    for name in MASKED:
        try:
            features = mask_features(name, images.dataset, images.rows, progress)
        except NoMask as missing:
            found[name] = {"missing": str(missing)}
        else:
            found[name] = question.beside(metrics, question.score(features))
    return found


def _publish(out: Path, evaluation: Evaluation, sides: Sides, show: Showcase, look: Look | None) -> None:
    """Write the findings, the file that readers look for last, and then remove pictures of an earlier evaluation."""
    storage = open_storage(out / "evaluations" / evaluation.folder)
    for name, row in show.crops.items():
        storage.publish(bytes(sides.dataset.image_bytes(row)), name)
    maps = draw_maps(look, sides.dataset, show)
    for name, data in maps.files.items():
        storage.publish(data, name)
    storage.publish(_json(maps.index), "maps.json")
    storage.publish(_json(show.rankings), "rankings.json")
    storage.publish(_json(show.changes), "reranked.json")
    again = evaluation.reranked.metrics if evaluation.reranked else None
    storage.publish(per_query_parquet(sides, evaluation.metrics, again), "per_query.parquet")
    storage.publish(card_to_json(sides.dataset.card), CARD_KEY)
    storage.publish(_json(evaluation.to_dict()), "evaluation.json")
    for name in [*storage.list("crops/"), *storage.list("maps/")]:
        if name not in show.crops and name not in maps.files:
            storage.delete(name)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


@contextmanager
def _lap(seconds: dict[str, float], name: str) -> Generator[None]:
    """Note how long a part took."""
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 3)
