"""Training from data sets to run folders: here, in processes that are stopped and started again, and under torchrun."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from resight.cluster.errors import UserError
from resight.cluster.progress import Step
from resight.trainers.checkpoint import committed
from resight.trainers.config import Config, dump_yaml
from resight.trainers.load import load_embedder
from resight.trainers.run_folder import RunFolder
from resight.trainers.train import train
from tests.datasets.making import crops, write_dataset
from tests.tracing import untraced
from tests.trainers.toy import toy_config

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("start_training.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people, six pictures each."""
    folder = tmp_path_factory.mktemp("data") / "made"
    write_dataset(crops("train", ids=12, per_id=6), folder)
    return folder


@pytest.fixture(scope="module")
def config(data: Path) -> Config:
    return toy_config(data__sources=[str(data)], data__threads=1)


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two epochs of three steps, undisturbed."""
    return train(config, out=tmp_path_factory.mktemp("whole") / "run")


def totals(run: RunFolder) -> list[float]:
    return [event["total"] for event in run.events() if event["event"] == "step"]


def same_weights(one: RunFolder, other: RunFolder) -> bool:
    paths = [run.latest() for run in (one, other)]
    bytes_of = [(path / "model.safetensors").read_bytes() for path in paths if path]
    return len(bytes_of) == 2 and bytes_of[0] == bytes_of[1]


def start(config: Config, out: Path, *before: str) -> subprocess.Popen[str]:
    file = out.parent / f"{out.name}.yaml"
    file.write_text(dump_yaml(config))
    words = [sys.executable, *before, str(SCRIPT), str(file), str(out)]
    environment = {**untraced(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> int:
    _, complaint = process.communicate(timeout=240)
    assert process.returncode is not None
    if process.returncode > 0:
        raise AssertionError(complaint)
    return process.returncode


def until(held: Callable[[], bool], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_leaves_a_whole_run_folder(whole: RunFolder, config: Config) -> None:
    assert whole.finished
    assert whole.config() == config
    names = {path.name for path in whole.path.iterdir()}
    assert names >= {"config.yaml", "environment.json", "events.jsonl", "metrics.parquet", "checkpoints", "tensorboard"}
    assert [path.name for path in committed(whole.checkpoints)] == ["0001-0000003", "0002-0000006"]
    kinds = [event["event"] for event in whole.events()]
    assert kinds == ["start", *["step"] * 3, "epoch", "checkpoint", *["step"] * 3, "epoch", "checkpoint", "finish"]
    assert pq.read_table(whole.metrics_file).num_rows == 8
    assert not list(whole.path.glob(".tmp*"))


def test_the_network_can_be_loaded_and_used(whole: RunFolder, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 8, 3), dtype=np.uint8)
    embedder = load_embedder(whole.path)
    features = embedder.embed(images)
    assert features.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-6)
    first, last = committed(whole.checkpoints)
    np.testing.assert_array_equal(load_embedder(last).embed(images), features)
    assert np.abs(load_embedder(first).embed(images) - features).max() > 1e-4
    with pytest.raises(UserError, match="no checkpoint here"):
        load_embedder(tmp_path)


def test_a_finished_run_says_so(whole: RunFolder, config: Config) -> None:
    seen: list[Step] = []
    before = whole.events_file().read_bytes()
    assert train(config, out=whole.path, progress=seen.append).finished
    assert [(step.done, step.total, step.facts) for step in seen] == [(6, 6, {"status": "finished before"})]
    assert whole.events_file().read_bytes() == before


def test_paths_and_placement_do_not_make_another_run(whole: RunFolder, config: Config, data: Path) -> None:
    relative = os.path.relpath(data)
    moved = toy_config(data__sources=[relative], data__threads=3, run__keep_last=7, engine__kind="ddp")
    assert train(moved, out=whole.path, resume="must").finished


def test_a_changed_config_is_refused_with_its_diff(whole: RunFolder, data: Path) -> None:
    changed = toy_config(data__sources=[str(data)], optim__lr=0.5, run__keep_last=9)
    with pytest.raises(UserError) as caught:
        train(changed, out=whole.path)
    assert caught.value.problem.endswith("was changed\n    optim.lr: was 0.001, is 0.5")
    assert "another --out" in caught.value.cure


def test_must_and_never(whole: RunFolder, config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run to go on with"):
        train(config, out=tmp_path / "new", resume="must")
    with pytest.raises(UserError, match="holds a run already"):
        train(config, out=whole.path, resume="never")
    assert not (tmp_path / "new").exists()


def test_a_folder_of_something_else_is_left_alone(config: Config, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UserError, match="not a run folder"):
        train(config, out=tmp_path)
    with pytest.raises(UserError, match="not a run folder"):
        train(config, out=tmp_path / "holiday.jpg")


@pytest.mark.parametrize(
    ("changes", "options", "problem"),
    [
        ({"data__sources": ["/nowhere"]}, {}, "nowhere"),
        ({}, {"workers": 0}, "0 workers cannot train"),
        ({}, {"workers": 2}, "need to be started by something"),
        ({}, {"workers": 17, "backend": "ray"}, "17 workers cannot share 16 images"),
        ({"engine__kind": "deepspeed"}, {}, "not there yet"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    data: Path, tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], problem: str
) -> None:
    config = toy_config(**{"data__sources": [str(data)], **changes})
    with pytest.raises(UserError, match=problem):
        train(config, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_progress_and_threads(config: Config, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[Step] = []
    train(config, out=tmp_path / "run", progress=seen.append)
    assert [(step.done, step.total) for step in seen] == [(done, 6) for done in (0, 1, 2, 3, 4, 5, 6, 6)]
    assert torch.get_num_threads() == before


def test_sigterm_saves_and_the_same_command_goes_on(whole: RunFolder, config: Config, tmp_path: Path) -> None:
    """Stop between two steps, wherever that is; the rest in a new process; together bitwise the undisturbed run."""
    run = RunFolder(tmp_path / "run")
    process = start(config, run.path)
    until(lambda: any(event["event"] == "step" for event in run.events()))
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    if not run.finished:
        assert run.latest() is not None
        assert ended(start(config, run.path)) == 0
    assert run.finished
    assert totals(run) == totals(whole)
    assert same_weights(run, whole)


def test_a_killed_run_goes_on_from_its_checkpoint(whole: RunFolder, config: Config, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    process = start(config, run.path)
    until(lambda: run.latest() is not None)
    process.kill()
    ended(process)
    (run.checkpoints / ".tmp-half").mkdir()
    train(config, out=run.path)
    assert run.finished
    assert same_weights(run, whole)
    assert not list(run.checkpoints.glob(".tmp*"))


def test_torchrun_computes_the_same(whole: RunFolder, config: Config, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    assert ended(start(config, run.path, *launcher)) == 0
    assert run.finished
    np.testing.assert_allclose(totals(run), totals(whole), rtol=1e-9)
    assert [event["step"] for event in run.events(rank=1) if event["event"] == "step"] == [1, 2, 3, 4, 5, 6]
