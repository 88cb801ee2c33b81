"""Judging after re-ranking, against the dense float64 reference; refusals, files, tables and the page."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from resight.cluster.errors import UserError
from resight.cluster.progress import Progress, silent
from resight.datasets.dataset import Dataset
from resight.datasets.records import Annotations, Record, Role, Sample, Split
from resight.trainers.recipes import recipe
from resight.trainers.report.page import summary, write_report
from resight.trainers.report.run_view import read_run
from resight.trainers.retrieval import blocks
from resight.trainers.retrieval.judge import judge
from resight.trainers.retrieval.pooling import make_pooling
from resight.trainers.retrieval.protocol import MARKET1501, PROTOCOLS, find_protocol
from resight.trainers.retrieval.reranked import check_reranking
from resight.trainers.retrieval.reranking import RerankConfig, check_memory, rerank, reranked_rows
from resight.trainers.retrieval.scoring import Scoring
from resight.trainers.retrieval.sides import open_sides
from resight.trainers.retrieval.tables import to_csv, to_markdown
from resight.trainers.run_folder import RunFolder
from tests.datasets.making import jpeg, write_dataset
from tests.reference import neighbourhoods, retrieval
from tests.trainers.reports import Page

CONFIG = RerankConfig(k1=8, k2=3, weight=0.4)
PEOPLE = 9


def crop(split: Split, pid: int, camid: int, frame: int, *, role: Role = "person") -> Sample:
    record = Record(
        key=f"{split}-{role}-{pid}-{camid}-{frame}",
        pid=pid,
        camid=camid,
        tracklet=100 * pid + 10 * camid,
        frame=frame,
        dataset="toy",
        split=split,
        role=role,
    )
    return Sample(record=record, image=jpeg(frame, height=64, width=32), annotations=Annotations())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Nine people: two queries by camera 0, two gallery images by each of cameras 0, 1, 2; distractors and junk."""
    samples = [crop("query", pid, 0, frame) for pid in range(PEOPLE) for frame in (0, 1)]
    samples += [crop("gallery", pid, camid, frame) for pid in range(PEOPLE) for camid in (0, 1, 2) for frame in (0, 1)]
    samples += [crop("gallery", 0, 3, frame, role="distractor") for frame in range(4)]
    samples += [crop("gallery", 0, 4, frame, role="junk") for frame in range(6)]
    return write_dataset(samples, tmp_path_factory.mktemp("data"), name="toy")


@dataclass(frozen=True)
class Stand:
    """The identity and the camera with so much noise that neighbours can help. What is no person is like person 0."""

    noise: float = 0.3

    def embed_dataset(self, dataset: Dataset, rows: np.ndarray, progress: Progress = silent) -> np.ndarray:
        index, rng = dataset.index, np.random.default_rng(3)
        features = np.eye(PEOPLE + 5, dtype=np.float32)[index.pid[rows]]
        features += 0.5 * np.eye(PEOPLE + 5, dtype=np.float32)[PEOPLE + index.camid[rows]]
        return features + self.noise * rng.standard_normal(features.shape).astype(np.float32)


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)


