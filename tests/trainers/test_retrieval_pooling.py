"""Tracklets as one mean feature, several images a query, and protocols on a data set on disk."""

import csv
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, silent
from resight.datasets.dataset import Dataset
from resight.datasets.records import Annotations, Record, Sample, Split
from resight.trainers.judging import training_sets
from resight.trainers.methods.method import DataShape
from resight.trainers.recipes import recipe
from resight.trainers.retrieval.judge import judge
from resight.trainers.retrieval.pooling import group_means, make_pooling
from resight.trainers.retrieval.protocol import MARKET1501, NO_CAMERA, find_protocol
from resight.trainers.retrieval.scoring import Scoring
from resight.trainers.retrieval.sides import open_sides
from resight.trainers.retrieval.tables import to_csv, to_markdown
from tests.datasets.making import jpeg, write_dataset


def crop(split: Split, pid: int, camid: int, frame: int, *, outfit: int = -1, tracklet: int = -1) -> Sample:
    key = f"{split}-{pid}-{camid}-{tracklet}-{frame}"
    record = Record(
        key=key, pid=pid, camid=camid, outfit=outfit, tracklet=tracklet, frame=frame, dataset="toy", split=split
    )
    return Sample(record=record, image=jpeg(frame, height=64, width=32), annotations=Annotations())


def tracks(folder: Path) -> Dataset:
    """Six people, each one track of three frames before camera 0, asking, and one of four before camera 1."""
    samples = [crop("query", pid, 0, i, outfit=2 * pid, tracklet=10 * pid) for pid in range(6) for i in range(3)]
    samples += [
        crop("gallery", pid, 1, i, outfit=2 * pid + pid % 2, tracklet=10 * pid + 1)
        for pid in range(6)
        for i in range(4)
    ]
    return write_dataset(samples, folder, name="toy")


@dataclass(frozen=True)
class Stand:
    """The identity with noise that the frames of a track share in opposite directions."""

    noise: float = 0.5

    def embed_dataset(self, dataset: Dataset, rows: np.ndarray, progress: Progress = silent) -> np.ndarray:
        rng = np.random.default_rng(0)
        features = np.eye(8, dtype=np.float32)[dataset.index.pid[rows]]
        return features + self.noise * rng.standard_normal(features.shape).astype(np.float32)


def test_means_of_groups_by_hand() -> None:
    """Group 0 is rows 0 and 2: (1 + 3) / 2 = 2 and (2 + 6) / 2 = 4; group 1 is row 1."""
    features = np.array([[1, 2], [7, 7], [3, 6]], np.float32)
    assert group_means(features, np.array([0, 1, 0])).tolist() == [[2, 4], [7, 7]]


def test_a_tracklet_is_one_entry_with_the_mean_of_its_frames(tmp_path: Path) -> None:
    dataset = tracks(tmp_path)
    rules = find_protocol("tracklets")
    images = open_sides(dataset, rules)
    pooling = make_pooling(images, rules)
    assert len(images.rows) == 6 * 7
    assert len(pooling.sides.query) == len(pooling.sides.gallery) == 6
    features = Stand().embed_dataset(dataset, images.rows)
    found, index = pooling(features), dataset.index
    for place, row in enumerate(pooling.sides.rows):
        of_track = index.tracklet[images.rows] == index.tracklet[row]
        np.testing.assert_allclose(found[place], features[of_track].mean(axis=0), rtol=1e-6)
    assert (index.frame[pooling.sides.rows] == 0).all()


def test_images_without_a_tracklet_stand_alone_and_mixed_ones_are_refused(tmp_path: Path) -> None:
    rules = replace(find_protocol("tracklets"), needs=())
    samples = [crop("query", 1, 0, i) for i in range(3)] + [crop("gallery", 1, 1, i, tracklet=5) for i in range(2)]
    pooling = make_pooling(open_sides(write_dataset(samples, tmp_path / "a"), rules), rules)
    assert (len(pooling.sides.query), len(pooling.sides.gallery)) == (3, 1)
    samples.append(crop("gallery", 2, 1, 7, tracklet=5))
    sides = open_sides(write_dataset(samples, tmp_path / "b"), rules)
    with pytest.raises(UserError, match="tracklet 5 has images with two values of 'pid'") as caught:
        make_pooling(sides, rules)
    assert "gallery image 2" in caught.value.where


