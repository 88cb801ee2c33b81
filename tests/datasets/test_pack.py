"""Packing a Market-1501 tree from end to end."""

import hashlib
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.cluster.pool import InProcess
from resight.cluster.progress import Step
from resight.datasets.dataset import open_dataset
from resight.datasets.pack import PackConfig, PackWork, pack, plan_units
from resight.datasets.readers import Folder, Market1501
from resight.datasets.readers.pictures import Files
from tests.datasets.making import encoded, jpeg, pixels

SMALL = PackConfig(shard_samples=20)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Market-1501 tree: 8 people for training, 4 for testing, junk and distractors."""
    root = tmp_path_factory.mktemp("data") / "0007_c3s1 (ü)"
    for folder, pids, per_camera in (
        ("bounding_box_train", [2, 7, 10, 11, 12, 22, 23, 27], 2),
        ("query", [1, 3, 4, 5], 1),
        ("bounding_box_test", [-1, 0, 1, 3, 4, 5], 2),
    ):
        (root / folder).mkdir(parents=True)
        for pid in pids:
            name = "-1" if pid < 0 else f"{pid:04d}"
            for camera in (1, 2, 3):
                for k in range(per_camera):
                    frame = 1000 * camera + k + (500 if folder == "query" else 0)
                    path = root / folder / f"{name}_c{camera}s1_{frame:06d}_0{k}.jpg"
                    path.write_bytes(jpeg(100_000 * (pid + 1) + frame, height=64, width=32))
    (root / "query" / "Thumbs.db").write_bytes(b"x")
    return root


@pytest.fixture
def mine(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "tree"))


def files_of(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and "_commits" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_end_to_end(tree: Path, tmp_path: Path):
    card = pack("market1501", tree, tmp_path / "out", config=SMALL)
    assert card.counts == {
        "train": {"images": 48, "ids": 8, "cameras": 3, "outfits": 0, "distractors": 0, "junk": 0},
        "query": {"images": 12, "ids": 4, "cameras": 3, "outfits": 0, "distractors": 0, "junk": 0},
        "gallery": {"images": 36, "ids": 4, "cameras": 3, "outfits": 0, "distractors": 6, "junk": 6},
    }
    data = open_dataset(tmp_path / "out", verify=True)
    assert list(data.card.shards) == [
        "train-000000", "train-000001", "train-000002", "query-000000", "gallery-000000", "gallery-000001",
    ]  # fmt: skip
    for row in range(len(data)):
        assert bytes(data.image_bytes(row)) == (tree / data.index.origin[row]).read_bytes()
        assert data.image(row).shape == (64, 32, 3)
    assert "research" in card.licence
    assert str(tree) not in (tmp_path / "out" / "dataset.json").read_text()


def test_same_bytes_for_any_place_and_number_of_workers(tree: Path, mine: Path, tmp_path: Path):
    pack("market1501", tree, tmp_path / "a", config=SMALL)
    pack("market1501", mine, tmp_path / "b", config=SMALL, backend=InProcess(workers=3))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_second_call_does_nothing_quickly(tree: Path, tmp_path: Path):
    first = pack("market1501", tree, tmp_path / "out", config=SMALL)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    steps: list[Step] = []
    start = time.perf_counter()
    again = pack("market1501", tree, tmp_path / "out", config=SMALL, progress=lambda step: steps.append(step))
    assert time.perf_counter() - start < 1
    assert again.sha256 == first.sha256
    assert steps[0].done == steps[0].total == 6
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_it_resumes_after_losing_anything(tree: Path, tmp_path: Path):
    out = tmp_path / "out"
    pack("market1501", tree, out, config=SMALL)
    whole = files_of(out)
    (out / "dataset.json").unlink()
    (out / "shards" / "train-000001.tar").unlink()
    (out / "_commits" / "query-000000.json").unlink()
    pack("market1501", tree, out, config=SMALL)
    assert files_of(out) == whole


def test_changed_input_is_not_put_over_a_published_set(mine: Path, tmp_path: Path):
    pack("market1501", mine, tmp_path / "out", config=SMALL)
    (mine / "query" / "0001_c4s1_000001_00.jpg").write_bytes(jpeg(1))
    with pytest.raises(UserError, match="other settings"):
        pack("market1501", mine, tmp_path / "out", config=SMALL)


def test_bad_members_are_left_out_and_listed(mine: Path, tmp_path: Path):
    bad = mine / "bounding_box_train" / "0002_c1s1_001000_00.jpg"
    bad.write_bytes(bad.read_bytes()[:-100])
    (mine / "bounding_box_train" / "0002_c1s1_001001_01.jpg").write_bytes(b"")
    card = pack("market1501", mine, tmp_path / "out", config=PackConfig(max_bad_share=0.05))
    assert [member["key"] for member in card.quarantined] == ["train_0002_c1s1_001000_00", "train_0002_c1s1_001001_01"]
    assert "JPEG" in card.quarantined[0]["reason"]
    assert "empty" in card.quarantined[1]["reason"]
    assert card.counts["train"]["images"] == 46
    assert len(open_dataset(tmp_path / "out")) == 94


def test_too_many_stop_it_and_mended_files_are_read_again(mine: Path, tmp_path: Path):
    paths = sorted((mine / "bounding_box_train").iterdir())[:7]
    whole = [path.read_bytes() for path in paths]
    for path, data in zip(paths, whole, strict=True):
        path.write_bytes(bytes(len(data)))  # the same size: the shard's specification does not change
    with pytest.raises(UserError, match=r"7 images of .* cannot be used, 0 would be allowed") as caught:
        pack("market1501", mine, tmp_path / "out", config=SMALL)
    assert "0002_c1s1_001000_00.jpg" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert not (tmp_path / "out" / "dataset.json").exists()
    for path, data in zip(paths, whole, strict=True):
        path.write_bytes(data)
    assert pack("market1501", mine, tmp_path / "out", config=SMALL).counts["train"]["images"] == 48


def test_a_shard_of_which_nothing_is_left(mine: Path, tmp_path: Path):
    for path in (mine / "query").iterdir():
        path.write_bytes(b"rubbish")
    card = pack("market1501", mine, tmp_path / "out", config=PackConfig(max_bad_share=0.5))
    assert list(card.shards) == ["train-000000", "gallery-000000"]
    assert len(card.quarantined) == 12
    assert len(open_dataset(tmp_path / "out")) == 84


def test_bombs_are_left_out(mine: Path, tmp_path: Path):
    (mine / "query" / "0001_c5s1_000001_00.jpg").write_bytes(jpeg(3, height=200, width=200))
    card = pack("market1501", mine, tmp_path / "out", config=PackConfig(max_bad_share=0.5, max_pixels=30_000))
    assert "limit of 30,000" in card.quarantined[0]["reason"]


def test_a_file_that_vanished(tree: Path, tmp_path: Path):
    unit = plan_units(Market1501().scan(tree), SMALL)[0]
    made = PackWork(Files(tmp_path))(unit, tmp_path)
    assert made.files == {}
    assert made.facts["samples"] == 0
    assert "cannot be read: No such file" in made.facts["quarantined"][0]["reason"]


@pytest.mark.parametrize("listed", [0, 5, 100_000, 250_000, 299_999, 300_000, 300_001])
def test_a_file_is_read_to_its_end_whatever_size_was_listed(tmp_path: Path, listed: int):
    data = np.random.default_rng(0).bytes(300_000)
    (tmp_path / "a.jpg").write_bytes(data)
    assert Files(tmp_path).read("a.jpg", listed) == data


def test_kind_comes_from_content(tmp_path: Path):
    """A PNG that is called .jpg is stored as what it is."""
    root = tmp_path / "in"
    for pid in (1, 2, 3):
        (root / "train").mkdir(parents=True, exist_ok=True)
        (root / "train" / f"{pid}_c1.JPG").write_bytes(encoded(pixels(pid), "PNG"))
    card = pack(Folder(), root, tmp_path / "out", config=PackConfig(name="mine", licence="ours"))
    assert (card.name, card.licence) == ("mine", "ours")
    data = open_dataset(tmp_path / "out")
    assert data.image(0).shape == (128, 64, 3)
    assert (data.image(0) == pixels(1)).all()
    assert b".png\0" in data.shard_path("train-000000").read_bytes()


def test_names_are_kept_in_the_card(tmp_path: Path):
    root = tmp_path / "in" / "train"
    root.mkdir(parents=True)
    for name in ("bo", "al"):
        (root / f"{name}_1.jpg").write_bytes(jpeg(len(name)))
    assert pack("folder", tmp_path / "in", tmp_path / "out").made_by["identities"] == ["al", "bo"]


def test_unknown_reader(tmp_path: Path):
    with pytest.raises(UserError) as caught:
        pack("market", tmp_path, tmp_path / "out")
    assert "'market1501'" in caught.value.cure
