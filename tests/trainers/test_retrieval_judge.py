"""Judging a data set on disk: scores, baselines, pictures, files; with a stand-in for the network."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, Step, silent
from resight.datasets.dataset import Dataset
from resight.datasets.records import Annotations, Record, Role, Sample, Split
from resight.trainers.retrieval import baselines
from resight.trainers.retrieval.evaluation import rule_of
from resight.trainers.retrieval.inputs import unit_features
from resight.trainers.retrieval.judge import judge
from resight.trainers.retrieval.metrics import Metrics, evaluate_distances
from resight.trainers.retrieval.protocol import MARKET1501, NO_CAMERA
from resight.trainers.retrieval.reranking import RerankConfig, check_memory, rerank
from resight.trainers.retrieval.showcase import choose_queries
from resight.trainers.retrieval.sides import answer_rows, open_sides, score_rows
from tests.datasets.making import write_dataset

COLOURS = [(220, 30, 30), (30, 220, 30), (30, 30, 220), (220, 220, 30), (30, 220, 220), (220, 30, 220)]


def person(pid: int, camid: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """A coloured box before the camera's own background; all boxes have one outline."""
    image = np.full((64, 32, 3), 40 + 60 * camid, np.uint8)
    mask = np.zeros((64, 32), np.uint8)
    mask[8 + frame : 56, 8:24] = 255
    image[mask > 0] = COLOURS[pid % 6]
    return image, mask


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def crop(split: Split, pid: int, camid: int, frame: int, *, role: Role = "person", masked: bool = True) -> Sample:
    image, mask = person(pid, camid, frame)
    record = Record(
        key=f"{split}-{role}-{pid}-{camid}-{frame}",
        pid=pid,
        camid=camid,
        outfit=pid,
        dataset="toy",
        split=split,
        role=role,
    )
    annotations = Annotations(mask=png(mask)) if masked else Annotations()
    return Sample(record=record, image=png(image), suffix="png", annotations=annotations)


def toy(folder: Path, *, masked: bool = True) -> Dataset:
    """Six people on two cameras; a distractor and junk that wear the colours of person 0."""
    samples = [crop("query", pid, 0, 0, masked=masked) for pid in range(6)]
    samples += [crop("gallery", pid, camid, 1, masked=masked) for pid in range(6) for camid in (0, 1)]
    samples += [crop("gallery", 0, 2, 2, role="distractor", masked=masked), crop("gallery", 0, 2, 3, role="junk")]
    return write_dataset(samples, folder, name="toy")


@dataclass(frozen=True)
class Stand:
    """Looks at the identity, with a little noise on people of the gallery; or at nothing."""

    knows: bool = True

    def embed_dataset(self, dataset: Dataset, rows: np.ndarray, progress: Progress = silent) -> np.ndarray:
        progress(Step(task="embed", done=len(rows), total=len(rows)))
        noise = np.random.default_rng(0).standard_normal((len(rows), 8)).astype(np.float32)
        one_hot = np.eye(8, dtype=np.float32)[dataset.index.pid[rows]]
        exact = (dataset.index.split[rows] == "query") | (dataset.index.role[rows] == "distractor")
        return one_hot + np.where(exact, 0, 0.01)[:, None].astype(np.float32) * noise if self.knows else noise


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_everything_is_written(tmp_path: Path) -> None:
    dataset = toy(tmp_path / "data")
    told: list[str] = []

    def note(step: Step) -> None:
        told.append(step.task)

    found = judge(
        Stand(),
        dataset,
        out=tmp_path / "run",
        untrained=lambda: Stand(knows=False),
        checkpoint={"step": 3},
        progress=note,
    )
    folder = tmp_path / "run" / "evaluations" / "toy"
    result = read(folder / "evaluation.json")
    assert result == json.loads(json.dumps(found.to_dict()))
    assert {"dataset": "toy", "protocol": "market1501", "checkpoint": {"step": 3}}.items() <= result.items()
    assert result["data_sha256"] == dataset.card.sha256
    assert result["metrics"]["queries"] == 6
    assert result["metrics"]["rank1"] == 5 / 6  # the distractor passes for person 0
    assert result["interval"]["mAP"][0] < result["metrics"]["mAP"] <= result["interval"]["mAP"][1]
    assert len(result["cmc"]) == 50
    assert list(result["baselines"]) == ["chance", "untrained", "histogram", "silhouette"]
    for entry in result["baselines"].values():
        mean, low, high = entry["difference"]["mAP"]
        assert low <= mean <= high
        assert mean == pytest.approx(result["metrics"]["mAP"] - entry["mAP"])
    assert result["baselines"]["histogram"]["rank1"] >= 5 / 6  # colours: the distractor wears person 0's
    assert result["baselines"]["chance"]["difference"]["mAP"][1] > 0
    assert read(folder / "dataset.json")["name"] == "toy"
    assert {"embed", "baseline histogram", "baseline silhouette"} <= set(told)
    assert set(found.seconds) == {"embed", "evaluate", "interval", "baselines"}