def parts(dataset: Dataset) -> tuple[np.ndarray, Any, Any]:
    """Features at length 1, queries first, and the labels of both sides, in the data set's order."""
    sides = open_sides(dataset)
    return unit(Stand().embed_dataset(dataset, sides.rows)), sides.query_labels, sides.gallery_labels


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("protocol", ["market1501", "no_camera"])
def test_scores_are_those_of_the_reference(dataset: Dataset, protocol: str) -> None:
    """Junk takes part in neighbourhoods, and the rules leave images out afterwards, as in the published evaluation."""
    found = judge(Stand(), dataset, protocol=find_protocol(protocol), rerank=CONFIG, baselines=False)
    features, query, gallery = parts(dataset)
    count = len(query)

    def scored(distances: np.ndarray, kept: np.ndarray) -> dict[str, Any]:
        lists = (query.pid.tolist(), gallery.pid[kept].tolist(), query.camid.tolist(), gallery.camid[kept].tolist())
        return retrieval.evaluate(distances, *lists, same_camera=protocol == "market1501")

    every = np.ones(len(gallery), bool)
    final = neighbourhoods.rerank(features[:count], features[count:], CONFIG.k1, CONFIG.k2, CONFIG.weight)
    wanted = scored(final, every)
    assert found.reranked is not None
    metrics = found.reranked.metrics
    np.testing.assert_allclose(metrics.ap, wanted["ap"], rtol=1e-12)
    np.testing.assert_allclose(metrics.inp, wanted["inp"], rtol=1e-12)
    np.testing.assert_array_equal(metrics.ranked, wanted["ranked"])
    plain = scored(1 - features[:count] @ features[count:].T, every)
    np.testing.assert_allclose(found.metrics.ap, plain["ap"], rtol=1e-12)
    gain = found.reranked.gain["mAP"]
    assert gain.mean == pytest.approx(np.mean(wanted["ap"]) - np.mean(plain["ap"]))
    assert gain.low < gain.mean < gain.high
    kept = gallery.pid != -1
    without = neighbourhoods.rerank(features[:count], features[count:][kept], CONFIG.k1, CONFIG.k2, CONFIG.weight)
    assert not np.allclose(scored(without, kept)["ap"], wanted["ap"]), "the case must have something to tell"


def test_a_tracklet_is_one_member_of_neighbourhoods(dataset: Dataset) -> None:
    rules = find_protocol("tracklets")
    found = judge(Stand(), dataset, protocol=rules, rerank=CONFIG, baselines=False)
    sides = open_sides(dataset, rules)
    features = Stand().embed_dataset(dataset, sides.rows)
    means, labels = [], []
    for rows, start in ((sides.query, 0), (sides.gallery, len(sides.query))):
        track = dataset.index.tracklet[rows]
        _, first = np.unique(track, return_index=True)
        groups = [start + np.flatnonzero(track == track[at]) for at in sorted(first)]
        means.append(unit(np.stack([features[group].mean(axis=0) for group in groups])))
        labels.append([group[0] - start for group in groups])
    final = neighbourhoods.rerank(means[0], means[1], CONFIG.k1, CONFIG.k2, CONFIG.weight)
    query, gallery = sides.query_labels.take(np.array(labels[0])), sides.gallery_labels.take(np.array(labels[1]))
    lists = (query.pid.tolist(), gallery.pid.tolist(), query.camid.tolist(), gallery.camid.tolist())
    assert found.reranked is not None
    np.testing.assert_allclose(found.reranked.metrics.ap, retrieval.evaluate(final, *lists)["ap"], rtol=1e-12)


def test_queries_that_share_a_feature_are_one_member(dataset: Dataset) -> None:
    """With several images a query, both queries of a person have one feature, and would crowd its neighbourhood."""
    found = judge(Stand(), dataset, multi_query=True, rerank=CONFIG, baselines=False)
    sides = open_sides(dataset)
    raw = Stand().embed_dataset(dataset, sides.rows)
    query, gallery = sides.query_labels, sides.gallery_labels
    pid, camid = np.r_[query.pid, gallery.pid], np.r_[query.camid, gallery.camid]
    people = list(dict.fromkeys(query.pid.tolist()))
    mean = unit(np.stack([raw[(pid == one) & (camid == 0)].mean(axis=0) for one in people]))
    final = neighbourhoods.rerank(mean, unit(raw[len(query) :]), CONFIG.k1, CONFIG.k2, CONFIG.weight)
    final = final[[people.index(one) for one in query.pid.tolist()]]
    lists = (query.pid.tolist(), gallery.pid.tolist(), query.camid.tolist(), gallery.camid.tolist())
    assert found.reranked is not None
    np.testing.assert_allclose(found.reranked.metrics.ap, retrieval.evaluate(final, *lists)["ap"], rtol=1e-12)


