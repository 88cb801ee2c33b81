"""Fetching the shards of coming batches while earlier ones are trained on.

The plan says which rows each step reads, so the shards are known in advance. One thread walks the steps ahead of the
training loop and has their shards fetched, at most `_STEPS` ahead, and at most half of the cache's limit ahead: more
would push out shards that are needed sooner. A step that needs more than that by itself is left to its readers.
What goes wrong is kept, and raised at the batch that needs the shard. Source: ours. Trade-off: random sampling over a
data set that is larger than the cache fetches shards again and again whatever is done here; raise the limit.
"""

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final, NamedTuple

from resight.cluster.errors import UserError
from resight.datasets.shard_access import Cached

__all__ = ["Need", "ShardsAhead", "shards_ahead"]

_STEPS: Final = 32


class Need(NamedTuple):
    """A shard that a step reads."""

    access: Cached
    shard: str


@contextmanager
def shards_ahead(needs: Callable[[int], Iterable[Need]], steps: range, limit_bytes: int) -> Generator["ShardsAhead"]:
    """Fetch ahead inside the block; leaving it waits for a fetch that is under way.

    Args:
        needs: step -> what it reads.
        steps: to walk.
        limit_bytes: of the cache.
    """
    ahead = ShardsAhead(needs, steps, limit_bytes // 2)
    try:
        yield ahead
    finally:
        ahead.close()


class ShardsAhead:
    """The thread and what it knows; use `shards_ahead`."""

    def __init__(self, needs: Callable[[int], Iterable[Need]], steps: range, budget: int) -> None:
        self._needs = needs
        self._steps = steps
        self._budget = budget
        self._reached = steps.start
        self._failed: tuple[int, UserError] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="resight-loader-shards", daemon=True)
        self._thread.start()

    def begin(self, step: int) -> None:
        """Say that a step's batch is being made; UserError when one of its shards could not be fetched."""
        with self._changed:
            self._reached = max(self._reached, step)
            self._changed.notify()
            failed = self._failed
        if failed is not None and failed[0] <= step:
            raise failed[1]

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        window: dict[int, list[Need]] = {}
        for step in self._steps:
            window[step] = list(dict.fromkeys(self._needs(step)))
            if not self._wait_until_near(step, window):
                return
            for need in window.get(step, ()):
                if self._closed or not self._prepare(need, step):
                    return

    def _wait_until_near(self, step: int, window: dict[int, list[Need]]) -> bool:
        """Wait until a step is to be fetched for; False when all is over.

        What leaves the window is left to its readers: steps that are over, and one that is begun before it fitted.
        """
        with self._changed:
            while not self._closed:
                for past in [known for known in window if known < self._reached]:
                    del window[past]
                fits = _bytes(window) <= self._budget
                if step - self._reached <= _STEPS and fits:
                    return True
                if step <= self._reached:
                    window.pop(step, None)
                    return True
                self._changed.wait()
            return False

    def _prepare(self, need: Need, step: int) -> bool:
        try:
            need.access.prepare(need.shard)
        except UserError as error:
            with self._changed:
                self._failed = (step, error)
            return False
        return True


def _bytes(window: dict[int, list[Need]]) -> int:
    """Return the bytes of all different shards that some steps need."""
    needed = {need for needs in window.values() for need in needs}
    return sum(need.access.size(need.shard) for need in needed)
