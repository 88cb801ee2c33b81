"""`resight render`, killed at random, onto a disk, a cluster and S3 on a network that fails: the same data set."""

import hashlib
import os
import random
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from resight.cluster.commits import read_commit
from resight.cluster.storage import Storage, open_storage
from resight.datasets.check import check
from resight.datasets.dataset import open_dataset
from tests.cluster.autoscaling import autoscaling_cluster, kill_at_random, wait_for
from tests.s3.faulty_proxy import EVERY_FAULT, Faults, faulty_proxy
from tests.s3.fixtures import place_on
from tests.s3.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ROOT = Path(__file__).resolve().parents[2]
WORLD, SPLITS, KILLS = "small", ("base",), 10


def start(place: str, *more: str, said: IO[bytes] | int = subprocess.PIPE, **settings: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "resight", "render", "--world", WORLD, "--splits", *SPLITS, "--out", place]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.Popen([*command, "--quiet", *more], env=environment, stdout=subprocess.DEVNULL, stderr=said)


def finish(place: str) -> tuple[float, float]:
    """Run the command to its end; return the seconds that it took, by the clock and of processors."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start(place)
    _, said = process.communicate()
    assert process.returncode == 0, said
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begun, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Calm(NamedTuple):
    """An undisturbed run: where it is, its seconds, and those of starting the command again when all is done."""

    place: str
    seconds: float
    again: float


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    place = str(tmp_path_factory.mktemp("calm"))
    return Calm(place, finish(place)[0], finish(place)[0])


def digests(storage: Storage) -> dict[str, str]:
    """The sha256 of everything that readers see."""
    keys = [key for key in storage.list() if not key.startswith("_commits/")]
    return {key: hashlib.sha256(storage.read(key)).hexdigest() for key in keys}


def rough(place: str, calm: Calm, kills: int) -> None:
    """Kill the command so many times while it is at work, then let it end."""
    chance, slices = random.Random(kills), 0.8 * (calm.seconds - calm.again) / kills
    for _ in range(kills):
        process = start(place)
        time.sleep(calm.again + chance.uniform(0.5, 1.5) * slices)
        assert process.poll() is None, "it was to be killed at work"
        process.kill()
        process.communicate()
    finish(place)
    assert_equal(place, calm)


def assert_equal(place: str, calm: Calm) -> None:
    """Everything that readers see is there, equal to the undisturbed run's, and in one commit record."""
    for split in SPLITS:
        here, there = open_storage(f"{calm.place}/{split}"), open_storage(f"{place}/{split}")
        assert digests(there) == digests(here)
        assert sorted(there.list("_commits/")) == sorted(here.list("_commits/"))
        for key in there.list("_commits/"):
            record = read_commit(there, key.removeprefix("_commits/").removesuffix(".json"))
            assert record is not None
            assert record.files.keys() <= digests(there).keys()


def test_on_a_disk(calm: Calm, tmp_path: Path) -> None:
    place = str(tmp_path / "rough")
    rough(place, calm, KILLS)
    before = {path: path.stat().st_mtime_ns for path in Path(place).rglob("*")}
    assert finish(place)[1] < 5  # of processors: others may be busy on this machine
    assert before == {path: path.stat().st_mtime_ns for path in Path(place).rglob("*")}


@pytest.mark.parametrize("server", ["moto", "swift"])
def test_on_s3_through_a_failing_network(
    server: str,
    calm: Calm,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    upstream: Server = request.getfixturevalue(server)
    faults = Faults(kinds=(*EVERY_FAULT, *[""] * len(EVERY_FAULT)), each=1)
    with faulty_proxy(upstream.url, faults) as url:
        place = place_on(replace(upstream, url=url), monkeypatch)
        rough(place, calm, 2)
        assert set(faults.met) == {*EVERY_FAULT, ""}
        assert check(open_dataset(f"{place}/{SPLITS[0]}")).sound
        faults.requests.clear()
        finish(place)
        assert not [each for each in faults.requests if each.startswith(("PUT", "POST", "DELETE"))]


def test_on_a_cluster_that_scales(calm: Calm, tmp_path: Path) -> None:
    place, log = str(tmp_path / "rough"), tmp_path / "log"
    with autoscaling_cluster() as cluster, log.open("wb") as said:
        wait_for(0, cluster, 10)

        def drive() -> subprocess.Popen[bytes]:
            return start(place, "--backend", "ray", said=said, RAY_ADDRESS=cluster.address)

        driver = kill_at_random(drive, cluster, KILLS, pause=(1.0, 12.0), seed=5)
        assert driver.wait(timeout=1800) == 0, log.read_text()
        wait_for(0, cluster, 120)  # nothing to do: no nodes
    assert_equal(place, calm)
