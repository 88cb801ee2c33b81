"""Where work runs: the `--backend` flag made into a pool back end, with a Ray session around it when need be."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from resight.cluster.errors import UserError

if TYPE_CHECKING:
    from resight.cluster.pool import PoolBackend

__all__ = ["pool_backend"]


@contextmanager
def pool_backend(kind: Literal["local", "ray"], workers: int, *, processes: bool = False) -> "Generator[PoolBackend]":
    """Open a pool back end with `workers` workers.

    Args:
        kind: local or ray.
        workers: how many.
        processes: several local workers are processes: worth their start for long work that holds the interpreter's
            lock. Otherwise they are threads.

    Raises:
        UserError: when `workers` is below 1.
    """
    from resight.cluster.pool import InProcess, Processes

    if workers < 1:
        raise UserError(f"{workers} workers cannot do anything", where="--workers", cure="give 1 or more")
    if kind == "local" and processes and workers > 1:
        with Processes(workers=workers).standing() as backend:
            yield backend
        return
    if kind == "local":
        yield InProcess(workers=workers)
        return
    from resight.cluster.pool_ray import RayActors
    from resight.cluster.session import ray_session

    with ray_session(workers_cpus=workers):
        yield RayActors(workers=workers)
