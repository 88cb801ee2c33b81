"""Other people's tars: read as WebDataset reads them, and never trusted, never silently short."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from webdataset.compat import WebDataset
from webdataset.writer import TarWriter

from resight.cluster.errors import UserError
from resight.cluster.progress import Step
from resight.datasets.check import check
from resight.datasets.decode import decode
from resight.datasets.tar_scan import scan_tar
from resight.datasets.tars import find_tars, open_tars
from tests.datasets.making import encoded, jpeg, pixels

SMALL = {"height": 32, "width": 16}


def tar_of(path: Path, members: list[tuple[str, bytes]], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1234.5  # a float time makes a pax header for each member
            tar.addfile(info, io.BytesIO(data))
    return path


def samples(count: int, *, first: int = 0) -> list[tuple[str, bytes]]:
    return [(f"s{first + n:04d}.jpg", jpeg(first + n, **SMALL)) for n in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three tars by the stock writer, with JSON, PNG, folders in names, and a member nobody here knows."""
    for number in range(3):
        name = tmp_path / "tars" / f"part-{number:03d}.tar"
        name.parent.mkdir(exist_ok=True)
        with TarWriter(str(name)) as writer:
            for n in range(4):
                key = f"deep/er/{number}_{n}"
                seed = 10 * number + n
                picture = {"png": encoded(pixels(seed, **SMALL), "PNG")} if n == 3 else {"jpg": jpeg(seed, **SMALL)}
                writer.write({"__key__": key, **picture, "json": {"camid": number, "pid": n - 1}, "txt": "hello"})
    return tmp_path / "tars"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its file to the collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_samples_are_those_that_webdataset_reads(folder: Path) -> None:
    dataset = open_tars(str(folder))
    stock = [sample for tar in find_tars(str(folder)) for sample in WebDataset(str(tar), shardshuffle=False)]
    assert len(dataset) == len(stock) == 12
    for row, sample in enumerate(stock):
        image = sample.get("jpg") or sample["png"]
        assert bytes(dataset.image_bytes(row)) == image
        assert (dataset.image(row) == decode(image)).all()
        assert dataset.index.key[row] == sample["__key__"].replace("/", "_")
        known = json.loads(sample["json"])
        assert (dataset.index.pid[row], dataset.index.camid[row]) == (known["pid"], known["camid"])
    assert (dataset.index.height == 32).all()
    assert dataset.card.counts["train"]["images"] == 12
    report = check(dataset)
    assert not report.problems


def test_an_index_is_made_once_and_again_when_a_tar_changes(folder: Path, tmp_path: Path) -> None:
    told: list[Step] = []
    first = open_tars(str(folder), cache=tmp_path / "cache", progress=told.append)
    assert [step.done for step in told] == [1, 2, 3]
    assert not (folder / ".resight-index").exists()
    again = open_tars(str(folder), cache=tmp_path / "cache", progress=told.append)
    assert len(told) == 3
    assert again.path == first.path
    tar_of(folder / "part-001.tar", samples(2))
    changed = open_tars(str(folder), cache=tmp_path / "cache", progress=told.append)
    assert changed.path != first.path
    assert len(changed) == 10


def test_tars_are_named_by_folder_braces_and_wildcards(tmp_path: Path) -> None:
    for name in ("a-08", "a-09", "a-10", "b-00"):
        tar_of(tmp_path / f"{name}.tar", samples(1))
    found = {
        text: [path.stem for path in find_tars(f"{tmp_path}/{text}")]
        for text in ("", "a-{08..10}.tar", "{b-00,a-09}.tar", "a-*.tar", "a-0?.tar", "b-00.tar")
    }
    assert found == {
        "": ["a-08", "a-09", "a-10", "b-00"],
        "a-{08..10}.tar": ["a-08", "a-09", "a-10"],
        "{b-00,a-09}.tar": ["b-00", "a-09"],
        "a-*.tar": ["a-08", "a-09", "a-10"],
        "a-0?.tar": ["a-08", "a-09"],
        "b-00.tar": ["b-00"],
    }


def test_equal_names_in_two_folders_stay_apart(tmp_path: Path) -> None:
    for n, name in enumerate(("one", "two")):
        tar_of(tmp_path / name / "shard-0.tar", [("same.jpg", jpeg(n, **SMALL))])
    dataset = open_tars(f"{tmp_path}/{{one,two}}/shard-0.tar", cache=tmp_path / "cache")
    assert [bytes(dataset.image_bytes(row)) for row in (0, 1)] == [jpeg(0, **SMALL), jpeg(1, **SMALL)]
    assert len(set(dataset.index.key)) == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), plain=st.booleans())
