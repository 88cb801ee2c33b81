"""Readers of data sets whose folders are splits and whose names say the rest, on trees with the archives' traps."""

from pathlib import Path

import pytest

from resight.cluster.errors import UserError
from resight.datasets.readers import READERS
from tests.datasets.test_readers import MARKET
from tests.datasets.trees import keys, plant, told

ABOVE = "0007_c3s1 (ü)*[a-z]+? 日本"
"""A folder above the data that looks like a name and like a pattern."""


def test_market_with_half_a_million_more(tmp_path: Path):
    plant(tmp_path / "Market-1501-v15.09.15", [*MARKET, "images/0000_c3s1_000001_00.jpg", "images/d 7.jpg", "images/x"])
    assert len(READERS["market1501"].scan(tmp_path).sources) == 9
    scan = READERS["market1501_500k"].scan(tmp_path)
    got = told(scan, "pid", "camid", "role", "split", "dataset")
    assert len(got) == 11
    assert got["images/0000_c3s1_000001_00.jpg"] == (0, 2, "distractor", "gallery", "market1501_500k")
    assert got["images/d 7.jpg"] == (0, -1, "distractor", "gallery", "market1501_500k")
    assert scan.notes == ("1 other file in images/, e.g. 'x'",)


def test_market_without_the_distractors_that_were_asked_for(tmp_path: Path):
    with pytest.raises(UserError, match="'images' is missing"):
        READERS["market1501_500k"].scan(plant(tmp_path, MARKET))


@pytest.mark.parametrize(("name", "folder"), [("dukemtmc", "DukeMTMC-reID"), ("occluded_duke", "Occluded_Duke")])
def test_duke(tmp_path: Path, name: str, folder: str):
    plant(
        tmp_path / ABOVE / folder,
        [
            "bounding_box_train/0001_c2_f0046182.jpg",
            "bounding_box_train/0001_c8_f0046302.JPG",
            "bounding_box_train/0001_c9_f0046302.jpg",  # there are eight cameras
            "bounding_box_train/-1_c1_f0046302.jpg",  # and no junk
            "query/0005_c2_f0046985.jpg",
            "bounding_box_test/0005_c2_f0046985.jpg",  # Occluded-Duke: a query that is in the gallery too
            "bounding_box_test/7140_c5_f0182254.jpg",  # nobody's query
            "train.list",
            "query.list",
            "gallery.list",
        ],
    )
    scan = READERS[name].scan(tmp_path / ABOVE)
    assert told(scan, "pid", "camid", "frame", "split", "role", "dataset") == {
        "bounding_box_train/0001_c2_f0046182.jpg": (1, 1, 46182, "train", "person", name),
        "bounding_box_train/0001_c8_f0046302.JPG": (1, 7, 46302, "train", "person", name),
        "query/0005_c2_f0046985.jpg": (5, 1, 46985, "query", "person", name),
        "bounding_box_test/0005_c2_f0046985.jpg": (5, 1, 46985, "gallery", "person", name),
        "bounding_box_test/7140_c5_f0182254.jpg": (7140, 4, 182254, "gallery", "person", name),
    }
    assert keys(scan)[2:4] == ["query_0005_c2_f0046985", "gallery_0005_c2_f0046985"]
    assert [note[:46] for note in scan.notes] == ["2 images in bounding_box_train/ are not named "]


@pytest.mark.parametrize("kind", ["detected", "labeled"])
def test_cuhk03_folders(tmp_path: Path, kind: str):
    names = ["bounding_box_train/0001_c1_1.png", "query/0003_c1_22.png", "bounding_box_test/0003_c2_14096.png"]
    plant(tmp_path / "cuhk03-np" / kind, [*names, "query/0003_c3_1.png"])
    scan = READERS[f"cuhk03_{kind}"].scan(tmp_path)
    assert told(scan, "pid", "camid", "frame", "split") == {
        names[0]: (1, 0, 1, "train"),
        names[1]: (3, 0, 22, "query"),
        names[2]: (3, 1, 14096, "gallery"),
    }
    assert len(scan.notes) == 1


def test_personx_has_six_cameras_of_two_digits(tmp_path: Path):
    train = [f"bounding_box_train/0012_c{camera}_x_1.jpg" for camera in (3, 4, 8, 10, 11, 12)]
    test = ["query/0200_c3_1.jpg", "bounding_box_test/0200_c12_1.jpg", "bounding_box_test/0200_c1_1.jpg"]
    scan = READERS["personx"].scan(plant(tmp_path / "subset1", train + test).parent)
    got = told(scan, "camid")
    assert [got[name] for name in train] == [(0,), (1,), (2,), (3,), (4,), (5,)]
    assert "1 image in bounding_box_test/" in scan.notes[0]


