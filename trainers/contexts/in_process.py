"""Training in the process that was started: alone, or as one of torchrun's.

Under torchrun (RANK, WORLD_SIZE and MASTER_ADDR are set) the process group is started here: nccl on CUDA, else gloo,
over the loopback when the master is this machine.

Source: design of this project.
"""

import os
import re
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

from resight.cluster.errors import UserError
from resight.trainers.checkpoint import Position
from resight.trainers.contexts.context import Notice, Write
from resight.trainers.contexts.recorder import Recorder

__all__ = ["InProcess", "Place", "joined", "place"]

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_LOST: Final = re.compile(r"Connection (closed|reset) by peer|gloo/transport|remote process exited")
"""How gloo and nccl tell that the other end is gone."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where this process stands among the workers.

    Attributes:
        rank, world: number and count over all machines.
        local_rank: number on this machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0


def place() -> Place:
    """Return what torchrun says of this process, or that it is alone."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Place()
    rank = int(os.environ["RANK"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    return Place(rank=rank, world=int(os.environ["WORLD_SIZE"]), local_rank=local_rank)


@contextmanager
def joined(where: Place, *, cuda: bool) -> Generator[None]:
    """Belong to torchrun's process group inside the block; a process alone, or in a group already, needs none.

    Raises:
        UserError: when another rank is lost; which one, torchrun tells.
    """
    if where.world == 1:
        yield
        return
    if dist.is_initialized():
        dist.barrier()  # rank 0 has made the run folder, as when a group is made here
        yield
        return
    if os.environ.get("MASTER_ADDR") in _LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if cuda:
        torch.cuda.set_device(where.local_rank % torch.cuda.device_count())
    dist.init_process_group("nccl" if cuda else "gloo", rank=where.rank, world_size=where.world)
    try:
        yield
    except RuntimeError as error:
        if _LOST.search(str(error)) is None and not isinstance(error, dist.DistError):
            raise
        _outlive_sigterm()
        raise UserError(
            "another rank ended, and this one cannot go on without it",
            where=f"rank {where.rank} of {where.world}, process {os.getpid()} on {socket.gethostname()}",
            cure="see above or below why it ended, then start the same command again to go on from the last checkpoint",
        ) from error
    finally:
        dist.destroy_process_group()


def _outlive_sigterm() -> None:
    """Ignore SIGTERM from here on: torchrun sends it to all that are left, and one that dies of it tells nothing."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class InProcess:
    """A `RunContext` for this process.

    Args:
        recorder: writes into the run folder.
        where: rank and world.
        stop: set by whoever wants the run to save and return.
    """

    def __init__(self, recorder: Recorder, where: Place, stop: threading.Event) -> None:
        self.rank, self.world = where.rank, where.world
        self._recorder = recorder
        self._stop = stop

    def checkpoint(self) -> Path | None:
        """Return the checkpoint to go on from."""
        return self._recorder.checkpoint

    def report(self, event: str, **facts: Any) -> None:
        """Write an event."""
        self._recorder.report(event, facts)

    def save(self, write: Write, position: Position) -> None:
        """Have rank 0 write a checkpoint."""
        self._recorder.save(write, position)

    def notice(self) -> Notice:
        """Return STOP once the event is set."""
        return Notice.STOP if self._stop.is_set() else Notice.NONE