def test_distances_come_in_blocks_and_of_some_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    features = unit(np.random.default_rng(0).standard_normal((90, 6))).astype(np.float32)
    whole = rerank(features[:30], features[30:], CONFIG)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 60 * 7)
    rows = reranked_rows(features, 30, CONFIG)
    heights = [(first, block.shape) for first, block in rows.blocks()]
    assert heights == [(first, (6, 60)) for first in range(0, 30, 6)]
    np.testing.assert_allclose(np.concatenate([block.copy() for _, block in rows.blocks()]), whole, atol=1e-6)
    chosen = np.array([17, 3, 3, 29])
    some = np.concatenate([block.copy() for _, block in rows.take(chosen).blocks()])
    np.testing.assert_allclose(some, whole[chosen], atol=1e-6)


def test_a_gallery_that_is_drawn_is_refused_before_anything_is_embedded(dataset: Dataset) -> None:
    class Never(Stand):
        def embed_dataset(self, dataset: Dataset, rows: np.ndarray, progress: Progress = silent) -> np.ndarray:
            raise AssertionError("embedded")

    with pytest.raises(UserError, match="'single_shot' draws which images answer") as caught:
        judge(Never(), dataset, protocol=find_protocol("single_shot"), rerank=CONFIG)
    assert "market1501" in caught.value.cure


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_defined_or_refused(dataset: Dataset, name: str) -> None:
    """Those that publish several draws are those that are refused."""
    rules, pooling = find_protocol(name), make_pooling(open_sides(dataset), MARKET1501)
    if rules.repeats > 1:
        with pytest.raises(UserError, match="draws which images answer"):
            check_reranking(CONFIG, pooling, rules)
    else:
        check_reranking(CONFIG, pooling, rules)


def test_more_neighbours_than_images_are_refused(dataset: Dataset) -> None:
    others = len(open_sides(dataset).rows) - 1
    with pytest.raises(UserError, match=f"k1 is {others + 1}, but an image has {others} others") as caught:
        judge(Stand(), dataset, rerank=RerankConfig(k1=others + 1))
    assert caught.value.where == "--rerank-k1"
    assert f"use {others} or less" in caught.value.cure
    assert judge(Stand(), dataset, rerank=RerankConfig(k1=others), baselines=False).reranked is not None


@pytest.mark.parametrize("values", [{"k1": 0}, {"k2": 0}, {"k1": 4, "k2": 6}, {"weight": 1.5}, {"weight": np.nan}])
def test_settings_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"{list(values)[-1]} is"):
        RerankConfig(**values)


def test_only_the_matrix_needs_room_for_all_pairs() -> None:
    """MSMT17 with 768 dimensions."""
    check_memory(11659, 82161, 768, 2 << 30)
    with pytest.raises(UserError, match=r"11659 queries x 82161 gallery images takes 4\.\d GiB of memory, 2\.0 GiB"):
        check_memory(11659, 82161, 768, 2 << 30, whole=True)
    with pytest.raises(UserError, match="are free"):
        check_memory(11659, 82161, 768, 256 << 20)


def test_files_and_page_hold_both_results(dataset: Dataset, tmp_path: Path) -> None:
    RunFolder(tmp_path).write_config(recipe("strong_baseline", "tiny"))
    found = judge(Stand(0.5), dataset, out=tmp_path, rerank=CONFIG)
    again, folder = found.reranked, tmp_path / "evaluations" / "toy"
    assert again is not None
    result = read(folder / "evaluation.json")
    assert result["metrics"]["mAP"] == found.metrics.mAP
    assert {"k1": 8, "k2": 3, "weight": 0.4, "mAP": again.metrics.mAP}.items() <= result["reranked"].items()
    assert result["reranked"]["gain"]["mAP"][0] == pytest.approx(again.metrics.mAP - found.metrics.mAP)
    assert result["baselines"]["chance"]["difference"]["mAP"][0] == pytest.approx(
        found.metrics.mAP - result["baselines"]["chance"]["mAP"]
    )
    table = pq.read_table(folder / "per_query.parquet").to_pydict()
    assert table["ap"] == found.metrics.ap.tolist()
    assert table["reranked_ap"] == again.metrics.ap.tolist()
    page = Page(write_report(tmp_path).read_text())
    rows = {row[0]: row[1:] for row in page.tables["plain reranked"][1:]}
    assert rows["mAP"][:2] == [f"{100 * found.metrics.mAP:.1f}", f"{100 * again.metrics.mAP:.1f}"]
    assert rows["mAP"][2].startswith(f"{100 * again.gain['mAP'].mean:+.1f} [")
    assert [row[0] for row in page.tables["bars"][1:4]] == ["trained", "re-ranked", "chance"]
    assert any(heading.startswith("What re-ranking changed most") for heading in page.headings)
    assert summary(read_run(tmp_path))["evaluations"]["toy"]["reranked"]["mAP"] == again.metrics.mAP
    judge(Stand(), dataset, out=tmp_path, baselines=False)
    assert "reranked" not in read(folder / "evaluation.json")
    assert read(folder / "reranked.json") == []
    assert "plain reranked" not in Page(write_report(tmp_path).read_text()).tables


