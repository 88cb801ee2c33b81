"""The findings on one data set, and how a baseline's scores, and re-ranked ones, are put beside the network's.

Source: design of this project; the layout of `evaluation.json` is `Evaluation.to_dict`. Trade-off: a baseline carries
its own scores in full, so a reader needs no other file to draw the comparison.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Int64

from resight.trainers.retrieval.bootstrap import Interval, difference_interval, mean_interval
from resight.trainers.retrieval.protocol import MARKET1501
from resight.trainers.retrieval.reranking import RerankConfig
from resight.trainers.retrieval.scores import Metrics

__all__ = ["Evaluation", "Reranked", "compare", "gains", "intervals"]

_RULES: Final = ("protocol", "scoring", "features", "trained_on", "cross_domain")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reranked:
    """The same network's scores after re-ranking, which stand beside its plain ones.

    Attributes:
        config: how rankings were re-made.
        metrics: the scores.
        interval: 95 % interval of each named mean, over identities.
        gain: how far each named mean is above the plain one, paired by query.
    """

    config: RerankConfig
    metrics: Metrics
    interval: Mapping[str, Interval]
    gain: Mapping[str, Interval]

    def summary(self) -> dict[str, Any]:
        """Return k1, k2, weight, scores and gains as [mean, low, high], JSON-able."""
        return {
            **asdict(self.config),
            **_scores(self.metrics),
            "gain": {name: [found.mean, found.low, found.high] for name, found in self.gain.items()},
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what `evaluation.json` holds of it."""
        ends = {name: [found.low, found.high] for name, found in self.interval.items()}
        return {**self.summary(), "cmc": self.metrics.cmc.tolist(), "interval": ends}


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """One network judged on one data set.

    Attributes:
        dataset: its name.
        data_sha256: which bytes it had.
        metrics: the scores.
        interval: 95 % interval of each named mean, over identities.
        baselines: name -> scores with "cmc", "interval" and paired "difference", or {"missing": why}.
        checkpoint: where the network came from.
        seconds: what took how long.
        features: how they were made: "flip" (mean with the mirror image), "multi_query", "unit".
        trained_on: names of the data sets that the network was trained on; None where that is not known.
        reranked: the scores after re-ranking; None when nobody asked.
    """

    dataset: str
    data_sha256: str
    metrics: Metrics
    interval: Mapping[str, Interval]
    baselines: Mapping[str, Mapping[str, Any]]
    checkpoint: Mapping[str, Any]
    seconds: Mapping[str, float]
    features: Mapping[str, Any]
    trained_on: tuple[str, ...] | None
    reranked: Reranked | None = None

    @property
    def folder(self) -> str:
        """Name of its folder in a run: the data set's; by other rules than the Market ones, with the protocol's."""
        name = self.metrics.protocol
        return self.dataset if name == MARKET1501.name else f"{self.dataset}-{name}"

    def summary(self) -> dict[str, Any]:
        """Return the scores with everything that decides what they mean, JSON-able."""
        known = self.trained_on is not None
        return {
            "dataset": self.dataset,
            "protocol": self.metrics.protocol,
            "scoring": self.metrics.scoring.to_dict(),
            "features": dict(self.features),
            "trained_on": list(self.trained_on or ()) if known else None,
            "cross_domain": self.dataset not in (self.trained_on or ()) if known else None,
            **self.metrics.to_dict(),
            **({"reranked": self.reranked.summary()} if self.reranked else {}),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what `evaluation.json` holds."""
        return {
            "dataset": self.dataset,
            "data_sha256": self.data_sha256,
            **{name: value for name, value in self.summary().items() if name in _RULES},
            "metrics": self.metrics.to_dict(),
            "cmc": self.metrics.cmc.tolist(),
            "interval": {name: [found.low, found.high] for name, found in self.interval.items()},
            **({"reranked": self.reranked.to_dict()} if self.reranked else {}),
            "baselines": {name: dict(found) for name, found in self.baselines.items()},
            "checkpoint": dict(self.checkpoint),
            "seconds": dict(self.seconds),
        }


def intervals(metrics: Metrics, pids: Int64[np.ndarray, " q"], *, seed: int) -> dict[str, Interval]:
    """Return the 95 % intervals of mAP, mINP and rank-1 over the queries' identities."""
    return {name: mean_interval(found, pids, seed=seed) for name, found in _by_query(metrics).items()}


def gains(metrics: Metrics, plain: Metrics, pids: Int64[np.ndarray, " q"], *, seed: int) -> dict[str, Interval]:
    """Return how far mAP, mINP and rank-1 are above the plain ones, paired by query, with 95 % intervals."""
    values, before = _by_query(metrics), _by_query(plain)
    return {name: difference_interval(values[name], before[name], pids, seed=seed) for name in values}


def compare(ours: Metrics, other: Metrics, pids: Int64[np.ndarray, " q"], *, seed: int) -> dict[str, Any]:
    """Return a baseline's entry: its scores, and how far ours are above them, paired by query."""
    own = mean_interval(other.ap, pids, seed=seed)
    gap = difference_interval(ours.ap, other.ap, pids, seed=seed)
    return {
        **_scores(other),
        "cmc": other.cmc.tolist(),
        "interval": {"mAP": [own.low, own.high]},
        "difference": {"mAP": [gap.mean, gap.low, gap.high]},
    }


def _by_query(metrics: Metrics) -> dict[str, Float64[np.ndarray, " q"]]:
    return {"mAP": metrics.ap, "mINP": metrics.inp, "rank1": metrics.top1}


def _scores(metrics: Metrics) -> dict[str, Any]:
    """Return the scores without what every ranking of these queries shares."""
    return {name: value for name, value in metrics.to_dict().items() if name not in ("queries", "skipped")}
