"""Readers on layout-exact trees, with the traps of the real archives."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resight.cluster.errors import UserError
from resight.datasets.readers import READERS, Folder, Market1501
from resight.datasets.readers.rows import Row, assign_splits, key_of, number_names


def touch(root: Path, *names: str, data: bytes = b"x") -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0002_c2s1_000776_01.jpg",
    "bounding_box_train/0007_c3s3_077419_03.JPG",
    "bounding_box_train/Thumbs.db",
    "query/0001_c1s1_001051_00.jpg",
    "query/0003_c2s1_001051_00.jpg",
    "query/Thumbs.db",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
    "bounding_box_test/0000_c6s6_000151_01.jpg",
    "bounding_box_test/0001_c1s1_001051_03.jpg",
    "bounding_box_test/0001_c2s1_000301_02.jpg",
    "gt_bbox/0001_c1s1_001051_00.jpg",
    "gt_query/0001_c1s1_001051_00_good.mat",
    "readme.txt",
)


@pytest.mark.parametrize("above", ["plain", "0007_c3s1", "日本 (ü)*[a-z]+?", "0001_c1s1_000001_01.jpg"])
def test_market(tmp_path: Path, above: str):
    scan = Market1501().scan(touch(tmp_path / above, *MARKET))
    assert [(s.record.key, s.record.pid, s.record.camid, s.record.role) for s in scan.sources] == [
        ("train_0002_c1s1_000451_03", 2, 0, "person"),
        ("train_0002_c2s1_000776_01", 2, 1, "person"),
        ("train_0007_c3s3_077419_03", 7, 2, "person"),
        ("query_0001_c1s1_001051_00", 1, 0, "person"),
        ("query_0003_c2s1_001051_00", 3, 1, "person"),
        ("gallery_-1_c1s1_000401_03", -1, 0, "junk"),
        ("gallery_0000_c6s6_000151_01", 0, 5, "distractor"),
        ("gallery_0001_c1s1_001051_03", 1, 0, "person"),
        ("gallery_0001_c2s1_000301_02", 1, 1, "person"),
    ]
    assert scan.notes == ()
    assert scan.sources[2].record.origin == "bounding_box_train/0007_c3s3_077419_03.JPG"
    assert scan.sources[0].record.frame == 451
    assert {s.size for s in scan.sources} == {1}


def test_market_from_the_folder_above(tmp_path: Path):
    touch(tmp_path / "Market-1501-v15.09.15", *MARKET)
    assert len(Market1501().scan(tmp_path).sources) == 9


@pytest.mark.parametrize(
    "name",
    [
        "0002_c7s1_000451_03.jpg",
        "0002_c12s1_000451_03.jpg",
        "0002_c1s7_000451_03.jpg",
        "0002_c1s1_000451_03.jpg.jpg",
        "0002_c1s1_00451_03.jpg",
        "002_c1s1_000451_03.jpg",
        "x0002_c1s1_000451_03.jpg",
        "0002_c1s1_000451_03.png",
        "-2_c1s1_000451_03.jpg",
        "٠٠٠٢_c1s1_000451_03.jpg",
        "0002_C1S1_000451_03.jpg",
    ],
)
def test_names_that_break_the_grammar_are_counted(tmp_path: Path, name: str):
    scan = Market1501().scan(touch(tmp_path, *MARKET, f"bounding_box_train/{name}"))
    assert len(scan.sources) == 9
    assert scan.notes == (f"1 image in bounding_box_train/ is not named as in Market-1501, e.g. {name!r}",)


def test_strays_are_notes(tmp_path: Path):
    touch(tmp_path, *MARKET, "query/notes.txt", "query/.DS_Store", "query/._0001_c1s1_001051_00.jpg")
    (tmp_path / "query" / "folder.jpg").mkdir()
    assert Market1501().scan(tmp_path).notes == ("1 other file in query/, e.g. 'notes.txt'",)


def test_names_that_are_no_text(tmp_path: Path):
    touch(tmp_path, *MARKET)
    with open(os.fsencode(tmp_path) + b"/query/\xff.jpg", "wb"):
        pass
    assert "query/ is not named" in Market1501().scan(tmp_path).notes[0]


def test_names_that_are_no_text_in_a_folder(tmp_path: Path):
    touch(tmp_path, "train/1_1.jpg")
    with open(os.fsencode(tmp_path) + b"/train/1_2_\xff.jpg", "wb"):
        pass
    scan = Folder().scan(tmp_path)
    assert len(scan.sources) == 1
    assert scan.notes == (r"1 image has a name that says no identity, e.g. 'train/1_2_\udcff.jpg'",)


def test_market_needs_its_folders_and_somebody_to_train(tmp_path: Path):
    with pytest.raises(UserError, match="not the layout of Market-1501"):
        Market1501().scan(touch(tmp_path / "a", "x.jpg"))
    with pytest.raises(UserError, match="no such folder"):
        Market1501().scan(tmp_path / "nowhere")
    with pytest.raises(UserError, match="'query' is missing"):
        Market1501().scan(touch(tmp_path / "b", MARKET[0], MARKET[-4]))
    empty = touch(tmp_path / "c", *MARKET[4:], "bounding_box_train/0001_c1_f0000001.jpg")
    with pytest.raises(UserError, match=r"train split is empty.*1 image in bounding_box_train") as caught:
        Market1501().scan(empty)
    assert "0002_c1s1_000451_03.jpg" in caught.value.cure


def test_keys_that_differ_only_in_case_of_the_suffix(tmp_path: Path):
    touch(tmp_path, *MARKET, "bounding_box_train/0007_c3s3_077419_03.jpg")
    with pytest.raises(UserError, match="same key 'train_0007_c3s3_077419_03'"):
        Market1501().scan(tmp_path)


def test_listing_order_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, *MARKET)
    first = Market1501().scan(tmp_path)
    real = os.scandir

    class Reversed:
        def __init__(self, path: Path):
            self.entries = sorted(real(path), key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert Market1501().scan(tmp_path) == first


def test_folder_with_names(tmp_path: Path):
    touch(tmp_path, "train/0007_c3_1.jpg", "train/7b_12.PNG", "query/anna_1_x.jpeg", "gallery/anna/c2/x y.jpg")
    touch(tmp_path, "train/readme.txt", "train/what.jpg")
    scan = READERS["folder"].scan(tmp_path)
    got = {s.record.origin: (s.record.pid, s.record.camid, s.record.split) for s in scan.sources}
    assert got == {
        "train/0007_c3_1.jpg": (0, 3, "train"),
        "train/7b_12.PNG": (1, 12, "train"),
        "query/anna_1_x.jpeg": (2, 1, "query"),
        "gallery/anna/c2/x y.jpg": (2, 2, "gallery"),
    }
    assert scan.names == {"identities": ("0007", "7b", "anna")}
    assert len(scan.notes) == 2


def test_market_names_and_unlabelled_in_a_folder(tmp_path: Path):
    touch(tmp_path, "train/0002_c1s1_000451_03.jpg", "train/-1_c2s1_000451_03.jpg")
    sources = Folder().scan(tmp_path).sources
    assert [(s.record.pid, s.record.camid) for s in sources] == [(-1, 2), (2, 1)]


def test_split_by_hash_is_disjoint_and_complete(tmp_path: Path):
    touch(tmp_path, *(f"{pid:04d}_c{cam}_{k}.jpg" for pid in range(60) for cam in (1, 2) for k in range(3)))
    scan = Folder().scan(tmp_path)
    pids = {
        split: {s.record.pid for s in scan.sources if s.record.split == split}
        for split in ("train", "query", "gallery")
    }
    assert pids["query"] == pids["gallery"]
    assert not pids["train"] & pids["query"]
    assert 15 < len(pids["train"]) < 45
    queries = [s for s in scan.sources if s.record.split == "query"]
    assert len(queries) == 2 * len(pids["query"])
    assert all(s.record.key.endswith("_0") for s in queries)
    fewer = Folder(test_share=0.2).scan(tmp_path)
    assert {s.record.pid for s in fewer.sources if s.record.split == "query"} < pids["query"]


def row_of(pid: str, camera: str = "", number: int = 0) -> Row:
    return Row(path=f"{pid}_{camera}_{number}.jpg", size=1, pid=pid, camera=camera)


rows = st.lists(
    st.builds(row_of, st.sampled_from("abcdef"), st.sampled_from("123"), st.integers(0, 5)),
    min_size=2,
    unique_by=lambda row: row.path,
)


@settings(deadline=None)
@given(rows)
def test_every_query_has_an_answer_in_its_gallery(made: list[Row]):
    if len({row.pid for row in made}) < 2:
        return
    done = assign_splits(made, test_share=0.5, where="")
    sides = {row.pid: {r.split for r in done if r.pid == row.pid} for row in done}
    assert any(splits == {"train"} for splits in sides.values())
    assert all(splits == {"train"} or "train" not in splits for splits in sides.values())
    for row in done:
        if row.split == "query":
            assert any(other.split == "gallery" and other.pid == row.pid for other in done)


def test_adding_a_person_moves_nobody():
    def split(people: list[str]):
        done = assign_splits([row_of(pid) for pid in people], test_share=0.5, where="")
        return {row.pid: row.split == "train" for row in done}

    few = split([str(i) for i in range(50)])
    many = split([str(i) for i in range(80)])
    assert {pid: many[pid] for pid in few} == few


def csv(root: Path, text: str, encoding: str = "utf-8") -> Path:
    touch(root, *(f"im/{n}.jpg" for n in "abcdefgh"))
    path = root / "list.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_csv(tmp_path: Path):
    text = "pid,camid,path,outfit,split,weather\nbo,door,im/a.jpg,red,train,dry\nbo,,im/b.jpg,,train,wet\n"
    text += "-1,door,im/c.jpg,,train,\n"
    scan = Folder().scan(csv(tmp_path, text, "utf-8-sig"))
    got = [(s.record.origin, s.record.pid, s.record.camid, s.record.outfit) for s in scan.sources]
    assert got == [("im/a.jpg", 0, 0, 0), ("im/b.jpg", 0, -1, -1), ("im/c.jpg", -1, 0, -1)]
    assert scan.names == {"identities": ("bo",), "cameras": ("door",)}
    assert scan.notes == ("1 columns are not used: weather",)
    assert scan.root == tmp_path


def test_csv_without_cameras_or_splits(tmp_path: Path):
    lines = "".join(f"{pid},im/{name}.jpg\n" for pid, name in zip("11112222", "abcdefgh", strict=True))
    scan = Folder().scan(csv(tmp_path, "pid,path\n" + lines))
    assert {s.record.camid for s in scan.sources} == {-1}
    assert {split: sum(s.record.split == split for s in scan.sources) for split in ("train", "query", "gallery")} == {
        "train": 4, "query": 1, "gallery": 3,
    }  # fmt: skip


def test_outfits_are_unique_over_people(tmp_path: Path):
    text = "pid,path,outfit,split\n1,im/a.jpg,1,train\n1,im/b.jpg,2,train\n2,im/c.jpg,1,train\n"
    scan = Folder().scan(csv(tmp_path, text))
    assert [s.record.outfit for s in scan.sources] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'pid'"),
        ("pid,path\n", "no rows"),
        ("pid,file\n1,im/a.jpg\n", "no column 'path'"),
        ("pid,path,cam_id\n1,im/a.jpg,2\n", "column 'cam_id' is not known(.|\n)*line 1(.|\n)*'camid'"),
        ("pid,path\n1,im/a.jpg\n2,im/nope.jpg\n", "'im/nope.jpg': No such file(.|\n)*line 3"),
        ("pid,path\n1,im/a.jpg,3\n", "more or fewer fields(.|\n)*line 2"),
        ("pid,path,split\n1,im/a.jpg\n", "more or fewer fields(.|\n)*line 2"),
        ("pid,path,split\n1,im/a.jpg,trian\n", "'trian' is not known(.|\n)*line 2(.|\n)*'train'"),
        ("pid,path\n1,/etc/passwd\n", "not inside(.|\n)*line 2"),
        ("pid,path\n1,im/../../x.jpg\n", "not inside"),
        ("pid,path\n1,\n", "not inside"),
        ("pid,path,split\n1,im/a.jpg,train\n2,im/b.jpg,\n", "some have none(.|\n)*line 3"),
        ("pid,path,split\n1,im/a.jpg,train\n1,im/b.jpg,query\n", "'1' is both(.|\n)*line 3"),
        ("pid,path\n1,im/a.jpg\n1,im/b.jpg\n", "1 identities cannot be divided"),
        ('pid,path\n1,"im/a.jpg\n', "not a CSV"),
        ("pid,path,split\n1,im/a.jpg,train\n1,im/a.jpg,train\n", "same key"),
    ],
)
def test_csv_complaints_name_the_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError) as caught:
        Folder().scan(csv(tmp_path, text))
    assert re.search(message, str(caught.value)), str(caught.value)


def test_csv_that_is_not_utf8(tmp_path: Path):
    with pytest.raises(UserError, match="UTF-8"):
        Folder().scan(csv(tmp_path, "pid,path\nä,im/a.jpg\n", "latin-1"))


def test_folder_that_is_not_there_or_empty(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder"):
        Folder().scan(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no crops"):
        Folder().scan(tmp_path)


def test_numbers_of_names():
    assert number_names({"7", "0012", ""}) == ({"": -1, "0012": 12, "7": 7}, ())
    assert number_names({"7", "07"}) == ({"": -1, "07": 0, "7": 1}, ("07", "7"))
    assert number_names({"b", "7"}) == ({"": -1, "7": 0, "b": 1}, ("7", "b"))


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=120),
        unique=True,
    )
)
def test_keys_are_safe_and_differ(names: list[str]):
    paths = [f"{name}.jpg".lstrip("/") for name in names]
    keys = [key_of(path) for path in set(paths)]
    assert len(set(keys)) == len(keys)
    assert all(
        len(key) <= 90 and set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
        for key in keys
    )
