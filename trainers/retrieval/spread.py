"""Row blocks in parallel: the same pure function over ranges of rows, by threads of this process or by Ray tasks.

Each block's result depends on its rows and the shared arrays alone, so labels and distances are the same however the
work is spread. Threads share memory; under Ray the shared arrays are put into the object store once, which maps them
into every worker of a node. Source: design of this project. Trade-off: results come back whole, in order.
"""

import importlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

from resight.cluster.errors import UserError

__all__ = ["RayTasks", "Spread", "Threads", "row_blocks"]

T = TypeVar("T")
_LEAST = 256  # rows of a block: below that, starting it costs as much as its work
_LAST = 8  # the smallest blocks are this part of what a lane does


class Spread(Protocol):
    """How row blocks are spread."""

    @property
    def lanes(self) -> int:
        """How many blocks are worked on at a time."""
        ...

    @property
    def local(self) -> "Threads":
        """Threads of this process, for work that writes into arrays all of it shares."""
        ...

    def __call__(self, work: Callable[..., T], shared: tuple[Any, ...], blocks: Sequence[range]) -> list[T]:
        """Return `work(*shared, block.start, block.stop)` of each block, in order."""
        ...


@dataclass(frozen=True)
class Threads:
    """Threads of this process; `work` must release the interpreter's lock to gain from more than one.

    Attributes:
        lanes: how many.
    """

    lanes: int = 1

    def __post_init__(self) -> None:
        if self.lanes < 1:
            raise UserError(f"threads is {self.lanes}", cure="use at least one")

    @property
    def local(self) -> "Threads":
        """These."""
        return self

    def __call__(self, work: Callable[..., T], shared: tuple[Any, ...], blocks: Sequence[range]) -> list[T]:
        """Return each block's result."""
        if self.lanes == 1:
            return [work(*shared, block.start, block.stop) for block in blocks]
        return list(self._pool.map(lambda block: work(*shared, block.start, block.stop), blocks))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Started once and ended with this object: for work of milliseconds, starting threads takes as long again."""
        return ThreadPoolExecutor(self.lanes, thread_name_prefix="rows")


@dataclass(frozen=True)
class RayTasks:
    """Tasks of the Ray cluster that this process is attached to, one core each.

    A task is told the name of `work`, not its code: so workers take compiled code from numba's cache on disk, which a
    function that is sent does not look into.

    Attributes:
        lanes: how many are expected to run at a time.
    """

    lanes: int

    def __post_init__(self) -> None:
        if self.lanes < 1:
            raise UserError(f"tasks is {self.lanes}", cure="use at least one")

    @property
    def local(self) -> Threads:
        """One thread: the session's cores are the tasks'."""
        return Threads()

    def __call__(self, work: Callable[..., T], shared: tuple[Any, ...], blocks: Sequence[range]) -> list[T]:
        """Return each block's result; the shared arrays are stored once a node. RuntimeError without a Ray session."""
        import ray

        if not ray.is_initialized():
            raise RuntimeError("RayTasks needs an open ray_session")
        module, name = work.__module__, work.__name__
        assert getattr(importlib.import_module(module), name) is work, "workers find the function by its name"
        stored = [ray.put(value) for value in shared]
        task: Any = ray.remote(num_cpus=1)(run_block)
        return ray.get([task.remote(module, name, block.start, block.stop, *stored) for block in blocks])


def run_block(module: str, name: str, first: int, stop: int, *shared: Any) -> Any:
    """Work on one block, in a worker of Ray."""
    return getattr(importlib.import_module(module), name)(*shared, first, stop)


def row_blocks(count: int, lanes: int) -> list[range]:
    """Cut `count` rows into blocks, half of what is left over all lanes at a time, so that lanes end together.

    One lane gets one block: nothing has to be put together then. None but the last is smaller than is worth starting.
    """
    least = count if lanes == 1 else max(_LEAST, math.ceil(count / (_LAST * lanes)))
    blocks: list[range] = []
    at = 0
    while at < count:
        size = max(least, math.ceil((count - at) / (2 * lanes)))
        blocks.append(range(at, min(at + size, count)))
        at += size
    return blocks
