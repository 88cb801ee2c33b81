"""The compiled loops run as plain Python on tiny inputs give what they give compiled."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import default_rng

from resight.trainers.retrieval import kernels
from resight.trainers.retrieval.matching import Labels, Matching, make_matching
from resight.trainers.retrieval.protocol import find_protocol

NO_BOUNDS = np.empty((0, 2, 3))


def _any(number: int) -> np.ndarray:
    return default_rng(number).integers(0, 2, number)


def tables(num_queries: int, num_gallery: int, protocol: str = "market1501") -> Matching:
    rng = default_rng(0)
    query = Labels(
        pid=rng.integers(-1, 3, num_queries), camid=rng.integers(-1, 2, num_queries), outfit=_any(num_queries)
    )
    gallery = Labels(
        pid=rng.integers(-2, 3, num_gallery), camid=rng.integers(-1, 2, num_gallery), outfit=_any(num_gallery)
    )
    return make_matching(query, gallery, find_protocol(protocol))


@pytest.fixture
def compiled() -> Callable[..., int]:
    return kernels.score_rows


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "to_distances", "is_dropped", "keep_matches", "_keep_one", "count_ranks", "search_ranks", "tie_ranks",
        "average_precision", "score_rows", "nearest_rows",
    )  # fmt: skip
    for name in names:
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)


def score(
    rows: np.ndarray, matching: Matching, scale: np.ndarray, bias: np.ndarray
) -> tuple[int, np.ndarray, np.ndarray]:
    scores, counts = np.full((len(rows), 2), np.nan), np.zeros((len(rows), 3), np.int64)
    bad = kernels.score_rows(
        rows.copy(), 0, scale, bias, np.zeros(len(rows)), matching, False, scores, counts, NO_BOUNDS
    )
    return bad, scores, counts


@pytest.mark.parametrize("count_up_to", [0, 512])
def test_scores(interpreted: None, monkeypatch: pytest.MonkeyPatch, count_up_to: int) -> None:
    matching = tables(6, 15)
    rows = default_rng(1).integers(0, 4, (6, 15)).astype(np.float64)
    wanted = score(rows, matching, np.empty(0), np.empty(0))
    monkeypatch.setattr(kernels, "COUNT_UP_TO", count_up_to)
    found = score(rows, matching, np.empty(0), np.empty(0))
    assert found[0] == wanted[0] == -1
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_array_equal(found[2], wanted[2])
    affine = score(rows, matching, np.full(15, 2.0), np.full(15, 1.0))
    np.testing.assert_array_equal(affine[1], wanted[1])
    rows[3, 2] = np.inf
    assert score(rows, matching, np.empty(0), np.empty(0))[0] == 3


@pytest.mark.parametrize("protocol", ["single_shot", "no_camera", "clothes_same", "clothes_changed_literal"])
@pytest.mark.parametrize("trapezoid", [False, True])
def test_protocols_bounds_and_trapezoids(
    compiled: Callable[..., int], interpreted: None, protocol: str, trapezoid: bool
) -> None:
    matching = tables(9, 15, protocol)
    rows = default_rng(1).integers(0, 4, (9, 15)).astype(np.float64)
    found: list[tuple[np.ndarray, ...]] = []
    for kernel in (compiled, kernels.score_rows):
        scores, counts, bounds = np.zeros((9, 2)), np.zeros((9, 3), np.int64), np.zeros((9, 2, 3))
        none = np.empty(0)
        assert kernel(rows.copy(), 0, none, none, np.zeros(9), matching, trapezoid, scores, counts, bounds) == -1
        found.append((scores, counts, bounds))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-15)
        assert one.any()


def test_nearest(interpreted: None) -> None:
    matching = tables(6, 15)
    rows = default_rng(1).integers(0, 4, (6, 15)).astype(np.float32)
    arguments = (np.empty(0, np.float32), np.empty(0, np.float32), np.zeros(6, np.float32), matching)
    indices, distances = np.full((6, 20), -1), np.full((6, 20), np.inf, np.float32)
    assert kernels.nearest_rows(rows.copy(), 0, *arguments, indices, distances) == -1
    for row, position, distance in zip(rows, indices, distances, strict=True):
        ranked = position[position >= 0]
        keys = list(zip(row[ranked].tolist(), ranked.tolist(), strict=True))
        assert keys == sorted(keys)
        assert (distance[: len(ranked)] == row[ranked]).all()
    rows[5, 0] = np.nan
    assert kernels.nearest_rows(rows.copy(), 0, *arguments, indices, distances) == 5


def test_ranks_by_counting_and_by_searching_are_equal() -> None:
    rng = default_rng(2)
    for _ in range(50):
        row = rng.integers(0, 6, 60).astype(np.float32)
        positives = np.sort(rng.choice(60, rng.integers(1, 30), replace=False))
        positives = positives[np.argsort(row[positives], kind="stable")]
        counted, searched = np.empty(len(positives), np.int64), np.empty(len(positives), np.int64)
        kernels.count_ranks(row, positives, counted)
        kernels.search_ranks(row, positives, searched)
        order = np.lexsort((np.arange(60), row))
        wanted = [int(np.flatnonzero(order == position)[0]) + 1 for position in positives]
        assert counted.tolist() == searched.tolist() == wanted