def test_changes_shown_are_the_largest_and_what_was_scored(dataset: Dataset, tmp_path: Path) -> None:
    found = judge(Stand(0.5), dataset, out=tmp_path, rerank=CONFIG, baselines=False)
    folder = tmp_path / "evaluations" / "toy"
    changes = read(folder / "reranked.json")
    assert found.reranked is not None
    gain = found.reranked.metrics.ap - found.metrics.ap
    shown = {kind: [one for one in changes if one["kind"] == kind] for kind in ("gained", "lost")}
    assert all(1 <= len(group) <= 3 for group in shown.values()), "the case must have something to tell"
    for kind, group in shown.items():
        change = [one["reranked"]["ap"] - one["plain"]["ap"] for one in group]
        assert change[0] == pytest.approx(gain.max() if kind == "gained" else gain.min())
        assert np.abs(change).tolist() == sorted(np.abs(change).tolist(), reverse=True)
        assert len({one["query"]["pid"] for one in group}) == len(group)
    sides = open_sides(dataset)
    features = unit(Stand(0.5).embed_dataset(dataset, sides.rows))
    final = neighbourhoods.rerank(features[: len(gain)], features[len(gain) :], CONFIG.k1, CONFIG.k2, CONFIG.weight)
    place = {str(dataset.index.key[row]): at for rows in (sides.query, sides.gallery) for at, row in enumerate(rows)}
    for one in changes:
        asked = final[place[one["query"]["key"]]]
        for answer in one["reranked"]["results"]:
            assert answer["distance"] == pytest.approx(asked[place[answer["key"]]], abs=1e-5)
        for ranking in (one["plain"], one["reranked"]):
            answers = ranking["results"]
            assert not any(
                "junk" in answer["key"] or (answer["camid"] == 0 and answer["correct"]) for answer in answers
            )
            hits = [answer["correct"] for answer in answers]
            assert (hits.index(True) + 1 if True in hits else 11) == min(ranking["first_hit"], 11)
            assert all((folder / answer["crop"]).is_file() for answer in answers)
            distances = [answer["distance"] for answer in answers]
            assert distances == sorted(distances)


def test_tables_hold_both_results(dataset: Dataset) -> None:
    found = judge(Stand(), dataset, rerank=CONFIG, scoring=Scoring(tie_bounds=True)).to_dict()
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [row["name"] for row in rows] == ["trained", "re-ranked", "chance"]
    assert (rows[1]["rerank_k1"], rows[1]["rerank_k2"], rows[1]["rerank_weight"]) == ("8", "3", "0.4")
    assert float(rows[1]["mAP_gain"]) == found["reranked"]["gain"]["mAP"][0]
    assert float(rows[1]["mAP_most"]) == found["reranked"]["tie_bounds"]["mAP"][1]
    assert (rows[0]["rerank_k1"], rows[0]["mAP_gain"]) == ("", "")
    text = to_markdown(found)
    assert f"| re-ranked | {100 * found['reranked']['mAP']:.1f} |" in text
    assert "re-ranked (k1 8, k2 3, weight 0.4) against plain" in text
    assert "re-ranked mAP over all orders of equal distances" in text
    assert "re-ranked" not in to_markdown(judge(Stand(), dataset).to_dict())
