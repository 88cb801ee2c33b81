"""Training on Ray: the same numbers as in one process, whatever happens to workers and driver."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from resight.cluster.progress import Step
from resight.cluster.session import Session
from resight.trainers.config import Config, dump_yaml, with_overrides
from resight.trainers.contexts.context import Notice
from resight.trainers.contexts.in_process import Place
from resight.trainers.contexts.ray_train import RayTrain
from resight.trainers.contexts.recorder import Recorder
from resight.trainers.nonfinite import NonFiniteLoss
from resight.trainers.run_folder import RunFolder
from resight.trainers.signals import StopNote
from resight.trainers.train import train
from tests.datasets.making import crops, write_dataset
from tests.trainers.toy import toy_config

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("start_training.py")
pytestmark = [pytest.mark.timeout(290)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("data") / "made"
    write_dataset(crops("train", ids=12, per_id=6), folder)
    return toy_config(data__sources=[str(folder)], data__threads=1)


def totals(run: RunFolder) -> list[float]:
    """By step, the latest attempt's where one was replayed."""
    found = {event["step"]: event["total"] for event in run.events() if event["event"] == "step"}
    return [found[step] for step in sorted(found)]


def assert_same_curve(one: RunFolder, other: RunFolder) -> None:
    """120 steps: in the end rounding differences have grown, since the hardest pairs decide."""
    np.testing.assert_allclose(totals(one)[:60], totals(other)[:60], rtol=1e-9)
    np.testing.assert_allclose(totals(one), totals(other), rtol=1e-5)


@contextmanager
def meanwhile(act: Callable[[], None]) -> Generator[None]:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    yield
    thread.join(1)


def until(held: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.ray
def test_two_workers_compute_what_one_does(ray_cluster: Session, config: Config, tmp_path: Path) -> None:
    alone = train(config, out=tmp_path / "alone")
    before = dict(os.environ), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    seen: list[Step] = []
    run = train(config, out=tmp_path / "run", workers=2, backend="ray", progress=seen.append)
    assert run.finished
    np.testing.assert_allclose(totals(run), totals(alone), rtol=1e-9)
    assert [step.done for step in seen] == [0, 1, 2, 3, 4, 5, 6, 6]
    assert (dict(os.environ), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert [event["world"] for event in run.events() if event["event"] == "start"] == [2]
    assert sum(event["event"] == "step" for event in run.events(rank=1)) == 6


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_worker_costs_only_the_steps_since_the_checkpoint(
    ray_cluster: Session, config: Config, tmp_path: Path
) -> None:
    config = with_overrides(config, {"run.epochs": 40, "run.checkpoint_every_steps": 2})
    alone = train(config, out=tmp_path / "alone")
    run = RunFolder(tmp_path / "run")

    def kill() -> None:
        until(lambda: any(event["event"] == "step" and event["step"] >= 7 for event in run.events(rank=1)))
        os.kill(next(run.events(rank=1))["pid"], signal.SIGKILL)

    with meanwhile(kill):
        train(config, out=run.path, workers=2, backend="ray")
    assert run.finished
    assert run.attempts() == 2
    resumed = next(event for event in run.events() if event["event"] == "resume")
    assert resumed["step"] >= 6
    assert_same_curve(run, alone)
    assert not list(run.checkpoints.glob(".tmp*"))


@pytest.mark.ray
@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_not_tried_again(ray_cluster: Session, config: Config, tmp_path: Path) -> None:
    broken = with_overrides(config, {"optim.lr": 1e300})
    with pytest.raises(NonFiniteLoss, match="not finite"):
        train(broken, out=tmp_path / "run", workers=2, backend="ray")
    run = RunFolder(tmp_path / "run")
    assert run.attempts() == 1
    assert [event["kind"] for event in run.events() if event["event"] == "error"] == ["NonFiniteLoss"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_told_to_stop_the_driver_tells_the_workers(
    ray_cluster: Session, config: Config, tmp_path: Path, told: signal.Signals
) -> None:
    """The second start has one worker: the number may change."""
    config = with_overrides(config, {"run.epochs": 40})
    run = RunFolder(tmp_path / "run")
    file = tmp_path / "config.yaml"
    file.write_text(dump_yaml(config))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": ray_cluster.address}
    words = [sys.executable, str(SCRIPT), str(file), str(run.path), "ray", "2"]
    driver = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    until(lambda: run.latest() is not None)
    driver.send_signal(told)
    _, complaint = driver.communicate(timeout=100)
    if told == signal.SIGTERM:
        assert driver.returncode == 0, complaint
    else:
        assert f"KeyboardInterrupt: saved after step {len(totals(run))} in {run.latest()}" in complaint
    stopped = totals(run)
    assert 3 <= len(stopped) < 120
    assert not run.finished
    train(config, out=run.path)
    alone = train(config, out=tmp_path / "alone")
    assert run.finished
    assert_same_curve(run, alone)


def test_notices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A preemption is told once; the driver's note every time."""
    answers = iter([None, object()])
    monkeypatch.setattr("ray.train.get_preemption_info", lambda: next(answers))
    stop = StopNote(tmp_path / "control")
    with Recorder(RunFolder(tmp_path), rank=1, keep_last=1) as recorder:
        context = RayTrain(recorder, Place(rank=1, world=2), stop)
        told = [context.notice() for _ in range(24)]
        assert [step for step, notice in enumerate(told, start=1) if notice] == [16]
        assert told[15] == Notice.SAVE
        stop.leave()
        assert context.notice() == Notice.STOP
        stop.clear()
        assert context.notice() == Notice.NONE
