"""Kill the driver again and again, on a network that fails: every unit is there once, as if nothing had happened."""

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from resight.cluster.pool import InProcess
from resight.cluster.storage import LocalStorage, Storage, open_storage
from tests.cluster.pool_driver import make
from tests.s3.faulty_proxy import EVERY_FAULT, Faults, faulty_proxy
from tests.s3.fixtures import place_on
from tests.s3.servers import Server

WORKERS = 6


def drive(place: str, units: int, where: str, *, kill_after: int | None, pause_s: float = 0.0) -> list[str]:
    """Run a driver, and kill it when it has published some more units; return what it said."""
    command = [sys.executable, "-m", "tests.cluster.pool_driver", place, str(units), str(WORKERS), where, "0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if kill_after is not None and line.strip().isdigit() and int(line) >= int(said[0]) + kill_after:
            time.sleep(pause_s)
            process.kill()
            break
    _, errors = process.communicate(timeout=60)
    assert kill_after is not None or process.returncode == 0, errors
    return said


def published(storage: Storage) -> dict[str, bytes]:
    """All objects, the attempt taken out of the records."""
    objects = {key: storage.read(key) for key in storage.list()}
    return {key: without_attempt(data) if key.startswith("_commits/") else data for key, data in objects.items()}


def without_attempt(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "attempt": 1}, sort_keys=True).encode()


def check_exactly_once(place: str, tmp_path: Path, where: str = "threads", *, units: int, kills: int) -> None:
    chance = random.Random(units)
    for _ in range(kills):
        drive(place, units, where, kill_after=chance.randrange(2), pause_s=chance.uniform(0, 0.5))
    said = drive(place, units, where, kill_after=None)
    (poisoned,) = json.loads(said[-1])["quarantined"]
    assert poisoned[0] == "poisoned"
    assert poisoned[1].startswith("ValueError: nobody can make this\n  at ")
    calm = LocalStorage(tmp_path / "calm")
    make(calm, units, InProcess())
    found = published(open_storage(place))
    assert sorted(found) == calm.list()
    assert found == published(calm)


@pytest.mark.parametrize("server", ["moto", pytest.param("swift", marks=pytest.mark.slow)])
def test_a_driver_that_is_killed_on_a_network_that_fails(
    server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream: Server = request.getfixturevalue(server)
    faults = Faults(kinds=(*EVERY_FAULT, *[""] * len(EVERY_FAULT)), each=1)
    with faulty_proxy(upstream.url, faults) as url:
        place = place_on(replace(upstream, url=url), monkeypatch)
        slow = "slow" in request.node.keywords
        units = 40 if slow else 10
        check_exactly_once(place, tmp_path, units=units, kills=10 if slow else 3)
        assert set(faults.met) >= set(EVERY_FAULT)
        faults.requests.clear()
        begun = time.monotonic()
        result = make(open_storage(place), units, InProcess(workers=WORKERS))
        assert time.monotonic() - begun < 5
        assert result.skipped == units
        assert not [request for request in faults.requests if request.startswith(("PUT", "POST", "DELETE"))]


@pytest.mark.parametrize("where", ["threads", "processes"])
def test_a_driver_that_is_killed_on_a_disk(where: str, tmp_path: Path) -> None:
    check_exactly_once(str(tmp_path / "rough"), tmp_path, where, units=20, kills=3)
