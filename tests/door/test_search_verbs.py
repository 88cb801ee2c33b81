"""`resight embed`, `index`, `search`: from a trained run to a page of pictures, and back to nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import resight
from resight.cli.app import run
from resight.cluster.pool import InProcess
from resight.datasets.dataset import open_dataset
from resight.trainers.gallery import extract
from resight.trainers.gallery.features import read_card
from resight.trainers.load import load_embedder
from tests.datasets.making import crops, jpeg, write_dataset
from tests.door.spoiling import QUICK
from tests.trainers.reports import Page


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, and two data sets: people 20 to 23 by three cameras in a, 30 to 32 in b."""
    home = tmp_path_factory.mktemp("home")
    gallery = crops("gallery", ids=4, per_id=4, first=20)
    write_dataset(
        [*crops("train", ids=5, per_id=4), *crops("query", ids=4, per_id=2, first=20), *gallery], home / "a", name="a"
    )
    write_dataset(crops("gallery", ids=3, per_id=4, first=30), home / "b", name="b")
    assert run(["train", "strong_baseline", "--data", str(home / "a"), "--out", str(home / "run"), *QUICK]) == 0
    for name in "ab":
        words = ["--splits", "gallery", "--out", str(home / f"{name}.parquet"), "--quiet"]
        assert run(["embed", str(home / "run"), "--data", str(home / name), *words]) == 0
    return home


@pytest.fixture
def index(home: Path, tmp_path: Path) -> Path:
    assert run(["index", str(home / "a.parquet"), str(home / "b.parquet"), "--out", str(tmp_path / "people")]) == 0
    return tmp_path / "people"


def told(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    capsys.readouterr()
    assert run(words) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out if code == 0 else said.out + said.err


def test_the_file_holds_every_image_and_where_it_came_from(home: Path) -> None:
    dataset, embedder = open_dataset(home / "a"), load_embedder(home / "run")
    card = read_card(home / "a.parquet")
    assert (card.dataset, card.data, card.data_sha256) == ("a", str(home / "a"), dataset.card.sha256)
    assert (card.splits, card.rows, card.model.dim) == (("gallery",), 16, embedder.dim)
    assert Path(card.model.checkpoint).parent == home / "run/checkpoints"
    with pq.ParquetFile(home / "a.parquet") as file:
        table = file.read()
    rows = np.array([dataset.index.row_of(key) for key in table.column("key").to_pylist()])
    assert sorted(rows.tolist()) == dataset.index.select(split="gallery").tolist()
    for name in ("pid", "camid", "outfit", "frame"):
        assert table.column(name).to_pylist() == getattr(dataset.index, name)[rows].tolist()
    features = np.array(table.column("feature").to_pylist(), np.float32)
    np.testing.assert_array_equal(features, embedder.embed_dataset(dataset, rows))


def test_parts_by_several_workers_are_the_same_and_are_resumed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "PART_ROWS", 64)
    many = crops("gallery", ids=20, per_id=10)
    data = write_dataset(many, tmp_path / "many")
    whole = load_embedder(home / "run").embed_dataset(data, np.argsort(data.index.key.astype(str)))
    out = tmp_path / "many.parquet"
    made = extract.EmbedWork.__call__
    calls: list[str] = []

    def stop_after_two(self: extract.EmbedWork, unit: extract.Unit, scratch: Path) -> extract.Made:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(unit.name)
        return made(self, unit, scratch)

    monkeypatch.setattr(extract.EmbedWork, "__call__", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        extract.embed_data(home / "run", tmp_path / "many", out)
    assert not out.exists()
    monkeypatch.setattr(extract.EmbedWork, "__call__", made)
    steps: list[int] = []
    extract.embed_data(
        home / "run",
        tmp_path / "many",
        out,
        backend=InProcess(workers=2),
        progress=lambda step: steps.append(step.done),
    )
    assert steps[0] == 2
    with pq.ParquetFile(out) as file:
        features = np.array(file.read().column("feature").to_pylist(), np.float32)
    np.testing.assert_array_equal(features, whole)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("many.parquet")] == ["many.parquet"]


