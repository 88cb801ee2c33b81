"""A gallery index on disk: what goes in, what comes out, what is refused, and that forgetting leaves nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.cluster.storage import open_storage
from resight.datasets.cache_lock import locked
from resight.trainers.gallery import index as module
from resight.trainers.gallery.change import add_features, forget
from resight.trainers.gallery.index import check_index, open_index
from resight.trainers.gallery.people import People
from resight.trainers.gallery.search import search
from tests.trainers.galleries import MODEL, contents, features_file, two_data_sets, vectors

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return two_data_sets(tmp_path)


def images(folder: Path) -> list[tuple[str, str, int, int]]:
    opened = open_index(folder)
    found = map(opened.image, range(len(opened)))
    return [(image.dataset, image.key, image.pid, image.camid) for image in found]


def test_rows_and_unit_vectors_in_the_order_they_came(index: Path) -> None:
    opened = open_index(index)
    made = [("a", f"k{i:04d}", i // 2, i % 3) for i in range(20)] + [
        ("b", f"k{i:04d}", i // 2, i % 3) for i in range(12)
    ]
    assert images(index) == made
    given = np.concatenate([vectors(20), vectors(12, seed=1)]).astype(np.float64)
    given /= np.linalg.norm(given, axis=1, keepdims=True)
    stored = np.concatenate([part.vectors for part in opened.segments])
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, given, atol=1e-7)
    assert isinstance(opened.segments[0].vectors, np.memmap)
    assert not opened.segments[0].vectors.flags.writeable
    assert check_index(index) == []


def test_an_add_changes_no_file_that_is_there(index: Path, tmp_path: Path) -> None:
    before = contents(index)
    add_features([features_file(tmp_path / "c.parquet", vectors(3, seed=2), dataset="c")], index)
    after = contents(index)
    assert {name for name in before if after[name] != before[name]} == {"index.json"}


def test_junk_is_left_out_and_counted(tmp_path: Path) -> None:
    roles = ["person", "junk", "distractor", "junk"]
    added = add_features([features_file(tmp_path / "a.parquet", vectors(4), roles=roles)], tmp_path / "index")
    assert (added.images, added.junk, added.rows) == (2, 2, 2)
    assert [key for _, key, _, _ in images(tmp_path / "index")] == ["k0000", "k0002"]


def test_images_that_are_there_are_refused_or_replaced(index: Path, tmp_path: Path) -> None:
    new = vectors(3, seed=9)
    again = features_file(tmp_path / "again.parquet", new, dataset="a", keys=["k0001", "k0019", "new"])
    before = contents(index)
    with pytest.raises(UserError, match=r"2 of the images are in the index already, e\.g\. 'k0001'"):
        add_features([again], index)
    assert contents(index) == before
    added = add_features([again], index, replace_keys=True)
    assert (added.images, added.replaced, added.rows) == (3, 2, 33)
    rows = images(index)
    assert len(rows) == len({row[:2] for row in rows}) == 33
    opened = open_index(index)
    hits = search(opened, new, 1)
    assert [opened.image(int(row)).key for row in hits.positions[:, 0]] == ["k0001", "k0019", "new"]
    assert hits.distances.max() < 1e-6
    assert not any(vectors(20)[1].tobytes()[:8] in data for data in contents(index).values())
    assert check_index(index) == []


def _spoiled(place: int, value: float) -> np.ndarray:
    found = vectors(4)
    found[place] = value
    return found


REFUSED: dict[str, tuple[Callable[[Path], list[Path]], str]] = {
    "another dimension": (
        lambda p: [features_file(p, vectors(4, dim=9), model=replace(MODEL, dim=9))],
        "9 numbers an image.*the index holds",
    ),
    "another model": (
        lambda p: [features_file(p, vectors(4), model=replace(MODEL, sha256="d" * 64))],
        "the index holds",
    ),
    "another config": (
        lambda p: [features_file(p, vectors(4), model=replace(MODEL, fingerprint="d" * 64))],
        "the index holds",
    ),
    "NaN": (lambda p: [features_file(p, _spoiled(2, np.nan))], "vector of 'k0002' is not finite"),
    "infinity": (lambda p: [features_file(p, _spoiled(1, np.inf))], "vector of 'k0001' is not finite"),
    "zeros": (lambda p: [features_file(p, _spoiled(3, 0))], "vector of 'k0003' is all zeros"),
    "no rows": (lambda p: [features_file(p, vectors(0))], "holds no images"),
    "only junk": (lambda p: [features_file(p, vectors(2), roles=["junk"] * 2)], "holds no images"),
    "a key twice": (lambda p: [features_file(p, vectors(2), keys=["x", "x"])], "'x' occurs twice"),
    "a key in two files": (
        lambda p: [features_file(p, vectors(2)), features_file(p.with_name("other.parquet"), vectors(3))],
        "'k0000' of the data set 'made' is in",
    ),
    "a file twice": (lambda p: [features_file(p, vectors(2))] * 2, "given twice"),
    "two models": (
        lambda p: [
            features_file(p, vectors(2)),
            features_file(p.with_name("other.parquet"), vectors(2), model=replace(MODEL, sha256="d" * 64)),
        ],
        "of different models",
    ),
    "a key of two lines": (lambda p: [features_file(p, vectors(1), keys=["a\nb"])], "no line of text"),
    "a file that is not there": (lambda p: [p], "features cannot be read"),
    "no Parquet": (lambda p: [_no_parquet(p)], "features cannot be read"),
    "a torn file": (lambda p: [_torn(features_file(p, vectors(50)))], "features cannot be read"),
    "a damaged page": (lambda p: [_flipped(features_file(p, vectors(500)))], "row group 0 cannot be read"),
}


def _no_parquet(path: Path) -> Path:
    path.write_bytes(b"PAR1" * 9)
    return path


def _torn(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-20])
    return path


def _flipped(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(vectors(500)[100].tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_changes_nothing(name: str, index: Path, tmp_path: Path) -> None:
    make, problem = REFUSED[name]
    before = contents(index)
    with pytest.raises(UserError, match=problem):
        add_features(make(tmp_path / "new.parquet"), index)
    assert contents(index) == before
    with pytest.raises(UserError):
        add_features([tmp_path / "none.parquet"], tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos/segments").mkdir(parents=True)
    (tmp_path / "photos/segments/mine.txt").write_text("mine")
    (tmp_path / "photos/me.jpg").write_text("me")
    (tmp_path / "photos/.tmp-mine").write_text("of another program")
    file = features_file(tmp_path / "a.parquet", vectors(2))
    for name in ("me.jpg", "segments/mine.txt"):
        before = contents(tmp_path / "photos")
        with pytest.raises(UserError, match=rf"other files, e\.g\. '{name}'"):
            add_features([file], tmp_path / "photos")
        with pytest.raises(UserError, match="no gallery index here"):
            forget(tmp_path / "photos", People(pids=("1",)))
        assert contents(tmp_path / "photos") == before
        (tmp_path / "photos" / name).unlink()


def test_a_change_deletes_nothing_but_segments(index: Path) -> None:
    mine = ["notes.txt", "segments/notes.txt", "segments/000001/notes.txt", "segments/000099/notes.txt", "below/.tmp-x"]
    for name in mine:
        (index / name).parent.mkdir(exist_ok=True)
        (index / name).write_text("mine")
    leftover = ["segments/000099/vectors.npy", "segments/000099/.tmp-1", "segments/000001/.tmp-2", ".tmp-3"]
    for name in leftover:
        (index / name).write_text("of a killed change")
    forget(index, People(pids=("a:0",)))
    assert all((index / name).read_text() == "mine" for name in mine)
    assert not any((index / name).exists() for name in leftover)
    assert not (index / "segments/000001/vectors.npy").exists()


def test_forgotten_people_are_in_no_file(index: Path) -> None:
    rows = next(part for part in open_index(index).segments if part.segment.dataset == "a")
    gone = [rows.vectors[row].tobytes() for row in (6, 7)]  # identity 3
    kept = rows.vectors[8].tobytes()
    before = images(index)
    assert all(any(vector in data for data in contents(index).values()) for vector in [*gone, kept])
    done = forget(index, People(pids=("a:3",)))
    assert (done.images, done.counts, done.rows, done.segments) == (2, {"a:3": 2}, 30, 1)
    there = contents(index)
    assert not any(vector[:8] in data for vector in gone for data in there.values())
    assert any(kept in data for data in there.values())
    assert images(index) == [row for row in before if row[:1] + row[2:3] != ("a", 3)]
    assert len(list((index / "segments").iterdir())) == 2
    assert check_index(index) == []
    again = forget(index, People(pids=("a:3",)))
    assert (again.images, again.counts, again.rows) == (0, {"a:3": 0}, 30)
    assert contents(index) == there


def test_forgotten_keys_are_in_no_file(tmp_path: Path) -> None:
    """Rows are compressed, so the search is for a key that would be stored as it is: the only one of its segment."""
    odd = features_file(tmp_path / "a.parquet", vectors(2), keys=["qzjxwvkqpf", "another"], pids=[-1, 5])
    add_features([odd], tmp_path / "index")
    assert any(b"qzjxwvkqpf" in data for data in contents(tmp_path / "index").values())
    assert forget(tmp_path / "index", People(keys=("qzjxwvkqpf",))).counts == {"qzjxwvkqpf": 1}
    assert not any(b"qzjxwvkqpf" in data for data in contents(tmp_path / "index").values())


def test_everybody_can_be_forgotten(index: Path) -> None:
    done = forget(index, People(pids=tuple(f"{name}:{pid}" for name in "ab" for pid in range(10))))
    assert (done.images, done.rows) == (32, 0)
    assert set(contents(index)) == {"index.json"}
    with pytest.raises(UserError, match="the index is empty"):
        search(open_index(index), vectors(1), 1)
    assert check_index(index) == []


@pytest.mark.parametrize(
    ("people", "problem"),
    [
        (People(pids=("3",)), "in several data sets: a, b"),
        (People(keys=("k0003",)), "in several data sets: a, b"),
        (People(pids=("-1",)), "no identity"),
        (People(pids=("a:x",)), "no identity"),
        (People(pids=("9", "x")), "no identity"),
    ],
)
def test_who_is_meant_must_be_clear(people: People, problem: str, index: Path) -> None:
    before = contents(index)
    with pytest.raises(UserError, match=problem):
        forget(index, people)
    assert contents(index) == before
    assert forget(index, People(pids=("9", "c:9"), keys=("b:k0003",))).counts == {"9": 2, "c:9": 0, "b:k0003": 1}


def test_a_second_change_at_once_is_refused(index: Path) -> None:
    with locked(index, lambda: pytest.fail("nobody holds it")), pytest.raises(UserError, match="another process"):
        forget(index, People(pids=("9",)))
    assert forget(index, People(pids=("9",))).images == 2


def test_a_killed_change_leaves_the_index_and_its_leftovers_go_with_the_next(index: Path, tmp_path: Path) -> None:
    """The process is killed after new segments are written and before the manifest is, then after the manifest."""
    code = """