def test_ltcc_has_the_outfit_before_the_camera(tmp_path: Path):
    plant(
        tmp_path / "LTCC_ReID",
        [
            "train/094_1_c9_015923.png",
            "train/094_2_c12_000001.png",
            "train/095_1_c1_000002.png",
            "query/010_1_c3_000003.png",
            "test/010_1_c4_000004.png",
            "test/010_3_c4_000005.png",
            "test/010_3_c13_000005.png",
            "test/Thumbs.db",
            "info/cloth-change_id_train.txt",
        ],
    )
    scan = READERS["ltcc"].scan(tmp_path)
    assert told(scan, "pid", "camid", "outfit", "frame", "split") == {
        "train/094_1_c9_015923.png": (94, 8, 2, 15923, "train"),
        "train/094_2_c12_000001.png": (94, 11, 3, 1, "train"),
        "train/095_1_c1_000002.png": (95, 0, 4, 2, "train"),
        "query/010_1_c3_000003.png": (10, 2, 0, 3, "query"),
        "test/010_1_c4_000004.png": (10, 3, 0, 4, "gallery"),
        "test/010_3_c4_000005.png": (10, 3, 1, 5, "gallery"),
    }


def test_vc_clothes(tmp_path: Path):
    names = ["train/0001-1-1-1.jpg", "train/0001-3-2-10.jpg", "query/0300-2-1-1.jpg", "gallery/0300-4-2-1.jpg"]
    scan = READERS["vc_clothes"].scan(plant(tmp_path / "VC-Clothes", [*names, "gallery/0300-5-2-1.jpg"]).parent)
    assert told(scan, "pid", "camid", "outfit", "frame", "split") == {
        names[0]: (1, 0, 0, 1, "train"),
        names[1]: (1, 2, 1, 10, "train"),
        names[2]: (300, 1, 2, 1, "query"),
        names[3]: (300, 3, 3, 1, "gallery"),
    }
    assert "1 image in gallery/" in scan.notes[0]


def test_prcc_has_two_kinds_of_queries(tmp_path: Path):
    plant(
        tmp_path / "prcc" / "rgb",
        [
            "train/001/A_cropped_rgb001.jpg",
            "train/001/B_cropped_rgb001.jpg",
            "train/001/C_cropped_rgb012.jpg",
            "train/stray.jpg",  # crashes readers that take every entry for a person
            "val/001/A_cropped_rgb002.jpg",  # the same people as in train
            "test/A/005/cropped_rgb001.jpg",
            "test/A/Thumbs.db",
            "test/A/notes.txt",
            "test/B/005/cropped_rgb001.jpg",
            "test/C/005/cropped_rgb001.jpg",
        ],
    )
    plant(tmp_path / "prcc" / "sketch", ["train/001/A_sketch.jpg"])
    scan = READERS["prcc"].scan(tmp_path)
    assert told(scan, "pid", "camid", "outfit", "frame", "split") == {
        "train/001/A_cropped_rgb001.jpg": (1, 0, 0, 1, "train"),
        "train/001/B_cropped_rgb001.jpg": (1, 1, 0, 1, "train"),
        "train/001/C_cropped_rgb012.jpg": (1, 2, 1, 12, "train"),
        "val/001/A_cropped_rgb002.jpg": (1, 0, 0, 2, "val"),
        "test/A/005/cropped_rgb001.jpg": (5, 0, 2, 1, "gallery"),
        "test/B/005/cropped_rgb001.jpg": (5, 1, 2, 1, "query"),
        "test/C/005/cropped_rgb001.jpg": (5, 2, 3, 1, "query"),
    }
    assert keys(scan)[4:] == [
        "query_B_005--cropped_rgb001", "query_C_005--cropped_rgb001", "gallery_A_005--cropped_rgb001",
    ]  # fmt: skip
    assert scan.notes == (
        "1 image in train/ is not named as in PRCC, e.g. 'stray.jpg'",
        "1 other file in test/A/, e.g. 'notes.txt'",
    )


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("celeb_reid", "Celeb-reID"),
        ("celeb_reid_light", "Celeb-reID-light"),
        ("celeb_reid_blur", "Celeb-reID-blur"),
        ("celeb_reid_light_blur", "Celeb-reID-light-blur"),
    ],
)
def test_celeb_reid_counts_its_people_from_one_twice(tmp_path: Path, name: str, folder: str):
    names = ["train/1_1_0.jpg", "train/632_12_3.jpg", "query/1_2_0.jpg", "gallery/1_34_9.jpg"]
    scan = READERS[name].scan(plant(tmp_path / folder, names).parent)
    assert told(scan, "pid", "camid", "outfit", "frame", "split", "dataset") == {
        names[0]: (1, -1, -1, 1, "train", name),
        names[1]: (632, -1, -1, 12, "train", name),
        names[2]: (10_001, -1, -1, 2, "query", name),
        names[3]: (10_001, -1, -1, 34, "gallery", name),
    }


