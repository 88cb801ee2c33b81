"""Cells of an index: an approximate search is exact as far as it looked, and nobody who was forgotten stays in them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.trainers.gallery.change import add_features, forget
from resight.trainers.gallery.index import GalleryIndex, check_index, open_index
from resight.trainers.gallery.nearest import Hits, nearest_one
from resight.trainers.gallery.partition import make_cells
from resight.trainers.gallery.people import People
from resight.trainers.gallery.probing import nearest_cells
from resight.trainers.gallery.search import search
from resight.trainers.gallery.where import parse_filters
from tests.trainers.galleries import contents, features_file, two_data_sets, vectors

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = two_data_sets(tmp_path_factory.mktemp("made"))
    done = make_cells(folder, 7)
    assert (done.images, done.cells) == (32, 7)
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    """Twenty images of a, twelve of b, in seven cells."""
    return Path(shutil.copytree(made, tmp_path / "index"))


def stored(index: GalleryIndex) -> tuple[np.ndarray, np.ndarray]:
    """All vectors and their cells."""
    cells = [opened.cells for opened in index.segments if opened.cells is not None]
    return np.concatenate([opened.vectors for opened in index.segments]), np.concatenate(cells)


def same(one: Hits, other: Hits) -> None:
    np.testing.assert_array_equal(one.positions, other.positions)
    np.testing.assert_array_equal(one.distances, other.distances)


@settings(max_examples=12)
@given(data=st.data())
def test_what_is_found_is_exact_in_the_cells_that_were_looked_into(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Equal vectors, filters, images left out; with all cells it is the exact search, bit for bit."""
    folder = tmp_path_factory.mktemp("index")
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3))
    seed, distinct = data.draw(st.integers(0, 1000)), data.draw(st.integers(1, 40))
    few, rng = vectors(distinct, seed=seed), np.random.default_rng(seed)
    files = [
        features_file(folder / f"{name}.parquet", few[rng.integers(0, distinct, size)], dataset=name)
        for name, size in zip("abc", sizes, strict=False)
    ]
    add_features(files, folder / "index")
    count = data.draw(st.integers(1, sum(sizes)))
    make_cells(folder / "index", count)
    index = open_index(folder / "index")
    query = np.concatenate([vectors(3, seed=seed + 1), few[:1]])
    k, probes = data.draw(st.integers(1, sum(sizes))), data.draw(st.integers(1, count))
    own = rng.integers(-1, sum(sizes), len(query))
    allowed = parse_filters(data.draw(st.sampled_from([[], ["camid=0"], ["camid!=1", "dataset=a"]])))
    exact = search(index, query, k, allowed=allowed, leave_out=own)
    same(search(index, query, k, allowed=allowed, leave_out=own, probes=count), exact)

    unit = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64), axis=1, keepdims=True)
    chosen, (_, cells) = nearest_cells(index, unit, probes), stored(index)
    found = search(index, query, k, allowed=allowed, leave_out=own, probes=probes)
    everything = search(index, query, sum(sizes), allowed=allowed, leave_out=own)
    for row in range(len(query)):
        inside = np.isin(cells[everything.positions[row]], chosen[row]) & (everything.positions[row] >= 0)
        wanted = everything.positions[row][inside][:k]
        assert found.positions[row].tolist() == wanted.tolist() + [-1] * (k - len(wanted))
        np.testing.assert_array_equal(found.distances[row][: len(wanted)], everything.distances[row][inside][:k])
        may = np.concatenate([allowed(opened) for opened in index.segments])
        assert found.compared[row] == (np.isin(cells, chosen[row]) & may).sum()


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 12))
def test_the_nearest_centroid_is_that_of_the_reference(seed: int, count: int, targets: int) -> None:
    rng = np.random.default_rng(seed)
    unit = vectors(50, seed=seed) / np.linalg.norm(vectors(50, seed=seed), axis=1, keepdims=True)
    to = unit[rng.integers(0, 50, targets)] * (
        1 + np.float32(2e-7) * rng.integers(-3, 4, (targets, 1)).astype(np.float32)
    )
    cosine = (unit[:count, None].astype(np.float64) * to.astype(np.float64)).sum(axis=2)
    np.testing.assert_array_equal(nearest_one(unit[:count], to), cosine.argmax(axis=1))


