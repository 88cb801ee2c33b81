"""The report: everything from the run folder, self-contained, and nothing from data runs as markup."""

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.datasets.decode import decode
from resight.trainers.recipes import recipe
from resight.trainers.report.page import summary, write_report
from resight.trainers.report.pictures import HEIGHT, MOST_BYTES, overlay, photo
from resight.trainers.report.plots import MOST_POINTS, cmc_plot, curve_plot, smooth, stack_plot, thinned
from resight.trainers.report.run_view import names_of, read_run
from resight.trainers.report.speed import Price
from resight.trainers.run_folder import RunFolder
from tests.trainers.reports import Page, ranking, steps, write_events, write_maps, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "a <b>run</b>"
    folder = path / "evaluations" / "clothes"
    (folder / "crops").mkdir(parents=True)
    metrics = {"mAP": 0.31, "mINP": 0.1, "rank1": 0.52, "rank5": 0.71, "rank10": 0.8, "queries": 384, "skipped": {}}
    other = {"mAP": 0.06, "mINP": 0.02, "rank1": 0.05, "rank5": 0.2, "rank10": 0.3, "cmc": [0.05, 0.1, 0.2]}
    result = {
        "dataset": "clothes", "protocol": "market1501", "metrics": metrics, "cmc": [0.52, 0.6, 0.71],
        "interval": {"mAP": [0.27, 0.35]},
        "baselines": {
            "chance": {**other, "difference": {"mAP": [0.25, 0.2, 0.3]}},
            "histogram": {**other, "difference": {"mAP": [-0.01, -0.05, 0.03]}},
            "silhouette": {"missing": "the data set has no masks"},
        },
    }  # fmt: skip
    (folder / "evaluation.json").write_text(json.dumps(result))
    rankings = [
        ranking(folder, "q1", 1, "worst", set()),
        ranking(folder, "q2", 2, "worst", {7}),
        ranking(folder, "q3", 3, "best", {0, 1}),
    ]
    (folder / "rankings.json").write_text(json.dumps(rankings))
    counts = {"train": {"images": 10, "ids": 2, "cameras": 4, "outfits": 6}}
    (folder / "dataset.json").write_text(json.dumps({"name": "clothes", "licence": "CC0", "counts": counts}))
    RunFolder(path).write_config(recipe("strong_baseline", "tiny"))
    (path / "environment.json").write_text(json.dumps({"python": "3.11", "cores": 2}))
    write_events(path, steps(200, first=0 + 1))
    with (path / "events.jsonl").open("a") as file:
        file.write('{"event": "st')
    return path


def test_page_is_self_contained_and_escaped(run: Path) -> None:
    html = write_report(run).read_text()
    page = Page(html)
    assert "<b>run</b>" not in html
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*["']""", html.replace('xlink:href="#', 'href="#'))
    assert "script" not in page.tags
    assert [kind for kind, _, _ in page.pictures].count("wrong") == 10 + 9 + 8
    assert [kind for kind, _, _ in page.pictures].count("right") == 3


def test_page_can_be_read_without_seeing(run: Path) -> None:
    html = write_report(run).read_text()
    page = Page(html)
    assert all(text for _, text, _ in page.pictures)
    assert html.count('<svg role="img" aria-label="') == page.tags["svg"]
    assert html.count("<th>") == 0, "every header says whether it is of a row or of a column"
    assert '<html lang="en">' in html
    identifiers = re.findall(r'\bid="([^"]+)"', html)
    assert not {name for name in identifiers if name.startswith(("figure", "axes", "text"))}


def test_page_says_what_is_known(run: Path) -> None:
    html = write_report(run, out=run / "other.html").read_text()
    for text in ("31.0", "27.0 to 35.0", "the data set has no masks", "CC0", "3.3 min"):
        assert text in html, text
    bars = Page(html).tables["bars"]
    assert bars[1][0] == "trained"
    assert bars[2][0::2] == ["chance", "6.0", "+25.0 [+20.0, +30.0]"]
    assert bars[3][0] == "masked colour histogram"
    headings = Page(html).headings
    assert [found.split(" query")[0] for found in headings if "gallery" in found] == ["Worst failures", "Best"]
    for section in ("Training", "Speed and cost", "Data", "How it was made"):
        assert section in headings


def test_same_run_gives_the_same_page(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_a_run_without_results_still_has_a_page(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_config(recipe("strong_baseline", "tiny"))
    html = write_report(tmp_path).read_text()
    assert "resight evaluate" in html
    assert "Speed and cost" not in Page(html).headings


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in this folder"):
        write_report(tmp_path)


def test_changes_from_the_recipe_are_a_table(tmp_path: Path) -> None:
    changed = {"optim.lr": 0.5, "run.keep_last": 7, "augment.erase_area": [0.02, 1 / 3], "data.sources": ["data/x:2"]}
    page = Page(write_report(write_run(tmp_path, ap={}, overrides=changed)).read_text())
    assert page.tables["plain changes"] == [
        ["field", "recipe", "this run"],
        ["augment.erase_area", "[0.02, 0.4]", "[0.02, 0.333333]"],
        ["optim.lr", "0.003", "0.5"],
        ["run.keep_last placement", "2", "7"],
    ]
    assert summary(read_run(tmp_path))["changed"]["optim.lr"] == [0.003, 0.5]


def test_a_run_as_its_recipe_says_so(tmp_path: Path) -> None:
    html = write_report(write_run(tmp_path, ap={})).read_text()
    assert "nothing was changed" in html
    assert "plain changes" not in Page(html).tables


def test_a_recipe_that_is_gone_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path, ap={})
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("recipe: strong_baseline", "recipe: of_yesterday"))
    assert "No recipe is called of_yesterday" in write_report(run).read_text()
    assert summary(read_run(run))["changed"] is None


