"""A pool on a cluster that scales: from no node to two and back, nodes, workers and the driver killed on the way."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from resight.cluster.pool import InProcess
from resight.cluster.storage import LocalStorage
from tests.cluster.autoscaling import ROOT, Autoscaling, autoscaling_cluster
from tests.cluster.pool_driver import make
from tests.cluster.test_exactly_once import published

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
UNITS, KILLS = 60, 10


def drive(place: Path, cluster: Autoscaling, units: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.cluster.pool_driver", str(place), str(units), "2", cluster.address, "0.7"]
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)


def kill_something(kind: str, cluster: Autoscaling, driver: subprocess.Popen[bytes], chance: random.Random) -> bool:
    """Kill a node, a worker or the driver; tell whether there was one."""
    if kind == "driver":
        driver.kill()
        driver.wait()
        return True
    targets = cluster.raylets() if kind == "node" else cluster.workers()
    if not targets:
        return False
    victim = chance.choice(targets)
    try:
        family = [victim, *victim.children(recursive=True)] if kind == "node" else [victim]
        for process in family:
            process.kill()
    except psutil.Error:
        return False
    return True


def wait_for(nodes: int, cluster: Autoscaling, seconds: float) -> None:
    until = time.monotonic() + seconds
    while len(cluster.raylets()) != nodes:
        assert time.monotonic() < until, [each.cmdline() for each in cluster.raylets()]
        time.sleep(0.5)


def test_nodes_workers_and_driver_are_killed_while_the_cluster_scales(tmp_path: Path) -> None:
    chance, log, out = random.Random(3), tmp_path / "log", tmp_path / "out"
    killed: list[str] = []
    with autoscaling_cluster() as cluster:
        wait_for(0, cluster, 10)
        driver = drive(out, cluster, UNITS, log)
        while driver.poll() is None and len(killed) < KILLS:
            time.sleep(chance.uniform(1, 4))
            kind = chance.choice(["node", "worker", "worker", "driver"])
            if len(cluster.workers()) and kill_something(kind, cluster, driver, chance):
                killed.append(kind)
            if kind == "driver" and driver.poll() is not None:
                driver = drive(out, cluster, UNITS, log)
        assert driver.wait(timeout=400) == 0, log.read_text()
        assert len(killed) == KILLS, killed
        assert {"node", "worker", "driver"} <= set(killed)
        (poisoned,) = json.loads(log.read_text().splitlines()[-1])["quarantined"]
        assert poisoned[0] == "poisoned"
        wait_for(0, cluster, 120)  # nothing to do: no nodes

        more = drive(out, cluster, UNITS + 2, log)
        assert more.wait(timeout=200) == 0, log.read_text()
        wait_for(0, cluster, 120)
    calm = LocalStorage(tmp_path / "calm")
    make(calm, UNITS + 2, InProcess(workers=4))
    assert published(LocalStorage(out)) == published(calm)