def test_a_complete_file_is_left_alone_and_another_is_not_written_over(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (home / "a.parquet").stat().st_mtime_ns
    words = ["embed", str(home / "run"), "--out", str(home / "a.parquet"), "--quiet"]
    said = told([*words, "--data", str(home / "a"), "--splits", "gallery", "--json"], capsys)
    assert json.loads(said)["rows"] == 16
    assert "of other data" in told([*words, "--data", str(home / "b"), "--splits", "gallery"], capsys, 2)
    assert "of other splits" in told([*words, "--data", str(home / "a")], capsys, 2)
    assert (home / "a.parquet").stat().st_mtime_ns == before
    assert "split 'val'" in told([*words, "--data", str(home / "a"), "--splits", "val"], capsys, 2)


def test_an_image_that_cannot_be_read_is_named(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(home / "b", tmp_path / "b")
    shard = next((tmp_path / "b/shards").glob("*.tar"))
    data = bytearray(shard.read_bytes())
    data[600:1200] = bytes(600)
    shard.write_bytes(data)
    words = ["embed", str(home / "run"), "--data", str(tmp_path / "b"), "--out", str(tmp_path / "b.parquet"), "--quiet"]
    said = told(words, capsys, 2)
    assert "cannot be decoded" in said
    assert "gallery-0030-00" in said
    assert not (tmp_path / "b.parquet").exists()


def test_a_picture_finds_itself_and_a_key_finds_others(
    home: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "gallery-0031-02"
    (tmp_path / "photo.jpg").write_bytes(jpeg(31_002))
    words = ["search", str(tmp_path / "photo.jpg"), f"{home}/b:{key}", "--index", str(index), "--top", "28", "--json"]
    found = json.loads(told(words, capsys))["found"]
    by_file, by_key = ([image["key"] for image in query["results"]] for query in found)
    assert by_file[0] == key
    assert found[0]["results"][0] | {"distance": 0, "position": 0} == {
        "key": key, "pid": 31, "camid": 2, "dataset": "b", "distance": 0, "position": 0,
    }  # fmt: skip
    assert by_key == by_file[1:]
    distances = [image["distance"] for image in found[0]["results"]]
    assert distances == sorted(distances)
    assert distances[0] < 1e-4


def test_tables_and_filters(home: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for seed in (1, 2):
        (tmp_path / f"photos/{seed}.jpg").write_bytes(jpeg(seed))
    words = ["search", str(tmp_path / "photos"), "--index", str(index), "--top", "3"]
    said = told([*words, "--where", "camid=2", "dataset=b"], capsys)
    assert said.count("1.jpg") == said.count("2.jpg") == 1
    assert said.count("-02 ") == 6
    assert said.count("gallery-003") == 6


def test_python_finds_what_the_command_finds(
    home: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = open_dataset(home / "a")
    crop = dataset.image(dataset.index.row_of("query-0021-01"))
    found = resight.search(index, resight.load(home / "run").embed([crop]), k=4)
    said = json.loads(
        told(["search", f"{home}/a:query-0021-01", "--index", str(index), "--top", "4", "--json"], capsys)
    )
    assert [answer.image.key for answer in found[0]] == [image["key"] for image in said["found"][0]["results"]]


def test_the_page_shows_pictures(home: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "search",
        f"{home}/a:query-0020-00",
        "--index",
        str(index),
        "--top",
        "5",
        "--page",
        str(tmp_path / "p/x.html"),
    ]
    assert told(words, capsys).strip() == str(tmp_path / "p/x.html")
    html = (tmp_path / "p/x.html").read_text()
    pictures = Page(html).pictures
    assert [figure for figure, _, _ in pictures] == ["query", "", "", "", "", ""]
    assert len({data for _, _, data in pictures}) >= 5
    assert all(data.startswith("data:image/jpeg;base64,") for _, _, data in pictures)
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert "pid 20<br>cam 0" in html


def test_the_page_without_data_says_so(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved, other = tmp_path / "moved", tmp_path / "b"
    shutil.copytree(home / "b", other)
    assert run(["embed", str(home / "run"), "--data", str(other), "--out", str(tmp_path / "b.parquet"), "--quiet"]) == 0
    assert run(["index", str(tmp_path / "b.parquet"), "--out", str(tmp_path / "people")]) == 0
    other.rename(moved)
    words = [
        "search",
        f"{home}/a:query-0020-00",
        "--index",
        str(tmp_path / "people"),
        "--page",
        str(tmp_path / "x.html"),
    ]
    told(words, capsys)
    html = (tmp_path / "x.html").read_text()
    assert len(Page(html).pictures) == 1
    assert "No pictures of <b>b</b>: this data set is not there" in html
    assert html.count("no picture</div>") == 10
    told([*words, "--data", str(moved)], capsys)
    assert len(Page((tmp_path / "x.html").read_text()).pictures) == 11
    write_dataset(crops("gallery", ids=3, per_id=4, first=50), other, name="b")
    told(words, capsys)
    assert "holds other images now" in (tmp_path / "x.html").read_text()


def test_a_search_by_cells_says_how_far_it_looked(
    home: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", f"{home}/a:query-0020-00", "--index", str(index), "--top", "28"]
    exact = json.loads(told([*words, "--json"], capsys))
    assert (exact["approximate"], exact["probed"]) == (False, None)
    assert "28 images in 5 cells" in told(["index", "--cells", "5", "--index", str(index)], capsys)
    made = json.loads(told(["index", "--cells", "auto", "--index", str(index), "--json"], capsys))
    assert (made["images"], made["cells"]) == (28, 20)
    assert json.loads(told([*words, "--json"], capsys)) == exact
    every = json.loads(told([*words, "--probes", "20", "--json"], capsys))
    assert every == {**exact, "probed": {"probes": 20, "cells": 20, "compared": 1, "short": 0}}
    some = json.loads(told([*words, "--probes", "3", "--json"], capsys))
    found = [image["key"] for image in some["found"][0]["results"]]
    assert some["approximate"]
    assert some["probed"]["short"] == 1
    assert len(found) == round(28 * some["probed"]["compared"]) < 28
    assert found == [image["key"] for image in exact["found"][0]["results"] if image["key"] in found]
    told([*words, "--probes", "3", "--page", str(tmp_path / "x.html")], capsys)
    for text in ((tmp_path / "x.html").read_text(), _noted([*words, "--probes", "3"], capsys)):
        assert "approximate: 3 of 20 cells looked into" in text
    assert "exact: 20 of 20 cells looked into, 100% of the images" in _noted([*words, "--probes", "20"], capsys)
    model = resight.load(home / "run")
    query = model.embed_dataset(open_dataset(home / "a"), np.array([0]))
    near = resight.search(index, query, k=2)
    assert resight.search(index, query, k=2, probes=20) == near
    assert set(resight.search(index, query, k=28, probes=3)[0]) < set(resight.search(index, query, k=28)[0])


def _noted(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(words) == 0
    return " ".join(capsys.readouterr().err.split())


def test_a_name_that_is_html_stays_a_name(home: Path, index: Path, tmp_path: Path) -> None:
    photo = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    photo.write_bytes(jpeg(1))
    assert run(["search", str(photo), "--index", str(index), "--page", str(tmp_path / "x.html")]) == 0
    assert "<img src=x" not in (tmp_path / "x.html").read_text()


def test_forgetting_and_checking(home: Path, index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forget = ["index", "--forget", "31", "--index", str(index)]
    assert "4 images forgotten, 24 left" in told(forget, capsys)
    assert "0 images forgotten, 24 left" in told(forget, capsys)
    said = json.loads(told(["index", "--forget-keys", "gallery-0030-00", "--index", str(index), "--json"], capsys))
    assert (said["images"], said["rows"], said["counts"]) == (1, 23, {"gallery-0030-00": 1})
    assert json.loads(told(["index", "--check", "--index", str(index), "--json"], capsys))["sound"]
    path = next((index / "segments").glob("*/vectors.npy"))
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")
    assert "is not what was written" in told(["index", "--check", "--index", str(index)], capsys, 1)


def test_the_model_of_the_index_is_needed(
    home: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ["search", f"{home}/a:query-0020-00", "--index", str(index), "--run"]
    assert "gallery-00" in told([*search, str(home / "run")], capsys)
    manifest = json.loads((index / "index.json").read_text())
    older = sorted((home / "run/checkpoints").iterdir())[-1]
    moved = Path(shutil.copytree(older, tmp_path / "kept" / older.name))
    assert "gallery-00" in told([*search, str(moved)], capsys)
    assert "not here" in told([*search, str(tmp_path)], capsys, 2)
    manifest["model"]["sha256"] = "0" * 64
    (index / "index.json").write_text(json.dumps(manifest))
    assert "model of the index" in told([*search, str(home / "run")], capsys, 2)
    assert "model of the index" in told(search[:-1], capsys, 2)


MISTAKES: dict[str, tuple[Callable[[Path, Path, Path], list[str]], str]] = {
    "no query": (lambda h, i, t: ["search", "--index", str(i)], "nothing to search for"),
    "no index": (lambda h, i, t: ["search", f"{h}/a:query-0020-00", "--index", str(t)], "no gallery index here"),
    "no such key": (lambda h, i, t: ["search", f"{h}/a:nobody", "--index", str(i)], "no sample has the key 'nobody'"),
    "no such file": (lambda h, i, t: ["search", str(t / "x.jpg"), "--index", str(i)], "no such picture"),
    "no such data": (lambda h, i, t: ["search", f"{t}/x:1", "--index", str(i)], "not there"),
    "a data set": (lambda h, i, t: ["search", f"{h}/a", "--index", str(i)], "which of its images"),
    "no pictures": (lambda h, i, t: ["search", str(t), "--index", str(i)], "no pictures in this folder"),
    "no picture": (lambda h, i, t: ["search", f"{h}/a/dataset.json", "--index", str(i)], "neither JPEG nor PNG"),
    "too many": (
        lambda h, i, t: ["search", f"{h}/a:query-0020-00", "--index", str(i), "--top", "99"],
        "99 results were asked for, and the index has 28 images",
    ),
    "a filter": (
        lambda h, i, t: ["search", f"{h}/a:query-0020-00", "--index", str(i), "--where", "cam=1"],
        "did you mean 'camid'?",
    ),
    "no cells": (
        lambda h, i, t: ["search", f"{h}/a:query-0020-00", "--index", str(i), "--probes", "2"],
        "no cells to look into",
    ),
    "cells of nothing": (lambda h, i, t: ["index", "--cells", "99", "--index", str(i)], "has 28 images"),
    "cells and files": (lambda h, i, t: ["index", "x.parquet", "--cells", "9", "--out", str(i)], "one thing to do"),
    "nothing to do": (lambda h, i, t: ["index", "--index", str(i)], "say one thing to do"),
    "two things": (lambda h, i, t: ["index", "--check", "--forget", "1", "--index", str(i)], "say one thing to do"),
    "no out": (lambda h, i, t: ["index", str(h / "a.parquet")], "--out DIR"),
    "both": (lambda h, i, t: ["index", str(h / "a.parquet"), "--out", str(i), "--index", str(i)], "--out DIR"),
    "replace": (lambda h, i, t: ["index", "--check", "--replace", "--index", str(i)], "--replace is for adding"),
    "again": (lambda h, i, t: ["index", str(h / "a.parquet"), "--out", str(i)], "add --replace"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(
    name: str, home: Path, index: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    words, problem = MISTAKES[name]
    assert problem in told(words(home, index, tmp_path_factory.mktemp("empty")), capsys, 2)
