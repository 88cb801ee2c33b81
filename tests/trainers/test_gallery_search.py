"""Searching an index: the same answers as comparing with everything in float64, whatever the blocks and segments."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.trainers.gallery.change import add_features
from resight.trainers.gallery.index import GalleryIndex, open_index
from resight.trainers.gallery.search import search
from resight.trainers.gallery.where import parse_filters
from tests.trainers.galleries import features_file, vectors


def index_of(folder: Path, *parts: np.ndarray) -> GalleryIndex:
    """An index with one data set a part: a, b, ..."""
    files = [
        features_file(folder / f"{name}.parquet", part, dataset=name)
        for name, part in zip("abcdef", parts, strict=False)
    ]
    add_features(files, folder / "index")
    return open_index(folder / "index")


def plain(index: GalleryIndex, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every position by (distance, position): float64 all through, rounded at the end."""
    stored = np.concatenate([opened.vectors for opened in index.segments]).astype(np.float64)
    unit = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64), axis=1, keepdims=True)
    distance = np.clip(1 - np.stack([(stored * row).sum(axis=1) for row in unit]), 0, 2).astype(np.float32)
    order = np.argsort(distance, axis=1, kind="stable")
    return order, np.take_along_axis(distance, order, axis=1)


@settings(max_examples=25)
@given(data=st.data())
def test_it_is_the_brute_force_ranking(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=4))
    seed, distinct = data.draw(st.integers(0, 1000)), data.draw(st.integers(1, 20))
    rng = np.random.default_rng(seed)
    few = vectors(distinct, seed=seed)  # so there are many equal ones
    parts = [few[rng.integers(0, distinct, size)] for size in sizes]
    index = index_of(tmp_path_factory.mktemp("index"), *parts)
    query = np.concatenate([vectors(3, seed=seed + 1), few[:1]])
    k = data.draw(st.integers(1, sum(sizes)))
    hits = search(index, query, k)
    order, distance = plain(index, query)
    np.testing.assert_array_equal(hits.positions, order[:, :k])
    np.testing.assert_array_equal(hits.distances, distance[:, :k])


def test_equal_vectors_in_different_blocks_are_in_order_of_position(tmp_path: Path) -> None:
    many = vectors(40_000)
    same = [7, 16_383, 16_384, 30_000, 39_999]
    many[same] = many[7]
    index = index_of(tmp_path, many)
    hits = search(index, many[[7, 100]], 8)
    assert hits.positions[0, :5].tolist() == same
    order, distance = plain(index, many[[7, 100]])
    np.testing.assert_array_equal(hits.positions, order[:, :8])
    np.testing.assert_array_equal(hits.distances, distance[:, :8])


def test_threads_do_not_change_the_answers(tmp_path: Path) -> None:
    from threadpoolctl import threadpool_limits

    index = index_of(tmp_path, vectors(5000, seed=3))
    with threadpool_limits(1):
        one = search(index, vectors(70, seed=4), 12)
    with threadpool_limits(2):
        two = search(index, vectors(70, seed=4), 12)
    np.testing.assert_array_equal(one.positions, two.positions)
    np.testing.assert_array_equal(one.distances, two.distances)


def test_filters_choose_what_may_be_found(tmp_path: Path) -> None:
    index = index_of(tmp_path, vectors(30), vectors(30, seed=1))
    order = plain(index, vectors(1, seed=2))[0][0]
    images = [index.image(position) for position in order.tolist()]
    for texts, holds in (
        (["camid=1"], lambda i: i.camid == 1),
        (["camid=0,2", "dataset=b"], lambda i: i.camid != 1 and i.dataset == "b"),
        (["pid!=3"], lambda i: i.pid != 3),
        (["dataset!=a", "pid = 2"], lambda i: i.dataset == "b" and i.pid == 2),
    ):
        wanted = [image.position for image in images if holds(image)]
        hits = search(index, vectors(1, seed=2), 40, allowed=parse_filters(texts))
        found = hits.positions[0][hits.positions[0] >= 0].tolist()
        assert found == wanted[:40], texts
        assert np.isinf(hits.distances[0][len(found) :]).all()


def test_the_query_itself_is_left_out(tmp_path: Path) -> None:
    index = index_of(tmp_path, vectors(20))
    query = index.segments[0].vectors[[4, 5]]
    hits = search(index, query, 20, leave_out=np.array([4, -1]))
    assert 4 not in hits.positions[0]
    assert hits.positions[0, -1] == -1
    assert hits.positions[1, 0] == 5
    assert index.position("a", "k0004") == 4
    assert index.position("a", "k0099") == index.position("b", "k0004") == -1


@pytest.mark.parametrize("text", ["camid", "=3", "camid=", "camid=x", "camid=1,,2", "cam=3", "camid=²", "pid=--3"])
def test_a_filter_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UserError, match=r"filter|field|whole number"):
        parse_filters([text])


@pytest.mark.parametrize(
    ("query", "k", "problem"),
    [
        (vectors(1), 21, "21 results were asked for, and the index has 20 images"),
        (vectors(1), 0, "0 results"),
        (vectors(1, dim=9), 1, "a query has 9 numbers, the index 8"),
        (np.zeros((1, 8), np.float32), 1, "query 0 is all zeros"),
        (np.full((1, 8), np.nan, np.float32), 1, "query 0 is not finite"),
        (np.full((1, 8), np.inf, np.float32), 1, "query 0 is not finite"),
        (np.zeros((0, 8), np.float32), 1, "shape"),
        (np.zeros(8, np.float32), 1, "shape"),
    ],
)
def test_queries_that_cannot_be_answered(query: np.ndarray, k: int, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=problem):
        search(index_of(tmp_path, vectors(20)), query, k)


def test_a_filter_that_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leaves no image"):
        search(index_of(tmp_path, vectors(20)), vectors(1), 3, allowed=parse_filters(["camid=99"]))


def test_damaged_vectors_are_noticed_while_searching(tmp_path: Path) -> None:
    index_of(tmp_path, vectors(20))
    path = next((tmp_path / "index/segments").glob("*/vectors.npy"))
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    with pytest.raises(UserError, match="a vector is not finite"):
        search(open_index(tmp_path / "index"), vectors(1), 3)
