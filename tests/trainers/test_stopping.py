"""The real command, told to stop, started twice, or losing a rank: it says so, hangs nowhere, and goes on."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from resight.trainers.config import Config
from resight.trainers.run_folder import RunFolder
from tests.datasets.making import crops, write_dataset
from tests.trainers.starting import alive, family, finish, kill_all, start, until
from tests.trainers.toy import toy_config

pytestmark = [pytest.mark.timeout(290)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Long enough to be interrupted."""
    folder = tmp_path_factory.mktemp("data") / "made"
    write_dataset(crops("train", ids=12, per_id=6), folder)
    return toy_config(data__sources=[str(folder)], data__threads=1, run__epochs=4000)


def steps(run: RunFolder, *, attempt: int = 1, rank: int = 0) -> int:
    return sum(event["event"] == "step" and event["attempt"] == attempt for event in run.events(rank))


def saved_step(run: RunFolder) -> int:
    latest = run.latest()
    assert latest is not None
    return int(latest.name.partition("-")[2])


def test_a_second_run_is_refused_and_ctrl_c_saves(config: Config, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    first = start(config, run.path)
    try:
        until(lambda: steps(run) > 3)
        code, said = finish(start(config, run.path))
        assert code == 2
        assert f"another run is writing into this folder: process {first.pid} on " in said
        assert "--out" in said
        seen = steps(run)
        until(lambda: steps(run) > seen)  # the first did not notice
        assert run.attempts() == 1
        first.send_signal(signal.SIGINT)
        code, said = finish(first)
    finally:
        kill_all(first)
    assert code == 130
    assert "stopping after this step, with a checkpoint" in said
    assert f"interrupted; saved after step {saved_step(run)} in {run.latest()}; the same command goes on" in said
    assert saved_step(run) == steps(run)
    assert [event for event in run.events() if event["event"] == "error"] == []
    lease = json.loads(next(run.control.glob("lease-*.json")).read_text())
    assert (lease["pid"], lease["released"]) == (first.pid, True)


@pytest.mark.slow
def test_ranks_stop_at_ctrl_c_go_on_and_miss_each_other(config: Config, tmp_path: Path) -> None:
    """Ctrl-C to torchrun; then the same command goes on, and rank 1 is killed: rank 0 must not wait for ever."""
    run = RunFolder(tmp_path / "run")
    first = start(config, run.path, world=2)
    try:
        until(lambda: steps(run) > 3)
        first.send_signal(signal.SIGINT)
        code, _ = finish(first)
    finally:
        kill_all(first)
    assert code != 0
    saved = saved_step(run)
    assert saved == steps(run) == steps(run, rank=1)
    second = start(config, run.path, world=2)
    try:
        until(lambda: steps(run, attempt=2, rank=1) > 3)
        members = family(second.pid)
        (started,) = [event for event in run.events(rank=1) if event["event"] == "resume"]
        assert started["step"] == saved
        assert started["pid"] in members
        os.kill(started["pid"], signal.SIGKILL)
        begin = time.monotonic()
        code, said = finish(second, seconds=90)
        print(f"ended {time.monotonic() - begin:.1f} s after rank 1")  # noqa: T201
    finally:
        kill_all(second)
    assert code not in (0, None)
    assert "rank      : 1" in said  # torchrun's own summary, by which time it may have ended rank 0 as well
    assert "SIGKILL" in said
    (error,) = [event for event in run.events() if event["event"] == "error"]
    assert "losed by peer" in error["message"] or "reset by peer" in error["message"]
    until(lambda: not any(alive(member) for member in members), seconds=20)
