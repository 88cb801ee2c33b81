"""`resight report` for one run and for several, and what the terminal says of zeros."""

import json
from pathlib import Path

import pytest

from resight.cli.app import run
from resight.cluster.progress import Step
from resight.terminal import ProgressView
from tests.trainers.reports import Page, steps, write_events, write_run

AP = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    paths = [write_run(tmp_path / name, ap={"clothes": AP}, shown=[0]) for name in ("a", "b")]
    for path in paths:
        write_events(path, steps(5))
    return [str(path) for path in paths]


def test_one_run(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", runs[0], "--price", "900", "--currency", "EUR"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == Path(runs[0]) / "report.html"
    assert ["cost at the price given", "1.00 EUR"] in Page(path.read_text()).tables["plain"]
    assert run(["report", runs[0], "--json", "--price", "900"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(path)
    assert told["cost"] == pytest.approx(1.0)
    assert told["evaluations"]["clothes"]["mAP"] == pytest.approx(0.45)


def test_two_runs(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["report", *runs]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "compare-a-b.html"
    assert Page(path.read_text()).headings[0].split() == ["a", "and", "b"]
    assert run(["report", *runs, "--out", "x.html", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(tmp_path / "x.html")
    assert told["evaluations"]["clothes"]["b"]["difference"]["mAP"] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["{a}", "{a}"], "given twice"),
        (["{a}", "{none}"], "no run in this folder"),
        (["{none}"], "no run in this folder"),
        (["{a}", "--price", "-1"], "is not a price"),
        (["{a}", "--currency", "EUR"], "needs a price"),
    ],
)
def test_mistakes(
    runs: list[str], tmp_path: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [word.format(a=runs[0], none=tmp_path) for word in words]
    assert run(["report", *filled]) == 2
    assert problem in " ".join(capsys.readouterr().err.split())


def test_no_run_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report"]) == 2
    assert "no run is given" in capsys.readouterr().err


def test_progress_shows_zeros_and_leaves_out_what_is_absent(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressView() as view:
        view(Step(task="train", done=4, total=4, unit="steps", facts={"epoch": 0, "loss": 0.0}))
        view(Step(task="pack", done=4, total=4))
    train, pack = capsys.readouterr().err.splitlines()
    assert train.startswith("train: 4/4 steps")
    assert train.endswith("epoch 0  loss 0")
    assert pack.rstrip().endswith("in 0s")
