"""The verbs in one process, on the smallest world: what they print, write and return."""

import csv
import io
import json
from pathlib import Path

import pytest

from resight.cli.app import run
from resight.datasets.decode import decode


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    assert run(["render", "--world", "micro", "--splits", "clothes", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_render_tells_where_and_again_does_nothing(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (world / "clothes" / "dataset.json").stat().st_mtime_ns
    words = ["render", "--world", "micro", "--splits", "clothes", "--out", str(world), "--json"]
    assert run(words) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["clothes"]["counts"]["train"]["ids"] == 16
    assert "render clothes" in told.err
    assert (world / "clothes" / "dataset.json").stat().st_mtime_ns == before


def test_preview_is_a_picture_a_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["render", "--world", "micro", "--splits", "base,style", "--preview", "--out", str(tmp_path)]
    assert run(words) == 0
    lines = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.stem for path in lines] == ["base", "style", "people", "shapes"]
    heights = [decode(path.read_bytes()).shape[0] for path in lines]
    assert heights == [8 * 128, 8 * 128, 8 * 128, 5 * 192]


def test_no_workers_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", "--out", str(tmp_path), "--workers", "0"]) == 2
    assert "--workers" in capsys.readouterr().err


def test_data_check_counts_and_finds_no_fault(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(world / "clothes")]) == 0
    told = capsys.readouterr().out
    assert "no problems found" in told
    assert "gallery" in told
    assert run(["data", "check", str(world / "clothes"), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["sound"]


def test_data_check_says_what_is_wrong(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    broken = Path(shutil.copytree(world / "clothes", tmp_path / "broken"))
    shard = broken / "shards" / "train-000000.tar"
    data = bytearray(shard.read_bytes())
    data[5000:5200] = bytes(200)
    shard.write_bytes(data)
    assert run(["data", "check", str(broken), "--quiet"]) == 1
    assert "train-000000" in capsys.readouterr().out


def test_data_list_names_every_reader(capsys: pytest.CaptureFixture[str]) -> None:
    from resight.datasets.readers import READERS

    assert run(["data", "list"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in READERS)
    assert "4,180,243" in told
    assert run(["data", "list", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert list(known) == sorted(READERS)
    assert known["market1501"]["sizes"]["query"] == {"images": 3368, "ids": 750, "tracklets": None}


def test_pack_says_what_it_left_aside_and_check_repeats_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.datasets.making import jpeg

    names = ("train/001_1_c1_000001.png", "train/001_2_c2_000001.png", "query/x.txt", "test/002_1_c1_000001.png")
    for number, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    words = [str(tmp_path / "out"), "--sheet", str(tmp_path / "deep" / "sheet.png"), "--quiet"]
    assert run(["pack", "ltcc", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert "1 other file in query/, e.g. 'x.txt'" in capsys.readouterr().err
    assert run(["data", "check", *words]) == 0
    told = capsys.readouterr().out
    assert all(text in told for text in ("images by camera", "outfits worn", "published 9,576", "x.txt"))
    assert decode((tmp_path / "deep" / "sheet.png").read_bytes()).shape == (132 + 4, 72 + 4, 3)


def test_data_sheet_draws_people(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "sheet", str(world / "clothes"), "--out", str(tmp_path / "deep/sheet.png"), "--ids", "3"]
    assert run([*words, "--per-id", "4", "--split", "train"]) == 0
    assert decode(Path(capsys.readouterr().out.strip()).read_bytes()).shape[0] > 3 * 128
    assert run([*words, "--per-id", "400", "--split", "train"]) == 2
    assert "nobody" in capsys.readouterr().err


def test_a_folder_that_is_no_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "check", str(tmp_path)]) == 2
    assert "dataset.json" in capsys.readouterr().err


def test_doctor_lists_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--folder", str(tmp_path)])
    told = capsys.readouterr().out
    assert code == (1 if "fail" in told.split() else 0)
    assert "memory" in told
    assert run(["doctor", "--folder", str(tmp_path), "--json"]) == code
    assert {"name", "status", "detail", "cure"} == set(json.loads(capsys.readouterr().out)["checks"][0])


def test_train_without_a_folder_for_the_run(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "strong_baseline", "--size", "tiny", "--data", str(world / "clothes")]) == 2
    assert "--out" in capsys.readouterr().err


def test_train_with_a_recipe_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "strong_baselin", "--out", "x"]) == 2
    assert "did you mean 'strong_baseline'?" in capsys.readouterr().err


def test_a_run_can_be_started_from_a_config_file(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from resight.trainers.config import dump_yaml, with_overrides
    from resight.trainers.recipes import recipe

    quick = {"run.epochs": 1, "model.width": 4, "sampler.steps_per_epoch": 2}
    (tmp_path / "mine.yaml").write_text(dump_yaml(with_overrides(recipe("strong_baseline", "tiny"), quick)))
    out = tmp_path / "run"
    words = ["train", "--config", str(tmp_path / "mine.yaml"), "--data", str(world / "clothes"), "--out", str(out)]
    assert run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["finished"]
    assert Path(told["checkpoint"]).name == "0001-0000002"
    assert run(["evaluate", str(out), "--data", str(world / "clothes"), "--baselines"]) == 0
    assert "feature map" in json.loads((out / "evaluations/clothes/maps.json").read_text())["legend"]
    table = capsys.readouterr().out
    assert all(name in table for name in ("trained", "chance", "untrained", "histogram", "silhouette"))
    _judged_by_other_rules(["evaluate", str(out), "--data", str(world / "clothes"), "--quiet"], out, capsys)


def _judged_by_other_rules(words: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every choice of the verb reaches the findings, and findings by other rules have a folder of their own."""
    assert run([*words, "--protocol", "clothes_changed", "--flip", "--ap", "trapezoid", "--format", "csv"]) == 0
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (row["protocol"], row["ap"], row["flip"]) == ("clothes_changed", "trapezoid", "yes")
    assert row["cross_domain"] == "no"
    told = json.loads((out / "evaluations/clothes-clothes_changed/evaluation.json").read_text())
    assert float(row["mAP"]) == told["metrics"]["mAP"]
    assert told["trained_on"] == ["clothes"]
    assert run([*words, "--protocol", "single_shot", "--repeats", "3", "--unmatched", "count", "--tie-bounds"]) == 0
    shown = capsys.readouterr().out
    assert "mean of 3 draws" in shown
    assert "mAP over all orders of equal distances" in shown
    assert run([*words, "--multi-query", "--format", "markdown"]) == 0
    assert "multi_query yes" in capsys.readouterr().out
    _reranked(words, out, capsys)


def _reranked(words: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every setting reaches the findings, beside the plain result; what cannot be done exits 2 with its cure."""
    chosen = ["--rerank-k1", "6", "--rerank-k2", "2", "--rerank-weight", "0.5"]
    assert run([*words, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert run([*words, "--rerank", *chosen, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    again = told.pop("reranked")
    assert told == plain
    assert (again["k1"], again["k2"], again["weight"]) == (6, 2, 0.5)
    assert again["gain"]["mAP"][0] == pytest.approx(again["mAP"] - plain["mAP"])
    found = json.loads((out / "evaluations/clothes/evaluation.json").read_text())
    assert found["reranked"]["mAP"] == again["mAP"]
    assert run([*words, "--rerank", *chosen]) == 0
    table = " ".join(capsys.readouterr().out.split())
    assert f"re-ranked {100 * again['mAP']:.1f}" in table
    assert "re-ranked (k1 6, k2 2, weight 0.5) against plain" in table
    for mistake, cure in (
        (chosen, "add --rerank"),
        (["--rerank", "--rerank-k1", "999999"], "or less"),
        (["--rerank", "--rerank-k2", "22"], "use 21 or less"),
        (["--rerank", "--rerank-weight", "-0.1"], "0 to 1"),
        (["--rerank", "--protocol", "single_shot"], "leave --rerank out"),
    ):
        assert run([*words, *mistake]) == 2
        assert cure in " ".join(capsys.readouterr().err.split())
    assert run([*words, "--multi-query", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["features"] == {"flip": False, "multi_query": True, "unit": "image"}
    assert 0 <= told["mAP"] <= 1
    assert run([*words, "--json", "--format", "csv"]) == 2
    assert "two formats" in capsys.readouterr().err
    assert run([*words, "--protocol", "vehicleid_800"]) == 2
    told = capsys.readouterr().err
    assert all(word in told for word in ("the published one 800", "protocol 'vehicleid_800'", "test list"))
