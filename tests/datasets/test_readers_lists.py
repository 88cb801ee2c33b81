"""Readers of data sets that come with lists, bitmaps, MATLAB files or no labels at all."""

import importlib
import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from resight.cluster.errors import UserError
from resight.datasets.dataset import open_dataset
from resight.datasets.decode import Undecodable, decode
from resight.datasets.pack import PackConfig, pack, plan_units
from resight.datasets.readers import READERS, LuPerson, Viper
from resight.datasets.readers.crops import key_in
from resight.datasets.readers.cuhk03_mat import MatPictures
from resight.datasets.readers.lists import read_list
from resight.datasets.readers.pictures import Bitmaps
from tests.datasets.making import jpeg, pixels
from tests.datasets.trees import keys, plant, told

TRAIN = "0000/0000_000_01_0303morning_0015_0.jpg"
EXTRA = "0001/0001_003_15_0303afternoon_0100_10_ex.jpg"
VAL = "0000/0000_001_12_0303noon_0020_1.jpg"
QUERY = "0000/0000_000_01_0302morning_0700_0.jpg"
GALLERY = "0000/0000_002_03_0302morning_0701_1.jpg"
LISTS = {
    "list_train.txt": f"{TRAIN} 0\r\n{EXTRA} 1\r\n\r\n",
    "list_val.txt": f"{VAL} 0\n",
    "list_query.txt": f"{QUERY} 0\n",
    "list_gallery.txt": f"\ufeff{GALLERY} 0\n{GALLERY[:-5]}9.jpg 0\n",
}


def msmt(root: Path, train: str = "train", test: str = "test", without: str = "") -> Path:
    plant(root, [f"{train}/{name}" for name in (TRAIN, EXTRA, VAL, "0000/unlisted.jpg", "0000/Thumbs.db")])
    plant(root, [f"{test}/{name}" for name in (QUERY, GALLERY)])
    return plant(root, {name: text for name, text in LISTS.items() if name != without})


@pytest.mark.parametrize(
    ("name", "train", "test", "val"),
    [
        ("msmt17", "train", "test", "train"),
        ("msmt17_val", "train", "test", "val"),
        ("msmt17_v2", "mask_train_v2", "mask_test_v2", "train"),
        ("msmt17_v2_val", "mask_train_v2", "mask_test_v2", "val"),
    ],
)
def test_msmt17_counts_its_people_from_zero_twice(tmp_path: Path, name: str, train: str, test: str, val: str):
    scan = READERS[name].scan(msmt(tmp_path / "MSMT17_V1", train, test).parent)
    assert told(scan, "pid", "camid", "frame", "split") == {
        f"{train}/{TRAIN}": (0, 0, 15, "train"),
        f"{train}/{EXTRA}": (1, 14, 100, "train"),
        f"{train}/{VAL}": (0, 11, 20, val),
        f"{test}/{QUERY}": (10_000, 0, 700, "query"),
        f"{test}/{GALLERY}": (10_000, 2, 701, "gallery"),
    }
    assert scan.notes == (
        f"1 image in {train}/ is in no list, e.g. '0000/unlisted.jpg'",
        f"1 file named in list_gallery.txt is not there, e.g. '{GALLERY[:-5]}9.jpg'",
    )


@pytest.mark.parametrize("name", ["msmt17", "msmt17_val"])
def test_msmt17_without_a_list_for_validation(tmp_path: Path, name: str):
    scan = READERS[name].scan(msmt(tmp_path, without="list_val.txt"))
    assert "there is no list_val.txt" in scan.notes[0]
    assert len(scan.sources) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0000/0000_000_16_0303morning_0015_0.jpg 0", "is not named as in MSMT17"),
        (f"{TRAIN}", "1 fields instead of 2(.|\n)*line 1"),
        (f"{TRAIN} zero", "'zero' is not a whole number"),
        ("../0000_000_01_0303morning_0015_0.jpg 0", "train split is empty"),
    ],
)
def test_msmt17_lists_that_cannot_be(tmp_path: Path, line: str, message: str):
    msmt(tmp_path, without="list_val.txt")
    plant(tmp_path, {"list_train.txt": line, "train/0000/0000_000_16_0303morning_0015_0.jpg": b"x"})
    with pytest.raises(UserError, match=message):
        READERS["msmt17"].scan(tmp_path)


