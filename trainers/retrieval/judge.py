"""Judge a network on a data set: scores with their uncertainty, baselines beside them, and pictures of the failures.

What is written, under `RUN/evaluations/<data set>/`, everything complete before `evaluation.json`:
  crops/<key>.jpg    the stored bytes of every crop that `rankings.json` shows
  rankings.json      worst, random and best queries with their first ten answers
  maps/<key>.png, maps.json  where the network looks in each query shown and in its first answer, where it can tell
  per_query.parquet  one row a query
  dataset.json       the data set's card
  evaluation.json    scores, intervals, baselines, what was judged
Source: design of this project. Trade-off: the masked baselines read every image once more.
"""

import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
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
from resight.trainers.retrieval.maps import Look, draw_maps
from resight.trainers.retrieval.metrics import Metrics
from resight.trainers.retrieval.protocol import MARKET1501, EvalProtocol
from resight.trainers.retrieval.reranking import RerankConfig
from resight.trainers.retrieval.showcase import Showcase, make_showcase, per_query_parquet
from resight.trainers.retrieval.sides import Sides, answer_rows, open_sides, score_rows

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
    baselines: bool = True,
    untrained: Callable[[], Embeds] | None = None,
    look: Look | None = None,
    reranking: RerankConfig | None = None,
    checkpoint: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Score `embedder` on `dataset` by cosine, or re-ranked, and write the findings when `out` is given.

    Args:
        embedder: the network.
        dataset: with splits "query" and "gallery".
        out: the folder of a run; None: nothing is written.
        protocol: what a query is not asked to find.
        baselines: whether to score chance, an untrained network, colours and outlines too.
        untrained: makes the same network from fresh weights; None: that baseline is reported missing.
        look: draws where the network looks in the images shown; None: no maps are written.
        reranking: how every ranking, the baselines' too, is re-made from common neighbours; None: not at all.
        checkpoint: where the network came from, JSON-able, copied into the findings.
        seed: of the resampling. The random queries shown are the same for every network, so that runs can be compared.
        progress: told what is done.

    Raises:
        UserError: when a split is missing, or evaluation refuses (see `metrics.evaluate`).
    """
    seconds: dict[str, float] = {}
    sides = open_sides(dataset)
    with _lap(seconds, "embed"):
        features = embedder.embed_dataset(dataset, sides.rows, progress)
    with _lap(seconds, "evaluate"):
        rows = answer_rows(features, sides, reranking, progress)
        metrics = score_rows(rows, sides, protocol)
    with _lap(seconds, "interval"):
        interval = intervals(metrics, sides.query_labels.pid, seed=seed)
    beside: dict[str, dict[str, Any]] = {}
    if baselines:
        with _lap(seconds, "baselines"):
            beside = _baselines(metrics, sides, protocol, reranking, untrained, seed, progress)
    evaluation = Evaluation(
        dataset=dataset.name,
        data_sha256=dataset.card.sha256,
        metrics=metrics,
        rerank=asdict(reranking) if reranking else None,
        interval=interval,
        baselines=beside,
        checkpoint=dict(checkpoint or {}),
        seconds=seconds,
    )
    if out is not None:
        _publish(out, evaluation, sides, make_showcase(rows, sides, metrics, protocol), look)
    return evaluation


def _baselines(
    metrics: Metrics,
    sides: Sides,
    protocol: EvalProtocol,
    reranking: RerankConfig | None,
    untrained: Callable[[], Embeds] | None,
    seed: int,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """Score every baseline; one that cannot be had says why."""

    def beside(other: Metrics) -> dict[str, Any]:
        return compare(metrics, other, sides.query_labels.pid, seed=seed)

    def scored(features: Float32[np.ndarray, "n d"]) -> dict[str, Any]:
        return beside(score_rows(answer_rows(features, sides, reranking, progress), sides, protocol))

    found = {"chance": beside(chance_metrics(metrics))}
    if untrained is None:
        found["untrained"] = {"missing": "no way to build the network from fresh weights was given"}
    else:
        features = untrained().embed_dataset(sides.dataset, sides.rows, progress)
        found["untrained"] = scored(features)
    for name in MASKED:
        try:
            features = mask_features(name, sides.dataset, sides.rows, progress)
        except NoMask as missing:
            found[name] = {"missing": str(missing)}
        else:
            found[name] = scored(features)
    return found


def _publish(out: Path, evaluation: Evaluation, sides: Sides, show: Showcase, look: Look | None) -> None:
    """Write the findings, the file that readers look for last, and then remove pictures of an earlier evaluation."""
    storage = open_storage(out / "evaluations" / evaluation.dataset)
    for name, row in show.crops.items():
        storage.publish(bytes(sides.dataset.image_bytes(row)), name)
    maps = draw_maps(look, sides.dataset, show)
    for name, data in maps.files.items():
        storage.publish(data, name)
    storage.publish(_json(maps.index), "maps.json")
    storage.publish(_json(show.rankings), "rankings.json")
    storage.publish(per_query_parquet(sides, evaluation.metrics), "per_query.parquet")
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
