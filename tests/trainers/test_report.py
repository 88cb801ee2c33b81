"""The report: everything from the run folder, self-contained, and nothing from data runs as markup."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from resight.cluster.errors import UserError
from resight.trainers.recipes import recipe
from resight.trainers.report.page import write_report
from resight.trainers.report.plots import cmc_plot, curve_plot, smooth
from resight.trainers.run_folder import RunFolder


def crop(folder: Path, name: str, seed: int) -> str:
    picture = np.random.default_rng(seed).integers(0, 255, (8, 4, 3), dtype=np.uint8)
    picture = cv2.resize(picture, (64, 128), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / f"crops/{name}.jpg"), picture)
    return f"crops/{name}.jpg"


def ranking(folder: Path, number: int, kind: str, hits: set[int]) -> dict[str, object]:
    query = {"key": f"q{number}", "pid": number, "camid": 0, "outfit": 1, "crop": crop(folder, f"q{number}", number)}
    results = [
        {"key": f"g{number}_{place}", "pid": number if place in hits else 99, "camid": 1, "outfit": 2,
         "distance": 0.3 + 0.05 * place, "correct": place in hits, "crop": crop(folder, f"g{number}_{place}", place)}
        for place in range(10)
    ]  # fmt: skip
    return {"query": query, "ap": 0.1 * len(hits), "first_hit": min(hits, default=30), "results": results, "kind": kind}


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
        ranking(folder, 1, "worst", set()),
        ranking(folder, 2, "worst", {7}),
        ranking(folder, 3, "best", {0, 1}),
    ]
    (folder / "rankings.json").write_text(json.dumps(rankings))
    counts = {"train": {"images": 10, "ids": 2, "cameras": 4, "outfits": 6}}
    (folder / "dataset.json").write_text(json.dumps({"name": "clothes", "licence": "CC0", "counts": counts}))
    RunFolder(path).write_config(recipe("strong_baseline", "tiny"))
    (path / "environment.json").write_text(json.dumps({"python": "3.11", "cores": 2}))
    rng = np.random.default_rng(0)
    lines = [
        {"event": "step", "time": 100.0 + step, "attempt": 1, "rank": 0, "epoch": step // 50, "step": step,
         "losses": {"id": 6.0 / (1 + 0.02 * step) + rng.normal(0, 0.2), "triplet": 2.0 / (1 + 0.01 * step)},
         "total": 8.0 / (1 + 0.02 * step), "lr": 3.5e-4 if step < 150 else 3.5e-5,
         "images_per_s": 600 + rng.normal(0, 9)}
        for step in range(200)
    ]  # fmt: skip
    (path / "events.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + '\n{"event": "st')
    return path


def test_page_is_self_contained_and_escaped(run: Path) -> None:
    page = write_report(run).read_text()
    assert "<b>run</b>" not in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*["']""", page.replace('xlink:href="#', 'href="#'))
    assert "<script" not in page
    assert page.count('class="wrong"') == 10 + 9 + 8
    assert page.count('class="right"') == 3


def test_page_says_what_is_known(run: Path) -> None:
    page = write_report(run, out=run / "other.html").read_text()
    for text in (
        "31.0",
        "27.0 to 35.0",
        "masked colour histogram",
        "the data set has no masks",
        "+25.0",
        "CC0",
        "3.3 min",
    ):
        assert text in page, text
    assert page.index("Worst failures") < page.index("Best")


def test_same_run_gives_the_same_page(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_a_run_without_results_still_has_a_page(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_config(recipe("strong_baseline", "tiny"))
    assert "resight evaluate" in write_report(tmp_path).read_text()


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in this folder"):
        write_report(tmp_path)


def test_smooth_is_a_mean_and_skips_what_is_not_a_number() -> None:
    assert smooth([2.0] * 50) == pytest.approx([2.0] * 50)
    assert smooth([1.0, float("nan"), 1.0]) == pytest.approx([1.0, 1.0, 1.0])
    assert min(smooth([0.0] * 100 + [1.0] * 100)[150:]) > 0.9


def test_plots_are_deterministic_svg() -> None:
    first = curve_plot("Losses", [1, 2, 3], {"a": [3.0, 2.0, 1.0], "b": [1.0, 1.0, 1.0]})
    assert first == curve_plot("Losses", [1, 2, 3], {"a": [3.0, 2.0, 1.0], "b": [1.0, 1.0, 1.0]})
    assert first.startswith("<svg")
    assert cmc_plot("CMC", {"ours": [0.5, 0.7]}).startswith("<svg")