def test_rankings_show_what_was_scored(tmp_path: Path) -> None:
    dataset = toy(tmp_path / "data")
    found = judge(Stand(), dataset, out=tmp_path, baselines=False)
    folder = tmp_path / "evaluations" / "toy"
    rankings = read(folder / "rankings.json")
    assert [entry["kind"] for entry in rankings] == ["worst"] * 6
    assert rankings[0]["query"]["key"] == "query-person-0-0-0"
    assert rankings[0]["first_hit"] == 2
    assert [entry["ap"] for entry in rankings] == sorted(entry["ap"] for entry in rankings)
    for entry in rankings:
        keys = [answer["key"] for answer in entry["results"]]
        assert len(keys) == 10
        assert not any("junk" in key for key in keys)
        assert f"gallery-person-{entry['query']['pid']}-0-1" not in keys  # same camera
        hits = [answer["correct"] for answer in entry["results"]]
        assert hits.index(True) + 1 == entry["first_hit"]
        assert [a["distance"] for a in entry["results"]] == sorted(a["distance"] for a in entry["results"])
    distractor = rankings[0]["results"][0]
    assert (distractor["pid"], distractor["correct"]) == (0, False)
    shown = {image["crop"] for entry in rankings for image in [entry["query"], *entry["results"]]}
    assert {f"crops/{path.name}" for path in (folder / "crops").iterdir()} == shown
    stored = bytes(dataset.image_bytes(dataset.index.row_of(distractor["key"])))
    assert (folder / distractor["crop"]).read_bytes() == stored
    assert found.baselines == {}


def test_per_query_table_and_stale_crops(tmp_path: Path) -> None:
    dataset = toy(tmp_path / "data")
    stale = tmp_path / "evaluations" / "toy" / "crops" / "old.jpg"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"old")
    found = judge(Stand(), dataset, out=tmp_path, baselines=False, protocol=NO_CAMERA)
    table = pq.read_table(tmp_path / "evaluations" / "toy" / "per_query.parquet").to_pydict()
    assert table["key"] == [f"query-person-{pid}-0-0" for pid in range(6)]
    assert table["ap"] == found.metrics.ap.tolist()
    assert table["positives"] == [2] * 6
    assert table["ranked"] == [13] * 6
    assert table["skipped"] == [None] * 6
    assert not stale.exists()


def test_baselines_without_masks_say_so(tmp_path: Path) -> None:
    found = judge(Stand(), toy(tmp_path, masked=False), baselines=True).baselines
    assert "no mask" in found["histogram"]["missing"]
    assert "no mask" in found["silhouette"]["missing"]
    assert "fresh weights" in found["untrained"]["missing"]
    assert found["chance"]["mAP"] > 0


def test_a_data_set_without_a_gallery_is_refused(tmp_path: Path) -> None:
    dataset = write_dataset([crop("train", 1, 0, 0), crop("query", 1, 0, 0)], tmp_path)
    with pytest.raises(UserError, match="no split 'gallery', it has: train, query"):
        judge(Stand(), dataset)


def test_skipped_queries_are_in_the_table_and_not_in_the_pictures(tmp_path: Path) -> None:
    samples = [crop("query", pid, 0, 0) for pid in (0, 1, 5)] + [crop("gallery", pid, 1, 1) for pid in (0, 1, 2)]
    found = judge(Stand(), write_dataset(samples, tmp_path / "data", name="few"), out=tmp_path)
    folder = tmp_path / "evaluations" / "few"
    table = pq.read_table(folder / "per_query.parquet").to_pydict()
    assert table["skipped"] == [None, None, "identity not in the gallery"]
    assert table["ap"][2] is None
    assert found.metrics.skipped == {"identity not in the gallery": 1}
    assert {entry["query"]["pid"] for entry in read(folder / "rankings.json")} == {0, 1}
    assert "NaN" not in (folder / "evaluation.json").read_text()


