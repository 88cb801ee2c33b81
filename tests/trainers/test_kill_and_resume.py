"""SIGKILL at random moments, saving included, and the same command again: bitwise the undisturbed run.

The moments come from a seed and are printed. "saving" waits for the folder that a checkpoint is written into; "step"
for a number of steps in this attempt and a random part of one; "start" falls into the imports and the warm-up. A file
is written anew in each run, so equal bytes of weights and optimiser mean equal arithmetic, order included.
"""

import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from resight.trainers.config import Config, with_overrides
from resight.trainers.recipes.strong_baseline import strong_baseline
from resight.trainers.recipes.transreid import transreid
from resight.trainers.run_folder import RunFolder
from tests.datasets.making import crops, write_dataset
from tests.trainers.starting import finish, kill_all, start

TIMES = {"time", "attempt", "rank", "images_per_s", "seconds", "peak_memory_mib", "mfu"}
"""What is measured, not computed; so is whatever ends in _s."""
MOMENTS = ("saving", "step", "saving", "start", "step", "saving", "saving", "step", "saving", "step")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "made"
    write_dataset(crops("train", ids=12, per_id=6), folder)
    return folder


def small(config: Config, data: Path, *, steps: int, **more: Any) -> Config:
    """The recipe on small pictures, in float32, three epochs of `steps` steps, a checkpoint every fifth."""
    fixed: dict[str, Any] = {
        "data.sources": [str(data)], "data.threads": 1, "engine.device": "cpu", "augment.height": 32,
        "augment.width": 16, "augment.pad": 2, "sampler.ids_per_batch": 5, "sampler.images_per_id": 4,
        "sampler.steps_per_epoch": steps, "run.epochs": 3, "run.checkpoint_every_steps": 5,
    }  # fmt: skip
    return with_overrides(config, fixed | more)


def made(method: str, data: Path, *, steps: int) -> Config:
    if method == "strong_baseline":
        return small(strong_baseline("tiny"), data, steps=steps, **{"model.width": 8})
    model = {"model.width": 32, "model.depth": 2, "model.heads": 2, "model.drop_path": 0.2}
    return small(transreid("tiny"), data, steps=steps, **model, **{"augment.height": 64, "augment.width": 32})


@dataclass
class Kills:
    """How often a run was killed, and how often a half-written checkpoint lay there afterwards."""

    kills: int = 0
    while_saving: int = 0
    attempts: int = 0


def disturbed(config: Config, run: RunFolder, *, world: int, moments: tuple[str, ...], seed: int) -> Kills:
    """Start and kill at each moment, then let it finish."""
    draws, seen = random.Random(seed), Kills()
    for moment in moments:
        process = start(config, run.path, world=world)
        seen.attempts += 1
        told = wait_for(moment, process, run, draws)
        ended = process.poll() is not None
        kill_all(process)
        seen.kills += not ended
        half = len(list(run.checkpoints.glob(".tmp-*"))) if run.checkpoints.is_dir() else 0
        seen.while_saving += bool(half)
        print(f"seed {seed}, world {world}: {moment} {told}; ended before {ended}; half-written {half}")  # noqa: T201
    code, said = finish(start(config, run.path, world=world))
    assert code == 0, said
    assert run.finished
    return seen


def wait_for(moment: str, process: subprocess.Popen[str], run: RunFolder, draws: random.Random) -> str:
    """Return at the moment, or when the process has ended; say which it was."""
    if moment == "start":
        delay = draws.uniform(0.3, 5.0)
        return f"after {delay:.2f} s" + pause(delay, process)
    steps, part = draws.randint(1, 7), draws.uniform(0, 0.04)
    attempt = run.attempts() + 1
    size = 0
    while process.poll() is None:
        if moment == "saving":
            if any(run.checkpoints.glob(".tmp-*")):
                lag = draws.choice([0.0, 0.0, 0.0005, 0.002])
                return f"{lag * 1e3:.1f} ms into it" + pause(lag, process)
            time.sleep(0.0002)
        elif run.events_file().is_file() and run.events_file().stat().st_size != size:
            size = run.events_file().stat().st_size
            done = sum(event["event"] == "step" and event["attempt"] == attempt for event in run.events())
            if done >= steps:
                return f"{part * 1e3:.0f} ms after {steps} steps" + pause(part, process)
        else:
            time.sleep(0.002)
    return "(it had ended)"


def pause(seconds: float, process: subprocess.Popen[str]) -> str:
    time.sleep(seconds)
    return "" if process.poll() is None else " (it had ended)"


def computed(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in TIMES and not name.endswith("_s")}


def by_step(run: RunFolder, rank: int = 0) -> dict[int, dict[str, Any]]:
    """What each step computed; a replay must say the same again."""
    found: dict[int, dict[str, Any]] = {}
    for event in run.events(rank):
        if event["event"] == "step":
            assert found.setdefault(event["step"], computed(event)) == computed(event)
    return found


def table(run: RunFolder) -> dict[str, list[Any]]:
    columns = pq.read_table(run.metrics_file).to_pydict()
    return computed(columns)


def assert_same_run(run: RunFolder, whole: RunFolder, *, steps: int, world: int) -> None:
    for rank in range(world):
        found = by_step(run, rank)
        assert list(found) == list(range(1, 3 * steps + 1))
        assert found == by_step(whole, rank)
    assert table(run) == table(whole)
    assert len(table(run)["step"]) == 3 * steps + 3
    last, other = run.latest(), whole.latest()
    assert last is not None
    assert other is not None
    assert last.name == other.name == f"0003-{3 * steps:07d}"
    for name in ("model.safetensors", "optim.safetensors"):
        assert (last / name).read_bytes() == (other / name).read_bytes(), name
    assert not list(run.checkpoints.glob(".tmp-*"))


def undisturbed(config: Config, out: Path, *, world: int) -> RunFolder:
    code, said = finish(start(config, out, world=world))
    assert code == 0, said
    return RunFolder(out)


def try_it(method: str, data: Path, folder: Path, *, world: int, moments: tuple[str, ...], steps: int) -> Kills:
    config = made(method, data, steps=steps)
    whole = undisturbed(config, folder / "whole", world=world)
    run = RunFolder(folder / "run")
    seen = disturbed(config, run, world=world, moments=moments, seed=world)
    assert_same_run(run, whole, steps=steps, world=world)
    return seen


def test_killed_twice_alone(data: Path, tmp_path: Path) -> None:
    seen = try_it("transreid", data, tmp_path, world=1, moments=("step", "saving"), steps=12)
    assert seen.kills == 2


@pytest.mark.slow
def test_killed_twice_with_two_ranks(data: Path, tmp_path: Path) -> None:
    """20 images on 2 ranks; three ranks, with uneven slices, are in the long form."""
    seen = try_it("strong_baseline", data, tmp_path, world=2, moments=("saving", "step"), steps=12)
    assert seen.kills == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("method", ["strong_baseline", "transreid"])
def test_killed_ten_times(data: Path, tmp_path: Path, method: str, world: int) -> None:
    """20 images on 3 ranks are 7, 7 and 6."""
    seen = try_it(method, data, tmp_path, world=world, moments=MOMENTS, steps=40)
    assert seen.kills == 10
    assert seen.while_saving >= 2
