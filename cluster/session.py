"""One way into Ray: attach to the cluster that is there, or start a small private one and end it afterwards.

Inside a Ray job, or with RAY_ADDRESS set, a session joins that cluster and leaves it running. Otherwise it starts one
for itself (`private_ray.py`). Sessions nest: an inner one uses the outer one's cluster.
"""

import logging
import os
import socket
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from resight.cluster.errors import UserError
from resight.cluster.private_ray import environment, private_ray

__all__ = ["Session", "answers", "ray_session"]

_CONNECT_S = 5.0
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open connection to Ray.

    Attributes:
        address: "host:port" of the cluster.
        started: whether this session started the cluster, and will end it.
        cpus: cores of the whole cluster, now.
    """

    address: str
    started: bool
    cpus: float


@contextmanager
def ray_session(
    *,
    workers_cpus: int | None = None,
    address: str | None = None,
    env: Mapping[str, str] | None = None,
    dashboard: bool = False,
    quiet: bool = True,
    object_store_mib: int = 256,
) -> Generator[Session]:
    """Open Ray for the length of a `with` block.

    Args:
        workers_cpus: cores of a cluster that is started here; None for those of this machine.
        address: "host:port" of a running cluster; without it RAY_ADDRESS (set inside Ray jobs); without that, a private
            cluster is started. "local" starts one in any case.
        env: environment variables that Ray reads when it starts, e.g. RAY_TRAIN_HEALTH_CHECK_INTERVAL_S; undone at the
            end.
        dashboard: show the dashboard of a cluster that is started here, on the loopback address.
        quiet: keep the output of workers in Ray's own log files.
        object_store_mib: shared memory of a cluster that is started here, in MiB.

    Raises:
        UserError: when the cluster does not answer, or a private one cannot start.
    """
    ray = sys.modules.get("ray")  # not imported yet: some variables are read at that moment
    if ray is not None and ray.is_initialized():  # an outer session, or a Ray worker
        yield _describe(started=False)
        return
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    if target == "local":
        options = {
            "num_cpus": workers_cpus,
            "include_dashboard": dashboard,
            "object_store_memory": object_store_mib * _MIB,
        }
        with private_ray(env or {}, log_to_driver=not quiet, logging_level=_level(quiet), **options):
            yield _describe(started=True)
    else:
        with _attached(target, env or {}, quiet) as session:
            yield session


@contextmanager
def _attached(address: str, env: Mapping[str, str], quiet: bool) -> Generator[Session]:
    import ray
    from ray.exceptions import AuthenticationError

    if "://" in address:
        raise UserError(f"cannot attach to {address!r}", cure="give host:port, or submit a job to the cluster")
    if address != "auto" and not answers(address):
        raise UserError(f"no Ray cluster answers at {address!r}", cure="check RAY_ADDRESS; unset it to work locally")
    with environment(env):
        try:
            ray.init(address=address, log_to_driver=not quiet, logging_level=_level(quiet))
        except (ConnectionError, AuthenticationError) as error:
            cure = "set RAY_AUTH_MODE=token and the cluster's token, and use the cluster's Ray version"
            raise UserError(
                f"could not join the Ray cluster: {_first_line(error)}", where=address, cure=cure
            ) from error
        try:
            yield _describe(started=False)
        finally:
            ray.shutdown()


def _level(quiet: bool) -> int:
    return logging.ERROR if quiet else logging.INFO


def _describe(*, started: bool) -> Session:
    import ray

    address = str(ray.get_runtime_context().gcs_address)
    return Session(address=address, started=started, cpus=float(ray.cluster_resources().get("CPU", 0.0)))


def answers(address: str) -> bool:
    """Tell whether something accepts connections at "host:port".

    Raises:
        UserError: for an address of another form.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"{address!r} is not an address", cure="give host:port, e.g. 10.0.0.5:6379")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S):
            return True
    except OSError:
        return False


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
