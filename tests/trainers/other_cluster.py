"""A Ray cluster of another interpreter: the same packages, but not this one, or an old copy of it.

It is started as a user starts one (`ray start --head`), with token authentication, on the loopback address. Nothing of
this process's environment reaches it but PATH and HOME.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

RAY = ("-m", "ray.scripts.scripts")


class OtherCluster:
    """Speaks to the cluster as `ray job` does."""

    def __init__(self, folder: Path, port: int, environment: dict[str, str]) -> None:
        self.folder = folder
        self.address = f"http://127.0.0.1:{port}"
        self.environment = environment
        self.packages = next((folder / "python/lib").glob("python3.*/site-packages"))

    def job(self, verb: str, *words: str, cwd: Path | None = None) -> str:
        """Run `ray job VERB`; return what it said."""
        line = [sys.executable, *RAY, "job", verb, "--address", self.address, *words]
        done = subprocess.run(line, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def shipped(self) -> list[Path]:
        """The working directories that jobs brought."""
        return sorted(self.folder.glob("r/session_2*/runtime_resources/working_dir_files/_ray_pkg_*[!k]"))


@contextmanager
def other_cluster() -> Generator[OtherCluster]:
    """Start the cluster, and end every process of it."""
    folder = Path(tempfile.mkdtemp(prefix="rj-", dir="/tmp"))
    venv.create(folder / "python", with_pip=False, symlinks=True)
    environment = {
        "PATH": f"{folder}/python/bin:{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "OMP_NUM_THREADS": "1",
        "NUMBA_DISABLE_JIT": "1",  # a few small pictures: compiling would take longer
    }
    (folder / "token").write_text(secrets.token_hex(32))
    (folder / "token").chmod(0o600)
    gcs, dashboard, client = _free_ports(3)
    cluster = OtherCluster(folder, dashboard, environment)
    (cluster.packages / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    ports = f"--port {gcs} --dashboard-port {dashboard} --ray-client-server-port {client}"
    quiet = "--dashboard-agent-listen-port 0 --metrics-export-port 0 --disable-usage-stats"
    place = "--node-ip-address 127.0.0.1 --dashboard-host 127.0.0.1"
    size = "--num-cpus 2 --object-store-memory 134217728"
    words = f"start --head --block {ports} {quiet} {place} {size} --temp-dir {folder}/r"
    with (folder / "said").open("w") as said:
        line = [str(folder / "python/bin/python"), *RAY, *words.split()]
        head = subprocess.Popen(line, cwd=folder, env=environment, stdout=said, stderr=said)
    try:
        until(lambda: "Ray runtime started" in (folder / "said").read_text() or head.poll() is not None)
        assert head.poll() is None, (folder / "said").read_text()
        yield cluster
    finally:
        head.terminate()
        try:
            head.wait(20)
        except subprocess.TimeoutExpired:
            head.kill()
            head.wait()
        _end_processes_of(folder)
        shutil.rmtree(folder, ignore_errors=True)


def until(held: Callable[[], bool], *, seconds: float = 120, or_else: Callable[[], str] = str) -> None:
    """Wait until `held()`; too long is an error with what `or_else` says."""
    end = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < end, or_else()
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _end_processes_of(folder: Path) -> None:
    """End what names this folder on its command line: it is ours alone."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(folder) + b"/" in command.read_bytes():
                os.kill(int(command.parent.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue
