"""Waiting for other processes without ever waiting for ever.

The lock of a cache is an advisory lock on one file in its folder: the system drops it when its holder dies, whatever
killed it. Who waits looks again every few milliseconds, and gives up when for `wait_s` nothing at all happened in the
folder: no file appeared, went, or grew. So a slow fetch of somebody else is waited for, a hung one is not.
Source: ours. Trade-off: polling is not fair, so a waiter may be overtaken; it costs 50 looks a second.
"""

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from resight.cluster.errors import UserError

__all__ = ["Patience", "locked"]

_FIRST_S: Final = 0.001
_LONGEST_S: Final = 0.02


class Patience:
    """The waiting of one process for one shard.

    Args:
        folder: of the cache.
        wait_s: how long nothing may happen in it.
        give_up: makes the error.
    """

    def __init__(self, folder: Path, wait_s: float, give_up: Callable[[], UserError]) -> None:
        self._folder = folder
        self._wait_s = wait_s
        self._give_up = give_up
        self._pause_s = _FIRST_S
        self._seen = _activity(folder)
        self._until = time.monotonic() + wait_s

    def wait(self) -> None:
        """Sleep a little; UserError when nothing has happened for too long."""
        time.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_S)
        seen = _activity(self._folder)
        if seen != self._seen:
            self._seen, self._until = seen, time.monotonic() + self._wait_s
        elif time.monotonic() > self._until:
            raise self._give_up()


def _activity(folder: Path) -> int:
    """Return a number that changes whenever a file of the cache appears, goes, or is being written."""
    times = [folder.stat().st_mtime_ns]
    for path in folder.glob(".tmp-*"):
        try:
            times.append(path.stat().st_mtime_ns)
        except FileNotFoundError:
            continue
    return max(times)


@contextmanager
def locked(path: Path, wait: Callable[[], None]) -> Generator[None]:
    """Hold the lock on a folder, or on a file, which is made when it is not there; call `wait` while it is held.

    Threads exclude each other as processes do: each holds the file open for itself.
    """
    handle = _take(path)
    while handle is None:
        wait()
        handle = _take(path)
    try:
        yield
    finally:
        os.close(handle)


def _take(path: Path) -> int | None:
    how = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT
    handle = os.open(path, how | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(path.stat(), os.fstat(handle)):
            return handle
    except (BlockingIOError, FileNotFoundError):  # held, or somebody has just deleted the file
        pass
    os.close(handle)
    return None