def test_money_only_at_a_price(run: Path) -> None:
    html = write_report(run).read_text()
    assert "cost at the price given" not in html
    paid = write_report(run, price=Price(per_worker_hour=36.0, currency="EUR")).read_text()
    assert ["cost at the price given", "1.99 EUR"] in Page(paid).tables["plain"]  # 199 s between first and last event
    assert summary(read_run(run), price=Price(per_worker_hour=36.0))["cost"] == pytest.approx(1.99)


def test_validation_is_drawn_where_there_is_one(run: Path) -> None:
    assert "Validation" not in write_report(run).read_text()
    events = [
        {"event": "validate", "time": 150.0, "attempt": 1, "epoch": 1, "step": 50 * k, "mAP": 0.1 * k} for k in (1, 2)
    ]
    write_events(run, [*steps(200), *events])
    assert 'aria-label="Validation over training steps: mAP"' in write_report(run).read_text()


def test_maps_are_shown_beside_their_crops(run: Path) -> None:
    assert not any("Where the network looks" in found for found in Page(write_report(run).read_text()).headings)
    write_maps(run / "evaluations" / "clothes", ["q1", "q3"])
    html = write_report(run).read_text()
    page = Page(html)
    assert any("Where the network looks" in found for found in page.headings)
    assert "Bright &lt;where&gt; it looks." in html
    assert [text for _, text, _ in page.pictures if text.startswith("map of")] == [
        "map of query q1",
        "map of first answer g1_0",
        "map of query q3",
        "map of first answer g3_0",
    ]


def test_a_map_lies_over_its_crop_the_right_way_up(run: Path) -> None:
    folder = run / "evaluations" / "clothes"
    write_maps(folder, ["q1"])
    laid = decode(_bytes(overlay(folder / "crops/q1.jpg", folder / "maps/q1.png"))).astype(int)
    assert laid.shape == (128, 64, 3)
    top, bottom = laid[:32].mean(axis=(0, 1)), laid[-32:].mean(axis=(0, 1))
    assert top[0] > top[2] + 60, "yellow where it looks"
    assert bottom[2] > bottom[1], "violet where it does not"


@pytest.mark.parametrize(("height", "width"), [(700, 300), (300, 700), (192, 96)])
def test_a_large_crop_is_shrunk_into_its_limit(tmp_path: Path, height: int, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    data = _bytes(photo(tmp_path / "a.png"))
    assert len(data) <= MOST_BYTES
    shape = decode(data).shape
    assert max(shape) == HEIGHT
    assert shape[0] / shape[1] == pytest.approx(height / width, rel=0.02)


def test_a_small_crop_keeps_its_bytes(run: Path) -> None:
    crop = run / "evaluations/clothes/crops/q1.jpg"
    assert _bytes(photo(crop)) == crop.read_bytes()


def test_names_tell_runs_apart() -> None:
    assert names_of([Path("/x/runs/a")]) == ["runs/a"]
    assert names_of([Path("/x/runs/a"), Path("/x/runs/b")]) == ["a", "b"]
    assert names_of([Path("/x/one/a"), Path("/x/two/a"), Path("/x/two/b")]) == ["one/a", "two/a", "two/b"]


def test_smooth_is_a_mean_and_skips_what_is_not_a_number() -> None:
    assert smooth([2.0] * 50) == pytest.approx([2.0] * 50)
    assert smooth([1.0, float("nan"), 1.0]) == pytest.approx([1.0, 1.0, 1.0])
    assert min(smooth([0.0] * 100 + [1.0] * 100)[150:]) > 0.9


def test_a_long_line_is_thinned_to_means() -> None:
    where, values = thinned(range(1, 10_001), [float(step % 2) for step in range(10_000)])
    assert len(where) == len(values) == MOST_POINTS
    assert where[-1] == 10_000
    assert values[:-1] == pytest.approx([0.5] * (MOST_POINTS - 1), abs=0.03)
    assert thinned([1, 2, 3], [1.0, float("nan"), 3.0], most=2)[1] == [1.0, 3.0]
    assert thinned([1, 2], [5.0, 6.0]) == ([1.0, 2.0], [5.0, 6.0])


def test_the_page_does_not_grow_with_the_run(run: Path) -> None:
    write_events(run, steps(1_000))
    short = write_report(run).stat().st_size
    write_events(run, steps(20_000))
    assert write_report(run).stat().st_size < 1.1 * short


def test_plots_are_deterministic_svg() -> None:
    lines = {"a": ([1, 2, 3], [3.0, 2.0, 1.0]), "b": ([1, 2], [1.0, 1.0])}
    first = curve_plot("Losses", lines)
    assert first == curve_plot("Losses", lines)
    assert first.startswith("<svg")
    assert "var(--c1)" in first
    assert not re.search("#[0-9a-f]{6}", first), "colours come from the page"
    assert cmc_plot("CMC", {"ours": [0.5, 0.7]}).startswith("<svg")
    assert "forward" in stack_plot("Time", [1, 2], {"data": [0.1, 0.1], "forward": [0.5, 0.4]}, ylabel="s")


def _bytes(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])
