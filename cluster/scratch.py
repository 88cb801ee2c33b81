"""Scratch folders that a killed process cannot leave behind for ever.

Each folder is held by an advisory lock for as long as its process lives; the system drops the lock when the process
dies, whatever killed it. So a folder that is not young and whose lock is free is rubbish, and the next pool on this
machine removes it. Locks, not process ids: ids mean nothing across containers that share a temporary folder.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["scratch_folder", "sweep_scratch"]

_PREFIX = "resight-scratch-"
_YOUNG_S = 60.0  # between making a folder and locking it


@contextmanager
def scratch_folder() -> Generator[Path]:
    """Give an empty folder on this machine's temporary disk (TMPDIR), removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep_scratch(young_s: float = _YOUNG_S) -> int:
    """Remove the scratch folders of processes that died; return how many."""
    before = time.time() - young_s
    return sum(_remove_if_dead(path, before) for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))


def _remove_if_dead(folder: Path, before: float) -> bool:
    try:
        if folder.stat().st_mtime > before:
            return False
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, PermissionError):  # just removed, or another user's
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(lock)
