"""Validation on identities set aside: who asks and answers, the same figures for any number of workers, keep-best."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from resight.cluster.errors import UserError
from resight.datasets.dataset import Dataset
from resight.trainers import checkpoint as checkpoints
from resight.trainers.checkpoint import committed, read_state
from resight.trainers.config import Config
from resight.trainers.engines import open_engine
from resight.trainers.fit import fit
from resight.trainers.judging import judge_run
from resight.trainers.load import find_checkpoint
from resight.trainers.run_folder import RunFolder
from resight.trainers.train import train
from resight.trainers.validation import validation_sides
from resight.trainers.worker import open_data
from tests.datasets.making import crops, write_dataset
from tests.trainers.ranks import Ranks
from tests.trainers.toy import NotedContext, toy_config, with_ddp


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Thirty people, of whom some 12 are set aside: more than one chunk of 64 images."""
    return write_dataset(crops("train", ids=30, per_id=7), tmp_path_factory.mktemp("data") / "made")


def config_of(data: Dataset, **overrides: Any) -> Config:
    few = {"data__sources": [data.path], "data__threads": 1, "data__val_ids": 0.4, "sampler__steps_per_epoch": 2}
    return toy_config(**few | overrides)


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Six epochs, each of them validated."""
    config = config_of(data, run__epochs=6, run__validate_every_epochs=1, run__keep_last=1, optim__lr=0.05)
    return train(config, out=tmp_path_factory.mktemp("run") / "run")


def events(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [event for event in run.events() if event["event"] == kind]


def found_on_rank(config: Config, folder: Path) -> list[dict[str, Any]]:
    rank, world = dist.get_rank(), dist.get_world_size()
    context = NotedContext(folder, rank=rank, world=world)
    with open_data(config, world=world) as loader:
        fit(config, loader, open_engine(config.engine, world=world), context)
    return [event for event in context.events if event["event"] == "validate"]


def test_who_asks_and_who_answers(data: Dataset) -> None:
    """Every identity in every camera asks once; all images answer, and the rule drops the query's own camera."""
    rows = data.index.select(split="train")[:21][::-1]  # three people, seven pictures each, three cameras
    sides, protocol = validation_sides(data, rows)
    assert protocol.name == "market1501"
    assert [data.index.key[row] for row in sides.query[:3]] == ["train-0001-00", "train-0001-01", "train-0001-02"]
    assert (len(sides.query), len(sides.gallery)) == (9, 21)
    assert sides.query_labels.pid.tolist() == data.index.pid[sides.query].tolist()


def test_without_cameras_the_first_image_asks(tmp_path: Path) -> None:
    people = [replace(sample, record=replace(sample.record, camid=-1)) for sample in crops("train", ids=3, per_id=4)]
    lonely = write_dataset([*people, *crops("train", ids=1, per_id=1, first=9)], tmp_path / "one")
    sides, protocol = validation_sides(lonely, lonely.index.select(split="train"))
    assert protocol.name == "no_camera"
    assert [str(lonely.index.key[row]) for row in sides.query] == [f"train-000{pid}-00" for pid in (1, 2, 3)]
    assert len(sides.gallery) == 10
    with pytest.raises(UserError, match="no identity that is set aside for validation has two images"):
        validation_sides(lonely, lonely.index.select(split="train")[-1:])


def test_a_share_that_sets_nobody_aside_is_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a share of 0\.0001 sets no identity aside"):
        train(config_of(data, data__val_ids=0.0001), out=tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_validation_is_due_every_so_often_and_at_the_end(data: Dataset, tmp_path: Path) -> None:
    config = config_of(data, run__epochs=5, run__validate_every_epochs=2)
    due = train(config, out=tmp_path / "run")
    assert [event["epoch"] for event in events(due, "validate")] == [2, 4, 5]
    without = train(config_of(data, data__val_ids=0.0, run__epochs=2), out=tmp_path / "without")
    assert events(without, "validate") == []


def test_the_figures_are_those_of_the_checkpoint_judged_later(run: RunFolder, data: Dataset) -> None:
    """An independent look: the saved checkpoint embeds the same rows, and the evaluator is called directly."""
    import resight
    from resight.datasets.sources import open_sources

    (source,) = open_sources([data.path], val_ids=0.4)
    sides, _ = validation_sides(data, source.validation)
    features = resight.load(run.path).embed_dataset(data, sides.rows)
    index, count = data.index, len(sides.query)
    metrics = resight.evaluate(
        features[:count], features[count:], index.pid[sides.query], index.pid[sides.gallery],
        index.camid[sides.query], index.camid[sides.gallery],
    )  # fmt: skip
    last = events(run, "validate")[-1]
    assert last["mAP"] == pytest.approx(metrics.mAP, abs=1e-6)
    assert last["queries"] == count > 20
    assert last["sets"]["made"]["rank1"] == last["rank1"]


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_workers_finds_the_same(ranks: Ranks, data: Dataset, tmp_path: Path, world: int) -> None:
    config = config_of(data, run__epochs=1)
    alone = NotedContext(tmp_path / "one")
    with open_data(config, world=1) as loader:
        fit(config, loader, open_engine(config.engine, world=1), alone)
    (wanted,) = [event for event in alone.events if event["event"] == "validate"]
    for found in ranks.run(world, found_on_rank, with_ddp(config), tmp_path / "many"):
        assert len(found) == 1
        assert found[0]["mAP"] == pytest.approx(wanted["mAP"], abs=1e-6)
        assert found[0]["sets"].keys() == wanted["sets"].keys()


def test_validation_leaves_training_as_it_is(run: RunFolder, data: Dataset, tmp_path: Path) -> None:
    config = config_of(data, run__epochs=6, run__validate_every_epochs=6, run__keep_last=1, optim__lr=0.05)
    rarely = train(config, out=tmp_path / "run")
    newest, other = run.latest(), rarely.latest()
    assert newest is not None
    assert other is not None
    assert (newest / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def test_the_best_checkpoint_is_kept_beside_the_newest(run: RunFolder, data: Dataset) -> None:
    scores = {event["epoch"]: event["mAP"] for event in events(run, "validate")}
    assert len(set(scores.values())) > 1, "the case must be able to fail"
    top = max(scores, key=lambda epoch: (scores[epoch], -epoch))
    kept = committed(run.checkpoints)
    assert [read_state(path)["position"]["epoch"] for path in kept] == sorted({top, 6})
    best = run.best()
    assert best is not None
    assert read_state(best)["validation"]["mAP"] == scores[top]
    assert find_checkpoint(run.path, which="best") == best


def test_the_best_is_not_kept_where_nobody_wants_it(tmp_path: Path, run: RunFolder) -> None:
    for number, mean in enumerate((0.5, 0.9, 0.2)):
        folder = tmp_path / f"{number:04d}-{number:07d}"
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps({"validation": {"mAP": mean}}))
        (folder / "manifest.json").write_text("{}")
    assert checkpoints.best(tmp_path) == tmp_path / "0001-0000001"
    checkpoints.prune(tmp_path, keep=1, keep_best=True)
    assert [path.name[:4] for path in committed(tmp_path)] == ["0001", "0002"]
    checkpoints.prune(tmp_path, keep=1, keep_best=False)
    assert [path.name[:4] for path in committed(tmp_path)] == ["0002"]


def test_a_run_that_was_never_validated_has_no_best(data: Dataset, tmp_path: Path) -> None:
    plain = train(config_of(data, data__val_ids=0.0, run__epochs=1), out=tmp_path / "run")
    with pytest.raises(UserError, match="no checkpoint of this run was validated"):
        judge_run(plain.path, Path(data.path), which="best")
