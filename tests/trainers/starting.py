"""The real command in processes of its own, alone or under torchrun, and how to end them hard."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from resight.trainers.config import Config, dump_yaml
from tests.tracing import untraced

ROOT = Path(__file__).resolve().parents[2]


def start(config: Config, out: Path, *, world: int = 1, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start `resight train --config ... --out OUT`, on `world` ranks of torchrun when there are several."""
    file = out.parent / f"{out.name}.yaml"
    file.write_text(dump_yaml(config))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)] if world > 1 else []
    words = [sys.executable, *launcher, "-m", "resight", "train", "--config", str(file), "--out", str(out), "--quiet"]
    environment = {**untraced(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(env or {})}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=environment, **pipes)  # type: ignore[call-overload]


def finish(started: subprocess.Popen[str], *, seconds: float = 240) -> tuple[int, str]:
    """Wait for the end; return the exit code and what was said on standard error."""
    _, said = started.communicate(timeout=seconds)
    return started.returncode, said


def family(pid: int) -> list[int]:
    """Return a process and all its descendants: torchrun's ranks are in sessions of their own."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def kill_all(started: subprocess.Popen[str]) -> None:
    """SIGKILL a process and its descendants, at once."""
    members = family(started.pid)
    for member in members:
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            continue
    started.communicate()
    until(lambda: not any(alive(member) for member in members))


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(held: Callable[[], bool], *, seconds: float = 200, pause: float = 0.01) -> None:
    """Wait until something holds; at most so long."""
    end = time.monotonic() + seconds
    while not held():
        assert time.monotonic() < end, "waited too long"
        time.sleep(pause)
