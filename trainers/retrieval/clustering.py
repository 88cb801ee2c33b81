"""Pseudo labels: features of unlabelled images in, the cluster of each out, by one of three ways.

    dbscan    on Jaccard distances; eps is given, or found by MMT's rule and then kept
    hdbscan   on Jaccard distances, clusters of differing density
    kmeans    on the features, with a number of clusters that is given

Features are brought to length 1 first. The Jaccard distance is a sparse graph in which every missing pair is at
distance 1. HDBSCAN needs a connected one: parts are joined by edges of length 1, and a point without `min_samples`
neighbours, whose every edge would have length 1, is noise at once. Source: Ge et al. 2020 (MMT, arXiv:2001.01526;
SpCL, arXiv:2006.02713); scikit-learn for k-means and HDBSCAN. Trade-off: k-means needs to know how many people there
are; where distances tie, HDBSCAN's clusters depend on the order of images, on the full matrix as well.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, silent
from resight.trainers.retrieval.dbscan import MARGIN, dbscan, mmt_eps
from resight.trainers.retrieval.inputs import unit_features
from resight.trainers.retrieval.jaccard import jaccard_graph
from resight.trainers.retrieval.neighbours import neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig
from resight.trainers.retrieval.sparse import SparseRows
from resight.trainers.retrieval.spread import Spread

__all__ = ["CLUSTERINGS", "ClusteringConfig", "Clusters", "cluster_features"]

_NEAREST: Final = 1e-7  # scipy's spanning tree takes an edge of length 0 for none


@dataclass(frozen=True, kw_only=True)
class ClusteringConfig:
    """How images are put into clusters.

    Attributes:
        method: a name in `CLUSTERINGS`.
        jaccard: how neighbourhoods are compared (dbscan, hdbscan).
        eps: largest distance of neighbours in (0, 1); None: MMT's rule (dbscan).
        gap: how much closer and wider to look for the reliability of clusters; 0: not at all (dbscan).
        min_samples: images that make a point core, itself included (dbscan), and a cluster (hdbscan).
        clusters: how many (kmeans).
        restarts: how many starts are tried (kmeans).
    """

    method: Literal["dbscan", "hdbscan", "kmeans"] = "dbscan"
    jaccard: JaccardConfig = field(default_factory=JaccardConfig)
    eps: float | None = 0.6
    gap: float = 0.0
    min_samples: int = 4
    clusters: int = 500
    restarts: int = 10

    def __post_init__(self) -> None:
        if self.method not in CLUSTERINGS:
            raise UserError(f"there is no clustering {self.method!r}", where="method", cure=f"use {_names()}")
        if self.eps is not None and not 0 < self.eps < 1:
            raise UserError(f"eps is {self.eps}", where="eps", cure="use a distance between 0 and 1")
        if self.gap < 0 or (self.eps is not None and not self.gap < min(self.eps, 1 - self.eps)):
            cure = "use 0 or more, and less than eps and 1 - eps"
            raise UserError(f"gap is {self.gap} at eps {self.eps}", where="gap", cure=cure)
        if self.gap > 0 and self.method != "dbscan":
            raise UserError(f"{self.method} has no eps to look around", where="gap", cure="use 0, or dbscan")
        for name in ("clusters", "min_samples"):
            if getattr(self, name) < 2:
                raise UserError(f"{name} is {getattr(self, name)}", where=name, cure="use 2 or more")
        if self.restarts < 1:
            raise UserError(f"restarts is {self.restarts}", where="restarts", cure="use 1 or more")


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """What was found.

    Attributes:
        labels: (N,) cluster of each image, from 0; -1 for noise.
        eps: what dbscan used, to be given again in the next epoch; else None.
        tight: (N,) labels at eps - gap, None without a gap.
        loose: (N,) labels at eps + gap, None without a gap.
    """

    labels: Int64[np.ndarray, " n"]
    eps: float | None = None
    tight: Int64[np.ndarray, " n"] | None = None
    loose: Int64[np.ndarray, " n"] | None = None


def cluster_features(
    features: Shaped[np.ndarray, "n d"],
    config: ClusteringConfig,
    *,
    seed: int = 0,
    threads: int | None = None,
    spread: Spread | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Clusters:
    """Return the clusters of images.

    Args:
        features: (N, D) of any length but 0; those of length 1 are not copied.
        config: which way, and its parameters.
        seed: of the starts of k-means; the other ways draw nothing.
        threads: of matrix products; None: as many as BLAS has been given.
        spread: how row blocks of the Jaccard distance are spread; None: one thread.
        device: where neighbours are found, see `neighbours.neighbours`.
        progress: receives rows done while neighbours are found.

    Raises:
        UserError: for features that are empty, not finite, of length 0 or all the same, and for fewer images than
            neighbours or clusters were asked for.
    """
    unit = unit_features(features)

    def graph(limit: float) -> SparseRows:
        table = neighbours(unit, config.jaccard.columns, threads=threads, device=device, progress=progress)
        return jaccard_graph(unit, table, config.jaccard, limit=limit, spread=spread)

    return CLUSTERINGS[config.method](unit, graph, config, seed)


Graph = Callable[[float], SparseRows]
Clustering = Callable[[np.ndarray, Graph, ClusteringConfig, int], Clusters]


def _dbscan(unit: Float32[np.ndarray, "n d"], graph: Graph, config: ClusteringConfig, seed: int) -> Clusters:
    near = graph(1.0 if config.eps is None else min(1.0, config.eps + config.gap + 2 * MARGIN))
    eps = mmt_eps(near) if config.eps is None else config.eps

    def at(wider: float) -> Int64[np.ndarray, " n"]:
        return dbscan(near, eps + wider, min_samples=config.min_samples)

    if config.gap == 0:
        return Clusters(labels=at(0), eps=eps)
    return Clusters(labels=at(0), eps=eps, tight=at(-config.gap), loose=at(config.gap))


def _hdbscan(unit: Float32[np.ndarray, "n d"], graph: Graph, config: ClusteringConfig, seed: int) -> Clusters:
    from sklearn.cluster import HDBSCAN

    pairs, core = _reachability(graph(1.0), config.min_samples)
    labels = np.full(len(unit), -1, np.int64)
    if len(core):
        make: Any = HDBSCAN
        found = make(min_cluster_size=config.min_samples, min_samples=1, metric="precomputed", copy=False)
        labels[core] = found.fit_predict(pairs)
    return Clusters(labels=labels)


def _reachability(near: SparseRows, size: int) -> tuple[Any, Int64[np.ndarray, " c"]]:
    """Return the mutual reachability of core points as one connected scipy matrix, and which points they are."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(near.start) - 1
    upper = np.repeat(np.arange(count), np.diff(near.start))
    row, column = np.concatenate([upper, near.column]), np.concatenate([near.column, upper])
    value = np.tile(np.maximum(near.value, _NEAREST).astype(np.float64), 2)
    degree = np.bincount(row, minlength=count)
    core = np.flatnonzero(degree >= size - 1)
    rising = value[np.lexsort((value, row))]
    reach = np.full(count, np.inf)
    reach[core] = rising[(np.cumsum(degree) - degree)[core] + size - 2]
    value = np.maximum(value, np.maximum(reach[row], reach[column]))
    place = np.full(count, -1)
    place[core] = np.arange(len(core))
    kept = np.isfinite(value)
    row, column, value = place[row[kept]], place[column[kept]], value[kept]
    shape = (len(core), len(core))
    _, part = connected_components(coo_array((value, (row, column)), shape=shape), directed=False)
    _, first = np.unique(part, return_index=True)
    hub, others = first[:1].repeat(max(0, len(first) - 1)), first[1:]
    own = np.arange(len(core))
    rows, columns = np.concatenate([row, hub, others, own]), np.concatenate([column, others, hub, own])
    values = np.concatenate([value, np.ones(2 * len(others)), np.zeros(len(core))])
    return coo_array((values, (rows, columns)), shape=shape).tocsr(), core


def _kmeans(unit: Float32[np.ndarray, "n d"], graph: Graph, config: ClusteringConfig, seed: int) -> Clusters:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if config.clusters > len(unit):
        problem = f"{config.clusters} clusters were asked for among {len(unit)} images"
        raise UserError(problem, where="clusters", cure="ask for fewer")
    make: Any = KMeans  # scikit-learn's own types do not admit numbers
    found = make(n_clusters=config.clusters, n_init=config.restarts, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            labels = found.fit_predict(unit)
        except ConvergenceWarning as error:
            problem = f"there are fewer than {config.clusters} different images"
            raise UserError(problem, where="clusters", cure="ask for fewer") from error
    return Clusters(labels=labels.astype(np.int64))


CLUSTERINGS: Final[dict[str, Clustering]] = {"dbscan": _dbscan, "hdbscan": _hdbscan, "kmeans": _kmeans}
"""Name -> how labels are found."""


def _names() -> str:
    return ", ".join(CLUSTERINGS)