def test_a_tar_cut_anywhere_is_refused_by_name(tmp_path: Path, share: float, plain: bool) -> None:
    whole = tar_of(tmp_path / "whole.tar", samples(3), format=tarfile.USTAR_FORMAT if plain else tarfile.PAX_FORMAT)
    with tarfile.open(whole) as tar:
        end = tar.getmembers()[-1].offset_data + 512 * -(-tar.getmembers()[-1].size // 512)
    torn = tmp_path / "torn.tar"
    torn.write_bytes(whole.read_bytes()[: int(share * (end + 512))])
    with pytest.raises(UserError, match=r"truncated|plain tar") as caught:
        scan_tar(torn, shard="torn")
    assert "torn.tar" in caught.value.where


def test_a_header_that_was_overwritten_is_no_end(tmp_path: Path) -> None:
    """`tarfile` takes a broken header, or zeros in its place, for the end of the archive."""
    path = tar_of(tmp_path / "a.tar", samples(3), format=tarfile.USTAR_FORMAT)
    with tarfile.open(path) as tar:
        second = tar.getmembers()[1].offset
    for junk in (b"\xff" * 512, bytes(512)):
        data = bytearray(path.read_bytes())
        data[second : second + 512] = junk
        broken = tmp_path / "broken.tar"
        broken.write_bytes(data)
        with pytest.raises(UserError, match=f"something else at byte {second:,}|should have ended"):
            scan_tar(broken, shard="broken")


def test_two_tars_in_one_file_are_refused(tmp_path: Path) -> None:
    one = tar_of(tmp_path / "one.tar", samples(1))
    (tmp_path / "both.tar").write_bytes(one.read_bytes() * 2)
    with pytest.raises(UserError, match="should have ended"):
        scan_tar(tmp_path / "both.tar", shard="both")


def _special(kind: bytes) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, "elsewhere", 0

    return change


def _named(name: str) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.name = name

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_special(tarfile.SYMTYPE), "link"),
        (_special(tarfile.LNKTYPE), "link"),
        (_special(tarfile.CHRTYPE), "device"),
        (_special(tarfile.FIFOTYPE), "device"),
        (_named("../out.jpg"), "leads out"),
        (_named("/etc/out.jpg"), "leads out"),
        (_named("a\\b.jpg"), "leads out"),
        (_named("a\nb.jpg"), "cannot be printed"),
    ],
)
def test_unsafe_members_are_refused(tmp_path: Path, change: Callable[[tarfile.TarInfo], None], problem: str) -> None:
    data = jpeg(0, **SMALL)
    info = tarfile.TarInfo("a.jpg")
    info.size = len(data)
    change(info)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(info, io.BytesIO(data))
    with pytest.raises(UserError, match=problem) as caught:
        scan_tar(tmp_path / "a.tar", shard="a")
    assert "a.tar" in caught.value.where


def test_sizes_that_lie_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = -512
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    (tmp_path / "a.tar").write_bytes(bytes(head) + bytes(2048))
    with pytest.raises(UserError, match=r"negative|plain tar"):
        scan_tar(tmp_path / "a.tar", shard="a")
    monkeypatch.setattr("resight.datasets.tar_scan.MAX_MEMBER_BYTES", 100)
    with pytest.raises(UserError, match="more than 100"):
        scan_tar(tar_of(tmp_path / "b.tar", samples(1)), shard="b")


def test_compressed_missing_and_absent_tars_are_refused(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", samples(1))
    (tmp_path / "z.tar.gz").write_bytes(b"")
    for text, problem in (("z.tar.gz", "not a plain"), ("b-{0..3}.tar", "4 tars are missing"), ("*.tgz", "no tars")):
        with pytest.raises(UserError, match=problem) as caught:
            find_tars(f"{tmp_path}/{text}")
        assert caught.value.cure
    with pytest.raises(UserError, match="too many tars"):
        find_tars("x-{0..99999999}.tar")
    compressed = tar_of(tmp_path / "c.tar", samples(1))
    with tarfile.open(compressed, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO(b""))
    with pytest.raises(UserError, match="no plain tar"):
        scan_tar(compressed, shard="c")


def test_samples_without_a_usable_image_are_named_and_limited(tmp_path: Path) -> None:
    bad = [
        ("b1.jpg", b"not a picture"),
        ("b2.txt", b"no image"),
        ("b3.jpg", jpeg(1, **SMALL)),
        ("b3.json", b"{"),
        ("b4.jpg", jpeg(2, **SMALL)),
        ("b4.json", b'{"pid": "seven"}'),
        ("b5.jpg", jpeg(3, **SMALL)),
        ("b5.JPG", jpeg(3, **SMALL)),
        ("._b6.jpg", b"what a Mac leaves"),
    ]
    tar_of(tmp_path / "a.tar", [*samples(4), *bad, *samples(4, first=4)])
    with pytest.raises(UserError, match="6 of 14 samples have no usable image"):
        open_tars(str(tmp_path))
    told: list[Step] = []
    dataset = open_tars(str(tmp_path), max_bad_share=0.5, progress=told.append)
    assert told[-1].facts == {"quarantined": 6}
    assert len(dataset) == 8
    reasons = {entry["key"]: entry["reason"] for entry in dataset.card.quarantined}
    words = {"b1": "neither JPEG", "b2": "no image", "b3": "JSON", "b4": "pid is 'seven'", "b5": "same suffix"}
    assert all(word in reasons[key] for key, word in words.items())
    assert np.array_equal(dataset.image(7), decode(jpeg(7, **SMALL)))


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", samples(1))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be kept here") as caught:
        open_tars(str(tmp_path), cache=tmp_path / "file")
    assert "cache" in caught.value.cure
