"""The nearest gallery images: exact, ties by position, the same for any number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.trainers.retrieval import rank
from resight.trainers.retrieval.matching import Labels
from resight.trainers.retrieval.protocol import MARKET1501
from resight.trainers.retrieval.ranking import rank_labelled
from tests.reference import retrieval as reference


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 40), st.integers(1, 50), st.integers(1, 3))
@settings(deadline=None, max_examples=80)
def test_equals_a_sort_by_distance_and_position(seed: int, queries: int, size: int, k: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = (rng.integers(-2, 3, (num, 3)).astype(np.float32) for num in (queries, size))
    indices, distances = rank(query, gallery, k, distance="squared_euclidean", threads=threads)
    exact = ((query[:, None] - gallery[None]) ** 2).sum(axis=2)
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(distances, np.take_along_axis(exact, order, axis=1))


def test_cosine_is_the_default_and_never_negative() -> None:
    features = np.random.default_rng(0).standard_normal((30, 50)).astype(np.float32) * 7
    indices, distances = rank(features, features, 1)
    assert indices[:, 0].tolist() == list(range(30))
    assert distances.min() >= 0
    assert distances.max() < 1e-6


def test_what_the_protocol_drops_is_not_shown() -> None:
    rng = np.random.default_rng(1)
    query, gallery = rng.integers(-2, 3, (9, 4)).astype(np.float32), rng.integers(-2, 3, (12, 4)).astype(np.float32)
    query_labels = Labels(pid=rng.integers(-1, 2, 9), camid=rng.integers(-1, 2, 9))
    gallery_labels = Labels(pid=rng.integers(-2, 2, 12), camid=rng.integers(-1, 2, 12))
    indices, distances = rank_labelled(
        query, gallery, query_labels, gallery_labels, 12, protocol=MARKET1501, distance="squared_euclidean"
    )
    exact = ((query[:, None] - gallery[None]) ** 2).sum(axis=2)
    for i in range(9):
        wanted = reference.ranking(
            exact[i].tolist(), int(query_labels.pid[i]), int(query_labels.camid[i]), gallery_labels.pid.tolist(),
            gallery_labels.camid.tolist(), same_camera=True,
        )  # fmt: skip
        assert indices[i].tolist() == wanted + [-1] * (12 - len(wanted))
        assert np.isinf(distances[i, len(wanted) :]).all()


def test_refusals() -> None:
    with pytest.raises(UserError, match="k is 0"):
        rank(np.ones((1, 2)), np.ones((1, 2)), 0)
    with pytest.raises(UserError, match="NaN"):
        rank(np.ones((1, 2)), np.full((1, 2), np.nan))