import os, signal, sys
from pathlib import Path
from resight.cluster.storage import LocalStorage
from resight.trainers.gallery.change import forget
from resight.trainers.gallery.people import People

when, published = sys.argv[2], LocalStorage.publish

def publish(self, data, key, **more):
    if when == "after":
        published(self, data, key, **more)
    os.kill(os.getpid(), signal.SIGKILL)

LocalStorage.publish = publish
forget(Path(sys.argv[1]), People(pids=("a:3",)))
"""
    gone = open_index(index).segments[0].vectors[6].tobytes()
    before = images(index)
    for when, expected in (("before", 32), ("after", 30)):
        words = [sys.executable, "-c", code, str(index), when]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
        assert subprocess.run(words, env=environment).returncode == -signal.SIGKILL
        assert len(images(index)) == expected
        assert check_index(index) == []
    assert images(index) == [row for row in before if row[:1] + row[2:3] != ("a", 3)]
    assert any(gone in data for data in contents(index).values()), "the old segment lies there still"
    forget(index, People(pids=("a:3",)))
    assert not any(gone in data for data in contents(index).values())
    assert len(list((index / "segments").iterdir())) == 2


def test_an_index_that_changes_while_it_is_opened_is_opened_again(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader has read the old manifest when its segments go."""
    read, stale = module.read_manifest, module.read_manifest(open_storage(index))
    forget(index, People(pids=("9",)))
    found = [stale]
    monkeypatch.setattr(module, "read_manifest", lambda storage: found.pop() if found else read(storage))
    assert len(open_index(index)) == 30
    found = [stale] * 10
    with pytest.raises(UserError, match="is not there"):
        open_index(index)


def test_who_opened_before_a_change_goes_on(index: Path) -> None:
    opened = open_index(index)
    hits = search(opened, vectors(3, seed=5), 5)
    forget(index, People(pids=("9", "a:1", "b:2")))
    again = search(opened, vectors(3, seed=5), 5)
    np.testing.assert_array_equal(again.positions, hits.positions)
