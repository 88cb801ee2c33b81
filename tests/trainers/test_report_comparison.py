"""Runs side by side: the differences are right, what cannot be compared says why, mistakes are told."""

from pathlib import Path

import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.trainers.report.comparison import compare_evaluations, shared_evaluations
from resight.trainers.report.run_view import read_run
from resight.trainers.report.side_by_side import compared_summary, write_comparison
from resight.trainers.report.speed import Price
from tests.trainers.reports import QUERIES, Page, steps, write_events, write_run

A = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
B = [0.1, 0.2, 0.9, 1.0, 0.5, 0.6, 0.8, 0.9]


@pytest.fixture
def a(tmp_path: Path) -> Path:
    path = write_run(tmp_path / "a", ap={"clothes": A, "only_a": A}, shown=range(6))
    write_events(path, steps(20, data_s=0.1, step_s=0.5))
    return path


@pytest.fixture
def b(tmp_path: Path) -> Path:
    changed = {"optim.lr": 0.5, "run.keep_last": 4}
    path = write_run(tmp_path / "b", ap={"clothes": B}, overrides=changed, shown=range(2, 8))
    write_events(path, steps(20, data_s=0.3, step_s=0.5))
    return path


def test_differences_are_paired_by_query(a: Path, b: Path) -> None:
    (found,) = shared_evaluations([read_run(a), read_run(b)])
    assert found.name == "clothes"
    assert found.differences[0] is None
    assert found.differences[1] is not None
    mean, low, high = found.differences[1]["mAP"]
    assert mean == pytest.approx(np.mean(np.array(B) - np.array(A)))
    assert low == pytest.approx(0.0, abs=0.05)  # half of the people gain nothing
    assert low <= mean <= high <= 0.6
    assert found.differences[1]["rank1"][0] == pytest.approx(2 / 8)
    assert found.differences[1]["mINP"][0] == pytest.approx(mean / 2)


def test_a_steady_gain_has_an_interval_above_zero(tmp_path: Path, a: Path) -> None:
    better = write_run(tmp_path / "c", ap={"clothes": [value + 0.1 for value in A]})
    (found,) = shared_evaluations([read_run(a), read_run(better)])
    assert found.differences[1] is not None
    assert found.differences[1]["mAP"] == pytest.approx((0.1, 0.1, 0.1))


def test_queries_that_differ_most_come_first(a: Path, b: Path) -> None:
    (found,) = shared_evaluations([read_run(a), read_run(b)])
    assert [key for key, _ in found.queries][:4] == ["q2", "q3", "q6", "q7"]
    assert found.queries[0][1] == (0.3, 0.9)
    assert found.shown == ["q2", "q3", "q4", "q5"]


def test_the_page_shows_it(a: Path, b: Path, tmp_path: Path) -> None:
    html = write_comparison([a, b], out=tmp_path / "x.html", price=Price(per_worker_hour=3600)).read_text()
    page = Page(html)
    assert page.tables["plain scores"][1:] == [
        ["a", "45.0", "35.0 to 55.0", "45.0", "15.0"],
        ["b", "62.5", "52.5 to 72.5", "62.5", "20.8"],
    ]
    (gaps,) = page.tables["plain differences"][1:]
    assert gaps[0] == "b"
    assert gaps[1].startswith("+17.5 [")
    assert ["optim.lr", "0.003", "0.5"] in page.tables["plain changes"]
    assert ["run.keep_last placement", "2", "4"] in page.tables["plain changes"]
    assert ["waiting for data, share of a step", "20%", "60%"] in page.tables["plain"]
    assert ["cost", "19.00", "19.00"] in page.tables["plain"]
    assert page.tables["plain queries"][1] == ["q2", "30.0", "90.0"]
    shown = [text for kind, text, _ in page.pictures if kind == "query"]
    assert shown == [f"query {key}" for key in ("q2", "q3", "q4", "q5") for _ in (a, b)]
    assert 'aria-label="Loss, weighted sum over training steps: a, b"' in html
    assert "Not every run was judged on only_a" in html
    assert "versions, machine and threads are the same" in html
    assert "script" not in page.tags
    assert html.count("<th>") == 0


