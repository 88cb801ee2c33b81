"""Neighbours, Jaccard graph, DBSCAN and re-ranking against slow dense float64 references and scikit-learn."""

import numpy as np
import pytest
import ray
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float64
from sklearn.cluster import DBSCAN

from resight.cluster.errors import UserError
from resight.cluster.session import Session
from resight.trainers.retrieval.dbscan import dbscan, mmt_eps
from resight.trainers.retrieval.jaccard import jaccard_graph, sort_out_block
from resight.trainers.retrieval.neighbours import TILE, Neighbours, neighbours
from resight.trainers.retrieval.reciprocal import JaccardConfig, mean_block, mutual_block, reciprocal_rows, weight_block
from resight.trainers.retrieval.reranking import RerankConfig, rerank
from resight.trainers.retrieval.sparse import SparseRows, joined, stacked, transposed
from resight.trainers.retrieval.spread import RayTasks, Threads, row_blocks
from tests.reference import neighbourhoods as reference


def people(ids: int, per_id: int, *, dim: int = 24, noise: float = 0.7, seed: int = 0) -> np.ndarray:
    """Unit features in groups; the noise makes neighbourhoods overlap."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((ids, dim))
    found = np.repeat(centres, per_id, axis=0) + noise * rng.standard_normal((ids * per_id, dim))
    found = found[rng.permutation(len(found))]
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def exact_table(features: np.ndarray, k: int) -> Neighbours:
    """Neighbours from float64 distances, so that a test of what follows does not depend on float32 ties."""
    distances = reference.squared(features)
    order = reference.order_of(distances)[:, :k]
    near = np.take_along_axis(distances, order, axis=1)
    return Neighbours(order.astype(np.int32), near.astype(np.float32), distances.max(axis=1).astype(np.float32))


def dense(graph: SparseRows) -> Float64[np.ndarray, "n n"]:
    count = len(graph.start) - 1
    found = np.ones((count, count))
    row = np.repeat(np.arange(count), np.diff(graph.start))
    assert (row < graph.column).all(), "each pair once"
    found[row, graph.column] = found[graph.column, row] = graph.value
    np.fill_diagonal(found, 0)
    return found


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_neighbours_are_the_nearest_by_distance_and_index(count: int, dim: int, seed: int) -> None:
    """Whole numbers, so that float32 is exact and ties are real."""
    features = np.random.default_rng(seed).integers(-3, 4, (count, dim)).astype(np.float32)
    k = min(count, 7)
    table = neighbours(features, k)
    wanted = exact_table(features, k)
    np.testing.assert_array_equal(table.nearest, wanted.nearest)
    np.testing.assert_array_equal(table.distance, wanted.distance)
    np.testing.assert_array_equal(table.farthest, wanted.farthest)


def test_neighbours_from_many_tiles() -> None:
    """Ties abound, and a tile below the diagonal is one above it turned over."""
    features = np.random.default_rng(0).integers(-2, 3, (2 * TILE + 100, 3)).astype(np.float32)
    wanted = exact_table(features, 20)
    for threads in (1, 3):
        table = neighbours(features, 20, threads=threads)
        np.testing.assert_array_equal(table.nearest, wanted.nearest)
        np.testing.assert_array_equal(table.distance, wanted.distance)
        np.testing.assert_array_equal(table.farthest, wanted.farthest)


def test_nearly_equal_neighbours_are_told_apart() -> None:
    """Distances one float32 apart, far from the origin: a product rounds by a thousand times as much."""
    rng = np.random.default_rng(0)
    features = (30 + 1e-4 * rng.standard_normal((40, 16))).astype(np.float32)
    table = neighbours(features, 33)
    np.testing.assert_array_equal(table.nearest, exact_table(features, 33).nearest)


@pytest.mark.parametrize("variant", ["spcl", "mmt"])
@pytest.mark.parametrize(("k1", "k2"), [(10, 4), (7, 1), (20, 6), (25, 3), (1, 1)])
def test_jaccard_distances_are_the_reference(variant: str, k1: int, k2: int) -> None:
    features = people(24, 6, seed=k1)
    config = JaccardConfig(k1=k1, k2=k2, variant=variant)  # type: ignore[arg-type]
    graph = jaccard_graph(features, exact_table(features, 40), config, limit=1.0)
    wanted = reference.jaccard(reference.squared(features), k1, k2, variant)
    np.fill_diagonal(wanted, 0)
    np.testing.assert_allclose(dense(graph), wanted, atol=1e-6)


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_spreading_changes_nothing(lanes: int) -> None:
    features = people(160, 6, seed=4)
    table, config = exact_table(features, 20), JaccardConfig(k1=20)
    alone = jaccard_graph(features, table, config, limit=0.8)
    spread = jaccard_graph(features, table, config, limit=0.8, spread=Threads(lanes))
    assert (len(row_blocks(len(features), lanes)) > 1) == (lanes > 1)
    for one, other in zip(alone, spread, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.ray
def test_ray_tasks_find_what_threads_find(ray_cluster: Session) -> None:
    """All kernels over the object store, whose arrays cannot be written to."""
    features = people(160, 6, seed=4)
    table = exact_table(features, 21)
    for variant in ("spcl", "mmt"):
        config = JaccardConfig(k1=20, variant=variant)
        alone = jaccard_graph(features, table, config, limit=0.8)
        spread = jaccard_graph(features, table, config, limit=0.8, spread=RayTasks(2))
        for one, other in zip(alone, spread, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(dbscan(spread, 0.6), dbscan(alone, 0.6))
    query, gallery = features[:600], features[600:]
    np.testing.assert_array_equal(rerank(query, gallery, spread=RayTasks(2)), rerank(query, gallery))


def test_ray_tasks_need_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(RuntimeError, match="needs an open ray_session"):
        RayTasks(2)(mutual_block, (np.zeros((4, 2), np.int32),), [range(4)])
    with pytest.raises(UserError, match="tasks is 0"):
        RayTasks(0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k2", [1, 6])
def test_the_limit_leaves_out_what_is_farther_and_nothing_else(k2: int, seed: int) -> None:
    """Whatever the limit lets the search pass over."""
    features = people(80, 5, noise=0.9, seed=seed)
    table, config = exact_table(features, 20), JaccardConfig(k1=20, k2=k2)
    whole = dense(jaccard_graph(features, table, config, limit=1.0))
    for limit in (0.01, 0.3, 0.5, 0.62, 0.9):
        near = dense(jaccard_graph(features, table, config, limit=limit))
        np.testing.assert_array_equal(near, np.where(whole <= np.float32(limit), whole, 1.0))


@pytest.mark.parametrize("eps", [0.4, 0.58, 0.6, 0.62])
@pytest.mark.parametrize("seed", range(4))
def test_labels_are_those_of_scikit_learn(eps: float, seed: int) -> None:
    features = people(60, 8, noise=0.9, seed=seed)
    table = exact_table(features, 30)
    graph = jaccard_graph(features, table, JaccardConfig(k1=30, k2=6), limit=0.7)
    labels = dbscan(graph, eps, min_samples=4)
    distances = reference.jaccard(reference.squared(features), 30, 6, "spcl")
    wanted = DBSCAN(eps=eps, min_samples=4, metric="precomputed").fit_predict(distances)
    np.testing.assert_array_equal(labels, wanted)
    assert len(set(wanted.tolist())) > 5, "the case must have something to tell"


@settings(max_examples=60)
@given(st.integers(2, 40), st.floats(0.05, 0.6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_dbscan_is_the_definition(count: int, share: float, min_samples: int, seed: int) -> None:
    """Any graph, border points between several clusters among them."""
    rng = np.random.default_rng(seed)
    distances = np.where(rng.random((count, count)) < share / 2, rng.choice([0.1, 0.3, 0.5], (count, count)), 0.9)
    distances = np.minimum(distances, distances.T)
    np.fill_diagonal(distances, 0)
    row, column = np.nonzero(np.triu(distances < 0.7, 1))
    start = np.searchsorted(row, np.arange(count + 1)).astype(np.int64)
    graph = SparseRows(start, column.astype(np.int32), distances[row, column].astype(np.float32))
    labels = dbscan(graph, 0.4, min_samples=min_samples)
    np.testing.assert_array_equal(labels, reference.dbscan(distances, 0.4, min_samples))
    sklearn = DBSCAN(eps=0.4, min_samples=min_samples, metric="precomputed").fit_predict(distances)
    np.testing.assert_array_equal(labels, sklearn)


def test_a_tie_at_eps_counts_as_near_whatever_the_last_bit() -> None:
    """With k2 = 6, distances of exactly 1/2 abound."""
    for nudge in (-2e-7, 0.0, 2e-7):
        graph = SparseRows(np.array([0, 1, 1]), np.array([1], np.int32), np.array([0.5 + nudge], np.float32))
        assert dbscan(graph, 0.5, min_samples=2).tolist() == [0, 0]
    graph = SparseRows(np.array([0, 1, 1]), np.array([1], np.int32), np.array([0.5 + 2e-5], np.float32))
    assert dbscan(graph, 0.5, min_samples=2).tolist() == [-1, -1]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_mmt_eps_is_the_mean_of_the_smallest_share(share: float) -> None:
    features = people(20, 5, seed=2)
    graph = jaccard_graph(features, exact_table(features, 21), JaccardConfig(k1=20, variant="mmt"), limit=1.0)
    distances = reference.jaccard(reference.squared(features), 20, 6, "mmt")
    distances[distances < 1e-9] = 0
    assert mmt_eps(graph, share=share) == pytest.approx(reference.mmt_eps(distances, share), abs=1e-6)


@pytest.mark.parametrize(("k1", "k2", "weight"), [(20, 6, 0.3), (10, 1, 0.0), (6, 3, 1.0)])
def test_reranking_is_the_reference(k1: int, k2: int, weight: float) -> None:
    features = people(30, 6, seed=k1)
    query, gallery = features[:40], features[40:]
    final = rerank(query, gallery, RerankConfig(k1=k1, k2=k2, weight=weight))
    np.testing.assert_allclose(final, reference.rerank(query, gallery, k1, k2, weight), atol=1e-5)


def test_kernels_without_a_compiler() -> None:
    """The same functions as plain Python, on a few rows."""
    features = people(4, 4)
    table, config = exact_table(features, 6), JaccardConfig(k1=6, k2=2)
    half = np.ascontiguousarray(table.nearest[:, : config.half])
    near = mutual_block.py_func(half, 0, 16)
    np.testing.assert_array_equal(near, mutual_block(half, 0, 16))
    scale, images = np.ones(16, np.float32), np.arange(16, dtype=np.int32)
    rows = weight_block.py_func(features, images, table.nearest, table.distance, near, scale, 0, 16)
    again = weight_block(features, images, table.nearest, table.distance, near, scale, 0, 16)
    np.testing.assert_array_equal(rows.column, again.column)
    np.testing.assert_allclose(rows.value, again.value, rtol=1e-6)
    averaged = mean_block.py_func(rows, table.nearest[:, :2].copy(), 0, 16)
    assert averaged.value.sum() == pytest.approx(16, rel=1e-5)
    assert stacked([rows]) is rows


@settings(max_examples=40)
@given(st.integers(0, 60), st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_rows_cut_into_blocks_and_turned_by_any_number_of_threads(
    count: int, width: int, lanes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.where(rng.random((count, width)) < 0.3, rng.random((count, width)), 0).astype(np.float32)
    rows, threads = sparse_of(matrix), Threads(lanes)
    parts = [sparse_of(matrix[at : at + 7]) for at in range(0, count, 7)] or [rows]
    for one, other in zip(stacked(parts, threads), rows, strict=True):
        np.testing.assert_array_equal(one, other)
    whole = np.concatenate([matrix, matrix])
    np.testing.assert_array_equal(joined([matrix, matrix], threads), whole)
    start, column, value = sparse_of(matrix.T)
    turned = transposed(rows, width, threads)
    np.testing.assert_array_equal(turned.start, start)
    np.testing.assert_array_equal(turned.entry["row"], column)
    np.testing.assert_array_equal(turned.entry["value"], value)


def test_entries_behind_the_kept_ones_are_in_no_column() -> None:
    rows = SparseRows(np.array([0, 3, 4]), np.array([2, 0, 1, 2], np.int32), np.array([5, 6, 7, 8], np.float32))
    turned = transposed(rows, 3, stop=np.array([2, 4]))
    assert turned.start.tolist() == [0, 1, 1, 3]
    assert turned.entry.tolist() == [(0, 6), (0, 5), (1, 8)]


@settings(max_examples=60)
@given(st.integers(1, 40), st.floats(0, 1.5), st.integers(0, 2**32 - 1))
def test_what_is_left_out_of_a_row_is_its_smallest_entries(length: int, most: float, seed: int) -> None:
    """As many as have a sum below `most`, found by sorting; they are moved behind the others, and nothing is lost."""
    rng = np.random.default_rng(seed)
    column = rng.permutation(50)[:length].astype(np.int32)
    value = (rng.integers(1, 64, length) / 256).astype(np.float32)  # sums are exact in any order
    inner = np.cumsum(np.sort(value), dtype=np.float64)
    wanted = length - int((inner < most).sum())
    for kernel in (sort_out_block, sort_out_block.py_func):
        rows = SparseRows(np.array([0, length]), column.copy(), value.copy())
        assert kernel(rows, most, 0, 1).tolist() == [wanted]
        np.testing.assert_array_equal(np.sort(rows.value[wanted:]), np.sort(value)[: length - wanted])
        assert sorted(zip(*rows[1:], strict=True)) == sorted(zip(column, value, strict=True))


def sparse_of(matrix: np.ndarray) -> SparseRows:
    """Return the entries that are not 0, in order."""
    row, column = np.nonzero(matrix)
    start = np.searchsorted(row, np.arange(len(matrix) + 1)).astype(np.int64)
    return SparseRows(start, column.astype(np.int32), matrix[row, column])


def test_mistakes_are_refused() -> None:
    features = people(4, 4)
    table = neighbours(features, 8)
    with pytest.raises(UserError, match="17 neighbours were asked for among 16 images"):
        neighbours(features, 17)
    with pytest.raises(UserError, match="has 8 columns, k1 = 20 needs 20"):
        jaccard_graph(features, table, JaccardConfig(k1=20))
    with pytest.raises(UserError, match="15 features and a table of 16 rows"):
        jaccard_graph(features[1:], table, JaccardConfig(k1=8))
    with pytest.raises(UserError, match="limit is 0"):
        jaccard_graph(features, table, JaccardConfig(k1=8), limit=0.0)
    with pytest.raises(UserError, match="k2 is 9, more than k1"):
        JaccardConfig(k1=8, k2=9)
    broken = features.copy()
    broken[3, 2] = np.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        neighbours(broken, 4)
    with pytest.raises(UserError, match="NaN or infinite"):
        rerank(broken[:8], broken[8:], RerankConfig(k1=4, k2=1))
    graph = jaccard_graph(features, table, JaccardConfig(k1=8))
    for eps in (0.0, 1.0):
        with pytest.raises(UserError, match="eps is"):
            dbscan(graph, eps)
    with pytest.raises(UserError, match="min_samples is 0"):
        dbscan(graph, 0.5, min_samples=0)
    with pytest.raises(UserError, match="too few pairs"):
        mmt_eps(graph)


def test_weights_that_vanish_are_left_out() -> None:
    """Far from length 1, most weights are 0 in 32 bits; an entry of 0 would be taken for an empty place."""
    features = 40 * people(6, 6, noise=0.4)
    rows = reciprocal_rows(features, exact_table(features, 20), JaccardConfig(k1=20), Threads())
    assert (rows.value > 0).all()
    graph = jaccard_graph(features, exact_table(features, 20), JaccardConfig(k1=20), limit=1.0)
    wanted = reference.jaccard(reference.squared(features), 20, 6, "spcl")
    np.fill_diagonal(wanted, 0)
    np.testing.assert_allclose(dense(graph), wanted, atol=1e-6)


def test_copies_of_one_image_are_one_cluster() -> None:
    features = np.ones((40, 8), np.float32)
    graph = jaccard_graph(features, neighbours(features, 30), JaccardConfig(k1=30), limit=0.7)
    labels = dbscan(graph, 0.6)
    assert (labels[:30] == labels[0]).all()
