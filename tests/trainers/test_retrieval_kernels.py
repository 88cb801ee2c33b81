"""The compiled loops run as plain Python on tiny inputs give what they give compiled."""

import numpy as np
import pytest
from numpy.random import default_rng

from resight.trainers.retrieval import kernels
from resight.trainers.retrieval.matching import Labels, Matching, make_matching
from resight.trainers.retrieval.protocol import MARKET1501

NO_BOUNDS = np.empty((0, 2, 3))


def tables(num_queries: int, num_gallery: int) -> Matching:
    rng = default_rng(0)
    query = Labels(pid=rng.integers(-1, 3, num_queries), camid=rng.integers(-1, 2, num_queries))
    gallery = Labels(pid=rng.integers(-2, 3, num_gallery), camid=rng.integers(-1, 2, num_gallery))
    return make_matching(query, gallery, MARKET1501)


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "to_distances", "is_dropped", "keep_matches", "count_ranks", "search_ranks", "tie_ranks", "average_precision",
        "score_rows", "nearest_rows",
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
