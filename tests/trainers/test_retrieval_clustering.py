"""Pseudo labels: three ways to cluster, whom to trust, and input that is refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import adjusted_rand_score

from resight.cluster.errors import UserError
from resight.trainers.retrieval.clustering import CLUSTERINGS, ClusteringConfig, cluster_features
from resight.trainers.retrieval.inputs import check_count, unit_features
from resight.trainers.retrieval.jaccard import jaccard_graph
from resight.trainers.retrieval.neighbours import Neighbours, neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig
from resight.trainers.retrieval.reliability import change, reliable_labels
from resight.trainers.retrieval.reranking import RerankConfig, rerank
from tests.reference import neighbourhoods, reliability

KMEANS: Any = KMeans  # scikit-learn's own types do not admit what it takes
HDBSCANS: Any = HDBSCAN
JACCARD = JaccardConfig(k1=12, k2=4)


def people(ids: int, per_id: int, *, dim: int = 24, noise: float = 0.8, seed: int = 0) -> np.ndarray:
    """Unit features in groups; the noise makes neighbourhoods overlap."""
    rng = np.random.default_rng(seed)
    found = np.repeat(rng.standard_normal((ids, dim)), per_id, axis=0)
    found = (found + noise * rng.standard_normal(found.shape))[rng.permutation(len(found))]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def same_groups(labels: np.ndarray, others: np.ndarray) -> bool:
    """Whether two clusterings differ in their numbers only."""
    pairs = set(zip(labels.tolist(), others.tolist(), strict=True))
    sides = [{pair[side] for pair in pairs} for side in (0, 1)]
    return len(pairs) == len(sides[0]) == len(sides[1]) and all((one < 0) == (two < 0) for one, two in pairs)


labellings = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-1, 6), min_size=n, max_size=n)] * 3)
)


@settings(max_examples=150)
@given(labellings, st.sampled_from([None, 0.0, 0.5]))
def test_reliable_labels_are_those_of_the_dense_formulation(
    columns: tuple[list[int], ...], threshold: float | None
) -> None:
    labels, tight, loose = (np.array(column) for column in columns)
    np.testing.assert_allclose(change(labels, tight), reliability.change(labels, tight), rtol=0, atol=1e-15)
    if threshold is None and (np.bincount(labels + 1, minlength=2)[1:] < 2).all():
        with pytest.raises(UserError, match="form no cluster"):
            reliable_labels(labels, tight, loose)
        return
    found = reliable_labels(labels, tight, loose, threshold=threshold)
    wanted, wanted_threshold = reliability.reliable(labels, tight, loose, threshold)
    assert found.labels.tolist() == wanted
    assert found.threshold == pytest.approx(wanted_threshold, abs=1e-15)


def test_reliability_of_real_clusters() -> None:
    """Three looks at one graph: some clusters are dropped, most are kept, and the threshold can be kept."""
    found = cluster_features(people(60, 8), ClusteringConfig(jaccard=JACCARD, eps=0.55, gap=0.05))
    assert found.tight is not None
    assert found.loose is not None
    first = reliable_labels(found.labels, found.tight, found.loose)
    again = reliable_labels(found.labels, found.tight, found.loose, threshold=first.threshold)
    np.testing.assert_array_equal(first.labels, again.labels)
    wanted = reliability.reliable(found.labels, found.tight, found.loose, None)
    assert first.labels.tolist() == wanted[0]
    dropped = (found.labels >= 0) & (first.labels < 0)
    assert 0 < dropped.sum() < 0.5 * len(dropped)


def test_every_way_finds_the_people() -> None:
    features = people(20, 10, noise=0.3)
    truth = cluster_features(features, ClusteringConfig(method="kmeans", clusters=20), seed=1).labels
    assert len(set(truth.tolist())) == 20
    for method in CLUSTERINGS:
        config = ClusteringConfig(method=method, clusters=20, jaccard=JACCARD)  # type: ignore[arg-type]
        found = cluster_features(features, config)
        assert found.labels.dtype == np.int64
        assert adjusted_rand_score(truth, found.labels) > 0.95, method


def test_dbscan_looks_at_one_graph_three_times() -> None:
    features, config = people(40, 8), ClusteringConfig(jaccard=JACCARD, eps=0.5, gap=0.06)
    found = cluster_features(features, config)
    for labels, eps in ((found.tight, 0.44), (found.labels, 0.5), (found.loose, 0.56)):
        alone = cluster_features(features, replace(config, eps=eps, gap=0.0))
        assert alone.tight is None
        np.testing.assert_array_equal(labels, alone.labels)


def test_the_rule_of_mmt_gives_an_eps_to_keep() -> None:
    features, config = people(60, 8), ClusteringConfig(jaccard=replace(JACCARD, variant="mmt"), eps=None)
    found = cluster_features(features, config)
    assert found.eps is not None
    again = cluster_features(features, replace(config, eps=found.eps))
    np.testing.assert_array_equal(found.labels, again.labels)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_hdbscan_is_that_of_the_full_matrix(seed: int, noise: float) -> None:
    """With two samples to a core and no averaging, distances do not tie, so the answer is one."""
    features, jaccard = people(30, 6, noise=noise, seed=seed), JaccardConfig(k1=12, k2=1)
    found = cluster_features(features, ClusteringConfig(method="hdbscan", jaccard=jaccard, min_samples=2)).labels
    dense = neighbourhoods.jaccard(neighbourhoods.squared(features), 12, 1, "spcl")
    np.fill_diagonal(dense, 0)
    core = np.sort(dense, axis=1)[:, 1]
    kept = core < 1
    reach = np.maximum(np.maximum(core[:, None], core), dense)[np.ix_(kept, kept)]
    np.fill_diagonal(reach, 0)
    wanted = HDBSCANS(min_cluster_size=2, min_samples=1, metric="precomputed", copy=True).fit_predict(reach)
    assert same_groups(found[kept], wanted)
    assert (found[~kept] == -1).all()
    if kept.all():
        plain = HDBSCANS(min_cluster_size=2, min_samples=2, metric="precomputed", copy=True).fit_predict(dense)
        assert same_groups(found, plain)
    assert len(set(wanted.tolist())) > 5, "the case must have something to tell"


def test_kmeans_is_that_of_scikit_learn() -> None:
    features = people(10, 6)
    config = ClusteringConfig(method="kmeans", clusters=10, restarts=2)
    wanted = KMEANS(n_clusters=10, n_init=2, random_state=5).fit_predict(features)
    np.testing.assert_array_equal(cluster_features(3 * features, config, seed=5).labels, wanted)


def test_features_of_length_one_are_not_copied() -> None:
    features = people(5, 5)
    assert np.shares_memory(unit_features(features), features)
    np.testing.assert_allclose(unit_features((7 * features).astype(np.float64)), features, rtol=1e-6)


BAD_FEATURES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "none": (lambda f: f[:0], "there are no query images"),
    "flat": (lambda f: f[0], "features have shape"),
    "nan": (lambda f: np.where(np.arange(len(f))[:, None] == 3, np.nan, f), "NaN or infinite.*image 3"),
    "zero": (lambda f: np.where(np.arange(len(f))[:, None] == 2, 0, f), "1 of 25 images are all zero.*image 2"),
    "collapsed": (lambda f: np.repeat(f[:1], len(f), axis=0), "all 25 images have the same features"),
    "few": (lambda f: f[:8], "12 neighbours were asked for among 8 images"),
}


@pytest.mark.parametrize("name", BAD_FEATURES)
def test_bad_features_are_refused(name: str) -> None:
    spoil, words = BAD_FEATURES[name]
    with pytest.raises(UserError) as caught:
        cluster_features(spoil(people(5, 5)), ClusteringConfig(jaccard=JACCARD))
    assert re.search(words, str(caught.value).replace("\n", " "))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "means"}, "no clustering 'means'"),
        ({"eps": 1.0}, "eps is 1.0"),
        ({"gap": -0.1}, "gap is -0.1"),
        ({"gap": 0.5}, "gap is 0.5 at eps 0.6"),
        ({"gap": 0.1, "method": "kmeans"}, "kmeans has no eps"),
        ({"clusters": 1}, "clusters is 1"),
        ({"min_samples": 1}, "min_samples is 1"),
        ({"restarts": 0}, "restarts is 0"),
    ],
)
def test_bad_parameters_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ClusteringConfig(**fields)  # type: ignore[arg-type]


def test_more_clusters_than_images_are_refused() -> None:
    features = people(5, 5)
    with pytest.raises(UserError, match="26 clusters were asked for among 25 images"):
        cluster_features(features, ClusteringConfig(method="kmeans", clusters=26))
    with pytest.raises(UserError, match="fewer than 6 different images"):
        cluster_features(np.repeat(features[:5], 5, axis=0), ClusteringConfig(method="kmeans", clusters=6))
    with pytest.raises(UserError, match="2 labels and 3 others"):
        change(np.zeros(2, np.int64), np.zeros(3, np.int64))


def test_tables_that_point_elsewhere_are_refused() -> None:
    """Compiled code looks where it is told, without asking whether that is inside."""
    features = people(5, 5)
    table = neighbours(features, 12)
    for wrong in (-1, 25):
        nearest = table.nearest.copy()
        nearest[7, 3] = wrong
        with pytest.raises(UserError, match="points outside its images"):
            jaccard_graph(features, table._replace(nearest=nearest), JACCARD)
    broken = np.where(np.arange(25)[:, None] == 3, np.float32(np.nan), features)
    with pytest.raises(UserError, match="NaN or infinite"):
        jaccard_graph(broken, table, JACCARD)
    distance = np.where(np.arange(25)[:, None] == 3, np.float32(np.nan), table.distance)
    with pytest.raises(UserError, match="NaN or infinite"):
        jaccard_graph(features, table._replace(distance=distance), JACCARD)


def test_sizes_past_32_bits_are_refused_before_anything_is_allocated() -> None:
    huge = np.broadcast_to(np.float32(1), (2**31, 1))  # one number in memory
    half = huge[: 2**30 + 1]
    for ask in (
        lambda: neighbours(huge, 4),
        lambda: unit_features(huge),
        lambda: rerank(half, half, RerankConfig()),
        lambda: jaccard_graph(huge, Neighbours(huge, huge, huge[:, 0]), JACCARD),  # type: ignore[arg-type]
    ):
        with pytest.raises(UserError, match="more than a table can number"):
            ask()
    check_count(2**31 - 1)
