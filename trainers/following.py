"""Follow an event file that other processes write, in a thread, as long as a block lasts.

Source: design of this project.
"""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from resight.trainers.trackers import Tracker, Trackers

__all__ = ["following"]

_INTERVAL_S: Final = 0.2


@contextmanager
def following(path: Path, tracker: Tracker) -> Generator[None]:
    """Hand `tracker` each event that is appended to `path` from now on, to the last one written inside the block."""
    start = path.stat().st_size if path.is_file() else 0
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(path, start, Trackers([tracker]), done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _follow(path: Path, position: int, tracker: Trackers, done: threading.Event) -> None:
    last = False
    while not last:
        last = done.wait(_INTERVAL_S)  # one more look after the end
        position = _read(path, position, tracker)


def _read(path: Path, position: int, tracker: Trackers) -> int:
    """Hand on the complete lines after `position`; return where they end."""
    if not path.is_file():
        return position
    with path.open("rb") as file:
        file.seek(position)
        for line in file:
            if not line.endswith(b"\n"):
                break
            position += len(line)
            if line.endswith(b"}\n"):
                tracker.record(json.loads(line))
    return position
