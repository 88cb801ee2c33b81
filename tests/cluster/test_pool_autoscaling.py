"""A pool on a cluster that scales: from no node to two and back, nodes, workers and the driver killed on the way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resight.cluster.pool import InProcess
from resight.cluster.storage import LocalStorage
from tests.cluster.autoscaling import ROOT, Autoscaling, autoscaling_cluster, kill_at_random, wait_for
from tests.cluster.pool_driver import make
from tests.cluster.test_exactly_once import published

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
UNITS, KILLS = 60, 10


def drive(place: Path, cluster: Autoscaling, units: int, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.cluster.pool_driver", str(place), str(units), "2", cluster.address, "0.7"]
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)


def test_nodes_workers_and_driver_are_killed_while_the_cluster_scales(tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    with autoscaling_cluster() as cluster:
        wait_for(0, cluster, 10)
        driver = kill_at_random(lambda: drive(out, cluster, UNITS, log), cluster, KILLS, pause=(1, 4), seed=3)
        assert driver.wait(timeout=400) == 0, log.read_text()
        (poisoned,) = json.loads(log.read_text().splitlines()[-1])["quarantined"]
        assert poisoned[0] == "poisoned"
        wait_for(0, cluster, 120)  # nothing to do: no nodes

        more = drive(out, cluster, UNITS + 2, log)
        assert more.wait(timeout=200) == 0, log.read_text()
        wait_for(0, cluster, 120)
    calm = LocalStorage(tmp_path / "calm")
    make(calm, UNITS + 2, InProcess(workers=4))
    assert published(LocalStorage(out)) == published(calm)
