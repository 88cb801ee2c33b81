"""Damaged and hostile indexes: each is told in words, and never made to look sound."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.trainers.gallery.change import forget
from resight.trainers.gallery.index import check_index, open_index
from resight.trainers.gallery.people import People
from tests.trainers.galleries import contents, two_data_sets


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return two_data_sets(tmp_path)


def _manifest(text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "index.json").write_text(text)

    return spoil


def _edit(**changes: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "index.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def _edit_segment(**changes: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "index.json"
        values = json.loads(path.read_text())
        values["segments"][0] |= changes
        path.write_text(json.dumps(values))

    return spoil


def _write(name: str, data: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "segments/000001" / name
        path.write_bytes(data(path.read_bytes()))

    return spoil


def _pickled(folder: Path) -> None:
    """An array of objects, which only a pickle can hold, announced with its true size."""
    path = folder / "segments/000001/vectors.npy"
    np.save(path, np.array([object], object), allow_pickle=True)
    manifest = json.loads((folder / "index.json").read_text())
    manifest["segments"][0]["files"]["vectors.npy"]["size"] = path.stat().st_size
    (folder / "index.json").write_text(json.dumps(manifest))


def _other_shape(folder: Path) -> None:
    path = folder / "segments/000001/vectors.npy"
    np.save(path, np.zeros((10, 16), np.float32))
    assert (
        path.stat().st_size
        == json.loads((folder / "index.json").read_text())["segments"][0]["files"]["vectors.npy"]["size"]
    )


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a torn manifest": (_manifest("{"), "index.json is damaged"),
    "a list": (_manifest("[]"), "index.json is damaged"),
    "a newer version": (_edit(format=3), "newer version"),
    "a path for a name": (_edit_segment(name="../../etc"), "no name of a segment"),
    "a name that moves the cursor": (_edit_segment(dataset="\x1b[2J"), "names its data"),
    "rows below zero": (_edit_segment(rows=-1), "rows is -1"),
    "other files": (_edit_segment(files={"x.pkl": {"sha256": "a" * 64, "size": 1}}), "has the files"),
    "a number taken": (_edit(next=1), "is taken"),
    "torn vectors": (_write("vectors.npy", lambda data: data[:-8]), "vectors.npy has .* bytes in place of"),
    "torn rows": (_write("rows.parquet", lambda data: data[:-8]), "rows.parquet has .* bytes in place of"),
    "other rows": (_write("rows.parquet", lambda data: data[:-8] + bytes(8)), "rows.parquet cannot be read"),
    "no array": (_write("vectors.npy", lambda data: bytes(len(data))), "vectors.npy is no array"),
    "a pickle": (_pickled, "vectors.npy is no array"),
    "another shape": (_other_shape, "not float32"),
    "a missing file": (lambda p: (p / "segments/000001/rows.parquet").unlink(), "is not there"),
    "a missing folder": (lambda p: shutil.rmtree(p / "segments"), "is not there"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_in_words(name: str, index: Path) -> None:
    spoil, problem = DAMAGE[name]
    spoil(index)
    with pytest.raises(UserError, match=problem):
        open_index(index)


def test_a_flipped_bit_is_found_by_the_check(index: Path) -> None:
    for name in ("vectors.npy", "rows.parquet"):
        path = index / "segments/000002" / name
        data = bytearray(path.read_bytes())
        path.write_bytes(bytes([*data[:-50], data[-50] ^ 1, *data[-49:]]))
        assert check_index(index) == [f"segments/000002/{name} is not what was written"]
        path.write_bytes(data)
    (index / "segments/000002/vectors.npy").unlink()
    assert check_index(index) == ["segments/000002/vectors.npy is missing"]


def test_damage_is_not_written_again_as_sound(index: Path) -> None:
    path = index / "segments/000001/vectors.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")
    before = contents(index)
    with pytest.raises(UserError, match=r"000001/vectors\.npy is not what was written"):
        forget(index, People(pids=("a:3",)))
    assert contents(index) == before
    assert forget(index, People(pids=("b:3",))).images == 2