def test_last_labels_clothes_in_the_training_part_only(tmp_path: Path):
    plant(
        tmp_path / "last",
        [
            "train/000001/000001_00_012_1.jpg",
            "train/000001/000001_00_013_2.jpg",
            "val/query/005001_00_1_1.jpg",
            "val/gallery/005001/005001_00_1_1.jpg",
            "test/query/006000_00_1_1.jpg",
            "test/gallery/006000/006000_00_2_1.jpg",
        ],
    )
    scan = READERS["last"].scan(tmp_path)
    assert told(scan, "pid", "camid", "outfit", "split") == {
        "train/000001/000001_00_012_1.jpg": (1, -1, 0, "train"),
        "train/000001/000001_00_013_2.jpg": (1, -1, 1, "train"),
        "val/query/005001_00_1_1.jpg": (5001, -1, -1, "val"),
        "val/gallery/005001/005001_00_1_1.jpg": (5001, -1, -1, "val"),
        "test/query/006000_00_1_1.jpg": (6000, -1, -1, "query"),
        "test/gallery/006000/006000_00_2_1.jpg": (6000, -1, -1, "gallery"),
    }
    assert scan.notes == ()


def test_veri_has_cameras_of_three_digits_and_finds_queries_again(tmp_path: Path):
    names = {
        "image_train/0001_c001_00016450_0.jpg": (1, 0, 16450, "train"),
        "image_train/0001_c020_00016460_10.jpg": (1, 19, 16460, "train"),
        "image_query/0002_c002_00030600_0.jpg": (2, 1, 30600, "query"),
        "image_test/0002_c002_00030600_0.jpg": (2, 1, 30600, "gallery"),
    }
    root = plant(
        tmp_path / "VeRi", [*names, "image_test/0002_c021_00030600_0.jpg", "image_test/0002_c000_00030600_0.jpg"]
    )
    (root / "train_label.xml").write_bytes('<?xml encoding="gb2312"?>车'.encode("gb2312"))
    scan = READERS["veri776"].scan(tmp_path)
    assert told(scan, "pid", "camid", "frame", "split") == names
    assert "2 images in image_test/" in scan.notes[0]


def test_randperson_counts_cameras_anew_in_every_scene(tmp_path: Path):
    names = {
        "000000_c00_s00_f000264.jpg": (0, 0, 264),
        "000000_c01_s00_f001632.jpg": (0, 1, 1632),
        "000001_c00_s01_f001632.jpg": (1, 2, 1632),
        "007999_c03_s10_f000001.jpg": (7999, 18, 1),
        "007999_s04_c00_f000002.jpg": (7999, 8, 2),  # the order of later archives
    }
    plant(tmp_path / "randperson_subset", [*names, "007999_c03_s11_f000001.jpg"])
    scan = READERS["randperson"].scan(tmp_path)
    got = told(scan, "pid", "camid", "frame")
    assert got == {f"randperson_subset/{name}": labels for name, labels in names.items()}
    assert len(scan.notes) == 1
    assert {source.record.split for source in scan.sources} == {"train"}
    plant(tmp_path / "again" / "randperson_subset" / "randperson_subset", list(names))
    assert len(READERS["randperson"].scan(tmp_path / "again").sources) == 5


NEEDS_FOLDERS = [name for name in READERS if name not in ("folder", "luperson")]


@pytest.mark.parametrize("name", NEEDS_FOLDERS)
def test_a_tree_that_is_another_one(tmp_path: Path, name: str):
    plant(tmp_path, ["a/0001_c1s1_000001_01.jpg", "readme.txt"])
    with pytest.raises(UserError, match="this is not the layout of") as caught:
        READERS[name].scan(tmp_path)
    assert "give the folder that holds" in caught.value.cure


@pytest.mark.parametrize("name", READERS)
def test_every_reader_says_what_it_reads(name: str):
    reader = READERS[name]
    assert reader.name == name
    assert reader.version.startswith(name.partition("_")[0])
    about = reader.about
    assert all([about.title, about.what, about.terms, about.citation])
    images = [size.images for size in about.sizes.values() if size.images is not None]
    if about.images is not None and len(images) == len(about.sizes) > 2:
        assert sum(images) == about.images or name.startswith("msmt17")


def test_versions_differ():
    assert len({reader.version for reader in READERS.values()}) == len(READERS)