def test_lists_that_are_no_text(tmp_path: Path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_list(tmp_path / "list.txt", fields=1)
    with pytest.raises(UserError, match="No such file"):
        read_list(tmp_path / "nowhere.txt", fields=1)


def deep_change(root: Path) -> Path:
    lines = {
        "train-set": ["P0001_C01_D1_x_000001.jpg,10", "P0001_C17_D2_x_000001.jpg,11"],
        "val-set-query": ["P0002_C02_D1_x_000001.jpg,12"],
        "val-set-gallery": ["P0002_C02_D1_x_000001.jpg,13"],
        "test-set-query": ["P0003_C03_D1_x_000001.jpg,14"],
        "test-set-gallery": ["P0003_C03_D1_x_000002.jpg,15", ""],
    }
    for folder, listed in lines.items():
        plant(root, {f"{folder}-bbox.txt": "\n".join(listed)})
        plant(root / folder, [line.partition(",")[0] for line in listed if line])
    return root


def test_deepchange(tmp_path: Path):
    scan = READERS["deepchange"].scan(deep_change(tmp_path / "DeepChangeDataset").parent)
    assert told(scan, "pid", "camid", "outfit", "tracklet", "split") == {
        "train-set/P0001_C01_D1_x_000001.jpg": (1, 1, 0, 10, "train"),
        "train-set/P0001_C17_D2_x_000001.jpg": (1, 17, 1, 11, "train"),
        "val-set-query/P0002_C02_D1_x_000001.jpg": (2, 2, 2, 12, "val"),
        "val-set-gallery/P0002_C02_D1_x_000001.jpg": (2, 2, 2, 13, "val"),
        "test-set-query/P0003_C03_D1_x_000001.jpg": (3, 3, 3, 14, "query"),
        "test-set-gallery/P0003_C03_D1_x_000002.jpg": (3, 3, 3, 15, "gallery"),
    }
    assert scan.notes == ()


def test_deepchange_with_a_name_that_cannot_be(tmp_path: Path):
    root = deep_change(tmp_path)
    plant(root, {"train-set-bbox.txt": "X1_C1_D1.jpg,1", "train-set/X1_C1_D1.jpg": b"x"})
    with pytest.raises(UserError, match="not named as in DeepChange"):
        READERS["deepchange"].scan(root)


def ccvid(root: Path, gallery: str = "session3/002_01\t002\tu1_l0_s0_c0_a0\n") -> Path:
    plant(root, {"train.txt": "session1/001_01\t001\tu0_l0_s0_c0_a0\nsession2/001_12\t001\tu9_l0_s0_c0_a0\n\n"})
    plant(root, {"query.txt": "session1/002_01\t002\tu0_l0_s0_c0_a0\n", "gallery.txt": gallery})
    plant(root / "session1", ["001_01/00001.jpg", "001_01/00002.jpg", "001_01/Thumbs.db", "002_01/00001.jpg"])
    return plant(root, ["session2/001_12/00007.jpg", "session3/002_01/00001.jpg"])


def test_ccvid_numbers_sequences_and_counts_cameras_on(tmp_path: Path):
    scan = READERS["ccvid"].scan(ccvid(tmp_path / "CCVID").parent)
    assert told(scan, "pid", "camid", "outfit", "tracklet", "frame", "split") == {
        "session1/001_01/00001.jpg": (1, 0, 0, 0, 1, "train"),
        "session1/001_01/00002.jpg": (1, 0, 0, 0, 2, "train"),
        "session2/001_12/00007.jpg": (1, 11, 1, 2, 7, "train"),
        "session1/002_01/00001.jpg": (2, 0, 2, 1, 1, "query"),
        "session3/002_01/00001.jpg": (2, 12, 3, 3, 1, "gallery"),
    }


def test_ccvid_with_sequences_that_are_not_there_or_cannot_be(tmp_path: Path):
    scan = READERS["ccvid"].scan(ccvid(tmp_path / "a", "session3/009_01\t009\tu1\n"))
    assert scan.notes == ("1 file named in the lists is not there, e.g. 'session3/009_01'",)
    with pytest.raises(UserError, match="not named as in CCVID"):
        READERS["ccvid"].scan(ccvid(tmp_path / "b", "../session3/009_01\t009\tu1\n"))


def vehicle_id(root: Path) -> Path:
    plant(root, {"train_test_split/train_list.txt": "0000001 7\n0000002 7\n0000009 7\n"})
    for size in (800, 1600):
        lines = [f"{100 * pid + k:07d} {pid}" for pid in range(1000, 1000 + size // 400) for k in range(4)]
        plant(root, {f"train_test_split/test_list_{size}.txt": "\n".join(lines)})
        plant(root / "image", [f"{line.partition(' ')[0]}.jpg" for line in lines])
    return plant(root, ["image/0000001.jpg", "image/0000002.jpg"])


def test_vehicleid_draws_one_image_a_vehicle(tmp_path: Path):
    scan = READERS["vehicleid_800"].scan(vehicle_id(tmp_path / "VehicleID_V1.0").parent)
    sides = {split: [s.record for s in scan.sources if s.record.split == split] for split in ("query", "gallery")}
    assert [record.pid for record in sides["gallery"]] == [1000, 1001]
    assert sorted(record.pid for record in sides["query"]) == 3 * [1000] + 3 * [1001]
    assert {s.record.camid for s in scan.sources} == {-1}
    assert scan.notes == ("1 file named in train_test_split/train_list.txt is not there, e.g. '0000009.jpg'",)
    more = READERS["vehicleid_1600"].scan(tmp_path)
    drawn = {s.record.origin for s in more.sources if s.record.split == "gallery"}
    assert {record.origin for record in sides["gallery"]} < drawn
    with pytest.raises(UserError, match=r"'train_test_split/test_list_2400\.txt' is missing"):
        READERS["vehicleid_2400"].scan(tmp_path)


def viper(root: Path) -> Path:
    for camera, angle in (("cam_a", 0), ("cam_b", 90)):
        (root / camera).mkdir(parents=True)
        for pid in (1, 2, 91, 873):
            done, data = cv2.imencode(".bmp", pixels(pid + angle, width=48)[:, :, ::-1])
            assert done
            (root / camera / f"{pid:03d}_{angle}.bmp").write_bytes(data.tobytes())
    return plant(root, ["cam_a/Thumbs.db"])


def test_viper_is_halved_and_its_bitmaps_lose_nothing(tmp_path: Path):
    pack("viper", viper(tmp_path / "VIPeR").parent, tmp_path / "out")
    index = open_dataset(tmp_path / "out").index
    people = {split: set(index.pid[index.select(split=split)].tolist()) for split in index.splits}
    assert people["query"] == people["gallery"] == {1, 2, 91, 873} - people["train"]
    assert len(people["train"]) == 2
    assert set(index.camid[index.select(split="query")]) == {0}
    assert set(index.viewid[index.select(split="gallery")]) == {90}
    data = open_dataset(tmp_path / "out")
    for row in range(len(data)):
        assert np.array_equal(data.image(row), pixels(int(index.pid[row] + index.viewid[row]), width=48))
    trials = [Viper(trial=k).scan(tmp_path).sources for k in range(12)]
    halves = {frozenset(s.record.pid for s in sources if s.record.split == "train") for sources in trials}
    assert len(halves) > 3


def test_bitmaps_that_are_none(tmp_path: Path):
    plant(tmp_path, {"a.bmp": jpeg(1), "b.bmp": b"BM and no more"})
    for name in ("a.bmp", "b.bmp"):
        with pytest.raises(Undecodable, match="bitmap"):
            Bitmaps(tmp_path).read(name, 0)


UNLABELLED = [
    "CHINA/Bei jing/v_1/000 (1).jpg",
    "CHINA/Bei jing/v_1/000.JPG",
    "CHINA/b/v/1.jpg",
    "CHINA/b_v/1.jpg",
    "USA/ny--c/v/2.jpeg",
]


def test_luperson_is_listed_without_making_records(tmp_path: Path):
    root = plant(tmp_path / "luperson", [*UNLABELLED, "USA/readme.txt", ".cache/x.jpg"])
    scan = READERS["luperson"].scan(tmp_path)
    assert scan.root == root
    assert [s.record.origin for s in scan.sources] == sorted(UNLABELLED, key=lambda name: name.split("/"))
    assert len(scan.sources) == 5
    assert [scan.sources[i] for i in range(-5, 0)] == list(scan.sources) == scan.sources[:]
    assert len(set(keys(scan))) == 5
    assert set(told(scan, "pid", "camid", "split", "dataset").values()) == {(-1, -1, "train", "luperson")}
    assert scan.notes == ("1 files are no images, e.g. 'USA/readme.txt'",)
    units = plan_units(scan, PackConfig(shard_samples=2))
    assert [unit.name for unit in units] == ["train-000000", "train-000001", "train-000002"]


def test_luperson_packs(tmp_path: Path):
    plant(tmp_path / "in", {name: jpeg(n) for n, name in enumerate(UNLABELLED)})
    card = pack(LuPerson(), tmp_path / "in", tmp_path / "out")
    assert card.counts["train"]["images"] == 5
    assert card.counts["train"]["ids"] == 0
    assert set(open_dataset(tmp_path / "out").index.origin) == set(UNLABELLED)


def test_luperson_where_there_is_nothing(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder"):
        READERS["luperson"].scan(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no images") as caught:
        READERS["luperson"].scan(plant(tmp_path, ["data.mdb"]))
    assert "LMDB" in caught.value.cure


def test_keys_tell_folders_apart():
    paths = ["a/b_c.jpg", "a_b/c.jpg", "a--b_c.jpg", "a/b/c.jpg", "ä/c.jpg", f"{'x' * 95}.jpg"]
    made = [key_in("train", path) for path in paths]
    assert len(set(made)) == len(paths)
    assert made[0] == "train_a--b_c"
    assert all(len(key) <= 90 for key in made)


class Hdf5:
    """Stands for h5py.File where the package is missing: cells hold references, a reference is a position."""

    def __init__(self, path: Path, mode: str):
        assert mode == "r"
        self.items: dict[Any, np.ndarray] = pickle.loads(path.read_bytes())

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.items[key]


def cuhk03(root: Path) -> dict[str, np.ndarray]:
    """`cuhk-03.mat` of one pair of cameras with two people, and the split beside it; returns name -> RGB pixels."""
    images = {(person, k): pixels(10 * person + k, height=64, width=32) for person in (0, 1) for k in (0, 6)}
    items: dict[Any, np.ndarray] = {"detected": np.array([[1]], object)}
    items[1] = np.full((10, 2), 2, object)  # MATLAB's people x 10, reversed; 2 is the empty cell
    items[2] = np.zeros(2, np.uint64)
    for reference, ((person, k), image) in enumerate(images.items(), start=3):
        items[1][k, person] = reference
        items[reference] = np.ascontiguousarray(image.T)
    names = [f"1_{person + 1:03d}_{1 if k < 5 else 2}_{k + 1:02d}.png" for person, k in images]
    (root / "cuhk03_release").mkdir(parents=True)
    (root / "cuhk03_release" / "cuhk-03.mat").write_bytes(pickle.dumps(items))
    split = {"train_idx": [[1], [2]], "query_idx": [[3]], "gallery_idx": [[4]], "labels": [[1], [1], [900], [900]]}
    cells = np.array([[name] for name in names], object)
    savemat(root / "cuhk03_new_protocol_config_detected.mat", {"filelist": cells, **split})
    return dict(zip(names, images.values(), strict=True))


@pytest.fixture
def hdf5(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "h5py", types.SimpleNamespace(File=Hdf5))


@pytest.mark.usefixtures("hdf5")
def test_cuhk03_from_its_matlab_files(tmp_path: Path):
    images = cuhk03(tmp_path / "in")
    scan = READERS["cuhk03_detected"].scan(tmp_path / "in")
    assert keys(scan) == ["train_0001_c1_1", "train_0001_c2_2", "query_0900_c1_3", "gallery_0900_c2_4"]
    assert [s.record.camid for s in scan.sources] == [0, 1, 0, 1]
    pack("cuhk03_detected", tmp_path / "in", tmp_path / "out")
    data = open_dataset(tmp_path / "out")
    for row, origin in enumerate(data.index.origin):
        assert np.array_equal(data.image(row), images[origin.partition("/")[2]])


@pytest.mark.usefixtures("hdf5")
def test_cuhk03_cells_and_workers(tmp_path: Path):
    cuhk03(tmp_path)
    pictures = MatPictures(tmp_path / "cuhk03_release" / "cuhk-03.mat")
    with pytest.raises(Undecodable, match="no picture"):
        pictures.read("detected/1_001_1_02.png", 0)
    again = pickle.loads(pickle.dumps(pictures))
    assert decode(again.read("detected/1_001_1_01.png", 0)).shape == (64, 32, 3)


def test_cuhk03_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    cuhk03(tmp_path)
    with pytest.raises(UserError, match="needs the package h5py") as caught:
        READERS["cuhk03_detected"].scan(tmp_path)
    assert "resight[mat]" in caught.value.cure
    with pytest.raises(UserError, match=r"cuhk03_new_protocol_config_labeled\.mat"):
        READERS["cuhk03_labeled"].scan(tmp_path)


def test_cuhk03_folders_win_over_matlab_files(tmp_path: Path):
    cuhk03(tmp_path)
    plant(tmp_path / "cuhk03-np" / "detected", ["bounding_box_train/0001_c1_1.png", "query/x", "bounding_box_test/x"])
    assert keys(READERS["cuhk03_detected"].scan(tmp_path)) == ["train_0001_c1_1"]


def test_cuhk03_in_real_hdf5(tmp_path: Path):
    """The same through h5py itself, where it is installed."""
    pytest.importorskip("h5py")
    h5py: Any = importlib.import_module("h5py")
    images = cuhk03(tmp_path)
    path = tmp_path / "cuhk03_release" / "cuhk-03.mat"
    items = pickle.loads(path.read_bytes())
    with h5py.File(path, "w") as file:
        for reference in (item for item in items if isinstance(item, int) and item != 1):
            file.create_dataset(f"refs/{reference}", data=items[reference])
        cells = file.create_dataset("refs/1", items[1].shape, dtype=h5py.ref_dtype)
        for place, reference in np.ndenumerate(items[1]):
            cells[place] = file[f"refs/{reference}"].ref
        file.create_dataset("detected", (1, 1), dtype=h5py.ref_dtype)[0, 0] = cells.ref
    for name, image in images.items():
        assert np.array_equal(decode(MatPictures(path).read(f"detected/{name}", 0)), image)


def test_the_guides_own_list(tmp_path: Path):
    """The CSV that the guide shows is one that can be packed."""
    guide = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "own-crops.md").read_text()
    lines = [line.strip() for line in guide.splitlines() if re.fullmatch(r" {4}(path|images/).*", line)]
    plant(tmp_path, [line.partition(",")[0] for line in lines[1:]])
    plant(tmp_path, {"list.csv": "\n".join(lines)})
    scan = READERS["folder"].scan(tmp_path / "list.csv")
    assert [(s.record.pid, s.record.camid, s.record.outfit, s.record.split) for s in scan.sources] == [
        (0, 0, 0, "train"), (0, 1, -1, "train"), (1, 0, 2, "query"), (1, 1, 1, "gallery"), (-1, 1, -1, "gallery"),
    ]  # fmt: skip
