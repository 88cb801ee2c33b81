"""Judge the network on identities set aside from training, while training: what `keep_best` and selection go by.

The rows come from the training split alone (`data.val_ids`), so nothing of the test split is ever looked at. Where
cameras are known, the first image of each identity in each camera asks and all images answer under the Market rule;
where no identity was seen by two cameras, the first image of each identity asks and the others answer.

Images are embedded in fixed chunks by key, shared out to the ranks, so the figures are the same for any number of
workers, and training goes on as if nothing had happened: no gradient, no running statistics, no random number.

Source: design of this project; against picking by the test split's mAP, which leaks.
"""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float32, Int64

from resight.cluster.errors import UserError
from resight.datasets.dataset import Dataset
from resight.trainers.config import Config
from resight.trainers.embedder import Embedder
from resight.trainers.engines.engine import Engine
from resight.trainers.job import Job, TrainData
from resight.trainers.retrieval.matching import Labels
from resight.trainers.retrieval.protocol import MARKET1501, NO_CAMERA, EvalProtocol
from resight.trainers.retrieval.sides import Sides, score_features

__all__ = ["check_validation", "validate", "validation_due", "validation_sides"]


def validation_due(config: Config, epoch: int) -> bool:
    """Tell whether identities are judged once `epoch` epochs are done."""
    every, last = config.run.validate_every_epochs, config.run.epochs
    return config.data.val_ids > 0 and (epoch % every == 0 or epoch == last)


def check_validation(config: Config, data: TrainData) -> None:
    """Raise `UserError` when identities shall be set aside, and there are none that could be found again."""
    if config.data.val_ids == 0:
        return
    for dataset, rows in data.held_out:
        validation_sides(dataset, rows)
    if not data.held_out:
        raise UserError(
            f"a share of {config.data.val_ids:g} sets no identity aside",
            where="data.val_ids",
            cure="raise it, or set it to 0 to train without validation",
        )


def validate(job: Job, config: Config, data: TrainData, engine: Engine) -> dict[str, Any]:
    """Return mAP, mINP and rank1, fractions and means over the data sets, the count of queries, and each set's own.

    Every rank calls this and gets the same.
    """
    embedder = Embedder(config, job.moving.models, job.shape)
    sets: dict[str, dict[str, Any]] = {}
    for dataset, rows in data.held_out:
        sides, protocol = validation_sides(dataset, rows)
        metrics = score_features(_features(embedder, sides, engine), sides, protocol)
        found = {"mAP": metrics.mAP, "mINP": metrics.mINP, "rank1": metrics.rank1, "queries": metrics.queries}
        sets[dataset.name] = {**found, "protocol": protocol.name}
    means = {name: float(np.mean([found[name] for found in sets.values()])) for name in ("mAP", "mINP", "rank1")}
    return {**means, "queries": sum(found["queries"] for found in sets.values()), "sets": sets}


def validation_sides(dataset: Dataset, rows: Int64[np.ndarray, " v"]) -> tuple[Sides, EvalProtocol]:
    """Return who asks and who answers among the rows set aside, and by which rules.

    Raises:
        UserError: when no identity has two images.
    """
    index = dataset.index
    rows = rows[np.argsort(index.key[rows].astype(str), kind="stable")]
    pid, camid = index.pid[rows], index.camid[rows]
    seen = np.unique(np.stack([pid, camid], axis=1)[camid >= 0], axis=0)
    crossing = np.isin(pid, _repeated(seen[:, 0])) & (camid >= 0)
    if crossing.any():
        protocol, groups, asks = MARKET1501, np.stack([pid, camid], axis=1), crossing
    else:
        protocol, groups, asks = NO_CAMERA, pid[:, None], np.isin(pid, _repeated(pid))
    if not asks.any():
        raise UserError(
            "no identity that is set aside for validation has two images",
            where=dataset.path,
            cure="raise data.val_ids, or set it to 0 to train without validation",
        )
    _, first = np.unique(groups, axis=0, return_index=True)
    query = np.sort(first[asks[first]])
    gallery = np.arange(len(rows)) if protocol is MARKET1501 else np.setdiff1d(np.arange(len(rows)), query)
    labels = Labels(pid=pid, camid=camid)
    sides = Sides(
        dataset=dataset,
        query=rows[query],
        gallery=rows[gallery],
        query_labels=labels.take(query),
        gallery_labels=labels.take(gallery),
    )
    return sides, protocol


def _repeated(values: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " m"]:
    names, counts = np.unique(values, return_counts=True)
    return names[counts > 1]


def _features(embedder: Embedder, sides: Sides, engine: Engine) -> Float32[np.ndarray, "n d"]:
    """Return the features of `sides.rows`, each chunk embedded by one rank and known to all."""
    index = sides.dataset.index
    rows = np.unique(sides.rows)
    rows = rows[np.argsort(index.key[rows].astype(str), kind="stable")]
    chunks = [np.arange(at, min(at + embedder.chunk, len(rows))) for at in range(0, len(rows), embedder.chunk)]
    own = np.concatenate([np.arange(0), *chunks[engine.rank :: engine.world]])
    features = np.zeros((len(rows), embedder.dim), np.float32)
    if len(own):
        features[own] = embedder.embed_dataset(sides.dataset, rows[own])
    if engine.group is not None:
        summed = torch.from_numpy(features).to(engine.device)
        dist.all_reduce(summed, group=engine.group)
        features = summed.cpu().numpy()
    order = np.argsort(rows)
    return features[order[np.searchsorted(rows[order], sides.rows)]]