def assert_means(index: Path) -> None:
    opened = open_index(index)
    rows, cells = stored(opened)
    assert opened.centroids is not None
    for cell, centroid in enumerate(opened.centroids):
        mean = rows[cells == cell].astype(np.float64).sum(axis=0)
        length = np.linalg.norm(mean)
        np.testing.assert_allclose(centroid, mean / length if length else mean, atol=1e-6)


def test_centroids_are_the_means_of_their_cells(index: Path) -> None:
    assert_means(index)
    assert check_index(index) == []


def test_cells_are_made_the_same_again_and_leave_the_vectors_alone(index: Path) -> None:
    before, cells = contents(index), stored(open_index(index))[1]
    make_cells(index, 7)
    after = contents(index)
    assert stored(open_index(index))[1].tolist() == cells.tolist()
    assert {key for key in after if "cells" not in key} == {key for key in before if "cells" not in key}
    assert all(after[key] == before[key] for key in after if key.endswith(("vectors.npy", "rows.parquet")))
    assert sum("cells" in key for key in after) == sum("cells" in key for key in before) == 3, "old ones are deleted"


def test_the_forgotten_have_no_part_in_a_centroid(index: Path) -> None:
    """A cell of one image has that image's vector for its centroid: with as many cells as images, all of them do."""
    make_cells(index, 32)
    rows, cells = stored(open_index(index))
    gone = [rows[row].tobytes()[:8] for row in (6, 7)]  # identity 3 of a
    assert all(sum(vector in data for data in contents(index).values()) == 2 for vector in gone), "vectors, centroids"
    assert forget(index, People(pids=("a:3",))).images == 2
    assert not any(vector in data for vector in gone for data in contents(index).values())
    opened = open_index(index)
    assert opened.centroids is not None
    assert not opened.centroids[cells[[6, 7]]].any()
    assert stored(opened)[1].tolist() == np.delete(cells, [6, 7]).tolist()
    assert check_index(index) == []
    query = vectors(5, seed=8)
    same(search(opened, query, 9, probes=32), search(opened, query, 9))


def test_a_cell_that_loses_images_is_the_mean_of_the_others(index: Path, tmp_path: Path) -> None:
    make_cells(index, 2)
    before = open_index(index)
    forget(index, People(pids=("a:3", "b:1")))
    assert_means(index)
    assert (search(before, vectors(1), 32, probes=2).positions >= 0).all(), "who opened it before goes on"
    again = features_file(tmp_path / "again.parquet", vectors(9, seed=3), dataset="a")
    left = stored(open_index(index))[1]
    assert add_features([again], index, replace_keys=True).replaced == 7
    opened = open_index(index)
    rows, cells = stored(opened)
    assert cells[:-9].tolist() == left[7:].tolist(), "who stays keeps the cell"
    assert opened.centroids is not None
    assert cells[-9:].tolist() == (rows[-9:].astype(np.float64) @ opened.centroids.T).argmax(axis=1).tolist()
    assert check_index(index) == []


def test_vectors_that_are_added_leave_the_centroids(index: Path, tmp_path: Path) -> None:
    before = contents(index)
    add_features([features_file(tmp_path / "c.parquet", vectors(30, seed=2), dataset="c", group=7)], index)
    after = contents(index)
    assert {name for name in before if after[name] != before[name]} == {"index.json"}
    opened = open_index(index)
    query = vectors(5, seed=8)
    same(search(opened, query, 40, probes=7), search(opened, query, 40))
    assert check_index(index) == []


