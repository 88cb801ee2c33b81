"""Being told to stop: SIGTERM and Ctrl-C become a flag that the training loop reads between steps.

Both save and return. The first Ctrl-C asks; another one, two seconds later or more, stops at once, without saving.
Nearer ones are taken for the same: torchrun hands each rank the signal once more.

Only a process's main thread may set signal handlers, and Ray Train's train function is not in one; so under Ray the
driver catches the signals and leaves a note in the run folder, which the workers look for.

Source: design of this project.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from resight.cluster.storage import is_url, open_storage

__all__ = ["StopNote", "Told", "on_stop"]

_AGAIN_S: Final = 2.0
_ASK_BUCKET_S: Final = 2.0
_STOP: Final = "stop"
_log = logging.getLogger(__name__)


class StopNote:
    """A note in the run folder that asks every worker to save and return.

    Args:
        control: the run's `control` folder, or its URL; a bucket is asked every two seconds at most.
    """

    def __init__(self, control: Path | str) -> None:
        self._storage = open_storage(control)
        self._every_s = _ASK_BUCKET_S if is_url(control) else 0.0
        self._asked_s = -self._every_s
        self._found = False

    def leave(self) -> None:
        """Ask."""
        self._storage.publish(b"", _STOP)

    def clear(self) -> None:
        """Take the note back."""
        self._storage.delete(_STOP)

    def __bool__(self) -> bool:
        now = time.monotonic()
        if now - self._asked_s >= self._every_s:
            self._asked_s, self._found = now, self._storage.exists(_STOP)
        return self._found


class Told:
    """What this process was told.

    Args:
        act: called at the first request to stop.
        speak: whether to confirm on the screen.
    """

    def __init__(self, act: Callable[[], None], *, speak: bool) -> None:
        self.interrupted = False
        self._act = act
        self._speak = speak
        self._first_s = 0.0

    def terminate(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM."""
        self._act()

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle Ctrl-C.

        Raises:
            KeyboardInterrupt: at another one after a while.
        """
        if self.interrupted:
            if time.monotonic() - self._first_s >= _AGAIN_S:
                raise KeyboardInterrupt
            return
        self.interrupted, self._first_s = True, time.monotonic()
        if self._speak:
            _log.warning("stopping after this step, with a checkpoint; Ctrl-C again stops at once, without")
        self._act()


@contextmanager
def on_stop(act: Callable[[], None], *, speak: bool = True) -> Generator[Told]:
    """Call `act` at SIGTERM and at Ctrl-C instead of dying, inside the block; outside the main thread do nothing.

    Args:
        act: asks the run to stop.
        speak: whether to confirm Ctrl-C on the screen.
    """
    told = Told(act, speak=speak)
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, told.terminate), signal.signal(signal.SIGINT, told.interrupt)
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
