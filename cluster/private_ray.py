"""A Ray cluster of our own on this machine, private and short-lived.

It listens on the loopback address only, keeps Ray's token authentication as Ray sets it up, writes its files below a
private folder with a short path (socket names may have 107 characters), and collects no usage statistics. Its address
is fixed before it starts and exported as RAY_ADDRESS, so that every process in it finds this cluster and no other:
several clusters on one machine are otherwise told apart by scanning processes.

Source: Ray 2.60's own code for what it reads before `ray.init` (RAY_GCS_SERVER_PORT, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER,
which despite its name decides on every system whether Ray takes the loopback address for its own).
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resight.cluster.errors import UserError

__all__ = ["environment", "private_ray", "token_path"]

_LOOPBACK = "127.0.0.1"
_END_S = 10.0
_LONGEST_ROOT = 30  # characters; Ray adds about 70 below it, and socket names end at 107


@contextmanager
def private_ray(env: Mapping[str, str], **options: Any) -> Generator[None]:
    """Run a cluster for the length of a `with` block, and be connected to it.

    Args:
        env: environment variables to start it with.
        options: more arguments of `ray.init`.

    Raises:
        UserError: when it cannot start.
    """
    own = _own_environment(_free_port())
    with environment({**own, **env}), _private_folder() as folder, _loopback():
        import ray

        try:
            with _token_kept_private():
                ray.init(address="local", dashboard_host=_LOOPBACK, _temp_dir=str(folder), **options)
        except Exception as error:  # Ray raises a plain one when a process of its own does not come up
            cure = "see `resight doctor`; on a busy machine, try again"
            raise UserError(
                f"Ray could not start: {str(error).strip().partition(chr(10))[0]}", where=str(folder), cure=cure
            ) from error
        try:
            yield
        finally:
            _shut_down()


def _shut_down() -> None:
    """End the cluster and wait for its processes, which Ray itself leaves to be collected at some later time."""
    import ray
    from ray._private import worker

    node: Any = worker._global_node  # pyright: ignore[reportPrivateUsage]
    groups: list[list[Any]] = [] if node is None else list(node.all_processes.values())
    processes: list[subprocess.Popen[bytes]] = [each.process for group in groups for each in group]
    ray.shutdown()
    for process in processes:
        try:
            process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _own_environment(port: int) -> dict[str, str]:
    """Return what a cluster of our own is started with."""
    return {
        "RAY_ADDRESS": f"{_LOOPBACK}:{port}",
        "RAY_GCS_SERVER_PORT": str(port),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # in child processes: this cluster's address is the loopback one
        "RAY_raylet_start_wait_time_s": "120",  # a busy machine needs more than the usual 30
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


@contextmanager
def environment(values: Mapping[str, str]) -> Generator[None]:
    """Set environment variables, and put the old ones back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _private_folder() -> Generator[Path]:
    """Give a folder that only this user can enter (Ray opens its own to everybody), and remove it."""
    base = tempfile.gettempdir()
    root = Path(tempfile.mkdtemp(prefix="rs-", dir=base if len(base) <= _LONGEST_ROOT else "/tmp"))  # noqa: S108
    try:
        yield root / "ray"
    finally:
        _end_processes_of(root)
        shutil.rmtree(root, ignore_errors=True)


def _end_processes_of(root: Path) -> None:
    """End what a start that failed half-way left running: processes that name this folder, which is only ours."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(root) + b"/" in command.read_bytes():
                os.kill(int(command.parent.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended, or is another user's
            continue


@contextmanager
def _loopback() -> Generator[None]:
    """Make Ray take the loopback address for its own, also when it was imported before the environment was set."""
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = not ray_constants.IS_WINDOWS_OR_OSX


def token_path() -> Path:
    """Return where Ray keeps its authentication token; never read here."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


@contextmanager
def _token_kept_private() -> Generator[None]:
    """Close a token file that Ray makes in this block to other users; one that was there is left as it is."""
    path = token_path()
    made_here = not path.exists()
    if made_here:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield
    if made_here and path.exists():
        path.chmod(0o600)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