def test_cells_go_with_the_last_image_they_are_means_of(index: Path, tmp_path: Path) -> None:
    everybody = tuple(f"{name}:{pid}" for name in "ab" for pid in range(10))
    assert forget(index, People(pids=everybody)).rows == 0
    assert set(contents(index)) == {"index.json"}
    with pytest.raises(UserError, match="the index is empty"):
        make_cells(index)
    add_features([features_file(tmp_path / "c.parquet", vectors(3), dataset="c")], index)
    assert open_index(index).centroids is None
    assert make_cells(index).cells == 3, "four times the root of three is four"


def test_an_index_without_cells_is_of_the_old_format(index: Path, tmp_path: Path) -> None:
    assert json.loads((index / "index.json").read_text())["format"] == 2
    add_features([features_file(tmp_path / "c.parquet", vectors(3), dataset="c")], tmp_path / "plain")
    plain = json.loads((tmp_path / "plain/index.json").read_text())
    assert (plain["format"], sorted(plain)) == (1, ["format", "model", "next", "segments"])


def test_equal_vectors_leave_cells_empty(tmp_path: Path) -> None:
    few = vectors(2)[[0] * 6 + [1] * 3]
    add_features([features_file(tmp_path / "a.parquet", few)], tmp_path / "index")
    made = make_cells(tmp_path / "index", 5)
    assert made.empty == 3
    opened = open_index(tmp_path / "index")
    assert search(opened, few[[0, 8]], 4, probes=1).positions.tolist() == [[0, 1, 2, 3], [6, 7, 8, -1]]
    same(search(opened, few[:1], 9, probes=5), search(opened, few[:1], 9))


@pytest.mark.parametrize(
    ("count", "problem"), [(0, "0 cells were asked for"), (-1, "-1 cells"), (33, "33 cells .* has 32 images")]
)
def test_cells_that_cannot_be_made(count: int, problem: str, index: Path) -> None:
    before = contents(index)
    with pytest.raises(UserError, match=problem):
        make_cells(index, count)
    assert contents(index) == before


@pytest.mark.parametrize("probes", [0, -1, 8])
def test_probes_that_cannot_be(probes: int, index: Path) -> None:
    with pytest.raises(UserError, match=f"{probes} cells were to be looked into, and the index has 7"):
        search(open_index(index), vectors(1), 3, probes=probes)


def test_an_index_without_cells_cannot_be_probed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cells to look into") as caught:
        search(open_index(two_data_sets(tmp_path)), vectors(1), 3, probes=1)
    assert "resight index --cells auto" in caught.value.cure


def test_a_filter_that_leaves_nothing_in_the_cells_and_one_that_leaves_nothing(index: Path) -> None:
    opened = open_index(index)
    place = int(search(opened, vectors(1), 1, probes=1).positions[0, 0])
    far = opened.image(int(search(opened, -opened.vectors_at(np.array([place])), 1).positions[0, 0]))
    hits = search(opened, vectors(1), 3, allowed=parse_filters([f"pid={far.pid}", f"camid={far.camid}"]), probes=1)
    assert hits.compared[0] <= 2
    with pytest.raises(UserError, match="leaves no image"):
        search(opened, vectors(1), 3, allowed=parse_filters(["camid=99"]), probes=1)