def test_the_figures_as_json(a: Path, b: Path) -> None:
    told = compared_summary([read_run(a), read_run(b)])
    assert told["evaluations"]["clothes"]["a"]["difference"] is None
    assert told["evaluations"]["clothes"]["b"]["difference"]["mAP"][0] == pytest.approx(0.175)
    assert told["config"] == {"optim.lr": [0.003, 0.5], "run.keep_last": [2, 4]}
    assert told["environment"] == {}
    assert told["runs"]["b"]["step_s"] == 0.5


def test_environments_and_fields_of_one_kind_only(a: Path, tmp_path: Path) -> None:
    from resight.trainers.config import dump_yaml
    from resight.trainers.recipes import recipe

    other = write_run(tmp_path / "vit", ap={"clothes": B})
    (other / "config.yaml").write_text(dump_yaml(recipe("transreid", "tiny")))
    (other / "environment.json").write_text(
        '{"python": "3.11", "cores": 64, "packages": {"torch": "3.0"}, "workers": 1}'
    )
    page = Page(write_comparison([a, other], out=tmp_path / "x.html").read_text())
    rows = page.tables["plain changes"]
    assert ["model.heads", "", "3"] in rows
    assert ["model.kind", "resnet", "vit"] in rows
    assert ["cores", "2", "64"] in rows
    assert ["packages.torch", "2.14", "3.0"] in rows


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"protocol": "no_camera"}, "another protocol, no_camera"),
        ({"scoring": {"ap": "trapezoid", "unmatched": "skip", "seed": 0}}, "scored in another way"),
        ({"sha": "1" * 64}, "other bytes"),
        ({"keys": [*QUERIES[:-1], "q9"]}, "other queries"),
        ({"ap": {"clothes": [None, *B[1:]]}}, "other queries were skipped"),
    ],
)
def test_what_cannot_be_compared_says_why(a: Path, tmp_path: Path, other: dict[str, object], reason: str) -> None:
    path = write_run(tmp_path / "b", **{"ap": {"clothes": B}, **other})  # pyright: ignore[reportArgumentType]
    html = write_comparison([a, path], out=tmp_path / "x.html").read_text()
    (row,) = Page(html).tables["plain differences"][1:]
    assert row[0] == "b"
    assert reason in row[1]
    assert "not comparable" in row[1]
    told = compared_summary([read_run(a), read_run(path)])["evaluations"]["clothes"]["b"]
    assert reason in told["not_comparable"]
    assert told["difference"] is None


def test_without_results_by_query_there_is_no_difference(a: Path, b: Path) -> None:
    (b / "evaluations/clothes/per_query.parquet").unlink()
    views = tuple(read_run(path).evaluations[0] for path in (a, b))
    found = compare_evaluations(views)
    assert found.reasons == ("", "the results by query are missing; judge it again")
    assert found.queries == []
    assert found.shown == []


def test_three_runs_one_of_which_cannot_be_compared(a: Path, b: Path, tmp_path: Path) -> None:
    foreign = write_run(tmp_path / "c", ap={"clothes": A}, sha="2" * 64)
    rows = Page(write_comparison([a, b, foreign], out=tmp_path / "x.html").read_text()).tables["plain differences"]
    assert rows[1][1].startswith("+17.5")
    assert rows[2] == ["c", "not comparable: judged on other bytes of a data set of this name"]


def test_mistakes_are_told(a: Path, b: Path, tmp_path: Path) -> None:
    elsewhere = write_run(tmp_path / "c", ap={"other": B})
    cases = [
        ([a, a], "given twice"),
        ([a, b, tmp_path / "b" / ".." / "a"], "given twice"),
        ([a, elsewhere], "no evaluation in common"),
        ([a], "cannot be put side by side"),
        ([a, tmp_path], "no run in this folder"),
        ([a, b, *(write_run(tmp_path / f"r{k}", ap={"clothes": A}) for k in range(5))], "7 runs"),
    ]
    for runs, problem in cases:
        with pytest.raises(UserError, match=problem):
            write_comparison(runs, out=tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_same_runs_give_the_same_page(a: Path, b: Path, tmp_path: Path) -> None:
    first, second = (write_comparison([a, b], out=tmp_path / name) for name in ("x.html", "y.html"))
    assert first.read_bytes() == second.read_bytes()