def metrics_with(ap: list[float]) -> Metrics:
    base = evaluate_distances(np.zeros((len(ap), 1)), [0] * len(ap), [0], [0] * len(ap), [1])
    return replace(base, ap=np.array(ap), reason=np.where(np.isnan(ap), 2, 0).astype(np.int8))


def test_chosen_queries_are_worst_first_once_each() -> None:
    rng = np.random.default_rng(0)
    ap = rng.random(200)
    ap[17] = np.nan
    pids = rng.integers(0, 50, 200)
    chosen = choose_queries(metrics_with(cast("list[float]", ap.tolist())), pids, seed=0)
    queries = [query for _, query in chosen]
    assert len(set(queries)) == len(queries) == 24
    assert 17 not in queries
    kinds = {kind: [query for one, query in chosen if one == kind] for kind in ("worst", "random", "best")}
    assert [len(group) for group in kinds.values()] == [12, 6, 6]
    assert queries[0] == int(np.nanargmin(ap))
    assert kinds["best"][0] == int(np.nanargmax(ap))
    assert len(set(pids[kinds["worst"]].tolist())) == 12
    assert chosen != choose_queries(metrics_with(cast("list[float]", ap.tolist())), pids, seed=1)


def test_networks_are_shown_the_same_random_queries() -> None:
    rng = np.random.default_rng(0)
    pids = rng.integers(0, 50, 400)
    shown = [
        {query for _, query in choose_queries(metrics_with(cast("list[float]", rng.random(400).tolist())), pids)}
        for _ in range(5)
    ]
    assert len(set.intersection(*shown)) >= 6


@pytest.mark.parametrize("make", baselines.MASKED.values())
def test_masked_features_do_not_see_the_background(make: Callable[..., np.ndarray]) -> None:
    image, mask = person(2, 0, 0)
    other, _ = person(2, 1, 0)
    np.testing.assert_array_equal(make(image, mask), make(other, mask))
    assert not make(image, np.zeros_like(mask)).any()


def test_histogram_is_a_distribution_by_stripe() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (61, 30, 3)).astype(np.uint8)
    found = baselines.histogram(image, np.full((61, 30), 255, np.uint8))
    assert found.shape == (768,)
    np.testing.assert_allclose((found.reshape(6, 128) ** 2).sum(axis=1), 1, rtol=1e-5)
    turned = baselines.histogram(image[::-1], np.full((61, 30), 255, np.uint8))
    assert (found != turned).any()


def test_silhouette_has_length_one() -> None:
    image, mask = person(1, 0, 0)
    found = baselines.silhouette(image, mask)
    assert found.shape == (2048,)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_what_is_reranked_says_so_and_shows_what_was_scored(tmp_path: Path) -> None:
    dataset, config = toy(tmp_path / "data"), RerankConfig(k1=4, k2=2, weight=0.4)
    found = judge(Stand(), dataset, out=tmp_path, reranking=config, untrained=lambda: Stand(knows=False))
    folder = tmp_path / "evaluations" / "toy"
    result = read(folder / "evaluation.json")
    assert result["rerank"] == {"k1": 4, "k2": 2, "weight": 0.4}
    assert rule_of(result) == "market1501, re-ranked (k1 4, k2 2, weight 0.4)"
    sides = open_sides(dataset)
    features = unit_features(Stand().embed_dataset(dataset, sides.rows))
    final = rerank(features[:6], features[6:], config)
    query, gallery = sides.query_labels, sides.gallery_labels
    metrics = evaluate_distances(final, query.pid, gallery.pid, query.camid, gallery.camid)
    assert found.metrics.mAP == metrics.mAP
    plain = judge(Stand(), dataset, baselines=False)
    assert rule_of(plain.to_dict()) == "market1501"
    for entry in read(folder / "rankings.json"):
        asked = sides.query.tolist().index(dataset.index.row_of(entry["query"]["key"]))
        shown = [sides.gallery.tolist().index(dataset.index.row_of(answer["key"])) for answer in entry["results"]]
        assert [answer["distance"] for answer in entry["results"]] == final[asked, shown].tolist()
    unknown = answer_rows(Stand(knows=False).embed_dataset(dataset, sides.rows), sides, config)
    assert result["baselines"]["untrained"]["mAP"] == score_rows(unknown, sides, MARKET1501).mAP


def test_a_ranking_that_does_not_fit_into_memory_is_refused_first() -> None:
    with pytest.raises(UserError, match=r"11659 queries x 82161 gallery images takes 4\.\d GiB of memory, 2\.0 GiB"):
        check_memory(11659, 82161, 768, 2 << 30)
    check_memory(11659, 82161, 768, 8 << 30)