def test_without_faiss_only_making_cells_is_refused(index: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.modules["faiss"] = None
from resight.cli.app import run
from resight.trainers.gallery.change import forget
from resight.trainers.gallery.index import open_index
from resight.trainers.gallery.people import People
from resight.trainers.gallery.search import search
index = Path(sys.argv[1])
forget(index, People(pids=("a:3",)))
search(open_index(index), open_index(index).segments[0].vectors[:2], 3, probes=2)
sys.exit(run(["index", "--cells", "auto", "--index", str(index)]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code, str(index)], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'resight[faiss]'" in done.stderr
    assert "Traceback" not in done.stderr


def _entry(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / "index.json").read_text())
        change(values)
        (folder / "index.json").write_text(json.dumps(values))

    return spoil


def _array(pattern: str, value: np.ndarray) -> Callable[[Path], None]:
    """Another array, announced with its true size."""

    def spoil(folder: Path) -> None:
        path = next(folder.glob(pattern))
        size = path.stat().st_size
        np.save(path, value, allow_pickle=value.dtype == object)
        text = (folder / "index.json").read_text()
        (folder / "index.json").write_text(text.replace(f'"size": {size}', f'"size": {path.stat().st_size}'))

    return spoil


CELLS, CENTROIDS = "segments/000001/cells-*.npy", "cells/*/centroids.npy"
OF_LENGTH_TWO = np.full((7, 8), 2 * 8**-0.5, np.float32)
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a path for a name": (_entry(lambda v: v["cells"].update(name="../../etc")), "no name of cells"),
    "a number taken": (_entry(lambda v: v["cells"].update(name="000099")), "is taken"),
    "cells below one": (_entry(lambda v: v["cells"].update(count=0)), "the number of cells is 0"),
    "no centroids": (_entry(lambda v: v.pop("cells")), "some of it has cells, some has none"),
    "a text for their number": (_entry(lambda v: v["cells"].update(count="all")), "the number of cells is 'all'"),
    "no record": (_entry(lambda v: v["cells"].pop("file")), "index.json is damaged"),
    "torn centroids": (lambda p: os.truncate(next(p.glob(CENTROIDS)), 100), "centroids.npy has 100 bytes in place"),
    "torn cells": (lambda p: os.truncate(next(p.glob(CELLS)), 100), r"cells-\d+.npy has 100 bytes in place"),
    "missing centroids": (lambda p: next(p.glob(CENTROIDS)).unlink(), "is not there"),
    "a cell out of range": (_array(CELLS, np.full(20, 7, np.int32)), "names cells outside of the 7"),
    "a cell below zero": (_array(CELLS, np.full(20, -1, np.int32)), "names cells outside of the 7"),
    "cells of another type": (_array(CELLS, np.zeros(20, np.int64)), "not int32"),
    "cells of another shape": (_array(CELLS, np.zeros((4, 5), np.int32)), "not int32"),
    "a pickle": (_array(CELLS, np.array([object] * 9, object)), "is no array"),
    "more centroids": (_array(CENTROIDS, np.zeros((8, 8), np.float32)), "not float32"),
    "no unit vectors": (_array(CENTROIDS, OF_LENGTH_TWO), "not of unit length"),
    "centroids of NaN": (_array(CENTROIDS, np.full((7, 8), np.nan, np.float32)), "not of unit length"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_in_words(name: str, index: Path) -> None:
    spoil, problem = DAMAGE[name]
    spoil(index)
    with pytest.raises(UserError, match=problem):
        open_index(index)


def test_a_flipped_bit_is_found_by_the_check(index: Path) -> None:
    for pattern in (CELLS, CENTROIDS):
        path = next(index.glob(pattern))
        data = path.read_bytes()
        path.write_bytes(bytes([*data[:-4], data[-4] ^ 1, *data[-3:]]))
        assert check_index(index) == [f"{path.relative_to(index)} is not what was written"]
        with pytest.raises(UserError, match="the index is damaged"):
            make_cells(index, 2)
        path.write_bytes(data)
    assert check_index(index) == []


def test_leftovers_go_with_the_next_change(index: Path) -> None:
    mine = ["cells/notes.txt", "cells/000099/notes.txt", "segments/000001/cells.npy"]
    leftover = ["cells/000098/centroids.npy", "cells/000097/.tmp-1", "segments/000001/cells-000099.npy"]
    for name in [*mine, *leftover]:
        (index / name).parent.mkdir(exist_ok=True)
        (index / name).write_text("x")
    forget(index, People(pids=("b:0",)))
    assert all((index / name).exists() for name in mine)
    assert not any((index / name).exists() for name in leftover)
    assert not (index / "cells/000098").exists()