def test_multi_query_is_the_mean_before_the_own_camera(tmp_path: Path) -> None:
    """Person 1 before camera 0: two queries and one gallery image; all three make the query, the gallery stays."""
    samples = [crop("query", 1, 0, 0), crop("query", 1, 0, 1), crop("query", 2, 0, 0), crop("query", 3, -1, 0)]
    samples += [crop("gallery", 1, 0, 2), crop("gallery", 1, 1, 0), crop("gallery", 2, 1, 0), crop("gallery", 3, -1, 1)]
    sides = open_sides(write_dataset(samples, tmp_path))
    features = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    found = make_pooling(sides, MARKET1501, multi_query=True)(features)
    pid, camid = (
        np.r_[getattr(sides.query_labels, name), getattr(sides.gallery_labels, name)] for name in ("pid", "camid")
    )
    person = features[(pid == 1) & (camid == 0)]
    assert len(person) == 3
    np.testing.assert_allclose(found[:2], np.repeat(person.mean(axis=0)[None], 2, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(found[2:], features[2:])  # nobody shares their camera, or it is not known
    with pytest.raises(UserError, match="own camera as answers") as caught:
        make_pooling(sides, NO_CAMERA, multi_query=True)
    assert "market1501" in caught.value.cure


def test_judging_by_a_protocol_names_its_rules_everywhere(tmp_path: Path) -> None:
    dataset = tracks(tmp_path / "data")
    found = judge(
        Stand(), dataset, out=tmp_path / "run", protocol=find_protocol("tracklets_changed"), multi_query=True,
        scoring=Scoring(ap="trapezoid", unmatched="count", tie_bounds=True), baselines=True, trained_on=("other",),
    )  # fmt: skip
    result = json.loads((tmp_path / "run/evaluations/toy-tracklets_changed/evaluation.json").read_text())
    assert result == json.loads(json.dumps(found.to_dict()))
    assert result["scoring"] == {"ap": "trapezoid", "unmatched": "count", "seed": 0}
    assert result["features"] == {"flip": False, "multi_query": True, "unit": "tracklet"}
    assert (result["trained_on"], result["cross_domain"]) == (["other"], True)
    assert result["metrics"]["skipped"] == {"all matches dropped by the protocol": 3}  # who wears the same again
    assert result["metrics"]["mAP"] <= 0.5
    assert set(result["metrics"]["tie_bounds"]) == {"mAP", "mINP", "rank1"}
    assert result["interval"]["mAP"][0] <= result["metrics"]["mAP"] <= result["interval"]["mAP"][1]
    table = pq.read_table(tmp_path / "run/evaluations/toy-tracklets_changed/per_query.parquet").to_pydict()
    assert table["ap"][0] == 0
    assert table["first_hit"][0] is None
    assert table["top1"] == found.metrics.top1.tolist()
    summary = found.summary()
    assert summary["protocol"] == "tracklets_changed"
    assert summary["mAP"] == found.metrics.mAP


def test_draws_are_averaged_and_the_first_is_shown(tmp_path: Path) -> None:
    dataset = tracks(tmp_path / "data")
    found = judge(Stand(1.5), dataset, out=tmp_path, protocol=find_protocol("single_shot"), baselines=True)
    folder = tmp_path / "evaluations/toy-single_shot"
    rankings = json.loads((folder / "rankings.json").read_text())
    for entry in rankings:
        assert len({answer["pid"] for answer in entry["results"]}) == len(entry["results"]) == 6
        hits = [answer["correct"] for answer in entry["results"]]
        assert hits.index(True) + 1 == entry["first_hit"]
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["metrics"]["repeats"] == 10
    assert result["metrics"]["spread"]["mAP"]["std"] > 0
    assert found.metrics.ap.mean() == pytest.approx(found.metrics.mAP)
    assert result["baselines"]["chance"]["rank1"] == pytest.approx(1 / 6)


def test_cross_domain_is_told_from_the_same_set_and_from_not_known(tmp_path: Path) -> None:
    dataset = tracks(tmp_path)
    for trained, wanted in ((("toy", "other"), False), (("other",), True), (None, None)):
        found = judge(Stand(), dataset, baselines=False, trained_on=trained)
        assert found.to_dict()["cross_domain"] is wanted
        assert found.to_dict()["trained_on"] == (list(trained) if trained else None)


def test_what_a_network_was_trained_on_is_told_by_its_cameras_or_its_data(tmp_path: Path) -> None:
    lost, there = str(tmp_path / "lost"), tracks(tmp_path / "there").path
    shape = DataShape(num_classes=2, num_cameras=2, height=8, width=4)
    seen = replace(shape, cameras=("market/0", "market/1"))

    def told(sources: tuple[str, ...], shape: DataShape) -> tuple[str, ...] | None:
        config = recipe("strong_baseline", "tiny")
        return training_sets(replace(config, data=replace(config.data, sources=sources)), shape)

    assert told((lost,), seen) == ("market",)
    assert told((f"{there}:2",), shape) == ("toy",)
    assert told((lost, there), seen) is None  # one of them may be anything
    assert told((lost,), shape) is None


def test_a_network_that_says_nothing_is_refused(tmp_path: Path) -> None:
    class Constant(Stand):
        def embed_dataset(self, dataset: Dataset, rows: np.ndarray, progress: Progress = silent) -> np.ndarray:
            return np.ones((len(rows), 4), np.float32)

    with pytest.raises(UserError, match="all 24 gallery features are the same vector") as caught:
        judge(Constant(), tracks(tmp_path))
    assert "collapsed" in caught.value.cure


def test_tables_hold_the_figures_and_the_rules(tmp_path: Path) -> None:
    dataset = tracks(tmp_path)
    found = judge(
        Stand(1.5), dataset, protocol=find_protocol("single_shot"), scoring=Scoring(tie_bounds=True, repeats=3)
    ).to_dict()
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["name"] for row in rows] == ["trained", "chance"]
    assert float(rows[0]["mAP"]) == found["metrics"]["mAP"]
    assert float(rows[0]["mAP_std"]) == found["metrics"]["spread"]["mAP"]["std"]
    assert float(rows[0]["mAP_most"]) == found["metrics"]["tie_bounds"]["mAP"][1]
    assert (rows[0]["protocol"], rows[0]["ap"], rows[0]["flip"], rows[0]["repeats"]) == (
        "single_shot",
        "rectangle",
        "no",
        "3",
    )
    assert rows[0]["cross_domain"] == ""
    text = to_markdown(found)
    assert text.startswith("toy: protocol single_shot, ap rectangle, unmatched skip, unit image, flip no")
    line = next(line for line in text.splitlines() if line.startswith("| trained"))
    assert f"{100 * found['metrics']['mAP']:.1f} ± {100 * found['metrics']['spread']['mAP']['std']:.1f}" in line
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert "mAP over all orders of equal distances" in text
