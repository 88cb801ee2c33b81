"""The findings on one data set, and how a baseline's scores are put beside the network's.

Source: design of this project; the layout of `evaluation.json` is `Evaluation.to_dict`. Trade-off: a baseline carries
its own scores in full, so a reader needs no other file to draw the comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from resight.trainers.retrieval.bootstrap import Interval, difference_interval, mean_interval
from resight.trainers.retrieval.metrics import Metrics

__all__ = ["Evaluation", "compare", "intervals", "rule_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """One network judged on one data set.

    Attributes:
        dataset: its name.
        data_sha256: which bytes it had.
        metrics: the scores.
        rerank: how rankings were re-made, None if they were not.
        interval: 95 % interval of each named mean, over identities.
        baselines: name -> scores with "cmc", "interval" and paired "difference", or {"missing": why}.
        checkpoint: where the network came from.
        seconds: what took how long.
    """

    dataset: str
    data_sha256: str
    metrics: Metrics
    rerank: Mapping[str, Any] | None
    interval: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, Any]]
    checkpoint: Mapping[str, Any]
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return what `evaluation.json` holds."""
        return {
            "dataset": self.dataset,
            "data_sha256": self.data_sha256,
            "protocol": self.metrics.protocol,
            "rerank": dict(self.rerank) if self.rerank else None,
            "metrics": self.metrics.to_dict(),
            "cmc": self.metrics.cmc.tolist(),
            "interval": {name: [found.low, found.high] for name, found in self.interval.items()},
            "baselines": {name: dict(found) for name, found in self.baselines.items()},
            "checkpoint": dict(self.checkpoint),
            "seconds": dict(self.seconds),
        }


def rule_of(result: Mapping[str, Any]) -> str:
    """Return in words how what `evaluation.json` holds was ranked."""
    if not result.get("rerank"):
        return result["protocol"]
    fields = ", ".join(f"{name} {value:g}" for name, value in result["rerank"].items())
    return f"{result['protocol']}, re-ranked ({fields})"


def intervals(metrics: Metrics, pids: Int64[np.ndarray, " q"], *, seed: int) -> dict[str, Interval]:
    """Return the 95 % intervals of mAP, mINP and rank-1 over the queries' identities."""
    rank1 = np.where(metrics.reason == 0, metrics.first_hit == 1, np.nan)
    values = {"mAP": metrics.ap, "mINP": metrics.inp, "rank1": rank1}
    return {name: mean_interval(found, pids, seed=seed) for name, found in values.items()}


def compare(ours: Metrics, other: Metrics, pids: Int64[np.ndarray, " q"], *, seed: int) -> dict[str, Any]:
    """Return a baseline's entry: its scores, and how far ours are above them, paired by query."""
    own = mean_interval(other.ap, pids, seed=seed)
    gap = difference_interval(ours.ap, other.ap, pids, seed=seed)
    scores = {name: value for name, value in other.to_dict().items() if name not in ("queries", "skipped")}
    return {
        **scores,
        "cmc": other.cmc.tolist(),
        "interval": {"mAP": [own.low, own.high]},
        "difference": {"mAP": [gap.mean, gap.low, gap.high]},
    }
