"""CMC, mAP and mINP against the slow reference, on random and adversarial inputs; and what evaluation refuses."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.trainers.retrieval.blocks import Distance, feature_rows
from resight.trainers.retrieval.inputs import check_labels
from resight.trainers.retrieval.metrics import Metrics, evaluate, evaluate_distances, evaluate_rows
from resight.trainers.retrieval.protocol import MARKET1501, NO_CAMERA, PROTOCOLS, find_protocol
from tests.reference import retrieval as reference

Labels = tuple[list[int], list[int], list[int], list[int]]


def same(metrics: Metrics, wanted: dict[str, Any], tolerance: float = 1e-12) -> None:
    for name in ("first_hit", "positives", "ranked"):
        np.testing.assert_array_equal(getattr(metrics, name), wanted[name], err_msg=name)
    for name in ("ap", "inp", "cmc", "mAP", "mINP"):
        np.testing.assert_allclose(getattr(metrics, name), wanted[name], rtol=0, atol=tolerance, err_msg=name)
    assert metrics.skipped == wanted["skipped"]


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, Labels]:
    """Distances from a small set (many exact ties), junk, distractors, unknown cameras, queries without a match."""
    num_queries, num_gallery = draw(st.integers(1, 8)), draw(st.integers(1, 30))
    pids, camids = st.integers(-1, 4), st.integers(-1, 2)
    query = draw(st.lists(st.tuples(pids, camids), min_size=num_queries, max_size=num_queries))
    gallery = draw(st.lists(st.tuples(st.integers(-2, 4), camids), min_size=num_gallery, max_size=num_gallery))
    values = draw(st.lists(st.integers(-3, 3), min_size=num_queries * num_gallery, max_size=num_queries * num_gallery))
    kind = draw(st.sampled_from([np.float32, np.float64, np.int64]))
    distances = np.array(values).reshape(num_queries, num_gallery).astype(kind)
    columns = (list(column) for column in (*zip(*query, strict=True), *zip(*gallery, strict=True)))
    query_pids, query_camids, gallery_pids, gallery_camids = columns
    return distances, (query_pids, gallery_pids, query_camids, gallery_camids)


@given(problems(), st.sampled_from([True, False]), st.integers(1, 60), st.integers(1, 3))
@example((np.zeros((1, 3)), ([1], [1, 1, -1], [0], [1, 0, 1])), True, 5, 2)
@settings(deadline=None, max_examples=150)
def test_equals_the_reference(
    problem: tuple[np.ndarray, Labels], same_camera: bool, max_rank: int, threads: int
) -> None:
    distances, labels = problem
    wanted = reference.evaluate(distances, *labels, same_camera=same_camera, max_rank=max_rank)
    protocol = MARKET1501 if same_camera else NO_CAMERA
    options: dict[str, Any] = {"protocol": protocol, "max_rank": max_rank, "max_skipped": 1.0, "threads": threads}
    before = distances.copy()
    if sum(wanted["skipped"].values()) == len(distances):
        with pytest.raises(UserError, match="no possible match"):
            evaluate_distances(distances, *labels, **options)
        return
    same(evaluate_distances(distances, *labels, **options), wanted)
    np.testing.assert_array_equal(distances, before)


def market_like(seed: int, num_queries: int, num_gallery: int, num_ids: int) -> Labels:
    rng = np.random.default_rng(seed)
    query, gallery = rng.integers(0, num_ids, num_queries), rng.integers(-2, num_ids, num_gallery)
    cameras = rng.integers(-1, 4, num_queries), rng.integers(-1, 4, num_gallery)
    return query.tolist(), gallery.tolist(), cameras[0].tolist(), cameras[1].tolist()


def integer_features(seed: int, num: int, dim: int = 8) -> np.ndarray:
    """Features whose products are exact in float32, so that ties are ties."""
    return np.random.default_rng(seed).integers(-2, 3, (num, dim)).astype(np.float32)


@pytest.mark.parametrize(
    ("num_queries", "num_gallery", "num_ids"), [(40, 90, 12), (1, 7, 2), (13, 500, 2), (7, 1500, 1)]
)
def test_features_with_exact_ties_equal_the_reference(num_queries: int, num_gallery: int, num_ids: int) -> None:
    """The last two have queries with more right answers than are counted one by one: the searching branch."""
    query, gallery = integer_features(0, num_queries), integer_features(1, num_gallery)
    labels = market_like(2, num_queries, num_gallery, num_ids)
    distances = ((query[:, None].astype(np.float64) - gallery[None]) ** 2).sum(axis=2)
    wanted = reference.evaluate(distances, *labels)
    same(evaluate(query, gallery, *labels, distance="squared_euclidean", max_skipped=0.9), wanted)
    same(evaluate_distances(distances, *labels, max_skipped=0.9), wanted)
    same(evaluate_distances(np.asfortranarray(distances.astype(np.float32)), *labels, max_skipped=0.9), wanted)


def identity_features(num: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pids = rng.integers(0, 20, num)
    centres = np.random.default_rng(99).standard_normal((20, dim))
    return (centres[pids] + 1.5 * rng.standard_normal((num, dim))).astype(np.float32), pids


@pytest.mark.parametrize("distance", ["cosine", "squared_euclidean"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_features_equal_the_reference(distance: Distance, kind: type[np.floating[Any]]) -> None:
    query, query_pids = identity_features(60, 32, 3)
    gallery, gallery_pids = identity_features(300, 32, 4)
    query, gallery = query.astype(kind), gallery.astype(kind)
    exact_query, exact_gallery = query.astype(np.float64), gallery.astype(np.float64)
    if distance == "cosine":
        exact_query /= np.linalg.norm(exact_query, axis=1, keepdims=True)
        exact_gallery /= np.linalg.norm(exact_gallery, axis=1, keepdims=True)
    distances = ((exact_query[:, None] - exact_gallery[None]) ** 2).sum(axis=2)
    rng = np.random.default_rng(5)
    labels = (
        query_pids.tolist(),
        gallery_pids.tolist(),
        rng.integers(0, 3, 60).tolist(),
        rng.integers(0, 3, 300).tolist(),
    )
    metrics = evaluate(query, gallery, *labels, distance=distance)
    same(metrics, reference.evaluate(distances, *labels), tolerance=1e-6)
    assert 0.1 < metrics.mAP < 0.95


def test_blocks_and_threads_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery = integer_features(0, 61), integer_features(1, 83)
    labels = market_like(3, 61, 83, 6)
    options: dict[str, Any] = {"distance": "squared_euclidean"}  # exact; else the last bit depends on the block
    whole = evaluate(query, gallery, *labels, **options, threads=1)
    monkeypatch.setattr("resight.trainers.retrieval.blocks.BLOCK_BYTES", 5 * 83 * 4)
    monkeypatch.setattr("resight.trainers.retrieval.blocks._GIVEN_BYTES", 3 * 83 * 8)
    for threads in (1, 2, 5):
        parts = evaluate(query, gallery, *labels, **options, threads=threads)
        np.testing.assert_array_equal(parts.ap, whole.ap)
        np.testing.assert_array_equal(parts.cmc, whole.cmc)


def test_memory_is_a_block_whatever_the_number_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resight.trainers.retrieval.blocks.BLOCK_BYTES", 1 << 20)
    query, gallery, labels = integer_features(0, 3000), integer_features(1, 3000), market_like(3, 3000, 3000, 300)
    columns = [np.array(values) for values in labels]
    tracemalloc.start()
    try:
        evaluate(query, gallery, *columns)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 << 20  # all pairs would take 34 MiB


def test_unknown_cameras_are_never_the_same_camera() -> None:
    metrics = evaluate_distances(np.array([[0.0, 1.0]]), [5], [5, 6], [-1], [-1, -1])
    assert metrics.mAP == 1.0
    assert metrics.positives.tolist() == [1]


def test_junk_is_not_ranked_and_distractors_are() -> None:
    distances = np.array([[0.0, 1.0, 2.0, 3.0]])
    metrics = evaluate_distances(distances, [5], [-1, -2, 0, 5], [0], [1, 1, 1, 1])
    assert metrics.first_hit.tolist() == [3]
    assert metrics.ranked.tolist() == [3]
    assert metrics.mAP == pytest.approx(1 / 3)


def test_a_curve_longer_than_the_gallery_is_level() -> None:
    metrics = evaluate_distances(np.array([[1.0, 0.0]]), [1], [1, 2], [0], [1, 1], max_rank=10)
    assert metrics.cmc.tolist() == [0.0] + [1.0] * 9
    assert metrics.to_dict() == {
        "mAP": 0.5, "mINP": 0.5, "rank1": 0.0, "rank5": 1.0, "rank10": 1.0, "queries": 1, "skipped": {}
    }  # fmt: skip


def test_a_zero_vector_is_at_distance_one() -> None:
    query = np.array([[1.0, 0.0]], np.float32)
    gallery = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], np.float32)
    labels = check_labels("query", [1], [0], 1), check_labels("gallery", [1, 2, 2], [1, 1, 1], 3)
    rows = feature_rows(query, gallery, "cosine")
    assert evaluate_rows(rows, *labels, protocol=MARKET1501).first_hit.tolist() == [2]


def test_no_match_for_most_queries_names_the_cure() -> None:
    one_camera: Any = ([1, 2, 3], [1, 2, 3], [0, 0, 0], [0, 0, 0])
    with pytest.raises(UserError, match="3 of 3 queries") as caught:
        evaluate_distances(np.eye(3), *one_camera)
    assert "no_camera" in caught.value.cure
    assert evaluate_distances(1 - np.eye(3), *one_camera, protocol=NO_CAMERA).rank1 == 1.0
    with pytest.raises(UserError) as caught:
        evaluate_distances(np.eye(3), [1, 2, 3], [1, 7, 8], [0, 0, 0], [1, 1, 1])
    assert "relabel" in caught.value.cure
    half = evaluate_distances(np.eye(2), [1, 2], [1, 7], [0, 0], [1, 1])
    assert half.skipped == {"identity not in the gallery": 1}
    assert half.queries == 2
    assert np.isnan(half.ap).tolist() == [False, True]


GOOD: dict[str, Any] = {
    "query_features": np.eye(2, 3), "gallery_features": np.arange(12.0).reshape(4, 3), "query_pids": [1, 2],
    "gallery_pids": [1, 2, 1, 2], "query_camids": [0, 0], "gallery_camids": [1, 1, 1, 1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"query_features": np.ones((0, 3)), "query_pids": [], "query_camids": []}, "no query images"),
        ({"gallery_features": np.ones((0, 3)), "gallery_pids": [], "gallery_camids": []}, "no gallery images"),
        ({"gallery_features": np.ones((4, 5))}, "3 numbers an image, gallery features 5"),
        ({"query_features": np.ones(3)}, "query features have shape"),
        ({"query_pids": [1, 2, 3]}, r"query pid has shape \(3,\), but there are 2 images"),
        ({"gallery_camids": [1]}, "gallery camid has shape"),
        ({"query_pids": [1.0, 2.0]}, "not whole numbers"),
        ({"query_features": np.full((2, 3), np.nan)}, "NaN or infinite\n  where: query image 0"),
        ({"gallery_features": np.array([[1, 0, 0], [0, 1, 0], [0, np.nan, 1], [1, 1, 1]])}, "where: gallery image 2"),
        ({"gallery_features": np.ones((4, 3))}, "all 4 gallery features are the same vector"),
        ({"query_features": np.eye(2, 3)[::-1] * [[1], [0]]}, "zero vector.*\n  where: query image 1"),
        ({"gallery_features": np.eye(4, 3)}, "zero vector.*\n  where: gallery image 3"),
        ({"gallery_features": np.full((4, 3), np.inf)}, "NaN or infinite"),
        ({"max_rank": 0}, "max_rank is 0"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_unusable_input_is_refused_in_words(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        evaluate(**{**GOOD, **wrong})
    assert caught.value.cure


def test_one_bad_number_in_a_given_matrix_is_found() -> None:
    distances = np.ones((3, 4), np.float32)
    distances[2, 1] = np.nan
    with pytest.raises(UserError, match="NaN") as caught:
        evaluate_distances(distances, [1, 1, 1], [1, 1, 1, 1], [0, 0, 0], [1, 1, 1, 1])
    assert "query 2" in caught.value.where
    with pytest.raises(UserError, match="shape"):
        evaluate_distances(distances[0], [1], [1, 1, 1, 1], [0], [1, 1, 1, 1])


def test_protocols_are_found_by_name() -> None:
    assert all(find_protocol(name).name == name for name in PROTOCOLS)
    with pytest.raises(UserError, match="market") as caught:
        find_protocol("market150")
    assert "market1501" in caught.value.cure
