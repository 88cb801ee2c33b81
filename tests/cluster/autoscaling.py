"""A Ray cluster on this machine that scales for real: a head without cores, nodes that come and go with the work."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
_NONE = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
_NONE_EITHER = ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files")


class Autoscaling:
    """The cluster: its address, its nodes, its processes."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder

    def processes(self, word: str) -> list[psutil.Process]:
        """Processes of the nodes, not of the head, whose command line has a word in it."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter(["cmdline", "pid"]):
            line = " ".join(process.info["cmdline"] or [])
            if word in line and (str(self.folder) in line or word.startswith("ray::")):
                found.append(process)
        return found

    def raylets(self) -> list[psutil.Process]:
        """The nodes' main processes, the head's left out."""
        return [each for each in self.processes("raylet/raylet") if "--head" not in each.info["cmdline"]]

    def workers(self) -> list[psutil.Process]:
        """Processes that make units."""
        found: list[psutil.Process] = []
        for raylet in self.raylets():
            try:
                found += [each for each in raylet.children(recursive=True) if "_Actor" in " ".join(each.cmdline())]
            except psutil.Error:
                continue
        return found


@contextmanager
def autoscaling_cluster() -> Generator[Autoscaling]:
    """Start the cluster; every process of it is ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ra-", dir="/tmp"))  # short: socket names have a limit
    ip, port = socket.gethostbyname(socket.gethostname()), _port()
    (folder / "cluster.json").write_text(json.dumps(_config(f"{ip}:{port}")))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_health_check_timeout_ms": "3000",
        "RAY_health_check_failure_threshold": "2",
    }
    line = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--port={port}", "--num-cpus=0",
        f"--dashboard-port={_port()}", "--object-store-memory=100000000", f"--temp-dir={folder}/r",
        f"--autoscaling-config={folder}/cluster.json", "--block",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(line, env=environment, stdout=log, stderr=subprocess.STDOUT)
    cluster = Autoscaling(f"{ip}:{port}", folder)
    try:
        until = time.monotonic() + 90
        while "Ray runtime started" not in (folder / "log").read_text(errors="replace"):
            assert head.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.3)
        yield cluster
    finally:
        ours = {*_descendants(head.pid), *cluster.processes("ray")}
        for sent in (signal.SIGTERM, signal.SIGKILL):
            for process in ours:
                try:
                    process.send_signal(sent)
                except psutil.Error:
                    continue
            psutil.wait_procs(ours, timeout=5)
        head.wait(timeout=20)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _config(gcs_address: str) -> dict[str, Any]:
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "use_node_id_as_ip": True,
        "gcs_address": gcs_address,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    node = {"resources": {"CPU": 1, "object_store_memory": 80 << 20}, "node_config": {}, "min_workers": 0}
    return {
        "cluster_name": "autoscaling",
        "max_workers": 2,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "provider": provider,
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "cpu": {**node, "max_workers": 2},
        },
        "head_node_type": "ray.head.default",
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{name: [] for name in (*_NONE, *_NONE_EITHER, "rsync_exclude", "rsync_filter")},
        "file_mounts_sync_continuously": False,
    }


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill_at_random(
    start: Callable[[], subprocess.Popen[bytes]],
    cluster: Autoscaling,
    kills: int,
    *,
    pause: tuple[float, float],
    seed: int,
) -> subprocess.Popen[bytes]:
    """Start a driver, and kill nodes, workers and the driver at random, which is started again.

    Args:
        start: starts the driver.
        cluster: that it works on.
        kills: how many; a driver that ends before fails the test.
        pause: least and most seconds between two.
        seed: of what is killed when.

    Returns:
        The last driver, which runs.
    """
    chance, killed, driver = random.Random(seed), list[str](), start()
    while len(killed) < kills:
        time.sleep(chance.uniform(*pause))
        assert driver.poll() is None, f"it ended after {killed}"
        kind = chance.choice(["node", "worker", "worker", "driver"])
        if len(cluster.workers()) and kill_something(kind, cluster, driver, chance):
            killed.append(kind)
        if driver.poll() is not None:
            driver = start()
    assert {"node", "worker", "driver"} <= set(killed)
    return driver


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
